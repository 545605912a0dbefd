"""What is wrong with labelled sentences."""
import collections
from collections.abc import Iterable, Mapping
from pathlib import Path

from zoo.training.data.checks.labels import Finding, class_findings, digest, errors_first, repeated
from zoo.training.data.growing import TextRows
from zoo.training.preprocessing.tokens import normalize


def examine_labels(rows: Mapping[str | None, TextRows], classes: Iterable[str] = (),
                   classes_file: Path | None = None) -> list[Finding]:
    """Examine labels and counts alone, of rows by split; see `examine_rows`."""
    return errors_first(class_findings(_Named(rows), classes, classes_file))


class _Named:
    """(name, label, split) of each row, made anew for each reader."""

    def __init__(self, rows):
        self._rows = rows

    def __iter__(self):
        for split, rows in self._rows.items():
            for place, label in rows.examples():
                yield _name(place, split), label, split


def _name(place, split):
    if isinstance(place, str):
        return place
    return f"{split}, line {place}" if split else f"line {place}"


def examine_rows(rows: Iterable[tuple], classes: Iterable[str] = (),
                 classes_file: Path | None = None) -> list[Finding]:
    """Examine labelled sentences.

    Sentences are the same if they differ only in case, space, Unicode form or what is invisible.

    Args:
        rows: (line number or name, text, label, split) tuples; split is None where the data set
            comes undivided.
        classes: the expected labels, those without a sentence included.
        classes_file: see `zoo.training.data.checks.labels.class_findings`.

    Returns:
        A list of `Finding`, errors first; its files are rows, such as "train, line 7".
    """
    same, empty, named = collections.defaultdict(list), [], []
    for place, text, label, split in rows:
        named.append((_name(place, split), label, split))
        plain = " ".join(normalize(text).casefold().split())
        if plain:
            same[digest(plain.encode(errors="replace"))].append(named[-1])
        else:
            empty.append(named[-1][0])
    findings = []
    if empty:
        findings.append(Finding("empty text", "note",
                                f"a label without a sentence; such as {empty[0]}", tuple(empty)))
    return errors_first([*findings, *repeated(same, "sentence"),
                         *class_findings(named, classes, classes_file)])
