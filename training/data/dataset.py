"""Data sets by name: embedded digits, folders of images, .npz arrays, and whatever TensorFlow Datasets knows.

All are decoded and resized once, to uint8, into memory or, where that is short, a file on disk; training then picks its
batches by index, which is what makes every step a function of (seed, step).
"""
import dataclasses
import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from zoo.errors import UserError
from zoo.training import doctor
from zoo.training.data import sources
from zoo.training.data.cache import Reader, Split
from zoo.training.data.checks.image_files import PROBLEMS
from zoo.training.preprocessing.images import decode

_BATCH = 256  # images counted at a time


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The parts of a data set: training learns, validation chooses, test is looked at once; and the classes' names."""

    train: Split
    validation: Split | None
    test: Split
    class_names: list
    vocabulary: object = None  # of sentences: the `zoo.training.preprocessing.text.Vocabulary` that numbered them

    @property
    def statistics(self):
        """(means, standard deviations) of the training images on a scale of 0 to 1, a list each, one per channel."""
        counts = np.zeros((self.train.store.shape[-1], 256), "int64")
        for first in range(0, len(self.train), _BATCH):
            images = self.train.take(np.arange(first, min(first + _BATCH, len(self.train))))
            counts += [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)]
        levels = np.arange(256) / 255
        means = [float(np.average(levels, weights=count)) for count in counts]
        return means, [float(np.average((levels - m) ** 2, weights=c) ** 0.5) for m, c in zip(means, counts, strict=True)]


def load(name, shape, *, validation=0.1, seed=0, data_dir=None, resize="stretch", skip_bad=False, cache_dir=None, say=None):
    """Load the data set `name`, its images resized to `shape`.

    Given parts are kept, missing ones drawn as `complete` draws them.

    Args:
        name: "digits"; the path of a folder of class folders (with train, validation and test above them or without) or
            of a .npz file; or a name of TensorFlow Datasets.
        shape: (height, width, channels) of the images.
        validation: the share of the training images held out, if no validation part is given.
        seed: draws the validation images.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        resize: what becomes of the aspect, see `zoo.training.preprocessing.images.fit_to`.
        skip_bad: leave out image files that cannot be decoded, instead of refusing the folder.
        cache_dir: the directory on whose disk decoded images go that would crowd the memory; None for the system's own.
        say: a function that is told, in a line, what takes time or space.

    Raises:
        zoo.errors.UserError: if the data set is unknown, holds no labelled images, has files that cannot be decoded, or is
            neither there nor to be fetched.
    """
    reader = Reader(tuple(shape), resize, skip_bad, cache_dir, say or (lambda line: None))
    if name == "digits":
        parts, class_names = _digits(reader)
    elif is_path(name):
        parts, class_names = _npz(name, reader) if Path(name).suffix == ".npz" else _folder(name, reader)
    else:
        parts, class_names = _tfds(name, reader, data_dir)
    parts = complete(parts, name, validation, seed)
    return Dataset(parts["train"], parts.get("validation"), parts["test"], class_names)


def is_path(name):
    """Return whether the data set `name` is a file or folder of the user's own."""
    return Path(name).exists() or any(mark in name for mark in ("\\", ".npz", ".csv", ".tsv")) or (
        "/" in name and not sources.in_tfds(name))  # "emnist/letters" is a configuration of TensorFlow Datasets


def own_shape(name, data_dir=None):
    """Return (height, width, channels) of the data set's own images; height and width are None where they vary."""
    if name == "digits":
        return 8, 8, 1
    if is_path(name):
        return next(iter(sources.arrays(name).values()))[0].shape[1:] if Path(name).suffix == ".npz" else (None, None, 3)
    return sources.tfds_builder(name, data_dir).info.features["image"].shape


def _digits(reader):
    """8x8 scans with 17 grey levels (E. Alpaydin and C. Kaynak 1998, UCI machine learning repository; CC BY 4.0)."""
    scans = load_digits()
    images = np.round(scans.images * (255 / 16)).astype("uint8")[..., None]
    return {"train": _from_arrays(images, scans.target.astype("int32"), reader, "digits")}, [str(n) for n in range(10)]


def _npz(path, reader):
    parts = {split: _from_arrays(images, labels, reader, path) for split, (images, labels) in sources.arrays(path).items()}
    return parts, sources.array_names(path, 1 + max(part.classes.max() for part in parts.values()))


def _from_arrays(images, labels, reader, name):
    def pick(place):
        image = tf.numpy_function(lambda i: images[i], [place], tf.uint8)
        return place, tf.ensure_shape(image, images.shape[1:]), tf.gather(labels, place)
    return reader.read_all(tf.data.Dataset.range(len(images)).map(pick), len(images), name)


def _folder(folder, reader):
    items = sources.files(folder)
    class_names = sources.class_names(folder)
    _refuse_at_a_glance(folder, items, class_names, reader)
    paths = tf.constant([os.fsencode(path) for path, _, _ in items])
    labels = tf.constant([class_names.index(label) for _, label, _ in items], tf.int32)
    numbered = tf.data.Dataset.range(len(items)).map(
        lambda place: (place, decode(tf.io.read_file(paths[place])), labels[place]), num_parallel_calls=tf.data.AUTOTUNE)
    whole = reader.read(numbered, len(items))
    bad = np.setdiff1d(np.arange(len(items)), whole.rows)
    if len(bad):
        _tell_bad(folder, items[bad[0]][0], len(bad), reader)
    given = np.array([split or "train" for _, _, split in items])[whole.rows]
    return {str(part): dataclasses.replace(whole, rows=whole.rows[given == part]) for part in np.unique(given)}, class_names


def _refuse_at_a_glance(folder, items, class_names, reader):
    """The doctor's quick form, before any image is decoded."""
    for found in doctor.examine_files(items, quick=True, classes=class_names):
        if found.severity == "error" and not (reader.skip_bad and found.kind in PROBLEMS):
            raise UserError(f"{folder}: {found.message}. `zoo doctor {folder}` says more.")


def _tell_bad(folder, first, count, reader):
    if not reader.skip_bad:
        more = f", nor can {count - 1} more" if count > 1 else ""
        raise UserError(f"{first} cannot be decoded{more}. `zoo doctor {folder}` says what is wrong; --skip-bad leaves such "
                        "files out.")
    reader.say(f"{count} files that cannot be decoded are left out; the first is {first}")


def _tfds(name, reader, data_dir):
    builder = sources.tfds_builder(name, data_dir)
    sources.prepare(builder)
    parts = {}
    for part in builder.info.splits.keys() & {"train", "validation", "test"}:
        rows = builder.as_dataset(split=part, shuffle_files=False).enumerate()
        parts[part] = reader.read_all(rows.map(lambda place, row: (place, row["image"], row["label"])),
                                      builder.info.splits[part].num_examples, f"{name}/{part}")
    return parts, list(builder.info.features["label"].names)


def complete(parts, name, validation, seed):
    """Return the `parts` of the data set `name`, {part: Split}, and those that are missing.

    A missing test part is a fifth of the training part, the same whatever the seed; a missing validation part is then drawn by
    `seed`, that share of the rest. Both are stratified by class. A missing training part is empty: on a test part alone a
    trained network can be scored.

    Raises:
        zoo.errors.UserError: if there is neither a training nor a test part, or too little to draw one from.
    """
    if not parts.keys() & {"train", "test"}:
        raise UserError(f"{name}: expected a train or a test part. Received: {', '.join(parts) or 'neither'}.")
    if "train" not in parts:
        return {**parts, "train": dataclasses.replace(parts["test"], rows=parts["test"].rows[:0])}
    parts = dict(parts)
    if "test" not in parts:
        parts["train"], parts["test"] = divide(parts["train"], sources.TEST_SHARE, seed=0)
    if "validation" not in parts and validation:
        parts["train"], parts["validation"] = divide(parts["train"], validation, seed)
    return parts


def refuse_untrained(train, name):
    """Raise UserError if `train`, the training part of the data set `name`, is empty."""
    if not len(train):
        raise UserError(f"{name} has no train part to learn from. `zoo evaluate RUN --data {name}` scores a run on it.")


def limited(dataset, recipe):
    """Return `dataset` with only `recipe.limit` of its training examples, drawn by class; all of them where that is 0."""
    if not 0 < recipe.max_train_examples < len(dataset.train):
        return dataset
    _, kept = divide(dataset.train, recipe.max_train_examples, recipe.seed)
    return dataclasses.replace(dataset, train=kept)


def divide(split, share, seed):
    """Return (the rest, `share` of the examples drawn by `seed`), each with the classes of `split` in its proportions.

    `share` is a part of 1, or a number of examples.
    """
    try:
        kept, held_out = train_test_split(split.rows, test_size=share, random_state=seed, stratify=split.labels)
    except ValueError as error:  # a class of one image, or fewer images held out than classes
        part = share if share >= 1 else f"{share:.0%}"
        raise UserError(f"Cannot set {part} of {len(split):,} examples aside by class: {error}") from None
    return tuple(dataclasses.replace(split, rows=np.sort(part)) for part in (kept, held_out))
