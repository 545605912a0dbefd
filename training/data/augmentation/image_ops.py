"""Image operations on batches, and seeded draws, for `zoo.training.data.augmentation.augment`.

Images are float32 of shape (batch, height, width, 1 or 3), values in [0, 255]. A seed is (seed,
step), folded with the name of the draw. Amounts are of shape (batch, 1, 1, 1).
"""
import zlib
from collections.abc import Sequence

import tensorflow as tf

from zoo.training.preprocessing.images import grey


def fold(seed: tf.Tensor, name: str) -> tf.Tensor:
    number = zlib.crc32(name.encode())
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), number)


def uniform(seed: tf.Tensor, name: str, shape: Sequence, low: float = 0.0,
            high: float = 1.0) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, fold(seed, name), low, high)


def signs(seed: tf.Tensor, name: str, shape: Sequence) -> tf.Tensor:
    return tf.where(uniform(seed, name, shape) < 0.5, -1.0, 1.0)


def beta(seed: tf.Tensor, name: str, alpha: float) -> tf.Tensor:
    """Return one draw from Beta(alpha, alpha), a ratio of gamma variables.

    For a tiny alpha both may be the smallest float; the result is then 0, not 1/2.
    """
    gammas = tf.random.stateless_gamma((2,), fold(seed, name), alpha, dtype=tf.float64)
    left, right = tf.unstack(gammas)
    return tf.cast(tf.where(left == right, tf.zeros_like(left), left / (left + right)), tf.float32)


def matrices(count: tf.Tensor, *entries: float | tf.Tensor) -> tf.Tensor:
    """Return affine matrices of shape (count, 3, 3), which map output to input coordinates.

    `entries` are the first two rows, six numbers or tensors of shape (count,).
    """
    rows = [tf.broadcast_to(tf.cast(entry, tf.float32), (count,))
            for entry in (*entries, 0.0, 0.0, 1.0)]
    return tf.reshape(tf.stack(rows, axis=1), (count, 3, 3))


def warp(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Transform the images by `matrices`, whose origin is the centre of the image.

    Between pixels it interpolates linearly; pixels from outside are black.
    """
    height, width = images.shape[1:3]
    x, y = (width - 1) / 2, (height - 1) / 2
    to, back = ([[1.0, 0.0, sign * x], [0.0, 1.0, sign * y], [0.0, 0.0, 1.0]] for sign in (1, -1))
    transforms = tf.reshape(to @ matrices @ back, (-1, 9))[:, :8]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=transforms, output_shape=(height, width), fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT")


def move(images: tf.Tensor, across: float | tf.Tensor, right: tf.Tensor, down: float | tf.Tensor,
         below: tf.Tensor) -> tf.Tensor:
    """Mirror and then shift the images, of any dtype, by whole pixels.

    What comes from outside is mirrored at the edges.

    Args:
        across, down: -1 to mirror from left to right, from top to bottom, and 1 not to; a number or
            of shape (batch,).
        right, below: how many pixels further right and further below each pixel comes from, int32
            of shape (batch,).
    """
    height, width, channels = images.shape[1:]
    rows, columns = _origins(height, down, below), _origins(width, across, right)
    first = height * tf.range(tf.shape(images)[0])[:, None]
    places = width * (first + rows)[:, :, None] + columns[:, None]
    return tf.gather(tf.reshape(images, (-1, channels)), places)


def _origins(size, sign, shift):
    """Where each of `size` pixels in a line comes from, int32 of shape (batch, size)."""
    line = tf.range(size)
    mirrored = tf.where(tf.reshape(sign, (-1, 1)) < 0, size - 1 - line, line)
    outside = (mirrored + shift[:, None]) % (2 * size)
    return tf.minimum(outside, 2 * size - 1 - outside)


def mirror(images: tf.Tensor, is_mirrored: tf.Tensor, axis: int) -> tf.Tensor:
    """Mirror those of the images, of any dtype, for which `is_mirrored` (batch,) is true.

    Args:
        axis: 1 for top to bottom, 2 for left to right.
    """
    shape = tf.shape(images)
    # In a tensor of few axes, tf.reverse moves whole pixels or whole rows.
    rows = tf.reshape(images, [tf.reduce_prod(shape[:axis]), shape[axis], -1])
    mirrored = tf.reshape(tf.reverse(rows, [1]), shape)
    return tf.compat.v1.where(is_mirrored, mirrored, images)  # copies whole images


def boxes(top: tf.Tensor, tall: tf.Tensor, left: tf.Tensor, wide: tf.Tensor, height: int,
          width: int) -> tf.Tensor:
    """Return masks of shape (count, height, width, 1) that are true inside the rectangles.

    top, tall, left and wide are of shape (count,); rectangles are clipped at the edges.
    """
    y, x = tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32)
    rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
    columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
    return rows[:, :, None, None] & columns[:, None, :, None]


def blend(base: float | tf.Tensor, images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(base + (1.0 + amount) * (images - base), 0.0, 255.0)


def brightness(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return blend(0.0, images, amount)


def contrast(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return blend(tf.reduce_mean(grey(images), axis=(1, 2, 3), keepdims=True), images, amount)


def saturation(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return blend(grey(images), images, amount)


def sharpness(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    means = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    return blend((9.0 * means + 4.0 * images) / 13.0, images, amount)  # Pillow's ImageFilter.SMOOTH


def auto_contrast(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2), keepdims=True)
    return tf.where(high > low, tf.math.divide_no_nan(255.0 * (images - low), high - low), images)


def equalize(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Map each level of a channel to the share of darker pixels, from 0 to 255."""
    height, width, channels = images.shape[1:]
    levels = tf.transpose(tf.cast(tf.round(images), tf.int32), (0, 3, 1, 2))
    levels = tf.reshape(levels, (-1, height * width))
    counts = tf.math.bincount(levels, minlength=256, maxlength=256, axis=-1, dtype=tf.float32)
    brightest = tf.gather(counts, tf.reduce_max(levels, axis=1, keepdims=True), batch_dims=1)
    darker = tf.cumsum(counts, axis=1, exclusive=True)
    table = 255.0 * tf.math.divide_no_nan(darker, height * width - brightest)
    mapped = tf.where(brightest < height * width, tf.gather(table, levels, batch_dims=1),
                      tf.cast(levels, tf.float32))
    return tf.transpose(tf.reshape(mapped, (-1, channels, height, width)), (0, 2, 3, 1))


def solarize(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return tf.where(images < 256.0 - tf.abs(amount), images, 255.0 - images)


def posterize(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    step = 2.0 ** tf.round(tf.abs(amount))
    return tf.floor(images / step) * step
