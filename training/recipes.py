"""The recipes: every experiment under one name, with its network, data and training settings.

A recipe is one line of `RECIPES`; omitted fields have the defaults of `Recipe`. A run directory
contains the complete recipe as recipe.json: `zoo train --recipe RUN/recipe.json` repeats the run.
"""
import dataclasses
import fnmatch
import os
from pathlib import Path
from typing import Any

from zoo import catalog
from zoo.errors import UsageError, unknown
from zoo.training.recipe import Recipe, override, read

__all__ = ["RECIPES", "Recipe", "get_recipe", "list_recipes", "override", "read"]

_AFFINE = {"shift": 2, "rotate": 10, "zoom": 0.1}
_TEXTCNN = {"embedding": 100, "scale": 0.05, "embedding_dropout": 0.5}
_LENET5_28 = {"input_shape": (28, 28, 1), "padding": "same"}  # pads 28x28 to the paper's 32x32
_LARGE = 50_000_000  # params
_MIN_STEPS = {"image": 600, "text": 1500}  # on data of one's own, however few
_RATES = {"googlenet": 1e-3}  # deep, and without batch normalization
_HALVES = {"mean": 0.5, "std": 0.5}  # the course's Normalize((0.5,), (0.5,))
_SGD = {"normalize": True, "optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.01,
        "batch_size": 64, "epochs": 9}  # a course document's settings
_FASHION_MLPS = ("mlp_fashion_sigmoid", "mlp_fashion", "mlp_fashion_2")
_CIFAR_MLPS = ("mlp_cifar", "mlp_cifar_2", "mlp_cifar_3")


def _text(name, data, **fields):
    """Return a recipe for sentences: a small table of word vectors, dropout and few epochs."""
    defaults: dict[str, Any] = {"batch_size": 50, "learning_rate": 3e-3, "warmup": 0.0,
                                "min_count": 2, "max_tokens": 64}
    return Recipe(name, "textcnn", data, _TEXTCNN, **defaults | fields)


def _muon(model, data, **fields):
    """Return a recipe for images: Muon needs fewer epochs here than Adam or SGD with momentum."""
    defaults: dict[str, Any] = {"normalize": True, "optimizer": "muon", "learning_rate": 0.02,
                                "weight_decay": 0.05}
    return Recipe(f"{model}-{data}", model, data, **defaults | fields)


def _perceptron(model, data, **fields):
    """Return a recipe for perceptrons, with AdamW.

    Muon's updates all have one size; with them, three layers without normalization hardly train.
    """
    defaults: dict[str, Any] = {"normalize": True, "epochs": 30, "optimizer": "adamw",
                                "learning_rate": 1e-3, "weight_decay": 0.05}
    return Recipe(f"{model}-{data}", model, data, **defaults | fields)


def _cifar(model, **fields):
    """Return a recipe for CIFAR-10 with few validation images.

    The augmentation is that of He et al. 2016, section 4.2, except for the pixels outside the
    image. The papers of ResNet and DenseNet train by SGD with momentum 0.9, an L2 penalty of 1e-4
    and a rate that falls in steps, for 64,000 steps and 300 epochs, with the same batch sizes.
    """
    return _muon(model, "cifar10", **{
        "validation_split": 0.02, "epochs": 40, "augment": {"crop": 4, "flip": True}} | fields)


def _seed(model, data, **fields):
    """Return a recipe with the settings of a course document.

    A constant learning rate, all training images, and the weights of the last epoch.
    """
    defaults: dict[str, Any] = {"validation_split": 0.0, "schedule": "constant", "warmup": 0.0}
    return Recipe(f"{model}-{data}-seed", model, data, **defaults | fields)


def _seed_adam(model, data, rate, args=None, **fields):
    """Return a recipe with Adam and batches of 1024 (document 001).

    The document does not state the number of epochs; 50 is our choice.
    """
    return _seed(model, data, **{"model_args": args or {}, "learning_rate": rate,
                                 "batch_size": 1024, "epochs": 50} | fields)


def _default(name, model, data):
    """Return the recipe for a network and data that no named recipe is for.

    A batch is small, and few examples are repeated, so that there are enough steps. The learning
    rate works for all architectures but those with an entry in `_RATES` and those with layers of
    thousands of units, which need a smaller one. Without clipping, MobileNets learn much less in as
    many steps. For sentences, a batch is that of Kim 2014.
    """
    args = catalog.arguments(model)
    if "input_shape" not in args:
        return Recipe(name, model, data, batch_size=50, min_steps=_MIN_STEPS["text"])
    large = (catalog.params(model) or 0) > _LARGE
    return Recipe(name, model, data, normalize={"mean", "std"} <= args.keys(), optimizer="adamw",
                  learning_rate=3e-4 if large else _RATES.get(model, 2e-3), weight_decay=0.05,
                  clip_norm=1.0, batch_size=32, min_steps=_MIN_STEPS["image"])


RECIPES = {recipe.name: recipe for recipe in (
    Recipe("lenet5-digits", "lenet5", "digits", epochs=40, batch_size=32, learning_rate=3e-3,
           label_smoothing=0.05, augment=_AFFINE),
    # MNIST
    Recipe("lenet5-mnist", "lenet5", "mnist", _LENET5_28, epochs=20, learning_rate=4e-3,
           label_smoothing=0.05, augment=_AFFINE),
    Recipe("lenet-mnist", "lenet", "mnist", normalize=True, epochs=20, learning_rate=4e-3,
           label_smoothing=0.05, augment=_AFFINE),
    _muon("simple_cnn", "mnist", epochs=12, learning_rate=0.03, warmup=0.1, weight_decay=0.0,
          ema=0.97, label_smoothing=0.05, augment=_AFFINE),
    _seed("simple_cnn", "mnist", **_SGD),
    _muon("small_inception", "mnist", epochs=10, label_smoothing=0.05, augment=_AFFINE),
    _seed("small_inception", "mnist", **_SGD),
    # Fashion-MNIST
    *(_perceptron(model, "fashion_mnist", model_args={"dropout": 0.2},
                  augment={"shift": 1, "flip": True}) for model in _FASHION_MLPS),
    *(_seed_adam(model, "fashion_mnist", 1e-3, _HALVES) for model in _FASHION_MLPS),
    *(_muon(model, "fashion_mnist", epochs=20, augment={"crop": 2, "flip": True})
      for model in ("conv_only", "conv_only_128")),
    _seed_adam("conv_only_128", "fashion_mnist", 1e-5, _HALVES),
    _muon("fashion_cnn", "fashion_mnist", epochs=20, model_args={"dropout": 0.3},
          augment={"crop": 2, "flip": True}),
    _seed("fashion_cnn", "fashion_mnist", learning_rate=1e-3, batch_size=32, epochs=5),
    # CIFAR-10
    *(_perceptron(model, "cifar10", validation_split=0.02, model_args={"dropout": 0.1},
                  augment={"crop": 2, "flip": True}) for model in _CIFAR_MLPS),
    *(_seed_adam(model, "cifar10", 1e-3, _HALVES) for model in _CIFAR_MLPS),
    _cifar("conv_only_128_cifar", model_args={"dropout": 0.3}),
    _seed_adam("conv_only_128_cifar", "cifar10", 1e-5, _HALVES),
    *(_cifar(f"resnet{depth}", label_smoothing=0.1) for depth in (20, 32, 44, 56, 110)),
    *(_cifar(model, batch_size=64) for model in ("densenet40_k12", "densenet_bc100_k12")),
    # Photographs of leaves, and of hands signing digits (Mavi 2020)
    Recipe("lenet-cassava", "lenet_cassava", "cassava", epochs=30, batch_size=64, augment=_AFFINE),
    Recipe("resnet50-cassava", "resnet50_keras", "cassava", {"weights": "imagenet"}, resize="crop",
           epochs=12, batch_size=32, optimizer="adamw", learning_rate=3e-4, weight_decay=0.05,
           label_smoothing=0.1, frozen=["all"], unfreeze_every=2,
           augment={"flip": True, "rotate": 15, "zoom": 0.2}),
    Recipe("resnet20-sign_digits", "resnet20", "sign-digits", {"weights": "resnet20-cifar10"},
           epochs=12, batch_size=32, optimizer="adamw", learning_rate=3e-3, weight_decay=0.05,
           label_smoothing=0.1, augment={"shift": 3, "rotate": 15, "zoom": 0.1}),
    # Sentences
    _text("textcnn-mr", "mr.csv", epochs=3),  # the paper reports 10 folds: --folds 10
    _text("textcnn-uit_vsfc", "uit-vsfc", epochs=4),
    _text("textcnn-ntc_scv", "ntc_scv", epochs=4, max_tokens=200),
    _text("textcnn-imdb_reviews", "imdb_reviews", epochs=4, max_tokens=400),
)}


def get_recipe(name: str, data: str | os.PathLike | None = None) -> Recipe:
    """Return the recipe `name`, or the default recipe of a model.

    Args:
        name: the name of a recipe; with `data`, also the name of a model.
        data: a path, "digits" or a TFDS name, to train on instead of the recipe's own data.

    Raises:
        zoo.errors.UsageError: if there is no such recipe or model; the message names the nearest.
    """
    if data is None:
        if name not in RECIPES:
            raise _no_recipe(name)
        recipe = RECIPES[name]
        if not Path(recipe.data).is_file():
            return recipe
        return dataclasses.replace(recipe, data=str(Path(recipe.data).resolve()))
    source = str(Path(data).resolve()) if Path(data).exists() else str(data)
    title = f"{name.rpartition(':')[2]}-{Path(data).stem}"
    if name not in RECIPES:
        return _default(title, name, source)
    recipe = RECIPES[name]
    if Path(data).stem == Path(recipe.data).stem:  # its own data, in another folder
        return dataclasses.replace(recipe, data=source)
    kind = "image" if "input_shape" in catalog.arguments(recipe.model) else "text"
    return dataclasses.replace(recipe, name=title, data=source, min_steps=_MIN_STEPS[kind])


def _no_recipe(name: str) -> UsageError:
    if ":" not in name and name not in catalog.names():
        return unknown("recipe", name, [*RECIPES, *catalog.names()])
    own = [f" or choose the recipe {recipe}" for recipe, settings in RECIPES.items()
           if settings.model == name]
    return UsageError(f"{name} is a network. Name the data to train it on (--data DATASET; in "
                      f"Python data=){own[0] if own else ''}.")


def list_recipes(pattern: str = "*") -> list[str]:
    """Return the names of the recipes that match a shell pattern, such as "lenet*".

    Upper and lower case are the same. The order is that of `RECIPES`.
    """
    return [name for name in RECIPES if fnmatch.fnmatchcase(name.lower(), pattern.lower())]
