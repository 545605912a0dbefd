"""tf.data pipelines. Which images come at which step, and how they are augmented, depends on (seed, step) alone.

So a training can stop at any step and go on with the very batches it would have seen.
"""
import math

import numpy as np
import tensorflow as tf

from zoo.training.data.augmentation.augment import augment


def steps_per_epoch(split, batch):
    """Return the number of batches in an epoch; the last one may be smaller, nothing is dropped."""
    return math.ceil(len(split) / batch)


def training_batches(split, recipe, classes, first=0):
    """Return the endless shuffled, augmented batches of (images, one-hot labels) from step `first` on.

    With the recipe's balance "weights" a third part comes, the weight of each example in the loss.

    Args:
        split: a `zoo.training.data.cache.Split`.
        recipe: gives batch, seed, balance and augmentations.
        classes: the number of classes.
        first: the global step of the first batch.
    """
    labels, per_epoch = tf.constant(split.labels), steps_per_epoch(split, recipe.batch_size)
    weights = tf.constant(class_weights(split, classes), tf.float32)

    def batch(step):
        chosen = _places(split, recipe, step // per_epoch, step % per_epoch, classes)
        classes_chosen = tf.gather(labels, chosen)
        changed = augment(_take(split, chosen), tf.one_hot(classes_chosen, classes), recipe.augment, [recipe.seed, step])
        return (*changed, tf.gather(weights, classes_chosen)) if recipe.balance == "weights" else changed

    steps = tf.data.Dataset.range(first, tf.int64.max)
    plain = tf.autograph.experimental.do_not_convert(batch)  # no branch of it hangs on a tensor: a second saved
    return steps.map(plain, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def class_weights(split, classes):
    """Return the weight of each class, float64 of shape (classes,), by which all classes count alike in the loss."""
    counts = np.bincount(split.labels, minlength=classes)
    return len(split) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def _places(split, recipe, epoch, step, classes):
    """Which images make up the batch `step` of `epoch`: the next of a permutation, or draws from classes drawn alike."""
    first, count = step * recipe.batch_size, len(split)
    places = tf.range(first, tf.minimum(first + recipe.batch_size, count))
    seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch])
    if recipe.balance != "sampling":
        return tf.random.experimental.index_shuffle(places, seed, tf.constant(count - 1, tf.int64))
    by_class = np.argsort(split.labels, kind="stable")
    counts = np.bincount(split.labels, minlength=classes)
    present, starts = np.flatnonzero(counts), np.cumsum(counts) - counts
    draws = tf.random.stateless_uniform((2, tf.size(places)), tf.stack([seed[0], epoch * 2**31 + step]), dtype=tf.float64)
    drawn = tf.gather(present, tf.cast(draws[0] * len(present), tf.int64))
    within = tf.cast(draws[1] * tf.cast(tf.gather(counts, drawn), tf.float64), tf.int64)
    return tf.gather(by_class, tf.gather(starts, drawn) + within)


def batches(split, batch, classes):
    """Return the batches of (images, one-hot labels) of `split`, once, in its own order."""
    labels = tf.constant(split.labels)

    def rows(places):
        return _take(split, places), tf.one_hot(tf.gather(labels, places), classes)

    places = tf.data.Dataset.range(len(split)).batch(batch)
    return places.map(rows, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _take(split, places):
    """The examples at `places`, from memory or disk, without a second copy of them all in the graph."""
    taken = tf.numpy_function(split.take, [places], split.store.dtype)
    return tf.ensure_shape(taken, (None, *split.store.shape[1:]) if split.texts is None else (None, None))
