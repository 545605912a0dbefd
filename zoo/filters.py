"""The classical 3x3 kernels as convolutions with weights written by hand: what filters did before they were learnt.

The kernels are those of https://en.wikipedia.org/wiki/Kernel_(image_processing), which J. Tan Chong Min's course
"Convolutional Neural Networks (CNN)" shows. There are no logits, so this is a builder of its own, under no name of the zoo.
"""
import keras
import numpy as np
from keras import layers

from zoo.errors import unknown

KERNELS = {
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "box_blur": np.ones((3, 3)) / 9,
    "gaussian_blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,
}


def filters(input_shape=(None, None, 3), kernels=("sharpen", "box_blur", "gaussian_blur")):
    """Return the classical filters as a model: each is a fixed depthwise convolution that keeps the size of the image.

    Args:
        input_shape: (height, width, channels) of images in [0, 255]; None is any size.
        kernels: names out of `KERNELS`.

    Returns:
        A `keras.Model` from images of shape (batch, *input_shape) to a dict from kernel name to float32 images of the same
        shape. They are not clipped: sharpening leaves [0, 255]. The image is padded with black.

    Raises:
        zoo.errors.UsageError: if a kernel is unknown.
    """
    for name in kernels:
        if name not in KERNELS:
            raise unknown("kernel", name, KERNELS)
    image = keras.Input(tuple(input_shape), name="image")
    return keras.Model(image, {name: _filter(image, name) for name in kernels}, name="filters")


def _filter(image, name):
    layer = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False, dtype="float32", name=name)
    filtered = layer(image)
    layer.set_weights([np.tile(KERNELS[name][:, :, None, None], (1, 1, image.shape[-1], 1))])
    return filtered
