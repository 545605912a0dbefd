"""`make results`: run the recipes that the README tells of again, or others, and record what they reach.

`python -m zoo.training.results.rerun [RECIPE...] [--seeds N...]` trains each recipe with each seed in runs/results/RECIPE-SEED, passes by
what is finished there, goes on with what is not, records each result as soon as it is there, and writes the README's table.
"""
import argparse
import dataclasses
import json
import sys
from pathlib import Path

from zoo.errors import UserError, unknown
from zoo.startup import INTERRUPTED
from zoo.training import files, recipes
from zoo.training.engine import folds
from zoo.training.engine.fit import train
from zoo.training.results import record


def rerun(name, seed, folder, files=None, data_dir=None):
    """Train by the recipe `name`, in as many folds as its recorded result has, in FOLDER/NAME-SEED, and record the result.

    Args:
        name: a recipe's name.
        seed: a whole number.
        folder: where the run directories are.
        files: a folder; data that the recipe or its recorded result names are taken from there if they are there.
        data_dir: where TensorFlow Datasets keeps its files.

    Returns:
        The test accuracy.

    Raises:
        zoo.errors.UserError: as `zoo.training.engine.fit.train` does.
    """
    before = recorded(name).get(seed, {})
    here = [Path(files) / data for data in (before.get("data"), recipes.RECIPES[name].data) if files and data]
    data = next((str(path) for path in here if path.exists()), None)
    recipe = dataclasses.replace(recipes.recipe(name, data), seed=seed, folds=before.get("folds", 0))
    run = Path(folder) / f"{name}-{seed}"
    run_through = folds.cross_validate if recipe.folds else train
    accuracy = run_through(recipe, run, data_dir)["test_accuracy"]
    record.record(run)
    return accuracy


def recorded(name):
    """Return {seed: what is recorded of the recipe's run with it}."""
    file = record.FOLDER / f"{name}.json"
    return {run["seed"]: run for run in json.loads(file.read_text())["runs"]} if file.exists() else {}


def main(args=None):
    """Do what the command line says; returns the exit code, 1 if a recipe could not be run."""
    parser = argparse.ArgumentParser(prog="python -m zoo.training.results.rerun", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RECIPE", help="by default those with a recorded result")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="by default the recorded ones, or else 0")
    parser.add_argument("--folder", default="runs/results", metavar="DIR")
    parser.add_argument("--files", metavar="DIR", help="where data lie that a recipe names by a file or folder")
    parser.add_argument("--data-dir", metavar="DIR", help="where TensorFlow Datasets keeps its files")
    given = parser.parse_args(args)
    failed = [name for name in given.names if name not in recipes.RECIPES]
    if failed:
        print(f"results: {unknown('recipe', failed[0], recipes.RECIPES)}", file=sys.stderr)
        return 2
    try:
        for name in given.names or [name for name in recipes.RECIPES if recorded(name)]:
            for seed in given.seeds or sorted(recorded(name)) or [0]:
                failed += _told(name, seed, given)
    except KeyboardInterrupt:
        print(f"results: {INTERRUPTED}", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _told(name, seed, given):
    """Run one and write the README; [] if it went well, else its name. One that cannot run does not keep the rest waiting."""
    print(f"{name}, seed {seed}", flush=True)
    try:
        print(f"  test accuracy {rerun(name, seed, given.folder, given.files, given.data_dir):.4f}", flush=True)
    except UserError as error:
        print(f"results: {name}, seed {seed}: {error}", file=sys.stderr, flush=True)
        return [name]
    files.write(record.README, record.readme(record.README.read_text()))
    return []


if __name__ == "__main__":
    sys.exit(main())
