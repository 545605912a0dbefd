"""RandAugment (Cubuk et al. 2020) for a whole batch."""
import math

import tensorflow as tf

from zoo.training.data.augmentation import image_ops as ops

_GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_COLOUR = ((ops.auto_contrast, 0.0), (ops.equalize, 0.0), (ops.solarize, 256.0),
           (ops.posterize, 4.0), (ops.saturation, 0.9), (ops.contrast, 0.9), (ops.brightness, 0.9),
           (ops.sharpness, 0.9))  # operation, strongest amount


def randaugment(images: tf.Tensor, settings: dict, seed: tf.Tensor) -> tf.Tensor:
    """Apply n of the paper's 14 operations to each image, all with the magnitude m.

    The ranges are AutoAugment's (Cubuk et al. 2019, table 6). They are reached at m = 10, where
    every operation is strongest; translations reach 10/32 of the side, and the sign of the
    enhancements is random too. Unlike in the paper, the geometric operations of an image come first
    and form one interpolation, and pixels from outside the image are black.

    Args:
        images: float32 of shape (batch, height, width, 1 or 3), values in [0, 255].
        settings: the settings of `augment`; "randaugment" is {"n": operations, "m": magnitude}.
        seed: two integers, the seed and the step.
    """
    if not settings.get("randaugment"):
        return images
    n, count = settings["randaugment"]["n"], tf.shape(images)[0]
    total = len(_COLOUR) + 1 + len(_GEOMETRY)  # 1: no change
    drawn = tf.random.stateless_uniform(
        (n, count), ops.fold(seed, "randaugment"), 0, total, tf.int32)
    signs = ops.signs(seed, "randaugment signs", (n, count))
    strengths = settings["randaugment"]["m"] / 10 * signs
    matrices = tf.eye(3, batch_shape=[count])
    for i in range(n):
        geometry = drawn[i] - len(_COLOUR) - 1
        matrices = matrices @ _geometry(geometry, strengths[i], *images.shape[1:3])
    images = ops.warp(images, matrices, "BILINEAR")
    for i in range(n):
        images = _colour(images, tf.minimum(drawn[i], len(_COLOUR)), strengths[i])
    return images


def _geometry(drawn, strengths, height, width):
    """Return the matrices of the operations _GEOMETRY[drawn], or the identity for other numbers."""
    highest = (math.radians(30), 0.3, 0.3, width * 10 / 32, height * 10 / 32)
    amounts = tf.one_hot(drawn, len(_GEOMETRY)) * strengths[:, None] * highest
    turn, shear_x, shear_y, right, down = tf.unstack(amounts, axis=1)
    return ops.matrices(tf.shape(drawn)[0], tf.cos(turn), shear_x - tf.sin(turn), right,
                        shear_y + tf.sin(turn), tf.cos(turn), down)


def _colour(images, drawn, strengths):
    """Apply the operation _COLOUR[drawn] to each image; the number after the last changes nothing.

    Each operation is computed for its own images only.
    """
    groups = tf.dynamic_partition(tf.range(tf.shape(images)[0]), drawn, len(_COLOUR) + 1)
    changed = [tf.gather(images, group) for group in groups]
    for i, (operation, highest) in enumerate(_COLOUR):
        amounts = highest * tf.gather(strengths, groups[i])[:, None, None, None]
        changed[i] = operation(changed[i], amounts)
    return tf.ensure_shape(tf.dynamic_stitch(groups, changed), images.shape)
