"""What two or more architectures share: the way in, from pixels, and the way out, to logits."""
import keras
import numpy as np
from keras import layers, ops

from zoo.errors import UsageError

# Of batch normalisation's moving statistics, a step keeps so much. After a few hundred steps, all that a small data set
# gives, Keras's 0.99 still holds much of what they began with, and a network that has learnt its images knows no other.
BN_MOMENTUM = 0.9


def image_input(input_shape, *, any_size=False, minimum=1, hint=None, mean=0.0, std=1.0):
    """Return the input of an image network and the normalised image, `(image / 255 - mean) / std`.

    The arithmetic is float32 under every dtype policy: half precision cannot tell 255 grey levels apart.

    Args:
        input_shape: (height, width, channels) of the images.
        any_size: whether height and width may be None, as where a network averages over all places before it decides.
        minimum: the smallest height and width that the network can take.
        hint: the option of the builder that makes smaller images fit, such as "stem='small'".
        mean, std: of the pixels, on a scale of 0 to 1; a number, or one per channel. Where these name several channels, a
            grey image is repeated in as many.

    Returns:
        Two Keras tensors: the pixels in [0, 255], of shape (batch, *input_shape), and the normalised image.

    Raises:
        zoo.errors.UsageError: if `input_shape` is no image shape or is smaller than `minimum`, `mean` and `std` do not fit, or
            Keras is set to images with their channels first.
    """
    if keras.config.image_data_format() != "channels_last":
        raise UsageError("The zoo's images have their channels last: keras.config.set_image_data_format('channels_last'). "
                         "Received: 'channels_first'.")
    shape = tuple(input_shape)
    sides = [n for n in shape[:2] if n is not None or not any_size]
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in (*sides, shape[2])):
        also = ", or None for any height and width" if any_size else ""
        raise UsageError(f"input_shape must be (height, width, channels), three positive integers{also}. Received: {shape}.")
    if min(sides, default=minimum) < minimum:
        advice = f" For smaller images pass {hint}." if hint else ""
        raise UsageError(f"Images must be at least {minimum}x{minimum} here. Received: {shape[0]}x{shape[1]}.{advice}")
    image = keras.Input(shape, name="image")
    scale, offset = _affine(mean, std, shape[2])
    x = image
    if shape[2] == 1 and isinstance(scale, list) and len(scale) > 1:
        x = layers.Concatenate(dtype="float32", name="repeat")([image] * len(scale))
    return image, layers.Rescaling(scale, offset, dtype="float32", name="rescale")(x)


def _affine(mean, std, channels):
    """(x / 255 - mean) / std as the one multiplication and addition that Rescaling does: numbers, or lists of them."""
    means, stds = (np.asarray(values, "float64") for values in (mean, std))
    sizes = {values.size for values in (means, stds) if values.ndim}
    if len(sizes) > 1 or max(means.ndim, stds.ndim) > 1 or (channels > 1 and not sizes <= {1, channels}):
        raise UsageError(f"mean and std must be a number, or one for each of {channels} channels. Received: {mean} and {std}.")
    if not (np.isfinite(means).all() and np.isfinite(stds).all() and stds.min() > 0):
        raise UsageError(f"mean must be finite and std positive. Received: {mean} and {std}.")
    return (1 / (255 * stds) + 0 * means).tolist(), (-means / stds).tolist()


def positive(**counts):
    """Raise UsageError unless each argument is a positive whole number, or a sequence of such."""
    for name, count in counts.items():
        values = count if isinstance(count, (list, tuple)) else [count]
        if not values or not all(isinstance(n, int) and n > 0 for n in values):
            raise UsageError(f"{name} must be positive whole numbers. Received: {count!r}.")


def above_zero(**factors):
    """Raise UsageError unless each argument, a factor on counts of filters, is above 0."""
    for name, factor in factors.items():
        if not factor > 0:
            raise UsageError(f"{name} must be above 0. Received: {factor!r}.")


def smallest(halvings):
    """Return the smallest image side that leaves two pixels to each of `halvings` strides of 2, which round up."""
    return 2 ** halvings // 2 + 1


def classifier(x, classes, *, dropout=0.0, **dense):
    """Return the float32 logits of `classes` classes, or the float32 features `x` themselves if `classes` is 0.

    Softmax is left to the loss and the export: half precision would overflow in it.

    Args:
        x: features of shape (batch, n).
        classes: the number of classes, or 0.
        dropout: the rate of dropout before the logits, 0 to 1.
        **dense: further arguments of the output layer, such as its initialiser.
    """
    if not classes:
        return layers.Activation("linear", dtype="float32", name="features")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, dtype="float32", name="logits", **dense)(x)


def local_response_norm(x, name, *, size, k, alpha, beta):
    """Divide each activation by a power of the energy of its channel's neighbours (Krizhevsky et al. 2012, section 3.3).

    `b_c = a_c / (k + alpha * sum(a_j ** 2)) ** beta` over the `size` channels `j` around `c`, fewer at the two ends. No
    weights. The sum is float32 under every dtype policy: squares overflow half precision.

    Args:
        x: activations of shape (batch, height, width, channels).
        name: of the layer that comes out.
        size: the channels summed over; `k`, `alpha`, `beta`: the paper's constants. `alpha` multiplies the sum, as in the
            paper, not the mean, as in Caffe.
    """
    channels = x.shape[-1]
    energy = ops.pad(ops.square(ops.cast(x, "float32")), ((0, 0),) * 3 + ((size // 2, (size - 1) // 2),))
    energy = sum((energy[..., i:i + channels] for i in range(1, size)), start=energy[..., :channels])
    return layers.Multiply(name=name)([x, ops.power(k + alpha * energy, -beta)])
