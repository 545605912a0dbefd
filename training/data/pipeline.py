"""tf.data pipelines. The examples of a step and their augmentation depend on (seed, step) alone.

So an interrupted training resumes at any step with the batches that it would have seen.
"""
import math

import numpy as np
import tensorflow as tf

from zoo.training.data.augmentation.augment import augment
from zoo.training.data.augmentation.settings import MIXING
from zoo.training.data.cache import NOTHING
from zoo.training.data.splits import Split
from zoo.training.data.stream import streamed
from zoo.training.recipe import Recipe


def steps_per_epoch(split: Split, batch: int) -> int:
    """Return the number of batches in a pass over `split`; the last one may be smaller."""
    return math.ceil(len(split) / batch)


def steps_per_training_epoch(split: Split, recipe: Recipe) -> int:
    """Return the number of batches in an epoch of training, which is one or more whole passes.

    There are as many passes as `recipe.min_steps` needs; each shuffles the examples anew.
    """
    steps = steps_per_epoch(split, recipe.batch_size)
    return steps * max(1, math.ceil(recipe.min_steps / (recipe.epochs * steps)))


def training_batches(split: Split, recipe: Recipe, classes: int, first: int = 0,
                     share: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
    """Return endless shuffled, augmented batches of (examples, one-hot labels) from a step on.

    With balance "weights" there is a third item, the weight of each example in the loss.

    Args:
        split: the training split.
        recipe: gives batch_size, seed, balance and augment.
        classes: the number of classes.
        first: the global step of the first batch.
        share: (n, workers): a stream reads only the examples n, n + workers, ... of each batch, and
            the others are black; not if `augment` mixes images.
    """
    labels, per_epoch = tf.constant(split.labels), steps_per_epoch(split, recipe.batch_size)
    weights = tf.constant(class_weights(split, classes), tf.float32)

    def indices_of(step):
        return _indices(split, recipe, step // per_epoch, step % per_epoch, classes)

    def batch(step):
        indices = indices_of(step)
        return augmented_batch(step, indices, _take(split, indices))

    def augmented_batch(step, indices, examples):
        batch_labels = tf.gather(labels, indices)
        augmented = augment(examples, tf.one_hot(batch_labels, classes), recipe.augment,
                            [recipe.seed, step])
        if recipe.balance == "weights":
            return *augmented, tf.gather(weights, batch_labels)
        return augmented

    steps = tf.data.Dataset.range(first, tf.int64.max)
    # None of its branches depends on a tensor; without AutoGraph it starts a second earlier.
    plain = tf.autograph.experimental.do_not_convert
    if not split.source.is_stream:
        return steps.map(plain(batch), num_parallel_calls=tf.data.AUTOTUNE).prefetch(
            tf.data.AUTOTUNE)
    if MIXING & recipe.augment.keys():
        share = (0, 1)

    def places(step):
        return step, _filled(indices_of(step), recipe.batch_size)
    images = streamed(split, steps.map(plain(places)), recipe.batch_size, recipe.augment,
                      recipe.seed, share)
    return images.map(plain(augmented_batch), num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE)


def indices_of_step(split: Split, recipe: Recipe, classes: int, step: int) -> np.ndarray:
    """Return which examples of the training split make up the batch of a global step."""
    epoch, step = divmod(step, steps_per_epoch(split, recipe.batch_size))
    return _indices(split, recipe, tf.constant(epoch, tf.int64), tf.constant(step, tf.int64),
                    classes).numpy()


def _filled(indices, batch):
    """`indices` as int64 of shape (batch,), with `NOTHING` at the end of a smaller one."""
    indices = tf.cast(indices, tf.int64)
    return tf.pad(indices, [[0, batch - tf.size(indices)]], constant_values=NOTHING)


def class_weights(split: Split, classes: int) -> np.ndarray:
    """Return weights, float64 of shape (classes,), by which all classes count alike in the loss."""
    counts = np.bincount(split.labels, minlength=classes)
    return len(split) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def _indices(split, recipe, epoch, step, classes):
    """Which examples make up the batch `step` of `epoch`.

    The next of a permutation; or, with balance "sampling", draws from uniformly drawn classes.
    """
    first, count = step * recipe.batch_size, len(split)
    positions = tf.range(first, tf.minimum(first + recipe.batch_size, count))
    seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch])
    if recipe.balance != "sampling":
        return tf.random.experimental.index_shuffle(positions, seed,
                                                    tf.constant(count - 1, tf.int64))
    by_class = np.argsort(split.labels, kind="stable")
    counts = np.bincount(split.labels, minlength=classes)
    present, starts = np.flatnonzero(counts), np.cumsum(counts) - counts
    draws = tf.random.stateless_uniform((2, tf.size(positions)),
                                        tf.stack([seed[0], epoch * 2**31 + step]), dtype=tf.float64)
    drawn = tf.gather(present, tf.cast(draws[0] * len(present), tf.int64))
    within = tf.cast(draws[1] * tf.cast(tf.gather(counts, drawn), tf.float64), tf.int64)
    return tf.gather(by_class, tf.gather(starts, drawn) + within)


def batches(split: Split, batch: int, classes: int) -> tf.data.Dataset:
    """Return the batches of (examples, one-hot labels) of `split`, once, in its own order."""
    labels = tf.constant(split.labels)

    def examples(indices):
        return _take(split, indices), tf.one_hot(tf.gather(labels, indices), classes)

    indices = tf.data.Dataset.range(len(split)).batch(batch)
    if split.source.is_stream:
        filled = indices.map(lambda indices: (tf.constant(0, tf.int64), _filled(indices, batch)))
        return streamed(split, filled, batch).map(lambda step, indices, images: (
            images, tf.one_hot(tf.gather(labels, indices), classes))).prefetch(tf.data.AUTOTUNE)
    return indices.map(examples, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _take(split, indices):
    """The examples at `indices`, from memory or disk, without a copy of all in the graph."""
    spec = split.source.spec
    return tf.ensure_shape(tf.numpy_function(split.take, [indices], spec.dtype), spec.shape)
