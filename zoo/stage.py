"""The stages of a network, from the names of its layers: for features, freezing and heat maps.

Every layer is named by its position, `stage2_block1_a_bn`; its stage is what precedes the first
underscore. The output of a stage is that of its last layer.
"""
from collections.abc import Sequence

import keras

from zoo.errors import UsageError, unknown

_NOT_STAGES = ("image", "tokens", "repeat", "rescale", "flatten", "dropout", "logits", "features")


def stages(model: keras.Model) -> dict[str, str]:
    """Return {stage: name of its last layer} of a network of the zoo, from the input on.

    A network that is a layer of another model has stages of its own:
    `stages(model.get_layer("resnet20"))`.
    """
    return {layer.name.split("_")[0]: layer.name
            for layer in model.layers if layer.name not in _NOT_STAGES}


def features(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Return a model from the same input to the outputs of the named stages.

    Args:
        model: a network of the zoo.
        names: stages, such as ["stage2", "stage4"]; `stages(model)` lists them.

    Returns:
        A `keras.Model` that shares the weights of `model`; its output is a dict from the name of a
        stage to its feature map, of shape (batch, height, width, channels) in most networks.

    Raises:
        zoo.errors.UsageError: if the network does not have such a stage. If it is one of a network
            that is a layer of `model`, the message names that layer.
    """
    last_layers = stages(model)
    for name in names:
        if name not in last_layers:
            raise _no_stage(model, name)
    return keras.Model(model.input, {name: model.get_layer(last_layers[name]).output
                                     for name in names})


def _no_stage(model: keras.Model, name: str) -> UsageError:
    for layer in model.layers:
        if isinstance(layer, keras.Model) and name in stages(layer):
            return UsageError(f"{name!r} is a stage of the network {layer.name!r} inside the "
                              f"model: pass model.get_layer({layer.name!r}).")
    return unknown("stage", name, stages(model))
