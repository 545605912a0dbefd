"""`search`: hyperparameters that raise a recipe's validation accuracy."""
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from zoo.errors import UserError
from zoo.training import recipes
from zoo.training.recipe import Recipe
from zoo.training.run_dir import as_begun
from zoo.tuning import sequential, spaces
from zoo.tuning.plan import Plan


def search(recipe: str | Recipe, run: str | os.PathLike, *, data: str | os.PathLike | None = None,
           algorithm: str = "random", trials: int = 20, seed: int = 0, epochs: int | None = None,
           space: Callable[..., dict[str, Any]] | str | os.PathLike | None = None,
           fixed: Mapping[str, Any] | None = None, max_params: int | None = None,
           max_flops: int | None = None, keep: int = 3, storage: str | None = None,
           data_dir: str | None = None, callbacks: str | None = None,
           log: bool = True) -> list[dict[str, Any]]:
    """Search hyperparameters that raise a recipe's accuracy on the validation split.

    Each trial trains in a process of its own, so nothing changes in the calling session: its
    dtype policy, layer names, random state and GPUs stay as they are. (A session that has used a
    GPU holds its memory, which the trials then lack.) The test split is not used.

    After each trial the directory `run` holds trials.csv, search.html, a page that reloads itself
    while the search runs, and best.json, the recipe of the best trial with the epochs of `recipe`,
    for `zoo.training.train`. If the search is interrupted or killed, the same call resumes it and
    ends with the same result.

        >>> from zoo import tuning
        >>> trials = tuning.search("lenet5-digits", "runs/search", trials=10, epochs=5)
        >>> trials[0]["score"], trials[0]["values"]

    Args:
        recipe: where the search starts: a `zoo.training.Recipe`, the name of a recipe, or, with
            `data`, the name of a network.
        run: path of the search's directory, new or of this same search.
        data: the data set to tune on; by default the recipe's.
        algorithm: "random", "bayesian", "hyperband" or "grid", keras-tuner's.
        trials: how many to run at most, at least 1. The search ends earlier when every
            combination of a small space has been tried.
        seed: of the search, 0 to 2**31 - 1. The same seed draws the same trials.
        epochs: of a trial, at least 1; by default the recipe's. best.json keeps the recipe's.
        space: what is searched; by default arguments of the network, optimizer, learning rate,
            weight decay, schedule, batch size, label smoothing and augmentation. A function
            `space(hp)` or `space(hp, recipe)`, `hp` a `keras_tuner.HyperParameters`, that returns
            a dict of recipe fields and builder arguments; or a Python file that defines it.
        fixed: values of hyperparameters that are not to be searched, {name: value}.
        max_params: do not try networks with more parameters.
        max_flops: do not try networks with more multiply-adds.
        keep: how many of the best trials keep their weights on disk, at least 1.
        storage: a database that several processes share the search through, such as
            "sqlite:///search.db" or "postgresql+psycopg://USER@HOST/DATABASE". Optuna's
            algorithms run in keras-tuner's place.
        data_dir: where TensorFlow Datasets keeps its files; None for its default.
        callbacks: Keras callbacks for each trial, as the text "module:function": a function that
            other processes can import, from the current folder or an installed package, and that
            returns a list of callbacks for the trial's directory, a `pathlib.Path`.
        log: whether to print progress.

    Returns:
        The trials, best first: highest validation accuracy ("score", 0 to 1), then lowest
        validation loss. A dict per trial with the keys of `zoo.tuning.report.HEAD` (trial,
        status, score, val_loss, params, multiply_adds, epochs, best_epoch, seconds, continues)
        and "values", a dict of its hyperparameters. A failed trial has "error" in place of a
        score, and does not stop the search.

    Raises:
        zoo.errors.UsageError: if an argument is invalid.
        zoo.errors.UserError: if the data cannot be loaded or have no validation split, `run`
            holds something else, no trial succeeds, or Keras does not run on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("A search needs Keras on TensorFlow. Received: KERAS_BACKEND="
                        f"{keras.backend.backend()}.")
    if isinstance(recipe, str):
        recipe = recipes.get_recipe(recipe, data)
    elif data is not None:
        recipe = dataclasses.replace(recipe, data=str(data))
    recipe = as_begun(recipe, run)
    final = {"epochs": recipe.epochs, "min_steps": recipe.min_steps}
    if epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=epochs, min_steps=0)
    plan = Plan(recipe, algorithm, seed, spaces.as_function(space), dict(fixed or {}), max_params,
                max_flops, trials, keep, data_dir, callbacks, final)
    if storage is None:
        return sequential.run_search(plan, Path(run), log)
    from zoo.tuning import distributed  # needs Optuna, an extra
    return distributed.run_search(plan, Path(run), storage, log)
