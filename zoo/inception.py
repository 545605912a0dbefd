"""Inception: filters of several sizes look at the same map side by side, and 1x1 convolutions keep their cost down.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich, "Going Deeper with
Convolutions", CVPR 2015; https://arxiv.org/abs/1409.4842

Differs from the paper:
- the paper names local response normalisation without its constants: they are those of Krizhevsky et al. 2012, section 3.3;
- the auxiliary heads, which the paper discards after training, are built only with `aux=True`;
- the paper does not say how weights start: convolutions do from the normal distribution of He et al. 2015, made for relus.
Table 1 counts no biases and 1,024 to the K. Its filter counts are followed where they contradict its sums: the first
convolution (2.7K and 34M printed; 7x7x3x64 is 9,408 and 118M), 4c (463K, not 497K) and 5a (1072K and 54M, not 1018K and 51M).

`small_inception` is no network of the paper: it is the teaching net of Sung Kim's lecture "CNN" (ML/DL for Everyone with
PyTorch, lecture 10), layer by layer. As its listing has it, nothing inside a module is rectified, and average pooling
counts the zeros of its border. It differs in one thing: weights start from Keras' defaults, not PyTorch's.
"""
import functools
import string

import keras
from keras import layers

from zoo.blocks import above_zero, classifier, image_input, local_response_norm
from zoo.errors import UsageError, unknown
from zoo.registry import register

PAPER = "Szegedy et al. 2015"
AUX_WEIGHT = 0.3  # of each auxiliary head's loss in training; section 5
AUX_DROPOUT = 0.7  # section 5
LRN = {"size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75}  # Krizhevsky et al. 2012, section 3.3
STEM_STRIDE = {"paper": 2, "small": 1}


def convolution(x, filters, kernel, stride=1, padding="same", *, name, width=1.0, activation=None, **options):
    """A convolution with bias of `filters * width` filters, at least one; named `NAME_conv`; `options` are the layer's."""
    return layers.Conv2D(max(1, round(filters * width)), kernel, stride, padding, activation=activation,
                         name=f"{name}_conv", **options)(x)


def pool(x, kind, stride, padding, *, name):
    """3x3 pooling, "max" or "avg". With padding "zeros" the average counts a border of zeros; "same" leaves it out."""
    if padding == "zeros":
        x, padding = layers.ZeroPadding2D(1, name=f"{name}_zeros")(x), "valid"
    kinds = {"max": layers.MaxPooling2D, "avg": layers.AveragePooling2D}
    return kinds[kind](3, stride, padding, name=f"{name}_pool")(x)


def chain(x, steps, conv, name):
    """Apply one branch of a module, step after step.

    Args:
        x: a feature map.
        steps: a convolution is (filters, kernel[, stride[, padding]]), a 3x3 pooling ("avg" or "max", stride, padding); a
            list of convolutions forks the branch, their outputs are concatenated.
        conv: called as `conv(x, filters, kernel, stride, padding, name=...)`.
        name: of the branch; its layers are NAMEa, NAMEb and so on.
    """
    for letter, step in zip(string.ascii_lowercase, steps):
        if isinstance(step, list):
            x = module(x, [[fork] for fork in step], conv, f"{name}{letter}")
        else:
            apply = pool if step[0] in ("avg", "max") else conv
            x = apply(x, *step, name=f"{name}{letter}")
    return x


def module(x, branches, conv, name):
    """An Inception module (figure 2): the concatenated outputs of its branches, each a list of steps for `chain`."""
    outputs = [chain(x, steps, conv, f"{name}_b{i}") for i, steps in enumerate(branches, 1)]
    return layers.Concatenate(name=f"{name}_concat")(outputs)


def inception(x, row, conv, name):
    """Figure 2(b), "with dimension reductions"; `row` holds the filter counts of a row of table 1."""
    ones, reduce3, threes, reduce5, fives, projection = row
    return module(x, (
        [(ones, 1)],
        [(reduce3, 1), (threes, 3)],
        [(reduce5, 1), (fives, 5)],
        [("max", 1, "same"), (projection, 1)]), conv, name)


def auxiliary(x, classes, width, conv, name):
    """A classifier on a middle layer, section 5: average 5x5/3, 128 @ 1x1, 1024 units, dropout and a linear layer."""
    x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = layers.Flatten(name=f"{name}_flatten")(conv(x, 128, 1, name=name))
    x = layers.Dense(max(1, round(1024 * width)), activation="relu", name=f"{name}_fc")(x)
    x = layers.Dropout(AUX_DROPOUT, name=f"{name}_dropout")(x)
    return layers.Dense(classes, dtype="float32", name=f"{name}_logits")(x)


# Table 1, by stage and module: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
TABLE_1 = {
    "stage3": {"a": (64, 96, 128, 16, 32, 32),
               "b": (128, 128, 192, 32, 96, 64)},
    "stage4": {"a": (192, 96, 208, 16, 48, 64),
               "b": (160, 112, 224, 24, 64, 64),
               "c": (128, 128, 256, 24, 64, 64),
               "d": (112, 144, 288, 32, 64, 64),
               "e": (256, 160, 320, 32, 128, 128)},
    "stage5": {"a": (256, 160, 320, 32, 128, 128),
               "b": (384, 192, 384, 48, 128, 128)},
}
AUXILIARY = {"stage4_a": "aux1", "stage4_d": "aux2"}

# Without auxiliary heads: the least that leaves each halving two pixels to halve. With them: 5x5 pixels for their pooling.
MINIMUM = {("paper", False): 17, ("paper", True): 65, ("small", False): 3, ("small", True): 9}


@register("googlenet", params=6_998_552)
def googlenet(input_shape=(224, 224, 3), classes=1000, *, aux=False, depths=(2, 5, 2), width=1.0, stem="paper",
              dropout=0.4, mean=0.0, std=1.0):
    """GoogLeNet as table 1 and figure 3 give it.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], height and width None for any; 224x224x3 in the paper.
        classes: the number of logits; 0 gives the 1024 pooled features, and no auxiliary heads.
        aux: add the two auxiliary heads, to be trained with loss weight `AUX_WEIGHT` each.
        depths: how many modules of table 1's stages 3, 4 and 5 to take, the first ones.
        width: a factor on all filter counts.
        stem: "paper", which halves three times, or "small", which has the same layers, and weights, at stride 1.
        dropout: the rate before the output, 0 to 1.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes); with `aux` to a dict of three such, under "logits",
        "aux1" and "aux2".

    Raises:
        zoo.errors.UsageError: if the images are too small, `stem` is unknown, `depths` do not fit table 1 or `aux`, or
            `width` is not above 0.
    """
    if stem not in STEM_STRIDE:
        raise unknown("stem", stem, STEM_STRIDE)
    above_zero(width=width)
    image, x = image_input(input_shape, any_size=not (aux and classes), minimum=MINIMUM[stem, bool(aux and classes)],
                           mean=mean, std=std, hint="stem='small'" if stem == "paper" else None)
    conv = functools.partial(convolution, width=width, activation="relu", kernel_initializer="he_normal")
    x = _stem(x, STEM_STRIDE[stem], conv)
    outputs = {}
    for name, row in _modules(depths, aux):
        if name in ("stage4_a", "stage5_a"):
            x = layers.MaxPooling2D(3, 2, "same", name=f"{name[:-2]}_pool")(x)
        x = inception(x, row, conv, name)
        if aux and classes and name in AUXILIARY:
            outputs[AUXILIARY[name]] = auxiliary(x, classes, width, conv, AUXILIARY[name])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    logits = classifier(x, classes, dropout=dropout)
    return keras.Model(image, {"logits": logits, **outputs} if outputs else logits)


def _modules(depths, aux):
    """The named rows of table 1 that `depths` takes."""
    depths = tuple(depths)
    if len(depths) != 3 or not all(n in range(1, len(rows) + 1) for n, rows in zip(depths, TABLE_1.values())):
        raise UsageError(f"depths must be three integers from 1 up, at most 2, 5 and 2. Received: {depths}.")
    taken = [(f"{stage}_{letter}", row) for (stage, rows), depth in zip(TABLE_1.items(), depths)
             for letter, row in list(rows.items())[:depth]]
    if aux and not AUXILIARY.keys() <= dict(taken).keys():
        raise UsageError(f"aux=True needs the modules {', '.join(AUXILIARY)}. Received: depths={depths}.")
    return taken


def _stem(x, stride, conv):
    """Figure 3, from the input to the first module."""
    x = chain(x, [(64, 7, stride), ("max", stride, "same")], conv, "stem_1")
    x = local_response_norm(x, "stem_1_lrn", **LRN)
    x = chain(x, [(64, 1), (192, 3)], conv, "stem_2")
    x = local_response_norm(x, "stem_2_lrn", **LRN)
    return pool(x, "max", stride, "same", name="stem_3")


SMALL_MODULE = (
    [(16, 1)],
    [(16, 1), (24, 5)],
    [(16, 1), (24, 3), (24, 3)],
    [("avg", 1, "zeros"), (24, 1)],
)


@register("small_inception", params=97_298, source="courses of Kim, Dinh, Tan")
def small_inception(input_shape=(28, 28, 1), classes=10, *, dropout=0.0, mean=0.0, std=1.0):
    """The lecture's net with two Inception modules: convolution, max pooling, relu and module, twice.

    Args:
        input_shape: (height, width, channels) of images in [0, 255]; 28x28x1 in the lecture.
        classes: the number of logits; 0 gives the features that they see, 1408 from 28x28 images.
        dropout: the rate before the output, 0 to 1; 0 in the lecture.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the input is normalised with them.

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if the images are too small.
    """
    image, x = image_input(input_shape, minimum=16, mean=mean, std=std)
    for stage, filters in (("stage1", 10), ("stage2", 20)):
        x = convolution(x, filters, 5, padding="valid", name=stage)
        x = layers.MaxPooling2D(2, name=f"{stage}_pool")(x)
        x = module(layers.ReLU(name=f"{stage}_relu")(x), SMALL_MODULE, convolution, f"{stage}_inception")
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout))
