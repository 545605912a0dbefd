"""A source of labelled examples: opened once, read by index."""
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

TEST_SHARE = 0.2        # of the examples, where a data set comes without a test split
_BATCH = 256  # examples read at a time
VALIDATION_SHARE = 0.1  # of the training examples, the default of Recipe.validation_split
Shape = tuple[int | None, ...]  # (height, width, channels); empty of sentences
SPLITS = {"train": "train", "training": "train", "validation": "validation",
          "valid": "validation", "val": "validation", "dev": "validation", "test": "test"}


# What Windows and macOS write into folders, in lower case.
_LEFTOVERS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "icon\r"}


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name does not count as data."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


class Source:
    """Labelled images or sentences, numbered from 0 on through all splits.

    There is a subclass for each kind of data set. Opening one reads no example; what takes long
    (a download, a table) happens when it is first needed.

    Attributes:
        name: the data set, as the user names it.
        kind: "image" or "text".
        encoded: whether `read` returns the bytes of image files.
        is_stream: whether examples are decoded whenever they are read.
        left_out: a line on each kind of example that has no label and does not count.
    """

    name: str
    kind: str
    encoded = False
    is_stream = False
    bad: set[int] = set()  # of a stream: the indices of files that could not be decoded

    # A subclass sets these, or computes them when they are first needed.
    @functools.cached_property
    def class_names(self) -> list[str]:
        """The names of the classes, in label order."""
        raise NotImplementedError

    @functools.cached_property
    def native_shape(self) -> Shape:
        """(height, width, channels) of the images; height and width are None where they vary.

        Of sentences, an empty tuple.
        """
        return ()

    @functools.cached_property
    def left_out(self) -> list[str]:
        return []

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 of shape (n,); -1 where an example has no label."""
        raise NotImplementedError

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """The splits that the data set comes with, {"train", "validation" or "test": indices}.

        The indices are int64; the dict is empty if the data set comes undivided.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: np.ndarray) -> np.ndarray | list[Any]:
        """Return the examples at `indices`, which may come in any order.

        Returns:
            The bytes of image files as a list, uint8 images as an array (n, height, width,
            channels) or, where their sizes vary, a list of arrays, or sentences as a list of str.
        """
        raise NotImplementedError

    def raw(self, indices: np.ndarray) -> np.ndarray | list[Any]:
        """Return the examples at `indices` as clients send them: uint8 images, or UTF-8 texts."""
        return self.read(indices)

    def in_batches(self, indices: np.ndarray) -> Iterator[Any]:
        """Yield the examples at `indices` in batches, as `read` returns them."""
        for first in range(0, len(indices), _BATCH):
            yield self.read(indices[first:first + _BATCH])

    def identity(self, indices: np.ndarray) -> bytes:
        """Return a hash of the examples at `indices`, without reading files that may be many."""
        digest = hashlib.blake2b(digest_size=16)
        for batch in self.in_batches(indices):
            for example in batch:
                digest.update(example if isinstance(example, bytes) else example.tobytes())
        return digest.digest()

    def example_name(self, index: int) -> str:
        """Return what messages call the example `index`."""
        return f"{self.name}[{index}]"

    def order_classes(self, names: list[str]) -> None:
        """Number the classes as `names` does, if these are the same names in another order.

        Networks keep the order they were trained with; data sets may have had another one then.
        """
        if self.class_names != names and set(self.class_names) == set(names):
            numbers = np.array([names.index(name) for name in self.class_names], "int32")
            self.labels = np.where(self.labels < 0, -1, numbers[self.labels]).astype("int32")
            self.class_names = list(names)

    def check(self, skip_bad: bool = False, listing_only: bool = False) -> None:
        """Check what can be checked before any example is read.

        Raises:
            zoo.errors.UserError: if training would fail; `skip_bad` lets unusable files pass, and
                with `listing_only` no file is read.
        """

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list:
        """Return the `zoo.training.data.checks.labels.Finding`s of a look at every example.

        Args:
            progress: called with (files done, files in all).
            quick: look at a random sample of the examples, where all would take long.
        """
        raise NotImplementedError


def consecutive(counts: dict[str, int]) -> dict[str, np.ndarray]:
    """Return {split: indices} of splits of these `counts`, {split: count}, one after another."""
    ends = np.cumsum(list(counts.values()))
    return {split: np.arange(end - count, end)
            for (split, count), end in zip(counts.items(), ends, strict=True)}


def ordered_classes(names: Iterable[str]) -> list[str]:
    """Return the different `names` in label order, the same for every kind of data set.

    Numbers are ordered by value, other names as strings in which digits count as numbers, so that
    2 comes before 10. The order is total: equal numbers, 1 and 01, are ordered as strings.
    """
    different = set(names)
    if all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", name) for name in different):
        return sorted(different, key=lambda name: (Decimal(name), name))
    return sorted(different, key=_natural)


def classes_file(path: str) -> Path:
    """Return the path of the file in which a user may say which labels are meant, however alike.

    It is classes.txt, in the folder `path` or beside the table `path`.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    return folder / "classes.txt"


def _natural(name):
    parts = re.split(r"([0-9]+)", name)
    digits = [part.lstrip("0") for part in parts]  # compared by length: int() takes 4,300 at most
    return [(len(digits[i]), digits[i]) if i % 2 else part for i, part in enumerate(parts)], name
