"""VGG: stacks of 3x3 convolutions; two of them cover as much as one 5x5, with fewer weights.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015; https://arxiv.org/abs/1409.1556

The configurations are A, B, D and E of table 1. A-LRN and C are left out: the paper found no gain
from response normalisation, and D better than C. `vgg11_bn` to `vgg19_bn` are those that
torchvision publishes, with batch normalisation (Ioffe and Szegedy 2015) after each convolution.

Differs from the paper:
- weights are initialised with the normal distribution of He et al. 2015, made for layers with
  relu, not with layers trained in configuration A. With Glorot and Bengio's, which section 3.1
  reports to work on ImageNet, D learns nothing from small data sets;
- the momentum of batch normalisation, which the paper does not have, is 0.9
  (`zoo.blocks.BN_MOMENTUM`), as in torchvision, and its epsilon is torchvision's.
"""
from collections.abc import Sequence

import keras
from keras import layers

from zoo.blocks import BN_MOMENTUM, ImageShape, PerChannel, check_positive, head, image_input
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Simonyan and Zisserman 2015"
INITIALIZER = "he_normal"
BN_EPSILON = 1e-5  # torchvision's


def _stage(x, filters, depth, name, batch_norm):
    """A cell of table 1: `depth` 3x3 convolutions, and the max pooling that halves their map."""
    for number in range(1, depth + 1):
        x = layers.Conv2D(filters, 3, padding="same", activation=None if batch_norm else "relu",
                          kernel_initializer=INITIALIZER, name=f"{name}_conv{number}")(x)
        if batch_norm:
            x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON,
                                          name=f"{name}_bn{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
    return layers.MaxPooling2D(2, name=f"{name}_pool")(x)


@register("vgg11", params=132_863_336, depths=(1, 1, 2, 2, 2))
@register("vgg13", params=133_047_848, depths=(2, 2, 2, 2, 2))
@register("vgg16", params=138_357_544, depths=(2, 2, 3, 3, 3))
@register("vgg19", params=143_667_240, depths=(2, 2, 4, 4, 4))
@register("vgg11_bn", params=132_874_344, depths=(1, 1, 2, 2, 2), batch_norm=True)
@register("vgg13_bn", params=133_059_624, depths=(2, 2, 2, 2, 2), batch_norm=True)
@register("vgg16_bn", params=138_374_440, depths=(2, 2, 3, 3, 3), batch_norm=True)
@register("vgg19_bn", params=143_689_256, depths=(2, 2, 4, 4, 4), batch_norm=True)
def vgg(input_shape: ImageShape = (224, 224, 3), classes: int = 1000, *, depths: Sequence[int],
        filters: Sequence[int] = (64, 128, 256, 512, 512), units: int = 4096,
        batch_norm: bool = False, dropout: float = 0.5, mean: PerChannel = 0.0,
        std: PerChannel = 1.0) -> keras.Model:
    """VGG, by the rows of table 1.

    See `zoo.build` for the common arguments. The features are the second fully connected layer, or
    the averaged maps.

    Args:
        input_shape: 224x224x3 in the paper. Each stage halves the map, so that the paper's five
            stages need at least 32x32, of which they leave 1x1. With units=0, height and width may
            be None.
        depths: the convolutions in each stage.
        filters: of the convolutions in each stage.
        units: of each of the two fully connected hidden layers; 4096 is far more than images of
            32x32 need. 0 leaves them out and averages the maps instead, for those who use VGG's
            maps, as J. Johnson et al. 2016 do (arXiv:1603.08155, section 3.2).
        batch_norm: whether batch normalisation stands between each convolution and its relu.
        dropout: the rate after each of these, or before the output if there are none.
        mean, std: the paper subtracts the mean only: std=1/255.
    """
    check_positive(depths=depths, filters=filters, units=units or 1)
    if len(depths) != len(filters):
        raise UsageError("depths and filters must name as many stages. "
                         f"Received: {len(depths)} and {len(filters)}.")
    image, x = image_input(input_shape, any_size=not units, minimum=2 ** len(depths), mean=mean,
                           std=std, hint="fewer stages in depths and filters")
    for number, (maps, depth) in enumerate(zip(filters, depths, strict=True), start=1):
        x = _stage(x, maps, depth, f"stage{number}", batch_norm)
    if not units:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(image, head(x, classes, dropout=dropout))
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(units, activation="relu", kernel_initializer=INITIALIZER, name=name)(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.Model(image, head(x, classes))
