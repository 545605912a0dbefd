"""ImageNet weights, moved into the zoo's networks layer by layer from those that keras.applications publishes.

`zoo.build("resnet50_keras", weights="imagenet")` downloads them, once, with keras.applications' own function; nothing else
downloads anything. A network of keras.applications already in memory takes the place of "imagenet", and the same way in.

The published networks expect pixels prepared in three manners. All three are a mean and a standard deviation for the zoo's
first layer, which takes plain RGB pixels in [0, 255]; where the published network reads BGR, its first kernel is turned
around instead of the image. The manners are those of `keras.applications.imagenet_utils.preprocess_input`.
"""
import dataclasses

import keras

from zoo.errors import UsageError, UserError, unknown


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
    """Build a network of the zoo with published weights; `zoo.build` calls this.

    Args:
        spec: the `zoo.Spec` of the network.
        weights: "imagenet", or a network of keras.applications, `include_top=True`, with the weights that are wanted.
        overrides: the builder arguments that replace the variant's own, a dict. With as many `classes` as `weights` has, its
            classifier is taken along; with any other number there is a new one.

    Returns:
        A `keras.Model` from RGB or grey pixels in [0, 255] to float32 logits.

    Raises:
        zoo.errors.UsageError: if there are no such weights, or they do not fit the network with these options.
        zoo.errors.UserError: if they cannot be downloaded.
    """
    if weights != "imagenet" and not isinstance(weights, keras.Model):
        raise unknown("weights", weights, ["imagenet"])
    application, pixels = _origin(spec.name)
    args = {**spec.defaults, **overrides}
    _check(spec.name, args, overrides, weights == "imagenet")
    model = spec.build({**overrides, "mean": pixels.mean, "std": pixels.std})
    model.name = spec.name
    if not isinstance(weights, keras.Model):
        options = {"alpha": float(args["alpha"])} if spec.name in ALPHAS else {}
        _pairs(_published(application, None, options), model)  # refuses what will not fit before the download
        weights = _published(application, weights, options)
    transfer(weights, model, bgr=pixels.bgr)
    return model


def transfer(source, model, *, bgr=False):
    """Copy the weights of `source` into `model`, whose layers with weights must be the same ones in the same order.

    Args:
        source: a network of keras.applications, with or without its classifier.
        model: the same network of the zoo. Its "logits" keep their values if `source` has other classes, or none.
        bgr: whether `source` reads the channels in BGR order; `model` then reads them in RGB order.

    Raises:
        zoo.errors.UsageError: if a layer does not fit; nothing has been copied then.
    """
    for number, (theirs, ours) in enumerate(_pairs(source, model)):
        values = [value.reshape(weight.shape) for value, weight in zip(theirs.get_weights(), ours.weights, strict=True)]
        if bgr and number == 0:
            values[0] = values[0][:, :, ::-1].copy()  # PyTorch takes no reversed view
        ours.set_weights(values)


def _origin(name):
    if name in ORIGINS:
        return ORIGINS[name]
    if f"{name}_keras" in ORIGINS:
        raise UsageError(f"No ImageNet weights for {name!r}, whose convolutions have no bias. Did you mean '{name}_keras'?")
    raise UsageError(f"No ImageNet weights for {name!r}. There are for: {', '.join(sorted(ORIGINS))}.")


def _check(name, args, overrides, downloaded):
    """Refuse the options that would spoil the weights or that they were never published for."""
    for option in ("mean", "std"):
        if option in overrides:
            raise UsageError(f"Published weights bring their own mean and std. Received: {option}={overrides[option]!r}.")
    if len(args["input_shape"]) == 3 and args["input_shape"][2] not in (1, 3):
        raise UsageError(f"Published weights take images of 3 channels, or of 1. Received: {args['input_shape'][2]}.")
    if downloaded and name in ALPHAS and args["alpha"] not in ALPHAS[name]:
        known = ", ".join(map(str, ALPHAS[name]))
        raise UsageError(f"The ImageNet weights of {name} are for alpha {known}. Received: {args['alpha']}.")


def _published(application, weights, options):
    build = getattr(keras.applications, application)
    try:
        return build(weights=weights, classifier_activation=None, **options)
    except Exception as error:  # keras.utils.get_file turns an URLError into a plain Exception, and removes the partial file
        if not isinstance(error, OSError) and not isinstance(error.__context__, OSError):
            raise
        raise UserError(f"Cannot get the ImageNet weights of {application}: {error}. They are downloaded once, and kept in "
                        "the folder that KERAS_HOME names, or else in ~/.keras.") from None


def _pairs(source, model):
    """Return [(layer of source, layer of model)] of all layers to copy, or raise UsageError at the first that do not fit."""
    theirs, ours = list(_with_weights(source)), list(_with_weights(model))
    if not theirs:
        raise UsageError(f"{source.name} has no layers with weights. Expected a network of keras.applications.")
    pairs = []
    for their, our in zip(theirs, ours):
        if _fits(their, our):
            pairs.append((their, our))
        elif not (their is theirs[-1] and our.name == "logits"):
            raise UsageError(f"Layer {their.name!r} of {source.name} ({_describe(their)}) does not fit {our.name!r} "
                             f"({_describe(our)}). The weights are for input_shape={source.inputs[0].shape[1:]} and for the "
                             "options that make the variant.")
    body = sum(layer.name != "logits" for layer in ours)
    if len(theirs) - body not in (0, 1):
        raise UsageError(f"{source.name} has {len(theirs)} layers with weights, {theirs[-1].name!r} the last; {model.name} "
                         f"has {len(ours)}, {ours[-1].name!r} the last.")
    return pairs


def _with_weights(model):
    """Yield the layers that have weights, those of networks inside `model` too, as a new head on an old body makes them."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _with_weights(layer)
        elif layer.weights:
            yield layer


def _fits(their, our):
    """Whether names and shapes of all weights agree; a dense layer is a 1x1 convolution of one pixel."""
    return ([weight.name for weight in their.weights] == [weight.name for weight in our.weights]
            and all(tuple(a.shape) in (tuple(b.shape), (1, 1, *b.shape)) for a, b in zip(their.weights, our.weights)))


def _describe(layer):
    return ", ".join(f"{weight.name} {'x'.join(map(str, weight.shape))}" for weight in layer.weights)
