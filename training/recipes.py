"""The recipes: every experiment under one name, with its network, data and training settings.

A recipe is one line of `RECIPES`; omitted fields have the defaults of `Recipe`. A run directory
contains the complete recipe as recipe.json: `zoo train --recipe RUN/recipe.json` repeats the run.
"""
import dataclasses
import fnmatch
import os
import re
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
# Of the pixels of ImageNet's training images, scaled to 0 to 1, as in wide use.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_INCEPTION = {"random_resized_crop": 0.08, "flip": True}  # Szegedy et al. 2015, section 6
_SCALED = {"scale_jitter": [256, 480], "flip": True, "pca_noise": 0.1}  # He et al. 2016
# distort_image of tensorflow/models, research/inception; brightness is added there.
_DISTORTED = {"random_resized_crop": 0.05, "flip": True, "brightness": 0.125, "contrast": 0.5,
              "saturation": 0.5, "hue": 0.2}
_VIETNAMESE = "àáảãạăằắẳẵặâầấẩẫậđèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵ"
_FASHION_MLPS = ("mlp_fashion_sigmoid", "mlp_fashion", "mlp_fashion_2")
_CIFAR_MLPS = ("mlp_cifar", "mlp_cifar_2", "mlp_cifar_3")


def _text(name, data, **fields):
    """Return a recipe for sentences: a small table of word vectors, dropout and few epochs."""
    defaults: dict[str, Any] = {"model_args": _TEXTCNN, "batch_size": 50, "learning_rate": 3e-3,
                                "warmup": 0.0, "min_count": 2, "max_tokens": 64}
    return Recipe(name, "textcnn", data, **defaults | fields)


def _characters(model, data, **fields):
    """Return a recipe for a network that reads characters.

    The papers train on hundreds of thousands of texts of up to 1014 characters, by SGD with
    momentum 0.9 and batches of 128. The longest sentence of MR has 267 characters, and 99 % of
    those of UIT-VSFC have at most 220.
    """
    defaults: dict[str, Any] = {"batch_size": 50, "max_tokens": 270}
    return Recipe(f"{model}-{Path(data).stem.replace('-', '_')}", model, data, **defaults | fields)


def _muon(model, data, **fields):
    """Return a recipe for images: Muon needs fewer epochs here than Adam or SGD with momentum."""
    defaults: dict[str, Any] = {"normalize": True, "optimizer": "muon", "learning_rate": 0.02,
                                "weight_decay": 0.05}
    return Recipe(f"{model}-{data}", model, data, **defaults | fields)


def _perceptron(model, data, **fields):
    """Return a recipe for perceptrons, with AdamW.

    Muon's updates all have one size; with them, three layers without normalization hardly train.
    """
    defaults: dict[str, Any] = {"normalize": True, "epochs": 40, "optimizer": "adamw",
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


def _imagenet(model, **fields):
    """Return a recipe for ImageNet with the settings of the network's paper.

    None was run to its end by this project. Where the papers agree they stand here: SGD with
    momentum 0.9, no warm-up, and a rate that falls in steps. A paper that divides it by ten when
    the validation error stops falling is translated into as many divisions at equal distances. Its
    L2 penalty is ten times as large here, see `zoo.training.engine.optimizers.optimizer`. The
    networks see the centre of an image for validation and test, where papers average ten crops or
    apply the network to the whole image.
    """
    defaults: dict[str, Any] = {
        "model_args": {"mean": _IMAGENET_MEAN, "std": _IMAGENET_STD}, "resize": "crop",
        "eval_resize": 256, "optimizer": "sgd", "schedule": "exponential", "warmup": 0.0,
        "batch_size": 256}
    return Recipe(f"{model}-imagenet2012", model, "imagenet2012", **defaults | fields)


def _mobile(model, **fields):
    """Return a recipe for ImageNet by RMSProp as Szegedy et al. 2016, section 8, have it.

    Its weight decay, 4e-5, and the momentum are those of the authors' released programs.
    """
    return _imagenet(model, **{"model_args": _HALVES, "optimizer": "rmsprop_momentum",
                               "learning_rate": 0.045, "weight_decay": 4e-4, "decay": 0.94,
                               "decay_epochs": 2.0, "batch_size": 32, "epochs": 100} | fields)


def _default(name, model, data):
    """Return the recipe for a network and data that no named recipe is for.

    A batch is small, and few examples are repeated, so that there are enough steps. The learning
    rate works for all architectures but those with an entry in `_RATES` and those with layers of
    thousands of units, which need a smaller one. Without clipping, MobileNets learn much less in as
    many steps. For sentences, a batch is that of Kim 2014; a network that reads characters gets as
    many as its paper gives it.
    """
    args = catalog.arguments(model)
    if "input_shape" not in args:
        longest = {"max_tokens": args["length"]} if {"alphabet", "length"} <= args.keys() else {}
        return Recipe(name, model, data, batch_size=50, min_steps=_MIN_STEPS["text"], **longest)
    large = (catalog.params(model) or 0) > _LARGE
    return Recipe(name, model, data, normalize={"mean", "std"} <= args.keys(), optimizer="adamw",
                  learning_rate=3e-4 if large else _RATES.get(model, 2e-3), weight_decay=0.05,
                  clip_norm=1.0, batch_size=32, min_steps=_MIN_STEPS["image"])


RECIPES = {recipe.name: recipe for recipe in (
    Recipe("lenet5-digits", "lenet5", "digits", epochs=40, batch_size=32, learning_rate=3e-3,
           label_smoothing=0.05, augment=_AFFINE),
    # MNIST
    _muon("lenet5", "mnist", model_args=_LENET5_28, normalize=False, epochs=40,
          label_smoothing=0.05, augment=_AFFINE),
    Recipe("lenet-mnist", "lenet", "mnist", normalize=True, epochs=20, learning_rate=4e-3,
           label_smoothing=0.05, augment=_AFFINE),
    _muon("simple_cnn", "mnist", epochs=20, learning_rate=0.03, warmup=0.1, weight_decay=0.1,
          ema=0.97, augment=_AFFINE),
    _seed("simple_cnn", "mnist", **_SGD),
    _muon("small_inception", "mnist", epochs=10, label_smoothing=0.05, augment=_AFFINE),
    _seed("small_inception", "mnist", **_SGD),
    # Fashion-MNIST
    # Sigmoid units overfit less, and learn more without flips.
    _perceptron("mlp_fashion_sigmoid", "fashion_mnist", epochs=100, batch_size=256,
                learning_rate=5e-3, augment={"shift": 1}),
    *(_perceptron(model, "fashion_mnist", model_args={"dropout": 0.05}, epochs=200, batch_size=256,
                  learning_rate=2e-3, weight_decay=0.1, ema=0.99,
                  augment={"shift": 1, "flip": True, "mixup": 0.3})
      for model in _FASHION_MLPS[1:]),
    *(_seed_adam(model, "fashion_mnist", 1e-3, _HALVES) for model in _FASHION_MLPS),
    # Without normalization: at Muon's usual rate conv_only_128 diverges within an epoch.
    *(_muon(model, "fashion_mnist", model_args={"dropout": 0.2}, epochs=20, learning_rate=4e-3,
            validation_split=0.05, teacher="resnet20-fashion_mnist",
            augment={"crop": 2, "flip": True}) for model in ("conv_only", "conv_only_128")),
    _seed_adam("conv_only_128", "fashion_mnist", 1e-5, _HALVES),
    _muon("fashion_cnn", "fashion_mnist", epochs=90, validation_split=0.05, weight_decay=0.1,
          teacher="resnet20-fashion_mnist", augment={"crop": 2, "flip": True}),
    _seed("fashion_cnn", "fashion_mnist", learning_rate=1e-3, batch_size=32, epochs=5),
    _muon("resnet20", "fashion_mnist", model_args={"input_shape": (28, 28, 1)}, epochs=40,
          validation_split=0.05, augment={"crop": 2, "flip": True, "erase": 0.5}),
    # CIFAR-10
    *(_perceptron(model, "cifar10", validation_split=0.02, model_args={"dropout": 0.1},
                  augment={"crop": 2, "flip": True}) for model in _CIFAR_MLPS),
    *(_seed_adam(model, "cifar10", 1e-3, _HALVES) for model in _CIFAR_MLPS),
    _cifar("conv_only_128_cifar", model_args={"dropout": 0.3}, learning_rate=4e-3),
    _seed_adam("conv_only_128_cifar", "cifar10", 1e-5, _HALVES),
    # So small that it needs no label smoothing; random erasing by Zhong et al. 2020, less often.
    _cifar("resnet20", epochs=80, augment={"crop": 4, "flip": True, "erase": 0.25}),
    *(_cifar(f"resnet{depth}", label_smoothing=0.1) for depth in (32, 44, 56, 110)),
    *(_cifar(model, batch_size=64) for model in ("densenet40_k12", "densenet_bc100_k12")),
    *(_cifar(model, label_smoothing=0.1) for model in (
        "resnet110_v2", "resnet164_v2", "wide_resnet16_4", "wide_resnet28_10", "wide_resnet40_4")),
    _cifar("nin_cifar10"),
    # ImageNet, as published. Krizhevsky et al. 2012, section 5: 90 epochs, the rate divided three
    # times; crops of images of 256 pixels (4.1). Their weights need pixels from -128 to 127.
    _imagenet("alexnet", model_args={"mean": _IMAGENET_MEAN, "std": 1 / 255,
                                     "initializer": "paper"}, batch_size=128, learning_rate=0.01,
              weight_decay=5e-3, epochs=90, decay_epochs=23.0,
              augment=_SCALED | {"scale_jitter": [256, 256]}),
    # Simonyan and Zisserman 2015, section 3.1: 74 epochs, the rate divided three times.
    _imagenet("vgg16", learning_rate=0.01, weight_decay=5e-3, epochs=74, decay_epochs=19.0,
              augment=_SCALED | {"scale_jitter": [256, 512]}),
    # Szegedy et al. 2015, section 6: the rate falls by 4 % every 8 epochs, averaged weights,
    # photometric distortions, whose strength is a choice. They give no rate, batch, weight decay
    # and length: these are those of BVLC/caffe, models/bvlc_googlenet/solver.prototxt.
    _imagenet("googlenet", model_args={"mean": _IMAGENET_MEAN, "std": _IMAGENET_STD, "aux": True},
              batch_size=32, learning_rate=0.01, weight_decay=2e-3, epochs=250, decay=0.96,
              decay_epochs=8.0, ema=0.9999,
              augment=_INCEPTION | {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5}),
    # Szegedy et al. 2016, section 8: 100 epochs of batches of 32, which 50 machines computed at a
    # time. The augmentation, of which the paper says nothing, and the centre, 87.5 % of the image,
    # are those of the authors' program.
    _mobile("inception_v3", eval_resize=342, clip_norm=2.0, label_smoothing=0.1, ema=0.9999,
            augment=_DISTORTED),
    # He et al. 2016, section 3.4: 600,000 batches of 256, the rate divided when the error
    # plateaus, which figure 4 shows after 30 and 60 epochs.
    *(_imagenet(f"resnet{depth}", learning_rate=0.1, weight_decay=1e-3, epochs=120,
                augment=_SCALED) for depth in (18, 50)),
    # Huang et al. 2017, section 4.2, and opts.lua of liuzhuang13/DenseNet; augmented as
    # datasets/imagenet.lua of fb.resnet.torch does, which they follow.
    _imagenet("densenet121", optimizer="nesterov", learning_rate=0.1, weight_decay=1e-3, epochs=90,
              augment=_INCEPTION | {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
                                    "pca_noise": 0.1}),
    # Howard et al. 2017, section 3.2: as Inception v3, with less regularization and no small crops;
    # batch and decay are those of slim/nets/mobilenet_v1_train.py in tensorflow/models. They do not
    # say how small, nor how long they trained; a quarter of the area and 100 epochs are a choice.
    _mobile("mobilenet_v1", batch_size=64, decay_epochs=2.5,
            augment={"random_resized_crop": 0.25, "flip": True}),
    # Sandler et al. 2018, section 6.1, with 16 machines. For one, slim/nets/mobilenet/README.md in
    # tensorflow/models: 5.5 million batches of 96, and what the paper does not say.
    _mobile("mobilenet_v2", batch_size=96, epochs=412, decay=0.98, decay_epochs=2.5,
            label_smoothing=0.1, ema=0.9999, augment=_DISTORTED),
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
    _text("textcnn-mr-small", "mr.csv", epochs=3, model_args={**_TEXTCNN, "embedding": 50}),
    _text("textcnn-uit_vsfc", "uit-vsfc", epochs=4),
    *(Recipe(f"fasttext-{name}", "fasttext", data, epochs=3, batch_size=50, learning_rate=1e-2,
             max_tokens=64) for name, data in (("mr", "mr.csv"), ("uit_vsfc", "uit-vsfc"))),
    _characters("char_cnn", "mr.csv", epochs=6, batch_size=16, learning_rate=5e-4),
    _characters("char_cnn", "uit-vsfc", epochs=6, batch_size=16, learning_rate=5e-4,
                model_args={"alphabet": catalog.arguments("char_cnn")["alphabet"] + _VIETNAMESE}),
    _characters("vdcnn9", "mr.csv", epochs=6),
    _characters("vdcnn9", "uit-vsfc", epochs=6,
                model_args={"alphabet": catalog.arguments("vdcnn9")["alphabet"] + _VIETNAMESE}),
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
    if name not in catalog.names() and not re.fullmatch(r"[\w.]+:\w+", name):
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
