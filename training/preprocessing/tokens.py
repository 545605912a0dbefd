"""From sentences to token ids, in Python alone; `zoo.training.preprocessing.text` is the graph.

Tokens are words or, for networks that read them, characters. Both give the same tokens for every
text. Exports of text networks hold a copy of this file, which imports nothing but NumPy.
"""
import collections
import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

PADDING, UNKNOWN = "<pad>", "<unk>"  # ids 0 and 1; no word is like these: < and > are split off
UNKNOWN_CHARACTER = "<unknown character>"  # id 1 of a vocabulary of characters, which says so
# Whatever has another category than unassigned, private or Han ideograph.
CODE_POINTS = (*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE1000))
ENDINGS = r"n't\b|\b'(?:s|ve|re|d|ll|m)\b"  # of English words; \b is that of ASCII
# They change how a character looks, as format characters (Cf) do: the grapheme joiner and the
# variation selectors.
_SELECTORS = frozenset((0x34F, 0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10),
                        *range(0xE0100, 0xE01F0)))


def is_invisible(point: int) -> bool:
    """Return whether a code point is removed, such as a byte-order mark or zero-width space."""
    return point in _SELECTORS or unicodedata.category(chr(point)) == "Cf"


def is_space(point: int) -> bool:
    """Return whether a code point separates words: a space, line end or control character."""
    return unicodedata.category(chr(point)) in ("Cc", "Zl", "Zp", "Zs")


def is_mark(point: int) -> bool:
    """Return whether a code point is a combining mark."""
    return unicodedata.category(chr(point))[0] == "M"


class _Characters(dict):
    """The table of `str.translate` in `normalize`, filled as characters come."""

    def __missing__(self, point):
        replaced: int | str = point
        if is_invisible(point):
            replaced = ""
        elif is_space(point):
            replaced = " "
        elif unicodedata.category(chr(point)) == "Cs":  # half a character of UTF-16
            replaced = "\ufffd"
        self[point] = replaced
        return replaced


_CHARACTERS = _Characters()
_LONG_TEXT, _LONG_RUN = 1000, 64  # characters; marks one after another
_COMPOSED_MARKS = "\u0f73\u0f75\u0f81"  # of two, so that they have no order of their own


@functools.cache
def _long_runs() -> re.Pattern:
    marks = "".join(chr(point) for point in CODE_POINTS if unicodedata.combining(chr(point)))
    return re.compile(f"[{marks}{_COMPOSED_MARKS}]{{{_LONG_RUN},}}")


def _in_order(run: str) -> str:
    """Return combining marks in the order of NFKD: Python's own takes quadratic time for it."""
    return "".join(sorted("".join(unicodedata.normalize("NFKD", mark) for mark in run),
                          key=unicodedata.combining))


def normalize(text: str) -> str:
    """Return `text` in NFKC and lower case, with plain spaces, without invisible characters."""
    text = text.translate(_CHARACTERS)
    if len(text) > _LONG_TEXT and not text.isascii():
        text = _long_runs().sub(lambda found: _in_order(found[0]), text)
    text = unicodedata.normalize("NFKC", text)
    return unicodedata.normalize("NFKC", text.lower())


def standardize(text: str) -> str:
    """Return `text` in lower case, with spaces between words and punctuation marks.

    Accented letters are composed, and full-width letters, ligatures and the like become plain ones
    (NFKC). Words joined by `_` stay joined. Each punctuation mark and emoji becomes a word of its
    own; English endings ('s, n't) are split off, after the idea of Kim's preparation. Zero-width
    characters are removed, the joiners of Persian and of emoji too. Every other white space and
    control character separates words.
    """
    return _apart().sub(r" \1 ", _plain(text))


def _plain(text):
    """`normalize`, with one form of apostrophe."""
    return normalize(text).replace("\u2019", "'").replace("\u02bc", "'")


@functools.cache
def _apart():
    """The pattern of what is set apart."""
    # \w has letters, digits and _, but no marks. NFKC makes a space and a mark of a spacing accent,
    # which some write for an apostrophe.
    marks = "".join(map(chr, filter(is_mark, CODE_POINTS)))
    return re.compile(rf"((?a:{ENDINGS})|(?:^| )[{marks}]+|[^\w {marks}])")


@functools.lru_cache(1 << 16)
def chunk_words(chunk: str) -> list[str]:
    """Return the words of what stands between two spaces; most texts repeat most of them."""
    return standardize(chunk).split()


def split_words(texts: Iterable[str], max_tokens: int | None = None) -> list[list[str]]:
    """Return the words of each text.

    Args:
        texts: sentences.
        max_tokens: longer texts are truncated to this number of words; None keeps all.
    """
    return [[word for chunk in text.split() for word in chunk_words(chunk)][:max_tokens]
            for text in texts]


def split_characters(texts: Iterable[str], max_tokens: int | None = None) -> list[str]:
    """Return the characters of each text as one string: normalized, with one space between words.

    Args:
        texts: sentences.
        max_tokens: longer texts are truncated to this number of characters; None keeps all.
    """
    return [" ".join(_plain(text).split())[:max_tokens] for text in texts]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words of a network: `words[i]` has the id i. `PADDING` and `UNKNOWN` come first.

    If `UNKNOWN_CHARACTER` is the second, the words are characters, and so are the tokens of texts.
    """

    words: tuple[str, ...]

    @classmethod
    def of_characters(cls, alphabet: str) -> "Vocabulary":
        """Return the vocabulary of an alphabet; character i of it has the id i + 2.

        Characters that no normalized text contains, such as capital letters and line ends, and
        those that are there already keep their ids, as <id>.
        """
        words = dict.fromkeys((PADDING, UNKNOWN_CHARACTER))
        for character in alphabet:
            occurs = _plain(character) == character and character not in words
            words[character if occurs else f"<{len(words)}>"] = None
        return cls(tuple(words))

    @property
    def unit(self) -> str:
        """What the tokens are: "characters" or "words"."""
        return "characters" if self.words[1:2] == (UNKNOWN_CHARACTER,) else "words"

    @classmethod
    def build(cls, texts: Iterable[str], size: int = 20_000, min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary of `texts`, which should be those of the training split alone.

        Args:
            texts: sentences.
            size: the maximum number of words, with `PADDING` and `UNKNOWN`; the rarest are left
                out.
            min_count: a word must occur this often.
        """
        counts: collections.Counter[str] = collections.Counter()
        for words in split_words(texts):
            counts.update(words)
        return cls.of_counts(counts, size, min_count)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], size: int = 20_000,
                  min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary of the words in `counts`, {word: how often it occurs}; see `build`.
        """
        common = sorted((word for word, count in counts.items() if count >= min_count),
                        key=lambda word: (-counts[word], word))
        return cls((PADDING, UNKNOWN, *common[:max(size - 2, 0)]))

    @classmethod
    def parse(cls, text: str) -> "Vocabulary":
        """Return the vocabulary that `str(vocabulary)` wrote: a word per line, in order of ids.

        Words of older versions, which were not normalized to NFKC, are normalized. Of words that
        are the same then, the first counts; the others become <id>, which no text contains.
        """
        lines = text.removesuffix("\n").split("\n")
        if cls(tuple(lines)).unit == "characters":
            return cls(tuple(lines))
        words: dict[str, None] = {}
        for word in lines:
            normal = normalize(word).strip()
            words[f"<{len(words)}>" if normal in words else normal] = None
        return cls(tuple(words))

    def __str__(self):
        return "".join(f"{word}\n" for word in self.words)

    def __len__(self):
        return len(self.words)

    @functools.cached_property
    def _ids(self):
        return {word: i for i, word in enumerate(self.words)}

    def ids(self, words: Iterable[str]) -> list[int]:
        """Return the id of each word; that of `UNKNOWN` for words that the vocabulary lacks."""
        ids, unknown = self._ids, self.unknown
        return [ids.get(word, unknown) for word in words]

    @property
    def unknown(self) -> int:
        """The id of words that the vocabulary lacks."""
        return self._ids[UNKNOWN_CHARACTER if self.unit == "characters" else UNKNOWN]

    def split(self, texts: Iterable[str],
              max_tokens: int | None = None) -> Sequence[Sequence[str]]:
        """Return the tokens of each text; see `split_words` and `split_characters`."""
        return (split_characters if self.unit == "characters" else split_words)(texts, max_tokens)

    def encode(self, texts: Sequence[str], max_tokens: int | None = None) -> np.ndarray:
        """Return token ids, int32 of shape (n, longest text), padded with 0; at least one column.

        Args:
            texts: sentences.
            max_tokens: longer texts are truncated to this number; None keeps all.
        """
        rows = [self.ids(words) for words in self.split(texts, max_tokens)]
        encoded = np.zeros((len(rows), max(map(len, rows), default=1) or 1), "int32")
        for row, line in zip(encoded, rows, strict=True):
            row[:len(line)] = line
        return encoded
