"""The filters of the first convolution as pictures.

After A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks", NIPS 2012, figure 3.
"""
import keras
import numpy as np

_FILTERS = 64  # shown


def first_filters(model: keras.Model) -> list[np.ndarray]:
    """Return pictures of the filters of the first 2-D convolution; [] if there is none.

    Returns:
        uint8 arrays (height, width), or (height, width, 3) where the layer sees colours. Mid-grey
        is a weight of 0, white the largest absolute weight of the filter, black its negative.
        With neither 1 nor 3 input channels, their mean is shown.
    """
    layer = next((layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)), None)
    if layer is None:
        return []
    filters = np.moveaxis(keras.ops.convert_to_numpy(layer.kernel), -1, 0)[:_FILTERS]
    if filters.shape[-1] != 3:
        filters = filters.mean(axis=-1)
    largest = np.abs(filters).max(axis=tuple(range(1, filters.ndim)), keepdims=True)
    return list(np.round(127.5 + 127.5 * filters / np.maximum(largest, 1e-12)).astype("uint8"))
