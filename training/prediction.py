"""Labels for image files, or for the lines of text files, from a run, an export of any format or a shipped model."""
import csv
import functools
import io
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training import evaluation
from zoo.training.data import sentences
from zoo.training.data.checks.image_files import SUFFIXES
from zoo.training.deployment import runtimes
from zoo.training.deployment.saved_model import BAD_IMAGE
from zoo.training.files import write
from zoo.training.preprocessing.images import decode, fit_to
from zoo.training.preprocessing.text import Vocabulary

_BATCH = 64
_COLUMNS = ("file", "line", "rank", "label", "class_id", "probability", "error")


def predict(model, files, count=lambda done, whole: None, top=1):
    """Return a label for each image file, or, of a text network, for each line of the text files.

    Args:
        model: path of a run directory, of an exported directory, or of a .tflite or .onnx file in one; or, where nothing has
            that path, the name of a shipped model, or one with ImageNet's weights such as "mobilenet_v2-imagenet".
        files: paths of JPEG, PNG, GIF, BMP or WebP files of any size; for a text network, of UTF-8 text files with a
            sentence a line. A folder stands for all such files in it and below, by their suffix.
        count: is told (done, in all) files or sentences.
        top: how many of the likeliest classes to tell.

    Returns:
        A list of dicts: file, label, class_id, probability (of that label, 0 to 1) and, for text, line (from 1). With `top`
        over 1 there are so many for each file or line, the likeliest first, with their rank, from 1. A file that is no image
        has no label but an error.

    Raises:
        zoo.errors.UserError: if `model` is none of these, a file cannot be read or is no text, or no file is an image; the
            file is named. If `top` is over 1 and an export that is not ours does not say what its classes are called.
    """
    ask, is_text, class_names = _asking(Path(model))
    if top > 1 and not class_names:
        raise UserError(f"{model} has no model card, assets/card.json, that names its classes: only one can be told.")
    files = _expanded(files, {".txt"} if is_text else SUFFIXES)
    questions = [question for file in files for question in (_lines(file) if is_text else [({"file": str(file)}, file)])]
    answers = []
    for first in range(0, len(questions), _BATCH):
        chunk = questions[first:first + _BATCH]
        chunk = chunk if is_text else [(place, _bytes(file)) for place, file in chunk]
        answers += _answered(ask, chunk, top, class_names)
        count(first + len(chunk), len(questions))
    bad = [answer for answer in answers if "error" in answer]
    if bad and len(bad) == len(answers):
        raise UserError(f"{bad[0]['file']} is {bad[0]['error']}.")
    return answers


def _answered(ask, chunk, top, class_names):
    probabilities, labels = ask([data for _, data in chunk])
    answers = []
    for (place, _), label, row in zip(chunk, labels, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        answers += [{**place, **({"rank": rank} if top > 1 else {}), "label": label if rank == 1 else class_names[i],
                     "class_id": int(i), "probability": float(row[i])} for rank, i in enumerate(best, 1)
                    ] if label is not None else [{**place, "error": BAD_IMAGE}]
    return answers


def write_csv(path, answers):
    """Write the answers as a CSV table; of its columns line is there for text, rank for several classes, error for bad files.

    Raises:
        zoo.errors.UserError: if it cannot be written.
    """
    table = io.StringIO()
    columns = [column for column in _COLUMNS
               if column not in ("line", "rank", "error") or any(column in answer for answer in answers)]
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(answers)
    path = Path(path).resolve()
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, which is written to and not replaced
            path.write_text(table.getvalue())
        else:
            write(path, table.getvalue())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from None


def _expanded(files, suffixes):
    """The files themselves, and for folders what is in them; all are there."""
    found = []
    for file in map(Path, files):
        inside = [file] if not file.is_dir() else sorted(
            path for path in file.rglob("*")
            if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."))
        if not inside:
            raise UserError(f"{file} holds no files named {', '.join(sorted(suffixes))}.")
        found += inside
    for file in found:
        if not file.is_file():
            raise UserError(f"Cannot read {file}: {'it is no file' if file.exists() else 'No such file or directory'}.")
    return found


def _bytes(file):
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from None


def _lines(file):
    """[(where, sentence)] of the lines of a text file that are not blank."""
    lines = enumerate(io.StringIO(sentences.utf8(file), newline=None), start=1)  # str.splitlines ends lines inside sentences too
    return [({"file": str(file), "line": number}, line.rstrip("\n")) for number, line in lines if line.strip()]


def _asking(path):
    """A function from bytes, or sentences, to (probabilities, labels); whether it takes sentences; its classes."""
    if path.suffix in (".tflite", ".onnx") and path.is_file():
        return _converted(path)
    if (path / "saved_model.pb").exists():
        return _saved_model(path)
    if (path / "assets/card.json").exists():
        names = ", ".join(sorted(file.name for file in path.glob("model*")))
        raise UserError(f"{path} is an export without a SavedModel. Name one of its files: {names}.")
    model, class_names, recipe, vocabulary = evaluation.network(path)
    return _labelled(functools.partial(evaluation.probabilities, model), class_names, vocabulary, recipe.max_tokens,
                     model.input.shape[1:], recipe.resize)


def _saved_model(path):
    signatures = _loaded(path)
    for name, takes in (("from_bytes", "image_bytes"), ("serving_default", "text")):
        if name in signatures and signatures[name].input_name == takes:
            def answers(data):
                found = signatures[name].run(np.array(data, object))
                errors = found.get("error", [b""] * len(data))
                return found["probabilities"], [None if error else label.decode()
                                                for label, error in zip(found["label"], errors, strict=True)]
            return answers, takes == "text", _card(path).get("class_names")
    raise UserError(f"{path} takes neither image files nor text: its signatures are {', '.join(signatures)}.")


def _converted(path):
    card = _card(path.parent)
    if not card:
        raise UserError(f"{path} cannot be used by itself: its model card, {path.parent / 'assets/card.json'}, is missing.")
    ask = _loaded(path)["serving_default"].run
    vocabulary, given = None, card["input"]
    if given["kind"] == "text":
        vocabulary = Vocabulary.parse((path.parent / "vocab.txt").read_text(encoding="utf-8"))
    return _labelled(lambda inputs: ask(inputs)["probabilities"], card["class_names"], vocabulary, given.get("max_tokens"),
                     given.get("shape"), given.get("resize"))


def _card(folder):
    """The model card of an export; {} of one that is not ours."""
    file = folder / "assets/card.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _loaded(path):
    try:
        return runtimes.load(path)
    except ImportError as error:
        raise UserError(f"{path} needs {error.name}: pip install 'classic-zoo[{path.suffix[1:].replace('tflite', 'litert')}]'."
                        ) from None
    except Exception as error:  # each runtime has errors of its own
        raise UserError(f"Cannot open {path}, is it damaged? {' '.join(str(error).split())}") from None


def _labelled(probabilities, class_names, vocabulary, max_tokens, shape, resize):
    """What `_asking` returns, around a function from pixels or token ids to probabilities."""
    if vocabulary:
        def from_text(data):
            found = probabilities(vocabulary.encode(data, max_tokens))
            return found, [class_names[i] for i in found.argmax(axis=1)]
        return from_text, True, class_names
    fitted = tf.function(lambda data: fit_to(decode(data)[None], tuple(shape), resize)[0],
                         input_signature=[tf.TensorSpec((), tf.string)], autograph=False)

    def from_files(data):
        images = [_image(fitted, file) for file in data]
        found = probabilities(np.stack([np.zeros(shape, "float32") if image is None else image for image in images]))
        return found, [None if image is None else class_names[i]
                       for i, image in zip(found.argmax(axis=1), images, strict=True)]
    return from_files, False, class_names


def _image(fitted, data):
    """The float32 pixels of an encoded image; None if it is none."""
    try:
        return fitted(data).numpy().astype("float32")
    except tf.errors.InvalidArgumentError:
        return None
