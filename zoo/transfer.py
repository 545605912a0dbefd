"""Weights from one network into another, layer by layer: the same layers in the same order, whatever they are called."""
import keras

from zoo.errors import UsageError


def transfer(source, model, *, bgr=False):
    """Copy the weights of `source` into `model`, whose layers with weights must be the same ones in the same order.

    Args:
        source: a network of the zoo or of keras.applications, with or without its classifier.
        model: the same network, of the zoo. Its "logits" keep their values if `source` has other classes, or none.
        bgr: whether `source` reads the channels in BGR order; `model` then reads them in RGB order.

    Raises:
        zoo.errors.UsageError: if a layer does not fit; nothing has been copied then.
    """
    for number, (theirs, ours) in enumerate(pairs(source, model)):
        values = [value.reshape(weight.shape) for value, weight in zip(theirs.get_weights(), ours.weights, strict=True)]
        if bgr and number == 0:
            values[0] = values[0][:, :, ::-1].copy()  # PyTorch takes no reversed view
        ours.set_weights(values)


def pairs(source, model):
    """Return [(layer of source, layer of model)] of all layers to copy, or raise UsageError at the first that do not fit."""
    theirs, ours = list(_with_weights(source)), list(_with_weights(model))
    if not theirs:
        raise UsageError(f"{source.name} has no layers with weights. Expected a trained network.")
    found = []
    for their, our in zip(theirs, ours):
        if _fits(their, our):
            found.append((their, our))
        elif not (their is theirs[-1] and our.name == "logits"):
            raise UsageError(f"Layer {their.name!r} of {source.name} ({_describe(their)}) does not fit {our.name!r} "
                             f"({_describe(our)}). The weights are for input_shape={source.inputs[0].shape[1:]} and for the "
                             "options that make the variant.")
    body = sum(layer.name != "logits" for layer in ours)
    if len(theirs) - body not in (0, 1):
        raise UsageError(f"{source.name} has {len(theirs)} layers with weights, {theirs[-1].name!r} the last; {model.name} "
                         f"has {len(ours)}, {ours[-1].name!r} the last.")
    return found


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
