"""MobileNet: a convolution in two steps, one kernel per channel, then 1x1, costs about a ninth.

A. G. Howard, M. Zhu, B. Chen, D. Kalenichenko, W. Wang, T. Weyand, M. Andreetto, H. Adam,
"MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017;
https://arxiv.org/abs/1704.04861

Each stage holds the layers of table 1 that see one size of map: `stage1` 112 pixels, `stage5` 7.

Differs from the paper:
- relu saturates at 6, as in the authors' released network; `relu_max=None` is the paper's;
- table 1 gives its last depthwise convolution stride 2, which the sizes beside it contradict: it
  has stride 1;
- the paper does not give an initialisation: all weights start from Glorot's uniform distribution,
  those of the released network's convolutions from a truncated normal one of standard deviation
  0.09;
- the paper gives no momentum for batch normalisation: it is 0.9 (`zoo.blocks.BN_MOMENTUM`), that of
  the released network 0.9997.
An even map is padded on its right and bottom only, as in the released network.
keras.applications.MobileNet pads an odd one in the same way, this one on all sides; maps are odd
only in images whose sides are no multiples of 32.
"""
from collections.abc import Sequence

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
    image_input,
    minimum_side,
    resolve_stem,
)
from zoo.registry import register

PAPER = "Howard et al. 2017"
STEM_FILTERS = 32

# Filters, layers, stride of the first layer
TABLE_1 = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


def bn_relu(x: KerasTensor, relu_max: float | None, *, name: str) -> KerasTensor:
    """Batch normalisation and relu, which follow every convolution (figure 3)."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=relu_max, name=f"{name}_relu")(x)


def separable(x: KerasTensor, filters: int, stride: int, relu_max: float | None, *,
              name: str) -> KerasTensor:
    """Figure 3, right: a 3x3 depthwise convolution, then a pointwise (1x1) one."""
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False,
                               name=f"{name}_depthwise_conv")(x)
    x = bn_relu(x, relu_max, name=f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise_conv")(x)
    return bn_relu(x, relu_max, name=f"{name}_pointwise")


def scaled(filters: int, alpha: float) -> int:
    """Section 3.3: `alpha` of the filters, rounded down, at least one."""
    return max(1, int(filters * alpha))


@register("mobilenet_v1", params=4_253_864)
def mobilenet_v1(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                 alpha: float = 1.0, rows: Sequence[Sequence[int]] = TABLE_1,
                 relu_max: float | None = 6.0, stem: str = "imagenet", dropout: float = 0.0,
                 mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """MobileNet v1, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224, 192, 160 or 128 pixels high and wide in the paper; height and width may be
            None.
        alpha: the width multiplier, on the filters of every layer; 1, 0.75, 0.5 or 0.25 in the
            paper.
        rows: for each stage (filters, layers, stride of the first layer).
        relu_max: the value at which relu saturates, or None.
        stem: "imagenet", whose convolution has stride 2, or "small", the same with stride 1 for
            images of 32x32, which is not in the paper.
        dropout: the rate before the output; the paper mentions none.
        mean, std: the published ImageNet weights need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    image, x = mobile_input(input_shape, alpha, [stride for *_, stride in rows], stem, mean, std)
    x = layers.Conv2D(scaled(STEM_FILTERS, alpha), 3, STEM_STRIDE[stem], "same", use_bias=False,
                      name="stem_conv")(x)
    x = bn_relu(x, relu_max, name="stem")
    for i, (filters, depth, stride) in enumerate(rows, 1):
        check_positive(rows=(filters, depth, stride))
        for number in range(1, depth + 1):
            x = separable(x, scaled(filters, alpha), stride if number == 1 else 1, relu_max,
                          name=f"stage{i}_block{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))


def mobile_input(input_shape: ImageShape, alpha: float, strides: list[int], stem: str,
                 mean: PerChannel, std: PerChannel) -> tuple[KerasTensor, KerasTensor]:
    """`image_input` for a MobileNet whose stages have these `strides`, after a check of `alpha`."""
    check_above_zero(alpha=alpha)
    halvings = [STEM_STRIDE[stem], *strides].count(2)
    hint = "stem='small'" if stem == "imagenet" else "fewer strides in rows"
    return image_input(input_shape, any_size=True, minimum=minimum_side(halvings), mean=mean,
                       std=std, hint=hint)
