"""What is searched: for each builder its arguments, and for every network the fields of its recipe.

A space is a function of keras-tuner's `hp` and of the values that hold where nothing is searched; it returns what it chose.
The default of every hyperparameter is the recipe's own value, so the defaults together are the recipe. Lists and dicts, which
keras-tuner cannot choose from, are chosen by a number that they follow from.
"""
import dataclasses
import inspect

import keras_tuner as kt

import zoo
from training.recipes import Recipe
from zoo.errors import UsageError, unknown
from zoo.settings import convert, split_setting

ARCHITECTURES = {}  # the name of a builder: its space

_ALIKE = (("adam", "adamw"), ("sgd", "nesterov"))  # optimisers that take rates of one order
_FIELDS = {f.name for f in dataclasses.fields(Recipe)} - {"name", "model", "data", "model_args"}


def architecture(*builders):
    """Register the decorated function (hp, arguments) -> arguments as the space of the builders of these names.

    A builder of your own gets its space with the same decorator, in a file that `--space` names or beside the builder.
    """
    def decorate(function):
        ARCHITECTURES.update(dict.fromkeys(builders, function))
        return function
    return decorate


def choice(hp, name, values, own):
    """Return a choice among `values` and `own`, which is the default."""
    own = type(values[0])(own)  # 1 may stand for 1.0, and keras-tuner wants one type
    return hp.Choice(name, sorted({*values, own}), default=own)


def share(hp, name, own, high=0.6):
    """Return a rate from 0 to `high`, by default `own`."""
    return hp.Float(name, 0.0, max(high, own), default=own)


@architecture("lenet5")
def lenet5(hp, args):
    return {"activation": choice(hp, "activation", ("tanh", "relu"), args["activation"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("lenet")
def lenet(hp, args):
    return {"pool": choice(hp, "pool", ("avg", "max"), args["pool"]), "dropout": share(hp, "dropout", args["dropout"])}


@architecture("mlp", "text_mlp")
def mlp(hp, args):
    own = args["hidden"] or (128,)
    depth = choice(hp, "depth", (1, 2, 3), len(own))
    width = choice(hp, "width", (64, 128, 256, 512), own[0])
    hidden = own if (depth, width) == (len(own), own[0]) else (width,) * depth
    found = {"hidden": hidden, "dropout": share(hp, "dropout", args["dropout"])}
    return found | _activation(hp, args) if "activation" in args else found


def _activation(hp, args):
    return {"activation": choice(hp, "activation", ("relu", "tanh", "sigmoid"), args["activation"])}


@architecture("simple_cnn")
def simple_cnn(hp, args):
    return {"filters": _scaled(hp, args["filters"]), "dropout": share(hp, "dropout", args["dropout"])}


@architecture("conv_only")
def conv_only(hp, args):
    return {"filters": _scaled(hp, args["filters"]), "kernel": choice(hp, "kernel", (3, 5, 7), args["kernel"]),
            "units": choice(hp, "units", (0, 64, 128, 256), args["units"]), "dropout": share(hp, "dropout", args["dropout"])}


def _scaled(hp, filters):
    """All counts of filters times one factor."""
    factor = hp.Choice("filters_factor", [0.5, 1.0, 1.5, 2.0], default=1.0)
    return tuple(max(round(n * factor), 1) for n in filters)


@architecture("fashion_cnn")
def fashion_cnn(hp, args):
    return {"filters": choice(hp, "filters", (8, 16, 32, 64), args["filters"]),
            "units": choice(hp, "units", (64, 128, 256), args["units"]), "dropout": share(hp, "dropout", args["dropout"])}


@architecture("vgg")
def vgg(hp, args):
    return {"filters": _scaled(hp, args["filters"]), "units": choice(hp, "units", (256, 1024, 4096), args["units"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("alexnet", "googlenet", "inception_v3", "inception_v4")
def wide(hp, args):
    return {"width": choice(hp, "width", (0.25, 0.5, 0.75, 1.0), args["width"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("resnet", "resnet_cifar")
def resnet(hp, args):
    own = args["width"]
    found = {"width": choice(hp, "width", (own // 2, own * 2), own), "dropout": share(hp, "dropout", args["dropout"])}
    return found | ({"n": choice(hp, "n", (2, 3, 5, 7), args["n"])} if "n" in args else {})


@architecture("densenet")
def densenet(hp, args):
    return {"growth_rate": choice(hp, "growth_rate", (12, 24, 32), args["growth_rate"]),
            "compression": choice(hp, "compression", (0.5, 0.75, 1.0), args["compression"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("mobilenet_v1", "mobilenet_v2")
def mobilenet(hp, args):
    return {"alpha": choice(hp, "alpha", (0.25, 0.5, 0.75, 1.0), args["alpha"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("small_inception")
def dropout_only(hp, args):
    return {"dropout": share(hp, "dropout", args["dropout"])}


@architecture("textcnn")
def textcnn(hp, args):
    own = tuple(args["windows"])
    first = choice(hp, "first_window", (1, 2, 3, 4), own[0])
    count = choice(hp, "windows_count", (1, 2, 3), len(own))
    windows = own if (first, count) == (own[0], len(own)) else tuple(range(first, first + count))
    return {"windows": windows, "filters": choice(hp, "filters", (50, 100, 200), args["filters"]),
            "embedding": choice(hp, "embedding", (50, 100, 300), args["embedding"]),
            "embedding_dropout": share(hp, "embedding_dropout", args["embedding_dropout"]),
            "dropout": share(hp, "dropout", args["dropout"])}


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
             "batch": choice(hp, "batch", (32, 64, 128, 256), recipe.batch),
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
    spec = zoo.spec(recipe.model)
    found = ARCHITECTURES.get(spec.builder.__name__)
    return training(hp, recipe) | (found(hp, {**spec.defaults, **recipe.model_args}) if found else {})


def load(path):
    """Return the function `space` of a Python file of the user's own, as a function of (hp, recipe).

    Raises:
        zoo.errors.UsageError: if the file cannot be read or has no such function.
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
    return space if len(inspect.signature(space).parameters) > 1 else lambda hp, recipe: space(hp)


def apply(recipe, found):
    """Return `recipe` with what a space found put in: fields of a recipe, or arguments of its network's builder.

    Raises:
        zoo.errors.UsageError: if a name is neither, or a value will not do.
    """
    if not isinstance(found, dict):
        raise UsageError(f"space(hp) must return a dict of recipe fields and builder arguments. Received: {found!r}.")
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
    for name, value in map(split_setting, fixed):
        if name not in free:
            raise unknown("hyperparameter of --fix", name, [hp.name for hp in free.space])
        pinned.Fixed(name, convert(name, value, type(free[name])))
    apply(recipe, space(pinned, recipe))
    return pinned
