"""Sources that remember what the network takes: decoded and resized images, or token ids."""
import functools
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data.checks.arrays import examine_arrays
from zoo.training.data.checks.labels import Finding
from zoo.training.data.source import Source
from zoo.training.preprocessing.images import decode_or_explain, fit_to
from zoo.training.preprocessing.tokens import Vocabulary

_MEMORY_SHARE = 0.25  # of the free memory that decoded images may fill; larger caches go to disk
_CHUNK = 32           # examples read at a time
_BATCH = 256          # images stored at a time
_SECONDS = 5          # between two lines of progress


class ImageArrays(Source):
    """Images in an array, uint8 (n, height, width, channels), in memory or on disk."""

    kind = "image"

    def __init__(self, images: np.ndarray, labels: np.ndarray, name: str = "arrays",
                 class_names: Iterable[str] = (), splits: dict[str, np.ndarray] | None = None):
        self.images, self.labels, self.name = images, labels, name
        self.class_names, self.splits = list(class_names), splits or {}
        self.native_shape = images.shape[1:]
        self.spec = tf.TensorSpec((None, *self.native_shape), tf.uint8)  # of what `read` returns

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]

    def examine(self, progress: Callable | None = None) -> list[Finding]:
        splits: dict[Any, np.ndarray] = {**self.splits} or {None: np.arange(len(self))}
        # Slices, not copies: the images may be on disk because memory is short.
        return examine_arrays({split: (self.images[indices[0]:indices[-1] + 1],
                                       self.labels[indices[0]:indices[-1] + 1])
                               for split, indices in splits.items() if len(indices)})


class ImageCache(ImageArrays):
    """The images of a source, decoded and resized once.

    Args:
        source: a source of images.
        shape: (height, width, channels) to resize to.
        resize: "stretch", "crop" or "pad", see `zoo.training.preprocessing.images.fit_to`.
        background: of transparent images, see `zoo.training.preprocessing.images.decode`.
        skip_bad: leave out files that cannot be decoded, instead of raising.
        cache_dir: the directory on whose disk images go that would crowd the memory; None for the
            system's temporary directory.
        say: called with a line about what takes time or space.

    Raises:
        zoo.errors.UserError: if a file cannot be decoded, or neither memory nor disk suffices.
    """

    def __init__(self, source: Source, shape: tuple, resize: str = "stretch",
                 background: str = "white", skip_bad: bool = False,
                 cache_dir: str | os.PathLike | None = None, say: Callable | None = None):
        count, say = len(source), say or (lambda line: None)
        images, decoded = _allocate(count, tuple(shape), cache_dir, say), np.zeros(count, bool)
        reported = time.monotonic()
        for indices, batch in decoded_images(source, np.arange(count), tuple(shape), resize,
                                             background):
            images[indices], decoded[indices] = batch, True
            if time.monotonic() - reported > _SECONDS:
                say(f"  {decoded.sum():,} of {count:,} images decoded")
                reported = time.monotonic()
        splits, labelled = source.splits, source.labels >= 0
        if not decoded.all():
            _report_bad(source, np.flatnonzero(~decoded), background, skip_bad, say)
        if not labelled.all():
            say(f"{count - labelled.sum():,} of {count:,} images have no label and are left out")
        usable = decoded & labelled
        if not usable.all():
            splits = {split: indices[usable[indices]] for split, indices in
                      (splits or {"train": np.arange(count)}).items()}
        super().__init__(images, source.labels, source.name, source.class_names, splits)


def decoded_images(source: Source, indices: np.ndarray, shape: tuple, resize: str,
                   background: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decode and resize the images of `source` at `indices`, in parallel.

    The source is read in order, by one thread. A cache that forgets, for data that fits neither
    memory nor disk, would call this for every batch.

    Yields:
        (indices, uint8 images of shape (n, *shape)), without the images that cannot be decoded.
    """
    errors: list[Exception] = []
    spec = tf.TensorSpec((None, *source.native_shape), tf.uint8)
    decode = functools.partial(decode_or_explain, background=background)

    def chunks():
        try:
            for first in range(0, len(indices), _CHUNK):
                chunk = indices[first:first + _CHUNK]
                images = source.read(chunk)
                if source.encoded:
                    decoded = list(pool.map(decode, images))
                    chunk = chunk[[not error for _, error in decoded]]
                    images = [image for image, error in decoded if not error]
                if isinstance(images, list):  # whose sizes vary
                    yield from zip(chunk[:, None], (image[None] for image in images), strict=True)
                else:
                    yield chunk, images
        except Exception as error:  # tf.data would put its own around it
            errors.append(error)

    def prepare(index, image):
        return index, fit_to(image[None], shape, resize)[0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = tf.data.Dataset.from_generator(
            chunks, output_signature=(tf.TensorSpec((None,), tf.int64), spec))
        prepared = read.unbatch().map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        yield from prepared.batch(_BATCH).prefetch(2).as_numpy_iterator()
    if errors:
        raise errors[0]


def _allocate(count, shape, cache_dir, say):
    """An empty array, in memory if a quarter of the free memory suffices, or in a hidden file."""
    size, words = count * math.prod(shape), f"{count:,} images of {'x'.join(map(str, shape))}"
    if size <= _MEMORY_SHARE * psutil.virtual_memory().available:
        say(f"{words}: {size / 1e6:,.1f} MB in memory")
        return np.empty((count, *shape), "uint8")
    folder = cache_dir or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{count:,} decoded images need {size / 1e9:,.1f} GB; {folder} has "
                        f"{free / 1e9:,.1f} GB free. Choose a smaller input_shape, or a run "
                        "directory on another disk.")
    say(f"{words}: {size / 1e6:,.1f} MB on disk, in {folder}")
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, "uint8", "w+", shape=(count, *shape))


def _report_bad(source, bad, background, skip_bad, say):
    first = source.example_name(bad[0])
    if skip_bad:
        say(f"{len(bad)} files that cannot be decoded are left out; the first is {first}")
        return
    more = f", nor can {len(bad) - 1} more" if len(bad) > 1 else ""
    (data,) = source.read(bad[:1])
    _, reason = decode_or_explain(data, background)
    raise UserError(f"{first} cannot be decoded{more}. `zoo doctor {source.name}` says what is "
                    "wrong; skip_bad=True (--skip-bad) leaves such files out. The first is "
                    f"{reason}.")


class TokenCache(Source):
    """Sentences as token ids, int32 of shape (n, longest), padded with 0 at the end."""

    kind = "text"
    spec = tf.TensorSpec((None, None), tf.int32)  # of what `read` returns

    def __init__(self, texts: list[str], labels: np.ndarray, vocabulary: Vocabulary,
                 max_tokens: int | None = None):
        self.texts, self.labels, self.splits = texts, labels, {}
        self.tokens = vocabulary.encode(texts, max_tokens)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the token ids at `indices`; as many columns as the longest of them has tokens."""
        tokens = self.tokens[indices]
        return tokens[:, :max(1, np.count_nonzero(tokens.any(axis=0)))]

    def raw(self, indices: np.ndarray) -> list[bytes]:
        return [self.texts[index].encode() for index in indices]
