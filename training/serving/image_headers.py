"""Checks an encoded image before it is decoded: its format and what it takes in memory."""
import io
import struct
import zlib

from PIL import Image

from zoo.errors import UserError
from zoo.training.preprocessing.pillow_images import (
    FORMAT_SIGNS,
    FORMATS,
    METADATA,
    explain,
    short_png,
)

_MAX_SIDE = 65_535  # pixels, as in JPEG and GIF; a PNG of 1,000,000 x 1, 1 KB, takes GBs to resize
_COMPRESSED = (b"zTXt", b"iTXt", b"iCCP")  # chunks of a PNG
_MAX_METADATA = 140_000  # bytes, inflated; EXIF data have 65,535, and two digits for each
_MAX_PARTS = 5_000  # chunks, segments or blocks; a photograph has some hundreds
_PART_HEAD = 8      # bytes
_MAX_SCANS, _USUAL_SCANS = 100, 10  # of a progressive JPEG; each goes through all pixels


def checked_image(data: bytes, max_pixels: int) -> tuple[bytes, int]:
    """Return an encoded image, and its pixels according to its header; they are not decoded.

    Args:
        data: the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        max_pixels: the largest width x height; for a GIF also the limit for all frames together.

    Returns:
        The file, of a PNG without what takes long to inflate and decides neither pixels nor
        orientation; and the width x height, or for a GIF what all frames have together if that is
        more. The pixels of a JPEG of more than ten scans count more often.

    Raises:
        zoo.errors.UserError: if it is not such an image, or has too many pixels, parts or scans, a
            side of more than 65,535 pixels, or compressed metadata of more than 140,000 bytes.
    """
    if not _has_few_parts(data):
        raise UserError(f"Expected an image file of at most {_MAX_PARTS:,} chunks, segments or "
                        "blocks. Received: more.")
    try:
        width, height, pixels = _size(data)
        if data.startswith(FORMAT_SIGNS["PNG"]) and any(kind in data for kind in _COMPRESSED):
            data = short_png(data, _MAX_METADATA)
    except (OSError, ValueError, SyntaxError, struct.error, zlib.error) as error:
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
    scans = data.count(b"\xff\xda") if data.startswith(FORMAT_SIGNS["JPEG"]) else 1
    if scans > _MAX_SCANS:
        raise UserError(f"Expected a JPEG of at most {_MAX_SCANS} scans. Received: {scans:,}.")
    return data, max(width * height, pixels) * max(scans, _USUAL_SCANS) // _USUAL_SCANS


def _size(data: bytes) -> tuple[int, int, int]:
    """Return the width, the height, and for a GIF the pixels of all frames, else 0."""
    if data.startswith(FORMAT_SIGNS["PNG"]):  # Pillow would read, and refuse, more than this
        kind, width, height = struct.unpack_from(">4sII", data, 12)
        if kind != b"IHDR":
            raise ValueError("a PNG without its header")
        return width, height, 0
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    return _gif_size(data) if image.format == "GIF" else (*image.size, 0)


def _has_few_parts(data: bytes) -> bool:
    """Return whether a file has at most `_MAX_PARTS` parts that a SavedModel walks through.

    It looks for the orientation, and in a GIF for the first frame, and each part takes it some
    microseconds. A file that ends too early has few: what is wrong with it is found elsewhere.
    """
    for signs, first, part in ((FORMAT_SIGNS["PNG"], 8, _png_part),
                               (FORMAT_SIGNS["JPEG"], 2, _jpeg_part), (b"RIFF", 12, _webp_part)):
        if data.startswith(signs):
            offset = first
            for _ in range(_MAX_PARTS):
                following = part(data, offset) if offset + _PART_HEAD <= len(data) else 0
                if following <= offset:
                    return True
                offset = following
            return False
    return not data.startswith(FORMAT_SIGNS["GIF"]) or _has_few_blocks(data)


def _has_few_blocks(data: bytes) -> bool:
    """Return whether a GIF has few blocks, and bytes between blocks, before its first frame."""
    flags = data[10] if len(data) > 10 else 0
    offset, is_inside = 13 + _palette_bytes(flags), False
    for _ in range(_MAX_PARTS):
        if offset >= len(data) or not is_inside and data[offset] in b",;":
            return True
        if is_inside:
            is_inside = data[offset] > 0
            offset += 1 + data[offset]
        elif data[offset] == ord("!"):
            offset, is_inside = offset + 2, True
        else:
            offset += 1
    return False


def _png_part(data: bytes, offset: int) -> int:
    """Return where the next chunk begins; 0 after the last one."""
    length, kind = struct.unpack_from(">I4s", data, offset)
    return 0 if kind == b"IEND" else offset + 12 + length


def _jpeg_part(data: bytes, offset: int) -> int:
    """Return where the next segment begins; 0 where the pixels do."""
    first, marker, length = struct.unpack_from(">BBH", data, offset)
    if first != 0xFF or marker == 0xDA:
        return 0
    if marker == 0xFF:  # a byte that fills
        return offset + 1
    return offset + 2 + (length if 1 < marker < 0xD0 or marker > 0xD9 else 0)


def _webp_part(data: bytes, offset: int) -> int:
    """Return where the next chunk begins."""
    (length,) = struct.unpack_from("<I", data, offset + 4)
    return offset + 8 + length + length % 2


def _gif_size(data: bytes) -> tuple[int, int, int]:
    """Return the width and height that hold the screen and all frames, and their pixels in all.

    The first frame lies on the screen; TensorFlow reads the pixels of the others too. This follows
    the blocks as giflib, TensorFlow's decoder, does, and stops where giflib stops.
    """
    (width, height), pixels = struct.unpack_from("<HH", data, 6), 0
    try:
        offset = 13 + _palette_bytes(data[10])
        while data[offset] in b"!,":
            if data[offset] == ord(","):
                left, top, *frame = struct.unpack_from("<HHHH", data, offset + 1)
                width, height = max(width, left + frame[0]), max(height, top + frame[1])
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
