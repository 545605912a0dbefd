"""ResNet for CIFAR: three stages at 32, 16 and 8 pixels, and shortcuts without weights, to study depth and nothing else.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2;
https://arxiv.org/abs/1512.03385

Shortcuts are option A: where the shape changes, every second pixel, and zeros in the channels that are added.

Differs from the paper:
- He's normal distribution, from which the weights start, is cut off at two standard deviations, as Keras draws it;
- the paper does not say where the zeros go: they follow the channels.
"""
import keras
from keras import layers

from zoo.blocks import classifier, image_input, positive, smallest
from zoo.registry import register
from zoo.resnet import INITIALIZER, add_relu, basic, small_stem

PAPER = "He et al. 2016"
STAGES = 3  # of which the last two halve the map


def padded_shortcut(x, filters, stride, *, name):
    """Option A of section 4.1: subsample by `stride`, then fill up to `filters` channels with zeros. No weights."""
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    if extra := filters - x.shape[-1]:
        # Told that channels come first, the layer pads the last two axes: here width, by nothing, and channels.
        x = layers.ZeroPadding2D(((0, 0), (0, extra)), data_format="channels_first", name=f"{name}_zeros")(x)
    return x


def block(x, filters, stride, *, name):
    """Figure 2 with two 3x3 convolutions; the first strides."""
    shortcut = padded_shortcut(x, filters, stride, name=f"{name}_shortcut")
    return add_relu(shortcut, basic(x, filters, stride, name=name), name)


@register("resnet20", params=271_098, n=3)
@register("resnet32", params=466_426, n=5)
@register("resnet44", params=661_754, n=7)
@register("resnet56", params=857_082, n=9)
@register("resnet110", params=1_736_058, n=18)
def resnet_cifar(input_shape=(32, 32, 3), classes=10, *, n, width=16, dropout=0.0, mean=0.0, std=1.0):
    """ResNet of 6n + 2 layers, by the table of section 4.2.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 32x32x3 in the paper.
        classes: the number of logits; 0 gives the pooled features.
        n: the blocks in each of the three stages.
        width: the filters of the first stage, 16 in the paper; each next stage has twice as many.
        dropout: the rate before the output, 0 to 1; the paper uses none.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them. The
            paper subtracts the mean image.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images leave a halving less than two pixels, or if n or width is not positive.
    """
    positive(n=n, width=width)
    image, x = image_input(input_shape, any_size=True, minimum=smallest(STAGES - 1), mean=mean, std=std)
    x = small_stem(x, width)
    for i in range(STAGES):
        for number in range(1, n + 1):
            x = block(x, width * 2 ** i, 2 if i and number == 1 else 1, name=f"stage{i + 1}_block{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))
