"""SqueezeNet: as accurate as AlexNet with a fiftieth of its parameters, made of fire modules.

F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer, "SqueezeNet:
AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016;
https://arxiv.org/abs/1602.07360

`squeezenet1_0` is table 1; `squeezenet1_1`, which the authors released later, has a smaller stem
and pools earlier, with 2.4 times fewer multiply-adds. Max pooling rounds up, as in Caffe. The
logits are averages of the maps of the last convolution, which a relu follows.

Differs from the paper:
- the input is 227x227, as in the authors' released model: the paper says 224x224, from which its
  first kernels do not give its 111x111 maps;
- weights are initialised with the normal distribution of He et al. 2015, made for layers with relu,
  those of the last convolution with a normal one of standard deviation 0.01, as in the released
  model, which has Glorot and Bengio's for the others.
"""
from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    ImageShape,
    PerChannel,
    averaged_logits,
    ceil_max_pool,
    check_above_zero,
    image_input,
    resolve_stem,
)
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Iandola et al. 2016"
INITIALIZER = "he_normal"

# For each stage, the fire modules between two poolings: (s1x1, e1x1), where e3x3 = e1x1
TABLE_1 = (((16, 64), (16, 64), (32, 128)), ((32, 128), (48, 192), (48, 192), (64, 256)),
           ((64, 256),))
VERSION_1_1 = (((16, 64), (16, 64)), ((32, 128), (32, 128)),
               ((48, 192), (48, 192), (64, 256), (64, 256)))


def convolution(x: KerasTensor, filters: int, kernel: int, stride: int = 1, padding: str = "same",
                *, name: str) -> KerasTensor:
    """A convolution with bias and relu."""
    return layers.Conv2D(filters, kernel, stride, padding, activation="relu",
                         kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)


def fire(x: KerasTensor, squeeze: int, expand: int, *, name: str) -> KerasTensor:
    """Figure 1: a 1x1 convolution, then 1x1 and 3x3 ones side by side."""
    x = convolution(x, squeeze, 1, name=f"{name}_squeeze")
    sides = [convolution(x, expand, kernel, name=f"{name}_expand{kernel}x{kernel}")
             for kernel in (1, 3)]
    return layers.Concatenate(name=f"{name}_concat")(sides)


@register("squeezenet1_0", params=1_248_424, stem_filters=96, stem_kernel=7, rows=TABLE_1)
@register("squeezenet1_1", params=1_235_496, stem_filters=64, stem_kernel=3, rows=VERSION_1_1)
def squeezenet(input_shape: ImageShape = (227, 227, 3), classes: int = 1000, *, stem_filters: int,
               stem_kernel: int, rows: Sequence[Sequence[Sequence[int]]], width: float = 1.0,
               stem: str = "imagenet", dropout: float = 0.5, mean: PerChannel = 0.0,
               std: PerChannel = 1.0) -> keras.Model:
    """SqueezeNet, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are the averages of the last fire
    module's map.

    Args:
        input_shape: at least as large as leaves the last pooling two pixels; height and width may
            be None.
        stem_filters, stem_kernel: of the first convolution.
        rows: for each stage (filters of the squeezing convolution, filters of each expanding one)
            of its fire modules. A pooling stands before each stage.
        width: a factor on all filter counts.
        stem: "imagenet", whose convolution has stride 2 and no padding, and which pools, or
            "small", a 3x3 convolution with stride 1 and no pooling, for images of 32x32, which is
            not in the paper.
        dropout: the rate before the last convolution.
    """
    stem = resolve_stem(stem, ("imagenet", "small"))
    check_above_zero(width=width)
    pairs = [module for stage in rows for module in stage]
    if not pairs or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise UsageError("rows must be, for each stage, pairs of filters such as (16, 64). "
                         f"Received: {rows}.")
    poolings = len(rows) - (stem == "small")
    minimum = 2 ** poolings  # which leaves the last pooling two pixels
    if stem == "imagenet":
        minimum = 2 * (minimum - 1) + stem_kernel
    image, x = image_input(input_shape, any_size=True, minimum=minimum, mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else "fewer stages in rows")
    filters = max(1, round(stem_filters * width))
    if stem == "imagenet":
        x = convolution(x, filters, stem_kernel, 2, "valid", name="stem")
        x = ceil_max_pool(x, name="stem")
    else:
        x = convolution(x, filters, 3, name="stem")
    for i, modules in enumerate(rows, 1):
        if i > 1:
            x = ceil_max_pool(x, name=f"stage{i}")
        for number, (squeeze, expand) in enumerate(modules, 1):
            x = fire(x, max(1, round(squeeze * width)), max(1, round(expand * width)),
                     name=f"stage{i}_fire{number}")
    normal = keras.initializers.RandomNormal(stddev=0.01)
    return keras.Model(image, averaged_logits(x, classes, dropout=dropout,
                                              kernel_initializer=normal))
