"""The n-grams that fired in a TextCNN: for each filter the words it matched best, and what that added to a class's logit.

The maximum over time (Kim 2014, section 2) hands on one number a filter, that of one window of words; the logit of a class is
the sum of these numbers times the weights of the output layer. So a window's part in an answer is exact, not an estimate.
"""
import collections
import dataclasses
import re

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from zoo.training.preprocessing.text import tokenize

_BATCH = 256
_POOL = r"max_window\d+"


@dataclasses.dataclass(frozen=True)
class Ngram:
    """A window of words: what it added to the logit of a class, in nats, and by how many filters."""

    words: str
    added: float
    filters: int


@dataclasses.dataclass(frozen=True)
class Matches:
    """The best match of each filter in each of n sentences."""

    values: np.ndarray  # float32 (n, filters): the maximum over time
    starts: np.ndarray  # int (n, filters): the place of the window's first word; below 0 where zeros stand before the sentence
    widths: np.ndarray  # int (filters,): words in the window
    kernel: np.ndarray  # float32 (filters, classes): the weights of the output layer

    def take(self, rows):
        """Return those of the sentences `rows` alone."""
        return dataclasses.replace(self, values=self.values[rows], starts=self.starts[rows])


def has_windows(model):
    """Return whether `model` is a TextCNN."""
    return any(re.fullmatch(_POOL, layer.name) for layer in model.layers)


def matches(model, ids):
    """Return the `Matches` of a TextCNN in token ids, int32 (n, tokens), padded with 0 at the end."""
    pools = [layer.name for layer in model.layers if re.fullmatch(_POOL, layer.name)]
    if len(pools) > 1:  # the filters' order is that of the concatenation
        pools = [source._keras_history.operation.name for source in model.get_layer("max").input]
    names = [pool.removeprefix("max_") for pool in pools]
    maps = [model.get_layer(f"{name}_masked").output for name in names]
    tapped = keras.Model(model.input, [ops.concatenate([ops.max(x, axis=1) for x in maps], axis=1),
                                       ops.concatenate([ops.argmax(x, axis=1) for x in maps], axis=1)])
    batches = [tapped(ids[first:first + _BATCH], training=False) for first in range(0, len(ids), _BATCH)]
    values, places = (np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*batches, strict=True))
    counts = [x.shape[-1] for x in maps]
    before = np.repeat([model.get_layer(f"{name}_pad").padding[0] for name in names], counts)
    widths = np.repeat([int(name.removeprefix("window")) for name in names], counts)
    return Matches(values, places - before, widths, ops.convert_to_numpy(model.get_layer("logits").kernel))


def words(texts, max_tokens=None):
    """Return the words of each text as the network's vocabulary numbers them, unknown ones too: a list of lists of str."""
    split = tokenize(tf.constant(texts), max_tokens)
    return [[word.decode() for word in line] for line in split.to_list()]


def of_sentences(found, texts, class_ids, most=8):
    """Return for each sentence the `Ngram`s that spoke most for a class, the largest part first.

    Args:
        found: the `Matches` of the sentences.
        texts: their words, see `words`.
        class_ids: the class of each.
        most: how many at most; those that added nothing are left out.
    """
    ngrams = []
    for row, (line, class_id) in enumerate(zip(texts, class_ids, strict=True)):
        added, filters = collections.Counter(), collections.Counter()
        for value, start, width in zip(found.values[row] * found.kernel[:, class_id], found.starts[row], found.widths,
                                       strict=True):
            span = _span(line, start, width)
            added[span] += float(value)
            filters[span] += value != 0
        best = [span for span, value in added.most_common(most) if value > 0]
        ngrams.append([Ngram(" ".join(line[slice(*span)]), added[span], int(filters[span])) for span in best])
    return ngrams


def of_classes(found, texts, most=8):
    """Return for each class the `Ngram`s that one filter matched anywhere in `texts` and that spoke most for it.

    Args:
        found: the `Matches` of the sentences.
        texts: a function from a sentence's place to its words, see `words`.
        most: how many at most; the same words are told once.
    """
    best, everything = found.values.argmax(axis=0), np.arange(len(found.widths))
    peaks = found.values[best, everything]
    ngrams = []
    for weights in found.kernel.T:
        told = {}
        for column in np.argsort(-peaks * weights, kind="stable"):
            if len(told) == most or peaks[column] * weights[column] <= 0:
                break
            line = texts(best[column])
            phrase = " ".join(line[slice(*_span(line, found.starts[best[column], column], found.widths[column]))])
            told.setdefault(phrase, Ngram(phrase, float(peaks[column] * weights[column]), 1))
        ngrams.append(list(told.values()))
    return ngrams


def _span(line, start, width):
    """The part of a window that lies in the sentence: its first word and that after its last; (0, 0) if it is all padding."""
    first, end = max(int(start), 0), min(int(start + width), len(line))
    return (first, end) if first < end else (0, 0)
