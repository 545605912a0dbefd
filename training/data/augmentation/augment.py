"""Augmentation of a batch of images and labels: a pure function of batch, settings, seed and step.

Each augmentation draws from the seed folded with its own name, so adding one does not change the
draws of the others, and each processes the whole batch at once. Keras's augmentation layers cannot
be used: their keras.random.SeedGenerator advances with every call, so that in tf.data the same step
gives different images in each pass.
"""
import math

import tensorflow as tf

from zoo.training.data.augmentation import image_ops as ops
from zoo.training.data.augmentation.randaugment import randaugment, trivial_augment

# The eigenvectors, in columns, and the eigenvalues of the covariance of ImageNet's red, green and
# blue, on a scale of 0 to 1, that are in use for Krizhevsky's noise (fb.resnet.torch, 2016).
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
EIGENVALUES = (0.2175, 0.0188, 0.0045)


def augment(images: tf.Tensor, labels: tf.Tensor, settings: dict,
            seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the batch with random changes, applied in the order below.

    Args:
        images: uint8 or float of shape (batch, height, width, 1 or 3), values in [0, 255]. Only the
            batch size may be unknown.
        labels: one-hot, float32 of shape (batch, classes).
        settings: a dict that passes `check`; absent, 0 or false leaves an augmentation out.
            flip, flip_vertical: true to mirror half of the images, at random.
            random_resized_crop, scale_jitter: not applied here but before, to the original image;
                see `zoo.training.data.augmentation.crops`.
            crop: pixels by which the image is padded with its reflection before a random crop of
                the original size (after He et al. 2016, section 4.2). Padding with black would
                change the statistics of batch normalization, and test images have no black edges.
            shift, rotate, zoom: the maximum in pixels, degrees and as a share, in both directions;
                pixels from outside the image are black.
            randaugment: {"n": operations, "m": magnitude}; see
                `zoo.training.data.augmentation.randaugment`.
            trivial_augment: true for one random operation of a random strength for each image; see
                the same module.
            brightness, contrast, saturation: the maximum difference of the factor from 1. Factor 0
                gives black, the mean grey, and the grey image.
            hue: the maximum rotation, as a share of the colour circle.
            pca_noise: the standard deviation of the noise of Krizhevsky et al. 2012, section 4.1,
                0.1 there: each image is lighter, darker or of another tint along the principal
                components of ImageNet's colours, in proportion to their eigenvalues.
            erase: the share of images in which a rectangle becomes noise (Zhong et al. 2020,
                algorithm 1).
            mixup: alpha of Beta(alpha, alpha), one draw per batch (Zhang et al. 2018).
            cutmix: likewise (Yun et al. 2019). With both, each batch gets one of them, with equal
                probability.
        seed: two integers, the seed and the step.

    Returns:
        Images, float32 in [0, 255] (unchanged if `settings` is empty), and labels, in the same
        shapes.
    """
    if not settings:
        return images, labels
    images = tf.cast(_mirror_and_crop(images, settings, seed), tf.float32)
    for change in (_affine, randaugment, trivial_augment, _jitter, _erase):
        images = change(images, settings, seed)
    images, labels = _mix(images, labels, settings, seed)
    return tf.clip_by_value(images, 0.0, 255.0), labels


def _mirror_and_crop(images, settings, seed):
    """Mirror and crop, which moves whole pixels and keeps the dtype."""
    count, pad = tf.shape(images)[0], settings.get("crop", 0)
    across = down = 1.0
    if settings.get("flip"):
        across = ops.signs(seed, "flip", (count,))
    if settings.get("flip_vertical"):
        down = ops.signs(seed, "flip_vertical", (count,))
    if not pad:
        if settings.get("flip"):
            images = ops.mirror(images, across < 0, 2)
        if settings.get("flip_vertical"):
            images = ops.mirror(images, down < 0, 1)
        return images
    moves = tf.random.stateless_uniform((2, count), ops.fold(seed, "crop"), -pad, pad + 1, tf.int32)
    return ops.move(images, across, moves[0], down, moves[1])


def _affine(images, settings, seed):
    """Shift, rotate and zoom in one interpolation."""
    if not any(settings.get(name) for name in ("shift", "rotate", "zoom")):
        return images
    count = tf.shape(images)[0]
    right, down, turn, zoom = tf.unstack(ops.uniform(seed, "affine", (4, count), -1.0, 1.0))
    turn, shift = turn * math.radians(settings.get("rotate", 0)), settings.get("shift", 0)
    zoom = tf.maximum(1.0 + zoom * settings.get("zoom", 0), 0.01)  # a divisor
    cos, sin = tf.cos(turn) / zoom, tf.sin(turn) / zoom
    moved = ops.matrices(count, 1.0, 0.0, -right * shift, 0.0, 1.0, -down * shift)
    matrices = ops.matrices(count, cos, -sin, 0.0, sin, cos, 0.0) @ moved
    return ops.warp(images, matrices)


def _jitter(images, settings, seed):
    """Change brightness, contrast, saturation, hue and tint, by a random amount per image."""
    shape = (tf.shape(images)[0], 1, 1, 1)
    for name, change in (("brightness", ops.brightness), ("contrast", ops.contrast),
                         ("saturation", ops.saturation)):
        if settings.get(name):
            amount = ops.uniform(seed, name, shape, -settings[name], settings[name])
            images = change(images, amount)
    if settings.get("hue") and images.shape[-1] == 3:
        hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images / 255), 3, axis=-1)
        hue = (hue + ops.uniform(seed, "hue", shape, -settings["hue"], settings["hue"])) % 1.0
        images = tf.image.hsv_to_rgb(tf.concat([hue, saturation, value], axis=-1)) * 255
    if settings.get("pca_noise") and images.shape[-1] == 3:
        shares = tf.random.stateless_normal((shape[0], 3), ops.fold(seed, "pca_noise"), 0.0,
                                            settings["pca_noise"])
        noise = 255 * tf.matmul(shares * EIGENVALUES, EIGENVECTORS, transpose_b=True)
        images += noise[:, None, None]
    return images


def _erase(images, settings, seed):
    """Replace a rectangle by noise.

    Its area is 0.02 to 0.4 of the image; height / width is 0.3 to 1 / 0.3, within what fits.
    """
    if not settings.get("erase"):
        return images
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    chance, area, aspect, down, across = tf.unstack(ops.uniform(seed, "erase", (5, count)))
    area = 0.02 + 0.38 * area
    low, high = tf.maximum(0.3, area * height / width), tf.minimum(1 / 0.3, height / (width * area))
    aspect = low + aspect * (high - low)
    tall = tf.minimum(tf.round(tf.sqrt(area * aspect * height * width)), height)
    wide = tf.minimum(tf.round(tf.sqrt(area / aspect * height * width)), width)
    top, left = tf.floor(down * (height - tall + 1)), tf.floor(across * (width - wide + 1))
    tall = tf.where(chance < settings["erase"], tall, 0.0)
    inside = ops.boxes(top, tall, left, wide, height, width)
    noise = ops.uniform(seed, "erase noise", tf.shape(images), 0.0, 255.0)
    pixels = [tf.reshape(each, (-1, images.shape[-1])) for each in (noise, images)]
    # Copies whole pixels, in half the time that a condition takes which is broadcast.
    erased = tf.compat.v1.where(tf.reshape(inside, (-1,)), *pixels)
    return tf.ensure_shape(tf.reshape(erased, tf.shape(images)), images.shape)


def _mix(images, labels, settings, seed):
    """Mix each image and its label, in the same proportion, with another of the batch."""
    height, width = images.shape[1:3]
    choices = []
    if settings.get("mixup"):
        share = ops.beta(seed, "mixup", settings["mixup"])
        choices.append((share, share))
    if settings.get("cutmix"):
        choices.append(_cutmix(settings["cutmix"], height, width, seed))
    if not choices:
        return images, labels
    mask, share = choices[0]
    if len(choices) == 2:
        first = ops.uniform(seed, "mixup or cutmix", ()) < 0.5
        mask, share = (tf.where(first, *pair) for pair in zip(*choices, strict=True))
    others = tf.random.experimental.stateless_shuffle(
        tf.range(tf.shape(images)[0]), ops.fold(seed, "others"))
    return (mask * images + (1.0 - mask) * tf.gather(images, others),
            share * labels + (1.0 - share) * tf.gather(labels, others))


def _cutmix(alpha, height, width, seed):
    """Return a mask of the pixels that stay and their share (Yun et al. 2019, section 3.1).

    The mask is 1 or 0, float32 of shape (1, height, width, 1).
    """
    side = tf.sqrt(1.0 - ops.beta(seed, "cutmix", alpha))[None]
    tall, wide = tf.round(side * height), tf.round(side * width)
    down, across = tf.unstack(ops.uniform(seed, "cutmix box", (2, 1)))
    top, left = tf.floor(down * height) - tall // 2, tf.floor(across * width) - wide // 2
    mask = 1.0 - tf.cast(ops.boxes(top, tall, left, wide, height, width), tf.float32)
    return mask, tf.reduce_sum(mask) / (height * width)
