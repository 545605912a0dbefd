"""From sentences to token ids: one standardisation, in TensorFlow's own operations, for training and for the SavedModel."""
import collections
import dataclasses
import string
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.errors import UserError

PADDING, UNKNOWN = "<pad>", "<unk>"  # ids 0 and 1; no word looks like this: < and > are words of their own
_CHUNK = 4096  # sentences standardised at a time


def _compositions():
    """[(letter and mark, composed letter)] for the small letters of Vietnamese and Western Europe, those of one mark first.

    TensorFlow has no normalisation of its own. The two marks of a letter may come in either order where they may in NFC: the
    dot below before the circumflex, as in decomposed text, or after it.
    """
    marks = [chr(mark) for mark in (0x300, 0x301, 0x302, 0x303, 0x306, 0x308, 0x309, 0x30A, 0x31B, 0x323, 0x327)]
    found, letters = [], string.ascii_lowercase
    for _ in range(2):
        pairs = [(letter + mark, unicodedata.normalize("NFC", letter + mark)) for letter in letters for mark in marks]
        found += [(pair, letter) for pair, letter in pairs if len(letter) == 1]
        letters = [letter for _, letter in found]
    return found


_COMPOSITIONS = _compositions()
_INVISIBLE = r"[\p{Cf}\x{FE00}-\x{FE0F}]"  # byte-order marks, soft hyphens, joiners of emoji
_SPACE = r"[\p{Z}\p{Cc}]+"
_APART = r"(n't\b|\b'(?:s|ve|re|d|ll|m)\b|[^\p{L}\p{M}\p{N}_\s])"  # English endings, then whatever is no letter or digit


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
def standardise(texts):
    """Return texts in small letters, their words and punctuation marks set apart by blanks, as a string tensor.

    Diacritics are kept and composed (as NFC does, in Latin letters), and so are words joined by `_`. Each punctuation mark and
    emoji becomes a word of its own, and English endings ('s, n't) are split off, after the idea of Kim's preparation. Broken
    UTF-8 becomes U+FFFD. The same operations train and serve: they are TensorFlow's own.

    Args:
        texts: strings of shape (n,).
    """
    texts = tf.strings.regex_replace(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), _INVISIBLE, "")
    texts = tf.strings.regex_replace(tf.strings.regex_replace(texts, _SPACE, " "), "[\u2019\u02bc]", "'")
    texts = tf.strings.lower(texts, encoding="utf-8")  # after the control characters have gone: it stops at a NUL
    marked = tf.reduce_any(tf.strings.regex_full_match(texts, r"(?s).*\p{Mn}.*"))
    texts = tf.cond(marked, lambda: _composed(texts), lambda: texts)  # a hundred replacements that few texts need
    return tf.strings.regex_replace(texts, _APART, r" \1 ")


def _composed(texts):
    pairs, letters = tf.unstack(tf.constant(_COMPOSITIONS), axis=1)
    return tf.while_loop(  # not unrolled: a hundred operations would be a tenth of a small network's export
        lambda i, _: i < len(_COMPOSITIONS), lambda i, texts: (i + 1, tf.strings.regex_replace(texts, pairs[i], letters[i])),
        (0, texts))[1]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows; `words[i]` has the id i, and `words` starts with `PADDING` and `UNKNOWN`."""

    words: tuple

    @classmethod
    def build(cls, texts, size=20_000, min_count=1):
        """Return the vocabulary of `texts`, which should be those of the training part alone.

        Args:
            texts: a list of str.
            size: the most words it may have, `PADDING` and `UNKNOWN` among them; the rarest are left out.
            min_count: how often a word must occur.
        """
        counts = collections.Counter()
        for first in range(0, len(texts), _CHUNK):
            counts.update(tf.strings.split(standardise(texts[first:first + _CHUNK])).flat_values.numpy().tolist())
        words = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return cls((PADDING, UNKNOWN, *(word.decode() for word in words[:max(size - 2, 0)])))

    @classmethod
    def parse(cls, text):
        """Return the vocabulary that `str(vocabulary)` has written: a word a line, in the order of the ids."""
        return cls(tuple(text.removesuffix("\n").split("\n")))

    def __str__(self):
        return "".join(f"{word}\n" for word in self.words)

    def __len__(self):
        return len(self.words)

    def lookup(self, file=None):
        """Return the tf.lookup.StaticHashTable from words to int64 ids; an export has to `track` it.

        Args:
            file: path of a file with `str(vocabulary)`, which an export takes along as an asset; None for the words as
                constants.
        """
        if file:
            line = tf.lookup.TextFileIndex
            words = tf.lookup.TextFileInitializer(str(file), tf.string, line.WHOLE_LINE, tf.int64, line.LINE_NUMBER)
        else:
            words = tf.lookup.KeyValueTensorInitializer(tf.constant(self.words), tf.range(len(self), dtype=tf.int64))
        return tf.lookup.StaticHashTable(words, self.words.index(UNKNOWN))

    def encode(self, texts, max_tokens=None):
        """Return token ids, int32 of shape (n, longest text), each row padded with 0 at its end; at least one column.

        Args:
            texts: a list of str.
            max_tokens: tokens after that many are dropped; None keeps all.
        """
        lookup = self.lookup()
        chunks = [token_ids(tf.constant(texts[first:first + _CHUNK]), lookup, max_tokens).numpy()
                  for first in range(0, len(texts), _CHUNK)]
        width = max((chunk.shape[1] for chunk in chunks), default=1)
        return np.concatenate([np.zeros((0, width), "int32"),
                               *(np.pad(chunk, ((0, 0), (0, width - chunk.shape[1]))) for chunk in chunks)])


def token_ids(texts, lookup, max_tokens=None):
    """Return the token ids of a string tensor of shape (n,), int32 of shape (n, longest text), padded with 0.

    This is `Vocabulary.encode` for use in a graph; `lookup` comes from `Vocabulary.lookup`.
    """
    words = tf.strings.split(standardise(texts))[:, :max_tokens]
    ids = words.with_flat_values(tf.cast(lookup.lookup(words.flat_values), tf.int32)).to_tensor()
    return tf.pad(ids, [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)]])


def split_words(texts: list[str], max_tokens: int | None = None) -> list[list[str]]:
    """Return the words of each text that `Vocabulary.encode` numbers, unknown ones too."""
    words = tf.strings.split(standardise(tf.constant(texts)))[:, :max_tokens]
    return [[word.decode() for word in line] for line in words.to_list()]


def vectors(path, vocabulary, seed=0):
    """Read pre-trained vectors for the words of a vocabulary.

    Args:
        path: of a file in word2vec's text or binary format or GloVe's text format; .gz may be appended.
        vocabulary: a `Vocabulary`.
        seed: draws the vectors of words that the file lacks, uniformly and with the variance of the others (Kim 2014,
            section 3.2). Padding is zeros.

    Returns:
        The vectors, float32 of shape (len(vocabulary), dimension), and how many of the words were found.

    Raises:
        zoo.errors.UserError: if gensim is not installed, or the file cannot be read or is in another format.
    """
    known = _keyed_vectors(Path(path))
    found = [i for i, word in enumerate(vocabulary.words) if word in known]
    bound = 3 ** 0.5 * known.vectors.std()
    table = np.random.default_rng(seed).uniform(-bound, bound, (len(vocabulary), known.vector_size)).astype("float32")
    table[0] = 0.0
    for i in found:
        table[i] = known[vocabulary.words[i]]
    return table, len(found)


def _keyed_vectors(path):
    try:
        from gensim import utils
        from gensim.models import KeyedVectors
    except ImportError:
        raise UserError("Reading word vectors needs gensim: pip install 'classic-zoo[text]'.") from None
    try:
        with utils.open(str(path), "rb") as file:
            head, first = file.readline().split(), file.readline().split()
        word2vec = len(head) == 2 and all(number.isdigit() for number in head)  # GloVe has no such line
        binary = word2vec and len(first) != 1 + int(head[1])
        if len(head) < 2:
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # gensim 4.4 does not close a file that it reads twice
            return KeyedVectors.load_word2vec_format(str(path), binary=binary, no_header=not word2vec)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (ValueError, EOFError):
        raise UserError(f"{path} is neither in word2vec's text or binary format nor in GloVe's.") from None
