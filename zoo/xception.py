"""Xception: Inception modules taken to the extreme, a convolution of each channel, then 1x1.

F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017;
https://arxiv.org/abs/1610.02357

Figure 5: the entry flow is `stem` and `stage1` to `stage3`, the middle flow `stage4`, the exit flow
`stage5` and `stage6`. A separable convolution is the depthwise one, then the 1x1, with nothing
between them.

Differs from the paper:
- figure 5 gives the last two separable convolutions no batch normalisation between them and the
  relu, of which its text says that every one has it; they have it here, as in the author's code;
- batch normalisation has momentum 0.9 (`zoo.blocks.BN_MOMENTUM`); the paper gives none, the
  released network has 0.99;
- the paper does not give an initialisation: all weights start from Glorot's uniform distribution.
"""
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
    resolve_stem,
)
from zoo.registry import register

PAPER = "Chollet 2017"
MIDDLE = 728  # filters of the middle flow
ENTRY = (128, 256, MIDDLE)
MINIMUM = {"imagenet": 37, "small": 13}  # leave two pixels to every layer that halves the map


def bn(x: KerasTensor, *, name: str, relu: bool = True) -> KerasTensor:
    """Batch normalisation and, optionally, relu."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def conv_bn(x: KerasTensor, filters: int, kernel: int, stride: int = 1, padding: str = "same", *,
            name: str, relu: bool = True) -> KerasTensor:
    """A convolution without bias, batch normalisation and, optionally, relu."""
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=False, name=f"{name}_conv")(x)
    return bn(x, name=name, relu=relu)


def separable(x: KerasTensor, filters: int, *, name: str, relu_before: bool = False,
              relu_after: bool = False) -> KerasTensor:
    """A 3x3 separable convolution with batch normalisation, and relu before or after it."""
    if relu_before:
        x = layers.ReLU(name=f"{name}_before")(x)
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False,
                               name=f"{name}_conv")(x)
    return bn(x, name=name, relu=relu_after)


def reduction(x: KerasTensor, inner: int, filters: int, *, name: str,
              relu_first: bool = True) -> KerasTensor:
    """Two separable convolutions and max pooling, beside a 1x1 convolution with stride 2."""
    shortcut = conv_bn(x, filters, 1, 2, name=f"{name}_shortcut", relu=False)
    x = separable(x, inner, name=f"{name}_a", relu_before=relu_first)
    x = separable(x, filters, name=f"{name}_b", relu_before=True)
    x = layers.MaxPooling2D(3, 2, "same", name=f"{name}_pool")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])


def middle_block(x: KerasTensor, *, name: str) -> KerasTensor:
    """Three separable convolutions, added to their input."""
    y = x
    for letter in "abc":
        y = separable(y, x.shape[-1], name=f"{name}_{letter}", relu_before=True)
    return layers.Add(name=f"{name}_add")([x, y])


@register("xception", params=22_910_480)
def xception(input_shape: ImageShape = (299, 299, 3), classes: int = 1000, *, depth: int = 8,
             width: float = 1.0, stem: str = "imagenet", dropout: float = 0.5,
             mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """Xception, as figure 5 has it.

    See `zoo.build` for the common arguments. The features are 2048 averages.

    Args:
        input_shape: 299x299x3 in the paper; height and width may be None.
        depth: the blocks of the middle flow.
        width: a factor on all filter counts.
        stem: "imagenet", whose first convolution has stride 2, or "small", the same with stride 1
            for small images, which is not in the paper.
        dropout: the rate before the output; 0.5 on ImageNet in the paper.
        mean, std: the published ImageNet weights need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    check_above_zero(width=width)
    check_positive(depth=depth)
    image, x = image_input(input_shape, any_size=True, minimum=MINIMUM[stem], mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)

    def scaled(filters):
        return max(1, round(filters * width))

    x = conv_bn(x, scaled(32), 3, STEM_STRIDE[stem], "valid", name="stem_a")
    x = conv_bn(x, scaled(64), 3, 1, "valid", name="stem_b")
    for i, filters in enumerate(ENTRY, 1):
        x = reduction(x, scaled(filters), scaled(filters), name=f"stage{i}", relu_first=i > 1)
    for number in range(1, depth + 1):
        x = middle_block(x, name=f"stage4_block{number}")
    x = reduction(x, scaled(MIDDLE), scaled(1024), name="stage5")
    x = separable(x, scaled(1536), name="stage6_a", relu_after=True)
    x = separable(x, scaled(2048), name="stage6_b", relu_after=True)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
