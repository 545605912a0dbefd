"""ShuffleNet v2: half of the channels pass a block untouched, and a shuffle mixes the two halves.

N. Ma, X. Zhang, H.-T. Zheng, J. Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN
Architecture Design", ECCV 2018; https://arxiv.org/abs/1807.11164

`stage2` to `stage4` and `conv5` bear the names of table 5.

Differs from the paper:
- the paper does not give an initialisation: convolutions start from He's normal distribution, the
  output from Glorot's uniform one;
- the paper gives no momentum for batch normalisation; it is 0.9 (`zoo.blocks.BN_MOMENTUM`).
"""
from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from zoo.blocks import (
    BN_MOMENTUM,
    ImageShape,
    PerChannel,
    check_positive,
    head,
    image_input,
    minimum_side,
    resolve_stem,
)
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Ma et al. 2018"
INITIALIZER = "he_normal"
BN_EPSILON = 1e-5  # of the authors' code; the paper gives none
STEM_FILTERS = 24
DEPTHS = (4, 8, 4)  # table 5, the column Repeat, 1 + 3, 1 + 7 and 1 + 3

# Table 5: output channels of the stages and of conv5, for the widths 0.5x to 2x
TABLE_5 = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024), 1.5: (176, 352, 704, 1024),
           2.0: (244, 488, 976, 2048)}
STEMS = {"imagenet": 2, "small": 0}  # how often the layers before stage2 halve the image


def bn(x: KerasTensor, *, name: str, relu: bool = True) -> KerasTensor:
    """Batch normalisation and, optionally, relu."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def conv_bn(x: KerasTensor, filters: int, kernel: int = 1, stride: int = 1, *,
            name: str) -> KerasTensor:
    """A convolution without bias, batch normalisation and relu."""
    padding = "same"
    if stride > 1:
        x, padding = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=False,
                      kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)
    return bn(x, name=name)


def depthwise(x: KerasTensor, stride: int, *, name: str) -> KerasTensor:
    """A 3x3 depthwise convolution and batch normalisation, without relu."""
    padding = "same"
    if stride > 1:  # the same border on all sides
        x, padding = layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    x = layers.DepthwiseConv2D(3, stride, padding, use_bias=False,
                               depthwise_initializer=INITIALIZER, name=f"{name}_conv")(x)
    return bn(x, name=name, relu=False)


def branch(x: KerasTensor, filters: int, stride: int, *, name: str) -> KerasTensor:
    """The right branch of figure 3(c) and (d): 1x1, 3x3 depthwise, 1x1."""
    x = conv_bn(x, filters, name=f"{name}_a")
    return conv_bn(depthwise(x, stride, name=f"{name}_depthwise"), filters, name=f"{name}_b")


def split(x: KerasTensor) -> list[KerasTensor]:
    """The two halves of the channels."""
    half = x.shape[-1] // 2
    return [x[..., :half], x[..., half:]]


def shuffle(halves: Sequence[KerasTensor], *, name: str) -> KerasTensor:
    """The channels of two maps by turns: left 0, right 0, left 1 and so on."""
    x = layers.Concatenate(name=f"{name}_concat")(halves)
    order = np.arange(x.shape[-1]).reshape(2, -1).T.ravel().tolist()
    return layers.Identity(name=f"{name}_shuffle")(ops.take(x, order, axis=-1))


def basic_unit(x: KerasTensor, *, name: str) -> KerasTensor:
    """Figure 3(c): the left half passes, the right one is convolved."""
    left, right = split(x)
    right = branch(right, right.shape[-1], 1, name=name)
    return shuffle([left, right], name=name)


def down_unit(x: KerasTensor, filters: int, *, name: str) -> KerasTensor:
    """Figure 3(d): both branches see all channels and halve the map."""
    left = depthwise(x, 2, name=f"{name}_left_depthwise")
    left = conv_bn(left, filters // 2, name=f"{name}_left")
    return shuffle([left, branch(x, filters // 2, 2, name=name)], name=name)


@register("shufflenet_v2_x0_5", params=1_374_744, filters=TABLE_5[0.5])
@register("shufflenet_v2_x1_0", params=2_294_784, filters=TABLE_5[1.0])
@register("shufflenet_v2_x1_5", params=3_527_064, filters=TABLE_5[1.5])
@register("shufflenet_v2_x2_0", params=7_427_712, filters=TABLE_5[2.0])
def shufflenet_v2(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                  filters: Sequence[int], depths: Sequence[int] = DEPTHS, stem: str = "imagenet",
                  dropout: float = 0.0, mean: PerChannel = 0.0,
                  std: PerChannel = 1.0) -> keras.Model:
    """ShuffleNet v2, by the rows of table 5.

    See `zoo.build` for the common arguments. The features are the averages of conv5's map.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None.
        filters: the channels of each stage, even numbers, and of conv5.
        depths: the units in each stage; the first halves the map.
        stem: "imagenet", 3x3 with stride 2 and max pooling, or "small", 3x3 with stride 1 for
            images of 32x32, which is not in the paper.
        dropout: the rate before the output; the paper mentions none.
    """
    stem = resolve_stem(stem, STEMS)
    check_positive(filters=filters, depths=depths)
    *stages, last = filters
    if len(stages) != len(depths) or any(channels % 2 for channels in stages):
        raise UsageError("filters must be an even number for each stage of depths, and one for "
                         f"conv5. Received: filters={tuple(filters)}, depths={tuple(depths)}.")
    hint = "stem='small'" if stem == "imagenet" else "fewer stages in depths and filters"
    image, x = image_input(input_shape, any_size=True, mean=mean, std=std, hint=hint,
                           minimum=minimum_side(STEMS[stem] + len(depths)))
    x = conv_bn(x, STEM_FILTERS, 3, 2 if stem == "imagenet" else 1, name="stem")
    if stem == "imagenet":
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for i, (channels, depth) in enumerate(zip(stages, depths, strict=True), 2):
        x = down_unit(x, channels, name=f"stage{i}_block1")
        for number in range(2, depth + 1):
            x = basic_unit(x, name=f"stage{i}_block{number}")
    x = conv_bn(x, last, name="conv5")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
