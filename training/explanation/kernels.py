"""Classical image kernels, written by hand: what convolutions computed before they were learnt."""
import os

import numpy as np

from zoo.filters import KERNELS, filters
from zoo.training.preprocessing.images import fit_to, read_image

_SIDE = 480  # pixels; larger images are shrunk, so that kernels of 3x3 pixels show


def through(file: str | os.PathLike[str]) -> list[tuple[np.ndarray, str]]:
    """Return [(uint8 pixels (height, width, 3), name)] of an image through each `KERNELS`.

    Raises:
        zoo.errors.UserError: if the file cannot be read or is not an image.
    """
    image = read_image(file)
    scale = min(1, _SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    maps = filters(kernels=tuple(KERNELS))(fit_to(image[None], (height, width, 3)))
    return [(np.clip(np.round(np.asarray(maps[name][0])), 0, 255).astype("uint8"),
             name.replace("_", " ")) for name in KERNELS]
