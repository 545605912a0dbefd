"""What is wrong with labelled sentences."""
import collections
from collections.abc import Iterable
from pathlib import Path

from zoo.training.data.checks.labels import Finding, class_findings, digest, errors_first, repeated
from zoo.training.preprocessing.tokens import normalize


def examine_rows(rows: Iterable[tuple], classes: Iterable[str] = (),
                 quick: bool = False, classes_file: Path | None = None) -> list[Finding]:
    """Examine labelled sentences.

    Sentences are the same if they differ only in case, space, Unicode form or what is invisible.

    Args:
        rows: (line number or name, text, label, split) tuples; split is None where the data set
            comes undivided.
        classes: the expected labels, those without a sentence included.
        quick: look only at labels and counts.
        classes_file: see `zoo.training.data.checks.labels.class_findings`.

    Returns:
        A list of `Finding`, errors first; its files are rows, such as "train, line 7".
    """
    same, empty, named = collections.defaultdict(list), [], []
    for line, text, label, split in rows:
        name = line
        if not isinstance(line, str):
            name = f"{split}, line {line}" if split else f"line {line}"
        named.append((name, label, split))
        if quick:
            continue
        plain = " ".join(normalize(text).casefold().split())
        if plain:
            same[digest(plain.encode(errors="replace"))].append(named[-1])
        else:
            empty.append(name)
    findings = []
    if empty:
        findings.append(Finding("empty text", "note",
                                f"a label without a sentence; such as {empty[0]}", tuple(empty)))
    return errors_first([*findings, *repeated(same, "sentence"),
                         *class_findings(named, classes, classes_file)])
