"""DenseNet: every layer sees the maps of all layers before it, so that each adds only a few.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks",
CVPR 2017; https://arxiv.org/abs/1608.06993

`stage1` and so on are the dense blocks; `transition1` follows `stage1`. Without `bottleneck`, and
with `compression` 1, it is the paper's plain DenseNet; with both, DenseNet-BC, as all of table 1.

`densenet161`, with a growth rate of 48, is not in table 1: its authors and torchvision publish
weights for it.

Differs from the paper:
- He's normal distribution, the initialisation, is cut off at two standard deviations, as in Keras;
- the paper gives no momentum for batch normalisation; it is 0.9 (`zoo.blocks.BN_MOMENTUM`).
"""
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    ImageShape,
    PerChannel,
    check_positive,
    head,
    image_input,
    resolve_stem,
)
from zoo.errors import UsageError
from zoo.registry import register
from zoo.resnet import INITIALIZER, imagenet_stem
from zoo.resnet_v2 import bn_relu

PAPER = "Huang et al. 2017"
BOTTLENECK = 4  # filters of the 1x1 convolution for each of the growth rate's; section 3
PLAIN_STEM = 16  # filters of the first convolution, in DenseNet-BC 2k; section 3
CIFAR: dict[str, Any] = {"input_shape": (32, 32, 3), "classes": 10, "stem": "small"}


def convolution(x: KerasTensor, filters: int, kernel: int, *, name: str,
                dropout: float = 0.0) -> KerasTensor:
    """A convolution without bias, and the dropout that follows each but the first."""
    x = layers.Conv2D(filters, kernel, padding="same", use_bias=False,
                      kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def dense_layer(x: KerasTensor, growth_rate: int, *, name: str, bottleneck: bool = True,
                dropout: float = 0.0) -> KerasTensor:
    """Section 3: `x` and, after it, the `growth_rate` new maps of H(x).

    H is BN-ReLU-Conv 3x3; with `bottleneck`, BN-ReLU-Conv 1x1 comes before it.
    """
    y = x
    if bottleneck:
        y = bn_relu(y, name=f"{name}_a")
        y = convolution(y, BOTTLENECK * growth_rate, 1, dropout=dropout, name=f"{name}_a")
    y = bn_relu(y, name=f"{name}_b")
    y = convolution(y, growth_rate, 3, dropout=dropout, name=f"{name}_b")
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def transition(x: KerasTensor, compression: float, *, name: str,
               dropout: float = 0.0) -> KerasTensor:
    """Section 3: a 1x1 convolution keeps `compression` of the channels, average pooling halves."""
    x = bn_relu(x, name=name)
    x = convolution(x, max(1, int(x.shape[-1] * compression)), 1, dropout=dropout, name=name)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def small_stem(x: KerasTensor, filters: int) -> KerasTensor:
    """Section 3, the first layer of the CIFAR networks: a 3x3 convolution at full size."""
    return convolution(x, filters, 3, name="stem")


def _imagenet_minimum(halvings):
    """The smallest image for which the stem, which rounds up, leaves 2 ** halvings pixels."""
    return 4 * 2 ** halvings - 3


# The layers, and the smallest image for a number of transitions, which round down
STEMS = {"imagenet": (imagenet_stem, _imagenet_minimum),
         "small": (small_stem, lambda halvings: 2 ** halvings)}


@register("densenet121", params=8_062_504, depths=(6, 12, 24, 16))
@register("densenet161", params=28_900_936, depths=(6, 12, 36, 24), growth_rate=48)
@register("densenet169", params=14_307_880, depths=(6, 12, 32, 32))
@register("densenet201", params=20_242_984, depths=(6, 12, 48, 32))
@register("densenet40_k12", params=1_037_818, depths=(12, 12, 12), growth_rate=12, bottleneck=False,
          compression=1.0, **CIFAR)
@register("densenet_bc100_k12", params=793_150, depths=(16, 16, 16), growth_rate=12, **CIFAR)
def densenet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *, depths: Sequence[int],
             growth_rate: int = 32, bottleneck: bool = True, compression: float = 0.5,
             stem: str = "imagenet", dropout: float = 0.0, mean: PerChannel = 0.0,
             std: PerChannel = 1.0) -> keras.Model:
    """DenseNet, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in table 1, 32x32x3 for CIFAR; height and width may be None.
        depths: the layers in each dense block.
        growth_rate: the maps that each layer adds; the paper's k.
        bottleneck: whether a 1x1 convolution of 4k filters precedes each 3x3 (DenseNet-B).
        compression: the share of the channels that a transition keeps, above 0 to 1; the paper's
            theta (DenseNet-C).
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1, that of
            the CIFAR networks.
        dropout: the rate after every convolution but the first; 0.2 in the paper where it does not
            augment its data.
    """
    check_positive(depths=depths, growth_rate=growth_rate)
    if not 0 < compression <= 1:
        raise UsageError(f"compression must be above 0 and at most 1. Received: {compression}.")
    stem = resolve_stem(stem, STEMS)
    stem_layers, minimum = STEMS[stem]
    hint = "stem='small'" if stem == "imagenet" else "fewer dense blocks in depths"
    image, x = image_input(input_shape, any_size=True, minimum=minimum(len(depths) - 1), mean=mean,
                           std=std, hint=hint)
    x = stem_layers(x, 2 * growth_rate if bottleneck else PLAIN_STEM)
    for i, depth in enumerate(depths, 1):
        for number in range(1, depth + 1):
            x = dense_layer(x, growth_rate, bottleneck=bottleneck, dropout=dropout,
                            name=f"stage{i}_layer{number}")
        if i < len(depths):
            x = transition(x, compression, dropout=dropout, name=f"transition{i}")
    x = bn_relu(x, name=f"stage{len(depths)}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, kernel_initializer=INITIALIZER))
