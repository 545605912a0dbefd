"""The stages of a network, read off its layers' names: features, freezing and heat maps need no guessing.

Every layer is named by its place, `stage2_block1_a_bn`; its stage is what stands before the first underscore. A stage's
output is that of its last layer.
"""
import keras

from zoo.errors import unknown

_NOT_STAGES = ("image", "tokens", "repeat", "rescale", "flatten", "dropout", "logits", "features")


def stages(model):
    """Return {stage name: name of the last layer in it}, from the input on, of a model of the zoo."""
    return {layer.name.split("_")[0]: layer.name for layer in model.layers if layer.name not in _NOT_STAGES}


def features(model, names):
    """Return a model from the same input to the outputs of the named stages.

    Args:
        model: a network of the zoo.
        names: a list of stage names, such as ["stage2", "stage4"]; `stages(model)` lists them.

    Returns:
        A `keras.Model` sharing the weights of `model`; its output is a dict from stage name to feature map.

    Raises:
        zoo.errors.UsageError: if the network has no such stage.
    """
    known = stages(model)
    for name in names:
        if name not in known:
            raise unknown("stage", name, known)
    return keras.Model(model.input, {name: model.get_layer(known[name]).output for name in names})
