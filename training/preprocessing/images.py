"""From any picture to what a network takes: one definition, used in training and inside the exported graph."""
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data.augmentation.image_ops import grey


def fit_to(images, shape, resize="stretch"):
    """Return `images` with the height, width and channels of `shape`, as uint8.

    Colour becomes grey by luminance, grey becomes three equal channels; sizes change bilinearly, averaging when they shrink.

    Args:
        images: a tensor of shape (batch, height, width, 1 or 3), values in [0, 255].
        shape: (height, width, channels).
        resize: "stretch" gives up the aspect, "crop" keeps it and cuts what juts out on both sides, "pad" keeps it and
            fills what is missing with black.
    """
    height, width, channels = shape
    if images.shape[-1] != channels:
        images = grey(tf.cast(images, tf.float32)) if channels == 1 else tf.image.grayscale_to_rgb(images)
    if images.shape[1:3] != (height, width):
        images = _RESIZE[resize](images, height, width)
    return tf.ensure_shape(tf.cast(tf.round(tf.cast(images, tf.float32)), tf.uint8), (None, *shape))


def _stretch(images, height, width):
    return tf.image.resize(images, (height, width), antialias=True)


def _crop(images, height, width):
    """As tf.image.resize would, and then cut; but what juts out, a thousand times the rest if need be, is never computed."""
    given = tf.cast(tf.shape(images)[1:3], tf.float32)
    sides = tf.maximum(tf.round(given * tf.reduce_max([height, width] / given)), [height, width])
    return tf.raw_ops.ScaleAndTranslate(images=images, size=[height, width], scale=sides / given,
                                        translation=-((sides - [height, width]) // 2), kernel_type="triangle")


def _pad(images, height, width):
    return tf.image.resize_with_pad(images, height, width, antialias=True)


_RESIZE = {"stretch": _stretch, "crop": _crop, "pad": _pad}


def decode(data):
    """Return the uint8 RGB image, (height, width, 3), in the bytes of a JPEG, PNG, GIF (first frame), BMP or WebP file.

    A photograph whose EXIF data says that the camera was turned is turned upright.

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are no such image.
    """
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.ensure_shape(_upright(image, _orientation(data)), (None, None, 3))


# How EXIF's tag 0x0112, one short integer, stands in a file of either byte order; its value is the next byte.
_TAGS = (b"\x12\x01\x03\x00\x01\x00\x00\x00", b"\x01\x12\x00\x03\x00\x00\x00\x01\x00")
# EXIF is the first or second segment of a JPEG, the last of a WebP file, and the orientation in its first directory.
_EXIF_BYTES = 4096


def _orientation(data):
    """EXIF's orientation, 1 (upright) to 8, of the encoded image; 1 where it has none."""
    ends = tf.strings.substr([data] * 2, [0, tf.maximum(tf.strings.length(data) - _EXIF_BYTES, 0)], [_EXIF_BYTES] * 2)
    text = tf.strings.reduce_join(ends, keepdims=True)
    # tf.strings.split would make a ragged tensor, of more operations than all the rest of decoding; so would indices here.
    behind = [tf.slice(tf.raw_ops.StringSplitV2(input=text, sep=tag, maxsplit=1).values, [1], [-1]) for tag in _TAGS]
    value = tf.gather(tf.io.decode_raw(tf.strings.reduce_join(tf.concat([*behind, [b"\x01"]], 0)), tf.uint8), 0)
    return tf.where((value >= 1) & (value <= 8), tf.cast(value, tf.int32), 1)


# For orientations 1 to 8: whether to swap rows and columns, then to reverse the rows, then the columns (EXIF 2.3, 4.6.4).
_TURNS = ((False, False, False), (False, False, True), (False, True, True), (False, True, False),
          (True, False, False), (True, False, True), (True, True, True), (True, True, False))


def _upright(image, orientation):
    def turned():
        # tf.reverse takes the numbers of axes, this whether to reverse each.
        swap, *reverse = tf.unstack(tf.gather(_TURNS, orientation - 1))
        return tf.raw_ops.Reverse(tensor=tf.transpose(image, tf.where(swap, (1, 0, 2), (0, 1, 2))), dims=[*reverse, False])
    return tf.cond(orientation > 1, turned, lambda: image)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the pixels of an image file as `decode` does, uint8 (height, width, 3).

    Raises:
        zoo.errors.UserError: if the file cannot be read or is not an image.
    """
    try:
        return decode(Path(path).read_bytes()).numpy()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except tf.errors.InvalidArgumentError:
        raise UserError(f"{path} is not an image. "
                        "Expected a JPEG, PNG, GIF, BMP or WebP file.") from None
