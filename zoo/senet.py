"""SENet: a block weights its channels by what the whole image holds: squeeze, then excite.

J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018;
https://arxiv.org/abs/1709.01507

`se_resnet50` is the middle column of table 1. Stages and stem are those of `zoo.resnet`, whose
notes on initialisation and batch normalisation hold here too; a block strides in its first 1x1
convolution, as in the authors' released model. `se_resnet50_v1_5` strides in the 3x3, as the
network of timm does.
"""
import functools
from collections.abc import Sequence

import keras
from keras import KerasTensor

from zoo.blocks import Convolve, ImageShape, PerChannel, check_positive, squeeze_excite
from zoo.registry import register
from zoo.resnet import bottleneck, conv_bn, residual_network

PAPER = "Hu et al. 2018"


def se_bottleneck(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
                  conv: Convolve = conv_bn, reduction: int = 16,
                  stride_3x3: bool = False) -> KerasTensor:
    """Figure 3: the residual of a bottleneck, whose channels are weighted before the addition."""
    x = bottleneck(x, filters, stride, name=name, conv=conv, stride_3x3=stride_3x3)
    return squeeze_excite(x, max(1, 4 * filters // reduction), name=f"{name}_se")


@register("se_resnet50", params=28_141_144, depths=(3, 4, 6, 3))
@register("se_resnet50_v1_5", params=28_141_144, depths=(3, 4, 6, 3), stride_3x3=True)
def se_resnet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
              depths: Sequence[int], reduction: int = 16, width: int = 64, stem: str = "imagenet",
              stride_3x3: bool = False, dropout: float = 0.0, mean: PerChannel = 0.0,
              std: PerChannel = 1.0) -> keras.Model:
    """SE-ResNet, by table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None.
        depths: the blocks in each stage.
        reduction: the channels of a block for each unit of its squeezed vector; the paper's r.
        width: the filters of the stem and of the first stage; each next stage has twice as many.
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1.
        stride_3x3: whether a block strides in its 3x3 convolution, and not in its first 1x1.
        dropout: the rate before the output; the paper uses none.
    """
    check_positive(reduction=reduction)
    block = functools.partial(se_bottleneck, reduction=reduction, stride_3x3=stride_3x3)
    return residual_network(input_shape, classes, (block, 4), depths, width=width, stem=stem,
                            dropout=dropout, mean=mean, std=std)
