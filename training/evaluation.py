"""How good a trained network is on images it has not seen."""
import dataclasses
import zipfile
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from zoo import shipped
from zoo.errors import UserError, unknown
from zoo.training import run_dir
from zoo.training.data import pipeline
from zoo.training.data.dataset import load_dataset
from zoo.training.data.splits import fingerprint
from zoo.training.preprocessing.text import Vocabulary
from zoo.training.recipes import Recipe, read


def score(model, split, class_names, batch=256):
    """Return the accuracy, the mean cross-entropy in nats, and the confusion matrix of `model` on `split`.

    Args:
        model: from images to logits.
        split: a `zoo.training.data.splits.Split`.
        class_names: the classes' names, in label order.

    Returns:
        A dict: accuracy, loss and macro_f1 (the mean over the classes) are floats, examples an int, confusion a list of
        rows, true class by predicted class.
    """
    logits = answers(model, split, len(class_names), batch)
    losses = keras.losses.sparse_categorical_crossentropy(split.labels, logits, from_logits=True)
    found = np.argmax(logits, axis=1)
    return {"accuracy": float(np.mean(found == split.labels)), "loss": float(np.mean(losses)),
            "macro_f1": float(f1_score(split.labels, found, average="macro", zero_division=0)),
            "examples": len(split),
            "confusion": confusion_matrix(split.labels, found, labels=range(len(class_names))).tolist()}


def per_class(matrix, class_names):
    """Return precision, recall and F1 (each 0 where it is 0 / 0) and the examples of each class, as a list of dicts.

    Args:
        matrix: integers (classes, classes); rows are true classes, columns found ones.
    """
    hits, found, true = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return [{"class": name, "precision": float(hit / max(f, 1)), "recall": float(hit / max(t, 1)),
             "f1": float(2 * hit / max(f + t, 1)), "examples": int(t)}
            for name, hit, f, t in zip(class_names, hits, found, true, strict=True)]


def confused(matrix, class_names, most=20):
    """Return the pairs of classes that are confused most often, as a list of dicts; see `per_class`."""
    wrong = matrix - np.diag(np.diag(matrix))
    places = np.argsort(-wrong, axis=None, kind="stable")[:most]
    return [{"true": class_names[row], "found": class_names[column], "count": int(wrong[row, column]),
             "share": float(wrong[row, column] / matrix[row].sum())}
            for row, column in zip(*np.unravel_index(places, wrong.shape), strict=True) if wrong[row, column]]


def answers(model, split, classes, batch=256):
    """Return the logits of `model` on all examples of `split`, in order: float32 of shape (len(split), classes)."""
    images = pipeline.batches(split, batch, classes).map(lambda images, labels: images)
    return model.predict(images, verbose=0)


def load(run):
    """Return the trained model, the metrics.json and the recipe of the finished run in the directory `run`.

    Raises:
        zoo.errors.UserError: if there is no finished run, or its model cannot be opened.
    """
    metrics, recipe, file = run_dir.results(run), read(f"{run}/recipe.json"), f"{run}/model.keras"
    try:
        return keras.models.load_model(file, compile=False), metrics, recipe
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:  # Keras ends with the innermost of its reasons
        made = metrics.get("versions", {}).get("keras", "of unknown version")
        raise UserError(f"Cannot open {file} with Keras {keras.__version__}; Keras {made} made it: "
                        f"{str(error).strip().splitlines()[-1]}") from error


def is_run(source):
    """Return whether `source` is the path of a run directory, not the name of a shipped network: what exists is a path."""
    return Path(source).exists() or Path(source).name != str(source)


def network(source):
    """Return the trained network of a finished run, or of a shipped model, and what it takes to use it.

    Args:
        source: the path of a run directory, or, where nothing has that path, a name of `zoo.shipped`.

    Returns:
        The model, the classes' names, the recipe, and the vocabulary, None for images.

    Raises:
        zoo.errors.UserError: if there is neither, or its files are damaged.
    """
    name = str(source)
    if is_run(source):
        model, metrics, recipe = load(source)
        return model, metrics["class_names"], recipe, vocabulary(source)
    if not shipped.is_shipped(name):
        raise UserError(f"{name} is no run directory. {unknown('shipped model', name, shipped.names())}")
    card = shipped.card(name)
    words = shipped.read(name, "vocab.txt").decode() if "vocab.txt" in card["files"] else ""
    return shipped.load(name), card["class_names"], Recipe(**card["recipe"]), Vocabulary.parse(words) if words else None


def evaluate(run, name=None, data_dir=None):
    """Return `score` of the trained network `run` on the test part of the data set `name`, by default its own.

    `run` is what `network` takes.

    Raises:
        zoo.errors.UserError: if there is no such network or no such data, its classes are others, or its own test part, unless
            named, is no longer what it was.
    """
    model, class_names, recipe, words = network(run)
    found = dataset(model, dataclasses.replace(recipe, data=name or recipe.data), words, data_dir)
    known = run_dir.results(run) if is_run(run) and not name else {"class_names": class_names}
    refuse_others(run, known, name or recipe.data, found)
    return {"run": str(run), "data": name or recipe.data, **score(model, found.test, found.class_names)}


def refuse_others(source, metrics, name, found):
    """Raise UserError if `found`, the data set `name`, has other classes or another test part than `metrics` tell of."""
    if found.class_names != metrics["class_names"]:
        raise UserError(f"{source} knows the classes {_few(metrics['class_names'])}; {name} has {_few(found.class_names)}.")
    if "test_fingerprint" in metrics and metrics["test_fingerprint"] != fingerprint([found.test]):
        raise UserError(f"The test part of {name} has changed since {source} was trained, and may hold what that has seen. "
                        f"`zoo evaluate {source} --data {name}` scores on it all the same.")


def dataset(model, recipe, words, data_dir=None):
    """Return the `zoo.training.data.dataset.Dataset` of `recipe` for a trained network, validation examples among the training ones.

    Args:
        model: the network, whose input has the shape that images are resized to.
        recipe: names the data.
        words: the network's vocabulary; None for images.
        data_dir: where TensorFlow Datasets keeps its files.
    """
    return load_dataset(recipe, model.input.shape[1:], words, data_dir=data_dir, validation=words is not None)


def vocabulary(run):
    """Return the vocabulary of a run, None if it is not one on sentences."""
    file = Path(run) / "vocab.txt"
    return Vocabulary.parse(file.read_text(encoding="utf-8")) if file.exists() else None


def probabilities(model, inputs):
    """Return what `model` answers, float32 of shape (n, classes)."""
    return keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(inputs, verbose=0, batch_size=256)))


def _few(names):
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
