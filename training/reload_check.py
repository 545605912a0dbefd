"""A script that asks a SavedModel as a stranger would: a process with TensorFlow, without Keras and without this package.

`python -I reload_check.py SAVED_MODEL` reads images.npy beside SAVED_MODEL, (batch, height, width, channels) in [0, 255],
and writes the answers of each signature beside it as SIGNATURE.npz.
"""
import sys
from pathlib import Path

SIGNATURES = ("serving_default", "from_bytes")


def main(path):
    """Ask both signatures of the SavedModel in `path` about the images beside it."""
    sys.modules["keras"] = None  # an import of Keras from here on fails
    import numpy as np
    import tensorflow as tf
    images = np.load(path.parent / "images.npy")
    files = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    loaded = tf.saved_model.load(path)
    for name, question in zip(SIGNATURES, (tf.constant(images, tf.float32), files), strict=True):
        answers = loaded.signatures[name](question)
        label = answers.pop("label").numpy().astype("S")  # as plain bytes, not as pickled objects
        np.savez(path.parent / f"{name}.npz", label=label, **{key: value.numpy() for key, value in answers.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
