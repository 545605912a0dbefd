"""Random crops that see the original image: random resized crops and scale jitter.

Both are one box of whole pixels of the original, resized to the network's size; so an image is
decoded, cropped and resized when its step comes, and `augment` changes the batch afterwards.
"""
from collections.abc import Sequence

import tensorflow as tf

from zoo.training.data.augmentation import image_ops as ops
from zoo.training.preprocessing.images import fit_one

_ASPECT = 4 / 3  # the largest ratio of the sides of a random resized crop, wide or tall
_TRIES = 10      # to draw a box that fits, before the largest central one


def crop_box(height: tf.Tensor, width: tf.Tensor, shape: Sequence[int], settings: dict,
             seed: tf.Tensor) -> tf.Tensor:
    """Draw the box that the network sees, a pure function of the arguments.

    The box is inside the image. With "random_resized_crop" it has a share of the image's area that
    is uniform from the setting to 1, and a ratio of width to height that is log-uniform from 3/4 to
    4/3. Of ten draws the first that fits is taken; if none does, as in a panorama, the largest
    central box within these ratios (Szegedy et al. 2015, section 6, and the programs that followed
    it). With "scale_jitter" it is what the network's size covers of the image when its shorter side
    has a number of pixels drawn from the setting (Simonyan and Zisserman 2015, section 3.1; He et
    al. 2016, section 3.4), rounded to whole pixels. Its place is uniform.

    Args:
        height, width: of the original image, integers.
        shape: (height, width, channels) of the network's input.
        settings: a dict that passes `check_crops` and of which `needs_original` is true.
        seed: three integers: the seed, the step and the position in the batch.

    Returns:
        int32 of shape (4,): top, left, height and width.
    """
    seed = tf.cast(seed, tf.int64)
    seed = tf.random.experimental.stateless_fold_in(seed[:2], seed[2])
    sides = tf.cast(tf.stack([height, width]), tf.float32)
    if settings.get("random_resized_crop"):
        box = _resized_crop(sides, settings["random_resized_crop"], seed)
    else:
        box = _jittered(sides, shape, settings["scale_jitter"], seed)
    return tf.cast(tf.concat(box, 0), tf.int32)


def _resized_crop(sides, share, seed):
    """((top, left), (height, width)) of the box, whole numbers as float32."""
    draws = ops.uniform(seed, "random_resized_crop", (4, _TRIES))
    area = (share + (1 - share) * draws[0]) * tf.reduce_prod(sides)
    root = _ASPECT ** (draws[1] - 0.5)  # of the ratio of width to height
    sizes = tf.round(tf.sqrt(area) * tf.stack([1 / root, root]))
    fits = tf.reduce_all((sizes >= 1) & (sizes <= sides[:, None]), axis=0)
    first = tf.argmax(fits)
    size, central = sizes[:, first], tf.minimum(sides, tf.round(sides[::-1] * _ASPECT))
    return (tf.where(fits[first], _place(sides, size, draws[2:, first]), (sides - central) // 2),
            tf.where(fits[first], size, central))


def _jittered(sides, shape, jitter, seed):
    """As `_resized_crop`."""
    shorter = tf.random.stateless_uniform((), ops.fold(seed, "scale_jitter"), jitter[0],
                                          jitter[1] + 1, tf.int32)
    size = tf.round(tf.constant(shape[:2], tf.float32) * tf.reduce_min(sides)
                    / tf.cast(shorter, tf.float32))
    size = tf.clip_by_value(size, 1.0, sides)
    return _place(sides, size, ops.uniform(seed, "scale_jitter place", (2,))), size


def _place(sides, size, draws):
    return tf.floor(draws * (sides - size + 1))


def training_view(image: tf.Tensor, shape: Sequence[int], settings: dict,
                  seed: tf.Tensor) -> tf.Tensor:
    """Return a random crop of an image in the network's size, in the TensorFlow graph.

    The pixels are those of `crop_box`, resized by themselves: none from outside the box is mixed
    in. So a JPEG may be decoded within the box alone, but for TensorFlow's outermost two columns of
    such a crop: decode a few more on both sides and cut them off.

    Args:
        image: uint8 of shape (height, width, 1 or 3), of any size.
        shape: (height, width, channels) of the network's input.
        settings, seed: as for `crop_box`.

    Returns:
        uint8 of shape `shape`.
    """
    size = tf.shape(image)
    top, left, tall, wide = tf.unstack(crop_box(size[0], size[1], shape, settings, seed))
    crop = image[top:top + tall, left:left + wide]
    return tf.ensure_shape(fit_one(crop, shape), shape)
