"""AlexNet: five convolutions and three fully connected layers with relu, large enough for ImageNet.

A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012;
https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html

`alexnet_2tower` is the paper's network; `alexnet` is that of today's courses, one tower without
response normalisation. `alexnet_torchvision` is the one that torchvision publishes, one tower with
the filters of A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
2014 (arXiv:1404.5997), and a border of 2 pixels around 224x224.

Differs from the paper:
- the input is 227x227: the paper says 224x224, from which its first kernels do not give its 55x55
  maps;
- the mean that is subtracted is one number per channel (`mean`), not one per pixel;
- weights are initialised with He's normal distribution. initializer="paper" gives those of
  section 5, which are made for pixels from -128 to 127 (std=1/255) and leave images scaled to
  [0, 1] hardly any signal.
"""
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from zoo.blocks import (
    ImageShape,
    PerChannel,
    check_above_zero,
    check_positive,
    head,
    image_input,
    local_response_norm,
    resolve_stem,
)
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Krizhevsky et al. 2012"

# Section 3.3.
LRN: dict[str, Any] = {"size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75}

# Section 5, "Details of learning".
PAPER_STDDEV = 0.01


class Stage(NamedTuple):
    """A convolution of section 3.5 and what follows it."""

    kernel: int
    split: bool  # between the two towers
    bias: int  # its initial value in the paper
    normalised: bool
    pooled: bool


STAGES = (
    Stage(11, split=False, bias=0, normalised=True, pooled=True),
    Stage(5, split=True, bias=1, normalised=True, pooled=True),
    Stage(3, split=False, bias=0, normalised=False, pooled=False),
    Stage(3, split=True, bias=1, normalised=False, pooled=False),
    Stage(3, split=True, bias=1, normalised=False, pooled=True),
)

# The first convolution, and the smallest image that leaves the last pooling a 3x3 map.
STEMS = {"imagenet": ({"kernel_size": 11, "strides": 4, "padding": "valid"}, 67),
         "small": ({"kernel_size": 3, "strides": 1, "padding": "same"}, 15)}


def _initializers(initializer, bias):
    """The initialisers of one layer; those of section 5 if `initializer` is "paper"."""
    if initializer != "paper":
        return {"kernel_initializer": initializer}
    return {"kernel_initializer": keras.initializers.RandomNormal(stddev=PAPER_STDDEV),
            "bias_initializer": keras.initializers.Constant(bias)}


@register("alexnet", params=62_378_344)
@register("alexnet_2tower", params=60_965_224, groups=2, lrn=True)
@register("alexnet_torchvision", params=61_100_840, input_shape=(224, 224, 3),
          filters=(64, 192, 384, 256, 256), border=2, source="Krizhevsky 2014")
def alexnet(input_shape: ImageShape = (227, 227, 3), classes: int = 1000, *,
            filters: Sequence[int] = (96, 256, 384, 384, 256), border: int = 0, groups: int = 1,
            lrn: bool = False, stem: str = "imagenet", initializer: str = "he_normal",
            width: float = 1.0, units: int = 4096, dropout: float = 0.5, mean: PerChannel = 0.0,
            std: PerChannel = 1.0) -> keras.Model:
    """AlexNet, as section 3.5 and figure 2 have it.

    See `zoo.build` for the common arguments. The features are the second fully connected layer.

    Args:
        input_shape: at least 67x67, or 15x15 with the small stem.
        filters: of the five convolutions.
        border: pixels of zeros that the imagenet stem adds on each side.
        groups: the towers into which convolutions 2, 4 and 5 are split: 2 in the paper, 1 for a
            single tower.
        lrn: whether local response normalisation follows convolutions 1 and 2, as in the paper.
        stem: the first convolution: "imagenet", 11x11 with stride 4, or "small", 3x3 with stride 1
            for images such as 32x32, which is not in the paper.
        initializer: of the weights, a name that Keras accepts; or "paper", normal with standard
            deviation 0.01, and 1 for the biases of convolutions 2, 4, 5 and of the hidden layers.
        width: a factor on the filters of all convolutions.
        units: of each of the two fully connected hidden layers.
        dropout: the rate after each of these.
    """
    stem = resolve_stem(stem, STEMS)
    if groups not in (1, 2):
        raise UsageError(f"groups must be 1 or 2. Received: {groups!r}.")
    check_positive(units=units, filters=filters)
    if len(filters) != len(STAGES):
        raise UsageError(f"filters must be {len(STAGES)} numbers. Received: {tuple(filters)}.")
    check_above_zero(width=width)
    first, minimum = STEMS[stem]
    image, x = image_input(input_shape, minimum=minimum, mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)
    if border and stem == "imagenet":
        x = layers.ZeroPadding2D(border, name="stage1_pad")(x)
    for number, (stage, maps) in enumerate(zip(STAGES, filters, strict=True), start=1):
        towers = groups if stage.split else 1
        geometry = {"kernel_size": stage.kernel, "padding": "same"} if number > 1 else first
        x = layers.Conv2D(groups * max(1, round(maps * width / groups)), groups=towers,
                          activation="relu", name=f"stage{number}_conv", **geometry,
                          **_initializers(initializer, stage.bias))(x)
        if lrn and stage.normalised:
            x = local_response_norm(x, f"stage{number}_lrn", **LRN)
        if stage.pooled:
            x = layers.MaxPooling2D(3, strides=2, name=f"stage{number}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(units, activation="relu", name=name, **_initializers(initializer, 1))(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.Model(image, head(x, classes, **_initializers(initializer, 0)))
