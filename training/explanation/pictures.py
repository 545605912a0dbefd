"""Pixels as PNG files for a page."""
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
    grey = pixels.ndim == 3 and pixels.shape[2] not in (3, 4)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    if max(image.size) > side:
        image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
