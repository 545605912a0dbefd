"""Inception: filters of several sizes side by side on one map; 1x1 convolutions make them cheap.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke,
A. Rabinovich, "Going Deeper with Convolutions", CVPR 2015; https://arxiv.org/abs/1409.4842

Differs from the paper:
- the paper gives no constants for its local response normalisation: they are those of Krizhevsky
  et al. 2012, section 3.3. BVLC's released Caffe model (bvlc_googlenet) has k=1, not k=2, and
  multiplies alpha with the mean of the squares, not with their sum;
- the first convolution pads an even image with 2 pixels at the top and left and 3 at the bottom and
  right ("same"); BVLC's pads 3 on all sides. The paper does not say;
- the auxiliary heads, which the paper discards after training, are built only with `aux=True`;
- the paper does not give an initialisation: convolutions use the normal distribution of He et al.
  2015, made for layers with relu, and fully connected layers Glorot's uniform one.
Table 1 counts no biases, and 1,024 to the K. Its filter counts are followed where they contradict
its sums: the first convolution (2.7K and 34M printed; 7x7x3x64 is 9,408 and 118M), 4c (463K, not
497K) and 5a (1072K and 54M, not 1018K and 51M).

`small_inception` is not in the paper: it is the teaching network of Sung Kim's lecture "CNN" (ML/DL
for Everyone with PyTorch, lecture 10), layer by layer. As in its listing, there is no relu inside a
module, and average pooling counts the zeros of its border. It differs in one thing: weights are
initialised with Keras's defaults, not PyTorch's.
"""
import functools
import operator
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    local_response_norm,
    resolve_stem,
)
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Szegedy et al. 2015"
AUX_WEIGHT = 0.3  # of each auxiliary head's loss in training; section 5
AUX_DROPOUT = 0.7  # section 5
Kernel = int | tuple[int, int]

# Krizhevsky et al. 2012, section 3.3
LRN: dict[str, Any] = {"size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75}


class Conv(NamedTuple):
    """A convolution in a branch."""

    filters: int
    kernel: Kernel
    stride: int = 1
    padding: str = "same"


class Pool(NamedTuple):
    """A 3x3 pooling in a branch."""

    kind: str  # "max" or "avg"
    stride: int = 1
    padding: str = "same"  # or "valid"; or "zeros", a border that the average counts


class Fork(NamedTuple):
    """Two convolutions of the same map, whose outputs are concatenated."""

    left: Conv
    right: Conv


Branch = Sequence[Conv | Pool | Fork]
Module = Sequence[Branch]


def convolution(x: KerasTensor, filters: int, kernel: Kernel, stride: int = 1,
                padding: str = "same", *, name: str, width: float = 1.0,
                **options: Any) -> KerasTensor:
    """A convolution with bias, named `NAME_conv`, of `filters * width` filters, at least one.

    `options` are further arguments of the layer, such as its activation.
    """
    return layers.Conv2D(max(1, round(filters * width)), kernel, stride, padding,
                         name=f"{name}_conv", **options)(x)


def pool(x: KerasTensor, kind: str, stride: int, padding: str, *, name: str) -> KerasTensor:
    """A `Pool`: with padding "zeros" the average counts a border of zeros; "same" leaves it out."""
    if padding == "zeros":
        x, padding = layers.ZeroPadding2D(1, name=f"{name}_zeros")(x), "valid"
    kinds = {"max": layers.MaxPooling2D, "avg": layers.AveragePooling2D}
    return kinds[kind](3, stride, padding, name=f"{name}_pool")(x)


def branch(x: KerasTensor, steps: Branch, conv: Convolve, name: str) -> KerasTensor:
    """Apply one branch of a module, step after step.

    Args:
        x: a feature map of shape (batch, height, width, channels).
        steps: a sequence of `Conv`, `Pool` and `Fork`.
        conv: called as `conv(x, filters, kernel, stride, padding, name=...)`.
        name: of the branch; its layers are NAMEa, NAMEb and so on.
    """
    for letter, step in zip(string.ascii_lowercase, steps):
        if isinstance(step, Fork):
            x = inception_module(x, [[half] for half in step], conv, f"{name}{letter}")
        else:
            apply = pool if isinstance(step, Pool) else conv
            x = apply(x, *step, name=f"{name}{letter}")
    return x


def inception_module(x: KerasTensor, branches: Module, conv: Convolve,
                     name: str) -> KerasTensor:
    """An Inception module (figure 2): the concatenated outputs of its branches."""
    outputs = [branch(x, steps, conv, f"{name}_b{i}") for i, steps in enumerate(branches, 1)]
    return layers.Concatenate(name=f"{name}_concat")(outputs)


def googlenet_module(x: KerasTensor, row: Sequence[int], conv: Convolve, name: str,
                     largest: int = 5) -> KerasTensor:
    """Figure 2(b), "with dimension reductions"; `row` has the filter counts of a row of table 1.

    The side of the largest kernel is 5 in the paper.
    """
    ones, reduce3, threes, reduce5, fives, projection = row
    branches: Module = (
        [Conv(ones, 1)],
        [Conv(reduce3, 1), Conv(threes, 3)],
        [Conv(reduce5, 1), Conv(fives, largest)],
        [Pool("max"), Conv(projection, 1)],
    )
    return inception_module(x, branches, conv, name)


def auxiliary(x: KerasTensor, classes: int, width: float, conv: Convolve, name: str) -> KerasTensor:
    """A classifier on a middle layer (section 5).

    Average pooling 5x5/3, 128 @ 1x1, 1024 units, dropout and a linear layer.
    """
    x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = layers.Flatten(name=f"{name}_flatten")(conv(x, 128, 1, name=name))
    x = layers.Dense(max(1, round(1024 * width)), activation="relu", name=f"{name}_fc")(x)
    x = layers.Dropout(AUX_DROPOUT, name=f"{name}_dropout")(x)
    return layers.Dense(operator.index(classes), dtype="float32", name=f"{name}_logits")(x)


# Table 1, by stage and module: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
TABLE_1 = {
    "stage3": {"a": (64, 96, 128, 16, 32, 32),
               "b": (128, 128, 192, 32, 96, 64)},
    "stage4": {"a": (192, 96, 208, 16, 48, 64),
               "b": (160, 112, 224, 24, 64, 64),
               "c": (128, 128, 256, 24, 64, 64),
               "d": (112, 144, 288, 32, 64, 64),
               "e": (256, 160, 320, 32, 128, 128)},
    "stage5": {"a": (256, 160, 320, 32, 128, 128),
               "b": (384, 192, 384, 48, 128, 128)},
}
AUXILIARY = {"stage4_a": "aux1", "stage4_d": "aux2"}

# The smallest image, by stem and auxiliary heads: two pixels for each layer that halves the map to
# halve; with auxiliary heads, 5x5 pixels for their pooling.
MINIMUM = {("imagenet", False): 17, ("imagenet", True): 65, ("small", False): 3, ("small", True): 9}


@register("googlenet", params=6_998_552)
def googlenet(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *, aux: bool = False,
              depths: Sequence[int] = (2, 5, 2), width: float = 1.0, stem: str = "imagenet",
              dropout: float = 0.4, mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """GoogLeNet as table 1 and figure 3 give it.

    See `zoo.build` for the common arguments. The features are 1024 averages; with classes=0 there
    are no auxiliary heads.

    Args:
        input_shape: 224x224x3 in the paper; height and width may be None, without auxiliary heads.
        aux: add the two auxiliary heads, to be trained with loss weight `AUX_WEIGHT` each. The
            model then returns a dict of three logits, "logits", "aux1" and "aux2".
        depths: how many modules of table 1's stages 3, 4 and 5 to use, counted from the first.
        width: a factor on all filter counts.
        stem: "imagenet", which halves three times, or "small", which has the same layers and
            weights at stride 1.
        dropout: the rate before the output.
    """
    stem = resolve_stem(stem, STEM_STRIDE)
    check_above_zero(width=width)
    has_aux = bool(aux and classes)
    image, x = image_input(input_shape, any_size=not has_aux, minimum=MINIMUM[stem, has_aux],
                           mean=mean, std=std, hint="stem='small'" if stem == "imagenet" else None)
    conv = functools.partial(convolution, width=width, activation="relu",
                             kernel_initializer="he_normal")
    x = _stem(x, STEM_STRIDE[stem], conv)
    outputs = {}
    for name, row in named_rows(depths, aux).items():
        if name in ("stage4_a", "stage5_a"):
            x = layers.MaxPooling2D(3, 2, "same", name=f"{name[:-2]}_pool")(x)
        x = googlenet_module(x, row, conv, name)
        if has_aux and name in AUXILIARY:
            outputs[AUXILIARY[name]] = auxiliary(x, classes, width, conv, AUXILIARY[name])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    logits = head(x, classes, dropout=dropout)
    return keras.Model(image, {"logits": logits, **outputs} if outputs else logits)


def named_rows(depths: Sequence[int], aux: bool = False) -> dict[str, tuple[int, ...]]:
    """Return {name: row} of the rows of table 1 that `depths` selects.

    Raises:
        zoo.errors.UsageError: if `depths` are not three numbers of modules, or leave out a module
            that an auxiliary head (`aux`) follows.
    """
    depths = tuple(depths)
    limits = [range(1, len(rows) + 1) for rows in TABLE_1.values()]
    if len(depths) != 3 or not all(n in limit for n, limit in zip(depths, limits, strict=True)):
        raise UsageError("depths must be three integers from 1 up, at most 2, 5 and 2. "
                         f"Received: {depths}.")
    selected: dict[str, tuple[int, ...]] = {
        f"{stage}_{letter}": row
        for (stage, rows), depth in zip(TABLE_1.items(), depths, strict=True)
        for letter, row in list(rows.items())[:depth]}
    if aux and not AUXILIARY.keys() <= selected.keys():
        raise UsageError(f"aux=True needs the modules {', '.join(AUXILIARY)}. "
                         f"Received: depths={depths}.")
    return selected


def _stem(x, stride, conv):
    """Figure 3, from the input to the first module."""
    x = branch(x, [Conv(64, 7, stride), Pool("max", stride)], conv, "stem_1")
    x = local_response_norm(x, "stem_1_lrn", **LRN)
    x = branch(x, [Conv(64, 1), Conv(192, 3)], conv, "stem_2")
    x = local_response_norm(x, "stem_2_lrn", **LRN)
    return pool(x, "max", stride, "same", name="stem_3")


SMALL_MODULE: Module = (
    [Conv(16, 1)],
    [Conv(16, 1), Conv(24, 5)],
    [Conv(16, 1), Conv(24, 3), Conv(24, 3)],
    [Pool("avg", 1, "zeros"), Conv(24, 1)],
)


@register("small_inception", params=97_298, source="courses of Kim, Dinh, Tan")
def small_inception(input_shape: ImageShape = (28, 28, 1), classes: int = 10, *,
                    dropout: float = 0.0, mean: PerChannel = 0.0,
                    std: PerChannel = 1.0) -> keras.Model:
    """The lecture's two Inception modules, each after a convolution, max pooling and relu.

    See `zoo.build` for the common arguments. The features are the flattened map, 1408 numbers from
    28x28 images.

    Args:
        input_shape: 28x28x1 in the lecture.
        dropout: the rate before the output; 0 in the lecture.
    """
    image, x = image_input(input_shape, minimum=16, mean=mean, std=std)
    for stage, filters in (("stage1", 10), ("stage2", 20)):
        x = convolution(x, filters, 5, padding="valid", name=stage)
        x = layers.MaxPooling2D(2, name=f"{stage}_pool")(x)
        x = layers.ReLU(name=f"{stage}_relu")(x)
        x = inception_module(x, SMALL_MODULE, convolution, f"{stage}_inception")
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
