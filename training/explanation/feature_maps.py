"""Feature maps: the activations of each stage of a network for one input, as grey pictures.

After the live activation plots of J. Yosinski, J. Clune, A. Nguyen, T. Fuchs and H. Lipson,
"Understanding Neural Networks Through Deep Visualization", ICML Deep Learning Workshop 2015,
https://arxiv.org/abs/1506.06579
"""
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

_MAPS = 16   # shown of a stage, one picture each
_LINES = 32  # shown of the maps of a sentence, in one picture


def stage_maps(model: "keras.Model",
               image: np.ndarray) -> dict[str, tuple[tuple, list[np.ndarray]]]:
    """Return {stage: (output shape, pictures)} for an image, (height, width, channels)."""
    from zoo.stage import features, stages  # imports Keras, which servers of other engines lack
    names = list(stages(model))
    maps = features(model, names)(np.asarray(image, "float32")[None], training=False)
    return {name: (tuple(maps[name].shape[1:]), feature_maps(np.asarray(maps[name][0])))
            for name in names}


def feature_maps(values: np.ndarray) -> list[np.ndarray]:
    """Return pictures of a stage's output for one example: the maps that vary most, in order.

    Args:
        values: float array. (height, width, maps) gives up to 16 pictures. (tokens, maps) gives
            one, with a line for each of the 32 maps that vary most. (maps,) gives one, the values
            folded into lines.

    Returns:
        uint8 arrays (height, width), each map scaled from its minimum, 0, to its maximum, 255.
    """
    if values.ndim == 2:
        order = np.sort(np.argsort(-values.std(axis=0), kind="stable")[:_LINES])
        values = values.T[order][:, :, None]
    if values.ndim != 3 or values.shape[0] * values.shape[1] == 1:
        values = _folded(values.ravel())
    order = np.argsort(-values.std(axis=(0, 1)), kind="stable")[:_MAPS]
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    grey = (255 * (values - low) / np.maximum(high - low, 1e-12)).astype("uint8")
    return [grey[:, :, channel] for channel in sorted(order)]


def _folded(values):
    side = int(np.ceil(np.sqrt(values.size)))
    lines = -(-values.size // side)
    padding = (0, side * lines - values.size)
    return np.pad(values, padding, constant_values=values.min()).reshape(lines, side, 1)
