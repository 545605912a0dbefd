"""Labels for image files, or for the lines of text files, from a run or from an exported SavedModel."""
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from training import evaluate, text
from training.images import decode, fit_to
from zoo.errors import UserError

_BATCH = 64


def predict(model, files):
    """Return a label for each image file, or, of a text network, for each line of the text files.

    Args:
        model: path of a run directory or of an exported SavedModel.
        files: paths of JPEG, PNG, GIF, BMP or WebP files of any size; for a text network, of UTF-8 text files with a
            sentence a line.

    Returns:
        A list of dicts: file, label, class_id, probability (of that label, 0 to 1) and, for text, line (from 1).

    Raises:
        zoo.errors.UserError: if `model` is neither, or a file cannot be read or is no image or text; the file is named.
    """
    ask, read = _saved_model(model) if (Path(model) / "saved_model.pb").exists() else _run(model)
    questions = [question for file in files for question in read(file)]
    answers = []
    for first in range(0, len(questions), _BATCH):
        chunk = questions[first:first + _BATCH]
        probabilities, labels = ask([data for _, data in chunk])
        answers += [{**place, "label": label, "class_id": int(np.argmax(row)), "probability": float(np.max(row))}
                    for (place, _), label, row in zip(chunk, labels, probabilities, strict=True)]
    return answers


def _image(file):
    """[(where, bytes)] of an image file, decoded once to name it if it is none."""
    try:
        data = Path(file).read_bytes()
        decode(data)
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from None
    except tf.errors.InvalidArgumentError:
        raise UserError(f"{file} is no JPEG, PNG, GIF, BMP or WebP image, or is damaged.") from None
    return [({"file": str(file)}, data)]


def _lines(file):
    """[(where, sentence)] of the lines of a text file that are not blank."""
    lines = enumerate(text.utf8(Path(file)).splitlines(), start=1)
    return [({"file": str(file), "line": number}, line) for number, line in lines if line.strip()]


def _saved_model(path):
    loaded = tf.saved_model.load(path)
    inputs = {name: list(signature.structured_input_signature[1]) for name, signature in loaded.signatures.items()}
    known = {"from_bytes": ("image_bytes", _image), "serving_default": ("text", _lines)}
    for name, (argument, read) in known.items():
        if inputs.get(name) == [argument]:
            def ask(data):
                answers = loaded.signatures[name](tf.constant(data))  # `loaded` has to outlive its signatures
                return answers["probabilities"].numpy(), [label.decode() for label in answers["label"].numpy()]
            return ask, read
    raise UserError(f"{path} takes neither image files nor text: its signatures are {', '.join(loaded.signatures)}.")


def _run(path):
    model, metrics, recipe = evaluate.load(path)
    vocabulary = evaluate.vocabulary(path) if (Path(path) / "vocab.txt").exists() else None

    def ask(data):
        if vocabulary:
            inputs = vocabulary.encode(data, recipe.max_tokens)
        else:
            inputs = np.concatenate([fit_to(decode(image)[None], model.input.shape[1:], recipe.resize) for image in data])
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(inputs, verbose=0)))
        return probabilities, [metrics["class_names"][i] for i in probabilities.argmax(axis=1)]
    return ask, _lines if vocabulary else _image
