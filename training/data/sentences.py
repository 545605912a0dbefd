"""Labelled sentences from files: tables, folders of tables, folders of text files."""
import bisect
import collections
import contextlib
import csv
import functools
import glob
import gzip
import itertools
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UserError
from zoo.training.data.checks.image_files import SUFFIXES
from zoo.training.data.checks.labels import Finding, check_finding, no_label_notes
from zoo.training.data.checks.sentences import examine_labels, examine_rows
from zoo.training.data.growing import TextRows
from zoo.training.data.image_folder import (
    class_folder_names,
    files_below,
    list_class_folders,
    loose_files,
    loose_lines,
)
from zoo.training.data.names import TABLES, is_pattern
from zoo.training.data.source import (
    SPLITS,
    Source,
    classes_file,
    consecutive,
    is_hidden,
    ordered_classes,
)
from zoo.training.files import decode_utf8, read_utf8

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment")
LABEL_COLUMNS = ("label", "class", "sentiment", "category", "target", "polarity")
PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image",
                 "image_path", "img", "img_path")
_PART = 1 << 20           # characters read at a time
_BINARY = ("binary", "large_binary")
_LONGEST = (1 << 31) - 1  # characters in a field; csv takes no larger number on every system

Rows = Mapping[str | None, TextRows]  # by split; the only one is None where it is undivided


class Sentences(Source):
    """Sentences, read once, when first needed; a subclass gives `rows`.

    Attributes:
        say: called with a line of progress while they are read; None for no lines.
    """

    kind = "text"
    say: Callable | None = None

    def __init__(self, name: str):
        self.name = name

    @functools.cached_property
    def rows(self) -> Rows:
        """All sentences."""
        raise NotImplementedError

    @functools.cached_property
    def class_names(self) -> list[str]:
        return ordered_classes(name for rows in self.rows.values() for name in rows.label_names)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return np.concatenate([
            np.array([numbers[name] for name in rows.label_names], "int32")[rows.label_numbers]
            for rows in self.rows.values()])

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        if None in self.rows:
            return {}
        return consecutive({split: len(rows) for split, rows in self.rows.items() if split})

    def read(self, indices: np.ndarray) -> list[str]:
        return [text.decode() for text in self.raw(indices)]

    def raw(self, indices: np.ndarray) -> list[bytes]:
        tables = list(self.rows.values())
        starts = [0, *itertools.accumulate(map(len, tables))]
        texts = []
        for index in indices.tolist():
            table = bisect.bisect_right(starts, index) - 1
            texts.append(tables[table].raw(index - starts[table]))
        return texts

    def check(self, skip_bad: bool = False, listing_only: bool = False) -> None:
        for finding in self._examine(quick=True):
            check_finding(finding, self.name)

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
        return self._examine()

    def _examine(self, quick=False):
        if quick:
            return examine_labels(self.rows, self._expected, classes_file(self.name))
        rows = ((where, text, label, split) for split, rows in self.rows.items()
                for where, text, label in rows)
        return examine_rows(rows, self._expected, classes_file(self.name))

    @property
    def _expected(self):
        """The labels that should have sentences, besides those that have."""
        return []


class SentenceTable(Sentences):
    """A table, see `read_table`, or a folder of tables, see `list_tables`."""

    @functools.cached_property
    def rows(self) -> Rows:
        return {split: read_tables(files, self.say)
                for split, files in list_tables(Path(self.name)).items()}


class TextFolder(Sentences):
    """A folder of class folders of UTF-8 .txt files, with train, validation and test or without."""

    @functools.cached_property
    def rows(self) -> Rows:
        splits = collections.defaultdict(list)
        for file, label, split in list_class_folders(self.name):
            if file.suffix.lower() != ".txt":
                raise UserError(f"{file} is not a .txt file; expected "
                                f"{self.name}/[train|validation|test/]CLASS/NAME.txt.")
            splits[split].append((file, label))
        for loose, split in loose_files(self.name, (".txt",)):
            if split and split not in splits:
                raise UserError(f"{loose} is in no class folder; expected "
                                f"{Path(loose).parent}/CLASS/NAME.txt.")
        return {split: TextRows(map(_file_row, files), self.say)
                for split, files in splits.items()}

    @functools.cached_property
    def left_out(self) -> list[str]:
        return loose_lines(path for path, split in loose_files(self.name, (".txt",)) if split)

    def examine(self, progress: Callable | None = None, quick: bool = False) -> list[Finding]:
        return [*super().examine(progress), *no_label_notes(self.left_out)]

    @property
    def _expected(self):
        return class_folder_names(self.name)


def _file_row(labelled):
    file, label = labelled
    return str(file), unicodedata.normalize("NFC", read_utf8(file)).strip(), label


def is_text_folder(path: Path) -> bool:
    """Return whether the class folders in `path` have .txt files and no images."""
    has_texts = False
    for folder in path.glob("*"):  # up to the first image, as there may be a million
        if folder.is_dir() and not is_hidden(folder.name):
            suffixes = {file.suffix.lower() for file in files_below(folder)}
            if not suffixes.isdisjoint(SUFFIXES):
                return False
            has_texts |= ".txt" in suffixes
    return has_texts


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


def table_suffix(path: Path) -> str:
    """Return the suffix by which a file is a table, ".csv.gz" for example; "" if it is none."""
    return next((suffix for suffix in TABLES if path.name.lower().endswith(suffix)), "")


def list_tables(path: Path) -> dict[str | None, list[Path]]:
    """Return the tables that make up each split; the only split is None where there are none.

    Args:
        path: a table; a folder of tables named train, validation and test; or a folder or a pattern
            (reviews/*.parquet) of Parquet files, whose names may begin with a split, as in
            train-00000-of-00004.parquet.

    Raises:
        zoo.errors.UserError: if there is another table beside those of splits.
    """
    if table_suffix(path) and not is_pattern(str(path)):
        return {None: [path]}
    found = map(Path, glob.glob(str(path))) if is_pattern(str(path)) else path.glob("*")
    tables = sorted(file for file in found if table_suffix(file))
    given: dict[str | None, list[Path]] = collections.defaultdict(list)
    for file in tables:
        split = _split_of(file)
        if split:
            given[split].append(file)
    if not given:
        is_whole = all(table_suffix(file) == ".parquet" for file in tables) and not any(
            each.is_dir() and not is_hidden(each.name) for each in path.glob("*"))
        return {None: tables} if tables and is_whole else {}
    others = sorted(set(tables) - set(itertools.chain(*given.values())))
    if others:
        raise UserError(f"{others[0]} belongs to no split; expected tables named train, validation "
                        "and test.")
    return dict(given)


def _split_of(table):
    """The split that the name of a table says, or None."""
    stem = table.name[:-len(table_suffix(table))].lower()
    if table_suffix(table) == ".parquet":
        stem = re.split(r"[^a-z]", stem)[0]
    return SPLITS.get(stem)


def names_files(path: Path) -> bool:
    """Return whether a table has a column of paths, and none of texts."""
    if table_suffix(path) == ".parquet":
        with parquet_file(path) as file:
            head = file.schema_arrow.names
    else:
        with _opened(path) as file:
            head = re.split(r'[,;\t"]', file.readline())
    names = {name.strip().lower() for name in head}
    return names.isdisjoint(TEXT_COLUMNS) and not names.isdisjoint(PATH_COLUMNS)


def read_table(path: Path, say: Callable | None = None,
               text_columns: Sequence[str] = TEXT_COLUMNS) -> TextRows:
    """Return the rows of a table: (line, text, label), line is the last of the row.

    The first row names the columns: one of `text_columns` and one of `LABEL_COLUMNS`, in upper or
    lower case, among any others; of two columns, one such name is enough. The columns of a CSV file
    may be separated by semicolons or tabs. Quotes are those of RFC
    4180, as Excel and pandas write them; in TSV they are ordinary characters if one of them breaks
    these rules, or if rows would get lost. Blank lines are skipped, texts and labels are composed
    (NFC). Both may be compressed by gzip. The rows of a Parquet file count as lines, from 1 on.

    Args:
        path: a file that `table_suffix` knows.
        say: called with a line of progress every few seconds.

    Raises:
        zoo.errors.UserError: if the file cannot be read, is not UTF-8, lacks the columns, or a row
            lacks a column; the line is named.
    """
    suffix = table_suffix(path)
    if suffix == ".parquet":
        rows = TextRows(_parquet_rows(path, text_columns), say)
    elif suffix.startswith(".tsv"):
        rows = _read_tsv(path, say, text_columns)
    else:
        with _opened(path) as file:
            head = file.readline()
        delimiter = max(",;\t", key=head.count)  # Excel writes ; where , is the decimal point
        rows = TextRows(_rows(path, delimiter, csv.QUOTE_MINIMAL, text_columns), say)
    if not len(rows):
        raise UserError(f"{path} has no sentences.")
    return rows


def read_tables(paths: Sequence[Path], say: Callable | None = None) -> TextRows:
    """Return the rows of the tables that make up a split; those of several have names.

    Raises:
        zoo.errors.UserError: see `read_table`.
    """
    if len(paths) == 1:
        return read_table(paths[0], say)
    rows = TextRows(((f"{path.name}, row {row}", text, label) for path in paths
                     for row, text, label in _parquet_rows(path, TEXT_COLUMNS)), say)
    if not len(rows):
        raise UserError(f"{paths[0]} and {len(paths) - 1} more have no sentences.")
    return rows


def _read_tsv(path, say, text_columns):
    quoted, unquoted = (functools.partial(_rows, path, "\t", quoting, text_columns)
                        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE))
    with _opened(path) as file:
        has_quotes = any('"' in part for part in iter(functools.partial(file.read, _PART), ""))
    if not has_quotes:
        return TextRows(unquoted(), say)
    try:
        rows = TextRows(quoted(), say)
    except UserError:
        return TextRows(unquoted(), say)
    try:
        # A quote that opens one sentence and another that closes a later one take in what is
        # between.
        lost = sum(1 for _ in unquoted()) > len(rows)
    except UserError:
        lost = False
    return TextRows(unquoted(), say) if lost else rows


@contextlib.contextmanager
def _opened(path):
    """The text of a file, plain or compressed by gzip; UserError where it cannot be read."""
    compressed = path.suffix.lower() == ".gz"
    try:
        with (gzip.open if compressed else open)(path, "rt", encoding="utf-8-sig",
                                                 newline="") as file:
            yield file
    except UnicodeDecodeError:
        with (gzip.open if compressed else open)(path, "rb") as file:
            decode_utf8(file.read(), path)  # names the line
        raise
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"Cannot read {path} as gzip: {error}.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None


def _rows(path, delimiter, quoting, text_columns):
    """Yield (line, text, label)."""
    limit = csv.field_size_limit(_LONGEST)  # of all readers
    try:
        with _opened(path) as file:
            reader = csv.reader(file, strict=True, delimiter=delimiter, quoting=quoting)
            try:
                head = next(reader, [])
                text_column, label_column = _columns(path, head, text_columns)
                for row in filter(None, reader):
                    if len(row) != len(head) or not row[label_column].strip():
                        raise UserError(f"{path}, line {reader.line_num}: expected {len(head)} "
                                        f"columns with a {head[label_column]}. "
                                        f"Received: {','.join(row)[:60]!r}.")
                    yield (reader.line_num, _composed(row[text_column], text_columns),
                           unicodedata.normalize("NFC", row[label_column]).strip())
            except csv.Error as error:
                raise UserError(f"{path}, line {reader.line_num}: {error}.") from None
    finally:
        csv.field_size_limit(limit)


def _composed(text, columns):
    """A text is composed; a path is spelled as its file system spells it."""
    return unicodedata.normalize("NFC", text) if columns is TEXT_COLUMNS else text


@contextlib.contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """The open Parquet file; UserError where it cannot be read."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise UserError(f"{path} is a Parquet file, which pyarrow reads, and pyarrow is not "
                        "installed: pip install pyarrow, or save the table as CSV.") from None
    except ImportError as error:  # such as a pyarrow for another NumPy
        raise UserError(f"{path} is a Parquet file, and pyarrow cannot be imported: {error}. Save "
                        "the table as CSV, or install another pyarrow.") from None
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"Cannot read {path} as Parquet: {reason}.") from None


def holds_bytes(path: Path) -> bool:
    """Return whether the images of a table are in it, as bytes, not in files that it names."""
    return table_suffix(path) == ".parquet" and bool(parquet_image_columns(path)[0])


def parquet_image_columns(path: Path) -> tuple[str, str, str]:
    """Return where a Parquet file has its images: the columns of their bytes, paths and labels.

    Bytes are a column of binaries, or the field "bytes" of a column, as Hugging Face writes images;
    "" where there are none.

    Raises:
        zoo.errors.UserError: if the file cannot be read or lacks the columns.
    """
    with parquet_file(path) as file:
        names = file.schema_arrow.names
        image, label = (names[column] for column in _columns(path, names, PATH_COLUMNS))
        kind = str(file.schema_arrow.field(image).type)
    inside = f"{image}.bytes" if kind.startswith("struct<bytes: ") else ""
    return (image if kind in _BINARY else inside), image, label


def _parquet_rows(path, text_columns):
    """Yield (row, text, label)."""
    number = 0
    with parquet_file(path) as file:
        names = file.schema_arrow.names
        columns = [names[column] for column in _columns(path, names, text_columns)]
        try:
            for batch in file.iter_batches(4096, columns=columns):
                values = [batch.column(name).to_pylist() for name in columns]
                for text, label in zip(*values, strict=True):
                    number += 1
                    named = "" if label is None else str(label).strip()
                    if not isinstance(text, str) or not named:
                        raise UserError(f"{path}, row {number}: expected a text and a label. "
                                        f"Received: {str(text)[:60]!r} and {label!r}.")
                    yield (number, _composed(text, text_columns),
                           unicodedata.normalize("NFC", named))
        except UnicodeDecodeError:
            raise UserError(f"{path}, after row {number}: a text is not UTF-8.") from None


def _columns(path, head, text_columns):
    """The indices of the text and the label column."""
    names = [name.strip().lower() for name in head]
    text, label = (next((names.index(name) for name in choices if name in names), None)
                   for choices in (text_columns, LABEL_COLUMNS))
    if text is None and text_columns is TEXT_COLUMNS and not set(names).isdisjoint(PATH_COLUMNS):
        raise UserError(f"{path}, line 1: expected a column of texts ({', '.join(TEXT_COLUMNS)}). "
                        f"Received a column of paths: {', '.join(head)[:60]}.")
    if len(names) == 2 and text is None and label is not None:
        text = 1 - label
    elif len(names) == 2 and label is None and text is not None:
        label = 1 - text
    if text is None or label is None:
        raise UserError(f"{path}, line 1: expected the names of the columns, a text "
                        f"({', '.join(text_columns)}) and a label ({', '.join(LABEL_COLUMNS)}). "
                        f"Received: {', '.join(head)[:60] or 'nothing'}.")
    return text, label
