"""VGG: nothing but 3x3 convolutions, stacked deep; two of them see as far as one of 5x5, for fewer weights.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015;
https://arxiv.org/abs/1409.1556

The configurations are A, B, D and E of table 1. A-LRN and C are left out: the paper found no gain in response
normalisation, and D better than C.

Differs from the paper:
- weights start from the normal distribution of He et al. 2015, made for layers of relus, in place of layers trained in
  configuration A. From Glorot and Bengio's, which section 3.1 found to do on ImageNet, D learns nothing of small data sets.
"""
import keras
from keras import layers

from zoo.blocks import classifier, image_input, positive
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Simonyan and Zisserman 2015"
INITIALIZER = "he_normal"


def _stage(x, filters, depth, place):
    """`depth` 3x3 convolutions and the max pooling that halves their map: a cell of table 1."""
    for number in range(1, depth + 1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=INITIALIZER,
                          name=f"{place}_conv{number}")(x)
    return layers.MaxPooling2D(2, name=f"{place}_pool")(x)


@register("vgg11", params=132_863_336, depths=(1, 1, 2, 2, 2))
@register("vgg13", params=133_047_848, depths=(2, 2, 2, 2, 2))
@register("vgg16", params=138_357_544, depths=(2, 2, 3, 3, 3))
@register("vgg19", params=143_667_240, depths=(2, 2, 4, 4, 4))
def vgg(input_shape=(224, 224, 3), classes=1000, *, depths, filters=(64, 128, 256, 512, 512), units=4096, dropout=0.5,
        mean=0.0, std=1.0):
    """VGG, by the rows of table 1.

    Args:
        input_shape: (height, width, channels) of images in [0, 255]. Each stage halves the map, so the five stages of the
            paper take at least 32x32, of which they leave 1x1. With units=0, height and width None for any.
        classes: the number of logits; 0 gives the features of the second fully connected layer, or the pooled maps.
        depths: the convolutions in each stage.
        filters: of the convolutions in each stage.
        units: of each of the two fully connected hidden layers; 4096 is far more than images of 32x32 need. 0 leaves them
            out and averages the maps in their place, for those who take VGG's maps, as J. Johnson et al. 2016 do
            (arXiv:1603.08155, section 3.2).
        dropout: the rate after each of these, or before the output if there are none, 0 to 1.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them.
            The paper subtracts the mean only: std=1/255.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images are too small, an option is no positive integer, or `depths` and `filters`
            differ in length.
    """
    positive(depths=depths, filters=filters, **{"units": units} if units else {})
    if len(depths) != len(filters):
        raise UsageError(f"depths and filters must name as many stages. Received: {len(depths)} and {len(filters)}.")
    image, x = image_input(input_shape, any_size=not units, minimum=2 ** len(depths), mean=mean, std=std,
                           hint="fewer stages in depths and filters")
    for number, (maps, depth) in enumerate(zip(filters, depths, strict=True), start=1):
        x = _stage(x, maps, depth, f"stage{number}")
    x = layers.Flatten(name="flatten")(x) if units else layers.GlobalAveragePooling2D(name="pool")(x)
    for name in ("fc1", "fc2") if units else ():
        x = layers.Dense(units, activation="relu", kernel_initializer=INITIALIZER, name=name)(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.Model(image, classifier(x, classes, dropout=0.0 if units else dropout))
