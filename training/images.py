"""From any picture to what a network takes: one definition, used in training and inside the exported graph."""
import tensorflow as tf


def fit_to(images, shape):
    """Return `images` with the height, width and channels of `shape`, as uint8.

    Colour becomes grey by luminance, grey becomes three equal channels; sizes change bilinearly, averaging when they
    shrink; aspect is not kept.

    Args:
        images: a tensor of shape (batch, height, width, 1 or 3), values in [0, 255].
        shape: (height, width, channels).
    """
    height, width, channels = shape
    if images.shape[-1] != channels:
        images = tf.image.rgb_to_grayscale(images) if channels == 1 else tf.image.grayscale_to_rgb(images)
    if images.shape[1:3] != (height, width):
        images = tf.image.resize(images, (height, width), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(tf.cast(images, tf.float32)), 0.0, 255.0), tf.uint8)


def decode(data):
    """Return the uint8 RGB image, (height, width, 3), in the bytes of a JPEG, PNG, GIF (first frame), BMP or WebP file.

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are no such image.
    """
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))
