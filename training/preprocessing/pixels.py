"""Which arrays are images: numbers from 0 (black) to 255 (white), of any dtype.

Arrays of every other range are refused, and never scaled: a dark image of 0 to 255 and an image of
0 to 1 may be equal, and a network must not guess. Training, the doctor, prediction and the server
call the functions of this module. A single image in uint8 that is sent to the server is taken as it
is, like a file with the same levels: a whole data set of zeros and ones is a mistake, a dark image
is not.
"""
import numpy as np

_SCALED = 2  # an image of 0 to 1 that a filter has sharpened exceeds 1 a little


def pixel_fault(images: np.ndarray) -> tuple[str, str] | None:
    """Return why the numbers in `images` are not pixels, or None if they are.

    Args:
        images: an array of any shape, of numbers or booleans.

    Returns:
        The kind of fault, "not finite", "out of range" or "scaled values"; and a clause that names
        the values, what was expected and what to do.
    """
    if images.dtype.kind not in "buif":
        return "not numbers", f"expected numbers from 0 to 255, received {images.dtype}"
    if not images.size:
        return None
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        return "not finite", "values that are not finite, expected 0 to 255"
    if low < 0 or high > 255:
        return "out of range", (f"values from {low:g} to {high:g}, expected 0 to 255"
                                f"{_advice(images.dtype, low, high)}")
    if 0 < high < _SCALED:
        return "scaled values", (f"values from {low:g} to {high:g}, expected 0 to 255: multiply "
                                 "them by 255")
    return None


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Return pixels as uint8, rounded; `images` have no `pixel_fault`."""
    return images if images.dtype == np.uint8 else np.round(images).astype("uint8")


def _advice(dtype, low, high):
    if -1 <= low < 0 and high <= 1:
        return ": compute (x + 1) * 127.5"
    if low < 0:
        return ": undo the standardization, or shift and scale them"
    if dtype.kind in "iu" and 255 < high <= 65_535:
        return ": divide 16-bit values by 257"
    return ": scale them"
