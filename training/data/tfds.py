"""Images and sentences of TensorFlow Datasets."""
import contextlib
import functools
import io
import logging
import os
import unicodedata
from collections.abc import Callable

import google.protobuf as protobuf
import numpy as np
import requests
import tensorflow as tf

from zoo.errors import UserError, unknown
from zoo.training.data.cache import ImageCache
from zoo.training.data.checks.labels import Finding, no_label_notes
from zoo.training.data.growing import TextRows
from zoo.training.data.names import no_such_data
from zoo.training.data.records import Records, first_bytes
from zoo.training.data.sentences import Rows, Sentences
from zoo.training.data.source import SPLITS, Source, consecutive
from zoo.training.preprocessing.pixels import pixel_fault, to_uint8

_SPLITS = ("train", "validation", "test")
_THUMBNAIL = 64  # pixels per side at which the doctor compares images that vary in size


class TfdsImages(Source):
    """A data set of TensorFlow Datasets whose examples have an image and a label.

    Images of 8 bits are read as they are stored, PNG or JPEG files, and decoded as files of the
    user's own are. Others are read twice: once to check that their numbers are pixels in [0, 255],
    and then rounded to uint8.
    """

    kind = "image"

    def __init__(self, name: str, builder):
        self.name, self._builder = name, builder
        feature = builder.info.features["image"]
        self.native_shape = feature.shape
        self.encoded = isinstance(feature, _tfds().features.Image) and feature.np_dtype == np.uint8
        self.class_names = _class_names(builder)

    def __len__(self):
        return len(self.labels)

    @functools.cached_property
    def _indexed(self):
        """{split: (its name in TensorFlow Datasets, its records)} of the splits with a label."""
        indexed = {split: (name, self._index(name))
                   for split, name in _split_names(self._builder).items()}
        return {split: (name, records) for split, (name, records) in indexed.items()
                if (records.labels >= 0).any()}

    def _index(self, name):
        info = self._builder.info.splits[name]
        format = getattr(self._builder.info.file_format, "value", "tfrecord")
        if format not in ("tfrecord", "array_record"):
            raise UserError(f"{self.name} is stored as {format}. Expected tfrecord or "
                            "array_record; tfds.builder(..., file_format=) chooses one.")
        try:
            return Records([os.fspath(path) for path in info.filepaths], list(info.shard_lengths),
                           format == "array_record")
        except (tf.errors.OpError, ValueError, RuntimeError, IndexError):
            raise self._damaged(name) from None

    def _damaged(self, name):
        return UserError(f"The split {name} of {self.name} cannot be read. Is "
                         f"{self._builder.data_path} damaged?")

    @functools.cached_property
    def left_out(self) -> list[str]:
        return [f"{self.name} has no labels in the split {name}, which is left out"
                for split, name in _split_names(self._builder).items()
                if split not in self._indexed]

    @functools.cached_property
    def _counts(self):
        return {split: len(records) for split, (_, records) in self._indexed.items()}

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        return consecutive(self._counts) if set(self._counts) != {"train"} else {}

    @functools.cached_property
    def _faults(self):
        """[(kind, a clause)] for each split with numbers that are no pixels."""
        if self._builder.info.features["image"].np_dtype == np.uint8:
            return []
        ranges = np.array([(image.min(), image.max()) for image in map(
            self._array, range(len(self)))])
        faults = {split: pixel_fault(ranges[indices])
                  for split, indices in consecutive(self._counts).items()}
        return [(fault[0], f"{split}: {fault[1]}") for split, fault in faults.items() if fault]

    @functools.cached_property
    def labels(self) -> np.ndarray:
        return np.concatenate([records.labels for _, records in self._indexed.values()])

    def read(self, indices: np.ndarray) -> np.ndarray | list:
        if self.encoded:
            return [first_bytes(self._record(index), "image") for index in indices]
        images = [to_uint8(self._array(index)) for index in indices]
        return images if None in self.native_shape else np.stack(images)

    def _record(self, index):
        for _, records in self._indexed.values():
            if index < len(records):
                return records.read(index)
            index -= len(records)
        raise IndexError(index)

    def _array(self, index):
        return self._builder.info.features.deserialize_example_np(self._record(index))["image"]

    def identity(self, indices: np.ndarray) -> bytes:
        return np.concatenate([records.sizes for _, records in self._indexed.values()]
                              )[indices].tobytes()

    def check(self, skip_bad: bool = False, listing_only: bool = False) -> None:
        for _, words in self._faults:
            raise UserError(f"{self.name}, images of the split {words}.")

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
        if self._faults:
            errors = [Finding(kind, "error", words, ()) for kind, words in self._faults]
            return [*errors, *no_label_notes(self.left_out)]
        shape = tuple(side or _THUMBNAIL for side in self.native_shape)
        return [*ImageCache(self, shape).examine(), *no_label_notes(self.left_out)]


class TfdsSentences(Sentences):
    """A data set of TensorFlow Datasets whose examples have a text and a label."""

    def __init__(self, name: str, builder):
        super().__init__(name)
        self._builder, self.class_names = builder, _class_names(builder)

    def check(self, skip_bad: bool = False, listing_only: bool = False) -> None:
        """Accept what the builder declares."""

    @functools.cached_property
    def rows(self) -> Rows:
        rows = {}
        for split, name in _split_names(self._builder).items():
            records = self._builder.as_dataset(split=name, shuffle_files=False)
            labelled = TextRows(((number, self._decoded(record["text"], name, number),
                                  self.class_names[record["label"]])
                                 for number, record in enumerate(records.as_numpy_iterator())
                                 if record["label"] >= 0), self.say)
            if len(labelled):
                rows[split] = labelled
        return rows

    def _decoded(self, text, split, number):
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise UserError(f"{self.name}: record {number} of the split {split} is not UTF-8."
                            ) from None

    @functools.cached_property
    def left_out(self) -> list[str]:
        splits = self._builder.info.splits
        counts = {name: splits[name].num_examples - len(self.rows.get(split, ()))
                  for split, name in _split_names(self._builder).items()}
        return [f"{count:,} of {splits[name].num_examples:,} sentences of the split {name} of "
                f"{self.name} have no label and are left out"
                for name, count in counts.items() if count]

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
        return [*super().examine(progress), *no_label_notes(self.left_out)]


def open_tfds(name: str, data_dir: str | os.PathLike | None = None) -> Source:
    """Open the TensorFlow Datasets data set `name`, of images or texts with a label each.

    Raises:
        zoo.errors.UserError: if there is no such data set (the nearest name is given), or it has no
            such examples.
    """
    tfds = _tfds()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError):  # ValueError: not a name or configuration
        raise _unknown(tfds, name) from None
    except AssertionError as error:  # about the version; TFDS puts the call before the reason
        raise UserError(str(error).rpartition('": ')[2]) from None
    features = dict((builder.info.features or {}).items())
    has_label = isinstance(features.get("label"), tfds.features.ClassLabel)
    if not has_label or not features.keys() & {"image", "text"}:
        kinds = ", ".join(f"{key} ({type(value).__name__})" for key, value in features.items())
        raise UserError(f"The data set {name!r} has no images or texts with one ClassLabel each; "
                        f"its features are {kinds}.")
    kind = "text" if "text" in features else "image"
    feature = features[kind]
    right = feature.tf_dtype == tf.string and feature.shape == ()
    if kind == "image":
        right = len(feature.shape) == 3 and feature.shape[-1] in (1, 3)
    if not right:
        expected = {"image": "(height, width, 1 or 3)", "text": "one string each"}[kind]
        raise UserError(f"The {kind}s of the data set {name!r} must be {expected}. Received: "
                        f"{type(feature).__name__} of shape {feature.shape}, {feature.np_dtype}.")
    return (TfdsSentences if kind == "text" else TfdsImages)(name, builder)


def _class_names(builder):
    return [unicodedata.normalize("NFC", name) for name in builder.info.features["label"].names]


def _split_names(builder):
    """Prepare the data set; return {split: its name in TensorFlow Datasets}."""
    _prepare(builder)
    names = {}
    for split in _SPLITS:
        alike = [name for name in builder.info.splits if SPLITS.get(name.lower()) == split]
        if len(alike) > 1 and split not in alike:
            raise UserError(f"{builder.info.full_name} has several {split} splits: "
                            f"{', '.join(alike)}. Expected one.")
        if alike:
            names[split] = split if split in alike else alike[0]
    return names


def _tfds():
    with contextlib.redirect_stderr(io.StringIO()):  # it prints a traceback and goes on
        import tensorflow_datasets as tfds  # imported late: it takes a second
    if not hasattr(tfds, "core"):  # pip installs a tensorflow-metadata too new for this protobuf
        raise UserError(f"TensorFlow Datasets does not work with protobuf {protobuf.__version__}, "
                        "which this TensorFlow needs. Install a tensorflow-metadata for it: "
                        "pip install \"tensorflow-metadata<1.18\"")

    from zoo.training.data import ntc_scv  # noqa: F401 - registers our builder
    logging.getLogger("absl").setLevel(logging.ERROR)
    return tfds


def _unknown(tfds, name):
    base, configuration, _ = name.partition("/")
    if not configuration or base not in tfds.list_builders(with_community_datasets=False):
        return no_such_data(name)
    configurations = tfds.builder_cls(base).builder_configs
    return unknown("data set", name, [base, *(f"{base}/{each}" for each in configurations)])


def _prepare(builder):
    """Download and prepare the data set if needed; try one address first, as TFDS retries long."""
    if builder.is_prepared():
        return
    try:
        for address in list(builder.url_infos)[:1]:
            requests.head(address, timeout=10, allow_redirects=True)
        builder.download_and_prepare()
    except (OSError, AssertionError) as error:  # no network, disk full, manual download
        reason = str(error) if isinstance(error, AssertionError) else type(error).__name__
        name = builder.info.full_name  # with version and configuration: a folder each
        raise UserError(f"The data set {name!r} is not prepared in "
                        f"{builder.data_path.parents[name.count('/')]} and could not be downloaded "
                        f"({reason}). Connect to the network, or name another data_dir "
                        "(--data-dir).") from error
