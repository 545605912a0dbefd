"""How a network of the zoo is trained, evaluated and shipped, with TensorFlow."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up lines are noise in a command's output
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
