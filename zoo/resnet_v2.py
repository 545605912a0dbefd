"""ResNet v2: batch normalisation and relu come before each convolution, and shortcuts stay clean.

K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016;
https://arxiv.org/abs/1603.05027

The units are figure 4(e), full pre-activation. As in the appendix, the first unit's activation
comes right after the first convolution, and the last unit's sum is activated once more. Where a
unit changes the shape, both of its paths start from the activation, as in the authors' code.

Differs from the paper:
- it publishes 101, 152 and 200 layers for ImageNet; `resnet50_v2` has the depths of ResNet-50;
- the authors' code for ImageNet gives a unit its stride in the 3x3 convolution; here it is the
  first 1x1, as in their code for CIFAR and as in ResNet v1; `stride_3x3=True` is the other;
- He's normal distribution, the initialisation, is cut off at two standard deviations, as in Keras;
- the paper gives no momentum for batch normalisation; it is 0.9 (`zoo.blocks.BN_MOMENTUM`).
The networks of keras.applications with these names have biases, no batch normalisation after the
first convolution, and their strides in the last unit of a stage: their weights do not fit.
"""
import functools
from collections.abc import Callable, Sequence

import keras
from keras import KerasTensor, layers

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
from zoo.errors import unknown
from zoo.registry import register
from zoo.resnet import BN_EPSILON, INITIALIZER, STEMS, Residual, convolution, small_stem
from zoo.resnet_cifar import padded_shortcut

PAPER = "He et al. 2016b"
CIFAR_STAGES = 3


def bn_relu(x: KerasTensor, *, name: str) -> KerasTensor:
    """Batch normalisation, then relu."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def basic(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
          dropout: float = 0.0) -> KerasTensor:
    """Two 3x3 convolutions with an activation, and optional dropout, between them."""
    x = convolution(x, filters, 3, stride, name=f"{name}_a")
    x = bn_relu(x, name=f"{name}_b")
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return convolution(x, filters, 3, name=f"{name}_b")


def bottleneck(x: KerasTensor, filters: int, stride: int = 1, *, name: str,
               stride_3x3: bool = False) -> KerasTensor:
    """1x1, 3x3 and 1x1, the last with four times the filters, and activations between them."""
    strides = (1, stride) if stride_3x3 else (stride, 1)
    x = convolution(x, filters, 1, strides[0], name=f"{name}_a")
    x = convolution(bn_relu(x, name=f"{name}_b"), filters, 3, strides[1], name=f"{name}_b")
    return convolution(bn_relu(x, name=f"{name}_c"), 4 * filters, 1, name=f"{name}_c")


BLOCKS: dict[str, Residual] = {"basic": (basic, 1), "bottleneck": (bottleneck, 4)}


def projection(x: KerasTensor, filters: int, stride: int, *, name: str) -> KerasTensor:
    """The shortcut of a unit that changes the shape: a 1x1 convolution."""
    return convolution(x, filters, 1, stride, name=name)


def unit(x: KerasTensor, filters: int, stride: int = 1, *, name: str, block: Residual,
         activated: bool = False,
         shortcut: Callable[..., KerasTensor] = projection) -> KerasTensor:
    """Figure 4(e): x + F(activation of x).

    Args:
        x: a feature map of shape (batch, height, width, channels).
        filters: of the 3x3 convolutions.
        stride: by which height and width are divided, rounded up.
        name: the prefix of the layers' names.
        block: F, and its channels for each filter.
        activated: whether `x` has been activated already.
        shortcut: the shortcut where the shape changes; it starts from the activation.
    """
    residual, expansion = block
    y = x if activated else bn_relu(x, name=f"{name}_a")
    if stride > 1 or x.shape[-1] != filters * expansion:
        x = shortcut(y, filters * expansion, stride, name=f"{name}_shortcut")
    return layers.Add(name=f"{name}_add")([x, residual(y, filters, stride, name=name)])


def units(x: KerasTensor, filters: int, depths: Sequence[int], *, block: Residual,
          shortcut: Callable[..., KerasTensor] = projection) -> KerasTensor:
    """All stages, from the activated stem to the averages of the last, activated map."""
    for i, depth in enumerate(depths):
        for number in range(1, depth + 1):
            x = unit(x, filters * 2 ** i, 2 if i and number == 1 else 1, block=block,
                     name=f"stage{i + 1}_block{number}", activated=i == 0 and number == 1,
                     shortcut=shortcut)
    x = bn_relu(x, name=f"stage{len(depths)}")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def block_of(name: str, **options: bool | float) -> Residual:
    """Return the block `name`; `options` are further arguments of its function.

    Raises:
        zoo.errors.UsageError: if there is no such block.
    """
    if name not in BLOCKS:
        raise unknown("block", name, BLOCKS)
    residual, expansion = BLOCKS[name]
    return functools.partial(residual, **options) if options else residual, expansion


@register("resnet50_v2", params=25_594_792, depths=(3, 4, 6, 3))
@register("resnet101_v2", params=44_639_144, depths=(3, 4, 23, 3))
@register("resnet152_v2", params=60_328_872, depths=(3, 8, 36, 3))
def resnet_v2(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
              depths: Sequence[int], width: int = 64, stem: str = "imagenet",
              stride_3x3: bool = False, dropout: float = 0.0, mean: PerChannel = 0.0,
              std: PerChannel = 1.0) -> keras.Model:
    """ResNet v2 for ImageNet: pre-activated bottlenecks in the stages of ResNet.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None.
        depths: the units in each stage.
        width: the filters of the stem and of the first stage; each next stage has twice as many.
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1.
        stride_3x3: whether a unit strides in its 3x3 convolution, and not in its first 1x1.
        dropout: the rate before the output; the paper uses none.
    """
    check_positive(depths=depths, width=width)
    stem = resolve_stem(stem, STEMS)
    stem_layers, halvings = STEMS[stem]
    hint = "stem='small'" if stem == "imagenet" else "fewer stages in depths"
    image, x = image_input(input_shape, any_size=True, mean=mean, std=std, hint=hint,
                           minimum=minimum_side(halvings + len(depths) - 1))
    options = {"stride_3x3": True} if stride_3x3 else {}
    x = units(stem_layers(x, width), width, depths, block=block_of("bottleneck", **options))
    return keras.Model(image, head(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))


@register("resnet110_v2", params=1_736_058, block="basic", n=18)
@register("resnet164_v2", params=1_727_482, block="bottleneck", n=18)
def resnet_v2_cifar(input_shape: ImageShape = (32, 32, 3), classes: int = 10, *, block: str, n: int,
                    width: int = 16, dropout: float = 0.0, mean: PerChannel = 0.0,
                    std: PerChannel = 1.0) -> keras.Model:
    """ResNet v2 for CIFAR, of 6n + 2 layers with basic blocks, or 9n + 2 with bottlenecks.

    See `zoo.build` for the common arguments. The features are the averages of the last map. A basic
    block has shortcuts without weights, as in `zoo.resnet_cifar`; a bottleneck projects.

    Args:
        input_shape: 32x32x3 in the paper; height and width may be None.
        block: "basic", of two 3x3 convolutions, or "bottleneck", of 1x1, 3x3 and 1x1.
        n: the units in each of the three stages.
        width: the filters of the first stage, 16 in the paper; each next stage has twice as many.
        dropout: the rate before the output; the paper uses none.
    """
    check_positive(n=n, width=width)
    shortcut = padded_shortcut if block == "basic" else projection
    image, x = image_input(input_shape, any_size=True, minimum=minimum_side(CIFAR_STAGES - 1),
                           mean=mean, std=std)
    x = units(small_stem(x, width), width, (n,) * CIFAR_STAGES, block=block_of(block),
              shortcut=shortcut)
    return keras.Model(image, head(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))
