"""The words of millions of sentences as numbers, many times as fast as lists of words."""
import itertools
import os
from array import array
from collections.abc import Sequence

import numpy as np

from zoo.training.preprocessing.tokens import chunk_words

_MOST = 1 << 18   # chunks remembered
_SLOTS = 18       # bits of the table's index
_SHORT = 15       # bytes of the chunks in the table
_SPACES = np.isin(np.arange(256), [byte for byte in range(128) if chr(byte).isspace()])
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], "uint64")
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))  # odd, of mixed bits
_1, _7, _32, _56, _63 = (np.uint64(number) for number in (1, 7, 32, 56, 63))


class WordNumbers:
    """Numbers words in the order in which they first occur.

    Texts fall into chunks, which stand between two spaces of ASCII. Most chunks are frequent and
    short, and are found for all texts at once in a table: a chunk of up to 15 bytes and its length
    are two numbers, which are compared, so that no two chunks are confused.

    Attributes:
        words: {word: its number}, in the order of the numbers.
    """

    def __init__(self):
        self.words: dict[str, int] = {}
        self._forget()

    def _forget(self):
        self._chunks = _Chunks(self.words)
        self._first, self._second = np.zeros((2, 1 << _SLOTS), "uint64")
        self._indices = np.full(1 << _SLOTS, -1, "int32")  # of chunks

    def number(self, texts: Sequence[bytes]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return the words of `texts`, those of `zoo.training.preprocessing.tokens.split_words`.

        Args:
            texts: sentences in UTF-8.

        Returns:
            The words that are new; the numbers of the words of all texts, one after another, int32;
            and how many words each text has, int32.
        """
        known = len(self.words)
        if len(self._chunks) > _MOST:
            self._forget()
        data = b"\n".join([b"", *texts, bytes(32)])
        data = data[:len(data) // 8 * 8]
        last_bytes = np.cumsum([len(text) + 1 for text in texts])
        is_space = _SPACES[np.frombuffer(data, "uint8")]
        is_space[last_bytes[-1] if texts else 0:] = True
        changes = np.flatnonzero(is_space[1:] != is_space[:-1]) + 1
        starts, ends = changes[::2], changes[1::2]
        order = self._find(data, starts, ends)
        # A chunk has none, one or several words.
        sizes = np.diff(np.array(self._chunks.ends))[order]
        before = np.concatenate([[0], np.cumsum(sizes)])
        first = np.array(self._chunks.ends)[order]
        places = np.repeat(first - before[:-1], sizes) + np.arange(before[-1])
        of_texts = before[np.searchsorted(starts, [0, *last_bytes])]
        return (list(itertools.islice(self.words, known, None)),
                np.array(self._chunks.numbers)[places], np.diff(of_texts).astype("int32"))

    def _find(self, data, starts, ends):
        """Return the index of each chunk, int32."""
        first, second = _keys(np.frombuffer(data, "<u8"), starts, ends - starts)
        slots = first * _FACTORS[0] ^ second * _FACTORS[1]
        slots = (slots ^ slots >> _32) * _FACTORS[0] >> np.uint64(64 - _SLOTS)
        slots = slots.astype("int64")
        order = self._indices[slots]
        is_short = ends - starts <= _SHORT
        found = (self._first[slots] == first) & (self._second[slots] == second) & is_short
        missing = np.flatnonzero(~found | (order < 0))
        chunks = self._chunks
        order[missing] = [chunks[data[start:end]] for start, end in zip(
            starts[missing].tolist(), ends[missing].tolist(), strict=True)]
        new = missing[is_short[missing] & (self._indices[slots[missing]] < 0)]
        # Where two have one slot, the last one gets it, in all three arrays.
        self._first[slots[new]], self._second[slots[new]] = first[new], second[new]
        self._indices[slots[new]] = order[new]
        return order


def _keys(words, starts, lengths):
    """The first 15 bytes of each chunk, and its length, in two uint64."""
    index, shift = starts >> 3, (starts.astype("uint64") & _7) << np.uint64(3)
    one, two, three = words[index], words[index + 1], words[index + 2]
    first = one >> shift | two << _1 << (_63 - shift)
    second = two >> shift | three << _1 << (_63 - shift)
    lengths = np.minimum(lengths, 2 * 8)
    first &= _MASKS[np.minimum(lengths, 8)]
    second &= _MASKS[np.clip(lengths - 8, 0, 7)]
    return first, second | lengths.astype("uint64") << _56


class _Chunks(dict):
    """{the bytes of a chunk: its index}; chunk i has the words numbers[ends[i]:ends[i + 1]]."""

    def __init__(self, words):
        super().__init__()
        self._words, self.numbers, self.ends = words, array("i"), array("q", [0])

    def __missing__(self, chunk):
        self[chunk] = index = len(self)
        self.numbers.extend(self._words.setdefault(word, len(self._words))
                            for part in chunk.decode().split() for word in chunk_words(part))
        self.ends.append(len(self.numbers))
        return index


_numbers: tuple[str, WordNumbers] = ("", WordNumbers())  # of this process


def number_in_worker(texts: list[bytes], run: str) -> tuple[int, list[str], np.ndarray, np.ndarray]:
    """Number the words of `texts` in one of several processes, each of which has its own numbers.

    Args:
        texts: sentences in UTF-8.
        run: names the data; with another name a process begins anew.

    Returns:
        The number of the process, and what `WordNumbers.number` returns.
    """
    global _numbers
    if _numbers[0] != run:
        _numbers = (run, WordNumbers())
    return os.getpid(), *_numbers[1].number(texts)
