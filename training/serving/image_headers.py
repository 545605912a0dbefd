"""What `zoo serve` looks at before TensorFlow decodes an image: its header, and how much memory it will take."""
import io
import struct

from PIL import Image

from zoo.errors import UserError

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
_SIDE = 65_535  # pixels, JPEG's and GIF's own limit; a PNG of 1,000,000 x 1, 1 KB, takes gigabytes to resize


def look_at(data, max_pixels):
    """Look at the header of an encoded image.

    Raises:
        zoo.errors.UserError: if it is none, or one of more than `max_pixels` pixels or with too long a side.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (OSError, ValueError, SyntaxError) as error:
        known = "a JPEG, PNG, GIF, BMP or WebP image"
        raise UserError(f"Expected {known}." if isinstance(error, OSError) else f"Expected {known}: {error}.") from None
    width, height, pixels = _gif_size(data) if image.format == "GIF" else (*image.size, 0)
    if max(width * height, pixels) > max_pixels:
        frames = f", in all frames {pixels:,}" if pixels else ""
        raise UserError(f"Expected an image of at most {max_pixels:,} pixels. Received: {width:,} x {height:,}{frames}.")
    if max(width, height) > _SIDE:
        raise UserError(f"Expected an image of at most {_SIDE:,} pixels a side. Received: {width:,} x {height:,}.")


def _gif_size(data):
    """(the largest width, the largest height, the pixels of all frames): TensorFlow decodes all, and Pillow tells the first.

    Goes from block to block as giflib, TensorFlow's decoder, does, and ends where it gives up.
    """
    width = height = pixels = 0
    try:
        place = 13 + _colour_bytes(data[10])
        while data[place] in b"!,":
            if data[place] == ord(","):
                frame = struct.unpack_from("<HH", data, place + 5)
                width, height, pixels = max(width, frame[0]), max(height, frame[1]), pixels + frame[0] * frame[1]
                place += 11 + _colour_bytes(data[place + 9])
            else:
                place += 3 + data[place + 2]  # after this first part an extension goes on, even if it is empty
            while data[place]:
                place += 1 + data[place]
            place += 1
    except (IndexError, struct.error):
        pass  # it is cut off
    return width, height, pixels


def _colour_bytes(flags):
    return 3 * (2 << (flags & 7)) if flags & 128 else 0
