"""Pixels as image files for a page."""
import io

import numpy as np
from PIL import Image

SIDE = 128  # pixels of a picture at most; a page enlarges smaller ones


def png(pixels: np.ndarray, side: int = SIDE) -> bytes:
    """Return the PNG file of an image, shrunk to `side` pixels if it is larger.

    Args:
        pixels: uint8 (height, width), (height, width, 1) or (height, width, 3).
        side: the largest height and width.
    """
    return _file(_shrunk(pixels, side), format="PNG")


def smallest(pixels: np.ndarray, side: int = SIDE) -> tuple[bytes, str]:
    """Return the smaller one of an image's PNG and WebP files, and its media type.

    WebP has lost details that the eye does not see. Arguments are those of `png`.
    """
    image = _shrunk(pixels, side)
    return min(((_file(image, format="PNG"), "image/png"),
                (_file(image, format="WEBP", quality=82, method=4), "image/webp")),
               key=lambda file: len(file[0]))


def _shrunk(pixels, side):
    grey = pixels.ndim == 3 and pixels.shape[2] not in (3, 4)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    if max(image.size) > side:
        image.thumbnail((side, side))
    return image


def _file(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()
