"""What is searched of a recipe: its fields, the arguments of its network's builder, or what the user's own file says.

A space is a function of keras-tuner's `hp` and of the recipe; it returns a dict of what it chose. The default of every
hyperparameter is the recipe's own value, so the defaults together are the recipe.
"""
import contextlib
import dataclasses
import inspect
import random

import keras_tuner as kt

import zoo
from zoo.errors import UsageError, unknown
from zoo.settings import convert, split_setting
from zoo.training.recipe import Recipe, current_names
from zoo.tuning.network_spaces import choice, dropout_only, space_of

_ALIKE = (("adam", "adamw"), ("sgd", "nesterov"))  # optimisers that take rates of one order
_EXPLORED = 100  # candidates that a space is asked for to learn all its hyperparameters
_FIELDS = {f.name for f in dataclasses.fields(Recipe)} - {"name", "model", "data", "model_args"}


def optimization(hp, recipe):
    """Optimiser, rate and weight decay: what a plain `fit` can search as well. Rates are those of the recipe's own kind."""
    alike = next((group for group in _ALIKE if recipe.optimizer in group), (recipe.optimizer,))
    return {"optimizer": choice(hp, "optimizer", alike, recipe.optimizer),
            "learning_rate": hp.Float("learning_rate", recipe.learning_rate / 10, recipe.learning_rate * 10, sampling="log",
                                      default=recipe.learning_rate),
            "weight_decay": choice(hp, "weight_decay", (0.0, 1e-5, 1e-4, 1e-3, 1e-2), recipe.weight_decay)}


def training(hp, recipe):
    """The fields that every recipe has; the strength multiplies the numbers of the recipe's own augmentation."""
    found = {**optimization(hp, recipe),
             "schedule": choice(hp, "schedule", ("constant", "cosine"), recipe.schedule),
             "batch_size": choice(hp, "batch_size", (32, 64, 128, 256), recipe.batch_size),
             "label_smoothing": choice(hp, "label_smoothing", (0.0, 0.05, 0.1, 0.2), recipe.label_smoothing)}
    gradual = {name: value for name, value in recipe.augment.items() if type(value) in (int, float) and name not in _SHARES}
    if gradual:
        strength = hp.Float("augment_strength", 0.0, 2.0, default=1.0)
        found["augment"] = recipe.augment | {name: type(value)(round(value * strength, 6)) for name, value in gradual.items()}
    if recipe.frozen and recipe.frozen != ["all"]:
        found["frozen"] = recipe.frozen[:hp.Int("frozen_stages", 0, len(recipe.frozen), default=len(recipe.frozen))]
    return found


_SHARES = ("hue", "brightness", "contrast", "saturation", "erase", "mixup", "cutmix")  # twice as much may not exist


def default(hp, recipe):
    """The space of a recipe: its builder's, if that has one, and the training's. Return fields and arguments together."""
    return training(hp, recipe) | network(hp, recipe)


def network(hp, recipe):
    """The space of a recipe's network. What comes with weights keeps their sizes, which leaves dropout to be searched."""
    spec = zoo.spec(recipe.model)
    args = {**spec.defaults, **recipe.model_args}
    if recipe.vectors:
        args["vectors"] = recipe.vectors
    found = space_of(spec.builder)
    if args.get("weights") is not None:
        found = dropout_only if "dropout" in args else None
    return found(hp, args) if found else {}


def load(path):
    """Return the function `space` of a Python file of the user's own, as a function of (hp, recipe).

    Raises:
        zoo.errors.UsageError: if the file cannot be read or has no such function; from that function, if it fails.
    """
    names = {"__name__": "space", "__file__": str(path)}
    try:
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), str(path), "exec"), names)  # the user's own program, named on the command line
    except OSError as error:
        raise UsageError(f"Cannot read the space {path}: {error.strerror}.") from None
    except Exception as error:  # whatever the user's program raises
        raise UsageError(f"The space {path} cannot be run: {type(error).__name__}: {error}") from None
    space = names.get("space")
    if not callable(space):
        raise UsageError(f"{path} defines no function space(hp).")
    both = len(inspect.signature(space).parameters) > 1

    def called(hp, recipe):
        try:
            return space(hp, recipe) if both else space(hp)
        except Exception as error:
            raise UsageError(f"The space {path} failed: {type(error).__name__}: {error}") from error
    return called


def apply(recipe, found):
    """Return `recipe` with what a space found put in: fields of a recipe, or arguments of its network's builder.

    Raises:
        zoo.errors.UsageError: if a name is neither, or a value will not do.
    """
    if not isinstance(found, dict):
        raise UsageError(f"space(hp) must return a dict of recipe fields and builder arguments. Received: {found!r}.")
    found = current_names(found, "space(hp)")
    if "epochs" in found:
        raise UsageError("epochs are not searched: --epochs says how long a whole training is, and hyperband shortens it.")
    known = {*inspect.signature(zoo.spec(recipe.model).builder).parameters, "weights"}
    for name in found:
        if name not in _FIELDS | known:
            raise unknown(f"field or argument of {recipe.model} in the space:", name, _FIELDS | known)
    fields = {name: value for name, value in found.items() if name in _FIELDS}
    args = {name: value for name, value in found.items() if name not in _FIELDS}
    return dataclasses.replace(recipe, **fields, model_args=recipe.model_args | args)


def declared(space, recipe, fixed=()):
    """Return the `kt.HyperParameters` that `space` declares, those of `fixed`, a list of "name=value", pinned.

    Raises:
        zoo.errors.UsageError: if a pinned name is not searched, or the space's defaults make no recipe.
    """
    free, pinned = kt.HyperParameters(), kt.HyperParameters()
    space(free, recipe)
    _explore(space, recipe, free)
    known = {hp.name: hp for hp in free.space}
    pins = [split_setting(setting, "--fix") for setting in fixed]
    for name, value in current_names(dict(pins), "--fix").items():
        if name not in known:
            raise unknown("hyperparameter of --fix", name, known)
        if known[name].conditions:
            raise UsageError(f"--fix cannot pin {name}, which the space asks for under a condition: pin it in the space.")
        pinned.Fixed(name, convert(name, value, type(known[name].default)))
    apply(recipe, space(pinned, recipe))
    _explore(space, recipe, pinned)
    return pinned


def _explore(space, recipe, hp):
    """Add to `hp` what `space` asks for at some values only, such as the units of each of so many layers."""
    asked, draw = hp.copy(), random.Random(0)
    for _ in range(_EXPLORED):
        asked.values = {found.name: found.random_sample(draw.randrange(2**31)) for found in asked.space}
        with contextlib.suppress(UsageError):  # a trial of these values will tell
            space(asked, recipe)
    hp.merge(asked, overwrite=False)
