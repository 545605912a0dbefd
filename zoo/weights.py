"""Trained weights for a network: from keras.applications, the Hugging Face Hub, or a network.

`zoo.build("resnet50_keras", weights="imagenet")` downloads them once, with the function of
keras.applications, `zoo.build("resnet18", weights="imagenet")` from the Hub; see
`zoo.hub_weights`. Weights of keras.applications, or of another network in memory, are copied layer
by layer, in order: the names of the layers may differ.

The published networks expect images that are normalized in one of three ways, the modes of
`keras.applications.imagenet_utils.preprocess_input`. Each is a mean and a standard deviation for
the first layer of the zoo's network, which takes RGB images in [0, 255]. Where the published
network expects BGR, the channels of its first kernel are reversed instead of those of the image.
"""
import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from zoo import hub_weights
from zoo.errors import UsageError, UserError
from zoo.graph import check_function, preparation
from zoo.registry import Spec


@dataclasses.dataclass(frozen=True)
class Normalization:
    """How images were normalized for a published network: (image / 255 - mean) / std, in RGB order.

    With `bgr`, its first convolution expects the normalized channels in BGR order.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False


# One mean per channel: a grey image is then repeated in three channels before the mean is
# subtracted. A sum of the first kernel over its channels would differ at the border, where the
# padding of zeros stands for the mean colour, which is not grey.
CAFFE = Normalization((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3, bgr=True)
TORCH = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TF = Normalization((0.5,) * 3, (0.5,) * 3)

# The zoo's name: the name in keras.applications, and the normalization it was trained with.
KERAS_APPLICATIONS = {
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
    "mobilenet_v3_large": ("MobileNetV3Large", TF),
    "mobilenet_v3_small": ("MobileNetV3Small", TF),
    "xception": ("Xception", TF),
    "inception_resnet_v2": ("InceptionResNetV2", TF),
    "efficientnet_b0": ("EfficientNetB0", TORCH),
}

# keras.applications writes these with other layers that compute the same: hard sigmoid as a sum, a
# relu and a product, and a scaled residual as a layer of its own. They cannot be compared step by
# step, so that only its own networks are taken, by weights="imagenet".
WRITTEN_OTHERWISE = ("inception_resnet_v2", "mobilenet_v3_large", "mobilenet_v3_small")

_LARGEST_SCALE = 1.01  # CAFFE only subtracts means; more is for images in [0, 1]

# The width multipliers for which weights are published.
ALPHAS = {"mobilenet_v1": (0.25, 0.5, 0.75, 1.0), "mobilenet_v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)}


def keras_application(name: str) -> tuple[str, Normalization]:
    """Return the name in keras.applications of the network `name`, and its normalization.

    Raises:
        zoo.errors.UsageError: if keras.applications does not publish weights for it.
    """
    if name in KERAS_APPLICATIONS:
        return KERAS_APPLICATIONS[name]
    raise no_weights(name, "imagenet")


def no_weights(name: str, value: str) -> UsageError:
    """Return the UsageError for a network `name` without published weights=`value`."""
    error = f"No ImageNet weights for {name!r}."
    if trained := trained_values(name):
        error = f"No {value} weights for {name!r}."
        return UsageError(f"{error} Did you mean weights={trained[0]!r}?")
    similar = [other for suffix in ("v1_5", "keras", "torchvision", "timm")
               if trained_values(other := f"{name}_{suffix}")]
    if similar:
        others = " or ".join(map(repr, similar))
        return UsageError(f"{error} Its layers differ from the networks that weights are published "
                          f"for. Did you mean {others}?")
    published = sorted({*KERAS_APPLICATIONS, *(network for network, _ in hub_weights.PUBLISHED)})
    return UsageError(f"{error} There are for: {', '.join(published)}.")


def trained_values(name: str) -> list[str]:
    """Return the values of `weights` that name published weights of the network `name`."""
    keras_has = ["imagenet"] if name in KERAS_APPLICATIONS else []
    return keras_has + hub_weights.values(name)


def pretrained(spec: Spec, weights: keras.Model | str,
               overrides: Mapping[str, Any]) -> keras.Model:
    """Build a network of the zoo with trained weights.

    Args:
        spec: the `zoo.Spec` of the network.
        weights: one of `trained_values(spec.name)`; or a `keras.Model` of the same architecture,
            from the zoo or from keras.applications, with or without its classifier.
        overrides: what `Spec.build` takes. The classifier keeps its trained weights if `classes`
            is as in `weights`, and starts from random weights otherwise. `mean` and `std` are for
            a network that was not built by the zoo, and are those of RGB pixels as it was fed.

    Returns:
        A `keras.Model` as from `zoo.build`. Its first layer normalizes images as the layers of
        Rescaling and Normalization before the body of `weights` do. For a network of
        keras.applications without such layers, it does so as keras.applications documents.

    Raises:
        zoo.errors.UsageError: if the weights do not exist for this network or do not fit it.
        zoo.errors.UserError: if they cannot be downloaded.
    """
    explicit = {name: overrides[name] for name in ("mean", "std") if name in overrides}
    named = isinstance(weights, str)
    layers = [] if named else preparation(weights)
    own = named or _rescaling(weights) is not None
    if explicit and own:
        name, value = next(iter(explicit.items()))
        raise UsageError(f"Weights bring their own mean and std. Received: {name}={value!r}.")
    if named and (spec.name, weights) in hub_weights.PUBLISHED:
        return _from_hub(spec, hub_weights.PUBLISHED[spec.name, weights], overrides)
    if named and weights != "imagenet":
        raise no_weights(spec.name, weights)
    documented = spec.name in KERAS_APPLICATIONS and not (layers or own or explicit)
    if named or documented:
        return _from_keras(spec, weights, overrides)
    adopted = {} if {"mean", "std"} <= explicit.keys() else _adopted(spec, weights, layers)
    model = spec.build({**adopted, **overrides})
    copy_weights(weights, model)
    return model


def _adopted(spec, source, layers):
    """Return the mean and std by which `layers` prepare the pixels in `source`, for `spec`."""
    if not {"mean", "std"} <= spec.parameters.keys():
        return {}
    if not layers:
        return normalization(source)
    for layer in layers:
        if not isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
            raise _not_adopted(source, layer)
    scale, offset = _affine(source, layers[0])
    for layer in layers[1:]:
        factor, shift = _affine(source, layer)
        scale, offset = scale * factor, offset * factor + shift
    size = layers[-1]._inbound_nodes[0].outputs[0].shape[-1:]
    scale, offset = np.broadcast_to(scale, size), np.broadcast_to(offset, size)
    if not scale.min() > 0 or (scale.max() > _LARGEST_SCALE and layers[0].name != "rescale"):
        raise _not_adopted(source, layers[-1], ": it is not for pixels in [0, 255]")
    return {"mean": (-offset / (255 * scale)).tolist(), "std": (1 / (255 * scale)).tolist()}


def _affine(source, layer):
    """Return what a layer of Rescaling or Normalization computes as (scale, offset)."""
    if isinstance(layer, keras.layers.Rescaling):
        return np.asarray(layer.scale, "float64"), np.asarray(layer.offset, "float64")
    if layer.invert or layer.mean is None or tuple(layer.axis) not in ((), (-1,), (3,)):
        raise _not_adopted(source, layer, ": it is inverted, not adapted, or not per channel")
    mean, variance = (np.ravel(keras.ops.convert_to_numpy(values)).astype("float64")
                      for values in (layer.mean, layer.variance))
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return scale, -mean * scale


def _not_adopted(source, layer, reason=""):
    return UsageError(
        f"{source.name} prepares images by {layer.name!r} ({type(layer).__name__}), which cannot "
        f"be adopted{reason}. Pass mean= and std= of RGB pixels, on a scale of 0 to 1, that stand "
        "for it, or the network without it.")


def _check_channels(input_shape):
    if len(input_shape) == 3 and input_shape[2] not in (1, 3):
        raise UsageError("Published weights take images of 3 channels, or of 1. "
                         f"Received: {input_shape[2]}.")


def _from_hub(spec: Spec, published: hub_weights.Published,
              overrides: Mapping[str, Any]) -> keras.Model:
    """Return the network with weights from the Hugging Face Hub."""
    _check_channels({**spec.defaults, **overrides}["input_shape"])
    model = spec.build({**overrides, "mean": published.mean, "std": published.std})
    hub_weights.load_into(model, published, hub_weights.download(published))
    return model


def _from_keras(spec: Spec, weights: keras.Model | str,
                overrides: Mapping[str, Any]) -> keras.Model:
    """Return the network with weights of keras.applications: "imagenet" or a network in memory."""
    application, normalized = keras_application(spec.name)
    args = {**spec.defaults, **overrides}
    _check_channels(args["input_shape"])
    if weights == "imagenet" and spec.name in ALPHAS and args["alpha"] not in ALPHAS[spec.name]:
        raise UsageError(f"The ImageNet weights of {spec.name} are for alpha "
                         f"{', '.join(map(str, ALPHAS[spec.name]))}. Received: {args['alpha']}.")
    model = spec.build({**overrides, "mean": normalized.mean, "std": normalized.std})
    compare = spec.name not in WRITTEN_OTHERWISE
    if weights == "imagenet":
        options: dict[str, Any] = {}
        if spec.name in ALPHAS:
            options["alpha"] = float(args["alpha"])
        if args.get("units") == 0:
            options["include_top"] = False
        # raises before the download
        match_layers(_published(application, None, options), model, compare=compare)
        weights = _published(application, "imagenet", options)
        copy_weights(weights, model, bgr=normalized.bgr, compare=compare)
    else:
        copy_weights(weights, model, bgr=normalized.bgr)
    return model


def _published(application: str, weights: str | None, options: Mapping[str, Any]) -> keras.Model:
    with downloading(f"the ImageNet weights of {application}"):
        build = getattr(keras.applications, application)
        return build(weights=weights, classifier_activation=None, **options)


@contextlib.contextmanager
def downloading(what: str) -> Iterator[None]:
    """Convert a failed download of Keras to a UserError; its progress goes to standard error.

    Args:
        what: what is downloaded, for the message.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # keras.utils.get_file raises a plain Exception for an URLError
        if not isinstance(error, OSError) and not isinstance(error.__context__, OSError):
            raise
        raise UserError(f"Cannot get {what}: {error}. They are downloaded once, and kept in the "
                        "folder that KERAS_HOME names, or else in ~/.keras.") from None


def normalization(model: keras.Model) -> dict[str, list[float]]:
    """Return the builder arguments `mean` and `std` of a network's first layer.

    Returns:
        A dict of two lists, one number per channel on a scale of 0 to 1; empty if `model` does
        not hold an image network of the zoo.
    """
    layer = _rescaling(model)
    if layer is None:
        return {}
    size = layer.output.shape[-1:]
    scale = np.broadcast_to(np.asarray(layer.scale, "float64"), size)
    offset = np.broadcast_to(np.asarray(layer.offset, "float64"), size)
    return {"mean": (-offset / (255 * scale)).tolist(), "std": (1 / (255 * scale)).tolist()}


def _rescaling(model: Any) -> keras.layers.Layer | None:
    """Return the layer that normalizes images, also from a network inside `model`."""
    for layer in getattr(model, "layers", ()):
        if layer.name == "rescale":
            return layer
        if isinstance(layer, keras.Model) and (inner := _rescaling(layer)) is not None:
            return inner
    return None


def copy_weights(source: keras.Model, model: keras.Model, *, bgr: bool = False,
                 compare: bool = True) -> None:
    """Copy the weights of `source` into `model`, which has the same layers in the same order.

    Args:
        source: a network of the zoo or of keras.applications, with or without its classifier.
        model: the same network, of the zoo. Its layer "logits" keeps its weights if `source` has
            another number of classes, or no classifier.
        bgr: whether `source` expects the channels in BGR order; `model` then takes RGB.
        compare: whether to compare what the networks compute between their weights.

    Raises:
        zoo.errors.UsageError: if a layer does not fit; nothing is copied then.
    """
    for number, (theirs, ours) in enumerate(match_layers(source, model, compare=compare)):
        values = [value.reshape(weight.shape)
                  for value, weight in zip(theirs.get_weights(), ours.weights, strict=True)]
        if bgr and number == 0:
            values[0] = values[0][:, :, ::-1].copy()  # PyTorch does not take a reversed view
        ours.set_weights(values)


def match_layers(source: keras.Model, model: keras.Model, *, compare: bool = True,
                 ) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Return the pairs (layer of source, layer of model) whose weights can be copied.

    Args:
        source, model: as for `copy_weights`.
        compare: whether to compare what the networks compute between their weights.

    Raises:
        zoo.errors.UsageError: if a layer other than the classifier does not fit, or the networks
            compute different functions, by an activation, pooling, padding, stride or constant.
    """
    theirs, ours = list(_weighted_layers(source)), list(_weighted_layers(model))
    if not theirs:
        raise UsageError(f"{source.name} has no layers with weights. Expected a trained network.")
    pairs = []
    for their, our in zip(theirs, ours, strict=False):
        if _fits(their, our):
            pairs.append((their, our))
        elif not (their is theirs[-1] and our.name == "logits"):
            raise UsageError(
                f"Layer {their.name!r} of {source.name} ({_describe(their)}) does not fit "
                f"{our.name!r} ({_describe(our)}). The weights are for input_shape="
                f"{source.inputs[0].shape[1:]} and for the options that make the variant.")
    body = sum(layer.name != "logits" for layer in ours)
    if len(theirs) - body not in (0, 1):
        raise UsageError(
            f"{source.name} has {len(theirs)} layers with weights, {theirs[-1].name!r} the last; "
            f"{model.name} has {len(ours)}, {ours[-1].name!r} the last.")
    if compare:
        check_function(source, model, pairs, theirs[-1] if len(theirs) > len(pairs) else None)
    return pairs


def _weighted_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers that have weights, also those of networks inside `model`."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _weighted_layers(layer)
        elif layer.weights and not isinstance(layer, keras.layers.Normalization):
            yield layer


def _fits(their: keras.layers.Layer, our: keras.layers.Layer) -> bool:
    """Whether names and shapes of all weights are equal; a 1x1 convolution fits a dense layer."""
    return ([weight.name for weight in their.weights] == [weight.name for weight in our.weights]
            and all(tuple(a.shape) in (tuple(b.shape), (1, 1, *b.shape))
                    for a, b in zip(their.weights, our.weights, strict=True)))


def _describe(layer: keras.layers.Layer) -> str:
    return ", ".join(f"{weight.name} {'x'.join(map(str, weight.shape))}"
                     for weight in layer.weights)
