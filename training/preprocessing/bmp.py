"""A reader of BMP files, of TensorFlow operations: TensorFlow's own takes palettes for grey."""
import numpy as np
import tensorflow as tf

from zoo.training.preprocessing import pillow_images as kinds
from zoo.training.preprocessing.byte_strings import substring, values

# The offsets of width, height, bits, compression, colours and the masks, words of 4 bytes.
_OFFSET, _HEADER, _FIELDS = 10, 14, (18, 22, 28, 30, 46, 54, 58, 62, 66)
_WORD = 4     # bytes
_SHORT = 1 << 16
_LONGEST = 1 << 24  # side in pixels, beyond which products could overflow


def read_bmp(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the pixels of a BMP, uint8 (height, width, 4), and why it is refused, "" if it is not.

    The alpha is that of 32 bits with a mask for it, otherwise 255, as Pillow reads it. The pixels
    of a file that is refused are one black one.

    Args:
        data: the bytes of the file, a string scalar.

    Raises:
        tf.errors.InvalidArgumentError: if the file is damaged.
    """
    head = tf.stack(values(data + bytes(kinds.BMP_HEAD), 0, kinds.BMP_HEAD))
    positions = np.add.outer((_OFFSET, _HEADER, *_FIELDS), np.arange(_WORD))
    offset, header, *fields = tf.unstack(tf.linalg.matvec(
        tf.gather(tf.cast(head, tf.int64), positions), 256 ** np.arange(_WORD)))
    is_os2 = tf.equal(header, kinds.BMP_HEADERS[0])  # its fields are shorter
    none = tf.zeros_like(header)
    short = [fields[0] % _SHORT, fields[0] // _SHORT, fields[1] // _SHORT, *[none] * 6]
    fields[2] %= _SHORT
    width, height, bits, compression, colours, *masks = tf.unstack(tf.where(is_os2, short, fields))
    height -= tf.where(height < 1 << 31, none, 1 << 32)  # negative: top to bottom
    has_masks = tf.equal(compression, kinds.BMP_BITFIELDS)
    has_alpha = tf.equal(bits, 32) & (header >= kinds.BMP_ALPHA_HEADER)
    masks = tf.where([*[has_masks] * 3, has_masks & has_alpha], masks, tf.zeros_like(masks))
    key = tf.concat([[bits, compression], masks], 0)
    is_layout = tf.reduce_all(tf.equal(key, np.array(list(kinds.BMP_LAYOUTS))), 1)
    layout = tf.gather(list(kinds.BMP_LAYOUTS.values()), tf.argmax(is_layout))
    is_known = tf.reduce_any(is_layout) & tf.reduce_any(tf.equal(header, kinds.BMP_HEADERS))
    is_known &= (width > 0) & tf.not_equal(height, 0)
    error = tf.where(is_known, "", kinds.ODD_BMP)
    error = tf.where(tf.reduce_any(tf.equal(compression, kinds.BMP_RLE)), kinds.RLE_BMP, error)

    def read():
        count = tf.where(colours > 0, colours, 2 ** tf.minimum(bits, 8))
        entry, start = tf.where(is_os2, _int64(3), 4), header + 14
        palette_size = tf.where(bits <= 8, count * entry, 0)
        masks_size = tf.where(has_masks & tf.equal(header, 40), _int64(12), 0)
        begin = tf.where(tf.equal(offset, start), start + palette_size, offset)
        begin = tf.where(tf.equal(offset, 0), start + palette_size + masks_size, begin)
        rows = _rows(data, begin, width, height, bits)

        def from_palette():
            entries = tf.io.decode_raw(substring(data, start, palette_size), tf.uint8)
            palette = tf.reshape(entries, (count, entry))[:, 2::-1]
            palette = tf.pad(palette, [[0, 256 - count], [0, 0]])  # other colours are black
            return _opaque(_from_palette(rows, width, bits, palette))
        return tf.case([(bits <= 8, from_palette),
                        (tf.equal(bits, 16), lambda: _opaque(_from_16_bits(rows, layout[:3])))],
                       default=lambda: _from_bytes(rows, width, bits, layout))
    pixels = tf.cond(tf.equal(error, ""), read, lambda: tf.constant([[[0, 0, 0, 255]]], tf.uint8))
    return pixels, error


def _int64(value):
    return tf.constant(value, tf.int64)


def _rows(data, begin, width, height, bits):
    """The bytes of each row, from top to bottom, uint8 (height, bytes)."""
    width = tf.minimum(width, _LONGEST)
    count = tf.minimum(tf.abs(height), _LONGEST)
    used = (width * bits + 7) // 8
    stride = (used + _WORD - 1) // _WORD * _WORD
    stored = tf.io.decode_raw(substring(data, begin, count * stride), tf.uint8)
    # The last row may lack what fills up its last word.
    missing = tf.minimum(count * stride - tf.size(stored, tf.int64), stride - used)
    rows = tf.reshape(tf.pad(stored, [[0, missing]]), (count, stride))[:, :used]
    return tf.cond(height < 0, lambda: rows, lambda: tf.reverse(rows, [0]))


def _opaque(colours):
    return tf.pad(colours, [[0, 0], [0, 0], [0, 1]], constant_values=255)


def _from_palette(rows, width, bits, palette):
    bits = tf.cast(bits, tf.int32)
    shifts = tf.range(8 - bits, -1, -bits)
    indices = tf.bitwise.right_shift(tf.cast(rows, tf.int32)[..., None], shifts) % 2 ** bits
    return tf.gather(palette, tf.reshape(indices, (tf.shape(rows)[0], -1))[:, :width])


def _from_16_bits(rows, widths):
    values = tf.cast(tf.reshape(rows, (tf.shape(rows)[0], -1, 2)), tf.int32)
    values = values[..., :1] + 256 * values[..., 1:]
    largest = tf.bitwise.left_shift(1, widths) - 1
    shifted = tf.bitwise.right_shift(values, tf.cumsum(widths, exclusive=True, reverse=True))
    return tf.cast(tf.bitwise.bitwise_and(shifted, largest) * 255 // largest, tf.uint8)


def _from_bytes(rows, width, bits, layout):
    channels = tf.reshape(rows, (tf.shape(rows, tf.int64)[0], width, bits // 8))
    return tf.gather(_opaque(channels), layout, axis=2)
