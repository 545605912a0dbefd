"""MobileNet: a convolution split in two, one kernel for each channel and then 1x1, costs about a ninth.

A. G. Howard, M. Zhu, B. Chen, D. Kalenichenko, W. Wang, T. Weyand, M. Andreetto, H. Adam, "MobileNets: Efficient
Convolutional Neural Networks for Mobile Vision Applications", 2017; https://arxiv.org/abs/1704.04861

Each stage holds the layers of table 1 that see one size of map: `stage1` 112 pixels, `stage5` 7.

Differs from the paper:
- relu saturates at 6, as in the authors' released network; `relu_max=None` is the paper's;
- table 1 gives its last depthwise convolution stride 2, which the sizes beside it contradict: it has stride 1.
An even map is padded on its right and bottom only, as in the released network. keras.applications.MobileNet pads an odd one
in the same way, this one on all sides; maps are odd only in images whose sides are no multiples of 32.
"""
import keras
from keras import layers

from zoo.blocks import BN_MOMENTUM, above_zero, classifier, image_input, positive, smallest
from zoo.errors import unknown
from zoo.registry import register

PAPER = "Howard et al. 2017"
STEM_FILTERS = 32
STEM_STRIDE = {"imagenet": 2, "small": 1}
TABLE_1 = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))  # filters, layers, stride of the first


def bn_relu(x, relu_max, *, name):
    """Batch normalisation and relu, which follow every convolution (figure 3)."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=relu_max, name=f"{name}_relu")(x)


def separable(x, filters, stride, relu_max, *, name):
    """Figure 3, right: a 3x3 depthwise convolution, then a pointwise (1x1) one."""
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = bn_relu(x, relu_max, name=f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise_conv")(x)
    return bn_relu(x, relu_max, name=f"{name}_pointwise")


def scaled(filters, alpha):
    """Section 3.3: `alpha` of the filters, rounded down, at least one."""
    return max(1, int(filters * alpha))


@register("mobilenet_v1", params=4_253_864)
def mobilenet_v1(input_shape=(224, 224, 3), classes=1000, *, alpha=1.0, rows=TABLE_1, relu_max=6.0, stem="imagenet",
                 dropout=0.0, mean=0.0, std=1.0):
    """MobileNet v1, by the rows of table 1.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 224,
            192, 160 or 128 pixels in the paper.
        classes: the number of logits; 0 gives the pooled features.
        alpha: the width multiplier, on the filters of every layer; 1, 0.75, 0.5 or 0.25 in the paper.
        rows: for each stage (filters, layers, stride of the first layer).
        relu_max: the value at which relu saturates, or None.
        stem: "imagenet", whose convolution strides by 2, or "small", the same with stride 1, for images of 32x32; it is not
            in the paper.
        dropout: the rate before the output, 0 to 1; the paper mentions none.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them. The
            published ImageNet weights want 0.5 and 0.5.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images leave a halving less than two pixels, or if an option has no such value.
    """
    image, x = mobile_input(input_shape, alpha, [stride for *_, stride in rows], stem, mean, std)
    x = layers.Conv2D(scaled(STEM_FILTERS, alpha), 3, STEM_STRIDE[stem], "same", use_bias=False, name="stem_conv")(x)
    x = bn_relu(x, relu_max, name="stem")
    for i, (filters, depth, stride) in enumerate(rows, 1):
        positive(rows=(filters, depth, stride))
        for number in range(1, depth + 1):
            x = separable(x, scaled(filters, alpha), stride if number == 1 else 1, relu_max, name=f"stage{i}_block{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout))


def mobile_input(input_shape, alpha, strides, stem, mean, std):
    """`image_input` for a network whose stages have these `strides`, after the options that both MobileNets share."""
    above_zero(alpha=alpha)
    if stem not in STEM_STRIDE:
        raise unknown("stem", stem, STEM_STRIDE)
    halvings = [STEM_STRIDE[stem], *strides].count(2)
    return image_input(input_shape, any_size=True, minimum=smallest(halvings), mean=mean, std=std,
                       hint="stem='small'" if stem == "imagenet" else "fewer strides in rows")
