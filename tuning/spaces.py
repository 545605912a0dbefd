"""What is searched: fields of a recipe, arguments of its network's builder, or the user's space.

A space is a function of keras-tuner's `hp` and the recipe; it returns a dict of what it chose. The
default of every hyperparameter is the recipe's own value, so all defaults together are the recipe.
"""
import contextlib
import dataclasses
import inspect
import os
import random
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner as kt

import zoo
from zoo.errors import UsageError, unknown
from zoo.settings import SYNONYMS, check_type, convert
from zoo.training.recipe import OLD_NAMES, Recipe, current_names
from zoo.tuning.network_spaces import choice, dropout_only, space_of

Space = Callable[[kt.HyperParameters, Recipe], dict[str, Any]]

# Optimizers whose learning rates have the same order of magnitude.
_ALIKE = (("adam", "adamw"), ("sgd", "nesterov"))
_EXPLORED = 100  # random candidates that reveal the hyperparameters a space asks for conditionally
_SAMPLED = 20  # candidates whose recipes identify a space
# Augmentations whose numbers are shares: twice the number may be out of range.
_SHARES = ("hue", "brightness", "contrast", "saturation", "erase", "mixup", "cutmix",
           "random_resized_crop")
_FIELDS = {f.name for f in dataclasses.fields(Recipe)} - {"name", "model", "data", "model_args"}


def optimization(hp: kt.HyperParameters, recipe: Recipe) -> dict[str, Any]:
    """Choose optimizer, learning rate and weight decay, which a plain `fit` can search too."""
    alike = next((group for group in _ALIKE if recipe.optimizer in group), (recipe.optimizer,))
    rate = recipe.learning_rate
    return {"optimizer": choice(hp, "optimizer", alike, recipe.optimizer),
            "learning_rate": hp.Float("learning_rate", rate / 10, rate * 10, sampling="log",
                                      default=rate),
            "weight_decay": choice(hp, "weight_decay", (0.0, 1e-5, 1e-4, 1e-3, 1e-2),
                                   recipe.weight_decay)}


def training(hp: kt.HyperParameters, recipe: Recipe) -> dict[str, Any]:
    """Choose fields of the recipe; augment_strength multiplies the numbers of its augmentation."""
    chosen = {**optimization(hp, recipe),
              "schedule": choice(hp, "schedule", ("constant", "cosine"), recipe.schedule),
              "batch_size": choice(hp, "batch_size", (32, 64, 128, 256), recipe.batch_size),
              "label_smoothing": choice(hp, "label_smoothing", (0.0, 0.05, 0.1, 0.2),
                                        recipe.label_smoothing)}
    gradual = {name: value for name, value in recipe.augment.items()
               if type(value) in (int, float) and name not in _SHARES}
    if gradual:
        strength = hp.Float("augment_strength", 0.0, 2.0, default=1.0)
        chosen["augment"] = recipe.augment | {
            name: type(value)(round(value * strength, 6)) for name, value in gradual.items()}
    if recipe.frozen and recipe.frozen != ["all"]:
        count = len(recipe.frozen)
        chosen["frozen"] = recipe.frozen[:hp.Int("frozen_stages", 0, count, default=count)]
    return chosen


def default(hp: kt.HyperParameters, recipe: Recipe) -> dict[str, Any]:
    """Choose from the default space of a recipe: its builder's, if there is one, and `training`."""
    return training(hp, recipe) | network(hp, recipe)


def network(hp: kt.HyperParameters, recipe: Recipe) -> dict[str, Any]:
    """Choose builder arguments; with pre-trained weights, whose sizes are fixed, only dropout."""
    spec = zoo.spec(recipe.model)
    args = {**spec.defaults, **recipe.model_args}
    if recipe.vectors:
        args["vectors"] = recipe.vectors
    space = space_of(spec.builder)
    if args.get("weights") is not None:
        space = dropout_only if "dropout" in args else None
    return space(hp, args) if space else {}


def as_function(space: Callable | str | os.PathLike | None) -> Space:
    """Return a space as a function of (hp, recipe).

    Args:
        space: a function of (hp) or (hp, recipe); the path of a Python file that defines one named
            `space`; or None for the default space.

    Raises:
        zoo.errors.UsageError: if a file cannot be read or defines no function; the returned
            function raises it if `space` fails.
    """
    if space is None:
        return default
    if not callable(space):
        return _adapt(_load(space), f"The space {space}")
    return _adapt(space, f"The space {getattr(space, '__name__', space)}")


def _load(path):
    names = {"__name__": "space", "__file__": str(path)}
    try:
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), str(path), "exec"), names)  # the caller's own program
    except OSError as error:
        raise UsageError(f"Cannot read the space {path}: {error.strerror}.") from None
    except Exception as error:  # any error of the user's program
        raise UsageError(f"The space {path} cannot be run: "
                         f"{type(error).__name__}: {error}") from None
    if not callable(names.get("space")):
        raise UsageError(f"{path} defines no function space(hp).")
    return names["space"]


def _adapt(space, title):
    both = len(inspect.signature(space).parameters) > 1

    def adapted(hp, recipe):
        try:
            return space(hp, recipe) if both else space(hp)
        except Exception as error:  # any error of the user's function
            raise UsageError(f"{title} failed: {type(error).__name__}: {error}") from error
    return adapted


def apply(recipe: Recipe, chosen: dict[str, Any]) -> Recipe:
    """Return `recipe` with the recipe fields and builder arguments that a space chose.

    Raises:
        zoo.errors.UsageError: if a name is neither, or a value is invalid.
    """
    if not isinstance(chosen, dict):
        raise UsageError("space(hp) must return a dict of recipe fields and builder arguments. "
                         f"Received: {chosen!r}.")
    chosen = current_names(chosen, "space(hp)")
    if "epochs" in chosen:
        raise UsageError("epochs are not searched: the recipe's are the length of a whole "
                         "training, and hyperband shortens it.")
    args = {*zoo.spec(recipe.model).parameters, "weights"}
    for name in chosen:
        if name not in _FIELDS | args:
            raise unknown(f"field or argument of {recipe.model} in the space:", name,
                          _FIELDS | args, OLD_NAMES)
    fields = {name: value for name, value in chosen.items() if name in _FIELDS}
    model_args = {name: value for name, value in chosen.items() if name not in _FIELDS}
    return dataclasses.replace(recipe, **fields, model_args=recipe.model_args | model_args)


def declare(space: Space, recipe: Recipe, fixed: Mapping[str, Any] | None = None
            ) -> kt.HyperParameters:
    """Return the hyperparameters that `space` asks for.

    Args:
        space: the space.
        recipe: the recipe to improve.
        fixed: {name: value} of hyperparameters that are not searched; a text is converted to the
            hyperparameter's type.

    Raises:
        zoo.errors.UsageError: if a name in `fixed` is not searched, or the space's defaults make
            no valid recipe.
    """
    free, declared = kt.HyperParameters(), kt.HyperParameters()
    space(free, recipe)
    _explore(space, recipe, free)
    by_name = {hp.name: hp for hp in free.space}
    for name, value in current_names(dict(fixed or {}), "--fix").items():
        if name not in by_name:
            raise unknown("hyperparameter to fix", name, by_name, SYNONYMS)
        if by_name[name].conditions:
            raise UsageError(f"Cannot fix {name}, which the space asks for under a condition: fix "
                             "it in the space.")
        kind = type(by_name[name].default)
        if isinstance(value, str):
            value = convert(name, value, kind)
        check_type(name, value, kind)
        declared.Fixed(name, kind(value))
    apply(recipe, space(declared, recipe))
    if not declared.space:
        raise UsageError("The space asks for no hyperparameter: there is nothing to search.")
    _explore(space, recipe, declared)
    return declared


def sample_recipes(space: Space, recipe: Recipe, declared: kt.HyperParameters
                   ) -> list[str | None]:
    """Return recipes that `space` makes, as JSON: they tell two spaces of the same ranges apart.

    The values are drawn with a fixed seed. None stands for values that make no recipe.
    """
    recipes: list[str | None] = []
    hp, draw = declared.copy(), random.Random(0)
    for _ in range(_SAMPLED):
        hp.values = {each.name: each.random_sample(draw.randrange(2**31)) for each in hp.space}
        try:
            recipes.append(apply(recipe, space(hp, recipe)).to_json())
        except Exception:  # any error of the user's space: the trial of these values reports it
            recipes.append(None)
    return recipes


def _explore(space, recipe, hp):
    """Add to `hp` what `space` asks for at some values only, such as the units of each layer."""
    explored, draw = hp.copy(), random.Random(0)
    for _ in range(_EXPLORED):
        explored.values = {each.name: each.random_sample(draw.randrange(2**31))
                           for each in explored.space}
        with contextlib.suppress(UsageError):  # the trial of these values reports the error
            space(explored, recipe)
    hp.merge(explored, overwrite=False)
