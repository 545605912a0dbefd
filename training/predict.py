"""Labels for image files, from a run or from an exported SavedModel."""
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from training import evaluate
from training.images import decode, fit_to
from zoo.errors import UserError

_BATCH = 64


def predict(model, files):
    """Return a label for each image file.

    Args:
        model: path of a run directory or of an exported SavedModel.
        files: paths of JPEG, PNG, GIF, BMP or WebP files of any size.

    Returns:
        A list of dicts: file, label, class_id, probability (of that label, 0 to 1).

    Raises:
        zoo.errors.UserError: if `model` is neither, or a file cannot be read or is no image; the file is named.
    """
    ask = _saved_model(model) if (Path(model) / "saved_model.pb").exists() else _run(model)
    answers = []
    for first in range(0, len(files), _BATCH):
        chunk = files[first:first + _BATCH]
        probabilities, labels = ask([_read(file) for file in chunk])
        answers += [{"file": str(file), "label": label, "class_id": int(np.argmax(row)), "probability": float(np.max(row))}
                    for file, label, row in zip(chunk, labels, probabilities, strict=True)]
    return answers


def _read(file):
    """The bytes of an image file, decoded once to name it if it is none."""
    try:
        data = Path(file).read_bytes()
        decode(data)
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from None
    except tf.errors.InvalidArgumentError:
        raise UserError(f"{file} is no JPEG, PNG, GIF, BMP or WebP image, or is damaged.") from None
    return data


def _saved_model(path):
    loaded = tf.saved_model.load(path)
    if "from_bytes" not in loaded.signatures:
        raise UserError(f"{path} takes no image files: its signatures are {', '.join(loaded.signatures)}.")

    def ask(data):
        answers = loaded.signatures["from_bytes"](tf.constant(data))  # `loaded` has to outlive its signatures
        return answers["probabilities"].numpy(), [label.decode() for label in answers["label"].numpy()]
    return ask


def _run(path):
    model, metrics, recipe = evaluate.load(path)

    def ask(data):
        images = np.concatenate([fit_to(decode(image)[None], model.input.shape[1:], recipe.resize) for image in data])
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(images, verbose=0)))
        return probabilities, [metrics["class_names"][i] for i in probabilities.argmax(axis=1)]
    return ask
