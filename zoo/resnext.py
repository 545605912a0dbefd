"""ResNeXt: a residual is a sum of many narrow branches of one shape, that is a grouped convolution.

S. Xie, R. Girshick, P. Dollar, Z. Tu, K. He, "Aggregated Residual Transformations for Deep Neural
Networks", CVPR 2017; https://arxiv.org/abs/1611.05431

The blocks are figure 3(c), which computes what (a) and (b) do. Stages and stem are those of
`zoo.resnet`, whose notes on initialisation and batch normalisation hold here too; a block strides
in its 3x3 convolution, as in the authors' code.
"""
import functools
from collections.abc import Sequence

import keras
from keras import KerasTensor

from zoo.blocks import Convolve, ImageShape, PerChannel, check_positive
from zoo.registry import register
from zoo.resnet import bottleneck, conv_bn, residual_network

PAPER = "Xie et al. 2017"
CONV2_FILTERS = 64  # of ResNet-50's first stage, for which table 1 gives the width of a group


def aggregated(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
               conv: Convolve = conv_bn, cardinality: int = 32,
               group_width: int = 4) -> KerasTensor:
    """Figure 3(c): a bottleneck whose 3x3 convolution has `cardinality` groups.

    A group has `group_width` filters in the first stage, and twice as many in each next one.
    """
    inner = cardinality * group_width * filters // CONV2_FILTERS
    inner = max(inner - inner % cardinality, cardinality)
    return bottleneck(x, filters, stride, name=name, conv=conv, inner=inner, groups=cardinality,
                      stride_3x3=True)


@register("resnext50_32x4d", params=25_097_128, depths=(3, 4, 6, 3))
def resnext(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *, depths: Sequence[int],
            cardinality: int = 32, group_width: int = 4, width: int = 64, stem: str = "imagenet",
            dropout: float = 0.0, mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """ResNeXt, by the right column of table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None.
        depths: the blocks in each stage.
        cardinality: the groups of a 3x3 convolution; the paper's C.
        group_width: the filters of a group in the first stage, at width 64; the paper's d.
        width: the filters of the stem; a quarter of the channels of the first stage.
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1.
        dropout: the rate before the output; the paper uses none.
    """
    check_positive(cardinality=cardinality, group_width=group_width)
    block = functools.partial(aggregated, cardinality=cardinality, group_width=group_width)
    return residual_network(input_shape, classes, (block, 4), depths, width=width, stem=stem,
                            dropout=dropout, mean=mean, std=std)
