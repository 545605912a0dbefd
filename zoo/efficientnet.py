"""EfficientNet: a small network found by search, whose depth, width and image size grow together.

M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019; https://arxiv.org/abs/1905.11946

`stage2` to `stage8` are the rows of table 1, whose blocks are those of MobileNet v2 with
squeeze-and-excitation and swish; `head` is the 1x1 convolution of its last row.

Differs from the paper, as the network that its authors released does:
- filters scaled by `width` are rounded to a multiple of 8, and blocks scaled by `depth` upwards;
- squeeze-and-excitation has a quarter of the filters of the block's input, not of the expanded
  ones.
Differs from both:
- batch normalisation has momentum 0.9 (`zoo.blocks.BN_MOMENTUM`); the paper has 0.99.
"""
import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    BN_MOMENTUM,
    STEM_STRIDE,
    ImageShape,
    PerChannel,
    check_above_zero,
    check_positive,
    head,
    resolve_stem,
    squeeze_excite,
)
from zoo.mobilenet import mobile_input
from zoo.mobilenet_v2 import make_divisible
from zoo.registry import register

PAPER = "Tan and Le 2019"
STEM_FILTERS, HEAD_FILTERS = 32, 1280
BN_EPSILON = 1e-3  # of the released networks; the paper gives none
SQUEEZE = 4  # input filters of a block for each unit of the squeezed vector

# Normal, of variance 2 / fan-out, as in the released networks; the paper gives none
INITIALIZER = keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


class Row(NamedTuple):
    """A row of table 1: MBConv blocks; the first strides."""

    expansion: int
    kernel: int
    filters: int
    depth: int
    stride: int


TABLE_1 = (Row(1, 3, 16, 1, 1), Row(6, 3, 24, 2, 2), Row(6, 5, 40, 2, 2), Row(6, 3, 80, 3, 2),
           Row(6, 5, 112, 3, 1), Row(6, 5, 192, 4, 2), Row(6, 3, 320, 1, 1))


def bn(x: KerasTensor, *, name: str, swish: bool = True) -> KerasTensor:
    """Batch normalisation and, optionally, swish."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.Activation("silu", name=f"{name}_act")(x) if swish else x


def conv_bn(x: KerasTensor, filters: int, kernel: int = 1, stride: int = 1, *, name: str,
            swish: bool = True) -> KerasTensor:
    """A convolution without bias, batch normalisation and, optionally, swish."""
    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False,
                      kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)
    return bn(x, name=name, swish=swish)


def mbconv(x: KerasTensor, expansion: int, kernel: int, filters: int, stride: int, drop: float, *,
           name: str) -> KerasTensor:
    """Expand the channels, convolve each, weight them, project them to `filters`.

    `x` is added if the result has its shape. The rest is then left out for the share `drop` of the
    examples of a training batch (Huang et al. 2016, stochastic depth).
    """
    y = x
    if expansion > 1:
        y = conv_bn(y, expansion * x.shape[-1], name=f"{name}_expand")
    y = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False,
                               depthwise_initializer=INITIALIZER,
                               name=f"{name}_depthwise_conv")(y)
    y = bn(y, name=f"{name}_depthwise")
    y = squeeze_excite(y, max(1, x.shape[-1] // SQUEEZE), name=f"{name}_se", activation="silu")
    y = conv_bn(y, filters, name=f"{name}_project", swish=False)
    if stride > 1 or filters != x.shape[-1]:
        return y
    if drop:
        y = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
    return layers.Add(name=f"{name}_add")([x, y])


@register("efficientnet_b0", params=5_330_564)
def efficientnet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                 width: float = 1.0, depth: float = 1.0, rows: Sequence[Sequence[int]] = TABLE_1,
                 stem: str = "imagenet", drop_connect: float = 0.2, dropout: float = 0.2,
                 mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """EfficientNet, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 for B0; height and width may be None.
        width, depth: the factors on filters and on blocks; 1 for B0 (section 3.3).
        rows: for each stage (expansion, kernel, filters, blocks, stride of the first block).
        stem: "imagenet", whose convolution has stride 2, or "small", the same with stride 1 for
            images of 32x32, which is not in the paper.
        drop_connect: the share of examples for which the last block is left out in training; for
            the others it grows with their position. 0.2 in the paper (survival probability 0.8).
        dropout: the rate before the output; 0.2 for B0.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    check_above_zero(width=width, depth=depth)
    table = [Row(*row) for row in rows]
    for row in table:
        check_positive(rows=row)
    image, x = mobile_input(input_shape, 1.0, [row.stride for row in table], stem, mean, std)
    x = conv_bn(x, make_divisible(STEM_FILTERS * width), 3, STEM_STRIDE[stem], name="stem")
    blocks = [(i, number, row) for i, row in enumerate(table, 2)
              for number in range(1, math.ceil(row.depth * depth) + 1)]
    for position, (i, number, row) in enumerate(blocks):
        x = mbconv(x, row.expansion, row.kernel, make_divisible(row.filters * width),
                   row.stride if number == 1 else 1, drop_connect * position / len(blocks),
                   name=f"stage{i}_block{number}")
    x = conv_bn(x, make_divisible(HEAD_FILTERS * width), name="head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
