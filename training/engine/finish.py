"""What a finished training writes into its run directory."""
import json
import time
from pathlib import Path

import keras
import numpy as np

from zoo.training import evaluation, figures
from zoo.training.data import pipeline
from zoo.training.data.dataset import Dataset
from zoo.training.data.splits import Split, fingerprint
from zoo.training.engine.checkpoint import TrainingState
from zoo.training.files import csv_text, packed, read_json, replace, write
from zoo.training.recipe import Recipe

_EXAMPLES = 32  # test examples that a run keeps, to check its exports with


def finish(model: keras.Model, dataset: Dataset, recipe: Recipe, run: Path,
           state: TrainingState) -> dict[str, object]:
    """Write the results of a training, and return the content of metrics.json.

    Args:
        model: the float32 network to keep, with the weights of the best epoch.
        dataset: the data of the training.
        recipe: the recipe of the training.
        run: the run directory.
        state: the state after the last epoch.
    """
    best = state.best_epoch()
    temporary = run / ".model.keras"
    model.save(temporary)
    replace(temporary, run / "model.keras")
    scores = evaluation.score(model, dataset.test, dataset.class_names)
    if dataset.vocabulary:
        write(run / "vocab.txt", str(dataset.vocabulary))
    write(run / "examples.npz", _first_examples(dataset.test))
    write(run / "history.csv", csv_text(state.history[0], [row.values() for row in state.history]))
    if state.confusions:
        write(run / "confusion.npz", packed(epochs=np.array(list(state.confusions), "int32"),
                                            matrices=np.array(list(state.confusions.values()),
                                                              "int32")))
    write(run / "curves.png", figures.png(figures.curves(state.history, best["epoch"])))
    confusion = figures.confusion(np.array(scores["confusion"]), dataset.class_names)
    write(run / "confusion.png", figures.png(confusion))
    metrics = {
        "recipe": recipe.name, "model": recipe.model, "data": recipe.data,
        **{f"test_{key}": value for key, value in scores.items()},
        "best_epoch": best, "selection_metric": state.selection_metric,
        "weights": model.count_params(),
        "input_shape": list(model.input.shape[1:]),
        "epochs": len(state.history), "seconds": round(state.seconds, 1),
        "images_per_second": round(_examples_trained(state, dataset, recipe) / state.seconds),
        **read_json(run / "manifest.json"), "test_fingerprint": fingerprint([dataset.test]),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "class_names": dataset.class_names,
    }
    write(run / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def _examples_trained(state, dataset, recipe):
    """The number of examples in all passes."""
    passes = state.steps_per_epoch / pipeline.steps_per_epoch(dataset.train, recipe.batch_size)
    return len(state.history) * passes * len(dataset.train)


def _first_examples(split: Split) -> bytes:
    """Return the first examples of `split`, images or UTF-8 texts, and their labels as .npz."""
    sound = ~np.isin(split.indices, list(split.source.bad))
    indices = np.flatnonzero(sound)[:_EXAMPLES]
    return packed(examples=np.array(split.raw(indices)), labels=split.labels[indices])
