"""Parts of a string of bytes, as TensorFlow operations."""
import tensorflow as tf


def substring(data: tf.Tensor, offset: tf.Tensor | int, length: tf.Tensor | int) -> tf.Tensor:
    """Return `length` bytes from `offset` on, a string scalar; fewer, or none, where `data` ends.

    tf.strings.substr fails beyond the end, with a message that holds `data`, which Python cannot
    decode.
    """
    offset = tf.convert_to_tensor(offset)
    offset = tf.minimum(offset, tf.cast(tf.strings.length(data), offset.dtype))
    return tf.strings.substr(data, offset, tf.cast(length, offset.dtype))


def values(data: tf.Tensor, offset: tf.Tensor | int, count: int) -> list[tf.Tensor]:
    """Return `count` bytes from `offset` on as int32 scalars.

    Raises:
        tf.errors.InvalidArgumentError: if `data` ends before.
    """
    part = tf.io.decode_raw(substring(data, offset, count), tf.uint8)
    return tf.unstack(tf.reshape(tf.cast(part, tf.int32), (count,)))


def starts_with(data: tf.Tensor, sign: bytes) -> tf.Tensor:
    """Return whether `data` starts with `sign`."""
    return tf.equal(tf.strings.substr(data, 0, len(sign)), sign)
