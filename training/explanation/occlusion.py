"""Occlusion: how much the probability of a class drops when a patch of the image is covered.

M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
section 4.2 and figure 7, https://arxiv.org/abs/1311.2901
"""
from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

_POSITIONS = 11  # of the patch along each side
_SHARE = 0.22    # of a side that the patch covers: 50 of 224 pixels in the paper
_BATCH_SIZE = 32


def occlusion(model: keras.Model, image: np.ndarray,
              class_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return for each class the drop of its probability by the position of a patch.

    The patch has the mean colour of the image; in the paper it is grey, the mean of its data.

    Args:
        model: from images to logits.
        image: (height, width, channels) in [0, 255].
        class_ids: n integers.

    Returns:
        float32 (n, rows, columns): the probability without a patch less that with the patch; the
        first is that of the patch in the upper left corner. An image of at least 14 pixels a side
        has 11 rows and columns.
    """
    image = np.asarray(image, "float32")
    (tops, height), (lefts, width) = map(_patches, image.shape[:2])
    covered = np.repeat(image[None], 1 + len(tops) * len(lefts), axis=0)
    colour = image.mean(axis=(0, 1))
    for i, (top, left) in enumerate(((y, x) for y in tops for x in lefts), 1):
        covered[i, top:top + height, left:left + width] = colour
    logits = np.concatenate([
        keras.ops.convert_to_numpy(model(covered[first:first + _BATCH_SIZE], training=False))
        for first in range(0, len(covered), _BATCH_SIZE)])
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[:, np.asarray(class_ids)]
    drops = probabilities[0] - probabilities[1:]
    return drops.T.reshape(-1, len(tops), len(lefts))


def heat(drops: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return drops as heat for `zoo.training.explanation.grad_cam.overlay`.

    Args:
        drops: (rows, columns), see `occlusion`.
        shape: height and width of the image.

    Returns:
        float32 (height, width) in [0, 1]: 1 at the largest drop, 0 where the probability rises.
    """
    height, width = shape[:2]
    scaled = drops.clip(0) / max(float(drops.max()), 1e-12)
    image = Image.fromarray(scaled.astype("float32"))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _patches(side):
    """The first pixels of the patches along a side, and their size."""
    size = max(round(_SHARE * side), 1)
    count = min(_POSITIONS, side - size + 1)
    return np.linspace(0, side - size, count).round().astype(int), size
