"""fastText: the mean of a sentence's word and bigram vectors, and one linear layer.

A. Joulin, E. Grave, P. Bojanowski, T. Mikolov, "Bag of Tricks for Efficient Text Classification",
EACL 2017; https://arxiv.org/abs/1607.01759

Bigrams are hashed into a fixed number of vectors (section 2.2). Padding never changes the logits.

Differs from the paper:
- the classes have a softmax each, not a hierarchical one (section 2.1), which is for many classes;
- bigrams are hashed by the ids of their words, into 100,000 vectors by default; the paper has 10
  million, for data sets of millions of documents;
- vectors are initialised uniformly in [-0.05, 0.05]; the released program has 1 / `embedding`.
"""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor, layers, ops

from zoo.blocks import check_positive, head
from zoo.registry import register
from zoo.textcnn import mean_over_time, token_input, word_vectors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PAPER = "Joulin et al. 2017"
_SCALE = 0.05  # of the initial vectors
_FACTOR = 8191  # of the first word's id: ids up to 262,000 stay below 2 ** 31


def bigrams(tokens: KerasTensor, mask: KerasTensor,
            buckets: int) -> tuple[KerasTensor, KerasTensor]:
    """Return a number from 0 to buckets - 1 for each token and its successor, and their mask.

    The last token of a sentence has no successor.
    """
    after = ops.pad(tokens, ((0, 0), (0, 1)))[:, 1:]
    numbers = ops.mod(tokens * _FACTOR + after, buckets)
    exists = ops.pad(mask, ((0, 0), (0, 1), (0, 0)))[:, 1:]
    return numbers, exists


@register("fasttext")
def fasttext(vocab_size: int = 20_000, classes: int = 2, *, embedding: int = 10,
             buckets: int = 100_000, tables: Sequence[str] = ("nonstatic",),
             vectors: "ArrayLike | None" = None, dropout: float = 0.0) -> keras.Model:
    """fastText with bigrams, 10 hidden units by default as in the paper.

    Args:
        vocab_size: the number of token ids, padding (0) and unknown (1) among them.
        classes: the number of logits; 0 gives the features, the mean vector.
        embedding: the length of a word vector, the paper's h.
        buckets: the number of bigram vectors; 0 for words alone.
        tables: of word vectors, as in `zoo.textcnn`; several are added.
        vectors: the tables' initial values, of shape (vocab_size, embedding); None for random
            vectors.
        dropout: the rate before the output, 0 to 1; 0 in the paper.

    Returns:
        A `keras.Model` from token ids, int32 of shape (batch, tokens), to float32 logits of shape
        (batch, classes). Padding after a sentence does not change its logits.

    Raises:
        zoo.errors.UsageError: if a size is not a positive integer, a table is unknown, or `vectors`
            has another shape.
    """
    check_positive(vocab_size=vocab_size, embedding=embedding, buckets=buckets or 1)
    tokens, mask = token_input()
    x = word_vectors(tokens, mask, vocab_size, embedding, tables, vectors, _SCALE)
    if buckets:
        numbers, exists = bigrams(tokens, mask, buckets)
        pairs = layers.Embedding(buckets, embedding,
                                 keras.initializers.RandomUniform(-_SCALE, _SCALE),
                                 name="embedding_bigrams")(numbers)
        pairs = layers.Multiply(name="embedding_bigrams_masked")([pairs, exists])
        x = layers.Concatenate(axis=1, name="embedding_ngrams")([x, pairs])
        mask = layers.Concatenate(axis=1, dtype="float32", name="embedding_ngrams_mask")(
            [mask, exists])
    x = mean_over_time(x, mask)
    return keras.Model(tokens, head(x, classes, dropout=dropout))
