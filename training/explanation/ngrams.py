"""The n-grams of a TextCNN: the words each filter matched best, and what they add to a logit.

Max-over-time pooling (Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP
2014, section 2, https://arxiv.org/abs/1408.5882) passes on one value for each filter, that of one
window of words. The logit of a class is the sum of these values times the weights of the output
layer. So the contribution of a window is exact, not an estimate.
"""
import collections
import dataclasses
import re
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

_BATCH_SIZE = 256
_POOL = r"max_window\d+"
_MOST = 8  # n-grams of a sentence or class


@dataclasses.dataclass(frozen=True)
class Ngram:
    """Words of one window, what they add to the logit of a class, and the number of filters."""

    words: str
    added: float
    filters: int


@dataclasses.dataclass(frozen=True)
class Matches:
    """The best match of each filter in each of n sentences.

    Attributes:
        values: float32 (n, filters), the maximum over time.
        starts: int (n, filters), the index of the window's first word; negative in the padding.
        widths: int (filters,), words in the window.
        kernel: float32 (filters, classes), the weights of the output layer.
    """

    values: np.ndarray
    starts: np.ndarray
    widths: np.ndarray
    kernel: np.ndarray

    def take(self, indices: np.ndarray) -> "Matches":
        """Return the matches of the sentences at `indices`."""
        return dataclasses.replace(self, values=self.values[indices], starts=self.starts[indices])


def has_windows(model: keras.Model) -> bool:
    """Return whether `model` is a TextCNN."""
    return any(re.fullmatch(_POOL, layer.name) for layer in model.layers)


def match_filters(model: keras.Model, ids: np.ndarray) -> Matches:
    """Return the `Matches` of a TextCNN in token ids, int32 (n, tokens), 0 at the end of a row."""
    pools = [layer.name for layer in model.layers if re.fullmatch(_POOL, layer.name)]
    if len(pools) > 1:  # the order of the filters is that of the concatenation
        pools = [source._keras_history.operation.name for source in model.get_layer("max").input]
    names = [pool.removeprefix("max_") for pool in pools]
    maps = [model.get_layer(f"{name}_masked").output for name in names]
    tapped = keras.Model(model.input, [ops.concatenate([function(x, axis=1) for x in maps], axis=1)
                                       for function in (ops.max, ops.argmax)])
    batches = [tapped(ids[first:first + _BATCH_SIZE], training=False)
               for first in range(0, len(ids), _BATCH_SIZE)]
    values, starts = (np.concatenate([np.asarray(batch) for batch in output])
                      for output in zip(*batches, strict=True))
    counts = [x.shape[-1] for x in maps]
    padding = np.repeat([model.get_layer(f"{name}_pad").padding[0] for name in names], counts)
    widths = np.repeat([int(name.removeprefix("window")) for name in names], counts)
    kernel = ops.convert_to_numpy(model.get_layer("logits").kernel)
    return Matches(values, starts - padding, widths, kernel)


def of_sentences(matches: Matches, words: Sequence[Sequence[str]], class_ids: Sequence[int],
                 most: int = _MOST) -> list[list[Ngram]]:
    """Return for each sentence the n-grams that add most to the logit of a class, largest first.

    Args:
        matches: of the sentences.
        words: of each sentence, see `zoo.training.preprocessing.tokens.split_words`.
        class_ids: the class for each sentence.
        most: the largest number of n-grams; those that add nothing are left out.
    """
    ngrams = []
    for values, starts, line, class_id in zip(matches.values, matches.starts, words, class_ids,
                                              strict=True):
        added: dict[tuple[int, int], float] = collections.defaultdict(float)
        filters: collections.Counter[tuple[int, int]] = collections.Counter()
        for value, start, width in zip(values * matches.kernel[:, class_id], starts,
                                       matches.widths, strict=True):
            span = _span(line, start, width)
            added[span] += float(value)
            filters[span] += value != 0
        largest = sorted(added.items(), key=lambda item: item[1], reverse=True)[:most]
        ngrams.append([Ngram(" ".join(line[slice(*span)]), value, int(filters[span]))
                       for span, value in largest if value > 0])
    return ngrams


def of_classes(matches: Matches, words: Callable[[int], Sequence[str]],
               most: int = _MOST) -> list[list[Ngram]]:
    """Return for each class the n-grams of single filters, in any sentence, that add most to it.

    Args:
        matches: of the sentences.
        words: returns the words of the sentence with an index.
        most: the largest number of n-grams; the same words are listed once.
    """
    sentences, columns = matches.values.argmax(axis=0), np.arange(len(matches.widths))
    peaks, starts = matches.values[sentences, columns], matches.starts[sentences, columns]
    ngrams = []
    for weights in matches.kernel.T:
        added = peaks * weights
        best: dict[str, Ngram] = {}
        for column in np.argsort(-added, kind="stable"):
            if len(best) == most or added[column] <= 0:
                break
            line = words(sentences[column])
            phrase = " ".join(line[slice(*_span(line, starts[column], matches.widths[column]))])
            best.setdefault(phrase, Ngram(phrase, float(added[column]), 1))
        ngrams.append(list(best.values()))
    return ngrams


def _span(line, start, width):
    """(first word, last word + 1) of a window without its padding; (0, 0) if all is padding."""
    first, end = max(int(start), 0), min(int(start + width), len(line))
    return (first, end) if first < end else (0, 0)
