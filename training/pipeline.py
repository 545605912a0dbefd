"""tf.data pipelines. Which images come at which step, and how they are augmented, depends on (seed, step) alone.

So a training can stop at any step and go on with the very batches it would have seen.
"""
import math

import tensorflow as tf

from zoo.errors import unknown

AUGMENTATIONS = ("shift", "rotate", "zoom")


def steps_per_epoch(split, batch):
    """Return the number of batches in an epoch; the last one may be smaller, nothing is dropped."""
    return math.ceil(len(split) / batch)


def training_batches(split, recipe, classes, first=0):
    """Return the endless shuffled, augmented batches of (images, one-hot labels) from step `first` on.

    Args:
        split: a `training.data.Split`.
        recipe: gives batch, seed and augmentations.
        classes: the number of classes.
        first: the global step of the first batch.

    Raises:
        zoo.errors.UsageError: if the recipe names an unknown augmentation.
    """
    for name in recipe.augment:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    labels, count, per_epoch = tf.constant(split.labels), len(split), steps_per_epoch(split, recipe.batch)

    def batch(step):
        epoch, place = step // per_epoch, step % per_epoch * recipe.batch
        places = tf.range(place, tf.minimum(place + recipe.batch, count))
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch])
        chosen = tf.random.experimental.index_shuffle(places, seed, tf.constant(count - 1, tf.int64))
        picked = _affine(_take(split, chosen), recipe.augment, [recipe.seed, step])
        return picked, tf.one_hot(tf.gather(labels, chosen), classes)

    steps = tf.data.Dataset.range(first, tf.int64.max)
    return steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def batches(split, batch, classes):
    """Return the batches of (images, one-hot labels) of `split`, once, in its own order."""
    labels = tf.constant(split.labels)

    def rows(places):
        return _take(split, places), tf.one_hot(tf.gather(labels, places), classes)

    places = tf.data.Dataset.range(len(split)).batch(batch)
    return places.map(rows, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _take(split, places):
    """The images at `places`, from memory or disk, without a second copy of them all in the graph."""
    images = tf.numpy_function(split.take, [places], tf.uint8)
    return tf.ensure_shape(images, (None, *split.store.shape[1:]))


def _affine(images, augment, seed):
    """Shift by up to `shift` pixels, turn by up to `rotate` degrees, zoom by up to `zoom`, all at once; zeros come in."""
    if not augment:
        return images
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    rows = tf.random.stateless_uniform((4, count), seed, -1.0, 1.0)
    right, down = rows[0] * augment.get("shift", 0.0), rows[1] * augment.get("shift", 0.0)
    turn, zoom = rows[2] * math.radians(augment.get("rotate", 0.0)), 1.0 + rows[3] * augment.get("zoom", 0.0)
    cos, sin = tf.cos(turn) / zoom, tf.sin(turn) / zoom
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    zero = tf.zeros_like(cos)
    transforms = tf.stack([cos, -sin, centre_x - cos * (centre_x + right) + sin * (centre_y + down),
                           sin, cos, centre_y - sin * (centre_x + right) - cos * (centre_y + down), zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32), transforms=transforms, output_shape=(height, width), fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT")
