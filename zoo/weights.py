"""What a network starts from: ImageNet's weights, those of a finished run, or of a trained network of the zoo.

`zoo.build("resnet50_keras", weights="imagenet")` downloads them, once, with keras.applications' own function; nothing else
downloads anything. A network of keras.applications already in memory takes the place of "imagenet", and the same way in. All
are moved layer by layer, in order.

The published networks expect pixels prepared in three manners. All three are a mean and a standard deviation for the zoo's
first layer, which takes plain RGB pixels in [0, 255]; where the published network reads BGR, its first kernel is turned
around instead of the image. The manners are those of `keras.applications.imagenet_utils.preprocess_input`.
"""
import contextlib
import dataclasses
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np

from zoo import shipped
from zoo.errors import UsageError, UserError, unknown
from zoo.transfer import pairs, transfer


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How a published network was fed: (image / 255 - mean) / std in RGB order, or in BGR order from then on."""

    mean: tuple
    std: tuple
    bgr: bool = False


# Means always stand once per channel, so that a grey image is repeated in three channels before they are subtracted. Adding
# up the first kernel over its channels would not do: a border of zeros stands for the mean colour, which no grey is.
CAFFE = Pixels(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3, bgr=True)
TORCH = Pixels(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
TF = Pixels(mean=(0.5,) * 3, std=(0.5,) * 3)

# Our name: keras.applications' name, the pixels it was trained on
ORIGINS = {
    "vgg16": ("VGG16", CAFFE),
    "vgg19": ("VGG19", CAFFE),
    "resnet50_keras": ("ResNet50", CAFFE),
    "resnet101_keras": ("ResNet101", CAFFE),
    "resnet152_keras": ("ResNet152", CAFFE),
    "inception_v3": ("InceptionV3", TF),
    "densenet121": ("DenseNet121", TORCH),
    "densenet169": ("DenseNet169", TORCH),
    "densenet201": ("DenseNet201", TORCH),
    "mobilenet_v1": ("MobileNet", TF),
    "mobilenet_v2": ("MobileNetV2", TF),
}
ALPHAS = {"mobilenet_v1": (0.25, 0.5, 0.75, 1.0), "mobilenet_v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)}  # that were published


def pretrained(spec, weights, overrides):
    """Build a network of the zoo that starts from other weights than random ones; `zoo.build` calls this.

    Args:
        spec: the `zoo.Spec` of the network.
        weights: what `source` takes.
        overrides: the builder arguments that replace the variant's own, a dict. With as many `classes` as `weights` has, its
            classifier is taken along; with any other number there is a new one.

    Returns:
        A `keras.Model` as `zoo.build` returns it. Its first layer prepares pixels as that of `weights` does, or as they were
        prepared for it.

    Raises:
        zoo.errors.UsageError: if there are no such weights, or they do not fit the network with these options.
        zoo.errors.UserError: if they cannot be downloaded or read.
    """
    weights = source(weights)
    theirs = weights == "imagenet" or (spec.name in ORIGINS and not _rescaling(weights))
    model = _published_in(spec, weights, overrides) if theirs else _moved_in(spec, weights, overrides)
    model.name = spec.name
    return model


def source(weights):
    """Return the network that `weights` names; "imagenet" and a network itself are returned as they are.

    Args:
        weights: "imagenet"; the path of a finished run's directory, or of a .keras file; where nothing has that path, a name
            of `zoo.shipped`; a network of the zoo, or one of keras.applications, `include_top=True` or not.

    Raises:
        zoo.errors.UsageError: if there is no such thing; the nearest name is given.
        zoo.errors.UserError: if the file cannot be read.
    """
    if isinstance(weights, keras.Model) or weights == "imagenet":
        return weights
    file = Path(str(weights))
    if file.is_dir():
        file = file / "model.keras"
    elif not file.exists() and weights in shipped.names():
        return shipped.load(weights)
    if not file.exists():
        nearest = unknown("weights", weights, ["imagenet", *shipped.names()])
        raise UsageError(f"{nearest} Nor is {weights} a finished run or a .keras file.")
    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"Cannot open the weights {file}: {str(error).strip().splitlines()[-1]}") from error


def pixels(model):
    """Return the builder's mean and std that make the first layer of `model`, a dict; {} if it is no image network of ours."""
    layer = _rescaling(model)
    if not layer:
        return {}
    size = layer.output.shape[-1:]
    scale, offset = (np.broadcast_to(np.asarray(value, "float64"), size) for value in (layer.scale, layer.offset))
    return {"mean": (-offset / (255 * scale)).tolist(), "std": (1 / (255 * scale)).tolist()}


def _rescaling(model):
    """The layer that prepares pixels in a network of the zoo, or in one around it; None in any other."""
    for layer in model.layers:
        found = _rescaling(layer) if isinstance(layer, keras.Model) else layer.name == "rescale" and layer
        if found:
            return found
    return None


def _moved_in(spec, network, overrides):
    """The network of `spec` with the weights of another of its kind."""
    _refuse_pixels(overrides)
    model = spec.build({**overrides, **pixels(network)})
    transfer(network, model)
    return model


def _published_in(spec, weights, overrides):
    """The network of `spec` with weights of keras.applications, "imagenet" or a network in memory."""
    application, prepared = origin(spec.name)
    args = {**spec.defaults, **overrides}
    _check(spec.name, args, overrides, weights == "imagenet")
    model = spec.build({**overrides, "mean": prepared.mean, "std": prepared.std})
    if not isinstance(weights, keras.Model):
        options = {"alpha": float(args["alpha"])} if spec.name in ALPHAS else {}
        options |= {"include_top": False} if args.get("units") == 0 else {}
        pairs(_published(application, None, options), model)  # refuses what will not fit before the download
        weights = _published(application, weights, options)
    transfer(weights, model, bgr=prepared.bgr)
    return model


def origin(name):
    """Return the name that keras.applications has for the network `name`, and the `Pixels` it was fed.

    Raises:
        zoo.errors.UsageError: if it has none; the names of all others are given.
    """
    if name in ORIGINS:
        return ORIGINS[name]
    if f"{name}_keras" in ORIGINS:
        raise UsageError(f"No ImageNet weights for {name!r}, whose convolutions have no bias. Did you mean '{name}_keras'?")
    raise UsageError(f"No ImageNet weights for {name!r}. There are for: {', '.join(sorted(ORIGINS))}.")


def _check(name, args, overrides, downloaded):
    """Refuse the options that would spoil the weights or that they were never published for."""
    _refuse_pixels(overrides)
    if len(args["input_shape"]) == 3 and args["input_shape"][2] not in (1, 3):
        raise UsageError(f"Published weights take images of 3 channels, or of 1. Received: {args['input_shape'][2]}.")
    if downloaded and name in ALPHAS and args["alpha"] not in ALPHAS[name]:
        known = ", ".join(map(str, ALPHAS[name]))
        raise UsageError(f"The ImageNet weights of {name} are for alpha {known}. Received: {args['alpha']}.")


def _refuse_pixels(overrides):
    for option in ("mean", "std"):
        if option in overrides:
            raise UsageError(f"Weights bring their own mean and std. Received: {option}={overrides[option]!r}.")


def _published(application, weights, options):
    with downloaded(f"the ImageNet weights of {application}"):
        return getattr(keras.applications, application)(weights=weights, classifier_activation=None, **options)


@contextlib.contextmanager
def downloaded(what):
    """Turn the failure of a download by Keras into a UserError that says `what` it was; progress goes to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # keras.utils.get_file turns an URLError into a plain Exception, and removes the partial file
        if not isinstance(error, OSError) and not isinstance(error.__context__, OSError):
            raise
        raise UserError(f"Cannot get {what}: {error}. They are downloaded once, and kept in the folder that KERAS_HOME names, "
                        "or else in ~/.keras.") from None
