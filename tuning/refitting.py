"""`refit`: the best recipe of a search against the one it started from, on the test split."""
import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, UserError
from zoo.training.files import write
from zoo.training.recipe import read
from zoo.training.run_dir import started_with_onednn
from zoo.tuning.subprocess_worker import Worker


def refit(run: str | os.PathLike, *, repeats: int = 1, data_dir: str | None = None,
          log: bool = True) -> dict[str, Any]:
    """Train the best recipe of a search and the one it started from; compare their test accuracy.

    RUN/refit receives the training of RUN/best.json, RUN/baseline that of the search's recipe.
    Repeats use the following seeds, in RUN/refit-SEED and RUN/baseline-SEED. Finished trainings
    are not repeated.

    Args:
        run: the directory of a search.
        repeats: over how many seeds, at least 1.
        data_dir: where TensorFlow Datasets keeps its files; None for its default.
        log: whether to print progress.

    Returns:
        The content of RUN/refit.json, a dict: tuned and recipe, each with test_accuracy (a list,
        one per seed), mean and stdev (None for one seed); difference; noise, the largest
        difference that chance explains; test_examples; and verdict, a sentence.

    Raises:
        zoo.errors.UsageError: if `repeats` is less than 1.
        zoo.errors.UserError: if `run` holds no search with a best recipe, or a training fails.
    """
    run = Path(run)
    if repeats < 1:
        raise UsageError(f"repeats must be at least 1. Received: {repeats}.")
    if not (run / "search.json").exists() or not (run / "best.json").exists():
        raise UserError(f"{run} holds no search with a best recipe. `zoo tune RECIPE --run {run}` "
                        "makes one.")
    report: dict[str, Any] = {}
    with Worker(data_dir, log, started_with_onednn(run)) as worker:
        for kind, folder, file in (("tuned", "refit", "best.json"),
                                   ("recipe", "baseline", "recipe.json")):
            recipe = read(run / file)
            accuracies = []
            for seed in range(recipe.seed, recipe.seed + repeats):
                last = kind == "recipe" and seed == recipe.seed + repeats - 1
                where = run / (folder if seed == recipe.seed else f"{folder}-{seed}")
                result = _train(dataclasses.replace(recipe, seed=seed), where, worker, not last)
                accuracies.append(result["test_accuracy"])
            report[kind] = {"test_accuracy": accuracies, "mean": statistics.mean(accuracies),
                            "stdev": statistics.stdev(accuracies) if repeats > 1 else None}
    report |= _compare(report["tuned"], report["recipe"], result["test_examples"])
    write(run / "refit.json", json.dumps(report, indent=2) + "\n")
    return report


def _train(recipe, folder, worker, more):
    folder.mkdir(exist_ok=True)
    if not (folder / "recipe.json").exists():
        write(folder / "recipe.json", recipe.to_json())
    elif read(folder / "recipe.json") != recipe:
        raise UserError(f"{folder} holds the training of another recipe: the search has since "
                        "found a better one. Move it away, or choose another --run.")
    (folder / "result.json").unlink(missing_ok=True)
    result = worker.run("train", folder, more)
    if result["status"] == "failed":
        raise UserError(f"The training in {folder} failed: {result['error']}")
    return result


def _compare(tuned, baseline, examples):
    """Return whether the tuned recipe is better by more than two standard errors.

    The variance is measured over the seeds; with one seed it is the smallest possible one, that
    of a finite test split.
    """
    def variance(runs):
        if runs["stdev"] is not None:
            return runs["stdev"] ** 2 / len(runs["test_accuracy"])
        return runs["mean"] * (1 - runs["mean"]) / examples
    noise = 2 * (variance(tuned) + variance(baseline)) ** 0.5
    difference = tuned["mean"] - baseline["mean"]
    if difference > noise:
        verdict = "The tuned recipe is better."
    elif difference < -noise:
        verdict = "The tuned recipe is worse than the recipe it started from: keep that."
    else:
        verdict = "The difference is within noise: keep the recipe that the search started from."
    return {"difference": difference, "noise": noise, "test_examples": examples,
            "verdict": verdict}
