"""ResNet for CIFAR: three stages at 32, 16 and 8 pixels, and shortcuts without weights.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section
4.2; https://arxiv.org/abs/1512.03385

Shortcuts are option A: where the shape changes, they take every second pixel and fill the new
channels with zeros.

Differs from the paper:
- He's normal distribution, the initialisation, is cut off at two standard deviations, as in Keras;
- the paper gives no momentum for batch normalisation; it is 0.9 (`zoo.blocks.BN_MOMENTUM`);
- the paper does not say where the zeros go: they follow the channels.
"""
import keras
from keras import KerasTensor, layers

from zoo.blocks import ImageShape, PerChannel, check_positive, head, image_input, minimum_side
from zoo.registry import register
from zoo.resnet import INITIALIZER, add_relu, basic, small_stem

PAPER = "He et al. 2016"
STAGES = 3  # the last two halve the map


def padded_shortcut(x: KerasTensor, filters: int, stride: int, *, name: str) -> KerasTensor:
    """Option A of section 4.1, without weights: subsample by `stride`, then add zero channels."""
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    if extra := filters - x.shape[-1]:
        # With channels_first the layer pads the last two axes: here width, by nothing, and channels
        x = layers.ZeroPadding2D(((0, 0), (0, extra)), data_format="channels_first",
                                 name=f"{name}_zeros")(x)
    return x


def block(x: KerasTensor, filters: int, stride: int, *, name: str) -> KerasTensor:
    """Figure 2 with two 3x3 convolutions; the first strides."""
    shortcut = padded_shortcut(x, filters, stride, name=f"{name}_shortcut")
    return add_relu(shortcut, basic(x, filters, stride, name=name), name)


@register("resnet20", params=271_098, n=3)
@register("resnet32", params=466_426, n=5)
@register("resnet44", params=661_754, n=7)
@register("resnet56", params=857_082, n=9)
@register("resnet110", params=1_736_058, n=18)
def resnet_cifar(input_shape: ImageShape = (32, 32, 3), classes: int = 10, *, n: int,
                 width: int = 16, dropout: float = 0.0, mean: PerChannel = 0.0,
                 std: PerChannel = 1.0) -> keras.Model:
    """ResNet of 6n + 2 layers, by the table of section 4.2.

    See `zoo.build` for the common arguments. The features are the averages of the last map.

    Args:
        input_shape: 32x32x3 in the paper; height and width may be None.
        n: the blocks in each of the three stages.
        width: the filters of the first stage, 16 in the paper; each next stage has twice as many.
        dropout: the rate before the output; the paper uses none.
        mean, std: the paper subtracts the mean image.
    """
    check_positive(n=n, width=width)
    image, x = image_input(input_shape, any_size=True, minimum=minimum_side(STAGES - 1), mean=mean,
                           std=std)
    x = small_stem(x, width)
    for i in range(STAGES):
        for number in range(1, n + 1):
            stride = 2 if i and number == 1 else 1
            x = block(x, width * 2 ** i, stride, name=f"stage{i + 1}_block{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))
