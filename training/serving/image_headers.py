"""Checks the header of an encoded image before TensorFlow decodes it: format and size in memory."""
import io
import struct

from PIL import Image

from zoo.errors import UserError
from zoo.training.preprocessing.pillow_images import FORMATS, explain

_MAX_SIDE = 65_535  # pixels, as in JPEG and GIF; a PNG of 1,000,000 x 1, 1 KB, takes GBs to resize


def check_image(data: bytes, max_pixels: int) -> int:
    """Return the pixels of an encoded image according to its header; they are not decoded.

    Args:
        data: the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        max_pixels: the largest width x height; for a GIF also the limit for all frames together.

    Returns:
        The width x height, or for a GIF what all frames have together.

    Raises:
        zoo.errors.UserError: if it is not such an image, has too many pixels, or has a side of
            more than 65,535 pixels.
    """
    try:
        width, height, pixels = _size(data)
    except (OSError, ValueError, SyntaxError, struct.error):
        raise UserError("Expected a JPEG, PNG, GIF, BMP or WebP image. Received: "
                        f"{explain(data)}.") from None
    if max(width * height, pixels) > max_pixels:
        frames = f", in all frames {pixels:,}" if pixels else ""
        raise UserError(f"Expected an image of at most {max_pixels:,} pixels. "
                        f"Received: {width:,} x {height:,}{frames}.")
    if max(width, height) > _MAX_SIDE:
        raise UserError(f"Expected an image of at most {_MAX_SIDE:,} pixels a side. "
                        f"Received: {width:,} x {height:,}.")
    return max(width * height, pixels)


def _size(data: bytes) -> tuple[int, int, int]:
    """Return the width, the height, and for a GIF the pixels of all frames, else 0."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):  # Pillow would read, and refuse, more than this
        return *struct.unpack_from(">II", data, 16), 0
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    return _gif_size(data) if image.format == "GIF" else (*image.size, 0)


def _gif_size(data: bytes) -> tuple[int, int, int]:
    """Return the largest width, the largest height and the pixels of all frames.

    TensorFlow decodes all frames, and Pillow reads the size of the first. This follows the blocks
    as giflib, TensorFlow's decoder, does, and stops where giflib stops.
    """
    width = height = pixels = 0
    try:
        offset = 13 + _palette_bytes(data[10])
        while data[offset] in b"!,":
            if data[offset] == ord(","):
                frame = struct.unpack_from("<HH", data, offset + 5)
                width, height = max(width, frame[0]), max(height, frame[1])
                pixels += frame[0] * frame[1]
                offset += 11 + _palette_bytes(data[offset + 9])
            else:
                offset += 3 + data[offset + 2]  # an extension continues even after an empty block
            while data[offset]:
                offset += 1 + data[offset]
            offset += 1
    except (IndexError, struct.error):
        pass  # the file is truncated
    return width, height, pixels


def _palette_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 128 else 0
