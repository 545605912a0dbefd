"""From image files and arrays to what a network takes, for training and the SavedModel."""
import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.preprocessing import pillow_images as kinds
from zoo.training.preprocessing.bmp import read_bmp
from zoo.training.preprocessing.byte_strings import starts_with, substring, values
from zoo.training.preprocessing.exif import SIGNS, orientation
from zoo.training.preprocessing.gif import first_frame


def grey(images: tf.Tensor) -> tf.Tensor:
    """Return the luminance of float32 images (..., 1 or 3), of shape (..., 1).

    As tf.image.rgb_to_grayscale computes it, in a fifth of its operations.
    """
    if images.shape[-1] == 1:
        return images
    return tf.reduce_sum(images * kinds.GREY_WEIGHTS, -1, keepdims=True)


def fit_to(images: tf.Tensor, shape: Sequence[int], resize: str = "stretch",
           eval_resize: int = 0) -> tf.Tensor:
    """Return `images` with the height, width and channels of `shape`, as uint8.

    Colour becomes grey by luminance, grey becomes three equal channels. Resizing is bilinear, and
    averages where images shrink.

    Args:
        images: a tensor of shape (batch, height, width, 1 or 3), values in [0, 255].
        shape: (height, width, channels).
        resize: "stretch" ignores the aspect ratio, "crop" keeps it and cuts both sides, "pad" keeps
            it and pads with black.
        eval_resize: of "crop" alone, the pixels of the shorter side before the cut, at least the
            longer of height and width; 0 for as few as the cut needs.
    """
    height, width, channels = shape
    if images.shape[-1] != channels:
        if channels == 1:
            images = grey(tf.cast(images, tf.float32))
        else:
            images = tf.image.grayscale_to_rgb(images)
    if eval_resize:
        images = _crop(images, height, width, eval_resize)
    elif images.shape[1:3] != (height, width):
        images = _RESIZE[resize](images, height, width)
    rounded = tf.cast(tf.round(tf.cast(images, tf.float32)), tf.uint8)
    return tf.ensure_shape(rounded, (None, *shape))


def fit_one(image: tf.Tensor, shape: Sequence[int], resize: str = "stretch",
            eval_resize: int = 0) -> tf.Tensor:
    """Return what `fit_to` returns for a batch of one image, in less time.

    Args:
        image: of shape (height, width, 1 or 3), values in [0, 255].
        shape, resize, eval_resize: see `fit_to`.
    """
    channels = image.shape[-1]
    if image.dtype != tf.uint8 or channels != shape[-1] or eval_resize:
        return fit_to(image[None], shape, resize, eval_resize)[0]

    def resized(image):
        if resize == "stretch":
            return stretch_one(image, shape)
        return fit_to(image[None], shape, resize)[0]
    is_fitting = tf.reduce_all(tf.equal(tf.shape(image)[:2], shape[:2]))
    specs = [tf.TensorSpec((None, None, channels), tf.uint8)]
    fitted = run_branch(tf.cast(is_fitting, tf.int32), (resized, tf.identity), specs, image)
    return tf.ensure_shape(fitted, shape)


def run_branch(number: tf.Tensor, branches: Sequence[Callable], specs: Sequence[tf.TensorSpec],
               *inputs: tf.Tensor) -> tf.Tensor:
    """Return the uint8 tensor that the branch `number` of several makes of `inputs`.

    tf.cond and tf.switch_case are turned into switches, and what is computed passes the operations
    of all branches, which takes longer than decoding a small image.

    Args:
        number: an int32 scalar.
        branches: functions of tensors.
        specs: the shapes and dtypes of `inputs`.
        inputs: what the branch is called with.
    """
    with tf.init_scope():
        functions = [tf.function(branch, autograph=False, input_signature=specs)
                     .get_concrete_function() for branch in branches]
    (output,) = tf.raw_ops.Case(branch_index=number, input=inputs, Tout=[tf.uint8],
                                branches=functions)
    return output


def stretch_one(image: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Return what `fit_to` makes of an image with the channels of `shape` by "stretch".

    Args:
        image: uint8 of shape (height, width, channels).
        shape: (height, width, channels).
    """
    pixels = _stretch_rows(_stretch_rows(image, shape[0]), shape[1])
    return tf.ensure_shape(tf.cast(tf.round(pixels), tf.uint8), shape)


def _stretch_rows(image, height):
    """Resize an image (height, width, channels) to `height`, and turn it: (width, `height`, ...).

    TensorFlow resizes first the columns of an image, by whole rows, and then the rows, pixel by
    pixel, which takes most of the time. Two images of one column, the second one turned, have the
    same products and sums, by whole rows.
    """
    native, width, channels = tf.unstack(tf.shape(image))
    scale = tf.stack([tf.cast(height, tf.float32) / tf.cast(native, tf.float32), 1.0])
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(image, [1, native, 1, width * channels]), size=[height, 1], scale=scale,
        translation=[0.0, 0.0], kernel_type="triangle")
    turned = tf.transpose(tf.reshape(resized, [height, width, channels]), [1, 0, 2])
    return tf.ensure_shape(turned, (image.shape[1], height, image.shape[2]))


def _stretch(images, height, width):
    return tf.image.resize(images, (height, width), antialias=True)


def _crop(images, height, width, shorter=0):
    """Resize as tf.image.resize and cut, without computing what is cut, a thousandfold at worst."""
    native = tf.cast(tf.shape(images)[1:3], tf.float32)
    if shorter:
        sides = tf.round(native * (shorter / tf.reduce_min(native)))
    else:
        sides = tf.round(native * tf.reduce_max([height, width] / native))
    sides = tf.maximum(sides, [height, width])
    return tf.raw_ops.ScaleAndTranslate(
        images=images, size=[height, width], scale=sides / native,
        translation=-((sides - [height, width]) // 2), kernel_type="triangle")


def _pad(images, height, width):
    """Resize as tf.image.resize_with_pad, which fails where the shorter side gets no pixel."""
    native = tf.cast(tf.shape(images)[1:3], tf.float32)
    sides = native / tf.reduce_max(native / [height, width])
    top, left = tf.unstack(tf.maximum(tf.cast(([height, width] - sides) // 2, tf.int32), 0))
    size = tf.maximum(tf.cast(sides, tf.int32), 1)
    resized = tf.image.resize(images, size, antialias=True)
    return tf.image.pad_to_bounding_box(resized, top, left, height, width)


_RESIZE = {"stretch": _stretch, "crop": _crop, "pad": _pad}


@tf.autograph.experimental.do_not_convert  # it would take seconds
def decode(data: tf.Tensor, background: str = "white") -> tuple[tf.Tensor, tf.Tensor]:
    """Return the uint8 RGB image (height, width, 3) of a JPEG, PNG, GIF, BMP or WebP file.

    The pixels are those that Pillow reads: of a GIF the first frame, of 16 bits the high byte,
    transparency blended over `background`, a photograph turned upright by its EXIF orientation, see
    `zoo.training.preprocessing.exif`; those of a CMYK JPEG are up to one level darker, because
    TensorFlow does not round. WebP needs TensorFlow 2.20 or later; others refuse it.

    Args:
        data: the bytes of the file, a string scalar.
        background: "white", "black", a colour such as "#ffe0c0", or "dropped", which shows the
            colours beneath the transparency.

    Returns:
        The image, and the reason why the file is refused, a string scalar; "" if it is not. The
        image of a file that is refused is one pixel.

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are not an image, or damaged.
        zoo.errors.UserError: if there is no such background.
    """
    colour = kinds.rgb(background)
    format = tf.argmax(tf.stack(
        [tf.reduce_any([starts_with(data, sign) for sign in signs])
         for signs in kinds.FORMAT_SIGNS.values()] + [True]), output_type=tf.int32)
    image, error = tf.switch_case(
        format, [lambda read=read: read(data, colour) for read in _readers()])
    image = tf.ensure_shape(image, (None, None, 3))
    return tf.ensure_shape(_upright(image, orientation(data, format)), (None, None, 3)), error


def decode_or_explain(data: bytes, background: str = "white") -> tuple[np.ndarray, str]:
    """Return the pixels of an image as `decode`, uint8 (height, width, 3), and why it is refused.

    A call builds only what the format of this file needs, in a tenth of the time.
    """
    signs = enumerate(kinds.FORMAT_SIGNS.values())
    format = next((number for number, each in signs if data.startswith(each)),
                  len(kinds.FORMAT_SIGNS))
    try:
        image, error = _decoder(format, background, bool(_METADATA.search(data)))(data)
    except tf.errors.OpError:
        return np.zeros((1, 1, 3), "uint8"), kinds.BAD_IMAGE
    return image.numpy(), error.numpy().decode()


def road_of(data: bytes) -> int:
    """Return the number of the road by which `decode_by` reads a file: 0 unless it is plain, else
    `PLAIN_JPEG` or `PLAIN_PNG`.

    Plain are JPEG files of one or three channels and PNG files of 8 bits without transparency, if
    they have no EXIF data and no XMP. Only the parts before the pixels of a JPEG are looked at.
    """
    if data.startswith(kinds.FORMAT_SIGNS["JPEG"]):
        return PLAIN_JPEG if _is_plain_jpeg(data) else 0
    depth_and_kind = data[kinds.PNG_DEPTH:kinds.PNG_DEPTH + 2]
    if data.startswith(kinds.FORMAT_SIGNS["PNG"]) and depth_and_kind in _PLAIN_PNGS:
        return 0 if any(sign in data for sign in _NOT_PLAIN) else PLAIN_PNG
    return 0


def _is_plain_jpeg(data):
    """Walk the segments as `zoo.training.preprocessing.exif` does, up to the pixels."""
    offset, end, channels = 2, len(data) - 9, 0
    while offset < end and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker in (0xDA, 0xE1):  # the pixels; EXIF data or XMP
            return marker == 0xDA and channels in (1, 3)
        if marker == 0xFF:
            offset += 1
        elif marker <= 1 or 0xD0 <= marker <= 0xD9:
            offset += 2
        else:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's header
                channels = data[offset + 9]
            offset += 2 + data[offset + 2] * 256 + data[offset + 3]
    return False


@tf.autograph.experimental.do_not_convert
def decode_by(data: tf.Tensor, road: tf.Tensor, background: str) -> tf.Tensor:
    """Return the image of a file as `decode`, at the price of its format alone.

    `decode` passes each file through the operations of all formats, which for a small PNG file
    takes longer than decoding it, and its graph takes a second to start. Files that are not plain
    are decoded by `decode_or_explain`.

    Args:
        data: the bytes of the file, a string scalar.
        road: what `road_of` returns for them, an int32 scalar.
        background: see `decode`.

    Raises:
        tf.errors.InvalidArgumentError: if the file is damaged or refused.
    """
    image = run_branch(road, _roads(background), [tf.TensorSpec((), tf.string)], data)
    return tf.ensure_shape(image, (None, None, 3))


def _roads(background):
    def any_file(data):
        image, error = tf.numpy_function(functools.partial(_explained, background=background),
                                         [data], (tf.uint8, tf.string), stateful=False)
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(error, ""), [error])]):
            return tf.identity(image)

    def jpeg(data):
        return _plain_jpeg(data)

    def png(data):
        return tf.io.decode_png(data, channels=3)
    return any_file, jpeg, png


def _explained(data, background):
    image, error = decode_or_explain(data, background)
    return image, error.encode()


@functools.cache
def _decoder(format, background, has_metadata):
    colour = kinds.rgb(background)

    def read(data):
        image, error = _readers()[format](data, colour)
        if has_metadata:
            image = _upright(image, orientation(data, format))
        return image, error
    return tf.function(read, autograph=False, input_signature=[tf.TensorSpec((), tf.string)])


_ADOBE = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0"  # a segment
WEBP = "a WebP image, which TensorFlow reads from version 2.20 on: save it as PNG"
_READS_WEBP = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 20)
_METADATA = re.compile(SIGNS.encode())
PLAIN_JPEG, PLAIN_PNG = 1, 2
_PLAIN_PNGS = (b"\x08\0", b"\x08\x02")  # grey or colours of 8 bits: PNG, 11.2.2
_NOT_PLAIN = (b"tRNS", *SIGNS.encode().split(b"|"))


def _readers():
    """In the order of FORMAT_SIGNS; the last is for what has none of them."""
    return _jpeg, _png, _gif, _bmp, _webp


def _jpeg(data, colour):
    # Pillow takes the inks of a file without Adobe's marker for inverted too, as Adobe's are; a
    # marker of the file's own stands behind this one, and counts.
    is_cmyk = tf.equal(tf.io.extract_jpeg_shape(data)[2], 4)
    data = tf.cond(is_cmyk, lambda: b"\xff\xd8" + _ADOBE + substring(
        data, 2, tf.strings.length(data)), lambda: data)
    return _plain_jpeg(data), tf.constant("")


def _plain_jpeg(data):
    # The fast transform, which is the default, is up to 13 levels off.
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _one_pixel():
    return tf.zeros((1, 1, 3), tf.uint8)


def _png(data, colour):
    depth, kind = values(data, kinds.PNG_DEPTH, 2)

    def find_key():
        head = tf.strings.regex_replace(data, r"IDAT\C*", "")
        return tf.strings.regex_full_match(head, r"\C*tRNS\C*")
    has_key = tf.cond(tf.equal(depth, 8), lambda: False, find_key)

    def check():
        alpha = image[..., 3]  # black under an alpha may be ink
        is_ink = (tf.reduce_min(alpha) < 255) & (tf.reduce_max(alpha) >= kinds.LOW_BYTE_LIMIT)
        is_low = tf.reduce_max(image[..., :3]) < kinds.LOW_BYTE_LIMIT
        return tf.where(is_low & ~is_ink, kinds.LOW_RANGE, "")
    # TensorFlow gives pixels of less than 8 bits a smaller alpha than 255.
    image = tf.cond((depth < 8) & ~has_key, lambda: _opaque(tf.io.decode_png(data, channels=3)),
                    lambda: tf.io.decode_png(data, channels=4))
    error = tf.cond(tf.equal(depth, kinds.DEEP), check, lambda: "")
    has_key &= tf.not_equal(kind, kinds.PNG_PALETTE) & (depth > 1)
    return _composite(image, colour), tf.where(has_key, kinds.KEY, error)


def _opaque(image):
    return tf.pad(image, [[0, 0], [0, 0], [0, 1]], constant_values=255)


def _gif(data, colour):
    single, paddings, around = first_frame(data, colour)
    image = tf.io.decode_image(single, channels=3, expand_animations=False)
    size = tf.cast(tf.io.decode_raw(substring(single, 6, 4), tf.uint16), tf.int32)
    # TensorFlow's image has the size of the largest frame.
    image = tf.ensure_shape(image, (None, None, 3))[:size[1], :size[0]]
    paddings = tf.concat([paddings, [[0, 0]]], 0)
    return tf.pad(image - around, paddings) + around, tf.constant("")


def _bmp(data, colour):
    image, error = read_bmp(data)
    return _composite(image, colour), error


def _webp(data, colour):
    head = substring(data, 12, 4)
    flags = tf.io.decode_raw(substring(data, 20, 1), tf.uint8)
    is_animated = tf.equal(head, "VP8X") & tf.equal(flags[0] // 2 % 2, 1)

    def read():  # by this operation, because TensorFlow up to 2.19 has none for WebP alone
        image = tf.io.decode_image(data, expand_animations=False)
        channels = tf.shape(image)[2]
        image = tf.pad(image, [[0, 0], [0, 0], [0, 4 - channels]], constant_values=255)
        return _composite(tf.ensure_shape(image, (None, None, 4)), colour)
    is_heif = tf.equal(substring(data, 4, 4), "ftyp")
    error = tf.where(is_heif, kinds.HEIF, tf.where(is_animated, kinds.ANIMATED_WEBP, ""))
    if not _READS_WEBP:
        is_webp = tf.equal(substring(data, 8, 4), "WEBP")
        error = tf.where(is_webp & ~is_animated, WEBP, error)
    # TensorFlow 2.21 crashes at some animated files.
    image = tf.cond(tf.equal(error, ""), read, _one_pixel)
    return image, error


def _composite(rgba, colour):
    """Blend pixels over a colour, as PIL.Image.alpha_composite does; None drops the alpha."""
    pixels, alpha = rgba[..., :3], rgba[..., 3:]
    if colour is None:
        return pixels

    def blend():
        weight = tf.cast(alpha, tf.int32)
        mixed = tf.cast(pixels, tf.int32) * weight + tf.constant(colour) * (255 - weight)
        return tf.cast((mixed + 127) // 255, tf.uint8)
    return tf.cond(tf.reduce_min(alpha) < 255, blend, lambda: pixels)


# For orientations 1 to 8: whether to swap rows and columns, then to reverse the rows, then the
# columns (EXIF 2.3, 4.6.4).
_TURNS = ((False, False, False), (False, False, True), (False, True, True), (False, True, False),
          (True, False, False), (True, False, True), (True, True, True), (True, True, False))


def _upright(image, orientation):
    def turned():
        # tf.reverse takes the numbers of axes, the raw operation whether to reverse each.
        swap, *reverse = tf.unstack(tf.gather(_TURNS, orientation - 1))
        swapped = tf.transpose(image, tf.where(swap, (1, 0, 2), (0, 1, 2)))
        return tf.raw_ops.Reverse(tensor=swapped, dims=[*reverse, False])
    return tf.cond(orientation > 1, turned, lambda: image)


def read_image(path: str | os.PathLike[str], background: str = "white") -> np.ndarray:
    """Return the pixels of an image file as `decode` does, uint8 (height, width, 3).

    Raises:
        zoo.errors.UserError: if the file cannot be read or is refused.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    image, reason = decode_or_explain(data, background)
    if reason:
        raise UserError(f"{path} is {reason}.")
    return image
