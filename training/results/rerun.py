"""`make results`: train the recipes with recorded results again, or others, and record them.

`python -m zoo.training.results.rerun [RECIPE...] [--seeds N...]` trains each recipe with each seed
in runs/results/RECIPE-SEED. It skips finished runs, resumes interrupted ones, records each result
as soon as it is there, and updates the table in docs/results.md.
"""
import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from zoo.errors import UserError, unknown
from zoo.startup import INTERRUPTED, quiet_import
from zoo.training import recipes
from zoo.training.results import record

with quiet_import():
    from zoo.training.engine import folds
    from zoo.training.engine.fit import train


def rerun(name: str, seed: int, folder: str | os.PathLike, files: str | os.PathLike | None = None,
          data_dir: str | os.PathLike | None = None, precision: str | None = None) -> float:
    """Train the recipe `name` in FOLDER/NAME-SEED, in folds if its recorded result has folds.

    Args:
        name: the name of a recipe.
        seed: the seed, from 0.
        folder: the parent of the run directories.
        files: a folder with the data that recipes name by a file or folder.
        data_dir: the folder of TensorFlow Datasets; None for its default.
        precision: auto, float32, mixed_bfloat16 or mixed_float16, see
            `zoo.training.engine.precision.resolve`; None for the recipe's.

    Returns:
        The test accuracy, which is recorded.

    Raises:
        zoo.errors.UserError: as `zoo.training.train` does.
    """
    before = {run["seed"]: run for run in record.recorded(name)}.get(seed, {})
    data = None
    if files:
        names = (before.get("data"), recipes.RECIPES[name].data)
        paths = [Path(files) / each for each in names if each]
        data = next((str(path) for path in paths if path.exists()), None)
    recipe = recipes.get_recipe(name, data)
    recipe = dataclasses.replace(recipe, seed=seed, folds=before.get("folds", 0),
                                 precision=precision or recipe.precision)
    run = Path(folder) / f"{name}-{seed}"
    train_all = folds.cross_validate if recipe.folds else train
    metrics = cast(dict[str, Any], train_all(recipe, run, data_dir))
    record.record(run)
    return metrics["test_accuracy"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 1 if a recipe could not be run."""
    parser = argparse.ArgumentParser(prog="python -m zoo.training.results.rerun",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RECIPE",
                        help="by default those with a recorded result")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N",
                        help="by default the recorded ones, or else 0")
    parser.add_argument("--folder", default="runs/results", metavar="DIR")
    parser.add_argument("--files", metavar="DIR",
                        help="the folder of data that a recipe names by a file or folder")
    parser.add_argument("--data-dir", metavar="DIR", help="the folder of TensorFlow Datasets")
    parser.add_argument("--precision", metavar="P", help="auto, float32, mixed_bfloat16 or "
                        "mixed_float16; by default the recipe's")
    options = parser.parse_args(args)
    for name in options.names:
        if name not in recipes.RECIPES:
            print(f"results: {unknown('recipe', name, recipes.RECIPES)}", file=sys.stderr)
            return 2
    names = options.names or [name for name in recipes.RECIPES if record.recorded(name)]
    failed = False
    try:
        for name in names:
            seeds = options.seeds or [run["seed"] for run in record.recorded(name)] or [0]
            for seed in seeds:
                failed |= not _succeeds(name, seed, options)
    except KeyboardInterrupt:
        print(f"results: {INTERRUPTED}", file=sys.stderr)
        return 130
    return int(failed)


def _succeeds(name, seed, options):
    """Run one recipe and update docs/results.md; return whether it succeeded."""
    print(f"{name}, seed {seed}", flush=True)
    try:
        accuracy = rerun(name, seed, options.folder, options.files, options.data_dir,
                         options.precision)
    except UserError as error:
        print(f"results: {name}, seed {seed}: {error}", file=sys.stderr, flush=True)
        return False
    print(f"  test accuracy {accuracy:.4f}", flush=True)
    record.update_page()
    return True


if __name__ == "__main__":
    sys.exit(main())
