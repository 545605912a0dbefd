"""What is wrong with image files, and with their labels and splits."""
import collections
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from zoo.training.data.checks.image_files import FORMS, PROBLEMS, look_at, suffix_lies
from zoo.training.data.checks.labels import Finding, class_findings, errors_first, repeated


def examine_files(files: Iterable[tuple], quick: bool = False, progress: Callable | None = None,
                  classes: Iterable[str] = ()) -> list[Finding]:
    """Examine labelled image files.

    Two images are the same if their decoded pixels are, under any name, format and metadata; a JPEG
    that was compressed again is another image. Damage that leaves a JPEG decodable goes unnoticed.

    Args:
        files: (path, label, split) triples; split is None where the data set comes undivided.
        quick: decode nothing; look only at sizes of zero, first bytes, labels and counts.
        progress: called with (files done, files in all).
        classes: the expected labels, those without a file included.

    Returns:
        A list of `Finding`, errors first.
    """
    files = [(Path(path), label, split) for path, label, split in files]
    problems, forms, misnamed, sizes, same = (collections.defaultdict(list) for _ in range(5))
    seen = look_at([path for path, _, _ in files], quick, progress)
    for (path, label, split), look in zip(files, seen, strict=True):
        if look.problem:
            problems[look.problem].append(str(path))
        elif suffix_lies(path, look.format):
            misnamed[look.format].append(str(path))
        for form in look.forms:
            forms[form].append(str(path))
        if look.size:
            sizes[look.size].append(str(path))
            same[look.digest].append((str(path), label, split))
    findings = [_finding(kind, "error", words, problems[kind]) for kind, words in PROBLEMS.items()
                if kind in problems]
    findings += [_finding("wrong suffix", "note", f"{format} by content, otherwise by suffix; read "
                          "by content", misnamed[format]) for format in sorted(misnamed)]
    findings += [_finding(kind, "note", words, forms[kind]) for kind, words in FORMS.items()
                 if kind in forms]
    named = [(str(path), label, split) for path, label, split in files]
    return errors_first([*findings, *_mixed_sizes(sizes), *repeated(same, "image"),
                         *class_findings(named, classes)])


def _finding(kind, severity, words, paths):
    return Finding(kind, severity, f"{words}; such as {paths[0]}", tuple(paths))


def _mixed_sizes(sizes):
    if len(sizes) < 2:
        return []
    common = max(sizes, key=lambda size: len(sizes[size]))
    low, high = min(sizes, key=np.prod), max(sizes, key=np.prod)
    others = [path for size, paths in sizes.items() if size != common for path in paths]
    return [_finding("mixed sizes", "note", f"{len(sizes):,} sizes, {low[0]}x{low[1]} to "
                     f"{high[0]}x{high[1]}, mostly {common[0]}x{common[1]}; all are resized",
                     others)]
