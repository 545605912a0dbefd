"""From sentences to token ids, in TensorFlow's operations, for training and the SavedModel."""
import collections
import dataclasses
import os
import string
import unicodedata

import numpy as np
import tensorflow as tf

PADDING, UNKNOWN = "<pad>", "<unk>"  # ids 0 and 1; no word is like these: < and > are split off
_CHUNK = 4096  # sentences standardized at a time


def _compositions():
    """[(letter and mark, composed letter)] of the small letters of Vietnamese and Western Europe.

    TensorFlow has no Unicode normalisation. Letters with one mark come first. The two marks of a
    letter may come in either order where NFC allows it: the dot below before the circumflex, as in
    decomposed text, or after it.
    """
    marks = [chr(mark) for mark in (0x300, 0x301, 0x302, 0x303, 0x306, 0x308, 0x309, 0x30A, 0x31B,
                                    0x323, 0x327)]
    compositions: list[tuple[str, str]] = []
    letters = list(string.ascii_lowercase)
    for _ in range(2):
        pairs = [(letter + mark, unicodedata.normalize("NFC", letter + mark))
                 for letter in letters for mark in marks]
        compositions += [(pair, letter) for pair, letter in pairs if len(letter) == 1]
        letters = [letter for _, letter in compositions]
    return compositions


_COMPOSITIONS = _compositions()
_INVISIBLE = r"[\p{Cf}\x{FE00}-\x{FE0F}]"  # byte-order marks, soft hyphens, joiners of emoji
_SPACE = r"[\p{Z}\p{Cc}]+"
# English endings, then every character that is neither a letter nor a digit.
_APART = r"(n't\b|\b'(?:s|ve|re|d|ll|m)\b|[^\p{L}\p{M}\p{N}_\s])"


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
def standardize(texts: tf.Tensor) -> tf.Tensor:
    """Return texts in lower case, with spaces between words and punctuation marks.

    Diacritics are kept and composed (as NFC does, in Latin letters), and so are words joined by
    `_`. Each punctuation mark and emoji becomes a word of its own; English endings ('s, n't) are
    split off, after the idea of Kim's preparation. Invalid UTF-8 becomes U+FFFD.

    Args:
        texts: strings of shape (n,).

    Returns:
        Strings of shape (n,).
    """
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    texts = tf.strings.regex_replace(texts, _INVISIBLE, "")
    texts = tf.strings.regex_replace(texts, _SPACE, " ")
    texts = tf.strings.regex_replace(texts, "[\u2019\u02bc]", "'")
    texts = tf.strings.lower(texts, encoding="utf-8")  # stops at a NUL, which is a space by now
    marked = tf.reduce_any(tf.strings.regex_full_match(texts, r"(?s).*\p{Mn}.*"))
    # A hundred replacements that few texts need.
    texts = tf.cond(marked, lambda: _composed(texts), lambda: texts)
    return tf.strings.regex_replace(texts, _APART, r" \1 ")


def _composed(texts):
    pairs, letters = tf.unstack(tf.constant(_COMPOSITIONS), axis=1)
    return tf.while_loop(  # unrolled, it would be a tenth of a small network's export
        lambda i, _: i < len(_COMPOSITIONS),
        lambda i, texts: (i + 1, tf.strings.regex_replace(texts, pairs[i], letters[i])),
        (0, texts))[1]


def tokenize(texts: tf.Tensor, max_tokens: int | None = None) -> tf.RaggedTensor:
    """Return the words of each text, strings of shape (n, words).

    Args:
        texts: strings of shape (n,).
        max_tokens: the words after so many are dropped; None keeps all.
    """
    return tf.strings.split(standardize(texts))[:, :max_tokens]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words of a network: `words[i]` has the id i. `PADDING` and `UNKNOWN` come first."""

    words: tuple[str, ...]

    @classmethod
    def build(cls, texts: list[str], size: int = 20_000, min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary of `texts`, which should be those of the training split alone.

        Args:
            texts: sentences.
            size: the maximum number of words, with `PADDING` and `UNKNOWN`; the rarest are left
                out.
            min_count: a word must occur this often.
        """
        counts: collections.Counter[bytes] = collections.Counter()
        for first in range(0, len(texts), _CHUNK):
            counts.update(tokenize(texts[first:first + _CHUNK]).flat_values.numpy().tolist())
        words = sorted((word for word, count in counts.items() if count >= min_count),
                       key=lambda word: (-counts[word], word))
        return cls((PADDING, UNKNOWN, *(word.decode() for word in words[:max(size - 2, 0)])))

    @classmethod
    def parse(cls, text: str) -> "Vocabulary":
        """Return the vocabulary that `str(vocabulary)` wrote: a word per line, in order of ids."""
        return cls(tuple(text.removesuffix("\n").split("\n")))

    def __str__(self):
        return "".join(f"{word}\n" for word in self.words)

    def __len__(self):
        return len(self.words)

    def lookup(self, file: str | os.PathLike | None = None) -> tf.lookup.StaticHashTable:
        """Return the table from words to int64 ids; an export has to `track` it.

        Args:
            file: path of a file with `str(vocabulary)`, which an export copies as an asset; None
                for the words as constants.
        """
        if file:
            line = tf.lookup.TextFileIndex
            words = tf.lookup.TextFileInitializer(str(file), tf.string, line.WHOLE_LINE, tf.int64,
                                                  line.LINE_NUMBER)
        else:
            words = tf.lookup.KeyValueTensorInitializer(tf.constant(self.words),
                                                        tf.range(len(self), dtype=tf.int64))
        return tf.lookup.StaticHashTable(words, self.words.index(UNKNOWN))

    def encode(self, texts: list[str], max_tokens: int | None = None) -> np.ndarray:
        """Return token ids, int32 of shape (n, longest text), padded with 0; at least one column.

        Args:
            texts: sentences.
            max_tokens: the tokens after so many are dropped; None keeps all.
        """
        lookup = self.lookup()
        chunks = [token_ids(tf.constant(texts[first:first + _CHUNK]), lookup, max_tokens).numpy()
                  for first in range(0, len(texts), _CHUNK)]
        width = max((chunk.shape[1] for chunk in chunks), default=1)
        return np.concatenate([
            np.zeros((0, width), "int32"),
            *(np.pad(chunk, ((0, 0), (0, width - chunk.shape[1]))) for chunk in chunks)])


def token_ids(texts: tf.Tensor, lookup: tf.lookup.StaticHashTable,
              max_tokens: int | None = None) -> tf.Tensor:
    """Return the token ids of strings of shape (n,), int32 (n, longest text), padded with 0.

    This is `Vocabulary.encode` for use in a graph; `lookup` comes from `Vocabulary.lookup`.
    """
    words = tokenize(texts, max_tokens)
    ids = words.with_flat_values(tf.cast(lookup.lookup(words.flat_values), tf.int32)).to_tensor()
    return tf.pad(ids, [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)]])


def split_words(texts: list[str], max_tokens: int | None = None) -> list[list[str]]:
    """Return the words of each text that `Vocabulary.encode` numbers, unknown ones too."""
    words = tokenize(tf.constant(texts), max_tokens)
    return [[word.decode() for word in line] for line in words.to_list()]
