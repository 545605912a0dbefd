"""From any picture to what a network takes: one definition, used in training and inside the exported graph."""
import tensorflow as tf


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
        images = tf.image.rgb_to_grayscale(images) if channels == 1 else tf.image.grayscale_to_rgb(images)
    if images.shape[1:3] != (height, width):
        images = _RESIZE[resize](images, height, width)
    images = tf.cast(tf.clip_by_value(tf.round(tf.cast(images, tf.float32)), 0.0, 255.0), tf.uint8)
    return tf.ensure_shape(images, (None, *shape))


def _stretch(images, height, width):
    return tf.image.resize(images, (height, width), antialias=True)


def _crop(images, height, width):
    sides = tf.cast(tf.shape(images)[1:3], tf.float32)
    sides = tf.cast(tf.round(sides * tf.reduce_max([height, width] / sides)), tf.int32)
    resized = tf.image.resize(images, tf.maximum(sides, [height, width]), antialias=True)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    return resized[:, top:top + height, left:left + width]


def _pad(images, height, width):
    return tf.image.resize_with_pad(images, height, width, antialias=True)


_RESIZE = {"stretch": _stretch, "crop": _crop, "pad": _pad}


def decode(data):
    """Return the uint8 RGB image, (height, width, 3), in the bytes of a JPEG, PNG, GIF (first frame), BMP or WebP file.

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are no such image.
    """
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))
