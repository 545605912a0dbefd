"""A GIF's first frame, cut out by TensorFlow operations, so that TensorFlow can decode it."""
import numpy as np
import tensorflow as tf

from zoo.training.preprocessing.byte_strings import substring, values

_SCREEN = 13           # bytes before the palette: GIF89a, 18
_DESCRIPTOR = 10       # bytes of a frame before its palette: GIF89a, 20
_GREY = np.repeat(np.arange(256, dtype="uint8"), 3).tobytes()  # the palette of a file without one
_WHOLE = 0xF7          # flags: a global palette of 256 colours
_INTERLACED = 0x40
_MOST_BLOCKS = 100_000  # before the first frame, which are walked in a few seconds


def first_frame(data: tf.Tensor, colour: tuple[int, int, int] | None) -> tuple[
        tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return a GIF of the first frame of a GIF, where it stands, and the colour around it.

    Args:
        data: the bytes of the file, a string scalar.
        colour: (red, green, blue) that takes the place of the transparent colour; None keeps that
            of the palette.

    Returns:
        The bytes of a GIF without transparency, whose first frame is at its upper left; the
        paddings above, below, left and right of it, int32 (2, 2); and uint8 (3,).

    Raises:
        tf.errors.InvalidArgumentError: if the file is damaged.
    """
    offset, transparent = _walk(data)
    screen = values(data, 0, _SCREEN)
    frame = values(data, offset, _DESCRIPTOR)
    left, top, width, height = (frame[i] + 256 * frame[i + 1] for i in (1, 3, 5, 7))
    table = tf.where(frame[9] > 127, offset + _DESCRIPTOR, _SCREEN)  # of the frame, or of the file
    flags = tf.where(frame[9] > 127, frame[9], screen[10])
    palette = tf.where(flags > 127, substring(data, table, _palette_bytes(flags)), "")
    # Other colours than those of the palette are black, without a palette levels of grey.
    rest = tf.where(flags > 127, bytes(len(_GREY)), _GREY)
    palette += substring(rest, tf.strings.length(palette), len(_GREY))
    seen = tf.maximum(transparent, 0)  # where there is no frame, Pillow shows colour 0
    if colour is not None:
        index = 3 * transparent
        replaced = (substring(palette, 0, index) + bytes(colour)
                    + substring(palette, index + 3, len(_GREY)))
        palette = tf.where(transparent >= 0, replaced, palette)
    start = offset + _DESCRIPTOR + _palette_bytes(frame[9])
    size = substring(data, offset + 5, 4)
    single = tf.strings.join([
        "GIF89a", size, bytes([_WHOLE, 0, 0]), palette, ",", bytes(4), size,
        tf.gather([b"\0", bytes([_INTERLACED])], frame[9] // _INTERLACED % 2),
        substring(data, start, tf.strings.length(data)), b"\0;"])  # it may lack its end
    below = tf.maximum(screen[8] + 256 * screen[9] - top - height, 0)
    right = tf.maximum(screen[6] + 256 * screen[7] - left - width, 0)
    around = tf.io.decode_raw(substring(palette, 3 * seen, 3), tf.uint8)
    return single, tf.stack([[top, below], [left, right]]), around


def _palette_bytes(flags):
    return tf.where(flags > 127, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _walk(data):
    """The offset of the first frame, and the index of its transparent colour, -1 for none."""
    def step(offset, is_inside, transparent):
        (value,) = values(data, offset, 1)

        def begin():
            label, size, packed, _, _, index = values(data, offset + 1, 6)
            has_colour = tf.equal(label, 0xF9) & (size >= 4) & tf.equal(packed % 2, 1)
            return offset + 2, True, tf.where(has_colour, index, transparent)
        return tf.case([(is_inside, lambda: (offset + value + 1, value > 0, transparent)),
                        (tf.equal(value, ord("!")), begin)],
                       default=lambda: (offset + 1, False, transparent))  # a byte between blocks

    def is_before(offset, is_inside, transparent):
        sign = substring(data, offset, 1)
        return is_inside | ~(tf.equal(sign, ",") | tf.equal(sign, ";"))
    (flags,) = values(data, _SCREEN - 3, 1)
    offset, _, transparent = tf.while_loop(
        is_before, step, (_SCREEN + _palette_bytes(flags), tf.constant(False), tf.constant(-1)),
        maximum_iterations=_MOST_BLOCKS)
    # The end of the file, instead of a frame, gives a file that cannot be decoded.
    return offset, transparent
