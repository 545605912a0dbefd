"""Network in network: 1x1 convolutions after each other one, and averages instead of hidden layers.

M. Lin, Q. Chen, S. Yan, "Network In Network", ICLR 2014; https://arxiv.org/abs/1312.4400

The paper draws figure 2 and gives no filter counts: they are those of the models that its authors
released, `nin_cifar10` that for CIFAR-10 and `nin` that for ImageNet. Every convolution has a relu,
also the last, whose maps are averaged to the logits.

Differs from the released models:
- weights are initialised with the normal distribution of He et al. 2015, made for layers with relu;
  theirs are normal with a standard deviation of 0.05 (CIFAR-10) or 0.01;
- max pooling has a border where a map is even, so that it rounds up as in Caffe.
"""
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    ImageShape,
    PerChannel,
    averaged_logits,
    ceil_max_pool,
    check_above_zero,
    image_input,
)
from zoo.registry import register

PAPER = "Lin et al. 2014"
INITIALIZER = "he_normal"


class MlpConv(NamedTuple):
    """An mlpconv layer (figure 1b), and the pooling and dropout that follow it."""

    kernel: int
    filters: Sequence[int]  # of the convolution, then of the 1x1 ones
    stride: int = 1
    padding: str = "same"
    pool: str | None = None  # "max" or "avg", 3x3 with stride 2
    dropout: bool = False


# The last 1x1 convolution, of one filter for each class, is not in these rows
CIFAR_10 = (MlpConv(5, (192, 160, 96), pool="max", dropout=True),
            MlpConv(5, (192, 192, 192), pool="avg", dropout=True),
            MlpConv(3, (192, 192)))
IMAGENET = (MlpConv(11, (96, 96, 96), 4, "valid", "max"), MlpConv(5, (256, 256, 256), pool="max"),
            MlpConv(3, (384, 384, 384), pool="max", dropout=True), MlpConv(3, (1024, 1024)))


def mlpconv(x: KerasTensor, row: MlpConv, width: float, *, name: str) -> KerasTensor:
    """Figure 1(b): a convolution, then 1x1 ones, which are a perceptron at every position."""
    geometry = {"kernel_size": row.kernel, "strides": row.stride, "padding": row.padding}
    for number, filters in enumerate(row.filters):
        x = layers.Conv2D(max(1, round(filters * width)), activation="relu",
                          kernel_initializer=INITIALIZER, name=f"{name}_conv{number}",
                          **(geometry if number == 0 else {"kernel_size": 1}))(x)
    return x


def pool(x: KerasTensor, kind: str, *, name: str) -> KerasTensor:
    """Pooling 3x3 with stride 2 that rounds up; averages do not count the border."""
    if kind == "avg":
        return layers.AveragePooling2D(3, 2, "same", name=f"{name}_pool")(x)
    return ceil_max_pool(x, name=name)


def _minimum(rows):
    """The smallest image that leaves two pixels to each layer that halves the map."""
    side = 1
    for row in reversed(rows):
        side = max(2 * side, 2) if row.pool else side
        if row.padding == "valid":
            side = (side - 1) * row.stride + row.kernel
    return side


@register("nin", params=7_595_176, rows=IMAGENET)
@register("nin_cifar10", params=966_986, rows=CIFAR_10, input_shape=(32, 32, 3), classes=10)
def nin(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
        rows: Sequence[Sequence], width: float = 1.0, dropout: float = 0.5,
        mean: PerChannel = 0.0, std: PerChannel = 1.0) -> keras.Model:
    """Network in network, by figure 2.

    See `zoo.build` for the common arguments. The features are the averages of the map before the
    last 1x1 convolution.

    Args:
        input_shape: 224x224x3, or 32x32x3 for CIFAR-10; height and width may be None.
        rows: for each mlpconv layer (kernel, filters of its convolutions, stride, padding, pooling,
            dropout), as `MlpConv`; the last four have defaults.
        width: a factor on all filter counts.
        dropout: the rate after the rows with dropout.
    """
    check_above_zero(width=width)
    layout = [MlpConv(*row) for row in rows]
    hint = "rows of stride 1, as nin_cifar10 has" if layout[0].stride > 1 else None
    image, x = image_input(input_shape, any_size=True, minimum=_minimum(layout), mean=mean, std=std,
                           hint=hint)
    for i, row in enumerate(layout, 1):
        x = mlpconv(x, row, width, name=f"stage{i}")
        if row.pool:
            x = pool(x, row.pool, name=f"stage{i}")
        if row.dropout:
            x = layers.Dropout(dropout, name=f"stage{i}_dropout")(x)
    return keras.Model(image, averaged_logits(x, classes, kernel_initializer=INITIALIZER))
