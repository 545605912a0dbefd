"""Pre-trained word vectors from files."""
import warnings
from pathlib import Path

import numpy as np

from zoo.errors import UserError, missing_packages
from zoo.training.preprocessing.text import Vocabulary


def read_word_vectors(path: str, vocabulary: Vocabulary, seed: int = 0) -> tuple[np.ndarray, int]:
    """Read pre-trained vectors for the words of a vocabulary.

    Args:
        path: a file in word2vec's text or binary format or GloVe's text format, or one compressed
            as .gz.
        vocabulary: the words.
        seed: draws the vectors of words that the file lacks, uniformly and with the variance of the
            others (Kim 2014, section 3.2). Padding is zeros.

    Returns:
        The vectors, float32 of shape (len(vocabulary), dimension), and how many come from the file.

    Raises:
        zoo.errors.UserError: if gensim is not installed, or the file cannot be read or is in
            another format.
    """
    vectors = _read(Path(path))
    in_file = [i for i, word in enumerate(vocabulary.words) if word in vectors]
    bound = 3 ** 0.5 * vectors.vectors.std()
    shape = len(vocabulary), vectors.vector_size
    table = np.random.default_rng(seed).uniform(-bound, bound, shape).astype("float32")
    table[0] = 0.0
    for i in in_file:
        table[i] = vectors[vocabulary.words[i]]
    return table, len(in_file)


def _read(path):
    """The gensim.models.KeyedVectors in a file."""
    try:
        from gensim import utils
        from gensim.models import KeyedVectors
    except ImportError:
        raise missing_packages("Reading word vectors", "gensim", "text") from None
    try:
        with utils.open(str(path), "rb") as file:
            head, first = file.readline().split(), file.readline().split()
        # GloVe has no header.
        word2vec = len(head) == 2 and all(number.isdigit() for number in head)
        binary = word2vec and len(first) != 1 + int(head[1])
        if len(head) < 2:
            raise ValueError
        with warnings.catch_warnings():
            # gensim 4.4 does not close a file that it reads twice.
            warnings.simplefilter("ignore", ResourceWarning)
            return KeyedVectors.load_word2vec_format(str(path), binary=binary,
                                                     no_header=not word2vec)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (ValueError, EOFError):
        raise UserError(f"{path} is neither in word2vec's text or binary format nor in GloVe's."
                        ) from None
