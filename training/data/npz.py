"""Images and labels in an .npz file."""
import functools
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from zoo.errors import UserError
from zoo.training.data.checks.arrays import MOST_CLASSES, examine_arrays
from zoo.training.data.checks.labels import Finding, check_finding, class_findings
from zoo.training.data.source import SPLITS, Shape, Source, consecutive
from zoo.training.preprocessing.pixels import pixel_fault, to_uint8

_NAMES = {"train": (("x_train", "y_train"), ("images", "labels"), ("x", "y"),
                    ("train_images", "train_labels")),
          "validation": tuple(pair for name in ("val", "valid", "validation") for pair in
                              ((f"x_{name}", f"y_{name}"), (f"{name}_images", f"{name}_labels"))),
          "test": (("x_test", "y_test"), ("test_images", "test_labels"))}
_PAIRED = {name: other for pairs in _NAMES.values() for x, y in pairs
           for name, other in ((x, y), (y, x))}


class Npz(Source):
    """Arrays x_train and y_train of an .npz file, and x_val, y_val, x_test, y_test if present.

    Images and labels, or x_test and y_test alone, will do; so will train_images, train_labels and
    the same with val and test. Class_names may name the classes. Images
    are (n, height, width) or (n, height, width, 1 or 3), numbers in [0, 255] of any dtype, which
    are rounded to uint8; labels integers of shape (n,).
    Opening reads the file; training needs valid arrays, `examine` reports invalid ones.

    Raises:
        zoo.errors.UserError: if the file cannot be read, or has no such arrays.
    """

    kind = "image"

    def __init__(self, path: str):
        self.name = path
        arrays = _read(path)
        self._class_names = arrays.get("class_names")
        pairs = {split: [pair for pair in choices if pair[0] in arrays]
                 for split, choices in _NAMES.items()}
        for split, present in pairs.items():
            if len(present) > 1:
                raise UserError(f"{path} has more than one {split} split: "
                                f"{', '.join(x for x, _ in present)}. Expected one of them.")
        self._names = {split: present[0] for split, present in pairs.items() if present}
        if not self._names.keys() & {"train", "test"}:
            raise UserError(f"{path} needs the arrays x_train and y_train, or images and labels. "
                            f"It has: {', '.join(arrays)}.")
        self._arrays = {split: (arrays[x], arrays[y]) for split, (x, y) in self._names.items()}

    @functools.cached_property
    def _checked(self):
        """{split: (uint8 images, labels)}; grey becomes RGB if another split is RGB."""
        checked = {}
        for split, (x, y) in self._arrays.items():
            x_name, y_name = self._names[split]
            checked[split] = (_check_images(self.name, x_name, x),
                              _check_labels(self.name, y_name, y, len(x)))
        channels = max(x.shape[-1] for x, _ in checked.values())
        return {split: (np.repeat(x, channels, -1) if x.shape[-1] < channels else x, y)
                for split, (x, y) in checked.items()}

    @functools.cached_property
    def _views(self):
        return [image for x, _ in self._checked.values() for image in x]

    @functools.cached_property
    def labels(self) -> np.ndarray:
        return np.concatenate([y for _, y in self._checked.values()])

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        return consecutive({split: len(y) for split, (_, y) in self._checked.items()})

    @functools.cached_property
    def native_shape(self) -> Shape:
        shapes = [x.shape[1:] for x, _ in self._checked.values()]
        return shapes[0] if len(set(shapes)) == 1 else (None, None, shapes[0][-1])

    @functools.cached_property
    def class_names(self) -> list[str]:
        """The array class_names, composed (NFC), or the numbers of the classes."""
        count = 1 + int(self.labels.max())
        if self._class_names is None:
            return [str(number) for number in range(count)]
        names = [unicodedata.normalize("NFC", str(name)) for name in self._class_names.ravel()]
        if len(names) < count or len(set(names)) < len(names):
            raise UserError(f"class_names in {self.name} must be at least {count} different names. "
                            f"Received: {', '.join(names)}.")
        return names

    def read(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        images = [self._views[index] for index in indices]
        return images if None in self.native_shape else np.stack(images)

    def check(self, skip_bad: bool = False, listing_only: bool = False) -> None:
        names = self.class_names
        examples = [(f"{split}[{n}]", names[label], split) for split, (_, y) in
                    self._checked.items() for n, label in enumerate(y)]
        for finding in class_findings(examples):
            if finding.kind == "split without a class":
                check_finding(finding, self.name)

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
        return examine_arrays(self._arrays)


def _read(path):
    try:
        with zipfile.ZipFile(path):  # np.load would take other files for pickles
            pass
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"Cannot read {path} as .npz: {error}.") from None
    unpaired = sorted(name for name, array in arrays.items()
                      if _seems_used(name, array) and _PAIRED.get(name) not in arrays)
    if unpaired:
        raise UserError(f"{path} has {unpaired[0]}, but not the array that belongs to it, or the "
                        "name is unknown. Expected pairs of "
                        f"{', '.join(name for name in _PAIRED if name.startswith('x_'))} and the "
                        "same with y.")
    return arrays


def _seems_used(name, array):
    """Whether the array is named as examples or labels, or as images of a split."""
    words = set(re.split("[^a-z]", name.lower()))
    return (name in _PAIRED or name[:2].lower() in ("x_", "y_")
            or array.ndim > 2 and not words.isdisjoint(SPLITS))


def _check_images(path, name, x):
    if x.dtype.kind not in "buif":
        raise UserError(f"{name} in {path} must be numbers. Received: {x.dtype} {x.shape}.")
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not len(x):
        raise UserError(f"{name} in {path} must be (n, height, width) or (n, height, width, 1 or "
                        f"3), n at least 1. Received: {x.shape}.")
    fault = pixel_fault(x)
    if fault:
        raise UserError(f"{name} in {path}: {fault[1]}.")
    return to_uint8(x)


def _check_labels(path, name, y, count):
    if (y.shape not in ((count,), (count, 1)) or not np.issubdtype(y.dtype, np.integer)
            or y.min() < 0):
        raise UserError(f"{name} in {path} must be {count} integers from 0 up. "
                        f"Received: {y.dtype} {y.shape}.")
    if y.max() >= MOST_CLASSES:
        raise UserError(f"{name} in {path} must be class numbers below {MOST_CLASSES:,}. "
                        f"Received: {y.max():,}.")
    return y.ravel().astype("int32")
