"""MobileNet v2: blocks thin at both ends, where the shortcuts run and nothing is rectified, and wide in between.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
CVPR 2018; https://arxiv.org/abs/1801.04381

Each stage is a row of table 2; `head` is the 1x1 convolution before the pooling.

Differs from the paper, and goes with the network that its authors released:
- filters scaled by `alpha` are rounded to a multiple of 8;
- a block of expansion 1 has no expanding convolution.
At `alpha=1.4` table 4 has 6.9M weights; the released network, and this one, has 6.1M.
"""
import keras
from keras import layers

from zoo.blocks import BN_MOMENTUM, classifier, positive
from zoo.mobilenet import STEM_FILTERS, STEM_STRIDE, mobile_input
from zoo.registry import register

PAPER = "Sandler et al. 2018"
HEAD_FILTERS = 1280
TABLE_2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def bn(x, *, name, relu=True):
    """Batch normalisation and, unless the layer is a linear bottleneck, relu6."""
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def conv_bn(x, filters, kernel=1, stride=1, *, name, relu=True):
    """A convolution without bias, and batch normalisation."""
    return bn(layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x), name=name, relu=relu)


def inverted_residual(x, expansion, filters, stride, *, name):
    """Table 1 and figure 4(d): widen by `expansion`, filter each channel, narrow to `filters`; add `x` if of that shape."""
    y = conv_bn(x, expansion * x.shape[-1], name=f"{name}_expand") if expansion > 1 else x
    y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(y)
    y = conv_bn(bn(y, name=f"{name}_depthwise"), filters, name=f"{name}_project", relu=False)
    return layers.Add(name=f"{name}_add")([x, y]) if x.shape == y.shape else y


def scaled(filters, alpha):
    """`alpha` of the filters as the nearest multiple of 8, or the next one if that would lose more than a tenth."""
    wanted = int(filters * alpha)
    nearest = max(8, (wanted + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wanted else nearest + 8


@register("mobilenet_v2", params=3_538_984)
def mobilenet_v2(input_shape=(224, 224, 3), classes=1000, *, alpha=1.0, rows=TABLE_2, stem="imagenet", dropout=0.0,
                 mean=0.0, std=1.0):
    """MobileNet v2, by the rows of table 2.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 224x224x3 in table 2.
        classes: the number of logits; 0 gives the pooled features.
        alpha: the width multiplier, on the filters of every layer; below 1 it leaves the last convolution alone (section 6.1).
        rows: for each stage (expansion, filters, blocks, stride of the first block); the paper's t, c, n, s.
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
    x = conv_bn(x, scaled(STEM_FILTERS, alpha), 3, STEM_STRIDE[stem], name="stem")
    for i, row in enumerate(rows, 1):
        positive(rows=row)
        expansion, filters, depth, stride = row
        for number in range(1, depth + 1):
            x = inverted_residual(x, expansion, scaled(filters, alpha), stride if number == 1 else 1,
                                  name=f"stage{i}_block{number}")
    x = conv_bn(x, scaled(HEAD_FILTERS, max(1, alpha)), name="head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout))
