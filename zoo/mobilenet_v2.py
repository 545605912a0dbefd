"""MobileNet v2: shortcuts join thin maps without relu; each block widens its map in between.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", CVPR 2018; https://arxiv.org/abs/1801.04381

Each stage is a row of table 2; `head` is the 1x1 convolution before the pooling.

Differs from the paper, as the network that its authors released does:
- filters scaled by `alpha` are rounded to a multiple of 8;
- a block of expansion 1 has no expanding convolution.
Differs from both:
- all weights start from Glorot's uniform distribution; the paper does not give an initialisation,
  the released network has a truncated normal one of standard deviation 0.09;
- batch normalisation has momentum 0.9 (`zoo.blocks.BN_MOMENTUM`); the paper gives none, the
  released network has 0.997.
At `alpha=1.4` table 4 gives 6.9M parameters; the released network, and this one, has 6.1M.
"""
from collections.abc import Sequence

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
)
from zoo.mobilenet import STEM_FILTERS, mobile_input
from zoo.registry import register

PAPER = "Sandler et al. 2018"
HEAD_FILTERS = 1280

# Expansion, filters, blocks, stride of the first block; the paper's t, c, n, s
TABLE_2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
           (6, 160, 3, 2), (6, 320, 1, 1))


def bn(x: KerasTensor, *, name: str, relu: bool = True) -> KerasTensor:
    """Batch normalisation and, unless the layer is a linear bottleneck, relu6."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def conv_bn(x: KerasTensor, filters: int, kernel: int = 1, stride: int = 1, *, name: str,
            relu: bool = True) -> KerasTensor:
    """A convolution without bias, and batch normalisation."""
    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return bn(x, name=name, relu=relu)


def inverted_residual(x: KerasTensor, expansion: int, filters: int, stride: int, *,
                      name: str) -> KerasTensor:
    """Table 1 and figure 4(d): expand the channels, convolve each, project them to `filters`.

    `x` is added if the result has its shape.
    """
    y = x
    if expansion > 1:
        y = conv_bn(y, expansion * x.shape[-1], name=f"{name}_expand")
    y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False,
                               name=f"{name}_depthwise_conv")(y)
    y = conv_bn(bn(y, name=f"{name}_depthwise"), filters, name=f"{name}_project", relu=False)
    has_shape = stride == 1 and filters == x.shape[-1]  # also where sizes are None
    return layers.Add(name=f"{name}_add")([x, y]) if has_shape else y


def make_divisible(filters: float, divisor: int = 8) -> int:
    """Return the multiple of `divisor` nearest to `filters`, the next one if 10 % would be lost."""
    filters = int(filters)
    nearest = max(divisor, (filters + divisor // 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * filters else nearest + divisor


@register("mobilenet_v2", params=3_538_984)
def mobilenet_v2(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                 alpha: float = 1.0, rows: Sequence[Sequence[int]] = TABLE_2,
                 stem: str = "imagenet", dropout: float = 0.0, mean: PerChannel = 0.0,
                 std: PerChannel = 1.0) -> keras.Model:
    """MobileNet v2, by the rows of table 2.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in table 2; height and width may be None.
        alpha: the width multiplier, on the filters of every layer; below 1 it leaves the last
            convolution alone (section 6.1).
        rows: for each stage (expansion, filters, blocks, stride of the first block).
        stem: "imagenet", whose convolution has stride 2, or "small", the same with stride 1 for
            images of 32x32, which is not in the paper.
        dropout: the rate before the output; the paper mentions none.
        mean, std: the published ImageNet weights need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    image, x = mobile_input(input_shape, alpha, [stride for *_, stride in rows], stem, mean, std)
    x = conv_bn(x, make_divisible(STEM_FILTERS * alpha), 3, STEM_STRIDE[stem], name="stem")
    for i, row in enumerate(rows, 1):
        check_positive(rows=row)
        expansion, filters, depth, stride = row
        for number in range(1, depth + 1):
            x = inverted_residual(x, expansion, make_divisible(filters * alpha),
                                  stride if number == 1 else 1, name=f"stage{i}_block{number}")
    x = conv_bn(x, make_divisible(HEAD_FILTERS * max(1, alpha)), name="head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
