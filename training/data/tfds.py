"""Images and sentences of TensorFlow Datasets."""
import difflib
import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import requests
import tensorflow as tf

from zoo.errors import UsageError, UserError, unknown
from zoo.training.data.cache import ImageCache
from zoo.training.data.checks.labels import Finding, no_label_notes
from zoo.training.data.sentences import Rows, Sentences
from zoo.training.data.source import SPLITS, Source, consecutive
from zoo.training.preprocessing.pixels import pixel_fault, to_uint8

_SPLITS = ("train", "validation", "test")
_BATCH = 256     # records handed over by TensorFlow at a time
_THUMBNAIL = 64  # pixels per side at which the doctor compares images that vary in size


class TfdsImages(Source):
    """A data set of TensorFlow Datasets whose examples have an image and a label.

    Images that are not uint8 are read twice: once to check that their numbers are pixels in
    [0, 255], and then rounded to uint8.
    """

    kind = "image"

    def __init__(self, name: str, builder):
        self.name, self._builder = name, builder
        self.native_shape = builder.info.features["image"].shape
        self.class_names = list(builder.info.features["label"].names)
        self._next, self._records = 0, self._iterate()

    def __len__(self):
        return sum(self._counts.values())

    @functools.cached_property
    def _names(self):
        """{split: its name in TensorFlow Datasets} of the splits that have a label."""
        return {split: name for split, name in _split_names(self._builder).items()
                if any((labels >= 0).any() for labels in self._label_batches(name))}

    @functools.cached_property
    def left_out(self) -> list[str]:
        return [f"{self.name} has no labels in the split {name}, which is left out"
                for split, name in _split_names(self._builder).items() if split not in self._names]

    @functools.cached_property
    def _counts(self):
        splits = self._builder.info.splits
        return {split: splits[name].num_examples for split, name in self._names.items()}

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        return consecutive(self._counts) if set(self._counts) != {"train"} else {}

    @functools.cached_property
    def _faults(self):
        """[(kind, a clause)] for each split with numbers that are no pixels."""
        if self._builder.info.features["image"].np_dtype == np.uint8:
            return []
        ranges = np.array([(image.min(), image.max()) for image, _ in self._iterate()])
        faults = {split: pixel_fault(ranges[indices])
                  for split, indices in consecutive(self._counts).items()}
        return [(fault[0], f"{split}: {fault[1]}") for split, fault in faults.items() if fault]

    @functools.cached_property
    def _labels(self):
        return np.full(len(self), -1, "int32")

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Remembered by `read`; what is not read yet is read now, without decoding the images."""
        if self._labels.min(initial=0) < 0:
            self._labels[:] = np.concatenate([labels for name in self._names.values()
                                              for labels in self._label_batches(name)])
        return self._labels

    def read(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return images; ascending indices cost one pass over the records, others start a new one.

        TensorFlow Datasets stores records one after another. `tfds.data_source` reads them in any
        order, if the data set is prepared with file_format="array_record".
        """
        images = []
        for index in indices:
            if index < self._next:
                self._next, self._records = 0, self._iterate()
            try:
                while self._next <= index:
                    image, self._labels[self._next] = next(self._records)
                    self._next += 1
            except (StopIteration, tf.errors.OpError):
                raise UserError(f"{self.example_name(self._next)} cannot be read. Is "
                                f"{self._builder.data_path} damaged?") from None
            images.append(to_uint8(image))
        return images if None in self.native_shape else np.stack(images)

    def _iterate(self):
        """Yield (image, label) of each record, those of one size in batches from TensorFlow."""
        for name in self._names.values():
            records = self._builder.as_dataset(split=name, shuffle_files=False)
            pairs = records.map(lambda record: (record["image"], record["label"]))
            batch = 1 if None in self.native_shape else _BATCH
            for images, labels in pairs.batch(batch).prefetch(2).as_numpy_iterator():
                yield from zip(images, labels, strict=True)

    def _label_batches(self, name):
        """Yield the labels of the split `name` in batches, without decoding the images."""
        skip = {"image": _tfds().decode.SkipDecoding()}
        records = self._builder.as_dataset(split=name, shuffle_files=False, decoders=skip)
        labels = records.map(lambda record: record["label"])
        return labels.batch(_BATCH).prefetch(2).as_numpy_iterator()

    def check(self, skip_bad: bool = False) -> None:
        for _, words in self._faults:
            raise UserError(f"{self.name}, images of the split {words}.")

    def examine(self, progress: Callable | None = None) -> list[Finding]:
        if self._faults:
            errors = [Finding(kind, "error", words, ()) for kind, words in self._faults]
            return [*errors, *no_label_notes(self.left_out)]
        shape = tuple(side or _THUMBNAIL for side in self.native_shape)
        return [*ImageCache(self, shape).examine(), *no_label_notes(self.left_out)]


class TfdsSentences(Sentences):
    """A data set of TensorFlow Datasets whose examples have a text and a label."""

    def __init__(self, name: str, builder):
        super().__init__(name)
        self._builder, self.class_names = builder, list(builder.info.features["label"].names)

    def check(self, skip_bad: bool = False) -> None:
        """Accept what the builder declares."""

    @functools.cached_property
    def rows(self) -> Rows:
        rows = {}
        for split, name in _split_names(self._builder).items():
            records = self._builder.as_dataset(split=name, shuffle_files=False)
            labelled = [(number, self._decoded(record["text"], name, number),
                         self.class_names[record["label"]])
                        for number, record in enumerate(records.as_numpy_iterator())
                        if record["label"] >= 0]
            if labelled:
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

    def examine(self, progress: Callable | None = None) -> list[Finding]:
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


def is_builder(name: str) -> bool:
    """Return whether TensorFlow Datasets has `name`, ignoring a configuration after "/"."""
    return name.partition("/")[0] in _tfds().list_builders(with_community_datasets=False)


def _tfds():
    import tensorflow_datasets as tfds  # imported late: it takes a second

    from zoo.training.data import ntc_scv  # noqa: F401 - registers our builder
    logging.getLogger("absl").setLevel(logging.ERROR)
    return tfds


def _unknown(tfds, name):
    base, configuration, _ = name.partition("/")
    if configuration and is_builder(name):
        configurations = tfds.builder_cls(base).builder_configs
        return unknown("data set", name, [base, *(f"{base}/{each}" for each in configurations)])
    here = [path.name for path in Path().iterdir()]
    names = ["digits", *tfds.list_builders(with_community_datasets=False)]
    near = (difflib.get_close_matches(name, here, 1)
            or difflib.get_close_matches(name.lower(), names, 1, cutoff=0.7))
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"No file, folder or data set is named {name!r}.{hint}")


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
