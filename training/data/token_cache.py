"""Sentences as token ids, made once."""
import collections
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
import tensorflow as tf
from joblib.externals.loky import get_reusable_executor

from zoo.training.data.growing import SECONDS, Growing, Numbers
from zoo.training.data.source import Source
from zoo.training.preprocessing.tokens import Vocabulary, split_characters
from zoo.training.preprocessing.word_numbers import WordNumbers, number_in_worker

_BLOCK = 2048      # sentences tokenized at a time
_MANY = 1_000_000  # sentences from which other processes are worth their start


class TokenCache(Source):
    """Sentences as token ids, kept one after another, in memory or on disk.

    Args:
        raw: returns the sentences at an array of indices, in UTF-8.
        labels: of all sentences, int32 of shape (n,).
        vocabulary: the words or characters with an id; None makes one of the words of the training
            split.
        max_tokens: longer sentences are truncated; None keeps all.
        train: the indices of the training split; where `vocabulary` is None.
        size, min_count: see `zoo.training.preprocessing.tokens.Vocabulary.build`.
        cache_dir: the directory on whose disk token ids go that would crowd the memory; None for
            the system's temporary directory.
        say: called with a line about what takes time or space.

    Attributes:
        vocabulary: the words with an id.

    Raises:
        zoo.errors.UserError: if neither memory nor disk suffices.
    """

    kind = "text"
    spec = tf.TensorSpec((None, None), tf.int32)  # of what `read` returns

    def __init__(self, raw: Callable[[np.ndarray], Any], labels: np.ndarray,
                 vocabulary: Vocabulary | None = None, max_tokens: int | None = None, *,
                 train: np.ndarray | None = None, size: int = 20_000, min_count: int = 1,
                 cache_dir: str | os.PathLike | None = None, say: Callable | None = None):
        self._raw, self.labels, self.splits = raw, labels, {}
        if vocabulary and vocabulary.unit == "characters":
            self.vocabulary = vocabulary
            self._number_characters(max_tokens, cache_dir, say)
            return
        count = len(labels)
        numbers, counts, lengths = Numbers(), np.zeros(0, "int64"), np.zeros(count, "int32")
        in_training = np.zeros(count, bool)
        in_training[[] if train is None else train] = True
        reported = time.monotonic()
        with Growing("int32", "token ids", cache_dir, say) as tokens:
            first = 0
            for block, sizes in _numbered(raw, count, numbers):
                last = first + len(sizes)
                counted = block[np.repeat(in_training[first:last], sizes)]
                counts = np.pad(counts, (0, len(numbers) - len(counts)))
                counts += np.bincount(counted, minlength=len(numbers))
                if max_tokens and sizes.max(initial=0) > max_tokens:
                    starts = np.cumsum(sizes) - sizes
                    block = block[np.arange(len(block)) - np.repeat(starts, sizes) < max_tokens]
                    sizes = np.minimum(sizes, max_tokens)
                tokens.append(block)
                lengths[first:last] = sizes
                first = last
                if say and time.monotonic() - reported > SECONDS:
                    say(f"  {first:,} of {count:,} sentences split into words")
                    reported = time.monotonic()
            self.tokens = tokens.finish()
        self._ends = np.concatenate([[0], np.cumsum(lengths, dtype="int64")])
        if vocabulary is None:
            vocabulary = Vocabulary.of_counts(dict(zip(numbers, counts.tolist(), strict=True)),
                                              size, min_count)
        self.vocabulary = vocabulary
        ids = np.array(vocabulary.ids(numbers), "int32")
        for begin in range(0, len(self.tokens), 1 << 20):  # in place
            self.tokens[begin:begin + (1 << 20)] = ids[self.tokens[begin:begin + (1 << 20)]]

    def _number_characters(self, max_tokens, cache_dir, say):
        """Make the token ids of a vocabulary of characters, which is there before."""
        count, lengths, reported = len(self.labels), [0], time.monotonic()
        with Growing("int32", "token ids", cache_dir, say) as tokens:
            for first in range(0, count, _BLOCK):
                block = self._raw(np.arange(first, min(first + _BLOCK, count)))
                texts = split_characters((text.decode() for text in block), max_tokens)
                lengths += map(len, texts)
                tokens.append(np.array(self.vocabulary.ids("".join(texts)), "int32"))
                if say and time.monotonic() - reported > SECONDS:
                    say(f"  {first:,} of {count:,} sentences split into characters")
                    reported = time.monotonic()
            self.tokens = tokens.finish()
        self._ends = np.cumsum(lengths, dtype="int64")

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the token ids at `indices`, int32 of shape (m, longest), padded with 0."""
        starts = self._ends[indices]
        lengths = self._ends[indices + 1] - starts
        places = np.arange(max(1, lengths.max(initial=1)))
        exist = places < lengths[:, None]
        batch = np.zeros(exist.shape, "int32")
        batch[exist] = self.tokens[(starts[:, None] + places)[exist]]
        return batch

    def raw(self, indices: np.ndarray) -> list[bytes]:
        return list(self._raw(indices))


def _numbered(raw: Callable, count: int,
              numbers: Numbers) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the words of all sentences by `numbers`, which grow, and how many each sentence has.

    All cores take part: the processes number words on their own, and send those that are new.
    """
    blocks = (list(raw(np.arange(first, min(first + _BLOCK, count))))
              for first in range(0, count, _BLOCK))
    run = uuid.uuid4().hex
    tables: dict[int, np.ndarray] = collections.defaultdict(lambda: np.zeros(0, "int32"))
    several = count >= _MANY and joblib.cpu_count() > 1
    if several:
        # They do not fork this process, which TensorFlow would not survive, nor run the caller's
        # script again.
        parallel = joblib.Parallel(n_jobs=-1, return_as="generator", pre_dispatch="2 * n_jobs")
        results = parallel(joblib.delayed(number_in_worker)(block, run) for block in blocks)
    else:
        own = WordNumbers()
        results = ((0, *own.number(block)) for block in blocks)
    try:
        for process, words, block, sizes in results:
            new = np.array([numbers[word] for word in words], "int32")
            tables[process] = np.concatenate([tables[process], new])
            yield tables[process][block], sizes
    finally:
        if several:
            get_reusable_executor().shutdown()
