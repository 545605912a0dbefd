"""From sentences to token ids in TensorFlow's operations, for the SavedModel.

`zoo.training.preprocessing.tokens` says what the words are, and gives the same ones. TensorFlow has
no Unicode normalization, and its tables of letters are older or newer than Python's. So the graph
has tables of its own, made of Python's.
"""
import functools
import os
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.training.preprocessing.tokens import (
    CODE_POINTS,
    ENDINGS,
    Vocabulary,
    is_invisible,
    is_mark,
    is_space,
)

_HANGUL, _LEADING, _VOWEL, _TRAILING = 0xAC00, 0x1100, 0x1161, 0x11A7
_VOWELS, _TRAILINGS, _SYLLABLES = 21, 28, 11_172  # Unicode, section 3.12; no trailing one counts
_LARGER = 1 << 21  # than a code point


def standardize(texts: tf.Tensor) -> tf.Tensor:
    """Return texts as `zoo.training.preprocessing.tokens.standardize` does.

    Invalid UTF-8 becomes U+FFFD.

    Args:
        texts: strings of shape (n,).

    Returns:
        Strings of shape (n,).
    """
    return tf.strings.regex_replace(_plain(texts), _tables().apart, r" \1 ")


def _plain(texts):
    """The texts as `zoo.training.preprocessing.tokens.normalize` has them; all apostrophes '."""
    tables = _tables()
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    texts = tf.strings.regex_replace(texts, tables.invisible, "")
    texts = tf.strings.regex_replace(texts, tables.space, " ")
    # Most texts need no normalization.
    others = tf.where(~tf.strings.regex_full_match(texts, tables.normal))
    texts = tf.cond(
        tf.size(others) > 0,
        lambda: tf.tensor_scatter_nd_update(
            texts, others, _normalize(tf.gather_nd(texts, others), tables)),
        lambda: texts)
    texts = tf.strings.lower(texts, encoding="utf-8")  # stops at a NUL, which is a space by now
    return tf.strings.regex_replace(texts, "[\u2019\u02bc]", "'")


class _Tables(NamedTuple):
    """Patterns of RE2, and arrays by sorted keys."""

    invisible: str
    space: str
    normal: str
    apart: str
    decompositions: tuple[np.ndarray, np.ndarray]  # code points, strings
    combining: tuple[np.ndarray, np.ndarray]       # code points, classes above 0
    compositions: tuple[np.ndarray, np.ndarray]    # first * _LARGER + second, code points


@functools.cache
def _tables() -> _Tables:
    decompositions, combining, compositions = {}, {}, {}
    for point in CODE_POINTS:
        letter = chr(point)
        decomposed = _decomposition(letter)
        if decomposed != letter and not _HANGUL <= point < _HANGUL + _SYLLABLES:
            decompositions[point] = decomposed
        if unicodedata.combining(letter):
            combining[point] = unicodedata.combining(letter)
        pair = unicodedata.decomposition(letter).split()
        if len(pair) == 2 and pair[0][0] != "<" and letter == letter.lower():
            first, second = (int(each, 16) for each in pair)
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == letter:
                compositions[first * _LARGER + second] = point
    joining = {pair % _LARGER for pair in compositions}.union(
        range(_VOWEL, _VOWEL + _VOWELS), range(_TRAILING, _TRAILING + _TRAILINGS))

    def is_normal(point):
        # Unicode 3.2, so that every TensorFlow knows it.
        return (unicodedata.ucd_3_2_0.category(chr(point)) != "Cn"
                and unicodedata.is_normalized("NFKC", chr(point))
                and point not in combining and point not in joining)

    def is_in_words(point):
        return chr(point) == "_" or unicodedata.category(chr(point))[0] in "LMN"
    marks = _ranges(is_mark)
    return _Tables(
        f"[{_ranges(is_invisible)}]", f"[{_ranges(is_space)}]", f"[{_ranges(is_normal)}]*",
        f"({ENDINGS}|(?:^| )[{marks}]+|[^ {_ranges(is_in_words)}])",
        _sorted(decompositions, "int32"), _sorted(combining, "int32"),
        _sorted(compositions, "int64"))


def _decomposition(letter: str) -> str:
    """Return the lower case of a letter in NFKD; only a sigma waits for its place in the word."""
    lower = "".join(each if each == "Σ" else each.lower()
                    for each in unicodedata.normalize("NFKD", letter))
    return unicodedata.normalize("NFKD", lower)


def _ranges(condition: Callable[[int], bool]) -> str:
    """Return the code points that fulfil `condition`, for a class of RE2."""
    ranges: list[list[int]] = []
    for point in filter(condition, CODE_POINTS):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "".join(_escaped(first) + ("" if first == last else "-" + _escaped(last))
                   for first, last in ranges)


def _escaped(point):
    letter = chr(point)
    return letter if letter.isalnum() else f"\\x{{{point:X}}}"


def _sorted(table: dict[int, Any], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    keys = sorted(table)
    values = [table[key] for key in keys]
    return np.array(keys, dtype), np.array(values, None if isinstance(values[0], str) else "int32")


def _find(table, keys, default):
    """The values of `keys` in one of `_Tables`; where there is none, the value of `default`."""
    known, values = (tf.constant(array) for array in table)
    index = tf.minimum(tf.searchsorted(known, keys), len(table[0]) - 1)
    # In graphs of TensorFlow 1, such as the export's, == would compare the tensors themselves.
    found = tf.equal(tf.gather(known, index), keys)
    return tf.where(found, tf.gather(values, index), default)


def _normalize(texts, tables):
    """The texts in lower case, but for sigmas, and in NFKC."""
    points, rows = _decode(texts)
    letters = _find(tables.decompositions, points, _encode(points))
    points, rows = _decode(tf.strings.unsorted_segment_join(letters, rows, tf.size(texts)))
    points = _ordered(points, rows, tables)
    points, rows, _ = tf.while_loop(
        lambda points, rows, changed: changed,
        lambda points, rows, _: _compose(points, rows, tables), (points, rows, True),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])))
    return tf.strings.unsorted_segment_join(_encode(points), rows, tf.size(texts))


def _decode(texts):
    """The code points of all texts, and for each the index of its text."""
    points = tf.strings.unicode_decode(texts, "UTF-8")
    position = tf.range(tf.size(points.flat_values, tf.int64))
    return points.flat_values, tf.searchsorted(points.row_splits[1:], position, side="right")


def _encode(points):
    """A string for each code point."""
    # RaggedTensor's other ways to say so take fifty operations.
    splits = tf.range(tf.size(points) + 1)
    return tf.strings.unicode_encode(
        tf.RaggedTensor.from_row_splits(points, splits, validate=False), "UTF-8")


def _ordered(points, rows, tables):
    """The code points with the marks of each letter in canonical order (Unicode, section 3.11)."""
    combining, starts, _ = _letters(points, rows, tables)
    position = tf.range(tf.size(points, tf.int64), dtype=tf.int64)
    count = tf.maximum(tf.size(points, tf.int64), 1)
    letter = tf.cumsum(tf.cast(starts, tf.int64))
    keys = (letter * 256 + tf.cast(combining, tf.int64)) * count + position
    return tf.gather(points, tf.sort(keys) % count)


def _letters(points, rows, tables):
    """Combining classes, int32; whether a letter starts here, and whether a text does."""
    combining = _find(tables.combining, points, tf.constant(0))
    first = tf.concat([tf.ones_like(rows[:1]), rows[1:] - rows[:-1]], 0) > 0
    return combining, first | tf.equal(combining, 0), first


def _compose(points, rows, tables):
    """Join each letter with one more code point, where Unicode does (section 3.11, D117).

    Args:
        points: code points in canonical order.
        rows: the texts that they belong to.

    Returns:
        The same without those that were joined to others, and whether there were any.
    """
    combining, starts, first = _letters(points, rows, tables)
    position = tf.range(tf.size(points))
    before = tf.maximum(position - 1, 0)
    letter = tf.gather(tf.squeeze(tf.where(starts), 1), tf.cumsum(tf.cast(starts, tf.int32)) - 1)
    letter = tf.where(starts, before, tf.cast(letter, tf.int32))
    # What stands between a letter and a mark blocks it, unless its class is lower.
    free = tf.equal(before, letter) | (tf.gather(combining, before) < combining)
    free &= ~first & (~starts | tf.gather(starts, before))
    joined = _joined(tf.gather(points, letter), points, tables)
    joins = free & (joined >= 0)
    nearest = tf.math.unsorted_segment_min(
        tf.where(joins, position, tf.size(points)), letter, tf.size(points))
    joins &= tf.equal(tf.gather(nearest, letter), position)
    joining, others = tf.where(joins), tf.squeeze(tf.where(~joins), 1)
    points = tf.tensor_scatter_nd_update(
        points, tf.gather(letter[:, None], tf.squeeze(joining, 1)), tf.gather_nd(joined, joining))
    return tf.gather(points, others), tf.gather(rows, others), tf.size(joining) > 0


def _joined(first, second, tables):
    """The composed code points of pairs, -1 where there is none. Hangul syllables are computed."""
    pairs = tf.cast(first, tf.int64) * _LARGER + tf.cast(second, tf.int64)
    joined = _find(tables.compositions, pairs, tf.constant(-1, tf.int32))
    leading, vowel = first - _LEADING, second - _VOWEL
    syllable, trailing = first - _HANGUL, second - _TRAILING
    open_syllable = _HANGUL + (leading * _VOWELS + vowel) * _TRAILINGS
    joined = tf.where(_within(leading, 19) & _within(vowel, _VOWELS), open_syllable, joined)
    closes = (_within(syllable, _SYLLABLES) & tf.equal(syllable % _TRAILINGS, 0)
              & _within(trailing - 1, _TRAILINGS - 1))
    return tf.where(closes, first + trailing, joined)


def _within(number, count):
    return (number >= 0) & (number < count)


def tokenize(texts: tf.Tensor, max_tokens: int | None = None) -> tf.RaggedTensor:
    """Return the words of each text, strings of shape (n, words).

    Args:
        texts: strings of shape (n,).
        max_tokens: the words after so many are dropped; None keeps all.
    """
    return tf.strings.split(standardize(texts))[:, :max_tokens]


def characters(texts: tf.Tensor, max_tokens: int | None = None) -> tf.RaggedTensor:
    """Return the characters of each text, strings of shape (n, characters).

    They are those of `zoo.training.preprocessing.tokens.split_characters`; see `tokenize`.
    """
    texts = tf.strings.strip(tf.strings.regex_replace(_plain(texts), " +", " "))
    return tf.strings.unicode_split(texts, "UTF-8")[:, :max_tokens]


def lookup_table(vocabulary: Vocabulary,
                 file: str | os.PathLike | None = None) -> tf.lookup.StaticHashTable:
    """Return the table from words to int64 ids; an export has to `track` it.

    Args:
        vocabulary: the words.
        file: path of a file with `str(vocabulary)`, which an export copies as an asset; None for
            the words as constants.
    """
    if file:
        line = tf.lookup.TextFileIndex
        words = tf.lookup.TextFileInitializer(str(file), tf.string, line.WHOLE_LINE, tf.int64,
                                              line.LINE_NUMBER)
    else:
        words = tf.lookup.KeyValueTensorInitializer(tf.constant(vocabulary.words),
                                                    tf.range(len(vocabulary), dtype=tf.int64))
    return tf.lookup.StaticHashTable(words, vocabulary.unknown)


def token_ids(texts: tf.Tensor, lookup: tf.lookup.StaticHashTable,
              max_tokens: int | None = None, unit: str = "words") -> tf.Tensor:
    """Return the token ids of strings of shape (n,), int32 (n, longest text), padded with 0.

    This is `Vocabulary.encode` for use in a graph; `lookup` comes from `lookup_table`, `unit` is
    that of the vocabulary.
    """
    words = (characters if unit == "characters" else tokenize)(texts, max_tokens)
    ids = words.with_flat_values(tf.cast(lookup.lookup(words.flat_values), tf.int32)).to_tensor()
    return tf.pad(ids, [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)]])
