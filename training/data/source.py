"""A source of labelled examples: opened once, read by index."""
import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

TEST_SHARE = 0.2        # of the examples, where a data set comes without a test split
VALIDATION_SHARE = 0.1  # of the training examples, the default of Recipe.validation_split
Shape = tuple[int | None, ...]  # (height, width, channels); empty of sentences
SPLITS = {"train": "train", "training": "train", "validation": "validation",
          "valid": "validation", "val": "validation", "dev": "validation", "test": "test"}


class Source:
    """Labelled images or sentences, numbered from 0 on through all splits.

    There is a subclass for each kind of data set. Opening one reads no example; what takes long
    (a download, a table) happens when it is first needed.

    Attributes:
        name: the data set, as the user names it.
        kind: "image" or "text".
        encoded: whether `read` returns the bytes of image files.
    """

    name: str
    kind: str
    encoded = False

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

    def example_name(self, index: int) -> str:
        """Return what messages call the example `index`."""
        return f"{self.name}[{index}]"

    def check(self, skip_bad: bool = False) -> None:
        """Check what can be checked before any example is read.

        Raises:
            zoo.errors.UserError: if training would fail; `skip_bad` lets unusable files pass.
        """

    def examine(self, progress: Callable | None = None) -> list:
        """Return the `zoo.training.data.checks.labels.Finding`s of a look at every example.

        Args:
            progress: called with (files done, files in all).
        """
        raise NotImplementedError


def consecutive(counts: dict[str, int]) -> dict[str, np.ndarray]:
    """Return {split: indices} of splits of these `counts`, {split: count}, one after another."""
    ends = np.cumsum(list(counts.values()))
    return {split: np.arange(end - count, end)
            for (split, count), end in zip(counts.items(), ends, strict=True)}


def natural_order(name: str) -> tuple:
    """Return the sort key of a class name: numbers in it count by value, so 2 comes before 10.

    The order is total: equal numbers of different spelling, 1 and 01, are ordered as strings.
    """
    parts = re.split(r"([0-9]+)", name)
    digits = [part.lstrip("0") for part in parts]  # compared by length: int() takes 4,300 at most
    return [(len(digits[i]), digits[i]) if i % 2 else part for i, part in enumerate(parts)], name
