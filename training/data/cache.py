"""The images of a source, read and decoded, and sources that remember what the network takes."""
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data.checks.arrays import examine_arrays
from zoo.training.data.checks.labels import Finding
from zoo.training.data.source import Source
from zoo.training.preprocessing.images import decode_by, decode_or_explain, fit_one, road_of

_MEMORY_SHARE = 0.25  # of the free memory that decoded images may fill
_SECONDS = 5          # between two lines of progress
_CHUNK = 32         # examples read at a time where there are no batches
_BATCH = 256        # images handed over at a time
READS = 2           # batches that are read at the same time
NOTHING = -1        # the place of an example that a batch lacks


def opened(source: Source, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read examples for the graph.

    Args:
        source: a source of images.
        indices: int64 of shape (n,); `NOTHING` where there is no example.

    Returns:
        Their bytes, an object array of shape (n,), and what it takes to decode them: of files what
        `road_of` returns, int32 of shape (n,), of arrays their shape, (n, 3).
    """
    present = indices != NOTHING
    examples = source.read(indices[present])
    data = np.full(len(indices), b"", object)
    heads = np.zeros(len(indices) if source.encoded else (len(indices), 3), "int32")
    for place, example in zip(np.flatnonzero(present), examples, strict=True):
        if source.encoded:
            data[place], heads[place] = example, road_of(example)
        else:
            data[place], heads[place] = example.tobytes(), example.shape
    return data, heads


def opened_by(source: Source, indices: tf.Tensor, errors: list[Exception] | None = None
              ) -> tuple[tf.Tensor, tf.Tensor]:
    """`opened` as an operation; what Python raises goes into the list `errors`."""
    def read(indices):
        try:
            return opened(source, indices)
        except Exception as error:
            if errors is not None:
                errors.append(error)
            raise
    data, heads = tf.numpy_function(read, [indices], (tf.string, tf.int32))
    count = indices.shape[0]
    return (tf.ensure_shape(data, (count,)),
            tf.ensure_shape(heads, (count,) if source.encoded else (count, 3)))


def decoded(source: Source, data: tf.Tensor, head: tf.Tensor, background: str) -> tf.Tensor:
    """Return an image of `source` as it is stored, uint8, from one example of `opened`."""
    if source.encoded:
        return decode_by(data, head, background)
    image = tf.reshape(tf.io.decode_raw(data, tf.uint8), head)
    return tf.ensure_shape(image, (None, None, source.native_shape[-1]))


def decoded_images(source: Source, indices: np.ndarray, shape: tuple, resize: str,
                   eval_resize: int, background: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decode and resize the images of `source` at `indices`, in parallel.

    Yields:
        (places among `indices`, uint8 images of shape (n, *shape)), in order, without the images
        that cannot be decoded.
    """
    errors: list[Exception] = []

    def read(places):
        return places, *opened_by(source, tf.gather(indices, places), errors)

    def prepare(place, data, head):
        return place, fit_one(decoded(source, data, head, background), shape, resize,
                              eval_resize)
    plain = tf.autograph.experimental.do_not_convert
    places = tf.data.Dataset.range(len(indices)).batch(_CHUNK)
    prepared = places.map(plain(read)).prefetch(READS).unbatch().map(
        plain(prepare), num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    yield from prepared.batch(_BATCH).prefetch(2).as_numpy_iterator()
    if errors:
        raise errors[0]


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

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
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
        cache: "memory", "disk", or "auto" for memory if `fits_memory`, else disk.
        say: called with a line about what takes time or space.
        eval_resize: see `zoo.training.preprocessing.images.fit_to`.

    Raises:
        zoo.errors.UserError: if a file cannot be decoded, or neither memory nor disk suffices.
    """

    def __init__(self, source: Source, shape: tuple, resize: str = "stretch",
                 background: str = "white", skip_bad: bool = False,
                 cache_dir: str | os.PathLike | None = None, say: Callable | None = None,
                 eval_resize: int = 0, cache: str = "auto"):
        count, say = len(source), say or (lambda line: None)
        images = _allocate(count, tuple(shape), cache, cache_dir, say)
        decoded = np.zeros(count, bool)
        reported = time.monotonic()
        for indices, batch in decoded_images(source, np.arange(count), tuple(shape), resize,
                                             eval_resize, background):
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


def fits_memory(source: Source, shape: tuple) -> bool:
    """Return whether a quarter of the free memory holds the images of `source`, resized."""
    return len(source) * math.prod(shape) <= _MEMORY_SHARE * psutil.virtual_memory().available


def _allocate(count, shape, cache, cache_dir, say):
    """An empty array, in memory or in a hidden file."""
    size, words = count * math.prod(shape), f"{count:,} images of {'x'.join(map(str, shape))}"
    free = psutil.virtual_memory().available
    if cache == "memory" and size > free:
        raise UserError(f"cache=memory: {words} need {size / 1e9:,.1f} GB, and {free / 1e9:,.1f} "
                        "GB of memory are free. cache=none reads them from their files at every "
                        "step, cache=disk keeps them in a file.")
    if cache == "memory" or (cache == "auto" and size <= _MEMORY_SHARE * free):
        say(f"{words}: {size / 1e6:,.1f} MB in memory")
        return np.empty((count, *shape), "uint8")
    folder = cache_dir or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{count:,} decoded images need {size / 1e9:,.1f} GB; {folder} has "
                        f"{free / 1e9:,.1f} GB free. cache=none reads them from their "
                        "files at every step; or choose a smaller input_shape, or a run directory "
                        "on another disk.")
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
