"""Wide ResNet: fewer blocks with more filters learn as well as very deep ones, and train faster.

S. Zagoruyko, N. Komodakis, "Wide Residual Networks", BMVC 2016; https://arxiv.org/abs/1605.07146

`wide_resnet28_10` has 28 layers, 10 times as wide as ResNet's (WRN-28-10). The networks for CIFAR
are made of the pre-activated units of `zoo.resnet_v2`; `wide_resnet50_2`, for ImageNet, of the
bottlenecks of `zoo.resnet`, with twice the filters inside and the stride in the 3x3 convolution, as
in the authors' code. The notes there on initialisation and batch normalisation hold here too.
"""
import functools
from collections.abc import Sequence

import keras
from keras import KerasTensor

from zoo import resnet_v2
from zoo.blocks import (
    Convolve,
    ImageShape,
    PerChannel,
    check_positive,
    head,
    image_input,
    minimum_side,
)
from zoo.errors import UsageError
from zoo.registry import register
from zoo.resnet import INITIALIZER, bottleneck, conv_bn, residual_network, small_stem

PAPER = "Zagoruyko and Komodakis 2016"
STEM_FILTERS = 16  # table 1, conv1
STAGES = 3


@register("wide_resnet16_4", params=2_752_506, depth=16, width=4)
@register("wide_resnet28_10", params=36_497_146, depth=28, width=10)
@register("wide_resnet40_4", params=8_959_994, depth=40, width=4)
def wide_resnet_cifar(input_shape: ImageShape = (32, 32, 3), classes: int = 10, *, depth: int,
                      width: int, block_dropout: float = 0.0, dropout: float = 0.0,
                      mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """Wide ResNet for CIFAR, by table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 32x32x3 in the paper; height and width may be None.
        depth: the convolutions, shortcuts included: 6n + 4 for n units in each of three stages.
        width: the factor on the 16, 32 and 64 filters of the stages; the paper's k.
        block_dropout: the rate between the two convolutions of a unit (section 2.4); 0 or 0.3 in
            the paper.
        dropout: the rate before the output; the paper uses none.
    """
    check_positive(depth=depth, width=width)
    n, rest = divmod(depth - 4, 6)
    if n < 1 or rest:
        raise UsageError("depth must be 6n + 4, such as 10, 16, 22, 28 or 40. "
                         f"Received: {depth}.")
    image, x = image_input(input_shape, any_size=True, minimum=minimum_side(STAGES - 1), mean=mean,
                           std=std)
    block = resnet_v2.block_of("basic", dropout=block_dropout)
    x = resnet_v2.units(small_stem(x, STEM_FILTERS), STEM_FILTERS * width, (n,) * STAGES,
                        block=block)
    return keras.Model(image, head(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))


def wide_bottleneck(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
                    conv: Convolve = conv_bn, widening: int = 2) -> KerasTensor:
    """A bottleneck with `widening` times the filters in its first two convolutions."""
    return bottleneck(x, filters, stride, name=name, conv=conv, inner=widening * filters,
                      stride_3x3=True)


@register("wide_resnet50_2", params=68_951_464, depths=(3, 4, 6, 3))
def wide_resnet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                depths: Sequence[int], widening: int = 2, width: int = 64, stem: str = "imagenet",
                dropout: float = 0.0, mean: PerChannel = 0.0,
                std: PerChannel = 1.0) -> keras.Model:
    """Wide ResNet for ImageNet, WRN-50-2-bottleneck of section 3.5.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None.
        depths: the blocks in each stage.
        widening: the factor on the filters inside a block; the paper's k.
        width: the filters of the stem; a quarter of the channels of the first stage.
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1.
        dropout: the rate before the output; the paper uses none.
    """
    check_positive(widening=widening)
    block = functools.partial(wide_bottleneck, widening=widening)
    return residual_network(input_shape, classes, (block, 4), depths, width=width, stem=stem,
                            dropout=dropout, mean=mean, std=std)
