"""TextCNN: filters over a few words each, the maximum of each over the sentence, one linear layer.

Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014;
https://arxiv.org/abs/1408.5882

Padding never changes the logits. For filters of width w, a sentence of n tokens has
- with padding "full", the n + w - 1 windows that hold at least one of its tokens, with zeros beside
  it (Kim's own code puts zeros on either side, one less than the width of its widest filters);
- with padding "valid" (usual in courses, and the literal reading of section 2), the n - w + 1
  windows inside the sentence; if it is shorter than w, the one that starts with it, filled up with
  zeros.
Windows further out exist only because another sentence of the batch is longer. They are set to 0
before the maximum over time, which they cannot win: relu leaves nothing below 0. The features of a
sentence without tokens are 0 ("full") or those of one window of zeros ("valid").

Differs from the paper:
- no window consists of padding alone. Kim's own code fills all sentences with zeros to one length,
  and the output of a filter on zeros, relu of its bias, can be the maximum there;
- the two channels of the multichannel network are added before the convolution. Each filter is
  applied to both channels and the results are added (section 2.1), and a sum of convolutions with
  one filter is the convolution of the sum;
- filters are initialised with Glorot's uniform distribution, which the paper leaves open.
"""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import KerasTensor, layers

from zoo.blocks import check_positive, head
from zoo.errors import UsageError, unknown
from zoo.registry import register

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PAPER = "Kim 2014"
_FORMAT = "channels_last"  # whatever Keras's image data format is
TABLES = ("static", "nonstatic")  # word vectors as they come, or trained with the network


def token_input() -> tuple[KerasTensor, KerasTensor]:
    """Return the input of a text network and its mask.

    The input is int32 token ids of shape (batch, tokens), padded with 0 at the end; the mask is
    float32 of shape (batch, tokens, 1), 1 where a token is. It is made of layers, not of keras.ops,
    which a network in an .h5 file cannot be loaded with.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    # min(id, 1) as an integer: int8 would round small ids among large ones to 0.
    mask = layers.ReLU(1, dtype="int32", name="embedding_mask_clip")(tokens)
    mask = layers.Rescaling(1.0, dtype="float32", name="embedding_mask_float")(mask)
    return tokens, layers.Reshape((-1, 1), name="embedding_mask")(mask)


def word_vectors(tokens: KerasTensor, mask: KerasTensor, vocab_size: int,
                 embedding: int, tables: Sequence[str] = ("nonstatic",),
                 vectors: "ArrayLike | None" = None, scale: float = 0.25) -> KerasTensor:
    """Return the vector of each token, zeros for padding; several tables are added.

    Args:
        tokens, mask: what `token_input` returns.
        vocab_size: the number of token ids.
        embedding: the length of a vector.
        tables: a sequence of "static" and "nonstatic".
        vectors: the tables' initial values, of shape (vocab_size, embedding); None for random
            vectors, the same in all tables.
        scale: random vectors are uniform in [-scale, scale].

    Returns:
        A tensor of shape (batch, tokens, embedding).

    Raises:
        zoo.errors.UsageError: if `tables` is empty or has an unknown name, or `vectors` has another
            shape.
    """
    if vectors is not None and np.shape(vectors) != (vocab_size, embedding):
        raise UsageError("vectors must have the shape (vocab_size, embedding), "
                         f"{(vocab_size, embedding)}. Received: {np.shape(vectors)}.")
    # One initialiser draws the same numbers for every table
    initializer = keras.initializers.RandomUniform(-scale, scale)
    if not tables:
        raise UsageError(f"tables must name at least one of {', '.join(TABLES)}. "
                         f"Received: {tables!r}.")
    embedded = []
    for table in tables:
        if table not in TABLES:
            raise unknown("table", table, TABLES)
        weights = None if vectors is None else [np.asarray(vectors, "float32")]
        layer = layers.Embedding(vocab_size, embedding, initializer, weights=weights,
                                 trainable=table == "nonstatic", name=f"embedding_{table}")
        embedded.append(layer(tokens))
    x = embedded[0] if len(embedded) == 1 else layers.Add(name="embedding_sum")(embedded)
    return layers.Multiply(name="embedding_masked")([x, mask])


def max_over_time(x: KerasTensor, mask: KerasTensor, width: int, filters: int,
                  padding: str) -> KerasTensor:
    """Convolution, relu and maximum over time (section 2): each filter's best match.

    Args:
        x, mask: word vectors of shape (batch, tokens, n), and their mask.
        width: tokens in a window.
        filters: the number of filters.
        padding: "full" or "valid", as in the docstring of this module.

    Returns:
        A tensor of shape (batch, filters).
    """
    name = f"window{width}"
    if padding == "full":
        x = _pad(x, (width - 1, width - 1), f"{name}_pad")
        exists = _pad(mask, (width - 1, width - 1), f"{name}_mask_pad")
        exists = layers.MaxPooling1D(width, strides=1, data_format=_FORMAT,
                                     name=f"{name}_exists")(exists)
    else:
        x = _pad(x, (0, width - 1), f"{name}_pad")
        # Whether the last position of each window but the first is a token; the first always is.
        last = _pad(mask, (0, width), f"{name}_mask_pad")
        last = layers.Cropping1D((width, 0), name=f"{name}_mask_crop")(last)
        missing = layers.Rescaling(-1.0, 1.0, name=f"{name}_missing")(last)
        missing = _pad(missing, (1, 0), f"{name}_first")
        missing = layers.Cropping1D((0, 1), name=f"{name}_cropped")(missing)
        exists = layers.Rescaling(-1.0, 1.0, name=f"{name}_exists")(missing)
    x = layers.Conv1D(filters, width, activation="relu", data_format=_FORMAT,
                      name=f"{name}_conv")(x)
    x = layers.Multiply(name=f"{name}_masked")([x, exists])
    return layers.GlobalMaxPooling1D(_FORMAT, name=f"max_{name}")(x)


def mean_over_time(x: KerasTensor, mask: KerasTensor) -> KerasTensor:
    """Return the mean of the word vectors of each sentence; 0 for a sentence without tokens.

    Args:
        x, mask: word vectors of shape (batch, tokens, n), 0 where there is no token, and their
            mask.

    Returns:
        A tensor of shape (batch, n).
    """
    # A softmax that is the same for all tokens and leaves the padding out: each of n counts 1/n.
    # Without tokens it divides by no 0, of which runtimes make different things. Keras warns of a
    # softmax over one position, so there is one more.
    scores = _pad(mask, (0, 1), "mean_pad")
    scores = layers.Rescaling(1e4, -1e4, dtype="float32", name="mean_scores")(scores)
    shares = layers.Softmax(axis=1, dtype="float32", name="mean_softmax")(scores)
    shares = layers.Cropping1D((0, 1), dtype="float32", name="mean_shares")(shares)
    x = layers.Dot(axes=1, name="mean")([x, shares])
    return layers.Reshape((x.shape[1],), name="mean_vector")(x)


def _pad(x, padding, name):
    return layers.ZeroPadding1D(padding, data_format=_FORMAT, name=name)(x)


@register("textcnn", params=6_360_902)
@register("textcnn_static", params=6_360_902, tables=("static",))
@register("textcnn_nonstatic", params=6_360_902)
@register("textcnn_multichannel", params=12_360_902, tables=("static", "nonstatic"))
@register("textcnn_course", params=6_360_902, padding="valid", dropout=0.0, max_norm=0.0)
def textcnn(vocab_size: int = 20_000, classes: int = 2, *, embedding: int = 300,
            windows: Sequence[int] = (3, 4, 5), filters: int = 100,
            tables: Sequence[str] = ("nonstatic",), vectors: "ArrayLike | None" = None,
            scale: float = 0.25, padding: str = "full", embedding_dropout: float = 0.0,
            dropout: float = 0.5, max_norm: float = 3.0) -> keras.Model:
    """Kim's TextCNN: `textcnn` is his CNN-rand; static, non-static and multichannel need `vectors`.

    Args:
        vocab_size: the number of token ids, padding (0) and unknown (1) among them.
        classes: the number of logits; 0 gives the features, `filters` for each window.
        embedding: the length of a word vector.
        windows: the widths of the filters, in tokens.
        filters: the number of filters of each width.
        tables: of word vectors: "static" stays as it is, "nonstatic" is trained; with both, each
            filter sees their sum.
        vectors: the tables' initial values, of shape (vocab_size, embedding); None for random
            vectors.
        scale: random vectors are uniform in [-scale, scale]; 0.25 in the paper's code.
        padding: "full" or "valid": which windows a sentence has.
        embedding_dropout: the rate of dropout of the word vectors, 0 to 1; 0 in the paper.
        dropout: the rate before the output, 0 to 1.
        max_norm: the largest L2 norm of an output unit's weights, to which each training step
            rescales them; 0 for no bound.

    Returns:
        A `keras.Model` from token ids, int32 of shape (batch, tokens), to float32 logits of shape
        (batch, classes). Padding after a sentence does not change its logits.

    Raises:
        zoo.errors.UsageError: if a size is not a positive integer, a table or padding is unknown,
            `vectors` has another shape, or `max_norm` is negative.
    """
    check_positive(vocab_size=vocab_size, embedding=embedding, windows=windows, filters=filters)
    if padding not in ("full", "valid"):
        raise unknown("padding", padding, ("full", "valid"))
    if max_norm < 0:
        raise UsageError(f"max_norm must be 0 or more. Received: {max_norm!r}.")
    tokens, mask = token_input()
    x = word_vectors(tokens, mask, vocab_size, embedding, tables, vectors, scale)
    if embedding_dropout:
        x = layers.Dropout(embedding_dropout, name="embedding_dropout")(x)
    x = [max_over_time(x, mask, width, filters, padding) for width in windows]
    x = layers.Concatenate(name="max")(x) if len(x) > 1 else x[0]
    bound = keras.constraints.MaxNorm(max_norm, axis=0) if max_norm else None
    return keras.Model(tokens, head(x, classes, dropout=dropout, kernel_constraint=bound))


@register("text_mlp", source="Iyyer et al. 2015")
def text_mlp(vocab_size: int = 20_000, classes: int = 2, *, embedding: int = 300,
             hidden: Sequence[int] = (100,), tables: Sequence[str] = ("nonstatic",),
             vectors: "ArrayLike | None" = None, dropout: float = 0.5) -> keras.Model:
    """A perceptron on the mean of a sentence's word vectors, the baseline of TextCNN.

    M. Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods for Text Classification",
    ACL 2015, section 3, without its word dropout; https://aclanthology.org/P15-1162

    Args:
        vocab_size: the number of token ids, padding (0) and unknown (1) among them.
        classes: the number of logits; 0 gives the last hidden layer.
        embedding: the length of a word vector.
        hidden: the units of each hidden layer; an empty tuple gives logistic regression.
        tables: of word vectors, as in `textcnn`; several are added.
        vectors: the tables' initial values, of shape (vocab_size, embedding); None for random
            vectors.
        dropout: the rate before the output, 0 to 1.

    Returns:
        A `keras.Model` from token ids, int32 of shape (batch, tokens), to float32 logits of shape
        (batch, classes).

    Raises:
        zoo.errors.UsageError: if a size is not a positive integer, a table is unknown, or `vectors`
            has another shape.
    """
    check_positive(vocab_size=vocab_size, embedding=embedding, hidden=hidden or 1)
    tokens, mask = token_input()
    x = word_vectors(tokens, mask, vocab_size, embedding, tables, vectors)
    x = mean_over_time(x, mask)
    for number, units in enumerate(hidden, start=1):
        x = layers.Dense(units, activation="relu", name=f"fc{number}")(x)
    return keras.Model(tokens, head(x, classes, dropout=dropout))
