"""`refit`: the best recipe of a search beside the one it started from, both trained to the end."""
import dataclasses
import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, UserError
from zoo.training.files import replacing, write
from zoo.training.recipe import read
from zoo.training.run_dir import started_with_onednn
from zoo.tuning.subprocess_worker import Worker

FOLDERS = {"tuned": "refit", "recipe": "baseline"}


def refit(run: str | os.PathLike, *, repeats: int = 3, data_dir: str | None = None,
          log: bool = True) -> dict[str, Any]:
    """Train the best recipe of a search and the one it started from, and keep the better one.

    Both train with the epochs of RUN/best.json. The better one has the higher mean accuracy on the
    validation split; the search's own recipe, if they are equal. RUN/refit receives the training
    of RUN/best.json, RUN/baseline that of the search's recipe, and RUN/kept a copy of the kept
    one, to use or export. Repeats use the following seeds, in RUN/refit-SEED and
    RUN/baseline-SEED. Finished trainings are not repeated.

    Args:
        run: the directory of a search.
        repeats: over how many seeds, at least 1.
        data_dir: where TensorFlow Datasets keeps its files; None for its default.
        log: whether to print progress.

    Returns:
        The content of RUN/refit.json, a dict: tuned and recipe, each with val_accuracy and
        test_accuracy (lists, one value per seed), mean and stdev (None for one seed) of
        val_accuracy; kept, "tuned" or "recipe"; difference of the means; noise, the largest
        difference that chance explains; epochs; validation_examples; and verdict, a sentence.

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
    best = read(run / "best.json")
    started = dataclasses.replace(read(run / "recipe.json"), epochs=best.epochs)
    report: dict[str, Any] = {}
    with Worker(data_dir, log, started_with_onednn(run)) as worker:
        for kind, recipe in (("tuned", best), ("recipe", started)):
            results = []
            for seed in range(recipe.seed, recipe.seed + repeats):
                last = kind == "recipe" and seed == recipe.seed + repeats - 1
                name = FOLDERS[kind] if seed == recipe.seed else f"{FOLDERS[kind]}-{seed}"
                if log:
                    print(f"{recipe.name}, seed {seed}: {recipe.epochs} epochs in {run / name}",
                          flush=True)
                results.append(_train(dataclasses.replace(recipe, seed=seed), run / name, worker,
                                      not last))
            scores = [result["val_accuracy"] for result in results]
            report[kind] = {"val_accuracy": scores,
                            "test_accuracy": [result["test_accuracy"] for result in results],
                            "mean": statistics.mean(scores),
                            "stdev": statistics.stdev(scores) if repeats > 1 else None}
    report |= _compare(report["tuned"], report["recipe"], results[-1]["validation_examples"])
    report["epochs"] = best.epochs
    with replacing(run / "kept", force=True, marks=("metrics.json",)) as scratch:
        shutil.copytree(run / FOLDERS[report["kept"]], scratch / "new",
                        ignore=shutil.ignore_patterns(".lock"))
    write(run / "refit.json", json.dumps(report, indent=2) + "\n")
    return report


def _train(recipe, folder, worker, more):
    folder.mkdir(exist_ok=True)
    if not (folder / "recipe.json").exists():
        write(folder / "recipe.json", recipe.to_json())
    elif read(folder / "recipe.json") != recipe:
        raise UserError(f"{folder} holds the training of another recipe: the search has since "
                        "found a better one, or its epochs have changed. Move it away, or choose "
                        "another run directory.")
    (folder / "result.json").unlink(missing_ok=True)
    result = worker.run("train", folder, more)
    if result["status"] == "failed":
        raise UserError(f"The training in {folder} failed: {result['error']}")
    return result


def _compare(tuned, recipe, examples):
    """Return which of two trainings is kept, and whether their difference is more than noise.

    Noise is two standard errors. The variance is measured over the seeds; with one seed it is the
    smallest possible one, that of a finite validation split.
    """
    def variance(runs):
        if runs["stdev"] is not None:
            return runs["stdev"] ** 2 / len(runs["val_accuracy"])
        return runs["mean"] * (1 - runs["mean"]) / examples
    noise = 2 * (variance(tuned) + variance(recipe)) ** 0.5
    difference = tuned["mean"] - recipe["mean"]
    kept = "tuned" if difference > 0 else "recipe"
    name = {"tuned": "the tuned recipe", "recipe": "the recipe that the search started from"}[kept]
    verdict = f"Kept {name}: it is better by more than noise."
    if difference == 0:
        verdict = f"Kept {name}: the tuned one is not better."
    elif abs(difference) <= noise:
        verdict = f"Kept {name}: it is better, but the difference is within noise."
    return {"kept": kept, "difference": difference, "noise": noise,
            "validation_examples": examples, "verdict": verdict}
