"""The table that papers and courses print of a network: one row per layer, with its multiply-adds.

Batch normalisation, activation and dropout belong to the row of the layer that they follow, as in
papers. A length that depends on the input is written n.
"""
import dataclasses
import math
from typing import Any

import keras
from keras import layers

from zoo.errors import UsageError
from zoo.receptive_fields import receptive_fields

_FOLDED = (layers.BatchNormalization, layers.Activation, layers.ReLU, layers.Dropout)
_POOLS = (layers.MaxPooling1D, layers.MaxPooling2D,
          layers.AveragePooling1D, layers.AveragePooling2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_KINDS = {
    "InputLayer": "Input", "Dense": "Fully connected", "BatchNormalization": "Batch normalisation",
    "Conv1D": "Convolution", "Conv2D": "Convolution", "DepthwiseConv2D": "Depthwise convolution",
    "MaxPooling1D": "Max pooling", "MaxPooling2D": "Max pooling",
    "AveragePooling2D": "Average pooling", "GlobalAveragePooling2D": "Global average pooling",
    "GlobalMaxPooling1D": "Max over time", "ZeroPadding1D": "Zero padding",
    "ZeroPadding2D": "Zero padding", "Add": "Sum", "Concatenate": "Concatenation",
    "Multiply": "Product",
}


@dataclasses.dataclass
class Row:
    """One layer as papers print it.

    Attributes:
        layer: its name.
        kind: its type, such as "Convolution".
        maps: the number of feature maps (channels) of its output; None for a vector.
        size: height x width of its output, or the length of a vector.
        kernel: height x width of its kernel or pool, or "-".
        stride: one number, or height x width, or "-".
        receptive_field: height x width of the pixels, or the number of tokens, of the input that
            one value depends on; "all" for the whole input, "-" if it is not known.
        activation: such as "relu", or "-".
        params: the number of parameters, trainable and not.
        multiply_adds: of one example; see `multiply_adds`.
    """

    layer: str
    kind: str
    maps: int | None
    size: str
    kernel: str
    stride: str
    receptive_field: str
    activation: str
    params: int
    multiply_adds: int


def layer_table(model: keras.Model) -> list[Row]:
    """Return the rows of `model` in graph order; their params add up to `model.count_params()`."""
    try:
        fields = receptive_fields(model)
    except UsageError:  # not a graph of layers
        fields = {}
    rows: dict[keras.layers.Layer, Row] = {}
    for layer in model.layers:
        source = _only_source(layer)
        if isinstance(layer, _FOLDED) and source in rows and source != model.layers[0]:
            row = rows[layer] = rows[source]
            row.params += layer.count_params()
            row.activation = _activation(layer) or row.activation
        elif not isinstance(layer, layers.Rescaling):
            rows[layer] = _row(layer, str(fields.get(layer.name) or "-"))
    return list({id(row): row for row in rows.values()}.values())


def multiply_adds(layer: keras.layers.Layer) -> int:
    """Return the number of multiplications, each with its addition, of `layer` for one example.

    Only dense layers and convolutions count, as in He et al. 2016, table 1. For a text network, it
    is the number for one token, unless the network has a frame of fixed length. `layer` may be a
    network; a layer that is called several times counts once.
    """
    if isinstance(layer, keras.Model):
        return total_multiply_adds(layer)
    if isinstance(layer, layers.Dense):
        return _elements(layer.output) * layer.input.shape[-1]
    if isinstance(layer, _DEPTHWISE):
        return _elements(layer.output) * math.prod(layer.kernel_size)
    if isinstance(layer, _SEPARABLE):
        maps = layer.input.shape[-1] * layer.depth_multiplier
        positions = _elements(layer.output) // layer.filters
        return positions * maps * (math.prod(layer.kernel_size) + layer.filters)
    if isinstance(layer, _TRANSPOSED):
        return _elements(layer.input) * math.prod(layer.kernel_size) * layer.filters
    if isinstance(layer, _CONVOLUTIONS):
        maps = layer.input.shape[-1] // layer.groups
        return _elements(layer.output) * math.prod(layer.kernel_size) * maps
    return 0


def total_multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of one forward pass of one example."""
    return sum(multiply_adds(layer) for layer in model.layers)


def _elements(tensor: Any) -> int:
    """Return the number of elements of `tensor` for one example; a length of None counts as 1."""
    return math.prod(n or 1 for n in tensor.shape[1:])


def _row(layer: keras.layers.Layer, field: str) -> Row:
    shape = layer.output.shape[1:]
    kernel = getattr(layer, "pool_size" if isinstance(layer, _POOLS) else "kernel_size", None)
    activation = "(softmax)" if layer.name == "logits" else _activation(layer)
    return Row(layer=layer.name, kind=_KINDS.get(type(layer).__name__, type(layer).__name__),
               maps=shape[-1] if len(shape) > 1 else None,
               size=_times(shape[:-1] if len(shape) > 1 else shape),
               kernel=_times(kernel), stride=_stride(layer) if kernel else "-",
               receptive_field=field, activation=activation or "-",
               params=layer.count_params(), multiply_adds=multiply_adds(layer))


def _only_source(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return the layer before this one; None if there are several or none."""
    parents = layer._inbound_nodes[0].parent_nodes
    return parents[0].operation if len(parents) == 1 else None


def _activation(layer: keras.layers.Layer) -> str | None:
    if isinstance(layer, layers.ReLU):
        return "relu" if layer.max_value is None else f"relu{layer.max_value:g}"
    if not hasattr(layer, "activation"):
        return None
    name = keras.activations.serialize(layer.activation)
    return None if name == "linear" else name


def _times(lengths: Any) -> str:
    return "x".join(str(n or "n") for n in lengths) if lengths else "-"


def _stride(layer: keras.layers.Layer) -> str:
    strides = layer.strides if isinstance(layer.strides, tuple) else (layer.strides,)
    return str(strides[0]) if len(set(strides)) == 1 else _times(strides)
