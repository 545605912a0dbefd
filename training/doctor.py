"""What is wrong with a data set, before the first epoch: `zoo doctor`.

The checks are in `zoo.training.data.checks`. Nothing is changed, except by `move_bad_files`.
"""
import itertools
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from zoo.errors import UserError
from zoo.training.data.checks.image_files import PROBLEMS
from zoo.training.data.checks.labels import Finding
from zoo.training.data.checks.sizes import few_examples, few_images
from zoo.training.data.opening import open_source
from zoo.training.data.source import TEST_SHARE, VALIDATION_SHARE

HEAD = ("severity", "what", "examples", "in words")


def examine(dataset: str, data_dir: str | os.PathLike | None = None,
            progress: Callable | None = None, quick: bool = False) -> list[Finding]:
    """Examine a data set: its files or arrays, labels, splits and duplicates.

    An interrupt (Ctrl-C) while image files are examined ends the look: a note of the kind
    "interrupted" among the findings so far says how many files they are of, and the next look goes
    on from there.

    Args:
        dataset: see `zoo.training.data.opening.open_source`.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        progress: called with (files done, files in all).
        quick: of a folder of images, examine the list of files, and a random sample of them; a note
            of the kind "sample" says how many of how many. Other data sets are examined whole.

    Returns:
        A list of `Finding`, errors first.

    Raises:
        zoo.errors.UserError: if the data set cannot be opened or read.
    """
    source = open_source(dataset, data_dir)
    findings = source.examine(progress, quick=True) if quick else source.examine(progress)
    if any(finding.severity == "error" for finding in findings):
        return findings
    return [*findings, *_small_splits(source)]


def _small_splits(source):
    """Notes on the splits, given or drawn, that are too small to measure by or to train on."""
    counts = {split: len(indices) for split, indices in source.splits.items()}
    left = counts.get("train", len(source))
    for split, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        drawn = 0 if split in counts else math.ceil(share * left)
        left -= drawn
        line = few_examples(split, counts.get(split, drawn))
        if line:
            yield Finding("small split", "note", line, ())
    few = few_images(left) if source.kind == "image" else None
    if few:
        yield Finding("few images", "note", f"{few}: start from trained ones, as zoo train "
                      f"resnet20 --data {source.name} --set weights=resnet20-cifar10 does", ())


def report(findings: list[Finding]) -> list[list[str]]:
    """Return the rows of the table of `findings`, under the columns `HEAD`."""
    return [[finding.severity, finding.kind, f"{len(finding.files):,}" if finding.files else "-",
             finding.message.encode(errors="replace").decode()]  # a name may be invalid UTF-8
            for finding in findings]


def to_json(findings: list[Finding], dataset: str) -> dict:
    """Return a dict for json.dumps: data set, numbers of errors and notes, findings with files."""
    errors = sum(finding.severity == "error" for finding in findings)
    return {"dataset": str(dataset), "errors": errors, "notes": len(findings) - errors,
            "findings": [{**vars(finding), "files": list(finding.files)} for finding in findings]}


def move_bad_files(findings: list[Finding], dataset: str, folder: str) -> int:
    """Move the image files that training cannot use into `folder`, under their split and class.

    No file is overwritten.

    Args:
        findings: of a folder of images.
        dataset: path of the data set.
        folder: path; made if missing. Inside the data set it would be a class, and is refused.

    Returns:
        How many files were moved.

    Raises:
        zoo.errors.UserError: if `folder` is inside the data set, or a file cannot be moved; those
            before it have been.
    """
    bad = [Path(path) for finding in findings if finding.kind in PROBLEMS for path in finding.files]
    if bad and Path(folder).resolve().is_relative_to(Path(dataset).resolve()):
        raise UserError(f"{folder} is inside the data set {dataset}, where it would count as a "
                        "class. Choose another folder.")
    for path in bad:
        target = Path(folder) / path.relative_to(dataset)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, _free(target))
        except OSError as error:
            raise UserError(f"Cannot move {path} to {target}: {error.strerror or error}.") from None
    return len(bad)


def _free(target):
    """`target`, numbered if such a file exists."""
    numbered = (target.with_name(f"{target.stem}-{n}{target.suffix}") for n in itertools.count(1))
    return next(path for path in itertools.chain([target], numbered) if not path.exists())
