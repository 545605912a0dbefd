"""Image files in class folders."""
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.data.checks.image_files import PROBLEMS, examine_files
from zoo.training.data.checks.labels import Finding, check_finding
from zoo.training.data.source import SPLITS, Source, ordered_classes

_THREADS = 16  # that read files at a time


class ImageFolder(Source):
    """A folder of class folders of images, with train, validation and test above or without."""

    kind, encoded, native_shape = "image", True, (None, None, 3)

    def __init__(self, folder: str):
        self.name = folder
        self.files = list_class_folders(folder)
        self.class_names = class_folder_names(folder)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        self.labels = np.array([numbers[label] for _, label, _ in self.files], "int32")
        given = np.array([split or "" for _, _, split in self.files])
        self.splits = {str(split): np.flatnonzero(given == split)
                       for split in np.unique(given) if split}

    def read(self, indices: np.ndarray) -> list[bytes]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(_read_bytes, [self.files[index][0] for index in indices]))

    def example_name(self, index: int) -> str:
        return str(self.files[index][0])

    def check(self, skip_bad: bool = False) -> None:
        for finding in examine_files(self.files, quick=True, classes=self.class_names):
            if not (skip_bad and finding.kind in PROBLEMS):
                check_finding(finding, self.name)

    def examine(self, progress: Callable | None = None) -> list[Finding]:
        return examine_files(self.files, progress=progress, classes=self.class_names)


def _read_bytes(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # which cannot be decoded, like other damaged files


def list_class_folders(folder: str) -> list[tuple[Path, str, str | None]]:
    """List the files in class folders, with train, validation and test above them or without.

    Args:
        folder: path. Its class folders bear the names of the labels, and may have subfolders.
            Hidden files and folders do not count, nor do links to folders.

    Returns:
        (path, label, split) of each file, sorted by split, label and file name; split is "train",
        "validation" or "test", or None where the folder comes undivided.

    Raises:
        zoo.errors.UserError: if there are no class folders, or splits beside class folders.
    """
    files = [(path, label, split) for root, split in _roots(folder) for label in _subfolders(root)
             for path in sorted((root / label).rglob("*"))
             if path.is_file() and not _hidden(path.relative_to(root))]
    if not files:
        raise UserError(f"{folder} has no class folders with files; expected "
                        f"{folder}/[train|validation|test/]CLASS/IMAGE.")
    return files


def class_folder_names(folder: str) -> list[str]:
    """Return the names of all class folders, also of empty ones, in label order."""
    return ordered_classes(label for root, _ in _roots(folder) for label in _subfolders(root))


def _roots(folder):
    """[(folder of class folders, split)]; the folder itself and None where it has no splits."""
    names = _subfolders(Path(folder))
    given = {name: SPLITS[name.lower()] for name in names if name.lower() in SPLITS}
    if given and len(given) < len(names):
        other = min(set(names) - set(given))
        raise UserError(f"{folder} has both splits ({', '.join(given)}) and {other!r}; expected "
                        "only splits, or only classes.")
    return [(Path(folder) / name, split) for name, split in given.items()] or [(Path(folder), None)]


def _subfolders(folder):
    """The names of the visible folders in `folder`, in label order."""
    try:
        names = [path.name for path in folder.iterdir()
                 if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise UserError(f"Cannot read the folder {folder}: {error.strerror}.") from None
    return ordered_classes(names)


def _hidden(path):
    return any(name.startswith(".") for name in path.parts)
