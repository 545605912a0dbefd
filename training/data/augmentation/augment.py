"""Random changes to a batch of images and labels: a pure function of the batch, the settings and (seed, step).

Each part draws from the seed folded with its own name, so that adding one leaves the draws of the others as they were, and
each changes the whole batch at once. Keras's augmentation layers will not do: they draw from a counter
(keras.random.SeedGenerator) that every call moves on, so in tf.data the same step differs from one pass to the next.
"""
import math

import tensorflow as tf

from zoo.errors import UsageError, unknown
from zoo.training.data.augmentation import image_ops as ops
from zoo.training.data.augmentation.randaugment import randaugment

MIXING = {"mixup", "cutmix"}  # change the labels too
_SWITCHES = ("flip", "flip_vertical")
_HIGHEST = {"shift": 1000, "rotate": 180, "zoom": 1, "crop": 1000, "brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5,
            "erase": 1, "mixup": 100, "cutmix": 100}
_RANDAUGMENT = {"n": (1, 14), "m": (0, 10)}
AUGMENTATIONS = (*_SWITCHES, *_HIGHEST, "randaugment")


def check(settings, channels=3):
    """Raise UsageError unless `augment` can do `settings` to images of so many channels.

    Grey images have no saturation and no hue: these are refused for one channel.
    """
    if not isinstance(settings, dict):
        raise UsageError(f"augment must be a dictionary such as {{'crop': 4, 'flip': True}}. Received: {settings!r}.")
    for name, value in settings.items():
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
        if name in _SWITCHES:
            if not isinstance(value, bool):
                raise UsageError(f"{name} must be true or false. Received: {value!r}.")
        elif name == "randaugment":
            _check_randaugment(value)
        else:
            _check_number(name, value, 0, _HIGHEST[name], whole=name == "crop")
        if channels == 1 and value and name in ("saturation", "hue"):
            raise UsageError(f"{name} needs 3 channels. Received: images of 1 channel; brightness and contrast suit these.")


def _check_randaugment(value):
    if not isinstance(value, dict) or not _RANDAUGMENT.keys() <= value.keys():
        raise UsageError(f"randaugment must be {{'n': operations, 'm': magnitude}}. Received: {value!r}.")
    for name, number in value.items():
        if name not in _RANDAUGMENT:
            raise unknown("setting of randaugment", name, _RANDAUGMENT)
        _check_number(f"{name} of randaugment", number, *_RANDAUGMENT[name], whole=name == "n")


def _check_number(name, value, low, high, whole):
    if type(value) not in ((int,) if whole else (int, float)) or not low <= value <= high:
        raise UsageError(f"{name} must be a {'whole ' * whole}number from {low} to {high}. Received: {value!r}.")


def augment(images, labels, settings, seed):
    """Return the batch changed at random, in the order of the settings below; what is absent, 0 or false is left out.

    Args:
        images: of shape (batch, height, width, 1 or 3), uint8 or float, values in [0, 255]; only the batch may be unknown.
        labels: one-hot, float32 of shape (batch, classes).
        settings: a dict that `check` lets pass.
            flip, flip_vertical: true to mirror every second image, on average, left to right or upside down.
            crop: pixels around the image, mirrored at its edges, of which a part of the old size is cut (after He et al. 2016,
                section 4.2). Black pixels would shift the statistics of batch normalisation, and no test image has them.
            shift, rotate, zoom: the most pixels, degrees and share, either way; black comes in.
            randaugment: {"n": operations, "m": magnitude}, see `zoo.training.data.augmentation.randaugment`.
            brightness, contrast, saturation: the most that the factor differs from 1, where 0 would give black, the mean
                grey, and the grey image; hue: the most it turns, as a share of the circle.
            erase: the share of images that lose a rectangle to noise (Zhong et al. 2020, algorithm 1).
            mixup: alpha of Beta(alpha, alpha), once a batch (Zhang et al. 2018); cutmix: likewise (Yun et al. 2019). With
                both, each batch gets either, as often.
        seed: two integers, the seed and the step.

    Returns:
        Images, float32 in [0, 255] (as they came if `settings` is empty), and labels, of the shapes that came in.
    """
    if not settings:
        return images, labels
    images = tf.cast(_mirror_and_crop(images, settings, seed), tf.float32)
    for part in (_affine, randaugment, _jitter, _erase):
        images = part(images, settings, seed)
    images, labels = _mix(images, labels, settings, seed)
    return tf.clip_by_value(images, 0.0, 255.0), labels


def _mirror_and_crop(images, settings, seed):
    """Both move whole pixels, so one step does them, on uint8 if that is what came."""
    if not any(settings.get(name) for name in ("flip", "flip_vertical", "crop")):
        return images
    count, pad = tf.shape(images)[0], settings.get("crop", 0)
    across = ops.signs(seed, "flip", (count,)) if settings.get("flip") else 1.0
    down = ops.signs(seed, "flip_vertical", (count,)) if settings.get("flip_vertical") else 1.0
    moves = tf.random.stateless_uniform((2, count), ops.fold(seed, "crop"), -pad, pad + 1, tf.int32)
    return ops.warp(images, ops.matrices(count, across, 0.0, moves[0], 0.0, down, moves[1]), "NEAREST", "REFLECT")


def _affine(images, settings, seed):
    """Shift, rotate and zoom, at once."""
    if not any(settings.get(name) for name in ("shift", "rotate", "zoom")):
        return images
    count = tf.shape(images)[0]
    right, down, turn, zoom = tf.unstack(ops.uniform(seed, "affine", (4, count), -1.0, 1.0))
    turn, shift = turn * math.radians(settings.get("rotate", 0)), settings.get("shift", 0)
    zoom = tf.maximum(1.0 + zoom * settings.get("zoom", 0), 0.01)  # not 0, which would divide by it
    cos, sin = tf.cos(turn) / zoom, tf.sin(turn) / zoom
    moved = ops.matrices(count, 1.0, 0.0, -right * shift, 0.0, 1.0, -down * shift)
    return ops.warp(images, ops.matrices(count, cos, -sin, 0.0, sin, cos, 0.0) @ moved, "BILINEAR")


def _jitter(images, settings, seed):
    """Brightness, contrast, saturation and hue, by amounts drawn for each image."""
    shape = (tf.shape(images)[0], 1, 1, 1)
    for name, change in (("brightness", ops.brightness), ("contrast", ops.contrast), ("saturation", ops.saturation)):
        if settings.get(name):
            images = change(images, ops.uniform(seed, name, shape, -settings[name], settings[name]))
    if settings.get("hue") and images.shape[-1] == 3:
        hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images / 255), 3, axis=-1)
        hue = (hue + ops.uniform(seed, "hue", shape, -settings["hue"], settings["hue"])) % 1.0
        images = tf.image.hsv_to_rgb(tf.concat([hue, saturation, value], axis=-1)) * 255
    return images


def _erase(images, settings, seed):
    """Area 0.02 to 0.4 of the image, height over width 0.3 to 1 / 0.3, of those that fit; noise comes in."""
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
    inside = ops.boxes(top, tf.where(chance < settings["erase"], tall, 0.0), left, wide, height, width)
    return tf.where(inside, ops.uniform(seed, "erase noise", tf.shape(images), 0.0, 255.0), images)


def _mix(images, labels, settings, seed):
    """Mix each image, and its label by the same share, with another of the batch."""
    height, width = images.shape[1:3]
    drawn = []
    if settings.get("mixup"):
        share = ops.beta(seed, "mixup", settings["mixup"])
        drawn.append((share, share))
    if settings.get("cutmix"):
        drawn.append(_cutmix(settings["cutmix"], height, width, seed))
    if not drawn:
        return images, labels
    kept, share = drawn[0]
    if len(drawn) == 2:
        first = ops.uniform(seed, "mixup or cutmix", ()) < 0.5
        kept, share = (tf.where(first, *pair) for pair in zip(*drawn, strict=True))
    others = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(images)[0]), ops.fold(seed, "others"))
    return (kept * images + (1.0 - kept) * tf.gather(images, others),
            share * labels + (1.0 - share) * tf.gather(labels, others))


def _cutmix(alpha, height, width, seed):
    """What is kept of an image, 1 or 0 in shape (1, height, width, 1), and its share (Yun et al. 2019, section 3.1)."""
    side = tf.sqrt(1.0 - ops.beta(seed, "cutmix", alpha))[None]
    tall, wide = tf.round(side * height), tf.round(side * width)
    down, across = tf.unstack(ops.uniform(seed, "cutmix box", (2, 1)))
    top, left = tf.floor(down * height) - tall // 2, tf.floor(across * width) - wide // 2
    kept = 1.0 - tf.cast(ops.boxes(top, tall, left, wide, height, width), tf.float32)
    return kept, tf.reduce_sum(kept) / (height * width)
