"""Every experiment under one name: the network, its data, and how it is trained.

A recipe is one line of `RECIPES`; what it leaves out is a default of `Recipe`. A run directory keeps the resolved recipe as
recipe.json, so that `zoo train --recipe RUN/recipe.json` repeats the run.
"""
import dataclasses
from pathlib import Path

from zoo.errors import unknown
from zoo.registry import spec
from zoo.training.recipe import Recipe, override, read

__all__ = ["RECIPES", "Recipe", "override", "read", "recipe"]

_AFFINE = {"shift": 2, "rotate": 10, "zoom": 0.1}
_TEXTCNN = {"embedding": 100, "scale": 0.05, "embedding_dropout": 0.5}
_LENET5_28 = {"input_shape": (28, 28, 1), "padding": "same"}  # pads 28x28 to the paper's 32x32
_LARGE = 50_000_000  # weights
_RATES = {"googlenet": 1e-3}  # deep, and without batch normalisation
_HALVES = {"mean": 0.5, "std": 0.5}                           # the course's Normalize((0.5,), (0.5,))


def _text(name, data, **fields):
    """What the recipes for sentences share: many words seen rarely want a small table, dropped out, and few epochs."""
    return Recipe(name, "textcnn", data, _TEXTCNN, **{
        "batch_size": 50, "learning_rate": 3e-3, "warmup": 0.0, "min_count": 2, "max_tokens": 64} | fields)


def _muon(model, data, **fields):
    """What most recipes for images share: Muon, which needs fewer epochs here than Adam or momentum, on a cosine."""
    return Recipe(f"{model}-{data}", model, data, **{
        "normalize": True, "optimizer": "muon", "learning_rate": 0.02, "weight_decay": 0.05} | fields)


def _perceptron(model, data, **fields):
    """For perceptrons AdamW: with Muon's steps, all of one size, three layers without normalisation hardly learn."""
    return Recipe(f"{model}-{data}", model, data, **{
        "normalize": True, "epochs": 30, "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05} | fields)


def _cifar(model, **fields):
    """Few validation images, and the paper's augmentation (He et al. 2016, section 4.2) but for what is beyond the edges."""
    return _muon(model, "cifar10", **{"validation_split": 0.02, "epochs": 40, "augment": {"crop": 4, "flip": True}} | fields)


def _seed(model, data, **fields):
    """A course document's own settings, by its listing: a constant rate, all training images, and the last epoch's weights."""
    return Recipe(f"{model}-{data}-seed", model, data, **{
        "validation_split": 0.0, "schedule": "constant", "warmup": 0.0} | fields)


def _seed_adam(model, data, rate, args=None, **fields):
    """Adam and batches of 1024 (document 001). It does not say how many epochs; 50 are our choice."""
    return _seed(model, data, **{"model_args": args or {}, "learning_rate": rate, "batch_size": 1024, "epochs": 50} | fields)


def _plain(name, model, data):
    """For a network on data that no recipe is for: batches small enough that a thousand images make steps enough, and a
    rate that networks of every kind learn by; some ask for a smaller one, as those with layers of thousands of units do.
    Gradients are clipped, without which MobileNets learn much less in as many steps.
    """
    if "input_shape" not in (takes := spec(model).defaults):
        return Recipe(name, model, data)
    large = (spec(model).params or 0) > _LARGE
    return Recipe(name, model, data, normalize={"mean", "std"} <= takes.keys(), optimizer="adamw", weight_decay=0.05,
                  learning_rate=3e-4 if large else _RATES.get(model, 2e-3), clip_norm=1.0, batch_size=32)


RECIPES = {recipe.name: recipe for recipe in (
    Recipe("lenet5-digits", "lenet5", "digits", epochs=40, batch_size=32, learning_rate=3e-3, label_smoothing=0.05,
           augment=_AFFINE),
    # MNIST
    Recipe("lenet5-mnist", "lenet5", "mnist", _LENET5_28, epochs=20, learning_rate=4e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("lenet-mnist", "lenet", "mnist", normalize=True, epochs=20, learning_rate=4e-3, label_smoothing=0.05,
           augment=_AFFINE),
    _muon("simple_cnn", "mnist", epochs=12, learning_rate=0.03, warmup=0.1, weight_decay=0.0, ema=0.97, label_smoothing=0.05,
          augment=_AFFINE),
    _seed("simple_cnn", "mnist", normalize=True, optimizer="sgd", momentum=0.5, learning_rate=0.01, batch_size=64, epochs=9),
    _muon("small_inception", "mnist", epochs=10, label_smoothing=0.05, augment=_AFFINE),
    _seed("small_inception", "mnist", normalize=True, optimizer="sgd", momentum=0.5, learning_rate=0.01, batch_size=64, epochs=9),
    # Fashion-MNIST
    *(_perceptron(model, "fashion_mnist", model_args={"dropout": 0.2}, augment={"shift": 1, "flip": True})
      for model in ("mlp_fashion_sigmoid", "mlp_fashion", "mlp_fashion_2")),
    *(_seed_adam(model, "fashion_mnist", 1e-3, _HALVES) for model in ("mlp_fashion_sigmoid", "mlp_fashion", "mlp_fashion_2")),
    *(_muon(model, "fashion_mnist", epochs=20, augment={"crop": 2, "flip": True}) for model in ("conv_only", "conv_only_128")),
    _seed_adam("conv_only_128", "fashion_mnist", 1e-5, _HALVES),
    _muon("fashion_cnn", "fashion_mnist", epochs=20, model_args={"dropout": 0.3}, augment={"crop": 2, "flip": True}),
    _seed("fashion_cnn", "fashion_mnist", learning_rate=1e-3, batch_size=32, epochs=5),
    # CIFAR-10
    *(_perceptron(model, "cifar10", validation_split=0.02, model_args={"dropout": 0.1}, augment={"crop": 2, "flip": True})
      for model in ("mlp_cifar", "mlp_cifar_2", "mlp_cifar_3")),
    *(_seed_adam(model, "cifar10", 1e-3, _HALVES) for model in ("mlp_cifar", "mlp_cifar_2", "mlp_cifar_3")),
    _cifar("conv_only_128_cifar", model_args={"dropout": 0.3}),
    _seed_adam("conv_only_128_cifar", "cifar10", 1e-5, _HALVES),
    *(_cifar(model, label_smoothing=0.1) for model in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")),
    *(_cifar(model, batch_size=64) for model in ("densenet40_k12", "densenet_bc100_k12")),
    # Photographs: of leaves, and of hands that sign digits (Mavi 2020)
    Recipe("lenet-cassava", "lenet_cassava", "cassava", epochs=30, batch_size=64, augment=_AFFINE),
    Recipe("resnet50-cassava", "resnet50_keras", "cassava", {"weights": "imagenet"}, resize="crop", epochs=12, batch_size=32,
           optimizer="adamw", learning_rate=3e-4, weight_decay=0.05, label_smoothing=0.1, frozen=["all"], unfreeze_every=2,
           augment={"flip": True, "rotate": 15, "zoom": 0.2}),
    Recipe("resnet20-sign_digits", "resnet20", "sign-digits", {"weights": "resnet20-cifar10"}, epochs=12, batch_size=32,
           optimizer="adamw", learning_rate=3e-3, weight_decay=0.05, label_smoothing=0.1,
           augment={"shift": 3, "rotate": 15, "zoom": 0.1}),
    # Sentences
    _text("textcnn-mr", "mr.csv", epochs=3),  # with --folds 10, as the paper scores it
    _text("textcnn-uit_vsfc", "uit-vsfc", epochs=4),
    _text("textcnn-ntc_scv", "ntc_scv", epochs=4, max_tokens=200),
    _text("textcnn-imdb_reviews", "imdb_reviews", epochs=4, max_tokens=400),
)}


def recipe(name, data=None):
    """Return the recipe `name`, on other `data` if some are named; or the default recipe of the model `name` on `data`.

    Raises:
        zoo.errors.UsageError: if there is no such recipe or model; the nearest name is given.
    """
    if data is None:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
        found = RECIPES[name]
        return dataclasses.replace(found, data=str(Path(found.data).resolve())) if Path(found.data).is_file() else found
    source = str(Path(data).resolve()) if Path(data).exists() else data
    title = f"{name.rpartition(':')[2]}-{Path(data).stem}"
    if name in RECIPES:
        same = Path(data).stem == Path(RECIPES[name].data).stem  # textcnn-mr on its own mr.csv, wherever it lies
        return dataclasses.replace(RECIPES[name], name=name if same else title, data=source)
    return _plain(title, name, source)
