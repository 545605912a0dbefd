"""An image through the classical kernels: what convolutions did before they were learnt."""
import keras
import numpy as np

from zoo.filters import KERNELS, filters
from zoo.training.explanation.images import read_image

_SIDE = 480  # pixels; larger images are shrunk first


def through(file):
    """Return [(pixels, kernel's name)] of an image file through each of `zoo.filters.KERNELS`: uint8 (height, width, 3).

    An image of more than 480 pixels a side is shrunk first, so that kernels of 3x3 pixels show.

    Raises:
        zoo.errors.UserError: if the file cannot be read or is no image.
    """
    image = read_image(file)
    shrink = min(1, _SIDE / max(image.shape[:2]))
    size = [max(1, round(side * shrink)) for side in image.shape[:2]]
    pixels = keras.ops.image.resize(image.astype("float32")[None], size, antialias=True)
    found = filters(kernels=tuple(KERNELS))(pixels)
    return [(np.clip(np.round(np.asarray(found[name][0])), 0, 255).astype("uint8"), name.replace("_", " "))
            for name in KERNELS]
