"""Pre-trained word vectors from files."""
import bz2
import gzip
import itertools
import lzma
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.preprocessing.tokens import Vocabulary

_OPEN: dict[str, Callable] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_LINES = 100  # from whose shortest the number of values is counted: words may contain spaces

Words = Iterator[tuple[bytes, np.ndarray]]


def read_word_vectors(path: str, vocabulary: Vocabulary, seed: int = 0) -> tuple[np.ndarray, int]:
    """Read pre-trained vectors for the words of a vocabulary.

    The file's words are composed (NFC) and keep their case; of a word that it has twice, the first
    counts. It may have words with spaces, which are no words of a vocabulary, and such that are not
    UTF-8.

    Args:
        path: a file in word2vec's text or binary format or GloVe's text format, or one compressed
            as .gz, .bz2 or .xz.
        vocabulary: the words.
        seed: draws the vectors of words that the file lacks, uniformly and with the variance of the
            others (Kim 2014, section 3.2). Padding is zeros.

    Returns:
        The vectors, float32 of shape (len(vocabulary), dimension), and how many come from the file.

    Raises:
        zoo.errors.UserError: if the file cannot be read or is in another format, a line has too few
            numbers, a number is infinite or NaN, or the header gives another number of words or
            values than the file has; the line or word is named.
    """
    rows: dict[str, int] = {}
    values = bytearray()  # the size of such a file may exceed that of the memory twice
    try:
        with _OPEN.get(Path(path).suffix, open)(path, "rb") as file:
            for name, vector in _words(path, file):
                if not np.isfinite(vector).all():
                    raise UserError(f"{path}: the vector of {name.decode(errors='replace')!r} has "
                                    "a value that is infinite or not a number.")
                word = unicodedata.normalize("NFC", name.decode(errors="backslashreplace"))
                if word not in rows:
                    rows[word] = len(rows)
                    values += vector.tobytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from None
    vectors = np.frombuffer(values, "float32").reshape(len(rows), -1)
    bound = 3 ** 0.5 * vectors.std()
    shape = len(vocabulary), vectors.shape[1]
    table = np.random.default_rng(seed).uniform(-bound, bound, shape).astype("float32")
    table[0] = 0.0
    in_file = [i for i, word in enumerate(vocabulary.words) if word in rows]
    for i in in_file:
        table[i] = vectors[rows[vocabulary.words[i]]]
    return table, len(in_file)


def _words(path, file) -> Words:
    """The words and vectors in an open file of any format."""
    head = file.readline()
    count = dimension = None
    if len(head.split()) == 2 and all(map(bytes.isdigit, head.split())):
        count, dimension = map(int, head.split())
        head = file.readline()
    lines = [head, *itertools.islice(file, _LINES)]
    fields = [len(line.split()) - 1 for line in lines if not line[:1].isspace()]
    shortest = min(fields, default=0)
    if shortest > 0 and _floats(head.split()[-shortest:]) is not None:
        if dimension not in (None, shortest):
            raise UserError(f"{path}: the header says {dimension:,} numbers for each word, line 2 "
                            f"has {shortest:,}.")
        words = _text_words(path, itertools.chain(lines, file), shortest, 1 if count is None else 2)
    elif count:
        file.seek(0)
        file.readline()
        words = _binary_words(path, file, count, dimension)
    else:
        raise UserError(f"{path} is neither in word2vec's text or binary format nor in GloVe's.")
    number = 0
    for pair in words:
        number += 1
        yield pair
    if count not in (None, number):
        raise UserError(f"{path}: the header says {count:,} words, the file has {number:,}. Is it "
                        "complete?")


def _text_words(path, lines, dimension, first) -> Words:
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        fields = line.rsplit(None, dimension)
        complete = len(fields) > dimension or line[:1].isspace()  # a word of spaces is no field
        vector = _floats(fields[-dimension:])
        if not complete or vector is None or len(vector) < dimension:
            raise UserError(f"{path}, line {number}: expected a word and {dimension:,} numbers. "
                            f"Received: {line[:60].decode(errors='replace').strip()!r}.")
        yield b"".join(fields[:-dimension]), vector


def _binary_words(path, file, count, dimension) -> Words:
    for number in range(count):
        word = bytearray()
        while (character := file.read(1)) not in (b" ", b""):
            word += character
        data = file.read(4 * dimension)
        if len(data) < 4 * dimension:
            raise UserError(f"{path}: the header says {count:,} words of {dimension:,} numbers, "
                            f"the file ends after {number:,}. Is it complete?")
        yield bytes(word).lstrip(b"\n"), np.frombuffer(data, "<f4")
    if file.read(2).strip():
        raise UserError(f"{path}: the header says {count:,} words of {dimension:,} numbers, the "
                        "file has more.")


def _floats(fields):
    """The numbers in text fields; None if one of them is none."""
    try:
        return np.array([float(field) for field in fields], "float32")
    except ValueError:
        return None
