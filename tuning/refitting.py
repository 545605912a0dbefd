"""What a search was good for: its best recipe and the recipe it began with, trained alike and looked at on the test part."""
import dataclasses
import json
import statistics

from zoo.errors import UserError
from zoo.training.files import write
from zoo.training.recipes import read
from zoo.tuning.subprocess_worker import Worker


def refit(plan, run, repeats=1, log=True):
    """Train RUN/best.json in RUN/refit, and the recipe itself, as long and as often, in RUN/baseline.

    Repeats take the seeds after the recipe's, in RUN/refit-SEED and RUN/baseline-SEED. What has been trained already is not
    trained again.

    Returns:
        The content of RUN/refit.json, a dict: tuned and recipe, each with test_accuracy (a list, one a seed), mean and stdev
        (None for one seed); noise, the difference that chance makes; and verdict, a sentence.

    Raises:
        zoo.errors.UserError: if a training fails.
    """
    report = {}
    with Worker(plan.data_dir, log) as worker:
        for kind, folder, recipe in (("tuned", "refit", read(run / "best.json")), ("recipe", "baseline", plan.recipe)):
            accuracies = []
            for seed in range(recipe.seed, recipe.seed + repeats):
                last = kind == "recipe" and seed == recipe.seed + repeats - 1
                where = run / (folder if seed == recipe.seed else f"{folder}-{seed}")
                result = _trained(dataclasses.replace(recipe, seed=seed), where, worker, not last)
                accuracies.append(result["test_accuracy"])
            report[kind] = {"test_accuracy": accuracies, "mean": statistics.mean(accuracies),
                            "stdev": statistics.stdev(accuracies) if repeats > 1 else None}
    report |= _judged(report["tuned"], report["recipe"], result["test_examples"])
    write(run / "refit.json", json.dumps(report, indent=2) + "\n")
    return report


def _trained(recipe, folder, worker, more):
    folder.mkdir(exist_ok=True)
    if not (folder / "recipe.json").exists():
        write(folder / "recipe.json", recipe.to_json())
    elif json.loads((folder / "recipe.json").read_text()) != json.loads(recipe.to_json()):
        raise UserError(f"{folder} holds the training of another recipe: the search has found a better one since. Move it "
                        "away, or choose another --run.")
    (folder / "result.json").unlink(missing_ok=True)
    result = worker.run("train", folder, more)
    if result["status"] == "failed":
        raise UserError(f"The training in {folder} failed: {result['error']}")
    return result


def _judged(tuned, plain, examples):
    """Say whether the tuned recipe is better, by more than two standard errors of the difference.

    The spread is measured over the seeds; with one seed it is the least it can be, that of the test part's finite number.
    """
    def variance(runs):
        if runs["stdev"] is not None:
            return runs["stdev"] ** 2 / len(runs["test_accuracy"])
        return runs["mean"] * (1 - runs["mean"]) / examples
    noise = 2 * (variance(tuned) + variance(plain)) ** 0.5
    difference = tuned["mean"] - plain["mean"]
    if difference > noise:
        said = "The tuned recipe is better."
    elif difference < -noise:
        said = "The tuned recipe is worse than the recipe it began with: keep that."
    else:
        said = "The tuned recipe is no better than chance allows: keep the recipe it began with."
    return {"difference": difference, "noise": noise, "test_examples": examples, "verdict": said}
