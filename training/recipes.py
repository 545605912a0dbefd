"""Every experiment under one name: the network, its data, and how it is trained.

A recipe is one line of `RECIPES`; what it leaves out is a default of `Recipe`. A run directory keeps the resolved recipe as
recipe.json, so that `zoo train --recipe RUN/recipe.json` repeats the run.
"""
import dataclasses
from pathlib import Path

from training.recipe import Recipe, override, read
from zoo.errors import unknown

__all__ = ["RECIPES", "Recipe", "override", "read", "recipe"]

_AFFINE = {"shift": 2, "rotate": 10, "zoom": 0.1}
_TEXTCNN = {"embedding": 100, "scale": 0.05, "embedding_dropout": 0.5}
_LENET5_28 = {"input_shape": (28, 28, 1), "padding": "same"}  # pads 28x28 to the paper's 32x32


def _text(name, data, **fields):
    """What the recipes for sentences share: many words seen rarely want a small table, dropped out, and few epochs."""
    return Recipe(name, "textcnn", data, _TEXTCNN, **{
        "batch": 50, "learning_rate": 3e-3, "warmup": 0.0, "minimum_count": 2, "max_tokens": 64} | fields)


RECIPES = {recipe.name: recipe for recipe in (
    Recipe("lenet5-digits", "lenet5", "digits", epochs=40, batch=32, learning_rate=3e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("lenet5-mnist", "lenet5", "mnist", _LENET5_28, epochs=20, learning_rate=4e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("lenet-mnist", "lenet", "mnist", normalise=True, epochs=20, learning_rate=4e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("resnet20-cifar10", "resnet20", "cifar10", normalise=True, validation=0.02, epochs=40, optimizer="muon",
           learning_rate=0.02, weight_decay=0.05, augment={"crop": 4, "flip": True}),
    _text("textcnn-mr", "mr.csv", epochs=3),  # with --folds 10, as the paper scores it
    _text("textcnn-uit_vsfc", "uit-vsfc", epochs=4),
    _text("textcnn-ntc_scv", "ntc_scv", epochs=4, max_tokens=200),
    _text("textcnn-imdb_reviews", "imdb_reviews", epochs=4, max_tokens=400),
    Recipe("lenet-cassava", "lenet_cassava", "cassava", epochs=30, batch=64, augment=_AFFINE),
)}


def recipe(name, data=None):
    """Return the recipe `name`, on other `data` if some are named; or the default recipe of the model `name` on `data`.

    Raises:
        zoo.errors.UsageError: if there is no such recipe; the nearest name is given.
    """
    if data is None:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
        return RECIPES[name]
    source = str(Path(data).resolve()) if Path(data).exists() else data
    title = f"{name.rpartition(':')[2]}-{Path(data).stem}"
    if name in RECIPES:
        same = Path(data).stem.replace("-", "_") in name.replace("-", "_")  # textcnn-mr on its own mr.csv, wherever it lies
        return dataclasses.replace(RECIPES[name], name=name if same else title, data=source)
    return Recipe(title, name, source)
