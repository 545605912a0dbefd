"""Classical image kernels, written by hand: what convolutions computed before they were learnt."""
import os
from typing import NamedTuple

import numpy as np

from zoo.filters import KERNELS, filters
from zoo.training.preprocessing.images import fit_to, read_image

GAIN = 4     # of the pictures of differences
_SIDE = 480  # pixels; larger images are shrunk, so that kernels of 3x3 pixels show
_MIDDLE = 128


class Filtered(NamedTuple):
    """An image through a kernel.

    Attributes:
        name: of the kernel, in words.
        kernel: its weights, (3, 3).
        pixels: uint8 (height, width, 3). A derivative is shown around middle grey, which is 0.
        difference: uint8, `GAIN` times the change that the kernel makes, around middle grey; None
            for a derivative and for the identity.
    """

    name: str
    kernel: np.ndarray
    pixels: np.ndarray
    difference: np.ndarray | None


def through(file: str | os.PathLike[str]) -> list[Filtered]:
    """Return an image through each of `zoo.filters.KERNELS`.

    Raises:
        zoo.errors.UserError: if the file cannot be read or is not an image.
    """
    image = read_image(file)
    scale = min(1, _SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    image = np.asarray(fit_to(image[None], (height, width, 3)))
    maps = filters(kernels=tuple(KERNELS))(image)
    return [_filtered(name, np.asarray(maps[name][0]), image[0]) for name in KERNELS]


def _filtered(name, values, image):
    kernel, difference = KERNELS[name], None
    if not kernel.sum():
        values = values + _MIDDLE
    elif name != "identity":
        difference = _to_uint8(_MIDDLE + GAIN * (values - image))
    return Filtered(name.replace("_", " "), kernel, _to_uint8(values), difference)


def _to_uint8(values):
    return np.clip(np.round(values), 0, 255).astype("uint8")
