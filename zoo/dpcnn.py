"""DPCNN: a pyramid for sentences; every two convolutions the sentence gets half as long.

R. Johnson, T. Zhang, "Deep Pyramid Convolutional Neural Networks for Text Categorization", ACL
2017; https://aclanthology.org/P17-1052

Figure 1(a): a text region embedding, then blocks of two convolutions with a shortcut, and max
pooling between the blocks, until a last one takes the maximum over the document.

Padding never changes the logits: positions after the last token are set to 0 before each layer that
sees several positions, and two of them always follow the sentence.

Differs from the paper:
- the text region embedding is a convolution over word vectors, the simplest of the paper's; the
  unsupervised (tv-)embeddings that it adds to the input are left out;
- all documents of a batch are pooled as often, `blocks` - 1 times, however short they are;
- weights are initialised with the normal distribution of He et al. 2015; the paper draws them from
  a normal one of standard deviation 0.01.
"""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor, layers

from zoo.blocks import check_positive, head
from zoo.registry import register
from zoo.textcnn import token_input, word_vectors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PAPER = "Johnson and Zhang 2017"
INITIALIZER = "he_normal"
_FORMAT = "channels_last"  # whatever Keras's image data format is


def convolution(x: KerasTensor, mask: KerasTensor, filters: int, region: int, *,
                name: str) -> KerasTensor:
    """A convolution over `region` tokens, 0 where no token is."""
    x = layers.Conv1D(filters, region, padding="same", data_format=_FORMAT,
                      kernel_initializer=INITIALIZER, name=f"{name}_conv")(x)
    return layers.Multiply(name=f"{name}_masked")([x, mask])


def block(x: KerasTensor, mask: KerasTensor, *, name: str) -> KerasTensor:
    """Two pre-activated convolutions of three tokens, and a shortcut around them (section 2.2)."""
    y = x
    for letter in "ab":
        y = layers.ReLU(name=f"{name}_{letter}_relu")(y)
        y = convolution(y, mask, x.shape[-1], 3, name=f"{name}_{letter}")
    return layers.Add(name=f"{name}_add")([x, y])


def halve(x: KerasTensor, *, name: str) -> KerasTensor:
    """Max pooling of three positions with stride 2 (section 2.1), of n positions half, rounded up.

    Two zeros follow the sentence, so that what the last windows see is the same in every batch.
    """
    x = layers.ZeroPadding1D((0, 2), data_format=_FORMAT, name=f"{name}_zeros")(x)
    return layers.MaxPooling1D(3, 2, data_format=_FORMAT, name=f"{name}_pool")(x)


@register("dpcnn")
def dpcnn(vocab_size: int = 20_000, classes: int = 2, *, embedding: int = 300, filters: int = 250,
          blocks: int = 7, region: int = 3, tables: Sequence[str] = ("nonstatic",),
          vectors: "ArrayLike | None" = None, embedding_dropout: float = 0.0,
          dropout: float = 0.5) -> keras.Model:
    """DPCNN: 15 layers with weights by default, the paper's depth.

    Args:
        vocab_size: the number of token ids, padding (0) and unknown (1) among them.
        classes: the number of logits; 0 gives the features, `filters` maxima.
        embedding: the length of a word vector.
        filters: the feature maps of all convolutions; 250 in the paper.
        blocks: of two convolutions each; a pooling stands between them.
        region: the tokens that the text region embedding sees; 1, 3 or 5 in the paper.
        tables: of word vectors, as in `zoo.textcnn`; several are added.
        vectors: the tables' initial values, of shape (vocab_size, embedding); None for random
            vectors.
        embedding_dropout: the rate of dropout of the word vectors, 0 to 1; 0 in the paper.
        dropout: the rate before the output, 0 to 1; 0.5 in the paper.

    Returns:
        A `keras.Model` from token ids, int32 of shape (batch, tokens), to float32 logits of shape
        (batch, classes). Padding after a sentence does not change its logits.

    Raises:
        zoo.errors.UsageError: if a size is not a positive integer, a table is unknown, or `vectors`
            has another shape.
    """
    check_positive(vocab_size=vocab_size, embedding=embedding, filters=filters, blocks=blocks,
                   region=region)
    tokens, mask = token_input()
    x = word_vectors(tokens, mask, vocab_size, embedding, tables, vectors)
    if embedding_dropout:
        x = layers.Dropout(embedding_dropout, name="embedding_dropout")(x)
    x = convolution(x, mask, filters, region, name="region")
    for number in range(1, blocks + 1):
        if number > 1:
            x = halve(x, name=f"stage{number}")
            mask = halve(mask, name=f"stage{number}_mask")
        x = block(x, mask, name=f"stage{number}_block")
    x = layers.ZeroPadding1D((0, 1), data_format=_FORMAT, name="max_zero")(x)
    x = layers.GlobalMaxPooling1D(_FORMAT, name="max")(x)
    return keras.Model(tokens, head(x, classes, dropout=dropout))
