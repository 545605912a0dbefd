"""Image files in class folders."""
import os
import unicodedata
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.data.checks.image_files import PROBLEMS, SUFFIXES, examine_files
from zoo.training.data.checks.labels import Finding, check_finding, no_label_notes
from zoo.training.data.source import (
    SPLITS,
    Source,
    classes_file,
    is_hidden,
    ordered_classes,
)

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
        loose = loose_files(folder, SUFFIXES)
        self._unlabelled = tuple(str(path) for path, split in loose if split)
        self.left_out = loose_lines(path for path, _ in loose)

    def read(self, indices: np.ndarray) -> list[bytes]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(_read_bytes, [self.files[index][0] for index in indices]))

    def example_name(self, index: int) -> str:
        return str(self.files[index][0])

    def check(self, skip_bad: bool = False) -> None:
        for finding in self._examine(quick=True):
            if not (skip_bad and finding.kind in PROBLEMS):
                check_finding(finding, self.name)

    def examine(self, progress: Callable | None = None) -> list[Finding]:
        return self._examine(progress=progress)

    def _examine(self, **options):
        findings = examine_files(self.files, classes=self.class_names,
                                 classes_file=classes_file(self.name), **options)
        if self._unlabelled:
            return [Finding("no class", "error", f"{PROBLEMS['no class']}; such as "
                            f"{self._unlabelled[0]}", self._unlabelled), *findings]
        return [*findings, *no_label_notes(self.left_out)]


def _read_bytes(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # which cannot be decoded, like other damaged files


def list_class_folders(folder: str) -> list[tuple[Path, str, str | None]]:
    """List the files in class folders, with train, validation and test above them or without.

    Args:
        folder: path. Its class folders bear the names of the labels, and may have subfolders.
            Hidden files and folders, and what Windows and macOS leave in folders, do not count.
            Links are followed; a folder that is reached in several ways counts once in each class.

    Returns:
        (path, label, split) of each file, sorted by split, label and file name; split is "train",
        "validation" or "test", or None where the folder comes undivided.

    Raises:
        zoo.errors.UserError: if there are no class folders, or splits beside class folders.
    """
    files = [(path, _label(name), split) for root, split in _roots(folder)
             for name in _subfolders(root) for path in files_below(root / name)]
    if not files:
        raise UserError(f"{folder} has no class folders with files; expected "
                        f"{folder}/[train|validation|test/]CLASS/IMAGE.")
    return files


def class_folder_names(folder: str) -> list[str]:
    """Return the names of all class folders, also of empty ones, in label order."""
    return ordered_classes(_label(name) for root, _ in _roots(folder)
                           for name in _subfolders(root))


def _label(name):
    """The label of a class folder. macOS decomposes accents in names, other systems do not."""
    return unicodedata.normalize("NFC", name)


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
    paths = _visible(folder)
    dangling = [path for path in paths if path.is_symlink() and not os.path.exists(path)]
    if dangling:
        raise UserError(f"{dangling[0]} is a link to {os.readlink(dangling[0])}, which cannot be "
                        "reached. Expected a class folder; remove the link or mend it.")
    names = [path.name for path in paths if path.is_dir()]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:  # results could not be written
            raise UserError(f"The name of the class folder {os.fsencode(name)!r} in {folder} is "
                            "not UTF-8. Rename the folder.") from None
    order = {label: number for number, label in enumerate(ordered_classes(map(_label, names)))}
    return sorted(names, key=lambda name: (order[_label(name)], name))


def _visible(folder):
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    except OSError as error:
        raise UserError(f"Cannot read the folder {folder}: {error.strerror}.") from None


def loose_files(folder: str, suffixes: Container[str]) -> list[tuple[Path, str | None]]:
    """List the files with one of `suffixes` that are in no class folder.

    Returns:
        (path, split) of each file; split is None beside the splits, or where there are none.
    """
    roots = dict([(Path(folder), None), *_roots(folder)])
    return [(path, split) for root, split in roots.items() for path in _visible(root)
            if path.suffix.lower() in suffixes and not path.is_dir()]


def loose_lines(paths: Iterable[Path]) -> list[str]:
    """Return the line, if any, that says which files in no class folder do not count."""
    paths = list(paths)
    return [f"Left out, as they are in no class folder: {len(paths):,} files, such as {path}"
            for path in paths[:1]]


def files_below(folder: Path) -> list[Path]:
    """List the visible files in `folder` and its subfolders, sorted by path.

    Links are followed, but no folder is listed twice, nor one above `folder`. Links that cannot be
    followed count as files.

    Raises:
        zoo.errors.UserError: if a folder cannot be read.
    """
    def fail(error):
        raise UserError(f"Cannot read the folder {error.filename}: {error.strerror}.") from None

    # A link that leads up would count the other classes in this one.
    files, seen = [], set(map(str, Path(os.path.realpath(folder)).parents))
    for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        paths = [Path(root, name) for name in names if not is_hidden(name)]
        files += [path for path in paths if os.path.isfile(path) or not os.path.exists(path)]
    return sorted(files)
