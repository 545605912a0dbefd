"""MobileNet v3: blocks found by search, with squeeze-and-excitation and hard swish, a cheaper end.

A. Howard, M. Sandler, G. Chu, L.-C. Chen, B. Chen, M. Tan, W. Wang, Y. Zhu, R. Pang, V. Vasudevan,
Q. V. Le, H. Adam, "Searching for MobileNetV3", ICCV 2019; https://arxiv.org/abs/1905.02244

A stage holds the rows of table 1 or 2 that see one size of map; `head` is the 1x1 convolution
before the pooling, `fc` the layer after it.

Differs from the paper, as the network that its authors released does:
- filters are rounded to a multiple of 8, those of squeeze-and-excitation too, which are a quarter
  of the expanded ones (section 5.3);
- table 2 marks the last convolution with squeeze-and-excitation: it has none;
- a block whose expansion is the width of its input has no expanding convolution.
Differs from both:
- all weights start from Glorot's uniform distribution, those that squeeze from He's normal one; the
  paper does not give an initialisation;
- batch normalisation has momentum 0.9 (`zoo.blocks.BN_MOMENTUM`); the paper has 0.99.
"""
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    BN_MOMENTUM,
    STEM_STRIDE,
    ImageShape,
    PerChannel,
    check_positive,
    head,
    resolve_stem,
    squeeze_excite,
)
from zoo.errors import UsageError
from zoo.mobilenet import mobile_input
from zoo.mobilenet_v2 import make_divisible
from zoo.registry import register

PAPER = "Howard et al. 2019"
STEM_FILTERS = 16
BN_EPSILON = 1e-3  # of the released networks; the paper gives none
SQUEEZE = 4  # expanded filters for each of the squeezed vector
ACTIVATIONS = {"RE": "relu", "HS": "hard_silu"}  # the tables' column NL


class Row(NamedTuple):
    """A bottleneck of table 1 or 2; `expansion` is the paper's exp size."""

    kernel: int
    expansion: int
    filters: int
    squeeze: bool
    nonlinearity: str
    stride: int


LARGE = (Row(3, 16, 16, False, "RE", 1),
         Row(3, 64, 24, False, "RE", 2), Row(3, 72, 24, False, "RE", 1),
         Row(5, 72, 40, True, "RE", 2), Row(5, 120, 40, True, "RE", 1),
         Row(5, 120, 40, True, "RE", 1),
         Row(3, 240, 80, False, "HS", 2), Row(3, 200, 80, False, "HS", 1),
         Row(3, 184, 80, False, "HS", 1), Row(3, 184, 80, False, "HS", 1),
         Row(3, 480, 112, True, "HS", 1), Row(3, 672, 112, True, "HS", 1),
         Row(5, 672, 160, True, "HS", 2), Row(5, 960, 160, True, "HS", 1),
         Row(5, 960, 160, True, "HS", 1))
SMALL = (Row(3, 16, 16, True, "RE", 2),
         Row(3, 72, 24, False, "RE", 2), Row(3, 88, 24, False, "RE", 1),
         Row(5, 96, 40, True, "HS", 2), Row(5, 240, 40, True, "HS", 1),
         Row(5, 240, 40, True, "HS", 1), Row(5, 120, 48, True, "HS", 1),
         Row(5, 144, 48, True, "HS", 1),
         Row(5, 288, 96, True, "HS", 2), Row(5, 576, 96, True, "HS", 1),
         Row(5, 576, 96, True, "HS", 1))


def bn_act(x: KerasTensor, activation: str | None, *, name: str) -> KerasTensor:
    """Batch normalisation and, unless it is None, an activation."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_act")(x) if activation else x


def conv_bn(x: KerasTensor, filters: int, kernel: int = 1, stride: int = 1, *, name: str,
            activation: str | None) -> KerasTensor:
    """A convolution without bias, batch normalisation and an activation."""
    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return bn_act(x, activation, name=name)


def bottleneck(x: KerasTensor, row: Row, *, name: str) -> KerasTensor:
    """Figure 4: expand the channels, convolve each, weight them, project them.

    `x` is added if the result has its shape.
    """
    y, activation = x, ACTIVATIONS[row.nonlinearity]
    if row.expansion != x.shape[-1]:
        y = conv_bn(y, row.expansion, name=f"{name}_expand", activation=activation)
    y = layers.DepthwiseConv2D(row.kernel, row.stride, "same", use_bias=False,
                               name=f"{name}_depthwise_conv")(y)
    y = bn_act(y, activation, name=f"{name}_depthwise")
    if row.squeeze:
        y = squeeze_excite(y, make_divisible(row.expansion / SQUEEZE), name=f"{name}_se",
                           gate="hard_sigmoid")
    y = conv_bn(y, row.filters, name=f"{name}_project", activation=None)
    has_shape = row.stride == 1 and row.filters == x.shape[-1]  # also where sizes are None
    return layers.Add(name=f"{name}_add")([x, y]) if has_shape else y


def _scaled(row, alpha):
    """`row` with `alpha` of its filters; the expansion keeps its ratio to its input."""
    return row._replace(expansion=make_divisible(row.expansion * alpha),
                        filters=make_divisible(row.filters * alpha))


@register("mobilenet_v3_large", params=5_507_432, rows=LARGE, units=1280)
@register("mobilenet_v3_small", params=2_554_968, rows=SMALL, units=1024)
def mobilenet_v3(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                 rows: Sequence[Sequence], units: int, alpha: float = 1.0, stem: str = "imagenet",
                 dropout: float = 0.2, mean: PerChannel = 0.0,
                 std: PerChannel = 1.0) -> keras.Model:
    """MobileNet v3, by the rows of table 1 (large) or table 2 (small).

    See `zoo.build` for the common arguments. The features are the hidden layer after the pooling.

    Args:
        input_shape: 224x224x3 in the tables; height and width may be None.
        rows: for each block (kernel, expanded filters, filters, squeeze-and-excitation, "RE" or
            "HS" for relu or hard swish, stride).
        units: of the hidden layer after the pooling.
        alpha: the width multiplier, on the filters of every layer; below 1 it leaves the hidden
            layer alone.
        stem: "imagenet", whose convolution has stride 2, or "small", the same with stride 1 for
            images of 32x32, which is not in the paper.
        dropout: the rate before the output; 0.8 is kept in the paper.
        mean, std: the ImageNet weights of keras.applications need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    table = [Row(*row) for row in rows]
    for row in table:
        check_positive(rows=(row.kernel, row.expansion, row.filters, row.stride))
        if row.nonlinearity not in ACTIVATIONS:
            raise UsageError("The nonlinearity of a row must be RE or HS. "
                             f"Received: {row.nonlinearity!r}.")
    check_positive(units=units)
    image, x = mobile_input(input_shape, alpha, [row.stride for row in table], stem, mean, std)
    x = conv_bn(x, make_divisible(STEM_FILTERS * alpha), 3, STEM_STRIDE[stem], name="stem",
                activation="hard_silu")
    stage, number = 1, 0
    for row in table:
        if row.stride > 1 and number:
            stage, number = stage + 1, 0
        number += 1
        x = bottleneck(x, _scaled(row, alpha), name=f"stage{stage}_block{number}")
    # Six times the filters of the last block, as in every row that strides to 7x7
    x = conv_bn(x, make_divisible(6 * x.shape[-1]), name="head", activation="hard_silu")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(make_divisible(units * max(1, alpha)), activation="hard_silu", name="fc")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
