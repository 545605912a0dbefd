"""TextCNN: filters over every few words, the best match of each anywhere in the sentence, and one linear layer.

Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014; https://arxiv.org/abs/1408.5882

Padding never changes an answer. A sentence of n tokens has, for the filters of width w,
- padding "full": the n + w - 1 windows that hold at least one of its tokens, with zeros in the other places (Kim's own code
  puts zeros on either side, one less than its widest window has places);
- padding "valid" (seen in courses; section 2 of the paper is no other): the n - w + 1 windows inside the sentence; if it is
  shorter than w, the one that starts with it, filled up with zeros.
Windows further out, which exist because another sentence of the batch is longer, are set to 0 before the maximum over time;
as relu leaves nothing below 0, they never win it. A sentence without tokens has features of 0 ("full") or those of one window
of zeros ("valid").

Differs from the paper:
- no window is of padding alone. Kim's own code fills all sentences with zeros to one length, and a filter's answer to zeros,
  relu of its bias, can be the maximum there;
- the two channels of the multichannel network are added before the convolution. Each filter is applied to both channels and
  the results are added (section 2.1), and a sum of convolutions with one filter is the convolution of the sum;
- Glorot's initialisation of the filters, which the paper leaves open.
"""
import keras
import numpy as np
from keras import layers, ops

from zoo.blocks import classifier, positive
from zoo.errors import UsageError, unknown
from zoo.registry import register

PAPER = "Kim 2014"
TABLES = ("static", "nonstatic")  # word vectors as they come, or trained with the network


def token_input():
    """Return the input of a text network, int32 token ids of shape (batch, tokens) padded with 0 at the end, and its mask.

    The mask is float32 of shape (batch, tokens, 1), 1 where a token is.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    return tokens, ops.expand_dims(ops.cast(ops.not_equal(tokens, 0), "float32"), -1)


def word_vectors(tokens, mask, vocab_size, embedding, tables=("nonstatic",), vectors=None, scale=0.25):
    """Return the vector of each token, zeros for padding, of shape (batch, tokens, embedding); several tables are added.

    Args:
        tokens, mask: what `token_input` returns.
        vocab_size: the number of token ids.
        embedding: the length of a vector.
        tables: a sequence of "static" and "nonstatic".
        vectors: array of shape (vocab_size, embedding) that the tables start as; None for random vectors, the same in all.
        scale: random vectors are uniform in [-scale, scale].

    Raises:
        zoo.errors.UsageError: if there is no table, one is unknown, or `vectors` has another shape.
    """
    if vectors is not None and np.shape(vectors) != (vocab_size, embedding):
        raise UsageError(f"vectors must have the shape (vocab_size, embedding), {(vocab_size, embedding)}. "
                         f"Received: {np.shape(vectors)}.")
    start = keras.initializers.RandomUniform(-scale, scale)  # draws the same numbers each time it is asked
    if not tables:
        raise UsageError(f"tables must name at least one of {', '.join(TABLES)}. Received: {tables!r}.")
    found = []
    for table in tables:
        if table not in TABLES:
            raise unknown("table", table, TABLES)
        found.append(layers.Embedding(vocab_size, embedding, start, trainable=table == "nonstatic", name=f"embedding_{table}",
                                      weights=None if vectors is None else [np.asarray(vectors, "float32")])(tokens))
    x = found[0] if len(found) == 1 else layers.Add(name="embedding_sum")(found)
    return layers.Multiply(name="embedding_masked")([x, mask])


def best_match(x, mask, width, filters, padding):
    """Convolution, relu and maximum over time (section 2): how well each filter matches where it matches best.

    Args:
        x, mask: word vectors of shape (batch, tokens, n), and their mask.
        width: tokens in a window.
        filters: the number of filters.
        padding: "full" or "valid", as at the top of this file.

    Returns:
        A tensor of shape (batch, filters).
    """
    name = f"window{width}"
    if padding == "full":
        x = layers.ZeroPadding1D(width - 1, name=f"{name}_pad")(x)
        exists = layers.ZeroPadding1D(width - 1, name=f"{name}_mask_pad")(mask)
        exists = layers.MaxPooling1D(width, strides=1, name=f"{name}_exists")(exists)
    else:
        x = layers.ZeroPadding1D((0, width - 1), name=f"{name}_pad")(x)
        ends = layers.ZeroPadding1D((0, width - 1), name=f"{name}_mask_pad")(mask)  # is there a last token in the window?
        exists = ops.pad(ends[:, width:], ((0, 0), (1, 0), (0, 0)), constant_values=1.0)  # the first window always exists
    x = layers.Conv1D(filters, width, activation="relu", name=f"{name}_conv")(x)
    x = layers.Multiply(name=f"{name}_masked")([x, exists])
    return layers.GlobalMaxPooling1D(name=f"max_{name}")(x)


@register("textcnn", params=6_360_902)
@register("textcnn_static", params=6_360_902, tables=("static",))
@register("textcnn_nonstatic", params=6_360_902)
@register("textcnn_multichannel", params=12_360_902, tables=("static", "nonstatic"))
@register("textcnn_course", params=6_360_902, padding="valid", dropout=0.0, max_norm=0.0)
def textcnn(vocab_size=20_000, classes=2, *, embedding=300, windows=(3, 4, 5), filters=100, tables=("nonstatic",),
            vectors=None, scale=0.25, padding="full", embedding_dropout=0.0, dropout=0.5, max_norm=3.0):
    """Kim's TextCNN. CNN-rand is `textcnn`; the static, non-static and multichannel networks want `vectors`.

    Args:
        vocab_size: the number of token ids, padding (0) and unknown (1) among them.
        classes: the number of logits; 0 gives the features, `filters` for each window.
        embedding: the length of a word vector.
        windows: the widths of the filters, in tokens.
        filters: the number of filters of each width.
        tables: of word vectors: "static" stays as it is, "nonstatic" is trained; with both, each filter sees their sum.
        vectors: array of shape (vocab_size, embedding) that the tables start as; None for random vectors.
        scale: random vectors are uniform in [-scale, scale]; 0.25 in the paper's code.
        padding: "full" or "valid": which windows a sentence has.
        embedding_dropout: the rate of dropout of the word vectors, 0 to 1; 0 in the paper.
        dropout: the rate before the output, 0 to 1.
        max_norm: the largest L2 norm of an output unit's weights, which the optimiser rescales to; 0 for no bound.

    Returns:
        A `keras.Model` from token ids, int32 of shape (batch, tokens), to float32 logits of shape (batch, classes). A sentence
        has the same logits however much padding follows it.

    Raises:
        zoo.errors.UsageError: if a size is no positive integer, a table or padding is unknown, `vectors` has another shape, or
            `max_norm` is negative.
    """
    positive(vocab_size=vocab_size, embedding=embedding, windows=windows, filters=filters)
    if padding not in ("full", "valid"):
        raise unknown("padding", padding, ("full", "valid"))
    if max_norm < 0:
        raise UsageError(f"max_norm must be 0 or more. Received: {max_norm!r}.")
    tokens, mask = token_input()
    x = word_vectors(tokens, mask, vocab_size, embedding, tables, vectors, scale)
    if embedding_dropout:
        x = layers.Dropout(embedding_dropout, name="embedding_dropout")(x)
    x = [best_match(x, mask, width, filters, padding) for width in windows]
    x = layers.Concatenate(name="max")(x) if len(x) > 1 else x[0]
    bound = keras.constraints.MaxNorm(max_norm, axis=0) if max_norm else None
    return keras.Model(tokens, classifier(x, classes, dropout=dropout, kernel_constraint=bound))


@register("text_mlp", source="Iyyer et al. 2015")
def text_mlp(vocab_size=20_000, classes=2, *, embedding=300, hidden=(100,), tables=("nonstatic",), vectors=None, dropout=0.5):
    """The mean of a sentence's word vectors through a perceptron: the measure that TextCNN, which sees order, has to beat.

    M. Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods for Text Classification", ACL 2015, section 3,
    without its word dropout; https://aclanthology.org/P15-1162

    Args:
        vocab_size: the number of token ids, padding (0) and unknown (1) among them.
        classes: the number of logits; 0 gives the last hidden layer.
        embedding: the length of a word vector.
        hidden: the units of each hidden layer; none leave logistic regression.
        tables: of word vectors, as in `textcnn`; several are added.
        vectors: array of shape (vocab_size, embedding) that the tables start as; None for random vectors.
        dropout: the rate before the output, 0 to 1.

    Returns:
        A `keras.Model` from token ids, int32 of shape (batch, tokens), to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if a size is no positive integer, a table is unknown, or `vectors` has another shape.
    """
    positive(vocab_size=vocab_size, embedding=embedding, hidden=hidden or 1)
    tokens, mask = token_input()
    x = word_vectors(tokens, mask, vocab_size, embedding, tables, vectors)
    x = ops.sum(x, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)  # a sentence without tokens has the mean 0
    for number, units in enumerate(hidden, start=1):
        x = layers.Dense(units, activation="relu", name=f"fc{number}")(x)
    return keras.Model(tokens, classifier(x, classes, dropout=dropout))
