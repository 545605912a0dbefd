"""Arrays and labelled sentences that grow at their end, in memory, or on disk if memory is short.

A million sentences in a few arrays are no million objects.
"""
import os
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import psutil

from zoo.errors import UserError

Row = tuple[int | str, str, str]  # (line number or name, text, label)
SECONDS = 5          # between two lines of progress
_PENDING = 1 << 20   # bytes stored at a time
MEMORY_SHARE = 0.25  # of the free memory that such an array may fill


class Growing:
    """A one-dimensional array; from a quarter of the free memory on it is a hidden file on disk.

    It is a context manager: the array is read by `finish` before the end of the `with` statement,
    and outlives it.

    Args:
        dtype: of its items.
        what: what it holds, for messages, such as "sentences".
        folder: where the file goes; None for the system's temporary directory.
        say: called with a line when the array moves to disk.
    """

    def __init__(self, dtype: str, what: str, folder: str | os.PathLike | None = None,
                 say: Callable | None = None):
        self._dtype, self._what, self._say = dtype, what, say
        self._folder = os.fspath(folder or tempfile.gettempdir())
        self._limit = MEMORY_SHARE * psutil.virtual_memory().available
        self._memory = bytearray()
        self._file: BinaryIO | None = None

    def append(self, items: bytes | bytearray | np.ndarray) -> None:
        """Add items, or their bytes.

        Raises:
            zoo.errors.UserError: if they fit neither memory nor disk.
        """
        data = items.tobytes() if isinstance(items, np.ndarray) else items
        if self._file is None and len(self._memory) + len(data) <= self._limit:
            self._memory += data
            return
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._folder))
                self._file.write(self._memory)
                self._memory = bytearray()
                if self._say:
                    self._say(f"The {self._what} fill much of the memory and go to disk, in "
                              f"{self._folder}")
            self._file.write(data)
        except OSError as error:
            raise UserError(f"The {self._what} fit neither memory nor {self._folder}: "
                            f"{error.strerror}. Make room there, or choose another disk.") from None

    def finish(self) -> np.ndarray:
        """Return the array, which can be written to; nothing can be appended any more."""
        if self._file is None:
            return np.frombuffer(self._memory, self._dtype)
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r+")  # which keeps the file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._file is not None:
            self._file.close()


class TextRows:
    """The rows of a table, read once; their texts are kept in UTF-8, one after another.

    Args:
        rows: (line number or name, text, label), by numbers or by names throughout.
        say: called with a line of progress about every `SECONDS`.

    Attributes:
        label_names: the different labels in the order in which they first occur.
        label_numbers: int32 of shape (n,), indices into label_names.
    """

    def __init__(self, rows: Iterable[Row], say: Callable | None = None):
        self._places: Any = array("q")  # a list of names, an array of numbers
        self._ends, size = array("q", [0]), 0
        labels, numbers = array("i"), Numbers()
        pending, reported = bytearray(), time.monotonic()
        with Growing("uint8", "sentences", say=say) as texts:
            for place, text, label in rows:
                if isinstance(place, str) and not self._places:
                    self._places = []
                self._places.append(place)
                labels.append(numbers[label])
                pending += text.encode()
                self._ends.append(size + len(pending))
                if len(pending) > _PENDING:
                    texts.append(pending)
                    size, pending = size + len(pending), bytearray()
                    if say and time.monotonic() - reported > SECONDS:
                        say(f"  {len(labels):,} sentences read")
                        reported = time.monotonic()
            texts.append(pending)
            self._texts = memoryview(texts.finish())
        self.label_names = list(numbers)
        self.label_numbers = np.frombuffer(labels, "int32")

    def __len__(self):
        return len(self.label_numbers)

    def __iter__(self) -> Iterator[Row]:
        names = map(self.label_names.__getitem__, self.label_numbers)
        for index, (place, label) in enumerate(zip(self._places, names, strict=True)):
            yield place, self.raw(index).decode(), label

    def raw(self, index: int) -> bytes:
        """Return the text at `index`, in UTF-8."""
        return bytes(self._texts[self._ends[index]:self._ends[index + 1]])

    def examples(self) -> Iterator[tuple[int | str, str]]:
        """Yield (line number or name, label) of each row."""
        return zip(self._places, map(self.label_names.__getitem__, self.label_numbers),
                   strict=True)


class Numbers(dict):
    """Numbers the keys in the order in which they are first looked up, from 0 on."""

    def __missing__(self, key):
        self[key] = len(self)
        return self[key]
