"""From image files and arrays to what a network takes, for training and the SavedModel."""
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.errors import UserError


def grey(images: tf.Tensor) -> tf.Tensor:
    """Return the luminance of float32 images (..., 1 or 3), of shape (..., 1).

    As tf.image.rgb_to_grayscale computes it, in a fifth of its operations.
    """
    if images.shape[-1] == 1:
        return images
    return tf.reduce_sum(images * (0.2989, 0.5870, 0.1140), -1, keepdims=True)


def fit_to(images: tf.Tensor, shape: Sequence[int], resize: str = "stretch") -> tf.Tensor:
    """Return `images` with the height, width and channels of `shape`, as uint8.

    Colour becomes grey by luminance, grey becomes three equal channels. Resizing is bilinear, and
    averages where images shrink.

    Args:
        images: a tensor of shape (batch, height, width, 1 or 3), values in [0, 255].
        shape: (height, width, channels).
        resize: "stretch" ignores the aspect ratio, "crop" keeps it and cuts both sides, "pad" keeps
            it and pads with black.
    """
    height, width, channels = shape
    if images.shape[-1] != channels:
        if channels == 1:
            images = grey(tf.cast(images, tf.float32))
        else:
            images = tf.image.grayscale_to_rgb(images)
    if images.shape[1:3] != (height, width):
        images = _RESIZE[resize](images, height, width)
    rounded = tf.cast(tf.round(tf.cast(images, tf.float32)), tf.uint8)
    return tf.ensure_shape(rounded, (None, *shape))


def _stretch(images, height, width):
    return tf.image.resize(images, (height, width), antialias=True)


def _crop(images, height, width):
    """Resize as tf.image.resize and cut, without computing what is cut, a thousandfold at worst."""
    native = tf.cast(tf.shape(images)[1:3], tf.float32)
    sides = tf.round(native * tf.reduce_max([height, width] / native))
    sides = tf.maximum(sides, [height, width])
    return tf.raw_ops.ScaleAndTranslate(
        images=images, size=[height, width], scale=sides / native,
        translation=-((sides - [height, width]) // 2), kernel_type="triangle")


def _pad(images, height, width):
    """Resize as tf.image.resize_with_pad, which fails where the shorter side gets no pixel."""
    native = tf.cast(tf.shape(images)[1:3], tf.float32)
    sides = native / tf.reduce_max(native / [height, width])
    top, left = tf.unstack(tf.maximum(tf.cast(([height, width] - sides) // 2, tf.int32), 0))
    size = tf.maximum(tf.cast(sides, tf.int32), 1)
    resized = tf.image.resize(images, size, antialias=True)
    return tf.image.pad_to_bounding_box(resized, top, left, height, width)


_RESIZE = {"stretch": _stretch, "crop": _crop, "pad": _pad}


def decode(data: tf.Tensor) -> tf.Tensor:
    """Return the uint8 RGB image (height, width, 3) of a JPEG, PNG, GIF, BMP or WebP file.

    A GIF gives its first frame. A photograph is turned upright by its EXIF orientation.

    Args:
        data: the bytes of the file, a string scalar.

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are not a supported image.
    """
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.ensure_shape(_upright(image, _orientation(data)), (None, None, 3))


# EXIF's tag 0x0112, one short integer, in either byte order; the next byte is its value.
_TAGS = (b"\x12\x01\x03\x00\x01\x00\x00\x00", b"\x01\x12\x00\x03\x00\x00\x00\x01\x00")
# EXIF is the first or second segment of a JPEG, the last of a WebP file, and the orientation in its
# first directory.
_EXIF_BYTES = 4096


def _orientation(data):
    """EXIF's orientation, 1 (upright) to 8, of the encoded image; 1 where it has none."""
    starts = [0, tf.maximum(tf.strings.length(data) - _EXIF_BYTES, 0)]
    ends = tf.strings.substr([data] * 2, starts, [_EXIF_BYTES] * 2)
    text = tf.strings.reduce_join(ends, keepdims=True)
    # tf.strings.split would make a ragged tensor, of more operations than all the rest of decoding;
    # so would indexing here.
    behind = [tf.slice(tf.raw_ops.StringSplitV2(input=text, sep=tag, maxsplit=1).values, [1], [-1])
              for tag in _TAGS]
    joined = tf.strings.reduce_join(tf.concat([*behind, [b"\x01"]], 0))
    value = tf.gather(tf.io.decode_raw(joined, tf.uint8), 0)
    return tf.where((value >= 1) & (value <= 8), tf.cast(value, tf.int32), 1)


# For orientations 1 to 8: whether to swap rows and columns, then to reverse the rows, then the
# columns (EXIF 2.3, 4.6.4).
_TURNS = ((False, False, False), (False, False, True), (False, True, True), (False, True, False),
          (True, False, False), (True, False, True), (True, True, True), (True, True, False))


def _upright(image, orientation):
    def turned():
        # tf.reverse takes the numbers of axes, the raw operation whether to reverse each.
        swap, *reverse = tf.unstack(tf.gather(_TURNS, orientation - 1))
        swapped = tf.transpose(image, tf.where(swap, (1, 0, 2), (0, 1, 2)))
        return tf.raw_ops.Reverse(tensor=swapped, dims=[*reverse, False])
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
