"""GoogLeNet with batch normalisation, as torchvision publishes it.

The network is that of `zoo.inception`, after C. Szegedy et al., "Going Deeper with Convolutions",
CVPR 2015 (https://arxiv.org/abs/1409.4842), with the batch normalisation of S. Ioffe, C. Szegedy,
"Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML
2015 (https://arxiv.org/abs/1502.03167).

Differs from the paper, as torchvision's network does:
- batch normalisation stands between each convolution, which has no bias, and its relu; there is no
  local response normalisation;
- the 5x5 convolutions of the modules are 3x3 (https://github.com/pytorch/vision/issues/906);
- the first convolution pads 3 pixels on all sides, poolings of stride 2 round up, and the last of
  them is 2x2.
Differs from both:
- He's normal distribution, the initialisation, is cut off at two standard deviations;
- the auxiliary heads, of use in training only, are left out.
"""
import functools
from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.blocks import (
    BN_MOMENTUM,
    Convolve,
    ImageShape,
    PerChannel,
    ceil_max_pool,
    check_above_zero,
    head,
    image_input,
    resolve_stem,
)
from zoo.inception import Kernel, googlenet_module, named_rows
from zoo.registry import register

PAPER = "Szegedy et al. 2015"
BN_EPSILON = 1e-3  # torchvision's
MINIMUM = {"imagenet": 17, "small": 3}  # two pixels for each layer that halves the map


def conv_bn(x: KerasTensor, filters: int, kernel: Kernel, stride: int = 1, padding: str = "same", *,
            name: str, width: float = 1.0) -> KerasTensor:
    """A convolution of `filters * width` filters, at least one; batch normalisation; relu."""
    x = layers.Conv2D(max(1, round(filters * width)), kernel, stride, padding, use_bias=False,
                      kernel_initializer="he_normal", name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def stem_layers(x: KerasTensor, stem: str, conv: Convolve) -> KerasTensor:
    """From the image to the first module; the small stem has the same convolutions at stride 1."""
    if stem == "imagenet":
        x = layers.ZeroPadding2D(3, name="stem_pad")(x)
        x = conv(x, 64, 7, 2, "valid", name="stem_1")
        x = ceil_max_pool(x, name="stem_1")
    else:
        x = conv(x, 64, 7, name="stem_1")
    x = conv(x, 64, 1, name="stem_2")
    x = conv(x, 192, 3, name="stem_3")
    return ceil_max_pool(x, name="stem_3") if stem == "imagenet" else x


@register("googlenet_torchvision", params=6_639_464)
def googlenet_torchvision(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *,
                          depths: Sequence[int] = (2, 5, 2), width: float = 1.0,
                          stem: str = "imagenet", dropout: float = 0.2, mean: PerChannel = 0.0,
                          std: PerChannel = 1.0) -> keras.Model:
    """GoogLeNet with batch normalisation, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are 1024 averages.

    Args:
        input_shape: 224x224x3 in torchvision; height and width may be None.
        depths: how many modules of table 1's stages 3, 4 and 5 to use, counted from the first.
        width: a factor on all filter counts.
        stem: "imagenet", which halves three times, or "small", which has the same layers and
            weights at stride 1.
        dropout: the rate before the output.
        mean, std: the published ImageNet weights need 0.5 and 0.5.
    """
    stem = resolve_stem(stem, MINIMUM)
    check_above_zero(width=width)
    image, x = image_input(input_shape, any_size=True, minimum=MINIMUM[stem], mean=mean, std=std,
                           hint="stem='small'" if stem == "imagenet" else None)
    conv = functools.partial(conv_bn, width=width)
    x = stem_layers(x, stem, conv)
    for name, row in named_rows(depths).items():
        if name == "stage4_a":
            x = ceil_max_pool(x, name="stage4")
        elif name == "stage5_a":
            x = layers.MaxPooling2D(2, 2, "same", name="stage5_pool")(x)
        x = googlenet_module(x, row, conv, name, largest=3)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
