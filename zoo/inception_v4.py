"""Inception v4: one uniform module for each grid size, without what v3 had inherited.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the Impact of
Residual Connections on Learning", AAAI 2017; https://arxiv.org/abs/1602.07261

Differs from the paper:
- the last 3x3 convolution of the stem (figure 3) has stride 2, which the drawing omits: it stands
  beside a pooling of stride 2, and the map shrinks from 71x71 to 35x35;
- the second 1x7 convolution of figure 5's third column is 7x1, as in the released network: a 7x7 is
  factorised in two directions;
- the paper does not describe batch normalisation: it learns a scale and an offset, its epsilon is
  that of v3, and its momentum 0.9 (`zoo.blocks.BN_MOMENTUM`);
- the paper does not give an initialisation: all weights start from Glorot's uniform distribution,
  those of the released network's convolutions from He's normal one.

1xn and nx1 convolutions follow one another as in the figures. The released network has them in the
other order in the long branches of the stem (figure 3), of Inception-B (figure 5) and of
Inception-C (figure 6), 36 of its 149 convolutions, and concatenates its branches in another order:
its published weights fit `inception_v4_timm`, which does the same.
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
from zoo.inception import Branch, Conv, Fork, Module, Pool, branch, inception_module
from zoo.inception_v3 import MINIMUM, conv_bn, stages
from zoo.registry import register

PAPER = "Szegedy et al. 2017"


def turned(steps: Branch) -> Branch:
    """The same branch, with nx1 convolutions in place of 1xn ones, and the reverse."""
    return [_turned_step(step) for step in steps]


def _turned_step(step):
    if isinstance(step, Fork):
        return Fork(_turned_step(step.left), _turned_step(step.right))
    if isinstance(step, Conv) and isinstance(step.kernel, tuple):
        return step._replace(kernel=step.kernel[::-1])
    return step


def stem_block(x: KerasTensor, stride: int, conv: Convolve, released: bool) -> KerasTensor:
    """Figure 3, from the image to 35x35x384; `stride` is 2 there. Branches from left to right."""
    long = [Conv(64, 1), Conv(64, (7, 1)), Conv(64, (1, 7)), Conv(96, 3, 1, "valid")]
    steps = [Conv(32, 3, stride, "valid"), Conv(32, 3, 1, "valid"), Conv(64, 3)]
    x = branch(x, steps, conv, "stem_")
    x = inception_module(x, (
        [Pool("max", stride, "valid")],
        [Conv(96, 3, stride, "valid")],
    ), conv, "stem_block1")
    x = inception_module(x, (
        [Conv(64, 1), Conv(96, 3, 1, "valid")],
        turned(long) if released else long,
    ), conv, "stem_block2")
    return inception_module(x, (
        [Conv(192, 3, stride, "valid")],
        [Pool("max", stride, "valid")],
    ), conv, "stem_block3")


# Figures 4 to 8, branches from left to right
INCEPTION_A: Module = (
    [Pool("avg"), Conv(96, 1)],
    [Conv(96, 1)],
    [Conv(64, 1), Conv(96, 3)],
    [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
)
INCEPTION_B: Module = (
    [Pool("avg"), Conv(128, 1)],
    [Conv(384, 1)],
    [Conv(192, 1), Conv(224, (1, 7)), Conv(256, (7, 1))],
    [Conv(192, 1), Conv(192, (1, 7)), Conv(224, (7, 1)), Conv(224, (1, 7)), Conv(256, (7, 1))],
)
INCEPTION_C: Module = (
    [Pool("avg"), Conv(256, 1)],
    [Conv(256, 1)],
    [Conv(384, 1), Fork(Conv(256, (1, 3)), Conv(256, (3, 1)))],
    [Conv(384, 1), Conv(448, (1, 3)), Conv(512, (3, 1)),
     Fork(Conv(256, (3, 1)), Conv(256, (1, 3)))],
)
REDUCTION_A: Module = (  # with table 1's k, l, m, n = 192, 224, 256, 384
    [Pool("max", 2, "valid")],
    [Conv(384, 3, 2, "valid")],
    [Conv(192, 1), Conv(224, 3), Conv(256, 3, 2, "valid")],
)
REDUCTION_B: Module = (
    [Pool("max", 2, "valid")],
    [Conv(192, 1), Conv(192, 3, 2, "valid")],
    [Conv(256, 1), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2, "valid")],
)

STAGES = (
    (None, (INCEPTION_A,)),
    (REDUCTION_A, (INCEPTION_B,)),
    (REDUCTION_B, (INCEPTION_C,)),
)


# The released network: the pooling is the last branch, and the longest branch is turned
RELEASED_STAGES = (
    (None, ((*INCEPTION_A[1:], INCEPTION_A[0]),)),
    ((*REDUCTION_A[1:], REDUCTION_A[0]),
     ((*INCEPTION_B[1:3], turned(INCEPTION_B[3]), INCEPTION_B[0]),)),
    ((*REDUCTION_B[1:], REDUCTION_B[0]),
     ((*INCEPTION_C[1:3], turned(INCEPTION_C[3]), INCEPTION_C[0]),)),
)


@register("inception_v4", params=42_742_984)
@register("inception_v4_timm", params=42_742_984, released=True)
def inception_v4(input_shape: ImageShape = (299, 299, 3), classes: int = 1000, *,
                 depths: Sequence[int] = (4, 7, 3), width: float = 1.0, stem: str = "imagenet",
                 released: bool = False, dropout: float = 0.2, mean: PerChannel = 0.0,
                 std: PerChannel = 1.0) -> keras.Model:
    """Inception v4 as figure 9 draws it.

    See `zoo.build` for the common arguments. The features are 1536 averages.

    Args:
        input_shape: 299x299x3 in the paper; height and width may be None.
        depths: the modules Inception-A, -B and -C.
        width: a factor on all filter counts.
        stem: "imagenet", which halves three times, or "small", which has the same layers and
            weights at stride 1.
        released: whether 1xn and nx1 convolutions and the branches have the order of the released
            network, not that of the figures.
        dropout: the rate before the output; the paper keeps 0.8.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    check_above_zero(width=width)
    image, x = image_input(input_shape, any_size=True, minimum=MINIMUM[stem], mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)
    conv = functools.partial(conv_bn, width=width, scale=True)
    x = stem_block(x, STEM_STRIDE[stem], conv, released)
    x = stages(x, RELEASED_STAGES if released else STAGES, depths, conv)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
