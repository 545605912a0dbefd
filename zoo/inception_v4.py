"""Inception v4: one uniform module for each grid size, freed from what v3 had inherited.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", AAAI 2017; https://arxiv.org/abs/1602.07261

Differs from the paper:
- the last 3x3 convolution of the stem (figure 3) has stride 2, which the drawing forgets: it stands beside a pooling of
  stride 2, and the map shrinks from 71x71 to 35x35;
- the second convolution of 1x7 in figure 5's third column is 7x1, as in the released network: a 7x7 is factorised in two
  directions;
- the paper does not describe batch normalisation; it learns a scale and an offset here, and its epsilon is v3's.
"""
import functools

import keras
from keras import layers

from zoo.blocks import above_zero, classifier, image_input
from zoo.errors import unknown
from zoo.inception import STEM_STRIDE, chain, module
from zoo.inception_v3 import MINIMUM, conv_bn, stages
from zoo.registry import register

PAPER = "Szegedy et al. 2017"


def stem_block(x, stride, conv):
    """Figure 3, from the image to 35x35x384; `stride` is 2 in the paper. Branches from left to right."""
    x = chain(x, [(32, 3, stride, "valid"), (32, 3, 1, "valid"), (64, 3)], conv, "stem_")
    x = module(x, (
        [("max", stride, "valid")],
        [(96, 3, stride, "valid")]), conv, "stem_block1")
    x = module(x, (
        [(64, 1), (96, 3, 1, "valid")],
        [(64, 1), (64, (7, 1)), (64, (1, 7)), (96, 3, 1, "valid")]), conv, "stem_block2")
    return module(x, (
        [(192, 3, stride, "valid")],
        [("max", stride, "valid")]), conv, "stem_block3")


# Figures 4 to 8, branches from left to right
INCEPTION_A = (
    [("avg", 1, "same"), (96, 1)],
    [(96, 1)],
    [(64, 1), (96, 3)],
    [(64, 1), (96, 3), (96, 3)],
)
INCEPTION_B = (
    [("avg", 1, "same"), (128, 1)],
    [(384, 1)],
    [(192, 1), (224, (1, 7)), (256, (7, 1))],
    [(192, 1), (192, (1, 7)), (224, (7, 1)), (224, (1, 7)), (256, (7, 1))],
)
INCEPTION_C = (
    [("avg", 1, "same"), (256, 1)],
    [(256, 1)],
    [(384, 1), [(256, (1, 3)), (256, (3, 1))]],
    [(384, 1), (448, (1, 3)), (512, (3, 1)), [(256, (3, 1)), (256, (1, 3))]],
)
REDUCTION_A = (  # with table 1's k, l, m, n = 192, 224, 256, 384
    [("max", 2, "valid")],
    [(384, 3, 2, "valid")],
    [(192, 1), (224, 3), (256, 3, 2, "valid")],
)
REDUCTION_B = (
    [("max", 2, "valid")],
    [(192, 1), (192, 3, 2, "valid")],
    [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, "valid")],
)

STAGES = (
    (None, (INCEPTION_A,)),
    (REDUCTION_A, (INCEPTION_B,)),
    (REDUCTION_B, (INCEPTION_C,)),
)


@register("inception_v4", params=42_742_984)
def inception_v4(input_shape=(299, 299, 3), classes=1000, *, depths=(4, 7, 3), width=1.0, stem="paper", dropout=0.2,
                 mean=0.0, std=1.0):
    """Inception v4 as figure 9 draws it.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 299x299x3 in the paper.
        classes: the number of logits; 0 gives the 1536 pooled features.
        depths: the modules Inception-A, -B and -C.
        width: a factor on all filter counts.
        stem: "paper", which halves three times, or "small", which has the same layers, and weights, at stride 1.
        dropout: the rate before the output, 0 to 1; the paper keeps 0.8.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them.

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
    conv = functools.partial(conv_bn, width=width, scale=True)
    x = stem_block(x, STEM_STRIDE[stem], conv)
    x = stages(x, STAGES, depths, conv)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout))
