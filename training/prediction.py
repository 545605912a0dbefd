"""Predicted labels for image files and text lines, by a run, an export or a shipped model."""
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.errors import UserError, missing_packages
from zoo.startup import quiet
from zoo.training import trained
from zoo.training.data import sentences
from zoo.training.data.checks.image_files import SUFFIXES
from zoo.training.data.source import is_hidden
from zoo.training.deployment import runtimes
from zoo.training.files import csv_text, write
from zoo.training.preprocessing.images import decode_or_explain, fit_to
from zoo.training.preprocessing.pillow_images import DROPPED
from zoo.training.preprocessing.tokens import Vocabulary

_BATCH_SIZE = 64
_COLUMNS = ("file", "line", "text", "rank", "label", "class_id", "probability", "error")
_OPTIONAL_COLUMNS = ("file", "line", "text", "rank", "error")


class _Predictor(NamedTuple):
    is_text: bool
    class_names: list[str] | None  # None for an export without a model card
    # From encoded images or sentences to probabilities, labels and errors, "" for none.
    run: Callable[[list], tuple]


def predict(model: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]] = (), *,
            texts: Iterable[str] = (), top: int = 1,
            progress: Callable[[int, int], None] | None = None) -> list[dict[str, Any]]:
    """Predict a label for each image file or, with a text network, for each sentence.

    Args:
        model: path of a run directory, an exported directory, or a .tflite or .onnx file in one;
            or, where no file has that path, the name of a shipped model, such as "lenet5-digits",
            of one with ImageNet weights, such as "mobilenet_v2-imagenet", or the address of one on
            the Hugging Face Hub, "hf://owner/name".
        files: paths of JPEG, PNG, GIF, BMP or WebP files of any size; for a text network, of UTF-8
            text files with one sentence per line. A folder stands for all such files in it, at any
            depth, by their suffix.
        texts: sentences, labelled after those of `files`.
        top: the number of most probable classes to return for each input.
        progress: called with (done, total) numbers of inputs after each batch.

    Returns:
        A dict for each input: file, for a sentence its line (from 1) and text, or text alone, and
        label, class_id and probability of that label, 0 to 1. With `top` above 1, that many dicts
        for each input, the most probable first, with a rank from 1. A file that cannot be decoded
        has an error instead of a label.

    Raises:
        zoo.errors.UserError: if `model` is none of these, a file cannot be read, or no file can be
            decoded; the message names the file. If there are `texts` for a network of images. If
            `top` is above 1 and an export has no model card with its class names.
    """
    predictor = _open(model)
    if top > 1 and not predictor.class_names:
        raise UserError(f"{model} has no model card, assets/card.json, that names its classes. "
                        "Expected top=1.")
    files = _expand(files, {".txt"} if predictor.is_text else SUFFIXES)
    if predictor.is_text:
        sources = [line for file in files for line in _lines(file)]
        sources += [({"text": text}, text) for text in texts]
    elif list(texts):
        raise UserError(f"{model} is a network for images. Pass files, not a text.")
    else:
        sources = [({"file": str(file)}, file) for file in files]
    predictions = []
    for first in range(0, len(sources), _BATCH_SIZE):
        batch = sources[first:first + _BATCH_SIZE]
        inputs = [text if predictor.is_text else _bytes(text) for _, text in batch]
        outputs = zip(batch, *predictor.run(inputs), strict=True)
        for (origin, _), row, label, error in outputs:
            if error:
                predictions.append({**origin, "error": error})
            else:
                predictions += _ranked(origin, row, label, top, predictor.class_names)
        if progress:
            progress(first + len(batch), len(sources))
    errors = [prediction for prediction in predictions if "error" in prediction]
    if errors and len(errors) == len(predictions):
        raise UserError(f"{errors[0]['file']} is {errors[0]['error']}.")
    return predictions


def _ranked(origin, probabilities, label, top, class_names):
    """The predictions for one input, the most probable first; `label` is that of the first."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    labels = [label, *(class_names[i] for i in best[1:])]
    ranks = [{"rank": rank} if top > 1 else {} for rank in range(1, len(best) + 1)]
    return [{**origin, **rank, "label": name, "class_id": int(i),
             "probability": float(probabilities[i])}
            for rank, name, i in zip(ranks, labels, best, strict=True)]


def write_csv(path: str | os.PathLike[str], predictions: list[dict[str, Any]]) -> None:
    """Write predictions, see `predict`, as a CSV table.

    The columns line and text (of sentences), rank (of several classes) and error are there if a row
    has them.

    Raises:
        zoo.errors.UserError: if the file cannot be written.
    """
    columns = [column for column in _COLUMNS if column not in _OPTIONAL_COLUMNS
               or any(column in row for row in predictions)]
    text = csv_text(columns, ([row.get(column) for column in columns] for row in predictions))
    path = Path(path).resolve()
    try:
        if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
            path.write_text(text, encoding="utf-8")
        else:
            write(path, text)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from None


def _expand(files, suffixes):
    """Return the paths of `files`, each folder replaced by the files in it; all exist."""
    paths = []
    for name in files:
        if not isinstance(name, (str, os.PathLike)):
            raise UserError(f"Expected paths of files. Received: {type(name).__name__}. For arrays "
                            "call the network, zoo.load(NAME): it takes pixels from 0 to 255.")
        file = Path(name)
        if not file.is_dir():
            if not file.is_file():
                reason = "not a file" if file.exists() else "No such file or directory"
                raise UserError(f"Cannot read {file}: {reason}.")
            paths.append(file)
            continue
        inside = sorted(path for path in file.rglob("*") if path.suffix.lower() in suffixes
                        and path.is_file() and not is_hidden(path.name))
        if not inside:
            raise UserError(f"{file} holds no files named {', '.join(sorted(suffixes))}.")
        paths += inside
    return paths


def _bytes(file):
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from None


def _lines(file):
    """[({file, line, text}, sentence)] of the lines of a text file that are not blank."""
    # str.splitlines would split at U+2028 too.
    text = io.StringIO(sentences.read_utf8(file), newline=None)
    lines = enumerate((line.rstrip("\n") for line in text), start=1)
    return [({"file": str(file), "line": number, "text": line}, line)
            for number, line in lines if line.strip()]


def _open(model):
    path = Path(model)
    if path.suffix in (".tflite", ".onnx") and path.is_file():
        return _open_converted(path)
    if (path / "saved_model.pb").exists():
        return _open_saved_model(path)
    if (path / "assets/card.json").exists():
        names = ", ".join(sorted(file.name for file in path.glob("model*")))
        raise UserError(f"{path} is an export without a SavedModel. "
                        f"Name one of its files: {names}.")
    source = trained.load(model)
    if source.vocabulary:
        return _text_predictor(source.probabilities, source.class_names, source.vocabulary,
                               source.recipe.max_tokens)
    return _image_predictor(source.probabilities, source.class_names,
                            source.model.input.shape[1:], source.recipe.resize,
                            source.recipe.background, source.recipe.eval_resize)


def _open_saved_model(path):
    """A predictor around the signature for image files or text, which decodes and labels too."""
    signatures = _runtime(path)
    for name, takes in (("from_bytes", "image_bytes"), ("serving_default", "text")):
        if name in signatures and signatures[name].input_name == takes:
            break
    else:
        raise UserError(f"{path} takes neither image files nor text: its signatures are "
                        f"{', '.join(signatures)}.")

    def run(inputs):
        outputs = signatures[name].run(np.array(inputs, object))
        errors = outputs.get("error", [b""] * len(inputs))
        return (outputs["probabilities"], [label.decode() for label in outputs["label"]],
                [error.decode() for error in errors])
    return _Predictor(takes == "text", _card(path).get("class_names"), run)


def _open_converted(path):
    """A predictor around a LiteRT or ONNX file, whose model card describes its inputs."""
    card = _card(path.parent)
    if not card:
        raise UserError(f"{path} needs its model card, {path.parent / 'assets/card.json'}, "
                        "which is missing.")
    run, described = _runtime(path)["serving_default"].run, card["input"]

    def probabilities(inputs):
        with quiet():  # LiteRT writes which kernels it uses
            return run(inputs)["probabilities"]
    if described["kind"] == "text":
        vocabulary = Vocabulary.parse((path.parent / "vocab.txt").read_text(encoding="utf-8"))
        return _text_predictor(probabilities, card["class_names"], vocabulary,
                               described["max_tokens"])
    return _image_predictor(probabilities, card["class_names"], described["shape"],
                            described["resize"], described.get("background", DROPPED),
                            described.get("eval_resize", 0))


def _card(folder):
    """The model card of an export; {} if it has none."""
    file = folder / "assets/card.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _runtime(path):
    try:
        return runtimes.load(path)
    except ImportError as error:
        extra = path.suffix[1:].replace("tflite", "litert")
        raise missing_packages(str(path), str(error.name), extra) from None
    except Exception as error:  # each runtime has errors of its own
        reason = " ".join(str(error).split())
        raise UserError(f"Cannot open {path}, is it damaged? {reason}") from None


def _text_predictor(probabilities, class_names, vocabulary, max_tokens):
    def run(texts):
        rows = probabilities(vocabulary.encode(texts, max_tokens))
        return rows, [class_names[i] for i in rows.argmax(axis=1)], [""] * len(texts)
    return _Predictor(True, class_names, run)


def _image_predictor(probabilities, class_names, shape, resize, background, eval_resize):
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    def fitted(image):
        return fit_to(image[None], tuple(shape), resize, eval_resize)[0]

    def run(encoded):
        images, errors = np.zeros((len(encoded), *shape), "float32"), []
        for i, data in enumerate(encoded):
            image, error = decode_or_explain(data, background)
            errors.append(error)
            if not error:
                images[i] = fitted(image)
        rows = probabilities(images)
        return rows, [class_names[i] for i in rows.argmax(axis=1)], errors
    return _Predictor(False, class_names, run)
