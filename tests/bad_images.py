"""Picture files, sound and with every defect that `zoo doctor` knows, made by Pillow."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.image_set import bmp

ENDINGS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp"}
_numbers = np.random.default_rng(0)


def picture(size=(24, 16), mode="RGB"):
    """A smooth picture that is like no other."""
    corners = Image.fromarray(_numbers.integers(0, 256, (3, 4, 3)).astype("uint8"))
    return corners.resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def defects():
    """{path: (kind, severity, content)} of one file each."""
    rgb, half_clear = picture(), picture(mode="RGBA")
    half_clear.putalpha(128)
    deep = _numbers.integers(0, 65536, (16, 24)).astype("uint16")
    two = {"save_all": True, "append_images": [picture()]}
    return {
        "train/cat/cut short.jpg": ("truncated", "error", encoded(rgb, "JPEG")[:-40]),
        "train/cat/empty.jpg": ("empty file", "error", b""),
        "train/cat/nulls.jpg": ("not an image", "error", bytes(400)),
        "train/dog/text.jpg": ("not an image", "error", b"kein Bild, no picture"),
        "train/dog/notes.db": ("not an image", "error", b"\xd0\xcf\x11\xe0 and so on"),
        "test/dog/scan.tiff": ("unsupported", "error", encoded(rgb, "TIFF")),
        "test/dog/moving.webp": ("unsupported", "error", encoded(rgb, "WEBP", **two)),
        "test/dog/squeezed.bmp": (
            "unsupported",
            "error",
            bmp((8, 2), 8, b"\x08\1\0\0\x08\2\0\1", compression=1, palette=bytes(1024)),
        ),
        "train/dog/palette.bmp": ("palette", "note", encoded(picture(mode="P"), "BMP")),
        "train/cat/twelve bits.png": (
            "unsupported",
            "error",
            encoded(Image.fromarray(deep >> 4), "PNG"),
        ),
        "train/cat/really a.png": ("wrong suffix", "note", encoded(picture(), "JPEG")),
        "train/dog/rgba.png": ("transparent", "note", encoded(half_clear, "PNG")),
        "train/dog/palette.png": ("palette", "note", encoded(picture(mode="P"), "PNG")),
        "train/cat/print.jpg": ("CMYK", "note", encoded(picture(mode="CMYK"), "JPEG")),
        "train/cat/deep.png": (
            "16-bit",
            "note",
            tf.io.encode_png(np.dstack([deep, deep // 2, deep // 3])).numpy(),
        ),
        "test/cat/deep grey.png": ("16-bit", "note", encoded(Image.fromarray(deep), "PNG")),
        "test/cat/moving.gif": ("animated", "note", encoded(picture(), "GIF", **two)),
        "train/Käse 🧀/auf der Seite.jpg": (
            "EXIF-rotated",
            "note",
            encoded(picture((16, 24)), "JPEG", exif=turned(6)),
        ),
        "train/Käse 🧀/large.jpg": ("mixed sizes", "note", encoded(picture((48, 32)), "JPEG")),
    }
