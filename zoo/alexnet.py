"""AlexNet: five convolutions and three fully connected layers of relus, deep and wide enough for ImageNet.

A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012;
https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html

`alexnet_2tower` is the paper's network; `alexnet` is that of today's courses, one tower without response normalisation.

Differs from the paper:
- the input is 227x227: the paper says 224x224, from which its first kernels do not give its 55x55 maps;
- the mean that is subtracted is one number per channel (`mean`), not one per pixel;
- weights start from He's normal distribution. Pass initializer="paper" for those of section 5: they are made for pixels
  from -128 to 127, which is std=1/255 here, and leave images scaled to [0, 1] hardly any signal.
"""
from typing import NamedTuple

import keras
from keras import layers

from zoo.blocks import above_zero, classifier, image_input, local_response_norm, positive
from zoo.errors import UsageError, unknown
from zoo.registry import register

PAPER = "Krizhevsky et al. 2012"

# Section 3.3.
LRN = {"size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75}

# Section 5, "Details of learning".
PAPER_STDDEV = 0.01


class Stage(NamedTuple):
    """A convolution of section 3.5 and what follows it."""

    filters: int
    kernel: int
    split: bool  # between the two towers
    bias: int  # where the paper starts it
    normalised: bool
    pooled: bool


STAGES = (
    Stage(96, 11, split=False, bias=0, normalised=True, pooled=True),
    Stage(256, 5, split=True, bias=1, normalised=True, pooled=True),
    Stage(384, 3, split=False, bias=0, normalised=False, pooled=False),
    Stage(384, 3, split=True, bias=1, normalised=False, pooled=False),
    Stage(256, 3, split=True, bias=1, normalised=False, pooled=True),
)

# The geometry of the first convolution, and the smallest image that it leaves something of for the last pooling.
STEMS = {"paper": ({"kernel_size": 11, "strides": 4, "padding": "valid"}, 67),
         "small": ({"kernel_size": 3, "strides": 1, "padding": "same"}, 15)}


def _start(initializer, bias):
    """The initialisers of one layer; those of section 5 if `initializer` is "paper"."""
    if initializer != "paper":
        return {"kernel_initializer": initializer}
    return {"kernel_initializer": keras.initializers.RandomNormal(stddev=PAPER_STDDEV),
            "bias_initializer": keras.initializers.Constant(bias)}


@register("alexnet", params=62_378_344)
@register("alexnet_2tower", params=60_965_224, groups=2, lrn=True)
def alexnet(input_shape=(227, 227, 3), classes=1000, *, groups=1, lrn=False, stem="paper", initializer="he_normal", width=1.0,
            units=4096, dropout=0.5, mean=0.0, std=1.0):
    """AlexNet, as section 3.5 and figure 2 have it.

    Args:
        input_shape: (height, width, channels) of images in [0, 255]; at least 67x67, or 15x15 with the small stem.
        classes: the number of logits; 0 gives the features of the second fully connected layer.
        groups: the towers into which convolutions 2, 4 and 5 are split: 2 in the paper, 1 for a single tower.
        lrn: whether convolutions 1 and 2 are followed by local response normalisation, as in the paper.
        stem: the first convolution: "paper", 11x11 with stride 4, or "small", 3x3 with stride 1 for images such as
            32x32, which is not in the paper.
        initializer: of the weights, a name that Keras knows; or "paper", normal of standard deviation 0.01, with the
            biases of convolutions 2, 4, 5 and of the hidden layers at 1.
        width: a factor on the filters of all convolutions.
        units: of each of the two fully connected hidden layers.
        dropout: the rate after each of these, 0 to 1.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images are too small, or `stem`, `groups`, `units` or `width` is none of the above.
    """
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
    if groups not in (1, 2):
        raise UsageError(f"groups must be 1 or 2. Received: {groups!r}.")
    positive(units=units)
    above_zero(width=width)
    first, minimum = STEMS[stem]
    image, x = image_input(input_shape, minimum=minimum, hint="stem='small'" if stem == "paper" else None, mean=mean, std=std)
    for number, stage in enumerate(STAGES, start=1):
        place, split = f"stage{number}", groups if stage.split else 1
        geometry = first if number == 1 else {"kernel_size": stage.kernel, "padding": "same"}
        x = layers.Conv2D(groups * max(1, round(stage.filters * width / groups)), groups=split, activation="relu",
                          name=f"{place}_conv", **geometry, **_start(initializer, stage.bias))(x)
        if lrn and stage.normalised:
            x = local_response_norm(x, f"{place}_lrn", **LRN)
        if stage.pooled:
            x = layers.MaxPooling2D(3, strides=2, name=f"{place}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(units, activation="relu", name=name, **_start(initializer, bias=1))(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.Model(image, classifier(x, classes, **_start(initializer, bias=0)))
