"""What is wrong with the labels and splits of a data set of any kind.

Examples are (name, label, split) triples; split is None where the data set comes undivided.
"""
import collections
import dataclasses
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import UserError
from zoo.training.data.source import TEST_SHARE, VALIDATION_SHARE
from zoo.training.files import read_utf8
from zoo.training.preprocessing.tokens import normalize

_SHOWN = 20  # the maximum number of classes counted one by one
_UNEVEN = 3  # the ratio of the largest class to the smallest at which counts are called uneven


@dataclasses.dataclass(frozen=True)
class Finding:
    """One observation about a data set."""

    kind: str  # in a word or two
    severity: str  # "error": would break or falsify training; "note": good to know
    message: str  # one line
    files: Sequence[str]  # the names of all examples concerned


def errors_first(findings: list[Finding]) -> list[Finding]:
    """Return `findings` with the errors before the notes, otherwise in their order."""
    return sorted(findings, key=lambda finding: finding.severity)


def no_label_notes(lines: Iterable[str]) -> list[Finding]:
    """Return a note for each of `lines`, on examples that have no label and are left out."""
    return [Finding("no labels", "note", line, ()) for line in lines]


def check_finding(finding: Finding, dataset: str) -> None:
    """Raise zoo.errors.UserError if `finding` is an error of the data set `dataset`."""
    if finding.severity == "error":
        raise UserError(f"{dataset}: {finding.message}. `zoo doctor {dataset}` says more.")


def digest(content: Any) -> bytes:
    """Return a hash of `content`, bytes or a contiguous array, in 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def repeated(same: dict, what: str) -> list[Finding]:
    """Return findings on examples with the same content.

    Args:
        same: {content: [(name, label, split), ...]}.
        what: "image" or "sentence".
    """
    groups: dict[str, list[list[tuple]]] = {
        "leakage": [], "conflicting labels": [], "duplicates": []}
    for group in same.values():
        if len({split for _, _, split in group}) > 1:
            groups["leakage"].append(group)
        if len({label for _, label, _ in group}) > 1:
            groups["conflicting labels"].append(group)
        elif len(group) > len({split for _, _, split in group}):
            groups["duplicates"].append(group)
    return [repeated_finding(kind, members[0], len(members),
                             any(row[2] is None for group in members for row in group),
                             tuple(row[0] for group in members for row in group), what)
            for kind, members in groups.items() if members]


def repeated_finding(kind: str, group: list[tuple], count: int, is_undivided: bool,
                     names: Sequence[str], what: str) -> Finding:
    """Return a finding on groups of examples with the same content.

    Args:
        kind: "leakage", "conflicting labels" or "duplicates".
        group: the first of them, a list of (name, label, split).
        count: the number of groups.
        is_undivided: whether examples are in no split yet.
        names: of all examples of the groups.
        what: "image" or "sentence".
    """
    differ = 2 if kind == "leakage" else 1 if kind == "conflicting labels" else None
    first = group[0]
    if differ:
        second = next(row for row in group if row[differ] != first[differ])
        example = f"{first[0]} ({first[differ]}) and {second[0]} ({second[differ]})"
    else:
        counts = collections.Counter(row[2] for row in group)
        example = " and ".join([row[0] for row in group if counts[row[2]] > 1][:2])
    words = {"leakage": f"the same {what} in more than one split",
             "conflicting labels": f"the same {what} under different labels",
             "duplicates": f"the same {what} more than once in a split"}[kind]
    if kind == "duplicates" and is_undivided:
        words += ", which may be divided between training and test"
    severity = "note" if kind == "duplicates" else "error"
    return Finding(kind, severity, f"{words}, {count:,} in all; such as {example}", names)


def class_findings(examples: Iterable[tuple], classes: Iterable[str] = (),
                   classes_file: Path | None = None) -> list[Finding]:
    """Return findings on labels, splits and counts.

    Args:
        examples: (name or path, label, split) tuples, which are read twice; `counts`, if they have
            such a method, returns the numbers of them by (split, label), in their order.
        classes: the expected labels, those without an example included.
        classes_file: labels that are lines of this UTF-8 file are classes of their own, however
            alike. It is read only if there are such labels, and need not exist.

    Raises:
        zoo.errors.UserError: if the file is read, and is not UTF-8.
    """
    if hasattr(examples, "counts"):
        counts = examples.counts()
    else:
        counts = collections.Counter((split, label) for _, label, split in examples)
    splits = list(dict.fromkeys(split for split, _ in counts))
    present = list(dict.fromkeys(label for _, label in counts))
    labels, seen = list(dict.fromkeys([*classes, *present])), set(present)
    findings = [Finding("empty class", "error", f"no example of the class {label!r}", ())
                for label in labels if label not in seen]
    if len(present) < 2:
        findings.append(Finding("one class", "error",
                                f"expected at least 2 classes, received {len(present)}", ()))
    return [*findings, *_spellings(examples, labels, classes_file),
            *_other_tasks(present, classes_file),
            *_gaps(counts, splits, present), *_too_small(counts, splits),
            *(_counted(split, {label: counts[split, label] for label in labels})
              for split in splits), *_uneven(counts, splits)]


def _spellings(examples, labels, classes_file):
    alike = collections.defaultdict(list)
    for label in labels:
        plain = "".join(normalize(label).casefold().split())
        alike[re.sub(r"^(-?[0-9]+)\.0*$", r"\1", plain)].append(label)  # 1.0 is 1
    groups = [group for group in alike.values()
              if len(group) > 1 and max(map(len, group)) > 1]  # A and a are two letters
    advice = _advice(classes_file) if classes_file else ""
    for group in groups:
        if not _is_meant(group, classes_file):
            yield Finding("label spelling", "error", "labels that differ in case, space, Unicode "
                          "form or a decimal point only: "
                          f"{', '.join(map(repr, group))}{advice}",
                          tuple(str(name) for name, label, _ in examples if label in group))


def _advice(classes_file):
    return f". If each is a class of its own, write them into {classes_file}, one a line"


def _is_meant(labels, classes_file):
    """Return whether all `labels` are lines of the file, if there is one."""
    if not classes_file or not classes_file.exists():
        return False
    meant = unicodedata.normalize("NFC", read_utf8(classes_file)).splitlines()
    return set(labels) <= set(meant)


def _other_tasks(labels, classes_file):
    """Report labels that are numbers to predict, or several classes in one."""
    if not classes_file:  # TensorFlow Datasets and arrays have class ids
        return
    several = [label for label in labels if len(parts := _parts(label)) > 1
               and all(part in labels for part in parts)]
    numbers = [label for label in labels if re.fullmatch(r"-?[0-9]*\.[0-9]*[1-9][0-9]*", label)]
    if len(numbers) > 1 and all(re.fullmatch(r"-?[0-9]*\.?[0-9]+", label) for label in labels):
        doubtful, kind, said = labels, "number labels", (
            f"labels such as {labels[0]} and {numbers[-1]} are numbers; predicting numbers "
            "(regression) is not supported")
    elif several:
        doubtful, kind, said = several, "several labels", (
            f"labels such as {several[0]!r} name several classes; more than one label for an "
            "example is not supported")
    else:
        return
    if not _is_meant(doubtful, classes_file):
        yield Finding(kind, "error", f"{said}{_advice(classes_file)}", ())


def _parts(label):
    return [part.strip() for part in re.split(r"[,;|]", label)]


def _gaps(counts, splits, labels):
    for split in splits if len(splits) > 1 else ():
        missing = [label for label in labels if not counts[split, label]]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            names = ", ".join(map(repr, missing[:_SHOWN]))
            yield Finding("split without a class", "error" if split == "train" else "note",
                          f"{split} has no example of {names}{more}", ())


def _too_small(counts, splits):
    """A missing split is drawn by class, at least one of each; a validation split by default."""
    own = {label: count for (split, label), count in counts.items() if split in (None, "train")}
    single, left = [label for label, count in own.items() if count == 1], sum(own.values())
    if single and not {"validation", "test"} <= set(splits):
        yield Finding("class too small", "note" if "test" in splits else "error",
                      "expected at least 2 examples of each class to draw the missing splits from, "
                      f"received 1 of {', '.join(map(repr, single[:_SHOWN]))}", ())
    for split, share, severity in (("test", TEST_SHARE, "error"),
                                   ("validation", VALIDATION_SHARE, "note")):
        drawn = 0 if split in splits else math.ceil(share * left)
        left -= drawn
        if 0 < drawn < len(own):
            yield Finding("too few examples", severity,
                          f"expected at least {len(own)} examples, one of each class, for the "
                          f"{split} split that is drawn, received {share:.0%} of "
                          f"{left + drawn:,}", ())


def _counted(split, counts):
    present = {label: count for label, count in counts.items() if count}
    rare, common = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
    each = f"from {present[rare]:,} ({rare}) to {present[common]:,} ({common})"
    if len(counts) <= _SHOWN:
        each = ", ".join(f"{label} {count:,}" for label, count in counts.items())
    return Finding("counts", "note", f"{split or 'all'}: {sum(present.values()):,} of "
                   f"{len(present):,} classes: {each}", ())


def _uneven(counts, splits):
    split = "train" if "train" in splits else splits[0] if splits else None
    present = {label: count for (each, label), count in counts.items() if each == split and count}
    if present and max(present.values()) >= _UNEVEN * min(present.values()):
        rare, common = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
        yield Finding("uneven classes", "note", f"{present[common]:,} of {common!r}, "
                      f"{present[rare]:,} of {rare!r}; balance=weights or balance=sampling makes "
                      "them count alike", ())
