"""Labelled sentences from files: CSV and TSV tables, folders of tables, folders of text files."""
import collections
import csv
import functools
import io
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.data.checks.image_files import SUFFIXES
from zoo.training.data.checks.labels import Finding, check_finding, no_label_notes
from zoo.training.data.checks.sentences import examine_rows
from zoo.training.data.image_folder import (
    class_folder_names,
    files_below,
    list_class_folders,
    loose_files,
    loose_lines,
)
from zoo.training.data.source import (
    SPLITS,
    Source,
    classes_file,
    consecutive,
    is_hidden,
    ordered_classes,
)
from zoo.training.files import read_utf8

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment")
LABEL_COLUMNS = ("label", "class", "sentiment", "category", "target", "polarity")
_PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image",
                 "image_path", "img", "img_path")
_TABLES = (".csv", ".tsv")

Row = tuple[int | str, str, str]  # (line number or name, text, label)
Rows = Mapping[str | None, Sequence[Row]]  # by split; the only one is None where it is undivided


class Sentences(Source):
    """Sentences in memory, read when first needed; a subclass gives `rows`."""

    kind = "text"

    def __init__(self, name: str):
        self.name = name

    @functools.cached_property
    def rows(self) -> Rows:
        """All sentences."""
        raise NotImplementedError

    @functools.cached_property
    def _flat(self):
        return [row for rows in self.rows.values() for row in rows]

    @functools.cached_property
    def class_names(self) -> list[str]:
        return ordered_classes(label for _, _, label in self._flat)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return np.array([numbers[label] for _, _, label in self._flat], "int32")

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        if None in self.rows:
            return {}
        return consecutive({split: len(rows) for split, rows in self.rows.items() if split})

    def read(self, indices: np.ndarray) -> list[str]:
        return [self._flat[index][1] for index in indices]

    def check(self, skip_bad: bool = False) -> None:
        for finding in self._examine(quick=True):
            check_finding(finding, self.name)

    def examine(self, progress: Callable | None = None) -> list[Finding]:
        return self._examine()

    def _examine(self, quick=False):
        rows = ((where, text, label, split) for split, rows in self.rows.items()
                for where, text, label in rows)
        return examine_rows(rows, self._expected, quick, classes_file(self.name))

    @property
    def _expected(self):
        """The labels that should have sentences, besides those that have."""
        return []


class SentenceTable(Sentences):
    """A CSV or TSV file, or a folder of such files named train, validation and test."""

    @functools.cached_property
    def rows(self) -> Rows:
        return {split: read_table(file) for split, file in list_tables(Path(self.name)).items()}


class TextFolder(Sentences):
    """A folder of class folders of UTF-8 .txt files, with train, validation and test or without."""

    @functools.cached_property
    def rows(self) -> Rows:
        splits = collections.defaultdict(list)
        for file, label, split in list_class_folders(self.name):
            if file.suffix.lower() != ".txt":
                raise UserError(f"{file} is not a .txt file; expected "
                                f"{self.name}/[train|validation|test/]CLASS/NAME.txt.")
            text = unicodedata.normalize("NFC", read_utf8(file)).strip()
            splits[split].append((str(file), text, label))
        for file, split in loose_files(self.name, (".txt",)):
            if split and split not in splits:
                raise UserError(f"{file} is in no class folder; expected "
                                f"{file.parent}/CLASS/NAME.txt.")
        return dict(splits)

    @functools.cached_property
    def left_out(self) -> list[str]:
        return loose_lines(path for path, split in loose_files(self.name, (".txt",)) if split)

    def examine(self, progress: Callable | None = None) -> list[Finding]:
        return [*super().examine(progress), *no_label_notes(self.left_out)]

    @property
    def _expected(self):
        return class_folder_names(self.name)


def is_text_folder(path: Path) -> bool:
    """Return whether the class folders in `path` have .txt files and no images."""
    suffixes = set().union(*_suffixes(path).values())
    return ".txt" in suffixes and suffixes.isdisjoint(SUFFIXES)


def _suffixes(folder):
    """{subfolder: the set of suffixes in it}."""
    return {path.name: {file.suffix.lower() for file in files_below(path)}
            for path in folder.glob("*") if path.is_dir() and not is_hidden(path.name)}


def check_only_tables(folder: Path, tables: Iterable[Path]) -> None:
    """Raise UserError if `folder` has class folders of images or texts beside its `tables`."""
    suffixes = _suffixes(folder)
    images = [name for name, each in suffixes.items() if not each.isdisjoint(SUFFIXES)]
    texts = [name for name, each in suffixes.items() if ".txt" in each]
    if images or len(texts) > 1:
        table = min(tables)
        raise UserError(f"{folder} has both the table {table.name} and the folder "
                        f"{min(images or texts)} of examples; expected tables or class folders. "
                        f"Name the table, {table}, or move it elsewhere.")


def list_tables(path: Path) -> dict[str | None, Path]:
    """Return {None: path} of a table, or {split: path} of the tables in a folder named as splits.

    Raises:
        zoo.errors.UserError: if there is another table beside those.
    """
    if path.suffix.lower() in _TABLES:
        return {None: path}
    tables = sorted(file for file in path.glob("*") if file.suffix.lower() in _TABLES)
    given: dict[str | None, Path] = {SPLITS[file.stem.lower()]: file for file in tables
                                     if file.stem.lower() in SPLITS}
    if given and len(given) < len(tables):
        other = min(set(tables) - set(given.values()))
        raise UserError(f"{other} belongs to no split; expected tables named train, validation and "
                        "test.")
    return given


def read_table(path: Path) -> list[tuple[int, str, str]]:
    """Return (line, text, label) of each row of a CSV or TSV file; line is the last of the row.

    The first row names the columns: one of `TEXT_COLUMNS` and one of `LABEL_COLUMNS`, in upper or
    lower case, among any others; of two columns, one such name is enough. The columns of a CSV file
    may be separated by semicolons or tabs. Quotes are those of RFC
    4180, as Excel and pandas write them; in TSV they are ordinary characters if one of them breaks
    these rules, or if rows would get lost. Blank lines are skipped, texts and labels are composed
    (NFC).

    Raises:
        zoo.errors.UserError: if the file cannot be read, is not UTF-8, lacks the columns, or a row
            lacks a column; the line is named.
    """
    text = read_utf8(path)
    if path.suffix.lower() != ".tsv":
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)  # Excel writes ; where , is the decimal point
        return _read_rows(path, text, delimiter, csv.QUOTE_MINIMAL)
    readings, errors = [], []
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        try:
            readings.append(_read_rows(path, text, "\t", quoting))
        except UserError as error:
            errors.append(error)
    if not readings:
        raise errors[-1]
    # A quote that opens one sentence and another that closes a later one take in what is between.
    return max(readings, key=len)


def _read_rows(path, text, delimiter, quoting):
    limit = csv.field_size_limit(len(text) + 1)  # of all readers
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter,
                        quoting=quoting)
    try:
        head = next(reader, [])
        text_column, label_column = _columns(path, head)
        rows = []
        for row in filter(None, reader):
            if len(row) != len(head) or not row[label_column].strip():
                raise UserError(f"{path}, line {reader.line_num}: expected {len(head)} columns "
                                f"with a {head[label_column]}. "
                                f"Received: {','.join(row)[:60]!r}.")
            rows.append((reader.line_num, unicodedata.normalize("NFC", row[text_column]),
                         unicodedata.normalize("NFC", row[label_column]).strip()))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from None
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise UserError(f"{path} has no sentences.")
    return rows


def _columns(path, head):
    """The indices of the text and the label column."""
    names = [name.strip().lower() for name in head]
    text, label = (next((names.index(name) for name in choices if name in names), None)
                   for choices in (TEXT_COLUMNS, LABEL_COLUMNS))
    files = next((name for name in head if name.strip().lower() in _PATH_COLUMNS), None)
    if text is None and files is not None:
        raise UserError(f"{path}: its column {files!r} names files, and tables of image files are "
                        "not supported. Sort the images into class folders, FOLDER/CLASS/IMAGE.")
    if len(names) == 2 and text is None and label is not None:
        text = 1 - label
    elif len(names) == 2 and label is None and text is not None:
        label = 1 - text
    if text is None or label is None:
        raise UserError(f"{path}, line 1: expected the names of the columns, a text "
                        f"({', '.join(TEXT_COLUMNS)}) and a label ({', '.join(LABEL_COLUMNS)}). "
                        f"Received: {', '.join(head)[:60] or 'nothing'}.")
    return text, label
