"""What is in image files, and what is wrong with them, their labels and their splits.

The decoder of training decides here, and its reasons are reported; Pillow reads the header, and
tells what is damaged from what is no image.
"""
import collections
import dataclasses
import functools
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.training.data.checks.labels import Finding, class_findings, errors_first, repeated
from zoo.training.preprocessing.images import decode_or_explain
from zoo.training.preprocessing.pillow_images import (
    BAD_IMAGE,
    DEEP,
    HEIF,
    PILLOW_ERRORS,
    PNG_DEPTH,
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
_ORDER = {kind: number for number, kind in enumerate(PROBLEMS)}
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG",
            ".gif": "GIF", ".bmp": "BMP", ".dib": "BMP", ".webp": "WebP"}
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_MAGIC_BYTES = 12
_ELONGATED = 2        # the ratio of two sides from which stretching to a square spoils an image
_MANY = 0.1           # the share of such images that is reported
_FEW_IMAGES = 5       # of a class: too few to say that all are grey
_CHUNK = 128  # files between two reports of progress


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


def look_at(paths: list, quick: bool = False, progress: Callable | None = None) -> Iterator[Seen]:
    """Yield what `look` returns for each of `paths`, in their order.

    Args:
        paths: of the files.
        quick: read the first bytes of the files only.
        progress: called with (files done, files in all).
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(paths), _CHUNK):
            chunk = paths[first:first + _CHUNK]
            with warnings.catch_warnings():
                # Pillow warns about metadata that training does not read.
                warnings.filterwarnings("ignore", module="PIL")
                seen = list(pool.map(functools.partial(look, quick=quick), chunk))
            yield from seen
            if progress:
                progress(first + len(chunk), len(paths))


def look(path: str | os.PathLike, quick: bool = False) -> Seen:
    """Examine the file `path`; a `quick` look gives format and problem by the first bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAGIC_BYTES if quick else -1)
    except OSError:
        return Seen(problem="unreadable")
    if not data:
        return Seen(problem="empty file")
    format = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        format = "WebP"
    if quick and data[4:8] == b"ftyp":
        return Seen(None, "unsupported", HEIF)
    if quick:
        return Seen(format, None if format else "not an image")
    return _decoded(data, format)


def suffix_lies(path: str | os.PathLike, format: str) -> bool:
    """Return whether the suffix of `path` stands for an image format other than `format`."""
    return SUFFIXES.get(Path(path).suffix.lower(), format) != format


def _decoded(data, format):
    pixels, error = decode_or_explain(data)
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
    image.load()  # the orientation may stand behind the pixels
    if orientation(image) in range(2, 9):
        yield "EXIF-rotated"


def examine_files(files: Iterable[tuple], quick: bool = False, progress: Callable | None = None,
                  classes: Iterable[str] = (),
                  classes_file: Path | None = None) -> list[Finding]:
    """Examine labelled image files.

    Two images are the same if their decoded pixels are, under any name, format and metadata; a JPEG
    that was compressed again is another image. Damage that leaves a JPEG decodable goes unnoticed.

    Args:
        files: (path, label, split) triples; split is None where the data set comes undivided.
        quick: decode nothing; look only at sizes of zero, first bytes, labels and counts.
        progress: called with (files done, files in all).
        classes: the expected labels, those without a file included.
        classes_file: see `zoo.training.data.checks.labels.class_findings`.

    Returns:
        A list of `Finding`, errors first.
    """
    files = [(Path(path), label, split) for path, label, split in files]
    problems, forms, misnamed, sizes, same, greys = (
        collections.defaultdict(list) for _ in range(6))
    seen = look_at([path for path, _, _ in files], quick, progress)
    for (path, label, split), look in zip(files, seen, strict=True):
        if look.problem:
            problems[look.problem, look.reason].append(str(path))
        elif look.format and suffix_lies(path, look.format):
            misnamed[look.format].append(str(path))
        for form in look.forms:
            forms[form].append(str(path))
        if look.size:
            sizes[look.size].append(str(path))
            same[look.digest].append((str(path), label, split))
            greys[label].append(look.grey)
    findings = [_finding(kind, "error", reason or PROBLEMS[kind], problems[kind, reason])
                for kind, reason in sorted(problems, key=lambda key: (_ORDER[key[0]], key[1]))]
    findings += [_finding("wrong suffix", "note", f"{format} by content, otherwise by suffix; read "
                          "by content", misnamed[format]) for format in sorted(misnamed)]
    findings += [_finding(kind, "note", words, forms[kind]) for kind, words in FORMS.items()
                 if kind in forms]
    named = [(str(path), label, split) for path, label, split in files]
    return errors_first([*findings, *_mixed_sizes(sizes), *_stretched(sizes),
                         *_grey_beside_coloured(greys), *repeated(same, "image"),
                         *class_findings(named, classes, classes_file)])


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


def _stretched(sizes):
    """Advise resize=crop or pad if many images are far from square."""
    paths = [path for (width, height), each in sizes.items() for path in each
             if max(width, height) >= _ELONGATED * min(width, height)]
    if len(paths) >= _MANY * sum(map(len, sizes.values())) and paths:
        yield _finding("elongated", "note", f"{len(paths):,} images have one side at least twice "
                       "as long as the other, and resize=stretch, the default, squeezes them into "
                       "the network's shape; resize=crop and resize=pad keep proportions", paths)


def _grey_beside_coloured(greys):
    """Report if a class is grey and another one coloured: a network learns that and no more."""
    shares = {label: sum(each) / len(each) for label, each in greys.items()
              if len(each) >= _FEW_IMAGES}
    grey = [label for label, share in shares.items() if share >= 1 - _MANY]
    coloured = [label for label, share in shares.items() if share <= _MANY]
    if grey and coloured:
        yield Finding("grey class", "note", f"the images of {grey[0]!r} are grey, those of "
                      f"{coloured[0]!r} coloured: a network can tell these classes apart by colour "
                      "alone. Save all images in grey, if that does not belong to the classes", ())
