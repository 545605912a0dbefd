"""Checks an encoded image before it is decoded: its format and what it takes in memory."""
import io
import struct

from PIL import Image

from zoo.errors import UserError
from zoo.training.preprocessing.pillow_images import FORMATS, METADATA, explain, short_png

_PNG, _COMPRESSED = b"\x89PNG\r\n\x1a\n", (b"zTXt", b"iTXt", b"iCCP")
_MAX_METADATA = 140_000  # bytes, inflated; EXIF data have 65,535, and two digits for each
_MAX_SIDE = 65_535  # pixels, as in JPEG and GIF; a PNG of 1,000,000 x 1, 1 KB, takes GBs to resize


def checked_image(data: bytes, max_pixels: int) -> tuple[bytes, int]:
    """Return an encoded image, and its pixels according to its header; they are not decoded.

    Args:
        data: the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        max_pixels: the largest width x height; for a GIF also the limit for all frames together.

    Returns:
        The file, of a PNG without what takes long to inflate and decides neither pixels nor
        orientation; and the width x height, or for a GIF what all frames have together.

    Raises:
        zoo.errors.UserError: if it is not such an image, has too many pixels, a side of more than
            65,535 pixels, or compressed metadata of more than 140,000 bytes.
    """
    try:
        width, height, pixels = _size(data)
        if data.startswith(_PNG) and any(kind in data for kind in _COMPRESSED):
            data = short_png(data, _MAX_METADATA)
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        reason = METADATA if str(error) == METADATA else explain(data)
        raise UserError("Expected a JPEG, PNG, GIF, BMP or WebP image. Received: "
                        f"{reason}.") from None
    if max(width * height, pixels) > max_pixels:
        frames = f", in all frames {pixels:,}" if pixels else ""
        raise UserError(f"Expected an image of at most {max_pixels:,} pixels. "
                        f"Received: {width:,} x {height:,}{frames}.")
    if max(width, height) > _MAX_SIDE:
        raise UserError(f"Expected an image of at most {_MAX_SIDE:,} pixels a side. "
                        f"Received: {width:,} x {height:,}.")
    return data, max(width * height, pixels)


def _size(data: bytes) -> tuple[int, int, int]:
    """Return the width, the height, and for a GIF the pixels of all frames, else 0."""
    if data.startswith(_PNG):  # Pillow would read, and refuse, more than this
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
