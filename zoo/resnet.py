"""ResNet: a block learns a residual that is added to its input, so that deep networks still train.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016;
https://arxiv.org/abs/1512.03385

`stage1` to `stage4` are the paper's conv2_x to conv5_x. Shortcuts are its option B, a projection
where the shape changes. A bottleneck strides in its first 1x1 convolution, as in the paper and its
authors' Caffe models. `resnet50_v1_5`, `resnet101_v1_5` and `resnet152_v1_5` stride in the 3x3, as
the networks of torchvision and NVIDIA do, which call this version 1.5: as many parameters, more
multiply-adds.

Differs from the paper:
- He's normal distribution, the initialisation, is cut off at two standard deviations, as in Keras;
- the paper gives no momentum for batch normalisation; it is 0.9 (`zoo.blocks.BN_MOMENTUM`);
- `resnet50_keras`, `resnet101_keras` and `resnet152_keras` have a bias in every convolution, which
  batch normalisation cancels: these are the networks that keras.applications publishes ImageNet
  weights for.
Table 1 gives 34 layers 3.6e9 operations, the cost without projections, with which it is 3.66e9; and
50 layers 3.8e9, for 3.86e9.
"""
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    BN_MOMENTUM,
    Convolve,
    ImageShape,
    PerChannel,
    check_positive,
    head,
    image_input,
    minimum_side,
    resolve_stem,
)
from zoo.errors import UsageError, unknown
from zoo.registry import register

PAPER = "He et al. 2016"
BN_EPSILON = 1.001e-5  # of keras.applications' weights; the paper gives none, cuDNN's minimum: 1e-5
INITIALIZER = "he_normal"  # section 3.4
Residual = tuple[Callable[..., KerasTensor], int]  # a block's F, and its channels for each filter


def convolution(x: KerasTensor, filters: int, kernel: int, stride: int = 1, *, name: str,
                bias: bool = False, groups: int = 1) -> KerasTensor:
    """A convolution.

    A strided kernel wider than one pixel sees the same border of zeros on all sides. Padding "same"
    would give an even map a border on two sides only, and shift it against its shortcut.
    """
    padding = "same"
    if kernel > 1 and stride > 1:
        x, padding = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"
    return layers.Conv2D(filters, kernel, stride, padding, use_bias=bias, groups=groups,
                         kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)


def conv_bn(x: KerasTensor, filters: int, kernel: int, stride: int = 1, *, name: str,
            relu: bool = True, **options: Any) -> KerasTensor:
    """A convolution, batch normalisation and, optionally, relu (section 3.4)."""
    x = convolution(x, filters, kernel, stride, name=name, **options)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def basic(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
          conv: Convolve = conv_bn) -> KerasTensor:
    """The residual of figure 5, left: two 3x3 convolutions."""
    x = conv(x, filters, 3, stride, name=f"{name}_a")
    return conv(x, filters, 3, relu=False, name=f"{name}_b")


def bottleneck(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
               conv: Convolve = conv_bn, inner: int = 0, groups: int = 1,
               stride_3x3: bool = False) -> KerasTensor:
    """The residual of figure 5, right: 1x1, 3x3 and 1x1, the last with four times the filters.

    The successors of this block have `inner` filters, not `filters`, in the first two convolutions,
    `groups` of them in the 3x3, and stride in it.
    """
    strides = (1, stride) if stride_3x3 else (stride, 1)
    x = conv(x, inner or filters, 1, strides[0], name=f"{name}_a")
    x = conv(x, inner or filters, 3, strides[1], groups=groups, name=f"{name}_b")
    return conv(x, 4 * filters, 1, relu=False, name=f"{name}_c")


BLOCKS: dict[str, Residual] = {"basic": (basic, 1), "bottleneck": (bottleneck, 4)}


def add_relu(shortcut: KerasTensor, residual: KerasTensor, name: str) -> KerasTensor:
    """The end of every block (section 3.2): the sum, then relu."""
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, residual]))


def identity_block(x: KerasTensor, filters: int, *, name: str,
                   block: str | Residual = "bottleneck",
                   conv: Convolve = conv_bn) -> KerasTensor:
    """relu(F(x) + x), equation 1.

    Args:
        x: a feature map of shape (batch, height, width, channels), which is also the result's.
        filters: of the 3x3 convolutions; the channels of `x`, or a quarter of them in a bottleneck.
        name: the prefix of the layers' names.
        block: the residual F: "basic", "bottleneck" or a `Residual`.
        conv: the convolution with its batch normalisation, called as `conv_bn` is.

    Raises:
        zoo.errors.UsageError: if F(x) has not the channels of `x`, or `block` is unknown.
    """
    residual, expansion = _block(block)
    if x.shape[-1] != filters * expansion:
        raise UsageError(f"An identity block of {filters} filters takes {filters * expansion} "
                         f"channels. Received: {x.shape[-1]}. A projection block takes any.")
    return add_relu(x, residual(x, filters, name=name, conv=conv), name)


def projection_block(x: KerasTensor, filters: int, *, name: str, stride: int = 2,
                     block: str | Residual = "bottleneck", conv: Convolve = conv_bn) -> KerasTensor:
    """relu(F(x) + W x), equation 2; W is a 1x1 convolution.

    Args:
        x: a feature map of shape (batch, height, width, channels); height and width are divided by
            `stride`, rounded up.
        filters: of the 3x3 convolutions; the result's channels, or a quarter of them in a
            bottleneck.
        name: the prefix of the layers' names.
        stride: of the first convolution and of the shortcut.
        block: the residual F: "basic", "bottleneck" or a `Residual`.
        conv: the convolution with its batch normalisation, called as `conv_bn` is.

    Raises:
        zoo.errors.UsageError: if `block` is unknown.
    """
    residual, expansion = _block(block)
    shortcut = conv(x, filters * expansion, 1, stride, relu=False, name=f"{name}_shortcut")
    return add_relu(shortcut, residual(x, filters, stride, name=name, conv=conv), name)


def _block(block):
    if isinstance(block, tuple):
        return block
    if block not in BLOCKS:
        raise unknown("block", block, BLOCKS)
    return BLOCKS[block]


def imagenet_stem(x: KerasTensor, filters: int, conv: Convolve = conv_bn) -> KerasTensor:
    """Table 1, conv1 and the max pooling of conv2_x: a quarter of the height and width."""
    x = conv(x, filters, 7, 2, name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, 2, name="stem_pool")(x)


def small_stem(x: KerasTensor, filters: int, conv: Convolve = conv_bn) -> KerasTensor:
    """Section 4.2, the first layer: a 3x3 convolution at full size, for images of 32x32."""
    return conv(x, filters, 3, name="stem")


# The layers, and how often they halve the image
STEMS = {"imagenet": (imagenet_stem, 2), "small": (small_stem, 0)}


def stage(x: KerasTensor, filters: int, depth: int, stride: int, *, name: str,
          block: str | Residual, conv: Convolve = conv_bn) -> KerasTensor:
    """A row of table 1: `depth` blocks; the first strides, and projects if the shape changes."""
    if stride == 1 and x.shape[-1] == filters * _block(block)[1]:
        x = identity_block(x, filters, block=block, conv=conv, name=f"{name}_block1")
    else:
        x = projection_block(x, filters, stride=stride, block=block, conv=conv,
                             name=f"{name}_block1")
    for number in range(2, depth + 1):
        x = identity_block(x, filters, block=block, conv=conv, name=f"{name}_block{number}")
    return x


def residual_network(input_shape: ImageShape, classes: int, block: str | Residual,
                     depths: Sequence[int], *, width: int, stem: str, dropout: float,
                     mean: PerChannel, std: PerChannel, conv: Convolve = conv_bn) -> keras.Model:
    """Table 1 from the image to the logits, of any `block`; the arguments are those of `resnet`."""
    check_positive(depths=depths, width=width)
    stem = resolve_stem(stem, STEMS)
    stem_layers, halvings = STEMS[stem]
    hint = "stem='small'" if stem == "imagenet" else "fewer stages in depths"
    image, x = image_input(input_shape, any_size=True, mean=mean, std=std, hint=hint,
                           minimum=minimum_side(halvings + len(depths) - 1))
    x = stem_layers(x, width, conv)
    for i, depth in enumerate(depths):
        x = stage(x, width * 2 ** i, depth, 2 if i else 1, block=block, conv=conv,
                  name=f"stage{i + 1}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))


@register("resnet18", params=11_699_112, block="basic", depths=(2, 2, 2, 2))
@register("resnet34", params=21_814_696, block="basic", depths=(3, 4, 6, 3))
@register("resnet50", params=25_610_152, block="bottleneck", depths=(3, 4, 6, 3))
@register("resnet101", params=44_654_504, block="bottleneck", depths=(3, 4, 23, 3))
@register("resnet152", params=60_344_232, block="bottleneck", depths=(3, 8, 36, 3))
@register("resnet50_v1_5", params=25_610_152, block="bottleneck", depths=(3, 4, 6, 3),
          stride_3x3=True)
@register("resnet101_v1_5", params=44_654_504, block="bottleneck", depths=(3, 4, 23, 3),
          stride_3x3=True)
@register("resnet152_v1_5", params=60_344_232, block="bottleneck", depths=(3, 8, 36, 3),
          stride_3x3=True)
@register("resnet50_keras", params=25_636_712, block="bottleneck", depths=(3, 4, 6, 3), bias=True)
@register("resnet101_keras", params=44_707_176, block="bottleneck", depths=(3, 4, 23, 3), bias=True)
@register("resnet152_keras", params=60_419_944, block="bottleneck", depths=(3, 8, 36, 3), bias=True)
def resnet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *, block: str,
           depths: Sequence[int], width: int = 64, stem: str = "imagenet", bias: bool = False,
           stride_3x3: bool = False, dropout: float = 0.0, mean: PerChannel = 0.0,
           std: PerChannel = 1.0) -> keras.Model:
    """ResNet, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None.
        block: "basic", of two 3x3 convolutions, or "bottleneck", of 1x1, 3x3 and 1x1.
        depths: the blocks in each stage.
        width: the filters of the stem and of the first stage; each next stage has twice as many.
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1, the stem
            of section 4.2.
        bias: whether the convolutions have biases.
        stride_3x3: whether a bottleneck strides in its 3x3 convolution, as in version 1.5, and not
            in its first 1x1. A basic block always strides in its first 3x3.
        dropout: the rate before the output; the paper uses none.
        mean, std: the paper subtracts the mean only: std=1/255.
    """
    residual, expansion = _block(block)
    if stride_3x3 and block == "bottleneck":
        residual = functools.partial(residual, stride_3x3=True)
    return residual_network(input_shape, classes, (residual, expansion), depths, width=width,
                            stem=stem, dropout=dropout, mean=mean, std=std,
                            conv=functools.partial(conv_bn, bias=bias))
