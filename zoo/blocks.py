"""What two or more architectures share: from pixels to the first layer, from features to logits."""
import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from zoo.errors import UsageError, unknown

ImageShape = Sequence[int | None]  # (height, width, channels)
PerChannel = float | Sequence[float]  # one number for all channels, or one for each
Convolve = Callable[..., KerasTensor]  # (x, filters, kernel, stride, ..., name=...)

# Momentum of batch normalisation's moving statistics. A small data set gives only a few hundred
# steps, after which Keras's 0.99 still holds much of the initial values: inference goes wrong.
BN_MOMENTUM = 0.9

STEM_STRIDE = {"imagenet": 2, "small": 1}  # of each strided layer of a stem


def image_input(input_shape: ImageShape, *, any_size: bool = False, minimum: int = 1,
                hint: str | None = None, mean: PerChannel = 0.0,
                std: PerChannel = 1.0) -> tuple[KerasTensor, KerasTensor]:
    """Return the input of an image network and the normalised image, `(image / 255 - mean) / std`.

    The arithmetic is float32 under every dtype policy: half precision cannot represent 256 grey
    levels.

    Args:
        input_shape: (height, width, channels) of the images.
        any_size: whether height and width may be None, as in a network that averages its last
            feature map over all positions.
        minimum: the smallest height and width that the network accepts.
        hint: the option of the builder that allows smaller images, such as "stem='small'".
        mean, std: of the pixels, on a scale of 0 to 1; a number, or one per channel. With one per
            channel, a grey image is repeated to that number of channels.

    Returns:
        Two Keras tensors: the pixels in [0, 255], of shape (batch, *input_shape), and the
        normalised image.

    Raises:
        zoo.errors.UsageError: if `input_shape` is not (height, width, channels) or is smaller than
            `minimum`, `mean` or `std` is invalid, or Keras's image data format is channels_first.
    """
    if keras.config.image_data_format() != "channels_last":
        raise UsageError("Images must have their channels last: call keras.config."
                         "set_image_data_format('channels_last'). Received: 'channels_first'.")
    height, width, channels = shape = _image_shape(input_shape, any_size)
    if min((n for n in (height, width) if n is not None), default=minimum) < minimum:
        advice = f" For smaller images pass {hint}." if hint else ""
        raise UsageError(f"Images must be at least {minimum}x{minimum} here. "
                         f"Received: {height}x{width}.{advice}")
    scale, offset = _scale_and_offset(mean, std, channels)
    image = keras.Input(shape, name="image")
    x = image
    if channels == 1 and isinstance(scale, list) and len(scale) > 1:
        x = layers.Concatenate(dtype="float32", name="repeat")([image] * len(scale))
    return image, layers.Rescaling(scale, offset, dtype="float32", name="rescale")(x)


def _image_shape(input_shape, any_size):
    """`input_shape` as a tuple of Python integers, which a saved configuration needs, or None."""
    or_none = ", or None for any height and width" if any_size else ""
    invalid = UsageError("input_shape must be (height, width, channels), three positive integers"
                         f"{or_none}. Received: {input_shape}.")
    try:
        shape = tuple(None if n is None else operator.index(n) for n in input_shape)
    except TypeError:
        raise invalid from None
    sides = [n for n in shape[:2] if n is not None or not any_size]
    if len(shape) != 3 or not all(n and n > 0 for n in (*sides, shape[2])):
        raise invalid
    if _looks_channels_first(shape):
        raise UsageError(f"input_shape must be (height, width, channels), and {shape} looks like "
                         f"(channels, height, width). Did you mean {(*shape[1:], shape[0])}?")
    return shape


def _looks_channels_first(shape):
    """Whether `shape` reads better as 1 or 3 channels of an image that is not a narrow strip.

    Rows of many channels, such as (1, 128, 9), and small maps, such as (3, 3, 64), do not.
    """
    if None in shape or shape[0] not in (1, 3):
        return False
    short, long = sorted(shape[1:])
    return short > 4 and long <= 4 * short


def _scale_and_offset(mean, std, channels):
    """(x / 255 - mean) / std as a scale and an offset for Rescaling: numbers, or lists of them."""
    means, stds = (np.asarray(values, "float64") for values in (mean, std))
    received = f"Received: {mean} and {std}."
    sizes = {values.size for values in (means, stds) if values.ndim}
    if len(sizes) > 1 or max(means.ndim, stds.ndim) > 1 or (channels > 1 and sizes - {1, channels}):
        raise UsageError(f"mean and std must be a number, or one for each of {channels} channels. "
                         f"{received}")
    if not (np.isfinite(means).all() and np.isfinite(stds).all() and stds.min() > 0):
        raise UsageError(f"mean must be finite and std positive. {received}")
    if max(means.max(), stds.max()) > 1 + 1e-6:  # 1 itself may come back from a saved network
        raise UsageError("mean and std must be on a scale of 0 to 1, those of pixels from 0 to 255 "
                         f"divided by 255. {received}")
    return (1 / (255 * stds) + 0 * means).tolist(), (-means / stds).tolist()


def check_positive(**counts: int | Sequence[int]) -> None:
    """Raise UsageError unless each argument is a positive integer, or a sequence of them."""
    for name, count in counts.items():
        values = count if isinstance(count, (list, tuple)) else [count]
        if not values or not all(isinstance(n, int) and n > 0 for n in values):
            raise UsageError(f"{name} must be positive whole numbers. Received: {count!r}.")


def check_above_zero(**factors: float) -> None:
    """Raise UsageError unless each argument, a factor on the number of filters, is above 0."""
    for name, factor in factors.items():
        if not factor > 0:
            raise UsageError(f"{name} must be above 0. Received: {factor!r}.")


def resolve_stem(stem: str, stems: Collection[str]) -> str:
    """Return `stem`, the name of one of `stems`; "paper" is the old name of "imagenet".

    Raises:
        zoo.errors.UsageError: if it is unknown; the line names the nearest one.
    """
    if stem == "paper":
        stem = "imagenet"
    if stem not in stems:
        raise unknown("stem", stem, stems)
    return stem


def minimum_side(halvings: int) -> int:
    """Return the smallest image side that leaves two pixels to each of `halvings` strides of 2.

    Each of them rounds its result up.
    """
    return 2 ** halvings // 2 + 1


def head(x: KerasTensor, classes: int, *, dropout: float = 0.0, **dense: Any) -> KerasTensor:
    """Return the float32 logits of `classes` classes, or the features `x` if `classes` is 0.

    Softmax is left to the loss and the export: it would overflow in half precision.

    Args:
        x: features of shape (batch, n).
        classes: the number of classes, or 0.
        dropout: the rate of dropout before the logits, 0 to 1.
        **dense: further arguments of the output layer, such as its initialiser.

    """
    classes = operator.index(classes)  # NumPy's integers too, which Dense refuses
    if not classes:
        return layers.Activation("linear", dtype="float32", name="features")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, dtype="float32", name="logits", **dense)(x)


def averaged_logits(x: KerasTensor, classes: int, *, dropout: float = 0.0,
                    **conv: Any) -> KerasTensor:
    """Return float32 logits that are averages over all positions, or features if `classes` is 0.

    A 1x1 convolution with relu, the layer "logits", gives each class a map, and the average of the
    map is its logit (Lin et al. 2014, section 3.2). The features are the averages of `x`.

    Args:
        x: a feature map of shape (batch, height, width, channels).
        classes: the number of classes, or 0.
        dropout: the rate of dropout before the convolution, 0 to 1.
        **conv: further arguments of the convolution, such as its initialiser.
    """
    classes = operator.index(classes)
    if not classes:
        return head(layers.GlobalAveragePooling2D(name="pool")(x), 0)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Conv2D(classes, 1, activation="relu", dtype="float32", name="logits", **conv)(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)


classifier = head  # its first name, which networks outside the zoo may import


def local_response_norm(x: KerasTensor, name: str, *, size: int, k: float, alpha: float,
                        beta: float) -> KerasTensor:
    """Divide each activation by a power of the energy of the neighbouring channels.

    `b_c = a_c / (k + alpha * sum(a_j ** 2)) ** beta` over the `size` channels `j` around `c`, fewer
    at the two ends (Krizhevsky et al. 2012, section 3.3). It has no weights. The sum is float32
    under every dtype policy: squares overflow half precision.

    Args:
        x: activations of shape (batch, height, width, channels).
        name: of the last layer.
        size: the number of channels in the sum.
        k, alpha, beta: the paper's constants. `alpha` multiplies the sum, as in the paper, not the
            mean, as in Caffe.
    """
    channels = x.shape[-1]
    squares = ops.square(ops.cast(x, "float32"))
    squares = ops.pad(squares, ((0, 0),) * 3 + ((size // 2, (size - 1) // 2),))
    energy = sum((squares[..., i:i + channels] for i in range(1, size)),
                 start=squares[..., :channels])
    return layers.Multiply(name=name)([x, ops.power(k + alpha * energy, -beta)])


def ceil_max_pool(x: KerasTensor, *, name: str) -> KerasTensor:
    """Max pooling 3x3 with stride 2 that rounds up, as Caffe does.

    `x` must not be negative, as after a relu: the zeros put at its end then exceed nothing.
    """
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pool_pad")(x)
    return layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)


def squeeze_excite(x: KerasTensor, units: int, *, name: str, activation: str = "relu",
                   gate: str = "sigmoid") -> KerasTensor:
    """Weight each channel by a number from 0 to 1 that depends on the averages of all channels.

    Hu et al. 2018, section 3 (arXiv:1709.01507): the averages, a layer of `units` units, and a
    layer of one unit for each channel. The layers are 1x1 convolutions, which are fully connected
    ones on a map of one pixel.

    Args:
        x: a feature map of shape (batch, height, width, channels), which is also the result's.
        units: of the first layer.
        name: the prefix of the layers' names.
        activation: of the first layer.
        gate: the activation of the second layer, from 0 to 1.
    """
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    y = layers.Conv2D(units, 1, activation=activation, kernel_initializer="he_normal",
                      name=f"{name}_reduce")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation=gate, name=f"{name}_expand")(y)
    return layers.Multiply(name=f"{name}_scale")([x, y])
