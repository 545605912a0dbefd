"""Small pictures of what a network holds: feature maps, filters, heat on an image."""
import io

import numpy as np
from PIL import Image

MAPS = 16   # shown of a stage, each in a picture
LINES = 32  # of a sentence's maps, in one picture
SIDE = 128  # pixels of a picture at most; a page enlarges smaller ones
_ORANGE = np.array((255, 120, 0))
_COVER = 0.75  # how much of the image the most heat hides


def feature_maps(values, most=MAPS):
    """Return pictures of a stage's output for one example, the maps that vary most, in order: uint8 (height, width) each.

    Args:
        values: float array (height, width, maps); or, in one picture, (tokens, maps), a line for each of the `LINES` that vary
            most, or (maps,), whose numbers are folded to lines of as many. A picture's own range becomes black to white.
        most: how many at most.
    """
    if values.ndim == 2:
        values = values.T[np.sort(np.argsort(-values.std(axis=0), kind="stable")[:LINES])][:, :, None]
    maps = values if values.ndim == 3 and values.shape[0] * values.shape[1] > 1 else _folded(values.ravel())
    order = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:most]
    low, high = maps.min(axis=(0, 1)), maps.max(axis=(0, 1))
    grey = (255 * (maps - low) / np.maximum(high - low, 1e-12)).astype("uint8")
    return [grey[:, :, channel] for channel in sorted(order)]


def _folded(numbers):
    side = int(np.ceil(np.sqrt(numbers.size)))
    lines = -(-numbers.size // side)
    return np.pad(numbers, (0, side * lines - numbers.size), constant_values=numbers.min()).reshape(lines, side, 1)


def filters(kernel, most=64):
    """Return pictures of the first `most` filters of a layer: uint8 (height, width), or (height, width, 3) for colours.

    Mid-grey is a weight of 0, white the largest of the filter's weights without their signs, black its negative.

    Args:
        kernel: float array (height, width, inputs, filters). With other than 1 or 3 inputs their mean is shown.
    """
    kernel = np.moveaxis(kernel, -1, 0)[:most]
    if kernel.shape[-1] != 3:
        kernel = kernel.mean(axis=-1)
    largest = np.abs(kernel).max(axis=tuple(range(1, kernel.ndim)), keepdims=True)
    return list(np.round(127.5 + 127.5 * kernel / np.maximum(largest, 1e-12)).astype("uint8"))


def heated(image, heat):
    """Return `image`, uint8 (height, width, 1 or 3), under orange as thick as `heat`, 0 to 1, (height, width): uint8 RGB."""
    cover = _COVER * heat[..., None]
    return np.round(image * (1 - cover) + _ORANGE * cover).astype("uint8")


def png(pixels, side=SIDE):
    """Return the PNG file of uint8 pixels, (height, width) or (height, width, 1 or 3), shrunk to `side` pixels if larger."""
    grey = pixels.ndim == 3 and pixels.shape[2] not in (3, 4)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    if max(image.size) > side:
        image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
