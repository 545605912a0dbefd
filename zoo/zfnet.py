"""ZFNet: AlexNet, whose first layers look closer after they had been made visible.

M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014;
https://arxiv.org/abs/1311.2901

Figure 3, layer by layer. Beside AlexNet's, the first kernels are 7x7 with stride 2, not 11x11 with
stride 4, and the second ones have stride 2.

Differs from the paper:
- the paper gives no constants for its contrast normalisation across feature maps: it is the local
  response normalisation of Krizhevsky et al. 2012, with its constants;
- the first convolution has a border of one pixel, and the first two poolings round up, without
  which 224 pixels do not give the 110x110, 55x55 and 13x13 maps of figure 3;
- weights are initialised with He's normal distribution. initializer="paper" gives those of
  section 3: normal with standard deviation 0.01, and biases of 0.
"""
from typing import NamedTuple

import keras
from keras import layers

from zoo.alexnet import LRN, PAPER_STDDEV
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
from zoo.registry import register

PAPER = "Zeiler and Fergus 2014"


class Stage(NamedTuple):
    """A layer of figure 3: a convolution, max pooling 3x3 with stride 2, normalisation."""

    filters: int
    kernel: int
    stride: int = 1
    padding: str = "same"
    pool: str | None = None  # the padding of the pooling; "same" rounds an even map up
    normalised: bool = False


STAGES = (
    Stage(96, 7, 2, "border", "same", normalised=True),
    Stage(256, 5, 2, "valid", "same", normalised=True),
    Stage(384, 3),
    Stage(384, 3),
    Stage(256, 3, pool="valid"),
)

# The first two layers for small images: full size, then a pooling each
SMALL = (Stage(96, 3, 1, "same", "same", normalised=True),
         Stage(256, 5, 1, "same", "same", normalised=True))

# The stages, and the smallest image that leaves the last pooling a 3x3 map
STEMS = {"imagenet": (STAGES, 53), "small": ((*SMALL, *STAGES[2:]), 9)}


@register("zfnet", params=62_357_608)
def zfnet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *, stem: str = "imagenet",
          initializer: str = "he_normal", lrn: bool = True, width: float = 1.0, units: int = 4096,
          dropout: float = 0.5, mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """ZFNet, as figure 3 has it.

    See `zoo.build` for the common arguments. The features are the second fully connected layer.

    Args:
        input_shape: 224x224x3 in the paper.
        stem: the first two layers: "imagenet", with strides of 2, or "small", with 3x3 and 5x5
            kernels and strides of 1 for images such as 32x32, which is not in the paper.
        initializer: of the weights, a name that Keras accepts; or "paper", normal with standard
            deviation 0.01.
        lrn: whether normalisation follows the first two poolings, as in the paper.
        width: a factor on the filters of all convolutions.
        units: of each of the two fully connected hidden layers.
        dropout: the rate after each of these.
    """
    stem = resolve_stem(stem, STEMS)
    check_positive(units=units)
    check_above_zero(width=width)
    stages, minimum = STEMS[stem]
    if initializer == "paper":
        initializer = keras.initializers.RandomNormal(stddev=PAPER_STDDEV)
    image, x = image_input(input_shape, minimum=minimum, mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)
    for number, stage in enumerate(stages, start=1):
        name, padding = f"stage{number}", stage.padding
        if padding == "border":
            x, padding = layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
        x = layers.Conv2D(max(1, round(stage.filters * width)), stage.kernel, stage.stride,
                          padding, activation="relu", kernel_initializer=initializer,
                          name=f"{name}_conv")(x)
        if stage.pool:
            x = layers.MaxPooling2D(3, 2, stage.pool, name=f"{name}_pool")(x)
        if stage.normalised and lrn:
            x = local_response_norm(x, f"{name}_lrn", **LRN)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(units, activation="relu", kernel_initializer=initializer, name=name)(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.Model(image, head(x, classes, kernel_initializer=initializer))
