"""Inception v3: large filters are factorised into small and one-dimensional ones, and every convolution is normalised.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception Architecture for Computer Vision",
CVPR 2016; https://arxiv.org/abs/1512.00567

The paper draws the modules without their filter counts, and its table 1 disagrees with the network that its authors
released. This is the released network, the one that the published ImageNet weights belong to.

Differs from the paper:
- the stem's fifth to seventh layers are 80 @ 1x1, 192 @ 3x3 and max pooling 3x3/2; table 1 has three 3x3 convolutions, of
  80, 192 (stride 2) and 288 filters, so that the first module sees 35x35x192 and not 35x35x288;
- the 35x35 modules have a 5x5 convolution where figure 5 has a single 3x3, beside the two 3x3 that replace the 5x5;
- table 1 counts 3, 5 and 2 modules and no grid reductions; here are 3, 4 and 2, and two reductions, and the stages begin
  with the table's maps, 17x17x768 and 8x8x1280;
- the reductions are figure 10 without the 1x1 before the first one's short branch, and with 1x7 and 7x1 convolutions for
  the first 3x3 of the second one's long branch;
- no auxiliary head on the 17x17 map (section 4), which regularises training and is dropped after it;
- batch normalisation, which the paper does not detail, learns an offset but no scale.
Label smoothing (section 7), RMSProp and gradient clipping (section 8) belong to a recipe, not to the network.
"""
import functools

import keras
from keras import layers

from zoo.blocks import BN_MOMENTUM, above_zero, classifier, image_input
from zoo.errors import UsageError, unknown
from zoo.inception import STEM_STRIDE, chain, module
from zoo.registry import register

PAPER = "Szegedy et al. 2016"
BN_EPSILON = 1e-3  # of the released weights; the paper gives none
MINIMUM = {"paper": 75, "small": 17}  # leave one pixel of the last stage


def conv_bn(x, filters, kernel, stride=1, padding="same", *, name, width=1.0, scale=False):
    """A convolution of `filters * width` filters, at least one, without bias; batch normalisation; relu."""
    x = layers.Conv2D(max(1, round(filters * width)), kernel, stride, padding, use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, scale=scale, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def stages(x, table, depths, conv):
    """Apply three stages of Inception modules, each but the first after its grid reduction.

    Args:
        x: the stem's output.
        table: for each stage (reduction, modules); a stage deeper than its modules repeats the last of them.
        depths: the number of modules in each stage.
        conv: the convolution, as `zoo.inception.chain` takes it.
    """
    depths = tuple(depths)
    if len(depths) != len(table) or not all(isinstance(n, int) and n >= 0 for n in depths):
        raise UsageError(f"depths must be {len(table)} integers from 0 up. Received: {depths}.")
    for i, ((reduction, modules), depth) in enumerate(zip(table, depths, strict=True), 1):
        if reduction:
            x = module(x, reduction, conv, f"stage{i}_reduction")
        for j in range(depth):
            x = module(x, modules[min(j, len(modules) - 1)], conv, f"stage{i}_block{j + 1}")
    return x


def stem_steps(stride):
    """Table 1, down to the first module; `stride` is 2 in the paper."""
    return [(32, 3, stride, "valid"), (32, 3, 1, "valid"), (64, 3), ("max", stride, "valid"),
            (80, 1), (192, 3, 1, "valid"), ("max", stride, "valid")]


def figure_5(projection):
    """35x35 modules."""
    return (
        [(64, 1)],
        [(48, 1), (64, 5)],
        [(64, 1), (96, 3), (96, 3)],
        [("avg", 1, "same"), (projection, 1)],
    )


def figure_6(n):
    """17x17 modules; 7x7 convolutions factorised, of `n` filters in between."""
    return (
        [(192, 1)],
        [(n, 1), (n, (1, 7)), (192, (7, 1))],
        [(n, 1), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7))],
        [("avg", 1, "same"), (192, 1)],
    )


# 8x8 modules: 3x3 convolutions spread out to 1x3 beside 3x1
FIGURE_7 = (
    [(320, 1)],
    [(384, 1), [(384, (1, 3)), (384, (3, 1))]],
    [(448, 1), (384, 3), [(384, (1, 3)), (384, (3, 1))]],
    [("avg", 1, "same"), (192, 1)],
)

# Figure 10: strided convolutions beside strided pooling
REDUCTION_TO_17 = (
    [(384, 3, 2, "valid")],
    [(64, 1), (96, 3), (96, 3, 2, "valid")],
    [("max", 2, "valid")],
)
REDUCTION_TO_8 = (
    [(192, 1), (320, 3, 2, "valid")],
    [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, "valid")],
    [("max", 2, "valid")],
)

STAGES = (
    (None, (figure_5(32), figure_5(64), figure_5(64))),
    (REDUCTION_TO_17, (figure_6(128), figure_6(160), figure_6(160), figure_6(192))),
    (REDUCTION_TO_8, (FIGURE_7, FIGURE_7)),
)


@register("inception_v3", params=23_851_784)
def inception_v3(input_shape=(299, 299, 3), classes=1000, *, depths=(3, 4, 2), width=1.0, stem="paper", dropout=0.0,
                 mean=0.0, std=1.0):
    """Inception v3.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 299x299x3 in the paper.
        classes: the number of logits; 0 gives the 2048 pooled features.
        depths: the modules at 35x35, 17x17 and 8x8, grid reductions not counted.
        width: a factor on all filter counts.
        stem: "paper", which halves three times, or "small", which has the same layers, and weights, at stride 1.
        dropout: the rate before the output, 0 to 1; the paper mentions none.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them. The
            published ImageNet weights want 0.5 and 0.5.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images are too small, `stem` is unknown, `depths` are not three integers from 0 up, or
            `width` is not above 0.
    """
    if stem not in STEM_STRIDE:
        raise unknown("stem", stem, STEM_STRIDE)
    above_zero(width=width)
    image, x = image_input(input_shape, any_size=True, minimum=MINIMUM[stem], mean=mean, std=std,
                           hint="stem='small'" if stem == "paper" else None)
    conv = functools.partial(conv_bn, width=width)
    x = chain(x, stem_steps(STEM_STRIDE[stem]), conv, "stem_")
    x = stages(x, STAGES, depths, conv)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout))
