"""Data sets by name: the digits that scikit-learn embeds, and whatever TensorFlow Datasets knows."""
import dataclasses
import logging

import numpy as np
import requests
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from training.images import fit_to
from zoo.errors import UserError, unknown

_TEST_SHARE = 0.2  # of a data set that comes without a test part


@dataclasses.dataclass(frozen=True)
class Split:
    """Images, uint8 of shape (n, height, width, channels), and their labels, int32 of shape (n,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The parts of a data set: training learns, validation chooses, test is looked at once; and the classes' names."""

    train: Split
    validation: Split | None
    test: Split
    class_names: list

    @property
    def statistics(self):
        """(means, standard deviations) of the training images on a scale of 0 to 1, a list each, one per channel."""
        counts = [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(self.train.images, -1, 0)]
        levels = np.arange(256) / 255
        means = [float(np.average(levels, weights=count)) for count in counts]
        return means, [float(np.average((levels - m) ** 2, weights=c) ** 0.5) for m, c in zip(means, counts, strict=True)]


def load(name, shape, *, validation=0.1, seed=0, data_dir=None):
    """Load the data set `name` into memory, its images resized to `shape`.

    A given test part is kept; else a fifth is set aside, the same whatever the seed. Validation is drawn from what is left.
    Both are stratified by class.

    Args:
        name: "digits" or a name of TensorFlow Datasets.
        shape: (height, width, channels) of the images.
        validation: the share of the training images held out.
        seed: draws the validation images.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.

    Raises:
        zoo.errors.UserError: if the data set is unknown, holds no labelled images, or is neither there nor to be fetched.
    """
    train, test, class_names = _digits(shape) if name == "digits" else _tfds(name, shape, data_dir)
    if test is None:
        train, test = _divide(train, _TEST_SHARE, seed=0)
    held_out = None
    if validation:
        train, held_out = _divide(train, validation, seed)
    return Dataset(train, held_out, test, class_names)


def channels(name, data_dir=None):
    """Return the number of channels of the data set's own images: 1 or 3."""
    return 1 if name == "digits" else _builder(name, data_dir).info.features["image"].shape[-1] or 3


def _digits(shape):
    """8x8 scans with 17 grey levels (E. Alpaydin and C. Kaynak 1998, UCI machine learning repository; CC BY 4.0)."""
    scans = load_digits()
    images = tf.constant(np.round(scans.images * (255 / 16)).astype("uint8")[..., None])
    return Split(fit_to(images, shape).numpy(), scans.target.astype("int32")), None, [str(n) for n in range(10)]


def _divide(split, share, seed):
    kept, held_out = train_test_split(np.arange(len(split.labels)), test_size=share, random_state=seed,
                                      stratify=split.labels)
    return tuple(Split(split.images[part], split.labels[part]) for part in (np.sort(kept), np.sort(held_out)))


def _tfds(name, shape, data_dir):
    builder = _builder(name, data_dir)
    _prepare(builder)
    parts = {part: _read(builder, part, shape) for part in ("train", "test") if part in builder.info.splits}
    return parts["train"], parts.get("test"), list(builder.info.features["label"].names)


def _builder(name, data_dir):
    import tensorflow_datasets as tfds  # imported late: it takes a second, and digits do without
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise unknown("data set", name, ["digits", *tfds.list_builders(with_community_datasets=False)]) from None
    if not {"image", "label"} <= set(builder.info.features or ()):
        raise UserError(f"The data set {name!r} has no images with one label each; its features are "
                        f"{', '.join(builder.info.features)}.")
    return builder


def _prepare(builder):
    """Download and prepare the data set if it is not there; ask for one address first, as TFDS retries for minutes."""
    if builder.is_prepared():
        return
    try:
        for address in list(builder.url_infos)[:1]:
            requests.head(address, timeout=10, allow_redirects=True)
        builder.download_and_prepare()
    except (OSError, AssertionError) as error:  # what requests and TFDS raise: no network, disk full, manual download
        reason = str(error) if isinstance(error, AssertionError) else type(error).__name__
        raise UserError(f"The data set {builder.info.name!r} is not prepared in {builder.data_path.parents[1]} and could "
                        f"not be downloaded ({reason}). Connect to the network, or name another --data-dir.") from error


def _read(builder, part, shape):
    rows = builder.as_dataset(split=part, shuffle_files=False)
    rows = rows.map(lambda row: (fit_to(row["image"][None], shape)[0], tf.cast(row["label"], tf.int32)),
                    num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    images, labels = zip(*rows.batch(1024).as_numpy_iterator(), strict=True)
    return Split(np.concatenate(images), np.concatenate(labels))
