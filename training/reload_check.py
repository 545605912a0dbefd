"""A script that asks a SavedModel as a stranger would: a process with TensorFlow, without Keras and without this package.

`python -I reload_check.py SAVED_MODEL` reads the questions for each signature beside SAVED_MODEL, SIGNATURE.npy, numbers or
bytes, and writes the answers beside them as SIGNATURE.npz.
"""
import sys
from pathlib import Path


def main(path):
    """Ask the signatures of the SavedModel in `path` the questions beside it."""
    sys.modules["keras"] = None  # an import of Keras from here on fails
    import numpy as np
    import tensorflow as tf
    loaded = tf.saved_model.load(path)
    for questions in sorted(path.parent.glob("*.npy")):
        answers = loaded.signatures[questions.stem](tf.constant(np.load(questions)))
        label = answers.pop("label").numpy().astype("S")  # as plain bytes, not as pickled objects
        np.savez(questions.with_suffix(".npz"), label=label, **{key: value.numpy() for key, value in answers.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
