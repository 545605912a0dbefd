"""From image files to what a network takes, with Pillow and NumPy only: no TensorFlow.

The second face of `zoo.training.preprocessing.images`. Both accept and refuse the same files, with
the same words, and give the same pixels: decoded exactly the same, resized at most one level apart
in 0.2 % of them. ONNX and LiteRT files take these pixels:

    pixels = prepare(open("cat.jpg", "rb").read(), (224, 224, 3), "crop")
    session.run(None, {"image": pixels[None].astype("float32")})
"""
import io
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from zoo.errors import UsageError, UserError

# Why a file is refused; each completes "FILE is ...".
BAD_IMAGE = "not a JPEG, PNG, GIF, BMP or WebP image, or damaged"
LOW_RANGE = ("a 16-bit PNG whose values stay below 4096 of 65535: save it with the full range or "
             "as 8 bits")
KEY = ("a PNG of 2, 4 or 16 bits with one transparent colour (tRNS): save it with an alpha "
       "channel")
ANIMATED_WEBP = "an animated WebP: save its first frame as PNG"
METADATA = "a PNG with too much EXIF data or XMP: save it without"
HEIF = "a HEIC or AVIF image: convert it to JPEG, as by `magick photo.heic photo.jpg`"
RLE_BMP = "an RLE-compressed BMP: save it as PNG"
ODD_BMP = "a BMP of a kind that is not supported: save it as PNG"

# The transparency of files is dropped, and the colours beneath it are seen: what runs and exports
# of versions that knew no background were trained with.
DROPPED = "dropped"
PNG_DEPTH = 24       # the offset of a PNG's bits, before its type of colour: PNG, 11.2.2
PNG_PALETTE = 3      # a type of colour
DEEP = 16            # bits
LOW_BYTE_LIMIT = 16  # of the high byte; 12-bit data stay below it
GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # their sizes; 12 is OS/2's, with shorter fields
BMP_HEAD = 70                                 # bytes up to the last mask
BMP_ALPHA_HEADER = 56                         # from this size on they have a mask for alpha
BMP_RLE = (1, 2)                              # the compressions RLE8 and RLE4
BMP_BITFIELDS = 3                             # a compression that gives a mask for each channel
# What Pillow reads: {(bits, compression, masks of red, green, blue, alpha): (red, green, blue,
# alpha)}, from 24 bits on the byte of each channel, where the one after the last stands for an
# opaque pixel, and in 16 bits the width of each channel. Palettes have 1, 4 or 8 bits.
BMP_LAYOUTS = {
    (1, 0, 0, 0, 0, 0): (0, 0, 0, 0),
    (4, 0, 0, 0, 0, 0): (0, 0, 0, 0),
    (8, 0, 0, 0, 0, 0): (0, 0, 0, 0),
    (16, 0, 0, 0, 0, 0): (5, 5, 5, 0),
    (16, 3, 0x7C00, 0x3E0, 0x1F, 0): (5, 5, 5, 0),
    (16, 3, 0xF800, 0x7E0, 0x1F, 0): (5, 6, 5, 0),
    (24, 0, 0, 0, 0, 0): (2, 1, 0, 3),
    (24, 3, 0xFF0000, 0xFF00, 0xFF, 0): (2, 1, 0, 3),
    (32, 0, 0, 0, 0, 0): (2, 1, 0, 4),
    (32, 3, 0xFF0000, 0xFF00, 0xFF, 0): (2, 1, 0, 4),
    (32, 3, 0xFF000000, 0xFF0000, 0xFF00, 0): (3, 2, 1, 4),
    (32, 3, 0xFF000000, 0xFF00, 0xFF, 0): (3, 1, 0, 4),
    (32, 3, 0xFF000000, 0xFF0000, 0xFF00, 0xFF): (3, 2, 1, 0),
    (32, 3, 0xFF, 0xFF00, 0xFF0000, 0xFF000000): (0, 1, 2, 3),
    (32, 3, 0xFF0000, 0xFF00, 0xFF, 0xFF000000): (2, 1, 0, 3),
    (32, 3, 0xFF000000, 0xFF00, 0xFF, 0xFF0000): (3, 1, 0, 2),
    (32, 3, 0, 0, 0, 0): (2, 1, 0, 3)}

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
# How files begin; one that begins otherwise is WebP, or no image.
FORMAT_SIGNS = {"JPEG": (b"\xff\xd8\xff",), "PNG": (b"\x89PNG\r\n\x1a\n",),
                "GIF": (b"GIF87a", b"GIF89a"), "BMP": (b"BM",)}
_ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4 A
# The chunks of a PNG that decide its pixels, and those that may hold its orientation.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_EXIF, _PNG_TEXTS = b"eXIf", (b"tEXt", b"zTXt", b"iTXt")
# The text chunks with EXIF data, which ImageMagick writes, and with XMP; what is before their
# compressed content.
PNG_KEYS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_PNG_COMPRESSED = (re.compile(rb"zTXt[^\0]*\0\0"),
                   re.compile(rb"iTXt[^\0]*\0\x01\0[^\0]*\0[^\0]*\0"))
_PNG_START, _PNG_HEADER = 8, 33  # the offsets of the first chunk and of the second
# What Pillow raises at a damaged file or EXIF block.
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error,
                  zlib.error, AssertionError, OverflowError, Image.DecompressionBombError)


def rgb(background: str) -> tuple[int, int, int] | None:
    """Return the colour (red, green, blue), 0 to 255, of a background; None for `DROPPED`.

    Args:
        background: "white", "black", "#rrggbb" or "dropped".

    Raises:
        zoo.errors.UsageError: if it is none of these.
    """
    if background == DROPPED:
        return None
    if background not in ("white", "black") and not re.fullmatch("#[0-9a-fA-F]{6}", background):
        raise UsageError('background must be "white", "black", a colour such as "#ffe0c0", or '
                         f'"{DROPPED}". Received: {background!r}.')
    return ImageColor.getrgb(background)[:3]


def decode(data: bytes, background: str = "white") -> np.ndarray:
    """Return the uint8 RGB image (height, width, 3) of a JPEG, PNG, GIF, BMP or WebP file.

    See `zoo.training.preprocessing.images.decode`. Pillow also refuses images of more than about
    179 million pixels.

    Raises:
        zoo.errors.UserError: if the file cannot be used; the message is the reason.
    """
    return _in_colour(_decode(data, background))


def explain(data: bytes) -> str:
    """Return why a file is refused whose header Pillow cannot read."""
    if data.startswith(b"BM"):  # others might take much memory
        try:
            decode(data)
        except UserError as error:
            return str(error)
    return BAD_IMAGE


def prepare(data: bytes, shape: Sequence[int], resize: str = "stretch",
            background: str = "white", eval_resize: int = 0) -> np.ndarray:
    """Return the pixels of a file as a network takes them, uint8 of `shape`.

    Args:
        data: the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        shape: (height, width, channels): the "shape" of the model card's "input".
        resize: the card's "resize".
        background: the card's "background".
        eval_resize: the card's "eval_resize".

    Raises:
        zoo.errors.UserError: as `decode`.
    """
    pixels = _decode(data, background)
    if pixels.shape == tuple(shape) and not eval_resize:  # `fit_to` would change nothing
        return pixels
    return fit_to(_in_colour(pixels), shape, resize, eval_resize)


def fit_to(image: np.ndarray, shape: Sequence[int], resize: str = "stretch",
           eval_resize: int = 0) -> np.ndarray:
    """Return an image with the height, width and channels of `shape`, as uint8.

    See `zoo.training.preprocessing.images.fit_to`.

    Args:
        image: uint8 (height, width, 1 or 3).
        shape: (height, width, channels).
        resize: "stretch", "crop" or "pad".
        eval_resize: of "crop" alone, the pixels of the shorter side before the cut; 0 for as few as
            the cut needs.
    """
    height, width, channels = shape
    pixels = image
    if channels == 1 and image.shape[-1] == 3:
        red, green, blue = (image[..., i] * np.float32(weight)
                            for i, weight in enumerate(GREY_WEIGHTS))
        pixels = (red + green + blue)[..., None]
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], channels))
    if eval_resize:
        pixels = _crop(pixels, height, width, eval_resize)
    elif pixels.shape[:2] != (height, width):
        pixels = _RESIZE[resize](pixels, height, width)
    return np.round(pixels).astype("uint8")


def orientation(image: Image.Image) -> int:
    """Return the orientation of a loaded Pillow image, by EXIF or XMP; 1 if these are broken."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except PILLOW_ERRORS:  # broken EXIF data
        return 1


def _scale(pixels, height, width, box=None):
    """Resize pixels to float32; `box` is the (left, upper, right, lower) part, None for all."""
    channels = [np.asarray(Image.fromarray(np.ascontiguousarray(channel, "float32")).resize(
        (width, height), Image.Resampling.BILINEAR, box)) for channel in np.moveaxis(pixels, -1, 0)]
    return np.stack(channels, -1)


# In float32, as TensorFlow computes: a side must not come out one pixel longer.
def _crop(pixels, height, width, shorter=0):
    native, size = np.array(pixels.shape[:2], "float32"), np.array((height, width), "float32")
    factor = np.float32(shorter) / np.min(native) if shorter else np.max(size / native)
    sides = np.maximum(np.round(native * factor), size)
    scale, first = sides / native, (sides - size) // 2
    (top, left), (bottom, right) = first / scale, (first + size) / scale
    box = (left, top, min(right, native[1]), min(bottom, native[0]))
    return _scale(pixels, height, width, tuple(map(float, box)))


def _pad(pixels, height, width):
    native, size = np.array(pixels.shape[:2], "float32"), np.array((height, width), "float32")
    sides = native / np.max(native / size)
    top, left = np.maximum((size - sides) // 2, 0).astype(int)
    rows, columns = np.maximum(sides.astype(int), 1)
    padded = np.zeros((height, width, pixels.shape[-1]), "float32")
    padded[top:top + rows, left:left + columns] = _scale(pixels, rows, columns)
    return padded


_RESIZE = {"stretch": _scale, "crop": _crop, "pad": _pad}


def _decode(data, background):
    """The pixels of a file, uint8 (height, width, 3), or (height, width, 1) of some grey images."""
    colour = rgb(background)
    try:
        return _pixels(data, colour)
    except UserError:  # which is a ValueError
        raise
    except PILLOW_ERRORS:
        raise UserError(BAD_IMAGE) from None


def _in_colour(pixels):
    """The pixels with three channels."""
    return pixels if pixels.shape[-1] == 3 else pixels.repeat(3, -1)


def _pixels(data, colour):
    if data.startswith(b"BM"):
        return _composite(_bmp(data), colour)
    metadata: dict[str, Any] = {}
    if data.startswith(b"\x89PNG"):
        data, metadata = sound_png(data)
    if data.startswith(b"GIF8"):
        data += b"\0;"  # a GIF may lack its end
    if data[4:8] == b"ftyp":
        raise UserError(HEIF)
    if data[:4] == b"RIFF" and data[12:16] == b"VP8X" and data[20] & 2:
        raise UserError(ANIMATED_WEBP)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()
        image.info.update(metadata)
        depth = data[PNG_DEPTH] if image.format == "PNG" else 8
        if "transparency" in image.info and image.mode != "P" and depth in (2, 4, DEEP):
            raise UserError(KEY)  # Pillow compares it with levels of 8 bits
        if image.mode == "CMYK":
            pixels = _from_cmyk(np.asarray(image))
        elif image.mode in ("1", "L", "RGB") and "transparency" not in image.info and depth < DEEP:
            pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
            pixels = pixels.reshape(*pixels.shape[:2], -1)
        else:
            rgba = _deep_png(image) if depth == DEEP else np.asarray(image.convert("RGBA"))
            pixels = _composite(rgba, colour)
        return _upright(pixels, orientation(image))


def _from_cmyk(inks):
    """RGB of inks; TensorFlow cuts off the fraction that Pillow rounds."""
    light = 255 - inks.astype("int32")
    return (light[..., :3] * light[..., 3:] // 255).astype("uint8")


def _upright(pixels, orientation):
    """Turn pixels by an orientation of EXIF 2.3, 4.6.4 A; 1 to 8, others count as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _composite(rgba, colour):
    """Blend pixels over a colour, as PIL.Image.alpha_composite does; None drops the alpha."""
    pixels, alpha = rgba[..., :3], rgba[..., 3:].astype("int32")
    if colour is None:
        return pixels
    mixed = pixels * alpha + np.int32(colour) * (255 - alpha)
    return ((mixed + 127) // 255).astype("uint8")


def sound_png(data: bytes, most: int = 0) -> tuple[bytes, dict[str, Any]]:
    """Return a PNG without the chunks that do not decide its pixels, and its metadata.

    Pillow accepts PNG files without their end and without a check of their pixels' checksums, and
    refuses those with a wrong checksum in what does not matter; libpng, TensorFlow's decoder, does
    the reverse. Pillow also takes a text chunk of any name, such as "transparency", for what the
    image has of this name. The metadata are what `zoo.training.preprocessing.exif` reads, as
    Pillow's `info` holds them.

    Args:
        most: bytes of either kind of metadata, inflated; by default any number.

    Raises:
        zoo.errors.UserError: if it is damaged, or has more metadata.
    """
    kept, offset, kind = [data[:_PNG_START]], _PNG_START, b""
    exif, texts = b"", [b"", b""]  # the last ones count
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, offset)
        end = offset + 12 + length
        content = data[offset + 4:end - 4]
        if (kind == b"IHDR") != (offset == _PNG_START):
            raise UserError(BAD_IMAGE)  # Pillow would take the last one for the size
        if kind == _PNG_EXIF:
            exif = content[4:]
        elif kind in _PNG_TEXTS:
            texts = [content if content.startswith(key, 4) else text
                     for key, text in zip(PNG_KEYS, texts, strict=True)]
        elif kind in _PNG_CHUNKS and struct.unpack_from(">I", data, end - 4) == (
                zlib.crc32(content),):
            kept.append(data[offset:end])
        elif not kind[0] & 32:  # a critical chunk
            raise UserError(BAD_IMAGE)
        offset = end
    info = {"xmp": _png_text(texts[1], _PNG_COMPRESSED[1], most)}
    if exif:
        info["exif"] = exif
    elif texts[0]:
        profile = _png_text(texts[0], _PNG_COMPRESSED[0], most)
        info["Raw profile type exif"] = profile.decode("latin-1")
    return b"".join(kept), info


def short_png(data: bytes, most: int) -> bytes:
    """Return a PNG with the same pixels and orientation, and nothing else to inflate.

    libpng, TensorFlow's decoder, inflates every text and colour profile of a file.

    Args:
        most: bytes of either kind of metadata, inflated.

    Raises:
        zoo.errors.UserError: as `sound_png`.
    """
    sound, info = sound_png(data, most)
    profile = info.get("Raw profile type exif", "").encode("latin-1")
    metadata = ((_PNG_EXIF, b"", info.get("exif")), (_PNG_TEXTS[0], PNG_KEYS[0], profile),
                (_PNG_TEXTS[0], PNG_KEYS[1], info["xmp"]))
    chunks = [struct.pack(">I4s", len(key + content), kind) + key + content
              + struct.pack(">I", zlib.crc32(kind + key + content))
              for kind, key, content in metadata if content]
    return sound[:_PNG_HEADER] + b"".join(chunks) + sound[_PNG_HEADER:]


def _png_text(text, compressed, most):
    head = compressed.match(text)
    if not head:
        return text
    inflater = zlib.decompressobj()
    content = inflater.decompress(text[head.end():], most)
    if inflater.unconsumed_tail:
        raise UserError(METADATA)
    return content  # perhaps cut short, as TensorFlow reads it


def _deep_png(image):
    """The Pillow image of mode RGBA of a PNG of 16 bits: the high byte of each value."""
    if image.mode.startswith("I"):  # which Pillow would clip to 255
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    pixels = np.asarray(image.convert("RGBA"))
    alpha = pixels[..., 3]  # black under an alpha may be ink
    is_ink = alpha.min() < 255 and alpha.max() >= LOW_BYTE_LIMIT
    if pixels[..., :3].max() < LOW_BYTE_LIMIT and not is_ink:
        raise UserError(LOW_RANGE)
    return pixels


def _bmp(data):
    """The pixels of a BMP, uint8 (height, width, 4), as Pillow reads it.

    Pillow's own reader takes palettes of 4 bits that are a grey ramp for 8 bits.
    """
    head = data + bytes(BMP_HEAD)
    (offset,), (header,) = struct.unpack_from("<I", head, 10), struct.unpack_from("<I", head, 14)
    if header not in BMP_HEADERS:
        raise UserError(ODD_BMP)
    compression = colours = 0
    if header == BMP_HEADERS[0]:
        width, height, _, bits = struct.unpack_from("<4H", head, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", head, 18)
        (colours,) = struct.unpack_from("<I", head, 46)
    if compression in BMP_RLE:
        raise UserError(RLE_BMP)
    masks = (0, 0, 0, 0)
    if compression == BMP_BITFIELDS:
        masks = struct.unpack_from("<4I", head, 54)
        if bits != 32 or header < BMP_ALPHA_HEADER:
            masks = (*masks[:3], 0)
    layout = BMP_LAYOUTS.get((bits, compression, *masks))
    if not layout or not width or not height:
        raise UserError(ODD_BMP)
    start = 14 + header
    palette = np.zeros((256, 3), "uint8")
    if bits <= 8:
        entry, count = 3 if header == BMP_HEADERS[0] else 4, colours or 1 << bits
        entries = np.frombuffer(data, "uint8", entry * count, start).reshape(count, entry)
        palette[:count] = entries[:, 2::-1]
        offset += entries.size if offset == start else 0
        start += entries.size
    elif compression and header == 40:
        start += 12  # three masks
    stride, used = (width * bits + 31) // 32 * 4, (width * bits + 7) // 8
    rows = np.frombuffer(data + bytes(3), "uint8", stride * abs(height), offset or start)
    rows = rows.reshape(-1, stride)[:, :used]
    if len(data) < (offset or start) + stride * abs(height) - (stride - used):
        raise UserError(BAD_IMAGE)
    return _bmp_pixels(rows if height < 0 else rows[::-1], width, bits, layout, palette)


def _bmp_pixels(rows, width, bits, layout, palette):
    """The pixels, uint8 (height, width, 4), of the rows of a BMP."""
    if bits <= 8:
        shifts = np.arange(8 - bits, -1, -bits)
        indices = (rows[..., None] >> shifts) & ((1 << bits) - 1)
        colours = palette[indices.reshape(len(rows), -1)[:, :width]]
    elif bits == 16:
        values = rows.reshape(len(rows), width, 2) @ np.array((1, 256))
        widths = np.array(layout[:3])
        shifts = np.array((widths[1:].sum(), widths[2], 0))
        largest = (1 << widths) - 1
        colours = (values[..., None] >> shifts & largest) * 255 // largest
    else:
        channels = rows.reshape(len(rows), width, bits // 8)
        return np.pad(channels, ((0, 0), (0, 0), (0, 1)), constant_values=255)[..., layout]
    return np.pad(colours.astype("uint8"), ((0, 0), (0, 0), (0, 1)), constant_values=255)
