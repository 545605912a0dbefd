"""The classical 3x3 kernels as fixed convolutions: image filters before their weights were learnt.

The kernels are those of https://en.wikipedia.org/wiki/Kernel_(image_processing), which J. Tan Chong
Min's course "Convolutional Neural Networks (CNN)" shows. The model has no logits, so `filters` is
not registered under a name.
"""
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from zoo.blocks import ImageShape
from zoo.errors import unknown

KERNELS = {
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "box_blur": np.ones((3, 3)) / 9,
    "gaussian_blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,
    "emboss": np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
    "laplacian": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "sobel_x": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "sobel_y": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
}


def filters(input_shape: ImageShape = (None, None, 3),
            kernels: Sequence[str] = ("sharpen", "box_blur", "gaussian_blur")) -> keras.Model:
    """Return a model of classical filters, fixed depthwise convolutions that keep the image's size.

    Args:
        input_shape: (height, width, channels) of images in [0, 255]; None is any height or width.
        kernels: keys of `KERNELS`.

    Returns:
        A `keras.Model` from images of shape (batch, *input_shape) to a dict from kernel name to
        float32 images of the same shape. They are not clipped: sharpening leaves [0, 255], and
        the derivatives (laplacian, sobel_x, sobel_y) are 0 where the image is even. The image is
        padded with black.

    Raises:
        zoo.errors.UsageError: if a kernel is unknown.
    """
    for name in kernels:
        if name not in KERNELS:
            raise unknown("kernel", name, KERNELS)
    image = keras.Input(tuple(input_shape), name="image")
    return keras.Model(image, {name: _filter(image, name) for name in kernels}, name="filters")


def _filter(image, name):
    layer = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False,
                                   dtype="float32", name=name)
    filtered = layer(image)
    layer.set_weights([np.tile(KERNELS[name][:, :, None, None], (1, 1, image.shape[-1], 1))])
    return filtered
