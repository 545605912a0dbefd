"""VDCNN: a very deep network of small convolutions over the characters of a text.

A. Conneau, H. Schwenk, L. Barrault, Y. LeCun, "Very Deep Convolutional Networks for Text
Classification", EACL 2017; https://arxiv.org/abs/1606.01781

Figure 1: vectors of 16 numbers for each of 1014 characters; one convolution; four groups of
convolutional blocks with 64, 128, 256 and 512 feature maps, each half as long as the one before;
the 8 largest values of each map; and three fully connected layers. There are 69 ids: padding,
unknown, the space and 66 other characters (section 4.2).

Differs from the paper:
- white space is one space between words, and characters are normalized to NFKC;
- with shortcuts, each block has one around its two convolutions and ends with relu, as in He et al.
  2016, whom the paper follows there without saying where relu is.

The paper's table 2 counts 2.2, 4.3, 4.6 and 7.8 million parameters for 9, 17, 29 and 49 layers. The
convolutions and batch normalizations here have 1.6, 3.7, 4.1 and 7.2 million, about as much less at
each depth. The fully connected layers of the text, 4096 x 2048 and 2048 x 2048, have 12.6 million
more, so that the table cannot count them; what else it counts, the paper does not say.
"""
from collections.abc import Sequence

import keras
from keras import KerasTensor, layers, ops

from zoo.blocks import BN_MOMENTUM, check_positive, head
from zoo.char_cnn import character_input, check_alphabet
from zoo.errors import UsageError, unknown
from zoo.registry import register

PAPER = "Conneau et al. 2017"
# Section 4.2, in its order, after the space.
ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/|_#$%^&*~`+=<>()[]{}"
POOLINGS = ("max", "kmax", "convolution")  # section 3, between two groups of blocks
INITIALIZER = "he_normal"
_FORMAT = "channels_last"  # whatever Keras's image data format is


def convolution(x: KerasTensor, filters: int, width: int = 3, stride: int = 1, *,
                name: str) -> KerasTensor:
    """Convolution over `width` positions that keeps the length, or divides it by the stride."""
    return layers.Conv1D(filters, width, stride, padding="same", data_format=_FORMAT,
                         kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)


def block(x: KerasTensor, filters: int, stride: int, shortcut: bool, *, name: str) -> KerasTensor:
    """Two convolutions of three positions, each with batch normalization and relu (figure 2).

    A shortcut is the identity, or a 1x1 convolution where the block changes the shape.
    """
    y = convolution(x, filters, stride=stride, name=f"{name}_a")
    y = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_a_bn")(y)
    y = layers.ReLU(name=f"{name}_a_relu")(y)
    y = convolution(y, filters, name=f"{name}_b")
    y = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_b_bn")(y)
    if shortcut:
        if x.shape != y.shape:
            x = convolution(x, filters, 1, stride, name=f"{name}_shortcut")
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(y)


def k_max(x: KerasTensor, k: int) -> KerasTensor:
    """Return the `k` largest values of each map, in the order of their positions.

    N. Kalchbrenner, E. Grefenstette, P. Blunsom, "A Convolutional Neural Network for Modelling
    Sentences", ACL 2014, section 3.2; https://arxiv.org/abs/1404.2188
    """
    maps = ops.transpose(x, (0, 2, 1))
    _, places = ops.top_k(maps, k)
    maps = ops.take_along_axis(maps, ops.sort(places, axis=-1), axis=-1)
    return ops.transpose(maps, (0, 2, 1))


def halve(x: KerasTensor, pooling: str, *, name: str) -> KerasTensor:
    """Halve the length, rounded up (section 3): as VGG does, or by the larger half of each map."""
    if pooling == "kmax":
        return k_max(x, -(-x.shape[1] // 2))
    return layers.MaxPooling1D(3, 2, padding="same", data_format=_FORMAT, name=f"{name}_pool")(x)


@register("vdcnn9")
@register("vdcnn17", depths=(2, 2, 2, 2))
@register("vdcnn29", depths=(5, 5, 2, 2))
@register("vdcnn49", depths=(8, 8, 5, 3))
def vdcnn(alphabet: str = ALPHABET, classes: int = 2, *, length: int = 1014, embedding: int = 16,
          filters: Sequence[int] = (64, 128, 256, 512), depths: Sequence[int] = (1, 1, 1, 1),
          pooling: str = "max", shortcut: bool = False, k: int = 8, units: int = 2048,
          dropout: float = 0.0) -> keras.Model:
    """VDCNN, named by the number of its convolutions: one, and two in each block (table 2).

    Args:
        alphabet: the characters that have vectors, in lower case. All others share one.
        classes: the number of logits; 0 gives the last hidden layer.
        length: characters in a frame.
        embedding: the length of a character's vector.
        filters: the feature maps of each group of blocks.
        depths: the blocks of each group.
        pooling: what halves the length between two groups: "max", "kmax" or "convolution", which
            is a stride of 2 in the next block.
        shortcut: whether the blocks have shortcuts; the paper needs them from 49 layers on.
        k: how many of the largest values of each map the fully connected layers see.
        units: of the two hidden layers.
        dropout: the rate before the output, 0 to 1; 0 in the paper.

    Returns:
        A `keras.Model` from character ids, int32 of shape (batch, characters), to float32 logits of
        shape (batch, classes); see `zoo.char_cnn.character_input`. Padding does not change the
        logits.

    Raises:
        zoo.errors.UsageError: if the alphabet is empty, a size is not a positive integer, `filters`
            and `depths` differ in number, the length is too small, or the pooling is unknown.
    """
    check_alphabet(alphabet)
    check_positive(length=length, embedding=embedding, filters=filters, depths=depths, k=k,
                   units=units)
    if len(filters) != len(depths):
        raise UsageError("filters and depths must have one number for each group of blocks. "
                         f"Received: {tuple(filters)} and {tuple(depths)}.")
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
    minimum = (k - 1) * 2 ** (len(depths) - 1) + 1
    if length < minimum:
        raise UsageError("length, or max_tokens of a recipe, must be at least "
                         f"{minimum} characters here. Received: {length}.")
    tokens, frame = character_input(length)
    x = layers.Embedding(len(alphabet) + 2, embedding, name="embedding_characters")(frame)
    x = convolution(x, filters[0], name="stem")
    for group, (maps, depth) in enumerate(zip(filters, depths, strict=True), start=1):
        if group > 1 and pooling != "convolution":
            x = halve(x, pooling, name=f"stage{group}")
        for number in range(1, depth + 1):
            stride = 2 if pooling == "convolution" and group > 1 and number == 1 else 1
            x = block(x, maps, stride, shortcut, name=f"stage{group}_block{number}")
    x = layers.Flatten(_FORMAT, name="flatten")(k_max(x, k))
    for number in (1, 2):
        x = layers.Dense(units, activation="relu", kernel_initializer=INITIALIZER,
                         name=f"fc{number}")(x)
    return keras.Model(tokens, head(x, classes, dropout=dropout))
