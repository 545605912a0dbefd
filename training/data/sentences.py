"""Labelled sentences from files: CSV and TSV tables, folders of tables, folders of text files."""
import collections
import csv
import io
import unicodedata
from pathlib import Path

from zoo.errors import UserError
from zoo.training.data import sources

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment")
LABEL_COLUMNS = ("label", "class", "sentiment", "category", "target", "polarity")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read(path):
    """Read labelled sentences.

    Args:
        path: of a CSV or TSV file, whose first row names a text and a label column (see `rows`); of a folder with such files
            named train, validation and test; or of a folder of class folders of UTF-8 .txt files, with or without train,
            validation and test above them.

    Returns:
        {"train": (texts, labels), ...}: lists of str of the same length, the texts in NFC. Without given parts all is "train".

    Raises:
        zoo.errors.UserError: if something cannot be read; the file and the line are named.
    """
    return {split or "train": _columns(found) for split, found in listing(path).items()}


def listing(path):
    """Return what `read` reads with where it stands: {split: [(line number or file, text, label), ...]}.

    The split is None where there are no given parts.
    """
    path = Path(path)
    if path.suffix.lower() in _DELIMITERS:
        return {None: rows(path)}
    if given := tables(path):
        return {split: rows(file) for split, file in given.items()}
    parts = collections.defaultdict(list)
    for file, label, split in sources.files(path):
        if file.suffix.lower() != ".txt":
            raise UserError(f"{file} is no .txt file; expected {path}/[train|validation|test/]CLASS/NAME.txt.")
        parts[split].append((str(file), unicodedata.normalize("NFC", utf8(file)).strip(), label))
    return dict(parts)


def tables(folder):
    """Return {split: path} of the CSV and TSV files in a folder that are named as its parts; no such file, no table.

    Raises:
        zoo.errors.UserError: if another table lies beside them.
    """
    found = sorted(file for file in Path(folder).glob("*") if file.suffix.lower() in _DELIMITERS)
    given = {sources.SPLITS[file.stem.lower()]: file for file in found if file.stem.lower() in sources.SPLITS}
    if given and len(given) < len(found):
        odd = min(set(found) - set(given.values()))
        raise UserError(f"{odd} belongs to no part; expected tables named train, validation and test.")
    return given


def rows(path):
    """Return the (line, text, label) triples of a CSV or TSV file as a list, in the order of the file; line is a row's last.

    The first row names the columns: one of `TEXT_COLUMNS` and one of `LABEL_COLUMNS`, whatever their case, among any others;
    of two columns, one such name is enough. CSV is quoted as in RFC 4180; TSV has no quotes. Blank lines do not count.

    Raises:
        zoo.errors.UserError: if the file cannot be read, is not UTF-8, lacks the columns, or a row lacks a column.
    """
    path = Path(path)
    tsv = path.suffix.lower() == ".tsv"
    reader = csv.reader(io.StringIO(utf8(path), newline=""), strict=True, delimiter="\t" if tsv else ",",
                        quoting=csv.QUOTE_NONE if tsv else csv.QUOTE_MINIMAL)
    try:
        head = next(reader, [])
        text, label = _places(path, head)
        found = []
        for row in filter(None, reader):
            if len(row) != len(head) or not row[label].strip():
                raise UserError(f"{path}, line {reader.line_num}: expected {len(head)} columns with a {head[label]}. "
                                f"Received: {','.join(row)[:60]!r}.")
            found.append((reader.line_num, unicodedata.normalize("NFC", row[text]), row[label].strip()))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from None
    if not found:
        raise UserError(f"{path} holds no sentences.")
    return found


def _places(path, head):
    """The numbers of the text and the label column."""
    names = [name.strip().lower() for name in head]
    text, label = (next((names.index(name) for name in known if name in names), None)
                   for known in (TEXT_COLUMNS, LABEL_COLUMNS))
    if len(names) == 2 and (text, label) != (None, None):
        text, label = (1 - label if text is None else text), (1 - text if label is None else label)
    if text is None or label is None:
        raise UserError(f"{path}, line 1: expected the names of the columns, a text ({', '.join(TEXT_COLUMNS)}) and a label "
                        f"({', '.join(LABEL_COLUMNS)}). Received: {', '.join(head)[:60] or 'nothing'}.")
    return text, label


def utf8(path):
    """Return the text of a UTF-8 file; what is none is refused with its line."""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save the file as UTF-8.") from None


def _columns(found):
    _, texts, labels = zip(*found, strict=True)
    return list(texts), list(labels)
