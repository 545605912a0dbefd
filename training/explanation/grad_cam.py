"""Grad-CAM: where in an image a network sees a class.

R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh and D. Batra, "Grad-CAM: Visual
Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
https://arxiv.org/abs/1610.02391
"""
from collections.abc import Sequence
from typing import cast

import keras
import numpy as np
import tensorflow as tf

from zoo.stage import stages

_ORANGE = np.array((255, 120, 0))
_LUMA = np.array((0.299, 0.587, 0.114))  # ITU-R BT.601
_COVER = 0.75  # how much of the image the highest value hides


def last_map(model: keras.Model) -> str | None:
    """Return the last stage whose output is a map of several pixels; None if there is none."""
    for stage, layer in reversed(stages(model).items()):
        shape = model.get_layer(layer).output.shape
        if len(shape) == 4 and shape[1] * shape[2] > 1:
            return stage
    return None


def grad_cam(model: keras.Model, images: np.ndarray, class_ids: Sequence[int] | np.ndarray,
             stage: str | None = None) -> np.ndarray:
    """Return the Grad-CAM of one class for each image (equations 1 and 2).

    Each map of the stage is weighted by the gradient of the logit, averaged over the pixels.

    Args:
        model: from images to logits.
        images: (n, height, width, channels) in [0, 255].
        class_ids: n integers.
        stage: one of `zoo.stages(model)`; by default `last_map(model)`.

    Returns:
        float32 (n, height, width) in [0, 1], each scaled to its maximum; all 0 where no map
        raises the logit.
    """
    layer = stages(model)[cast(str, stage or last_map(model))]
    tapped = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    images = tf.cast(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)  # the weights may all be frozen
        maps, logits = tapped(images, training=False)
        selected = tf.gather(logits, tf.cast(class_ids, tf.int32), axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(selected, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
    heat = tf.image.resize(heat, images.shape[1:3])[..., 0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return an image in grey under orange that is as opaque as its heat.

    In its own colours an orange flower would hide the heat.

    Args:
        image: uint8 (height, width, 1 or 3).
        heat: (height, width) in [0, 1].

    Returns:
        uint8 RGB pixels (height, width, 3).
    """
    cover = _COVER * heat[..., None]
    grey = image @ _LUMA[:, None] if image.shape[-1] == 3 else image
    return np.round(grey * (1 - cover) + _ORANGE * cover).astype("uint8")
