"""What is in image files, and what is wrong with them, their labels and their splits.

The decoder of training decides here, and its reasons are reported; Pillow reads the header, and
tells what is damaged from what is no image. In a random sample, which takes less time than
TensorFlow's import, Pillow decodes, and the decoder of training decides on what Pillow refuses.
"""
import collections
import dataclasses
import hashlib
import io
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from zoo import __version__
from zoo.errors import UserError
from zoo.startup import quiet_import
from zoo.training.data.checks.labels import (
    Finding,
    class_findings,
    digest,
    errors_first,
    repeated_finding,
)
from zoo.training.files import arrays_of, packed, write
from zoo.training.preprocessing.pillow_images import (
    BAD_IMAGE,
    DEEP,
    FORMAT_SIGNS,
    HEIF,
    PILLOW_ERRORS,
    PNG_DEPTH,
    decode,
    orientation,
)

PROBLEMS = {  # files that training cannot use
    "unreadable": "cannot be read from the disk",
    "no class": "an image in no class folder, which has no label",
    "empty file": "holds no bytes",
    "not an image": "holds no JPEG, PNG, GIF, BMP or WebP image",
    "truncated": "cut short or damaged, cannot be decoded",
    "unsupported": "TensorFlow does not decode this kind of image; save it as PNG",
}
FORMS = {  # files that training can use, and what it makes of them
    "transparent": "blended over the recipe's background, which is white by default",
    "palette": "palettes become colours",
    "CMYK": "converted to RGB",
    "16-bit": "the higher 8 bits are kept",
    "animated": "the first picture is taken",
    "EXIF-rotated": "turned upright as their EXIF data asks",
}
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG",
            ".gif": "GIF", ".bmp": "BMP", ".dib": "BMP", ".webp": "WebP"}
_SIGN_BYTES = 12  # up to the end of WebP's
_IMPORTING = threading.Lock()  # two threads must not discard stderr at once
_ELONGATED = 2        # the ratio of two sides from which stretching to a square spoils an image
_MANY = 0.1           # the share of such images that is reported
_FEW_IMAGES = 5       # of a class: too few to say that all are grey
_CHUNK = 16  # files that a thread takes at a time
_SAMPLE = 1000        # files of a random sample at most,
_SAMPLE_SECONDS = 3   # and for how long they are examined
# What is kept of each file: as little for a million files as for one. A number is a position, from
# 1, in the tuple beside it, or 0.
_FORMATS, _PROBLEMS, _FORMS = tuple(dict.fromkeys(SUFFIXES.values())), tuple(PROBLEMS), tuple(FORMS)
_ROW = np.dtype([
    ("key", "S16"),     # of the path, the bytes and the time of change
    ("digest", "S16"),  # of the decoded pixels
    ("width", "i4"), ("height", "i4"),
    ("format", "u1"),   # _FORMATS
    ("problem", "u1"),  # _PROBLEMS
    ("reason", "u1"),   # the decoder's reasons, a list
    ("forms", "u1"),    # a bit for each of _FORMS
    ("grey", "?"), ("misnamed", "?"), ("examined", "?")])


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What is in a file; None or empty where it was not examined or is unknown."""

    format: str | None = None   # a value of SUFFIXES
    problem: str | None = None  # a key of PROBLEMS
    reason: str = ""            # of the decoder, if it has one of its own
    forms: tuple = ()           # keys of FORMS
    size: tuple | None = None   # (width, height)
    digest: bytes | None = None  # of the decoded pixels
    grey: bool = False          # whether all pixels are grey


def look(path: str | os.PathLike, quick: bool = False,
         read: Callable[[str], bytes] | None = None, sample: bool = False) -> Seen:
    """Examine the file `path`; a `quick` look gives format and problem by the first bytes.

    Args:
        read: returns the content of a path that is no file of this machine.
        sample: whether Pillow decodes it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_SIGN_BYTES if quick else -1)
    except OSError:
        data = read(str(path)) if read else b""
        if not data:
            return Seen(problem="unreadable")
    if not data:
        return Seen(problem="empty file")
    format = next((name for name, signs in FORMAT_SIGNS.items() if data.startswith(signs)),
                  None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        format = "WebP"
    if quick and data[4:8] == b"ftyp":
        return Seen(None, "unsupported", HEIF)
    if quick:
        return Seen(format, None if format else "not an image")
    return _decoded(data, format, sample)


def suffix_lies(path: str | os.PathLike, format: str) -> bool:
    """Return whether the suffix of `path` stands for an image format other than `format`."""
    return SUFFIXES.get(Path(path).suffix.lower(), format) != format


def _decoded(data, format, sample):
    pixels, error = _pillow_first(data) if sample else _training_decoder()(data)
    if error == BAD_IMAGE:
        return Seen(format, _why(data, format))
    if error:
        return Seen(format, "unsupported", error)
    forms = ()
    try:
        with Image.open(io.BytesIO(data)) as image:
            forms = tuple(_forms(image, data, format))
    except PILLOW_ERRORS:
        pass  # it has been decoded; only its forms stay unknown
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.tobytes())
    grey = bool((pixels == pixels[..., :1]).all())
    return Seen(format, None, "", forms, (pixels.shape[1], pixels.shape[0]), digest.digest(), grey)


def _training_decoder():
    with _IMPORTING, quiet_import():
        from zoo.training.preprocessing.images import decode_or_explain
    return decode_or_explain


def _pillow_first(data):
    """As the decoder of training, which gives the same pixels."""
    try:
        return decode(data), ""
    except UserError:
        return _training_decoder()(data)


def _why(data, format):
    """Why TensorFlow could not decode `data`.

    Pillow accepts PNG and GIF files without their end, so these are damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if format:  # else the header is enough; for some formats Pillow starts a program
                image.load()
    except PILLOW_ERRORS:
        return "truncated" if format else "not an image"
    return "truncated" if format in ("JPEG", "PNG", "GIF") else "unsupported"


def _forms(image, data, format):
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        yield "transparent"
    if image.mode in ("P", "PA"):
        yield "palette"
    if image.mode == "CMYK":
        yield "CMYK"
    if format == "PNG" and data[PNG_DEPTH] == DEEP:
        yield "16-bit"
    # In a JPEG, further pictures are previews of the first.
    if format != "JPEG" and getattr(image, "is_animated", False):
        yield "animated"
    if format != "JPEG":
        image.load()  # the orientation may stand behind the pixels
    if orientation(image) in range(2, 9):
        yield "EXIF-rotated"


class Names(Sequence):
    """The paths of some of many files, made when they are read: a finding may concern all."""

    def __init__(self, files: Sequence[tuple], indices: np.ndarray):
        self._files, self._indices = files, indices

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, number):
        if isinstance(number, slice):
            return Names(self._files, self._indices[number])
        return str(self._files[self._indices[number]][0])

    def __eq__(self, other):
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self):
        return hash(tuple(self))

    def __repr__(self):
        return repr(tuple(self))


def examine_files(files: Iterable[tuple], quick: bool = False, progress: Callable | None = None,
                  classes: Iterable[str] = (), classes_file: Path | None = None, *,
                  sample: bool = False, memory: Path | None = None,
                  read: Callable[[str], bytes] | None = None) -> list[Finding]:
    """Examine labelled image files, on all cores.

    Two images are the same if their decoded pixels are, under any name, format and metadata; a JPEG
    that was compressed again is another image. Damage that leaves a JPEG decodable goes unnoticed.

    An interrupt (Ctrl-C) ends the look: the findings are those on the files so far, and a note of
    the kind "interrupted" says how many these are.

    Args:
        files: (path, label, split) triples; split is None where the data set comes undivided.
        quick: decode nothing; look only at sizes of zero, first bytes, labels and counts.
        progress: called with (files done, files in all).
        classes: the expected labels, those without a file included.
        classes_file: see `zoo.training.data.checks.labels.class_findings`.
        sample: examine a random sample of the files, in a few seconds; a note of the kind "sample"
            says how many these are. Labels and counts are those of all files.
        memory: a file to write after an interrupt. If it is there, files that have not changed
            since are not examined again; it is removed when all have been.
        read: returns the content of a path that is no file of this machine.

    Returns:
        A list of `Finding`, errors first.
    """
    files = files if isinstance(files, Sequence) else list(files)
    order = np.arange(len(files))
    if sample:
        order = np.random.default_rng(0).permutation(len(files))[:_SAMPLE]
    rows, reasons, interrupted = _look_at(files, order, quick, progress, sample, memory,
                                          read)
    indices = order[rows["examined"]]
    rows = rows[rows["examined"]]
    if sample:  # back into the order of the files
        rows, indices = rows[np.argsort(indices)], np.sort(indices)
    counted = f"{len(rows):,} of {len(files):,} files were examined"
    findings = []
    if interrupted:
        resumed = "; the same command examines the others" if memory and memory.exists() else ""
        findings.append(Finding("interrupted", "note", counted + resumed, ()))
    elif len(rows) < len(files):
        findings.append(Finding("sample", "note", f"{counted}, drawn at random", ()))

    def finding(kind, severity, words, chosen):
        names = Names(files, indices[chosen])
        return Finding(kind, severity, f"{words}; such as {names[0]}", names)

    pairs = np.unique(np.stack([rows["problem"], rows["reason"]], 1)[rows["problem"] > 0], axis=0)
    bad = {(_PROBLEMS[problem - 1], reasons[reason]): (rows["problem"] == problem)
           & (rows["reason"] == reason) for problem, reason in pairs}
    findings += [finding(kind, "error", reason or PROBLEMS[kind], bad[kind, reason])
                 for kind, reason in sorted(bad, key=lambda key: (_PROBLEMS.index(key[0]), key[1]))]
    for format in sorted(_FORMATS):
        chosen = rows["misnamed"] & (rows["format"] == _FORMATS.index(format) + 1)
        if chosen.any():
            findings.append(finding("wrong suffix", "note", f"{format} by content, otherwise by "
                                    "suffix; read by content", chosen))
    for number, form in enumerate(_FORMS):
        chosen = rows["forms"] >> number & 1 == 1
        if chosen.any():
            findings.append(finding(form, "note", FORMS[form], chosen))
    decoded = np.flatnonzero(rows["width"])
    findings += [*_mixed_sizes(rows, decoded, finding), *_stretched(rows, decoded, finding)]
    labels, splits = _numbered(files, indices[decoded], 1), _numbered(files, indices[decoded], 2)
    findings += _grey_beside_coloured(files, indices[decoded], rows["grey"][decoded], labels)
    findings += _repeated(files, indices[decoded], rows["digest"][decoded], labels, splits)
    return errors_first([*findings, *class_findings(files, classes, classes_file)])


def memory_file(dataset: str | os.PathLike) -> Path:
    """Return where the doctor keeps what it has seen of `dataset` when it is interrupted."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = digest(os.fsencode(os.path.realpath(dataset)) + __version__.encode()).hex()
    return Path(cache) / "classic-zoo" / f"doctor-{name}.npz"


def _look_at(files, order, quick, progress, sample, memory, read):
    """Return (rows of the files in `order`, the reasons they number, whether interrupted)."""
    rows = np.zeros(len(order), _ROW)
    earlier, reasons = _remembered(memory)
    interrupted, end = False, time.monotonic() + _SAMPLE_SECONDS
    pending: collections.deque = collections.deque()
    cores = os.cpu_count() or 1

    def job(first):
        return [_look_or_recall(files[index][0], quick, earlier, memory is not None, read, sample)
                for index in order[first:first + _CHUNK]]

    def put_first():
        first, future = pending.popleft()
        for number, (key, misnamed, seen) in enumerate(future.result(), start=first):
            rows[number] = _row(key, misnamed, seen, reasons) if isinstance(seen, Seen) else seen
        if progress:
            progress(min(first + _CHUNK, len(order)), len(order))

    pool = ThreadPoolExecutor(cores)
    try:
        with warnings.catch_warnings():
            # Pillow warns about metadata that training does not read.
            warnings.filterwarnings("ignore", module="PIL")
            for first in range(0, len(order), _CHUNK):
                if sample and time.monotonic() > end:
                    break
                pending.append((first, pool.submit(job, first)))
                if len(pending) > 2 * cores:
                    put_first()
            while pending:
                put_first()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        pool.shutdown(cancel_futures=True)
    if memory and interrupted:
        _remember(memory, np.concatenate([rows[rows["examined"]], earlier]), reasons)
    elif memory:
        memory.unlink(missing_ok=True)
    return rows, reasons, interrupted


def _look_or_recall(path, quick, earlier, is_kept, read, sample):
    """(key of the file, whether its suffix lies, what `look` returns or the row of `earlier`)."""
    key = _key(path) if is_kept else b""
    number = np.searchsorted(earlier["key"], key)
    if key and number < len(earlier) and earlier["key"][number] == key:
        return key, False, earlier[number]
    seen = look(path, quick, read, sample)
    lies = not seen.problem and seen.format is not None and suffix_lies(path, seen.format)
    return key, lies, seen


def _key(path):
    try:
        state = os.stat(path)
    except OSError:
        return b""
    content = b"%b\0%d\0%d" % (os.fsencode(path), state.st_size, state.st_mtime_ns)
    return digest(content)[:15] + b"."  # NumPy cuts off zeros at the end


def _row(key, misnamed, seen, reasons):
    if seen.reason not in reasons:
        reasons.append(seen.reason)
    width, height = seen.size or (0, 0)
    forms = sum(1 << _FORMS.index(form) for form in seen.forms)
    return (key, seen.digest or b"", width, height,
            _FORMATS.index(seen.format) + 1 if seen.format else 0,
            _PROBLEMS.index(seen.problem) + 1 if seen.problem else 0,
            reasons.index(seen.reason), forms, seen.grey, misnamed, True)


def _remembered(memory):
    """Return (rows sorted by key, reasons) that an interrupted look has written, or none."""
    nothing = np.zeros(0, _ROW), [""]
    if not memory or not memory.exists():
        return nothing
    try:
        with arrays_of(memory) as arrays:
            rows, reasons = arrays["rows"], arrays["reasons"].tolist()
    except UserError:  # damaged: begin anew
        return nothing
    return (rows, reasons) if rows.dtype == _ROW else nothing


def _remember(memory, rows, reasons):
    rows = rows[rows["problem"] != _PROBLEMS.index("unreadable") + 1]  # it may be readable then
    _, first = np.unique(rows["key"], return_index=True)  # sorted
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write(memory, packed(rows=rows[first], reasons=np.array(reasons)))
    except OSError:  # a full disk: the next look begins anew
        memory.unlink(missing_ok=True)


def _numbered(files, indices, field):
    """Number the labels (field 1) or the splits (2) of files."""
    numbers: dict = {}
    return np.fromiter((numbers.setdefault(files[index][field], len(numbers))
                        for index in indices), "int32", len(indices))


def _repeated(files, indices, digests, labels, splits):
    """As `zoo.training.data.checks.labels.repeated`, by arrays."""
    if not len(indices):
        return
    order = np.argsort(digests, kind="stable")
    starts = np.flatnonzero(np.r_[True, digests[order][1:] != digests[order][:-1]])
    sizes = np.diff(np.r_[starts, len(order)])

    def several(numbers):
        ordered = numbers[order]
        return np.maximum.reduceat(ordered, starts) != np.minimum.reduceat(ordered, starts)
    in_splits = sum(np.logical_or.reduceat(splits[order] == number, starts)
                    for number in range(splits.max() + 1))
    leaks, conflicts = several(splits), several(labels)
    twice = ~conflicts & (sizes > in_splits)
    for kind, groups in (("leakage", leaks), ("conflicting labels", conflicts),
                         ("duplicates", twice)):
        if groups.any():
            members = np.repeat(groups, sizes)
            chosen = order[members]
            # The group whose first member comes first, and the groups in that order.
            rank = np.repeat(order[starts], sizes)[members]
            chosen = chosen[np.argsort(rank, kind="stable")]
            first = chosen[:sizes[groups][np.argmin(order[starts][groups])]]
            group = [(str(path), label, split) for path, label, split
                     in (files[indices[number]] for number in first)]
            yield repeated_finding(kind, group, groups.sum(), group[0][2] is None,
                                   Names(files, indices[chosen]), "image")


def _mixed_sizes(rows, decoded, finding):
    sizes = np.stack([rows["width"], rows["height"]], 1)[decoded]
    different, first, counts = np.unique(sizes, axis=0, return_index=True, return_counts=True)
    if len(different) < 2:
        return
    seen = np.argsort(first)  # in the order of the files
    different, counts = different[seen], counts[seen]
    areas = different.astype("int64").prod(axis=1)
    common, low, high = (different[number] for number in (
        np.argmax(counts), np.argmin(areas), np.argmax(areas)))
    yield finding("mixed sizes", "note", f"{len(different):,} sizes, {low[0]}x{low[1]} to "
                  f"{high[0]}x{high[1]}, mostly {common[0]}x{common[1]}; all are resized",
                  decoded[(sizes != common).any(axis=1)])


def _stretched(rows, decoded, finding):
    """Advise resize=crop or pad if many images are far from square."""
    width, height = rows["width"][decoded].astype("int64"), rows["height"][decoded].astype("int64")
    chosen = decoded[np.maximum(width, height) >= _ELONGATED * np.minimum(width, height)]
    if len(chosen) and len(chosen) >= _MANY * len(decoded):
        yield finding("elongated", "note", f"{len(chosen):,} images have one side at least twice "
                      "as long as the other, and resize=stretch, the default, squeezes them into "
                      "the network's shape; resize=crop and resize=pad keep proportions", chosen)


def _grey_beside_coloured(files, indices, greys, labels):
    """Report if a class is grey and another one coloured: a network learns that and no more."""
    counts, grey_counts = np.bincount(labels), np.bincount(labels, greys)
    _, first = np.unique(labels, return_index=True)
    shares = {files[indices[first[number]]][1]: grey_counts[number] / count
              for number, count in enumerate(counts) if count >= _FEW_IMAGES}
    grey = [label for label, share in shares.items() if share >= 1 - _MANY]
    coloured = [label for label, share in shares.items() if share <= _MANY]
    if grey and coloured:
        yield Finding("grey class", "note", f"the images of {grey[0]!r} are grey, those of "
                      f"{coloured[0]!r} coloured: a network can tell these classes apart by colour "
                      "alone. Save all images in grey, if that does not belong to the classes", ())
