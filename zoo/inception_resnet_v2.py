"""Inception-ResNet v2: the output of an Inception module is added to its input, scaled down.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the Impact of
Residual Connections on Learning", AAAI 2017; https://arxiv.org/abs/1602.07261

This is the network that its authors released, to which the published ImageNet weights belong.

Differs from the paper:
- the stem is that of Inception v3 and one module of figure 5 in Szegedy et al. 2016, with 320
  filters, not that of Inception v4 (figure 3);
- there are 10, 20 and 10 modules A, B and C, not 5, 10 and 5 (figure 15), and a last 1x1
  convolution of 1536 filters;
- filter counts of the modules and reductions differ from those of figures 16 to 19 and table 1 in
  a few places;
- residuals are scaled by 0.17, 0.1 and 0.2 (section 3.3 says 0.1 to 0.3), and the last one of all
  is neither scaled nor followed by relu;
- batch normalisation, which the paper does not detail, learns an offset but no scale. Its momentum
  is 0.9 (`zoo.blocks.BN_MOMENTUM`), that of the released network 0.9997;
- the paper does not give an initialisation: all weights start from Glorot's uniform distribution.
"""
import functools
from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    STEM_STRIDE,
    Convolve,
    ImageShape,
    PerChannel,
    check_above_zero,
    head,
    image_input,
    resolve_stem,
)
from zoo.errors import UsageError
from zoo.inception import Conv, Module, Pool, branch, inception_module
from zoo.inception_v3 import MINIMUM, conv_bn, stem_steps
from zoo.registry import register

PAPER = "Szegedy et al. 2017"

# The first module, 35x35x320
MIXED: Module = (
    [Conv(96, 1)],
    [Conv(48, 1), Conv(64, 5)],
    [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
    [Pool("avg"), Conv(64, 1)],
)

# The residuals of figures 16, 17 and 19, before their last 1x1 convolution
BLOCK_A: Module = (
    [Conv(32, 1)],
    [Conv(32, 1), Conv(32, 3)],
    [Conv(32, 1), Conv(48, 3), Conv(64, 3)],
)
BLOCK_B: Module = (
    [Conv(192, 1)],
    [Conv(128, 1), Conv(160, (1, 7)), Conv(192, (7, 1))],
)
BLOCK_C: Module = (
    [Conv(192, 1)],
    [Conv(192, 1), Conv(224, (1, 3)), Conv(256, (3, 1))],
)
REDUCTION_A: Module = (  # figure 7, with k, l, m, n = 256, 256, 384, 384
    [Conv(384, 3, 2, "valid")],
    [Conv(256, 1), Conv(256, 3), Conv(384, 3, 2, "valid")],
    [Pool("max", 2, "valid")],
)
REDUCTION_B: Module = (  # figure 18
    [Conv(256, 1), Conv(384, 3, 2, "valid")],
    [Conv(256, 1), Conv(288, 3, 2, "valid")],
    [Conv(256, 1), Conv(288, 3), Conv(320, 3, 2, "valid")],
    [Pool("max", 2, "valid")],
)
STAGES = ((MIXED, BLOCK_A, 0.17), (REDUCTION_A, BLOCK_B, 0.1), (REDUCTION_B, BLOCK_C, 0.2))


def residual(x: KerasTensor, branches: Module, scale: float, conv: Convolve, *, name: str,
             relu: bool = True) -> KerasTensor:
    """Figure 20: `x` plus `scale` times a linear 1x1 convolution of the branches; then relu."""
    y = inception_module(x, branches, conv, name)
    y = layers.Conv2D(x.shape[-1], 1, name=f"{name}_up_conv")(y)
    y = layers.Rescaling(scale, name=f"{name}_scale")(y)
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


@register("inception_resnet_v2", params=55_873_736)
def inception_resnet_v2(input_shape: ImageShape = (299, 299, 3), classes: int = 1000, *,
                        depths: Sequence[int] = (10, 20, 10), width: float = 1.0,
                        stem: str = "imagenet", dropout: float = 0.2, mean: PerChannel = 0.0,
                        std: PerChannel = 1.0) -> keras.Model:
    """Inception-ResNet v2, as figure 15 draws it.

    See `zoo.build` for the common arguments. The features are 1536 averages.

    Args:
        input_shape: 299x299x3 in the paper; height and width may be None.
        depths: the modules A, B and C.
        width: a factor on all filter counts.
        stem: "imagenet", which halves three times, or "small", which has the same layers and
            weights at stride 1.
        dropout: the rate before the output; the paper keeps 0.8.
        mean, std: the published ImageNet weights need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    check_above_zero(width=width)
    depths = tuple(depths)
    if len(depths) != len(STAGES) or not all(isinstance(n, int) and n >= 0 for n in depths):
        raise UsageError(f"depths must be {len(STAGES)} integers from 0 up. Received: {depths}.")
    image, x = image_input(input_shape, any_size=True, minimum=MINIMUM[stem], mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)
    conv = functools.partial(conv_bn, width=width)
    x = branch(x, stem_steps(STEM_STRIDE[stem]), conv, "stem_")
    for i, ((first, block, scale), depth) in enumerate(zip(STAGES, depths, strict=True), 1):
        x = inception_module(x, first, conv, f"stage{i}_first")
        for number in range(1, depth + 1):
            last = i == len(STAGES) and number == depth
            x = residual(x, block, 1.0 if last else scale, conv, relu=not last,
                         name=f"stage{i}_block{number}")
    x = conv(x, 1536, 1, name="head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
