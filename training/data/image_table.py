"""Tables of the paths of image files and their labels."""
import functools
import os
from pathlib import Path

import numpy as np

from zoo.startup import quiet_import
from zoo.training.data.image_folder import LOCAL, Folders, ImageFiles
from zoo.training.data.sentences import PATH_COLUMNS, read_table
from zoo.training.data.source import consecutive, ordered_classes


class ImageTable(ImageFiles):
    """Tables (CSV, TSV or Parquet) with a column of paths and one of labels.

    Paths are relative to the folder of their table, absolute, or such as gs://bucket/cat.jpg.

    Args:
        name: the table or the folder of tables, as the user names it.
        tables: {split: paths}; the only split is None where the data set comes undivided.

    Raises:
        zoo.errors.UserError: if a table cannot be read; the line is named.
    """

    def __init__(self, name: str, tables: dict[str | None, list[Path]]):
        self.name = name
        paths: list[str] = []
        labels: list[str] = []
        counts = dict.fromkeys(tables, 0)
        for split, files in tables.items():
            for file in files:
                rows = read_table(file, text_columns=PATH_COLUMNS)
                paths += [_located(file.parent, path) for _, path, _ in rows]
                labels += [label for _, _, label in rows]
                counts[split] += len(rows)
        self.paths = paths
        self.class_names = ordered_classes(labels)
        numbers = {label: number for number, label in enumerate(self.class_names)}
        self.labels = np.array([numbers[label] for label in labels], "int32")
        self.splits = consecutive({split: count for split, count in counts.items() if split})

    def read_file(self, path: str) -> bytes:
        return (_remote() if "://" in path else LOCAL).read(path)

    def size(self, path: str) -> int:
        return (_remote() if "://" in path else LOCAL).size(path)


@functools.cache
def _remote() -> Folders:
    with quiet_import():  # of TensorFlow
        from zoo.training.data.remote import Remote
    return Remote()


def _located(folder, path):
    return path if "://" in path else os.path.join(folder, path.strip())
