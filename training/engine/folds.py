"""Cross-validation: the same recipe on every fold, each a run directory of its own that goes on where it stopped."""
import dataclasses
import json
import statistics
from pathlib import Path

from zoo.training.engine.fit import train
from zoo.training.files import write


def cross_validate(recipe, run, data_dir=None, log=True, **options):
    """Train once for each of `recipe.folds` folds, in RUN/fold0, RUN/fold1 and so on, and write RUN/folds.json.

    The seed of a fold is the recipe's plus the fold's number. `options` are further ones of `zoo.training.engine.fit.train`.

    Returns:
        The content of folds.json: the accuracy on each fold's test part, their mean and standard deviation, and the seconds.

    Raises:
        zoo.errors.UserError: as `zoo.training.engine.fit.train` does.
    """
    runs = []
    for fold in range(recipe.folds):
        if log:
            print(f"fold {fold + 1} of {recipe.folds}", flush=True)
        one = dataclasses.replace(recipe, fold=fold, seed=recipe.seed + fold)
        runs.append(train(one, Path(run) / f"fold{fold}", data_dir, log, **options))
    accuracies = [metrics["test_accuracy"] for metrics in runs]
    result = {"recipe": recipe.name, "folds": recipe.folds, "test_accuracy": statistics.mean(accuracies),
              "stdev": statistics.stdev(accuracies), "accuracies": accuracies,
              "seconds": round(sum(metrics["seconds"] for metrics in runs), 1), "seed": recipe.seed,
              **{key: runs[-1][key] for key in ("machine", "precision", "versions", "python", "commit", "finished")}}
    write(Path(run) / "folds.json", json.dumps(result, indent=2) + "\n")
    return result
