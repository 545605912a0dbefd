"""The orientation of an encoded image, read by TensorFlow operations."""
import numpy as np
import tensorflow as tf

from zoo.training.preprocessing.byte_strings import starts_with, substring, values
from zoo.training.preprocessing.pillow_images import PNG_KEYS

# A file without these bytes has no orientation; to search them costs less than to walk its parts.
SIGNS = "Exif|eXIf|EXIF|exif|adobe"
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"  # how segments of a JPEG begin
_PNG_PROFILE, _PNG_XMP = PNG_KEYS
_XMP_ORIENTATION = r'^\C*?tiff:Orientation(?:="|>)([0-9])\C*$'
_MOST_PARTS = 100_000  # of a file, which are walked in a few seconds
_HEAD = 8              # bytes that tell the kind and the length of a part
_TIFF = (b"MM\0*", b"II*\0", b"MM*\0", b"II\0*")  # the last two are wrong, and Pillow reads them
_TIFF_HEAD, _ENTRY = 8, 12  # bytes
_TAG = 0x0112          # EXIF 2.3, 4.6.4 A
# The bits of the types of whole numbers, from SBYTE to IFD; 0 for the other types.
_TYPE_BITS = (0, 0, 0, 16, 32, 0, 8, 0, 16, 32, 0, 0, 0, 32)
_CHARACTERS = [bytes([value]) for value in range(256)]


def orientation(data: tf.Tensor, format: tf.Tensor | int) -> tf.Tensor:
    """Return the orientation of an encoded image, 1 (upright) to 8 as in EXIF 2.3, 4.6.4 A.

    It is read as `PIL.Image.Image.getexif` reads it: from the first directory of the EXIF data, a
    whole number of any type; if there is none, from XMP. In a PNG, EXIF may also be a text chunk
    that ImageMagick writes. Broken EXIF data count as upright. An orientation that is a fraction is
    not read, though Pillow reads it.

    Args:
        data: the bytes of the file, a string scalar.
        format: 0 for JPEG, 1 for PNG, 4 for WebP; others have no orientation.
    """
    def read():
        walks = (_jpeg, _png, _nothing, _nothing, _webp)
        if isinstance(format, int):
            exif, xmp = walks[format](data)
        else:
            exif, xmp = tf.switch_case(format, [lambda walk=walk: walk(data) for walk in walks])
        exif = tf.strings.regex_replace(exif, "^(Exif\\x00\\x00){1,2}", "")
        return tf.cond(tf.equal(exif, ""), lambda: _of_xmp(xmp), lambda: _of_tiff(exif, xmp))
    return tf.cond(tf.strings.regex_full_match(data, rf"\C*({SIGNS})\C*"), read, lambda: 1)


def _nothing(data):
    return tf.constant(""), tf.constant("")


def _walk(data, start, part, joins=True):
    """Walk the parts of a file; return its EXIF data, its XMP and a PNG's chunk of a profile.

    Args:
        start: the offset of the first part.
        part: takes the offset and the first 8 bytes, a list of int32; returns the offset of the
            next part, 0 after the last one, which of the three it is, and its content.
        joins: whether EXIF data that are there twice belong together; else the last ones count.
    """
    end = tf.strings.length(data)

    def body(offset, exif, xmp, profile):
        following, is_exif, is_xmp, is_profile, content = part(offset, values(data, offset, _HEAD))
        exif = tf.where(is_exif, exif + content if joins else content, exif)
        # Not beyond the offset: the last part, or a length that overflows.
        return (tf.where(following > offset, following, end), exif,
                tf.where(is_xmp, content, xmp), tf.where(is_profile, content, profile))
    _, *parts = tf.while_loop(
        lambda offset, exif, xmp, profile: (offset >= 0) & (offset + _HEAD <= end), body,
        (tf.constant(start), *[tf.constant("")] * 3), maximum_iterations=_MOST_PARTS)
    return parts


def _jpeg(data):
    def part(offset, head):
        first, marker, high, low, *_ = head
        length = high * 256 + low  # of the segment, with these two bytes
        size = tf.where((marker <= 1) | ((marker >= 0xD0) & (marker <= 0xD9)), 2, length + 2)
        size = tf.where(tf.equal(marker, 0xFF), 1, size)  # a byte that fills
        segment = substring(data, offset + 4, tf.maximum(length - 2, 0))
        is_app1 = tf.equal(first, 0xFF) & tf.equal(marker, 0xE1)
        is_exif = is_app1 & starts_with(segment, _EXIF)
        is_xmp = is_app1 & starts_with(segment, _XMP)
        content = substring(segment, tf.where(is_exif, len(_EXIF), 0), tf.strings.length(segment))
        is_last = tf.not_equal(first, 0xFF) | tf.equal(marker, 0xDA)
        return tf.where(is_last, 0, offset + size), is_exif, is_xmp, False, content
    exif, xmp, _ = _walk(data, 2, part)  # a JPEG may have EXIF data in several segments
    return exif, xmp


def _png(data):
    def part(offset, head):
        length = _number(head[:4])
        kind = substring(data, offset + 4, 4)
        chunk = substring(data, offset + 8, length)
        is_text = tf.strings.regex_full_match(kind, "tEXt|zTXt|iTXt")
        is_xmp = is_text & starts_with(chunk, _PNG_XMP)
        is_profile = is_text & starts_with(chunk, _PNG_PROFILE)
        content = tf.where(is_text, kind + chunk, chunk)  # the kind tells if it is compressed
        following = tf.where(tf.equal(kind, "IEND"), 0, offset + 12 + length)
        return following, tf.equal(kind, "eXIf"), is_xmp, is_profile, content
    exif, xmp, profile = _walk(data, 8, part, joins=False)
    profile = tf.cond(tf.equal(exif, ""), lambda: _profile(profile), lambda: exif)
    return profile, _inflated(xmp, r"^iTXt[^\x00]*\x00\x01\x00[^\x00]*\x00[^\x00]*\x00")


def _webp(data):
    def part(offset, head):
        length = _number(head[7:3:-1])
        kind = substring(data, offset, 4)
        content = substring(data, offset + 8, length)
        return (offset + 8 + length + length % 2, tf.equal(kind, "EXIF"), tf.equal(kind, "XMP "),
                False, content)
    exif, xmp, _ = _walk(data, 12, part)
    return exif, xmp


def _number(values):
    """The int32 of four bytes, the highest first; -1 if it is too large."""
    first, *rest = values
    number = first
    for value in rest:
        number = number * 256 + value
    return tf.where(first < 128, number, -1)


def _inflated(chunk, head):
    """The text of a chunk of a PNG, decompressed if `head` matches what is before it."""
    text = tf.strings.regex_replace(chunk, head, "", replace_global=False)
    is_compressed = tf.strings.length(text) < tf.strings.length(chunk)
    return tf.cond(is_compressed, lambda: tf.io.decode_compressed(text, "ZLIB"), lambda: chunk)


def _profile(chunk):
    """The bytes that a chunk of text holds as hexadecimal digits, below three lines."""
    text = _inflated(chunk, r"^zTXt[^\x00]*\x00\x00")
    digits = tf.strings.regex_replace(text, r"^[^\n]*\n[^\n]*\n[^\n]*\n", "")
    digits = tf.strings.regex_replace(digits, r"\s", "")
    codes = tf.cast(tf.io.decode_raw(digits, tf.uint8), tf.int32)
    digits = tf.where(codes >= ord("a"), codes - ord("a") + 10, codes - ord("0"))
    high, low = digits[:-1:2], digits[1::2]
    return tf.strings.reduce_join(tf.gather(_CHARACTERS, tf.clip_by_value(high * 16 + low, 0, 255)))


def _of_xmp(xmp):
    digit = tf.strings.regex_replace(xmp, _XMP_ORIENTATION, r"\1")
    is_digit = tf.strings.regex_full_match(digit, "[1-8]")
    return tf.strings.to_number(tf.where(is_digit, digit, "1"), tf.int32)


def _of_tiff(exif, xmp):
    """The orientation in the first directory of EXIF data."""
    content = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)
    size = tf.size(content)
    content = tf.pad(content, [[0, _TIFF_HEAD]])
    is_big = tf.equal(content[0], ord("M"))

    def numbers(rows, *ends):
        """Columns of numbers, in the byte order of the data, that end before `ends`."""
        little = np.zeros((ends[-1], len(ends)), "int64")
        big, start = little.copy(), 0
        for column, end in enumerate(ends):
            little[start:end, column] = 256 ** np.arange(end - start)
            big[start:end, column] = 256 ** np.arange(end - start)[::-1]
            start = end
        return tf.unstack(tf.matmul(rows, tf.where(is_big, big, little)), axis=1)
    _, offset = numbers(content[None, :_TIFF_HEAD], 4, 8)
    offset = tf.cast(tf.minimum(offset[0], tf.cast(size, tf.int64)), tf.int32)
    (count,) = numbers(content[None, offset:offset + 2], 2)
    count = tf.minimum(tf.cast(count[0], tf.int32), (size - offset - 2) // _ENTRY)
    count = tf.maximum(count, 0)
    first = tf.minimum(offset + 2, size)
    entries = tf.reshape(content[first:first + count * _ENTRY], (-1, _ENTRY))
    tag, kind, length, value = numbers(entries, 2, 4, 8, 12)
    bits = tf.gather(tf.constant(_TYPE_BITS, tf.int64),
                     tf.where(kind < len(_TYPE_BITS), kind, 0))
    is_it = tf.equal(tag, _TAG) & (bits > 0) & tf.equal(length, 1)
    shift = tf.where(is_big, 32 - bits, 0)  # a short value stands in the first bytes
    value = tf.bitwise.right_shift(value, shift) % 2 ** bits
    head = substring(exif, 0, 4)
    is_tiff = tf.reduce_any(tf.equal(head, _TIFF)) & (size >= _TIFF_HEAD)

    def read():
        value_of = tf.gather(value, tf.argmax(tf.cast(is_it, tf.int32)))
        return tf.cast(tf.where((value_of >= 1) & (value_of <= 8), value_of, 1), tf.int32)
    return tf.case([(~is_tiff, lambda: 1), (tf.reduce_any(is_it), read)],
                   default=lambda: _of_xmp(xmp))
