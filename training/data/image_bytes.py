"""Parquet files that hold images themselves, as bytes, beside their labels."""
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.data.growing import Growing
from zoo.training.data.image_folder import ImageFiles
from zoo.training.data.sentences import parquet_file, parquet_image_columns
from zoo.training.data.source import consecutive, ordered_classes

_ROWS = 64  # read at a time


class ImageBytes(ImageFiles):
    """The images of Parquet files, which are read once: their rows cannot be read one by one.

    The bytes stay in memory, or in a hidden file where they would fill a quarter of what is free.

    Args:
        name: the file, the folder or the pattern, as the user names it.
        tables: {split: paths}; the only split is None where the data set comes undivided.
        say: called with a line when the bytes go to disk.

    Raises:
        zoo.errors.UserError: if a file cannot be read or a row lacks its label.
    """

    def __init__(self, name: str, tables: dict[str | None, list[Path]],
                 say: Callable | None = None):
        self.name = name
        labels: list[str] = []
        sizes: list[int] = []
        counts = dict.fromkeys(tables, 0)
        with Growing("uint8", "images", say=say) as data:
            for split, files in tables.items():
                for file in files:
                    for image, label in _rows(file):
                        data.append(image)
                        sizes.append(len(image))
                        labels.append(label)
                        counts[split] += 1
            self._data = data.finish()
        self._ends = np.cumsum([0, *sizes])
        self.class_names = ordered_classes(labels)
        numbers = {label: number for number, label in enumerate(self.class_names)}
        self.labels = np.array([numbers[label] for label in labels], "int32")
        self.splits = consecutive({split: count for split, count in counts.items() if split})
        self.paths = _Names(name, len(labels))

    def read_file(self, path: str) -> bytes:
        index = _index(path)
        return self._data[self._ends[index]:self._ends[index + 1]].tobytes()

    def size(self, path: str) -> int:
        index = _index(path)
        return int(self._ends[index + 1] - self._ends[index])


class _Names(Sequence):
    """What messages call the images, photos.parquet[12]."""

    def __init__(self, name, count):
        self._name, self._count = name, count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        return f"{self._name}[{index}]"


def _index(name):
    return int(name[name.rindex("[") + 1:-1])


def _rows(file):
    """Yield (bytes, label); no bytes, as of other damaged images, where the image is missing."""
    data, image, label = parquet_image_columns(file)
    number = 0
    with parquet_file(file) as table:
        for batch in table.iter_batches(_ROWS, columns=[data, label]):
            images = batch.column(image) if data == image else batch.column(image).field("bytes")
            for content, name in zip(images.to_pylist(), batch.column(label).to_pylist(),
                                     strict=True):
                number += 1
                if name is None or not str(name).strip():
                    raise UserError(f"{file}, row {number}: expected an image and a label. "
                                    f"Received the label {name!r}.")
                yield content or b"", str(name).strip()
