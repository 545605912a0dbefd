"""Images that are read, decoded and resized when their step comes: a source that forgets.

The road is one tf.data pipeline: Python reads the bytes of a batch, the graph decodes and resizes
its images in parallel and in order.
"""
import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data.augmentation import crops
from zoo.training.data.augmentation.settings import needs_original
from zoo.training.data.cache import NOTHING, READS, decoded, decoded_images, opened_by
from zoo.training.data.source import Source
from zoo.training.data.splits import Split
from zoo.training.files import write
from zoo.training.preprocessing.images import (
    PLAIN_JPEG,
    decode_or_explain,
    fit_one,
    run_branch,
    stretch_one,
)

_MARGIN = 16        # pixels, a block of JPEG's coarsest colours
_EXAMINED = 64      # files at a time, to name the damaged one


class ImageStream(Source):
    """The images of a source, decoded and resized whenever they are read.

    Args:
        source: a source of images.
        shape: (height, width, channels) to resize to.
        resize: "stretch", "crop" or "pad", see `zoo.training.preprocessing.images.fit_to`.
        background: of transparent images, see `zoo.training.preprocessing.images.decode`.
        skip_bad: replace a file that cannot be decoded by the next one in the order of its split,
            instead of raising.
        say: called with a line about what takes time or space.
        eval_resize: see `zoo.training.preprocessing.images.fit_to`.

    Attributes:
        bad: the indices of files that could not be decoded and were replaced.
        bad_file: the path of a file in which their names are kept; None for none.
    """

    kind, is_stream = "image", True
    native_shape: tuple[int, ...]

    def __init__(self, source: Source, shape: tuple, resize: str = "stretch",
                 background: str = "white", skip_bad: bool = False, say: Callable | None = None,
                 eval_resize: int = 0):
        self.source, self.name, self.labels = source, source.name, source.labels
        self.class_names, self.splits = source.class_names, source.splits
        self.native_shape, self.skip_bad = tuple(shape), skip_bad
        self.spec = tf.TensorSpec((None, *shape), tf.uint8)
        self._fit, self._background = (resize, eval_resize), background
        self.bad: set[int] = set()
        self._bad_lock = threading.Lock()  # images are decoded in several threads
        self.bad_file: os.PathLike | None = None
        count, say, labelled = len(source), say or (lambda line: None), source.labels >= 0
        where = "from their files" if source.encoded else "in their own size"
        say(f"{count:,} images are read {where} at every step")
        if not labelled.all():
            say(f"{count - labelled.sum():,} of {count:,} images have no label and are left out")
            self.splits = {split: indices[labelled[indices]] for split, indices in
                           (source.splits or {"train": np.arange(count)}).items()}

    def example_name(self, index: int) -> str:
        return self.source.example_name(index)

    def identity(self, indices: np.ndarray) -> bytes:
        return self.source.identity(indices)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices`; see `in_batches` for many.

        Raises:
            zoo.errors.UserError: if a file cannot be decoded, also with `skip_bad`.
        """
        images = np.empty((len(indices), *self.native_shape), "uint8")
        read = np.zeros(len(indices), bool)
        for places, batch in decoded_images(self.source, np.asarray(indices), self.native_shape,
                                            *self._fit, self._background):
            images[places], read[places] = batch, True
        if not read.all():
            raise _unusable(self, int(np.asarray(indices)[np.argmin(read)]))
        return images

    def in_batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the images at `indices`, in their order; with `skip_bad`, those that are sound.

        Raises:
            zoo.errors.UserError: if a file cannot be decoded.
        """
        count = 0
        for places, batch in decoded_images(self.source, indices, self.native_shape, *self._fit,
                                            self._background):
            if not self.skip_bad and places[-1] >= count + len(places):
                missing = np.setdiff1d(np.arange(count, places[-1] + 1), places)
                raise _unusable(self, int(indices[missing[0]]))
            count += len(places)
            yield batch
        if not self.skip_bad and count < len(indices):
            raise _unusable(self, int(indices[count]))

    def view(self, data: tf.Tensor, head: tf.Tensor, augment: dict,
             seed: tf.Tensor | None) -> tf.Tensor:
        """Return an image as the network takes it, of `native_shape`.

        Args:
            data, head: of `opened`.
            augment: the recipe's augmentations; only crops of the original image matter here.
            seed: int64 (seed, step, position in the batch) of a training example; None otherwise.
        """
        is_crop = seed is not None and needs_original(augment)
        if seed is not None and is_crop and self.source.encoded:
            def other(data, head, seed):
                return self._view(data, head, augment, seed)
            specs = [tf.TensorSpec(each.shape, each.dtype) for each in (data, head, seed)]
            return tf.cond(tf.equal(head, PLAIN_JPEG),
                           lambda: _crop_of_jpeg(data, self.native_shape, augment, seed),
                           lambda: run_branch(tf.constant(0), [other], specs, data, head, seed))
        return self._view(data, head, augment, seed if is_crop else None)

    def _view(self, data, head, augment, seed):
        image = decoded(self.source, data, head, self._background)
        if seed is not None:
            return crops.training_view(image, self.native_shape, augment, seed)
        return fit_one(image, self.native_shape, *self._fit)

    def report_bad(self, say: Callable) -> None:
        """Say how many files were replaced because they cannot be decoded, and name them."""
        if self.bad:
            names = sorted(self.example_name(index) for index in self.bad)
            say(f"{len(names):,} files that cannot be decoded were replaced by the next ones: "
                f"{', '.join(names[:_NAMED])}"
                + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""))

    def keep_bad(self, indices: Iterable[int]) -> None:
        """Remember files that cannot be decoded, in memory and in `bad_file`."""
        with self._bad_lock:
            new = set(map(int, indices)) - self.bad
            self.bad |= new
            if new and self.bad_file:
                lines = sorted(f"{index}\t{self.example_name(index)}\n" for index in self.bad)
                write(self.bad_file, "".join(lines))

    def restore_bad(self) -> None:
        """Remember again what an interrupted training kept in `bad_file`."""
        if self.bad_file and os.path.exists(self.bad_file):
            with open(self.bad_file, encoding="utf-8", errors="replace") as file:
                self.bad |= {int(line.partition("\t")[0]) for line in file if line.strip()}


_NAMED = 20  # files in a line


def _crop_of_jpeg(data, shape, augment, seed):
    """`crops.training_view` of a plain JPEG, of which only the crop is decoded.

    At the edges of what it decodes, TensorFlow interpolates subsampled colours otherwise.
    """
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(data))
    top, left, tall, wide = tf.unstack(crops.crop_box(height, width, shape, augment, seed))
    above, before = tf.minimum(top, _MARGIN), tf.minimum(left, _MARGIN)
    below = tf.minimum(height - top - tall, _MARGIN)
    after = tf.minimum(width - left - wide, _MARGIN)
    window = [top - above, left - before, above + tall + below, before + wide + after]
    image = tf.io.decode_and_crop_jpeg(data, window, channels=3, dct_method="INTEGER_ACCURATE")
    crop = image[above:above + tall, before:before + wide]
    return stretch_one(crop, shape) if shape[-1] == 3 else fit_one(crop, shape)


def streamed(split: Split, places: tf.data.Dataset, batch: int, augment: dict | None = None,
             seed: int | None = None, share: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
    """Read the examples of a stream in batches.

    Args:
        split: of an `ImageStream`.
        places: of (step, places), where places are `batch` indices into `split`, `NOTHING` where
            a batch has fewer examples.
        batch: examples in a batch.
        augment, seed: of a recipe, for training batches.
        share: (n, workers): only the examples n, n + workers, ... of each batch are read.

    Returns:
        A data set of (step, places of the examples, uint8 images). With `skip_bad`, the places are
        those of the examples that replace files that cannot be decoded.
    """
    stream = split.source
    assert isinstance(stream, ImageStream)

    def indices_of(places):
        return tf.numpy_function(lambda places: np.where(
            places == NOTHING, NOTHING, split.indices[places]), [places], tf.int64)

    def read(step, places):
        places = tf.ensure_shape(places, (batch,))
        positions = tf.range(batch, dtype=tf.int64)
        is_mine = tf.equal(positions % share[1], share[0])
        indices = indices_of(tf.where(is_mine, places, NOTHING))
        data, heads = opened_by(stream.source, tf.ensure_shape(indices, (batch,)))
        return tf.fill((batch,), step), positions, places, is_mine, data, heads

    def view(step, position, data, head):
        drawn = None if seed is None else tf.stack([tf.constant(seed, tf.int64), step, position])
        return stream.view(data, head, augment or {}, drawn)

    def sound(step, position, place, data, head):
        """The image at `place`, or at the first one after it that can be decoded."""
        def reread(distance):
            following = (place + distance) % len(split)
            data, heads = opened_by(stream.source, tf.ensure_shape(
                indices_of(following[None]), (1,)))
            return following, data[0], heads[0]
        others = tf.data.Dataset.range(1, len(split)).map(reread)
        found = tf.data.Dataset.from_tensors((place, data, head)).concatenate(others).map(
            lambda place, data, head: (place, view(step, position, data, head)))
        used, image = found.ignore_errors().take(1).get_single_element()
        used = tf.cond(tf.equal(used, place), lambda: used, lambda: tf.numpy_function(
            keep, [place, used], tf.int64))
        return tf.ensure_shape(used, ()), image

    def keep(place, used):
        count = (used - place) % len(split)
        stream.keep_bad(split.indices[(place + np.arange(count)) % len(split)])
        return used

    def example(step, position, place, is_mine, data, head):
        def nothing():
            return place, tf.zeros(stream.native_shape, tf.uint8)

        def something():
            if stream.skip_bad:
                return sound(step, position, place, data, head)
            return place, view(step, position, data, head)
        is_there = is_mine & tf.not_equal(place, NOTHING)
        place, image = tf.cond(is_there, something, nothing)
        return step, place, tf.ensure_shape(image, stream.native_shape)

    def whole(steps, places, images):
        count = tf.math.count_nonzero(places != NOTHING, dtype=tf.int32)
        return steps[0], places[:count], images[:count]
    plain = tf.autograph.experimental.do_not_convert
    examples = places.map(plain(read), num_parallel_calls=READS).unbatch().map(
        plain(example), num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(batch, drop_remainder=True).map(plain(whole))


@contextlib.contextmanager
def naming_bad_files(places: Callable[[], Iterable[tuple[Split, np.ndarray]]]) -> Iterator[None]:
    """Turn the failure of a stream into a UserError that names the file.

    Args:
        places: returns (split, indices into it) of the examples among which the file is.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError:
        for split, each in places():
            if isinstance(split.source, ImageStream) and split.source.source.encoded:
                _check_files(split.source, split.indices[each])
        raise


def _check_files(stream, indices):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(indices), _EXAMINED):
            chunk = indices[first:first + _EXAMINED]
            files = stream.source.read(chunk)
            for index, (_, reason) in zip(chunk, pool.map(decode_or_explain, files), strict=True):
                if reason:
                    raise _unusable(stream, int(index))


def _unusable(stream, index):
    (data,) = stream.source.read(np.array([index]))
    _, reason = decode_or_explain(data)
    return UserError(f"{stream.example_name(index)} cannot be decoded: it is {reason}. "
                     "skip_bad=True (--skip-bad) replaces such files by the next ones; `zoo doctor "
                     f"{stream.name}` finds all of them.")
