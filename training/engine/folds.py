"""Cross-validation: one training per fold, each in its own run directory."""
import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any, cast

from zoo.training.engine.fit import train
from zoo.training.files import write
from zoo.training.recipe import Recipe


def cross_validate(recipe: Recipe, run: str | os.PathLike,
                   data_dir: str | os.PathLike | None = None, log: bool = True,
                   **options: Any) -> dict[str, Any]:
    """Train once per fold, in RUN/fold0, RUN/fold1 ..., and write RUN/folds.json.

    The seed of a fold is the recipe's plus the number of the fold. Interrupted folds are resumed,
    finished ones are not trained again.

    Args:
        recipe, run, data_dir, log: as for `zoo.training.train`.
        options: further arguments of `zoo.training.train`.

    Returns:
        The content of folds.json: the test accuracy of each fold, their mean and standard
        deviation, and the seconds of training.

    Raises:
        zoo.errors.UserError: as `zoo.training.train` does.
    """
    runs = []
    for fold in range(recipe.folds):
        if log:
            print(f"fold {fold + 1} of {recipe.folds}", flush=True)
        one = dataclasses.replace(recipe, fold=fold, seed=recipe.seed + fold)
        metrics = train(one, Path(run) / f"fold{fold}", data_dir, log, **options)
        runs.append(cast(dict[str, Any], metrics))
    accuracies = [metrics["test_accuracy"] for metrics in runs]
    copied = ("machine", "precision", "versions", "python", "commit", "finished")
    result = {"recipe": recipe.name, "folds": recipe.folds,
              "test_accuracy": statistics.mean(accuracies),
              "stdev": statistics.stdev(accuracies), "accuracies": accuracies,
              "seconds": round(sum(metrics["seconds"] for metrics in runs), 1),
              "seed": recipe.seed, **{key: runs[-1][key] for key in copied}}
    write(Path(run) / "folds.json", json.dumps(result, indent=2) + "\n")
    return result
