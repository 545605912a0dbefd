"""Inception v3: large kernels are factorised into small and one-dimensional ones, all normalised.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception Architecture for
Computer Vision", CVPR 2016; https://arxiv.org/abs/1512.00567

The paper draws the modules without their filter counts, and its table 1 disagrees with the network
that its authors released. This is the released network, to which the published ImageNet weights
belong.

Differs from the paper:
- the stem's fifth to seventh layers are 80 @ 1x1, 192 @ 3x3 and max pooling 3x3/2; table 1 has
  three 3x3 convolutions, of 80, 192 (stride 2) and 288 filters, so that the first module sees
  35x35x192 and not 35x35x288;
- the 35x35 modules have a 5x5 convolution where figure 5 has a single 3x3, beside the two 3x3 that
  replace the 5x5;
- table 1 counts 3, 5 and 2 modules and no grid reductions; here are 3, 4 and 2, and two reductions,
  and the stages begin with the table's maps, 17x17x768 and 8x8x1280;
- the reductions are figure 10 without the 1x1 before the first one's short branch, and with 1x7 and
  7x1 convolutions for the first 3x3 of the second one's long branch;
- there is no auxiliary head on the 17x17 map (section 4): it regularises training and is dropped
  after it;
- batch normalisation, which the paper does not detail, learns an offset but no scale. Its momentum
  is 0.9 (`zoo.blocks.BN_MOMENTUM`), that of the released network 0.9997;
- the paper does not give an initialisation: all weights start from Glorot's uniform distribution,
  those of the released network's convolutions from He's normal one.
`inception_v3_torchvision` is the network as torchvision has it: average pooling counts the zeros of
its border, and batch normalisation learns a scale.

Label smoothing (section 7), RMSProp and gradient clipping (section 8) belong to a recipe, not to
the network.
"""
import functools
from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    BN_MOMENTUM,
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
from zoo.inception import Branch, Conv, Fork, Kernel, Module, Pool, branch, inception_module
from zoo.registry import register

PAPER = "Szegedy et al. 2016"
BN_EPSILON = 1e-3  # of the released weights; the paper gives none
MINIMUM = {"imagenet": 75, "small": 17}  # leave one pixel for the last stage


def conv_bn(x: KerasTensor, filters: int, kernel: Kernel, stride: int = 1, padding: str = "same", *,
            name: str, width: float = 1.0, scale: bool = False) -> KerasTensor:
    """A convolution of `filters * width` filters, at least one; batch normalisation; relu."""
    x = layers.Conv2D(max(1, round(filters * width)), kernel, stride, padding, use_bias=False,
                      name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, scale=scale,
                                  name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


Table = Sequence[tuple[Module | None, Sequence[Module]]]  # for each stage (reduction, modules)


def stages(x: KerasTensor, table: Table,
           depths: Sequence[int], conv: Convolve) -> KerasTensor:
    """Apply three stages of Inception modules, each but the first after its grid reduction.

    Args:
        x: the stem's output.
        table: for each stage (reduction, modules); a stage deeper than its modules repeats the last
            of them.
        depths: the number of modules in each stage.
        conv: the convolution, as in `zoo.inception.branch`.

    Raises:
        zoo.errors.UsageError: if `depths` are not as many integers from 0 up.
    """
    depths = tuple(depths)
    if len(depths) != len(table) or not all(isinstance(n, int) and n >= 0 for n in depths):
        raise UsageError(f"depths must be {len(table)} integers from 0 up. Received: {depths}.")
    for i, ((reduction, modules), depth) in enumerate(zip(table, depths, strict=True), 1):
        if reduction:
            x = inception_module(x, reduction, conv, f"stage{i}_reduction")
        for j in range(depth):
            branches = modules[min(j, len(modules) - 1)]
            x = inception_module(x, branches, conv, f"stage{i}_block{j + 1}")
    return x


def stem_steps(stride: int) -> Branch:
    """Table 1, down to the first module; `stride` is 2 in the paper."""
    return [Conv(32, 3, stride, "valid"), Conv(32, 3, 1, "valid"), Conv(64, 3),
            Pool("max", stride, "valid"), Conv(80, 1), Conv(192, 3, 1, "valid"),
            Pool("max", stride, "valid")]


def figure_5(projection: int) -> Module:
    """35x35 modules."""
    return (
        [Conv(64, 1)],
        [Conv(48, 1), Conv(64, 5)],
        [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
        [Pool("avg"), Conv(projection, 1)],
    )


def figure_6(n: int) -> Module:
    """17x17 modules; 7x7 convolutions factorised, with `n` filters in between."""
    return (
        [Conv(192, 1)],
        [Conv(n, 1), Conv(n, (1, 7)), Conv(192, (7, 1))],
        [Conv(n, 1), Conv(n, (7, 1)), Conv(n, (1, 7)), Conv(n, (7, 1)), Conv(192, (1, 7))],
        [Pool("avg"), Conv(192, 1)],
    )


# 8x8 modules: 3x3 convolutions spread out to 1x3 beside 3x1
FIGURE_7: Module = (
    [Conv(320, 1)],
    [Conv(384, 1), Fork(Conv(384, (1, 3)), Conv(384, (3, 1)))],
    [Conv(448, 1), Conv(384, 3), Fork(Conv(384, (1, 3)), Conv(384, (3, 1)))],
    [Pool("avg"), Conv(192, 1)],
)

# Figure 10: strided convolutions beside strided pooling
REDUCTION_TO_17: Module = (
    [Conv(384, 3, 2, "valid")],
    [Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, "valid")],
    [Pool("max", 2, "valid")],
)
REDUCTION_TO_8: Module = (
    [Conv(192, 1), Conv(320, 3, 2, "valid")],
    [Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")],
    [Pool("max", 2, "valid")],
)

STAGES = (
    (None, (figure_5(32), figure_5(64), figure_5(64))),
    (REDUCTION_TO_17, (figure_6(128), figure_6(160), figure_6(160), figure_6(192))),
    (REDUCTION_TO_8, (FIGURE_7, FIGURE_7)),
)


def counting_borders(module: Module) -> Module:
    """The same branches, whose average pooling counts the zeros of its border."""
    return [[step._replace(padding="zeros") if isinstance(step, Pool) and step.kind == "avg"
             else step for step in steps] for steps in module]


@register("inception_v3", params=23_851_784)
@register("inception_v3_torchvision", params=23_869_000, count_borders=True, bn_scale=True)
def inception_v3(input_shape: ImageShape = (299, 299, 3), classes: int = 1000, *,
                 depths: Sequence[int] = (3, 4, 2), width: float = 1.0, stem: str = "imagenet",
                 count_borders: bool = False, bn_scale: bool = False, dropout: float = 0.0,
                 mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """Inception v3.

    See `zoo.build` for the common arguments. The features are 2048 averages.

    Args:
        input_shape: 299x299x3 in the paper; height and width may be None.
        depths: the modules at 35x35, 17x17 and 8x8, grid reductions not counted.
        width: a factor on all filter counts.
        stem: "imagenet", which halves three times, or "small", which has the same layers and
            weights at stride 1.
        count_borders: whether average pooling counts the zeros of its border, as in torchvision.
        bn_scale: whether batch normalisation learns a scale, as in torchvision.
        dropout: the rate before the output; the paper mentions none.
        mean, std: the published ImageNet weights need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    check_above_zero(width=width)
    image, x = image_input(input_shape, any_size=True, minimum=MINIMUM[stem], mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)
    conv = functools.partial(conv_bn, width=width, scale=bn_scale)
    table: Table = STAGES
    if count_borders:
        table = tuple((reduction, [counting_borders(module) for module in modules])
                      for reduction, modules in STAGES)
    x = branch(x, stem_steps(STEM_STRIDE[stem]), conv, "stem_")
    x = stages(x, table, depths, conv)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
