"""ResNet: a block learns what to add to its input, so that a network of any depth starts out near the identity.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016; https://arxiv.org/abs/1512.03385

`stage1` to `stage4` are the paper's conv2_x to conv5_x. Shortcuts are its option B, a projection where the shape changes.
A bottleneck strides in its first 1x1 convolution, as the paper and its authors' Caffe models do; the "v1.5" of later
libraries strides in the 3x3 and costs more.

Differs from the paper:
- He's normal distribution, from which the weights start, is cut off at two standard deviations, as Keras draws it;
- `resnet50_keras`, `resnet101_keras` and `resnet152_keras` have a bias in every convolution, which batch normalisation
  cancels: these are the networks that keras.applications publishes ImageNet weights for.
Table 1 gives 34 layers 3.6e9 operations, the cost without projections, with which it is 3.66e9; and 50 layers 3.8e9, for
3.86e9.
"""
import keras
from keras import layers

from zoo.blocks import BN_MOMENTUM, classifier, image_input, positive, smallest
from zoo.errors import UsageError, unknown
from zoo.registry import register

PAPER = "He et al. 2016"
BN_EPSILON = 1.001e-5  # that of keras.applications' weights; the paper gives none, cuDNN takes no less than 1e-5
INITIALIZER = "he_normal"  # section 3.4


def conv_bn(x, filters, kernel, stride=1, *, name, bias=False, relu=True):
    """A convolution, batch normalisation and, if wanted, relu (section 3.4).

    A strided kernel wider than one pixel sees the same border of zeros on all sides. Padding "same" would give an even map
    a border on two sides only, and shift it against the shortcut that passes it.
    """
    padding = "same"
    if kernel > 1 and stride > 1:
        x, padding = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=bias, kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def basic(x, filters, stride=1, *, name, bias=False):
    """The residual of figure 5, left: two 3x3 convolutions."""
    x = conv_bn(x, filters, 3, stride, bias=bias, name=f"{name}_a")
    return conv_bn(x, filters, 3, bias=bias, relu=False, name=f"{name}_b")


def bottleneck(x, filters, stride=1, *, name, bias=False):
    """The residual of figure 5, right: 1x1, 3x3 and 1x1 convolutions, the last with four times the filters."""
    x = conv_bn(x, filters, 1, stride, bias=bias, name=f"{name}_a")
    x = conv_bn(x, filters, 3, bias=bias, name=f"{name}_b")
    return conv_bn(x, 4 * filters, 1, bias=bias, relu=False, name=f"{name}_c")


BLOCKS = {"basic": (basic, 1), "bottleneck": (bottleneck, 4)}  # the residual, and its channels for each filter


def add_relu(shortcut, residual, name):
    """The end of every block (section 3.2): the sum, then relu."""
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, residual]))


def identity_block(x, filters, *, name, block="bottleneck", bias=False):
    """relu(F(x) + x), equation 1.

    Args:
        x: a feature map of shape (batch, height, width, channels); its shape is kept.
        filters: of the 3x3 convolutions; the channels of `x`, or a quarter of them in a bottleneck.
        name: the prefix of the layers' names.
        block: the residual F, "basic" or "bottleneck".
        bias: whether the convolutions have biases.

    Raises:
        zoo.errors.UsageError: if `x` has other channels than F(x), or `block` is unknown.
    """
    residual, expansion = _block(block)
    if x.shape[-1] != filters * expansion:
        raise UsageError(f"An identity block of {filters} filters takes {filters * expansion} channels. "
                         f"Received: {x.shape[-1]}. A projection block takes any.")
    return add_relu(x, residual(x, filters, name=name, bias=bias), name)


def projection_block(x, filters, *, name, stride=2, block="bottleneck", bias=False):
    """relu(F(x) + W x), equation 2; W is a 1x1 convolution.

    Args:
        x: a feature map of shape (batch, height, width, channels); height and width are divided by `stride`, rounded up.
        filters: of the 3x3 convolutions; the block's channels, or a quarter of them in a bottleneck.
        name: the prefix of the layers' names.
        stride: of the first convolution and of the shortcut.
        block: the residual F, "basic" or "bottleneck".
        bias: whether the convolutions have biases.

    Raises:
        zoo.errors.UsageError: if `block` is unknown.
    """
    residual, expansion = _block(block)
    shortcut = conv_bn(x, filters * expansion, 1, stride, bias=bias, relu=False, name=f"{name}_shortcut")
    return add_relu(shortcut, residual(x, filters, stride, name=name, bias=bias), name)


def _block(name):
    if name not in BLOCKS:
        raise unknown("block", name, BLOCKS)
    return BLOCKS[name]


def imagenet_stem(x, filters, *, bias=False):
    """Table 1, conv1 and the max pooling of conv2_x: a map of a quarter of the height and width."""
    x = conv_bn(x, filters, 7, 2, bias=bias, name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, 2, name="stem_pool")(x)


def small_stem(x, filters, *, bias=False):
    """Section 4.2, the first layer: a 3x3 convolution at full size, for images of 32x32."""
    return conv_bn(x, filters, 3, bias=bias, name="stem")


STEMS = {"imagenet": (imagenet_stem, 2), "small": (small_stem, 0)}  # the layers, and how often they halve the image


def stage(x, filters, depth, stride, *, name, block, bias=False):
    """A row of table 1: `depth` blocks, of which the first strides; it projects if that, or its channels, need it."""
    if stride == 1 and x.shape[-1] == filters * _block(block)[1]:
        x = identity_block(x, filters, block=block, bias=bias, name=f"{name}_block1")
    else:
        x = projection_block(x, filters, stride=stride, block=block, bias=bias, name=f"{name}_block1")
    for number in range(2, depth + 1):
        x = identity_block(x, filters, block=block, bias=bias, name=f"{name}_block{number}")
    return x


@register("resnet18", params=11_699_112, block="basic", depths=(2, 2, 2, 2))
@register("resnet34", params=21_814_696, block="basic", depths=(3, 4, 6, 3))
@register("resnet50", params=25_610_152, block="bottleneck", depths=(3, 4, 6, 3))
@register("resnet101", params=44_654_504, block="bottleneck", depths=(3, 4, 23, 3))
@register("resnet152", params=60_344_232, block="bottleneck", depths=(3, 8, 36, 3))
@register("resnet50_keras", params=25_636_712, block="bottleneck", depths=(3, 4, 6, 3), bias=True)
@register("resnet101_keras", params=44_707_176, block="bottleneck", depths=(3, 4, 23, 3), bias=True)
@register("resnet152_keras", params=60_419_944, block="bottleneck", depths=(3, 8, 36, 3), bias=True)
def resnet(input_shape=(224, 224, 3), classes=1000, *, block, depths, width=64, stem="imagenet", bias=False, dropout=0.0,
           mean=0.0, std=1.0):
    """ResNet, by the rows of table 1.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 224x224x3 in the paper.
        classes: the number of logits; 0 gives the pooled features.
        block: "basic", of two 3x3 convolutions, or "bottleneck", of 1x1, 3x3 and 1x1.
        depths: the blocks in each stage.
        width: the filters of the stem and of the first stage; each next stage has twice as many.
        stem: "imagenet", 7x7 with stride 2 and max pooling, or "small", 3x3 with stride 1, the stem of section 4.2.
        bias: whether the convolutions have biases.
        dropout: the rate before the output, 0 to 1; the paper uses none.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them. The
            paper subtracts the mean only: std=1/255.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images leave a halving less than two pixels, or if an option has no such value.
    """
    positive(depths=depths, width=width)
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
    layers_of, halvings = STEMS[stem]
    image, x = image_input(input_shape, any_size=True, minimum=smallest(halvings + len(depths) - 1), mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else "fewer stages in depths")
    x = layers_of(x, width, bias=bias)
    for i, depth in enumerate(depths):
        x = stage(x, width * 2 ** i, depth, 2 if i else 1, block=block, bias=bias, name=f"stage{i + 1}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout, kernel_initializer=INITIALIZER))
