"""Image files in class folders, of which there may be millions."""
import array
import bisect
import collections
import functools
import itertools
import os
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.data.checks.image_files import PROBLEMS, SUFFIXES, examine_files, memory_file
from zoo.training.data.checks.labels import (
    Finding,
    check_finding,
    class_findings,
    no_label_notes,
)
from zoo.training.data.source import SPLITS, Source, classes_file, is_hidden, ordered_classes

_THREADS = 16    # that read files at a time
_SIZES = 10_000  # files of a data set whose sizes count for its identity, at most


class FileList:
    """Paths as folders and, in one string of bytes, the names of their files: 30 bytes each."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._firsts = array.array("q")  # the index of the first file in each folder
        self._names, self._ends = bytearray(), array.array("q")

    def add(self, folder: str, names: Iterable[str]) -> None:
        """Append the files `names` in `folder`."""
        self._folders.append(folder)
        self._firsts.append(len(self))
        encoded = list(map(os.fsencode, names))
        ends = itertools.accumulate(map(len, encoded), initial=len(self._names))
        self._ends.extend(itertools.islice(ends, 1, None))
        self._names += b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        first = self._ends[index - 1] if index else 0
        name = os.fsdecode(bytes(self._names[first:self._ends[index]]))
        return join(self._folders[bisect.bisect_right(self._firsts, index) - 1], name)

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class Folders:
    """The folders of this machine; a subclass gives other ones."""

    def root(self, folder: str) -> str:
        """Return `folder` as its paths begin."""
        return str(Path(folder))

    def scan(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the sorted names of the visible folders and files in `folder`.

        Links are followed; those that cannot be followed count as files.

        Raises:
            zoo.errors.UserError: if the folder cannot be read.
        """
        folders, files = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    if _is(entry.is_dir):
                        folders.append(entry.name)
                    elif _is(entry.is_file) or not os.path.exists(entry.path):
                        files.append(entry.name)
        except OSError as error:
            raise UserError(f"Cannot read the folder {folder}: {error.strerror}.") from None
        return sorted(folders), sorted(files)

    def real(self, folder: str) -> str:
        """Return the path of `folder` without links."""
        return os.path.realpath(folder)

    def check(self, folder: str, files: list[str]) -> None:
        """Raise UserError if one of `files` is a link to nothing, where class folders are."""
        for name in files:
            path = join(folder, name)
            if os.path.islink(path) and not os.path.exists(path):
                raise UserError(f"{path} is a link to {os.readlink(path)}, which cannot be "
                                "reached. Expected a class folder; remove the link or mend it.")

    def read(self, path: str) -> bytes:
        """Return the content of a file; no bytes, as of other damaged ones, if it is unreadable."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def size(self, path: str) -> int:
        """Return the bytes of a file, -1 if they are unknown."""
        try:
            return os.path.getsize(path)
        except OSError:
            return -1


LOCAL = Folders()


def _is(kind):
    try:
        return kind()
    except OSError:  # a link that leads to itself
        return False


def join(folder: str, name: str) -> str:
    """Return the path of `name` in `folder`, as pathlib writes it."""
    return name if folder == "." else f"{folder.rstrip('/')}/{name}"


def add_below(files: FileList, folder: str, tree: Folders = LOCAL) -> None:
    """Append the visible files in `folder` and its subfolders to `files`, sorted by path.

    No folder is listed twice, nor one above `folder`.

    Raises:
        zoo.errors.UserError: if a folder cannot be read.
    """
    # A link that leads up would count the other classes in this one.
    seen = set(map(str, Path(tree.real(folder)).parents))

    def visit(folder):
        real = tree.real(folder)
        if real in seen:
            return
        seen.add(real)
        folders, names = tree.scan(folder)
        first = 0
        for name in folders:
            last = bisect.bisect(names, name)
            if last > first:
                files.add(folder, names[first:last])
            visit(join(folder, name))
            first = last
        files.add(folder, names[first:])
    visit(folder)


def with_suffix(names: Iterable[str], suffixes: Container[str]) -> list[str]:
    """Return those of `names` that end in one of `suffixes`, in upper or lower case."""
    return [name for name in names if Path(name).suffix.lower() in suffixes]


class ImageFiles(Source):
    """Image files of any kind; a subclass says where they are.

    Attributes:
        paths: of the files; what opens them is `read_file`.
    """

    kind, encoded, native_shape = "image", True, (None, None, 3)
    paths: Sequence[str] | FileList
    unlabelled: tuple[str, ...] = ()  # paths of images in a split that have no label

    def read_file(self, path: str) -> bytes:
        """Return the content of a file; no bytes, as of other damaged ones, if unreadable."""
        raise NotImplementedError

    def size(self, path: str) -> int:
        """Return the bytes of a file, -1 if they are unknown."""
        raise NotImplementedError

    @functools.cached_property
    def _pool(self):
        return ThreadPoolExecutor(_THREADS)

    def read(self, indices: np.ndarray) -> list[bytes]:
        return list(self._pool.map(self.read_file, [self.paths[index] for index in indices]))

    def identity(self, indices: np.ndarray) -> bytes:
        """Return the names of files below the data set, and the sizes of at most 10,000 of them."""
        paths = [self.paths[index] for index in indices]
        sized = paths
        if len(paths) > _SIZES:
            sized = [paths[place] for place in np.linspace(0, len(paths) - 1, _SIZES).astype(int)]
        names = "\0".join(path.removeprefix(self.name) for path in paths)
        return os.fsencode(names) + np.array([self.size(path) for path in sized]).tobytes()

    def example_name(self, index: int) -> str:
        return self.paths[index]

    def check(self, skip_bad: bool = False, listing_only: bool = False) -> None:
        findings = (class_findings(_Labels(self), self.class_names, classes_file(self.name))
                    if listing_only else self._examine(quick=True))
        for finding in [*self._unlabelled_errors(), *findings]:
            if not (skip_bad and finding.kind in PROBLEMS):
                check_finding(finding, self.name)

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
        errors = self._unlabelled_errors()
        notes = [] if errors else no_label_notes(self.left_out)
        memory = None if quick else memory_file(self.name)
        return [*errors, *self._examine(progress=progress, sample=quick, memory=memory), *notes]

    def _examine(self, **options):
        return examine_files(_Examples(self), classes=self.class_names, read=self.read_file,
                             classes_file=classes_file(self.name), **options)

    def _unlabelled_errors(self):
        if not self.unlabelled:
            return []
        return [Finding("no class", "error", f"{PROBLEMS['no class']}; such as "
                        f"{self.unlabelled[0]}", self.unlabelled)]


class _Examples(Sequence):
    """The (path, label, split) of all files, made when they are read."""

    def __init__(self, source):
        self._source, self._names = source, [None, *source.splits]
        self._splits = np.zeros(len(source), "int8")
        for number, indices in enumerate(source.splits.values(), start=1):
            self._splits[indices] = number

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        source = self._source
        return (source.paths[index], source.class_names[source.labels[index]],
                self._names[self._splits[index]])


    def counts(self) -> collections.Counter:
        """Return the numbers of examples by (split, label), in the order of the first of each."""
        classes = self._source.class_names
        pairs = self._splits.astype("int64") * len(classes) + self._source.labels
        pairs, firsts, counts = np.unique(pairs, return_index=True, return_counts=True)
        return collections.Counter({
            (self._names[pairs[place] // len(classes)], classes[pairs[place] % len(classes)]):
            int(counts[place]) for place in np.argsort(firsts)})


class _Labels(_Examples):
    """The same without paths, which take most of the time."""

    def __iter__(self):
        names = self._source.class_names
        for label, split in zip(self._source.labels.tolist(), self._splits.tolist(), strict=True):
            yield "", names[label], self._names[split]


class ImageFolder(ImageFiles):
    """A folder of class folders of images, with train, validation and test above or without.

    Args:
        folder: as the user names it.
        tree: what lists and reads it: an archive, for example.
    """

    def __init__(self, folder: str, tree: Folders = LOCAL):
        self.name, root = folder, tree.root(folder)
        self.read_file, self.size = tree.read, tree.size  # type: ignore[method-assign]
        self.paths, groups = _listed(root, tree)
        self.class_names = class_folder_names(root, tree)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        counts = [count for _, _, count in groups]
        self.labels = np.repeat(np.array([numbers[label] for label, _, _ in groups],
                                         "int32"), counts)
        given = np.repeat(np.array([split or "" for _, split, _ in groups]), counts)
        self.splits = {str(split): np.flatnonzero(given == split)
                       for split in np.unique(given) if split}
        loose = loose_files(root, SUFFIXES, tree)
        self.unlabelled = tuple(path for path, split in loose if split)
        self.left_out = loose_lines(path for path, _ in loose)


def _listed(folder, tree):
    """Return the files in class folders and (label, split, number of files) of each folder."""
    files, groups = FileList(), []
    for root, split in _roots(folder, tree):
        for name in _subfolders(root, tree):
            before = len(files)
            add_below(files, join(root, name), tree)
            groups.append((_label(name), split, len(files) - before))
    if not len(files):
        raise UserError(f"{folder} has no class folders with files; expected "
                        f"{folder}/[train|validation|test/]CLASS/IMAGE.")
    return files, groups


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
    files, groups = _listed(LOCAL.root(folder), LOCAL)
    labelled = (group for *group, count in groups for _ in range(count))
    return [(Path(path), label, split) for path, (label, split) in
            zip(files, labelled, strict=True)]


def class_folder_names(folder: str, tree: Folders = LOCAL) -> list[str]:
    """Return the names of all class folders, also of empty ones, in label order."""
    folder = folder if tree is not LOCAL else LOCAL.root(folder)
    return ordered_classes(_label(name) for root, _ in _roots(folder, tree)
                           for name in _subfolders(root, tree))


def _label(name):
    """The label of a class folder. macOS decomposes accents in names, other systems do not."""
    return unicodedata.normalize("NFC", name)


def _roots(folder, tree):
    """[(folder of class folders, split)]; the folder itself and None where it has no splits."""
    names = _subfolders(folder, tree)
    given = {name: SPLITS[name.lower()] for name in names if name.lower() in SPLITS}
    if given and len(given) < len(names):
        other = min(set(names) - set(given))
        raise UserError(f"{folder} has both splits ({', '.join(given)}) and {other!r}; expected "
                        "only splits, or only classes.")
    return [(join(folder, name), split) for name, split in given.items()] or [(folder, None)]


def _subfolders(folder, tree):
    """The names of the visible folders in `folder`, in label order."""
    names, files = tree.scan(folder)
    tree.check(folder, files)
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:  # results could not be written
            raise UserError(f"The name of the class folder {os.fsencode(name)!r} in {folder} is "
                            "not UTF-8. Rename the folder.") from None
    order = {label: number for number, label in enumerate(ordered_classes(map(_label, names)))}
    return sorted(names, key=lambda name: (order[_label(name)], name))


def loose_files(folder: str, suffixes: Container[str],
                tree: Folders = LOCAL) -> list[tuple[str, str | None]]:
    """List the files with one of `suffixes` that are in no class folder.

    Returns:
        (path, split) of each file; split is None beside the splits, or where there are none.
    """
    folder = folder if tree is not LOCAL else LOCAL.root(folder)
    roots = dict([(folder, None), *_roots(folder, tree)])
    return [(join(root, name), split) for root, split in roots.items()
            for name in with_suffix(tree.scan(root)[1], suffixes)]


def loose_lines(paths: Iterable[str]) -> list[str]:
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
    files = FileList()
    add_below(files, LOCAL.root(str(folder)))
    return [Path(path) for path in files]
