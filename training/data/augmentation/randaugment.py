"""RandAugment (Cubuk et al. 2020) and TrivialAugment (Müller and Hutter 2021) of a whole batch."""
import math

import tensorflow as tf

from zoo.training.data.augmentation import image_ops as ops

_GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_COLOUR = (ops.auto_contrast, ops.equalize, ops.solarize, ops.posterize, ops.saturation,
           ops.contrast, ops.brightness, ops.sharpness)
_OPERATIONS = len(_COLOUR) + 1 + len(_GEOMETRY)  # 1: no change
# The strongest amounts of _COLOUR.
_NARROW = (0.0, 0.0, 256.0, 4.0, 0.9, 0.9, 0.9, 0.9)
_WIDE = (0.0, 0.0, 256.0, 6.0, 0.99, 0.99, 0.99, 0.99)
_WIDE_GEOMETRY = (math.radians(135), 0.99, 0.99, 32.0, 32.0)
_BINS = 31  # strengths of TrivialAugment, from none to the strongest


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
    drawn = tf.random.stateless_uniform(
        (n, count), ops.fold(seed, "randaugment"), 0, _OPERATIONS, tf.int32)
    signs = ops.signs(seed, "randaugment signs", (n, count))
    strengths = settings["randaugment"]["m"] / 10 * signs
    height, width = images.shape[1:3]
    highest = (math.radians(30), 0.3, 0.3, width * 10 / 32, height * 10 / 32)
    return _apply(images, drawn, strengths, highest, _NARROW)


def trivial_augment(images: tf.Tensor, settings: dict, seed: tf.Tensor) -> tf.Tensor:
    """Apply one of RandAugment's 14 operations to each image, with a strength of its own.

    Operation and strength are uniform; the strengths are the paper's 31 bins of its wide space,
    "TA (Wide)": rotations to 135 degrees, shears to 0.99, translations to 32 pixels, enhancements
    by 0.01 to 1.99, 8 to 2 bits, and inversion of all levels above 256 to 0. The sign of geometric
    operations and enhancements is random, as there. Pixels from outside the image are black.

    Args:
        images, seed: as for `randaugment`.
        settings: the settings of `augment`; "trivial_augment" is true or false.
    """
    if not settings.get("trivial_augment"):
        return images
    shape = (1, tf.shape(images)[0])
    drawn = tf.random.stateless_uniform(
        shape, ops.fold(seed, "trivial_augment"), 0, _OPERATIONS, tf.int32)
    bins = tf.random.stateless_uniform(
        shape, ops.fold(seed, "trivial_augment bins"), 0, _BINS, tf.int32)
    strengths = tf.cast(bins, tf.float32) / (_BINS - 1)
    strengths *= ops.signs(seed, "trivial_augment signs", shape)
    return _apply(images, drawn, strengths, _WIDE_GEOMETRY, _WIDE)


def _apply(images, drawn, strengths, geometry, colour):
    """Apply operations one after another, the geometric ones of an image first.

    Args:
        images: float32.
        drawn: int32 (operations, batch): a number of _COLOUR, of no change, or of _GEOMETRY.
        strengths: float32 (operations, batch), from -1 to 1.
        geometry, colour: the strongest amounts of _GEOMETRY and _COLOUR.
    """
    matrices = tf.eye(3, batch_shape=[tf.shape(images)[0]])
    for i in range(drawn.shape[0]):
        matrices = matrices @ _geometry(drawn[i] - len(_COLOUR) - 1, strengths[i], geometry)
    images = ops.warp(images, matrices)
    for i in range(drawn.shape[0]):
        images = _colour(images, tf.minimum(drawn[i], len(_COLOUR)), strengths[i], colour)
    return images


def _geometry(drawn, strengths, highest):
    """Return the matrices of the operations _GEOMETRY[drawn], or the identity for other numbers."""
    amounts = tf.one_hot(drawn, len(_GEOMETRY)) * strengths[:, None] * highest
    turn, shear_x, shear_y, right, down = tf.unstack(amounts, axis=1)
    return ops.matrices(tf.shape(drawn)[0], tf.cos(turn), shear_x - tf.sin(turn), right,
                        shear_y + tf.sin(turn), tf.cos(turn), down)


def _colour(images, drawn, strengths, highest):
    """Apply the operation _COLOUR[drawn] to each image; the number after the last changes nothing.

    Each operation is computed for its own images only.
    """
    groups = tf.dynamic_partition(tf.range(tf.shape(images)[0]), drawn, len(_COLOUR) + 1)
    changed = [tf.gather(images, group) for group in groups]
    for i, (operation, strongest) in enumerate(zip(_COLOUR, highest, strict=True)):
        amounts = strongest * tf.gather(strengths, groups[i])[:, None, None, None]
        changed[i] = operation(changed[i], amounts)
    return tf.ensure_shape(tf.dynamic_stitch(groups, changed), images.shape)
