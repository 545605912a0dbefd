"""Char-CNN: six convolutions over the characters of a text, and three fully connected layers.

X. Zhang, J. Zhao, Y. LeCun, "Character-level Convolutional Networks for Text Classification", NIPS
2015; https://arxiv.org/abs/1509.01626

Tables 1 and 2: a text is a frame of 1014 characters of an alphabet of 70, each a vector with one 1;
what is not in the alphabet, spaces too, is a vector of zeros. Max pooling of three positions
follows the first, second and last convolution. The characters stand in reverse order, so that the
latest are always at the beginning of the frame (section 2.2).

Differs from the paper:
- white space is one space between words, and line ends are white space, which has no vector. In the
  paper's alphabet the line end is the 70th character; the authors' program does without it;
- characters are normalized to NFKC, so that those of full width are in the alphabet too;
- of a text of more than 1014 characters the first ones count: "any character exceeding length l0 is
  ignored". The authors' program takes the last ones.

The paper lists the hyphen twice, so that 69 characters differ, and publishes no number of
parameters. The authors' program has 69 features, 256 * 7 parameters less in the small network.
"""
import keras
from keras import KerasTensor, layers, ops

from zoo.blocks import check_above_zero, check_positive, head
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "Zhang et al. 2015"
# Section 2.2, in its order.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}\n"
CONVOLUTIONS = ((7, True), (7, True), (3, False), (3, False), (3, False), (3, True))  # table 1
_FORMAT = "channels_last"  # whatever Keras's image data format is
_POOL = 3


def check_alphabet(alphabet: str) -> None:
    """Raise UsageError unless `alphabet` is a string of characters."""
    if not isinstance(alphabet, str) or not alphabet:
        raise UsageError("alphabet must be a string of the characters that the network reads. "
                         f"Received: {alphabet!r}.")


def character_input(length: int) -> tuple[KerasTensor, KerasTensor]:
    """Return the input of a network for characters, and the frame that it reads.

    The input is int32 character ids of shape (batch, characters): 0 for padding at the end, 1 for a
    character outside the alphabet, i + 2 for its character i. The frame is int32 of shape (batch,
    length), filled up with 0; longer texts are cut off.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    frame = ops.pad(tokens, ((0, 0), (0, length)))[:, :length]
    return tokens, ops.reshape(frame, (-1, length))  # which is its shape; Keras knows it by now


def backward(frame: KerasTensor) -> KerasTensor:
    """Return the characters of a frame in reverse order; the padding stays at the end."""
    exists = ops.minimum(frame, 1)
    last = ops.sum(exists, axis=1, keepdims=True)
    places = last - ops.cumsum(ops.ones_like(frame), axis=1)
    return ops.take_along_axis(frame, ops.maximum(places, 0), axis=1) * exists


@register("char_cnn")
@register("char_cnn_large", filters=1024, units=2048, deviation=0.02)
def char_cnn(alphabet: str = ALPHABET, classes: int = 2, *, length: int = 1014, filters: int = 256,
             units: int = 1024, deviation: float = 0.05, dropout: float = 0.5) -> keras.Model:
    """Char-CNN: `char_cnn` is the paper's small network, `char_cnn_large` its large one.

    Args:
        alphabet: the characters that the network reads, in lower case.
        classes: the number of logits; 0 gives the last hidden layer.
        length: characters in a frame, at least 123.
        filters: the feature maps of each convolution; 256 or 1024 in the paper.
        units: of the two hidden layers; 1024 or 2048 in the paper.
        deviation: the standard deviation of the normal distribution of the first weights; 0.05 or
            0.02 in the paper.
        dropout: the rate after each hidden layer, 0 to 1; 0.5 in the paper.

    Returns:
        A `keras.Model` from character ids, int32 of shape (batch, characters), to float32 logits of
        shape (batch, classes); see `character_input`. Padding does not change the logits.

    Raises:
        zoo.errors.UsageError: if the alphabet is empty, a size is not a positive integer, the
            length is too small, or `deviation` is not above 0.
    """
    check_alphabet(alphabet)
    check_positive(length=length, filters=filters, units=units)
    check_above_zero(deviation=deviation)
    minimum = _minimum_length()
    if length < minimum:
        raise UsageError("length, or max_tokens of a recipe, must be at least "
                         f"{minimum} characters here. Received: {length}.")
    initializer = keras.initializers.RandomNormal(0.0, deviation)
    tokens, frame = character_input(length)
    x = ops.one_hot(backward(frame), len(alphabet) + 2)[:, :, 2:]  # no vector for ids 0 and 1
    for number, (width, pooled) in enumerate(CONVOLUTIONS, start=1):
        x = layers.Conv1D(filters, width, activation="relu", data_format=_FORMAT,
                          kernel_initializer=initializer.clone(), name=f"conv{number}")(x)
        if pooled:
            x = layers.MaxPooling1D(_POOL, data_format=_FORMAT, name=f"conv{number}_pool")(x)
    x = layers.Flatten(_FORMAT, name="flatten")(x)
    for number in (7, 8):
        x = layers.Dense(units, activation="relu", kernel_initializer=initializer.clone(),
                         name=f"fc{number}")(x)
        if dropout and number == 7:
            x = layers.Dropout(dropout, name="fc7_dropout")(x)
    return keras.Model(tokens, head(x, classes, dropout=dropout,
                                    kernel_initializer=initializer.clone()))


def _minimum_length() -> int:
    """The shortest frame that leaves one position to the fully connected layers."""
    length = 1
    for width, pooled in reversed(CONVOLUTIONS):
        length = length * (_POOL if pooled else 1) + width - 1
    return length
