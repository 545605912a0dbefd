"""What is in an image file: whether training can decode it, unusual forms, a hash of its pixels.

TensorFlow decodes in training, so TensorFlow decides here; Pillow reads the header, and says why
TensorFlow fails.
"""
import dataclasses
import functools
import hashlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from zoo.training.preprocessing.images import decode

PROBLEMS = {  # files that training cannot use
    "unreadable": "cannot be read from the disk",
    "empty file": "holds no bytes",
    "not an image": "holds no JPEG, PNG, GIF, BMP or WebP image",
    "truncated": "cut short or damaged, cannot be decoded",
    "unsupported": "TensorFlow does not decode this kind of image; save it as PNG",
    "wrong colours": "TensorFlow takes the numbers of this BMP's palette for grey; save it as PNG",
}
FORMS = {  # files that training can use, and what it makes of them
    "transparent": "the transparency is dropped, the colours beneath it are seen",
    "palette": "palettes become colours",
    "CMYK": "converted to RGB",
    "16-bit": "reduced to 8 bits",
    "animated": "the first picture is taken",
    "EXIF-rotated": "turned upright as their EXIF data asks",
}
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG",
            ".gif": "GIF", ".bmp": "BMP", ".dib": "BMP", ".webp": "WebP"}
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_MAGIC_BYTES = 12
_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF 2.3, 4.6.4 A
_PNG_BIT_DEPTH = 24                 # its offset in the file: PNG, 11.2.2
# What Pillow raises at a damaged header or EXIF block: what it catches when it tries its formats,
# and its own error.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error,
                  Image.DecompressionBombError)
_CHUNK = 128  # files between two reports of progress
# One call for its many operations.
_decode = tf.function(decode, input_signature=[tf.TensorSpec((), tf.string)])


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What is in a file; None or empty where it was not examined or is unknown."""

    format: str | None = None   # a value of SUFFIXES
    problem: str | None = None  # a key of PROBLEMS
    forms: tuple = ()           # keys of FORMS
    size: tuple | None = None   # (width, height)
    digest: bytes | None = None  # of the decoded pixels


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


def look(path, quick: bool = False) -> Seen:
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
    if quick:
        return Seen(format, None if format else "not an image")
    return _decoded(data, format)


def suffix_lies(path, format: str) -> bool:
    """Return whether the suffix of `path` stands for an image format other than `format`."""
    return SUFFIXES.get(Path(path).suffix.lower(), format) != format


def _decoded(data, format):
    try:
        pixels = _decode(data).numpy()
    except tf.errors.OpError:
        return Seen(format, _why(data, format))
    forms = ()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if format == "BMP" and not np.array_equal(pixels, np.asarray(image.convert("RGB"))):
                return Seen(format, "wrong colours")
            forms = tuple(_forms(image, data, format))
    except _PILLOW_ERRORS:
        pass  # TensorFlow has decoded it; only its forms stay unknown
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels)
    return Seen(format, None, forms, (pixels.shape[1], pixels.shape[0]), digest.digest())


def _why(data, format):
    """Why TensorFlow could not decode `data`.

    Pillow accepts PNG and GIF files without their end, so these are damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if format:  # else the header is enough; for some formats Pillow starts a program
                image.load()
    except _PILLOW_ERRORS:
        return "truncated" if format else "not an image"
    return "truncated" if format in ("JPEG", "PNG", "GIF") else "unsupported"


def _forms(image, data, format):
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        yield "transparent"
    if image.mode in ("P", "PA"):
        yield "palette"
    if image.mode == "CMYK":
        yield "CMYK"
    if format == "PNG" and data[_PNG_BIT_DEPTH] == 16:
        yield "16-bit"
    # In a JPEG, further pictures are previews of the first.
    if format != "JPEG" and getattr(image, "is_animated", False):
        yield "animated"
    if "exif" in image.info and image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
        yield "EXIF-rotated"
