"""Where a data set lies once it is decoded: an array of images in memory or on disk, and parts of it by index."""
import dataclasses
import hashlib
import math
import shutil
import tempfile
import time

import numpy as np
import psutil
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.preprocessing.images import fit_to

_MEMORY_SHARE = 0.25  # of the free memory that decoded images may take; beyond, they go to disk
_BATCH = 256          # images decoded at a time
_CHUNK = 4096         # examples fingerprinted at a time
_SECONDS = 5          # between two lines on how far the decoding is


@dataclasses.dataclass(frozen=True)
class Split:
    """A part of a data set: the `rows` of `store`, all its examples, and of `classes`, their labels."""

    store: np.ndarray    # images, uint8 (n, height, width, channels), in memory or on disk; or token ids, int32 (n, tokens)
    classes: np.ndarray  # int32 of shape (n,)
    rows: np.ndarray     # int64 of shape (m,)
    texts: np.ndarray | None = None  # the sentences of the token ids

    def __len__(self):
        return len(self.rows)

    @property
    def labels(self):
        """int32 of shape (m,)."""
        return self.classes[self.rows]

    @property
    def images(self):
        """All examples of the part, copied."""
        return self.take(np.arange(len(self)))

    def take(self, places):
        """Return the examples at `places`, integers from 0 to m - 1; of token ids, as many columns as the longest has."""
        taken = self.store[self.rows[places]]
        return taken if taken.dtype != np.int32 else taken[:, :max(1, np.count_nonzero(taken.any(axis=0)))]


def fingerprint(splits):
    """A hash of all examples and labels of `splits`, as 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        digest.update(np.ascontiguousarray(split.labels).tobytes())
        for first in range(0, len(split), _CHUNK):
            rows = np.arange(first, min(first + _CHUNK, len(split)))
            texts = None if split.texts is None else split.texts[split.rows[rows]]
            digest.update(split.take(rows).tobytes() if texts is None else "\0".join(texts).encode())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Reader:
    """How examples become arrays, whatever they come from."""

    shape: tuple
    resize: str
    skip_bad: bool
    cache_dir: str | None
    say: object

    def store(self, count):
        """An empty array for `count` images, in memory if a quarter of what is free will do, else in a file without name."""
        size = count * math.prod(self.shape)
        if size <= _MEMORY_SHARE * psutil.virtual_memory().available:
            self.say(f"{count:,} images of {'x'.join(map(str, self.shape))}: {size / 1e6:,.1f} MB in memory")
            return np.empty((count, *self.shape), "uint8")
        folder = self.cache_dir or tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if size > free:
            raise UserError(f"{count:,} decoded images need {size / 1e9:,.1f} GB; {folder} has {free / 1e9:,.1f} GB free. "
                            "Choose a smaller input_shape, or a --run on another disk.")
        self.say(f"{count:,} images of {'x'.join(map(str, self.shape))}: {size / 1e6:,.1f} MB on disk, in {folder}")
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, "uint8", "w+", shape=(count, *self.shape))

    def read(self, numbered, count):
        """Fill a store from a dataset of (place, image, label); what cannot be decoded is left out of the rows."""
        store, labels, came, told = self.store(count), np.zeros(count, "int32"), np.zeros(count, bool), time.monotonic()
        fitted = numbered.map(lambda place, image, label: (place, fit_to(image[None], self.shape, self.resize)[0], label),
                              num_parallel_calls=tf.data.AUTOTUNE)
        for places, images, classes in fitted.ignore_errors().batch(_BATCH).prefetch(2).as_numpy_iterator():
            store[places], labels[places], came[places] = images, classes, True
            if time.monotonic() - told > _SECONDS:
                self.say(f"  {came.sum():,} of {count:,} images decoded")
                told = time.monotonic()
        return Split(store, labels, np.flatnonzero(came))

    def read_all(self, numbered, count, name):
        """As `read`, but nothing may be left out.

        Raises:
            zoo.errors.UserError: if an example of the data set `name` cannot be decoded.
        """
        split = self.read(numbered, count)
        if len(split) < count:
            raise UserError(f"{count - len(split):,} of the {count:,} examples of {name} cannot be decoded. Is it damaged?")
        return split
