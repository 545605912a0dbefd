"""RandAugment (Cubuk et al. 2020), for a batch at a time."""
import math

import tensorflow as tf

from zoo.training.data.augmentation import image_ops as ops


def randaugment(images, settings, seed):
    """RandAugment (Cubuk et al. 2020): n of the paper's 14 operations for each image, of the one magnitude m.

    The ranges are AutoAugment's (Cubuk et al. 2019, table 6), reached at m = 10, where every operation is strongest;
    translations go up to 10/32 of the side, and signs are drawn for enhancements too. Unlike the paper, all geometric
    operations of an image come first, as one interpolation, and black comes in.
    """
    if not settings.get("randaugment"):
        return images
    n, count = settings["randaugment"]["n"], tf.shape(images)[0]
    total = len(_COLOUR) + 1 + len(_GEOMETRY)  # one leaves the image as it is
    drawn = tf.random.stateless_uniform((n, count), ops.fold(seed, "randaugment"), 0, total, tf.int32)
    strengths = settings["randaugment"]["m"] / 10 * ops.signs(seed, "randaugment signs", (n, count))
    matrices = tf.eye(3, batch_shape=[count])
    for i in range(n):
        matrices = matrices @ _geometry(drawn[i] - len(_COLOUR) - 1, strengths[i], *images.shape[1:3])
    images = ops.warp(images, matrices, "BILINEAR")
    for i in range(n):
        images = _colour(images, tf.minimum(drawn[i], len(_COLOUR)), strengths[i])
    return images


_GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def _geometry(drawn, strengths, height, width):
    """The matrices of the operations of _GEOMETRY with the numbers `drawn`; other numbers change nothing."""
    highest = (math.radians(30), 0.3, 0.3, width * 10 / 32, height * 10 / 32)
    amounts = tf.one_hot(drawn, len(_GEOMETRY)) * strengths[:, None] * highest
    turn, shear_x, shear_y, right, down = tf.unstack(amounts, axis=1)
    return ops.matrices(tf.shape(drawn)[0], tf.cos(turn), shear_x - tf.sin(turn), right,
                        shear_y + tf.sin(turn), tf.cos(turn), down)


def _colour(images, drawn, strengths):
    """Apply to each image the operation of _COLOUR with the number `drawn`, if there is one, computing no other."""
    parts = tf.dynamic_partition(tf.range(tf.shape(images)[0]), drawn, len(_COLOUR) + 1)
    changed = [tf.gather(images, part) for part in parts]
    for i, (operation, highest) in enumerate(_COLOUR):
        changed[i] = operation(changed[i], highest * tf.gather(strengths, parts[i])[:, None, None, None])
    return tf.ensure_shape(tf.dynamic_stitch(parts, changed), images.shape)


_COLOUR = ((ops.auto_contrast, 0.0), (ops.equalize, 0.0), (ops.solarize, 256.0), (ops.posterize, 4.0),
           (ops.saturation, 0.9), (ops.contrast, 0.9), (ops.brightness, 0.9), (ops.sharpness, 0.9))
