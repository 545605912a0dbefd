"""DenseNet: every layer sees the maps of all layers before it, so each need only add a few.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks", CVPR 2017;
https://arxiv.org/abs/1608.06993

`stage1` and so on are the dense blocks; `transition1` follows `stage1`. Without `bottleneck`, and with `compression` 1, it
is the paper's plain DenseNet; with both, DenseNet-BC, as all of table 1 is.

Differs from the paper:
- He's normal distribution, from which the weights start, is cut off at two standard deviations, as Keras draws it.
"""
import keras
from keras import layers

from zoo.blocks import BN_MOMENTUM, classifier, image_input, positive
from zoo.errors import UsageError, unknown
from zoo.registry import register
from zoo.resnet import BN_EPSILON, INITIALIZER, imagenet_stem

PAPER = "Huang et al. 2017"
BOTTLENECK = 4  # the 1x1 convolution has this many times the growth rate's filters; section 3
PLAIN_STEM = 16  # filters of the first convolution, which in DenseNet-BC has twice the growth rate; section 3
CIFAR = {"input_shape": (32, 32, 3), "classes": 10, "stem": "small"}


def bn_relu(x, *, name):
    """Batch normalisation, then relu."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def convolution(x, filters, kernel, *, name, dropout=0.0):
    """A convolution without bias, and the dropout that follows each but the first."""
    x = layers.Conv2D(filters, kernel, padding="same", use_bias=False, kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def dense_layer(x, growth_rate, *, name, bottleneck=True, dropout=0.0):
    """Section 3: `x` and, after it, the `growth_rate` new maps of H(x), BN-ReLU-Conv 3x3, after a 1x1 if `bottleneck`."""
    y = x
    if bottleneck:
        y = convolution(bn_relu(y, name=f"{name}_a"), BOTTLENECK * growth_rate, 1, dropout=dropout, name=f"{name}_a")
    y = convolution(bn_relu(y, name=f"{name}_b"), growth_rate, 3, dropout=dropout, name=f"{name}_b")
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def transition(x, compression, *, name, dropout=0.0):
    """Section 3: keep `compression` of the channels by a 1x1 convolution, and halve the map by average pooling."""
    x = convolution(bn_relu(x, name=name), max(1, int(x.shape[-1] * compression)), 1, dropout=dropout, name=name)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def small_stem(x, filters):
    """Section 3, before the first dense block of the CIFAR networks: a 3x3 convolution at full size."""
    return convolution(x, filters, 3, name="stem")


def _imagenet_minimum(halvings):
    """The smallest image that the stem, which rounds up, leaves 2 ** halvings pixels of."""
    return 4 * 2 ** halvings - 3


# The layers, and the smallest image for a number of transitions; these round down.
STEMS = {"imagenet": (imagenet_stem, _imagenet_minimum), "small": (small_stem, lambda halvings: 2 ** halvings)}


@register("densenet121", params=8_062_504, depths=(6, 12, 24, 16))
@register("densenet169", params=14_307_880, depths=(6, 12, 32, 32))
@register("densenet201", params=20_242_984, depths=(6, 12, 48, 32))
@register("densenet40_k12", params=1_037_818, depths=(12, 12, 12), growth_rate=12, bottleneck=False, compression=1.0, **CIFAR)
@register("densenet_bc100_k12", params=793_150, depths=(16, 16, 16), growth_rate=12, **CIFAR)
def densenet(input_shape=(224, 224, 3), classes=1000, *, depths, growth_rate=32, bottleneck=True, compression=0.5,
             stem="imagenet", dropout=0.0, mean=0.0, std=1.0):
    """DenseNet, by the rows of table 1.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any;
            224x224x3 in table 1, 32x32x3 for CIFAR.
        classes: the number of logits; 0 gives the pooled features.
        depths: the layers in each dense block.
        growth_rate: the maps that each layer adds; the paper's k.
        bottleneck: whether a 1x1 convolution of 4k filters precedes each 3x3 (DenseNet-B).
        compression: the share of the channels that a transition keeps, above 0 to 1; the paper's theta (DenseNet-C).
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1, that of the CIFAR networks.
        dropout: the rate after every convolution but the first, 0 to 1; 0.2 in the paper where it does not augment its data.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images are too small, or if an option has no such value.
    """
    positive(depths=depths, growth_rate=growth_rate)
    if not 0 < compression <= 1:
        raise UsageError(f"compression must be above 0 and at most 1. Received: {compression}.")
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
    layers_of, minimum = STEMS[stem]
    image, x = image_input(input_shape, any_size=True, minimum=minimum(len(depths) - 1), mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else "fewer dense blocks in depths")
    x = layers_of(x, 2 * growth_rate if bottleneck else PLAIN_STEM)
    for i, depth in enumerate(depths, 1):
        for number in range(1, depth + 1):
            x = dense_layer(x, growth_rate, bottleneck=bottleneck, dropout=dropout, name=f"stage{i}_layer{number}")
        if i < len(depths):
            x = transition(x, compression, dropout=dropout, name=f"transition{i}")
    x = layers.GlobalAveragePooling2D(name="pool")(bn_relu(x, name=f"stage{len(depths)}"))
    return keras.Model(image, classifier(x, classes, kernel_initializer=INITIALIZER))
