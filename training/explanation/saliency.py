"""Saliency: how strongly a change of each pixel would change the logit of a class.

K. Simonyan, A. Vedaldi and A. Zisserman, "Deep Inside Convolutional Networks: Visualising Image
Classification Models and Saliency Maps", ICLR Workshop 2014, section 3,
https://arxiv.org/abs/1312.6034
"""
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


def saliency(model: keras.Model, images: np.ndarray,
             class_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the saliency map of one class for each image.

    It is the absolute gradient of the logit with respect to each pixel, of the channel in which it
    is largest.

    Args:
        model: from images to logits.
        images: (n, height, width, channels) in [0, 255].
        class_ids: n integers.

    Returns:
        float32 (n, height, width) in [0, 1], each scaled to its maximum; all 0 where the gradient
        is.
    """
    images = tf.cast(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images, training=False)
        selected = tf.gather(logits, tf.cast(class_ids, tf.int32), axis=1, batch_dims=1)
    largest = tf.reduce_max(tf.abs(tape.gradient(selected, images)), axis=-1)
    return tf.math.divide_no_nan(
        largest, tf.reduce_max(largest, axis=(1, 2), keepdims=True)).numpy()
