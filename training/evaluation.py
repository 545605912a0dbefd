"""How good a trained network is on examples it was not trained on."""
import os
from typing import Any

import keras
import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from zoo.training import trained
from zoo.training.data.splits import Split


def evaluate(run: str | os.PathLike[str], data: str | None = None,
             data_dir: str | None = None) -> dict[str, Any]:
    """Return the scores of a trained network on a test split.

    Args:
        run: a run directory, or a name of a trained network; see `zoo.training.trained.load`.
        data: another data set with the same classes; None for the one it was trained on.
        data_dir: where TensorFlow Datasets keeps its files.

    Returns:
        A dict: run, data and what `score` returns.

    Raises:
        zoo.errors.UserError: if there is no such network or no such data set, its classes differ,
            or the test split of its own data set has changed since the training.
    """
    source = trained.load(run)
    test = source.dataset(data_dir, data).test
    return {"run": str(run), "data": data or source.recipe.data,
            **score(source.model, test, source.class_names)}


def score(model: keras.Model, split: Split, class_names: list[str],
          batch_size: int = 256) -> dict[str, Any]:
    """Return the scores of `model` on `split`.

    Args:
        model: from images or token ids to logits.
        split: a `zoo.training.data.splits.Split`.
        class_names: in label order.
        batch_size: of the forward passes.

    Returns:
        A dict: accuracy, loss (the mean cross-entropy in nats) and macro_f1 (the mean over the
        classes) are floats, examples is an int, confusion a list of rows, true class by predicted
        class.
    """
    logits = trained.predict_logits(model, split, batch_size)
    if split.source.is_stream and split.source.bad:  # others took their place
        sound = ~np.isin(split.indices, list(split.source.bad))
        split, logits = Split(split.source, split.indices[sound]), logits[sound]
    losses = keras.losses.sparse_categorical_crossentropy(split.labels, logits, from_logits=True)
    predicted = np.argmax(logits, axis=1)
    matrix = confusion_matrix(split.labels, predicted, labels=range(len(class_names)))
    macro_f1 = f1_score(split.labels, predicted, average="macro", zero_division=0)
    return {"accuracy": float(np.mean(predicted == split.labels)), "loss": float(np.mean(losses)),
            "macro_f1": float(macro_f1), "examples": len(split), "confusion": matrix.tolist()}


def per_class(matrix: np.ndarray, class_names: list[str]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 (each 0 where it is 0 / 0) and examples of each class.

    Args:
        matrix: integers (classes, classes); rows are true classes, columns predicted ones.
        class_names: in the order of the rows.

    Returns:
        A dict for each class: class, precision, recall, f1, examples.
    """
    hits, predicted, true = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return [{"class": name, "precision": float(hit / max(p, 1)), "recall": float(hit / max(t, 1)),
             "f1": float(2 * hit / max(p + t, 1)), "examples": int(t)}
            for name, hit, p, t in zip(class_names, hits, predicted, true, strict=True)]


def confused(matrix: np.ndarray, class_names: list[str], most: int = 20) -> list[dict[str, Any]]:
    """Return the pairs of classes that are confused most often, the largest count first.

    Args:
        matrix, class_names: as for `per_class`.
        most: the largest number of pairs.

    Returns:
        A dict for each pair: true, predicted, count, share (of the true class).
    """
    wrong = matrix - np.diag(np.diag(matrix))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:most]
    return [{"true": class_names[row], "predicted": class_names[column],
             "count": int(wrong[row, column]),
             "share": float(wrong[row, column] / matrix[row].sum())}
            for row, column in zip(*np.unravel_index(largest, wrong.shape), strict=True)
            if wrong[row, column]]
