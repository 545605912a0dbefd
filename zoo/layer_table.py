"""The table that papers and courses print of a network: one row a layer, with its multiply-adds.

Batch normalisation, activation and dropout stand in the row of the layer they follow, as papers write them. A length that
the input decides is written n.
"""
import dataclasses
import math

import keras
from keras import layers

_FOLDED = (layers.BatchNormalization, layers.Activation, layers.ReLU, layers.Dropout)
_POOLS = (layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D, layers.AveragePooling2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_KINDS = {"InputLayer": "Input", "Conv1D": "Convolution", "Conv2D": "Convolution", "Dense": "Fully connected",
          "DepthwiseConv2D": "Depthwise convolution", "MaxPooling2D": "Max pooling", "Add": "Sum",
          "AveragePooling2D": "Average pooling", "GlobalAveragePooling2D": "Global average pooling",
          "GlobalMaxPooling1D": "Max over time", "BatchNormalization": "Batch normalisation",
          "Concatenate": "Concatenation", "ZeroPadding2D": "Zero padding", "ZeroPadding1D": "Zero padding",
          "MaxPooling1D": "Max pooling", "Multiply": "Product"}


@dataclasses.dataclass
class Row:
    """One layer as papers print it; `maps` are feature maps (channels), `size` is height x width."""

    layer: str
    kind: str
    maps: int | None
    size: str
    kernel: str
    stride: str
    activation: str
    weights: int
    multiply_adds: int


def layer_table(model):
    """Return the rows of `model`, a list of `Row` in graph order; their weights add up to `model.count_params()`."""
    rows = {}
    for layer in model.layers:
        before = _only_source(layer)
        if isinstance(layer, _FOLDED) and before in rows and before != model.layers[0]:
            row = rows[layer] = rows[before]
            row.weights += layer.count_params()
            row.activation = _activation(layer) or row.activation
        elif not isinstance(layer, layers.Rescaling):
            rows[layer] = _row(layer)
    return list({id(row): row for row in rows.values()}.values())


def multiply_adds(layer):
    """Return the multiplications (each with its addition) that one example costs in `layer`, or in a network inside another.

    Only dense layers and convolutions count, as in He et al. 2016, table 1; in a sentence, those of one position. A layer
    that is called several times counts once.
    """
    if isinstance(layer, keras.Model):
        return total_multiply_adds(layer)
    if isinstance(layer, layers.Dense):
        return _numbers(layer.output) * layer.input.shape[-1]
    if isinstance(layer, _DEPTHWISE):
        return _numbers(layer.output) * math.prod(layer.kernel_size)
    if isinstance(layer, _SEPARABLE):
        maps = layer.input.shape[-1] * layer.depth_multiplier
        return _numbers(layer.output) // layer.filters * maps * (math.prod(layer.kernel_size) + layer.filters)
    if isinstance(layer, _TRANSPOSED):
        return _numbers(layer.input) * math.prod(layer.kernel_size) * layer.filters
    if isinstance(layer, _CONVOLUTIONS):
        return _numbers(layer.output) * math.prod(layer.kernel_size) * layer.input.shape[-1] // layer.groups
    return 0


def _numbers(tensor):
    """The numbers in `tensor` for one example, or for one token where their number is open."""
    return math.prod(n or 1 for n in tensor.shape[1:])


def total_multiply_adds(model):
    """Return the multiply-adds of one forward pass of one example."""
    return sum(multiply_adds(layer) for layer in model.layers)


def _row(layer):
    shape = layer.output.shape[1:]
    kernel = getattr(layer, "pool_size" if isinstance(layer, _POOLS) else "kernel_size", None)
    activation = "(softmax)" if layer.name == "logits" else _activation(layer)
    return Row(layer=layer.name, kind=_KINDS.get(type(layer).__name__, type(layer).__name__),
               maps=shape[-1] if len(shape) > 1 else None,
               size=_times(shape[:-1] if len(shape) > 1 else shape),
               kernel=_times(kernel), stride=_stride(layer) if kernel else "-",
               activation=activation or "-", weights=layer.count_params(), multiply_adds=multiply_adds(layer))


def _only_source(layer):
    """The layer before this one, if there is just one."""
    parents = layer._inbound_nodes[0].parent_nodes
    return parents[0].operation if len(parents) == 1 else None


def _activation(layer):
    if isinstance(layer, layers.ReLU):
        return "relu" if layer.max_value is None else f"relu{layer.max_value:g}"
    name = keras.activations.serialize(layer.activation) if hasattr(layer, "activation") else "linear"
    return None if name == "linear" else name


def _times(numbers):
    return "x".join(str(n or "n") for n in numbers) if numbers else "-"


def _stride(layer):
    strides = layer.strides if isinstance(layer.strides, tuple) else (layer.strides,)
    return str(strides[0]) if len(set(strides)) == 1 else _times(strides)
