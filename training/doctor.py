"""What is wrong with a data set, before the first epoch: `zoo doctor`.

Examples come as plain listings: image files, rows of tables, or arrays. Nothing is changed, but for `move_bad`.
"""
import collections
import dataclasses
import itertools
import shutil
import unicodedata
from pathlib import Path

import numpy as np

from zoo.errors import UserError
from zoo.training.data import sources
from zoo.training.data.checks.arrays import examine_arrays
from zoo.training.data.checks.labels import Finding, class_findings, digest, errors_first, repeated

_THUMBNAIL = 64  # pixels a side at which images of TensorFlow Datasets that vary in size are compared
HEAD = ("severity", "what", "examples", "in words")


def examine(name, data_dir=None, progress=None):
    """Look into the data set `name`: a folder or file of images or sentences, "digits", or a name of TensorFlow Datasets.

    Raises:
        zoo.errors.UserError: if it is unknown, cannot be read, or is no such data set.
    """
    from zoo.training.data import dataset as data  # imports TensorFlow: seconds
    from zoo.training.data import sentences as text
    from zoo.training.data import text_data
    if text_data.is_text(name, data_dir):
        found = text.listing(name) if data.is_path(name) else text_data.listing(name, data_dir)
        return examine_rows((where, words, label, split) for split, rows in found.items() for where, words, label in rows)
    if data.is_path(name) and Path(name).suffix == ".npz":
        return examine_arrays(sources.arrays(name, check=False))
    if data.is_path(name):
        return examine_files(sources.files(name), progress=progress, classes=sources.class_names(name))
    shape = tuple(side or _THUMBNAIL for side in data.own_shape(name, data_dir))
    loaded = data.load(name, shape, validation=0, data_dir=data_dir)
    parts = {"train": loaded.train, "validation": loaded.validation, "test": loaded.test}
    if loaded.train and loaded.train.store is loaded.test.store:  # the test part was drawn from it
        parts = {None: loaded.train}
    # The stores, which are whole: a part's own images would be a copy, in memory, of what may be on disk for want of it.
    return examine_arrays({split: (part.store, part.classes) for split, part in parts.items() if part})


def examine_files(items, quick=False, progress=None, classes=()):
    """Look into a listing of image files.

    The content of an image is its decoded pixels, so that copies are found under other names, formats and metadata; a JPEG
    that was compressed anew is another image. Damage that leaves a JPEG decodable shows in no decoder's answer, nor here.

    Args:
        items: (path, label, split) triples; split is None where the data set has no parts.
        quick: decode nothing; look at sizes of zero, first bytes, labels and counts alone.
        progress: a function that is called with (files done, files in all) as they get done.
        classes: the labels that are meant to occur, those without a file among them.

    Returns:
        A list of `Finding`, errors first.
    """
    from zoo.training.data.checks.image_files import FORMS, PROBLEMS, look_at, suffix_lies  # imports TensorFlow: seconds
    items = [(Path(path), label, split) for path, label, split in items]
    problems, forms, liars, sizes, same = (collections.defaultdict(list) for _ in range(5))
    for (path, label, split), seen in zip(items, look_at([item[0] for item in items], quick, progress), strict=True):
        if seen.problem:
            problems[seen.problem].append(str(path))
        elif suffix_lies(path, seen.format):
            liars[seen.format].append(str(path))
        for form in seen.forms:
            forms[form].append(str(path))
        if seen.size:
            sizes[seen.size].append(str(path))
            same[seen.digest].append((str(path), label, split))
    found = [_of_files(kind, "error", words, problems) for kind, words in PROBLEMS.items() if kind in problems]
    found += [_of_files(format, "note", f"{format} by content, otherwise by suffix; read by content", liars, "wrong suffix")
              for format in sorted(liars)]
    found += [_of_files(kind, "note", words, forms) for kind, words in FORMS.items() if kind in forms]
    named = [(str(path), label, split) for path, label, split in items]
    return errors_first([*found, *_mixed_sizes(sizes), *repeated(same, "image"), *class_findings(named, classes)])


def _of_files(key, severity, words, groups, kind=None):
    return Finding(kind or key, severity, f"{words}; such as {groups[key][0]}", tuple(groups[key]))


def _mixed_sizes(sizes):
    if len(sizes) < 2:
        return []
    common = max(sizes, key=lambda size: len(sizes[size]))
    low, high = min(sizes, key=np.prod), max(sizes, key=np.prod)
    others = tuple(path for size, paths in sizes.items() if size != common for path in paths)
    return [Finding("mixed sizes", "note", f"{len(sizes):,} sizes, {low[0]}x{low[1]} to {high[0]}x{high[1]}, mostly "
                    f"{common[0]}x{common[1]}; all are resized; such as {others[0]}", others)]


def examine_rows(rows):
    """Look into a listing of labelled sentences.

    Sentences are the same if they differ in case, in space or in how Unicode writes the same letters, and in nothing else.

    Args:
        rows: (line number or name, text, label, split) tuples; split is None where the data set has no parts.

    Returns:
        A list of `Finding`, errors first; its files are rows, such as "train, line 7".
    """
    same, empty, named = collections.defaultdict(list), [], []
    for line, text, label, split in rows:
        name = line if isinstance(line, str) else f"{split}, line {line}" if split else f"line {line}"
        named.append((name, label, split))
        plain = " ".join(unicodedata.normalize("NFC", text).casefold().split())
        if plain:
            same[digest(plain.encode(errors="replace"))].append(named[-1])
        else:
            empty.append(name)
    found = [Finding("empty text", "note", f"a label without a sentence; such as {empty[0]}", tuple(empty))] if empty else []
    return errors_first([*found, *repeated(same, "sentence"), *class_findings(named)])


def report(findings):
    """Return the table of `findings`: a list of rows of strings, under the columns `HEAD`."""
    return [[found.severity, found.kind, f"{len(found.files):,}" if found.files else "-",
             found.message.encode(errors="replace").decode()] for found in findings]  # a name may hold broken UTF-8


def to_json(findings, dataset):
    """Return a dict for json.dumps: the data set, how many errors and notes, and each finding with every file concerned."""
    errors = sum(found.severity == "error" for found in findings)
    return {"dataset": str(dataset), "errors": errors, "notes": len(findings) - errors,
            "findings": [dataclasses.asdict(found) for found in findings]}


def move_bad(findings, dataset, folder):
    """Move the image files that training cannot use into `folder`, under their split and class; overwrite nothing.

    Args:
        findings: of `examine_files`.
        dataset: path of the data set.
        folder: path; made if it is not there. It may not lie in the data set, where it would be a class.

    Returns:
        How many files were moved.

    Raises:
        zoo.errors.UserError: if `folder` lies in the data set, or a file cannot be moved; those before it have been.
    """
    from zoo.training.data.checks.image_files import PROBLEMS
    bad = [Path(path) for found in findings if found.kind in PROBLEMS for path in found.files]
    if bad and Path(folder).resolve().is_relative_to(Path(dataset).resolve()):
        raise UserError(f"{folder} lies in the data set {dataset}, where it would pass for a class. Choose another folder.")
    for path in bad:
        target = Path(folder) / path.relative_to(dataset)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, _free(target))
        except OSError as error:
            raise UserError(f"Cannot move {path} to {target}: {error.strerror or error}.") from None
    return len(bad)


def _free(target):
    """`target`, numbered if there is such a file already."""
    numbered = (target.with_name(f"{target.stem}-{n}{target.suffix}") for n in itertools.count(1))
    return next(path for path in itertools.chain([target], numbered) if not path.exists())
