"""Which pixels, or which tokens, can change a value of a layer: the receptive field of each layer.

A layer sees a window of the layer before it, so the window on the input grows from layer to layer:
a kernel of k pixels adds (k - 1) times the distance of two neighbouring values on the input, its
stride multiplies that distance (A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of
Convolutional Neural Networks", Distill 2019; https://distill.pub/2019/computing-receptive-fields).
Where paths of several lengths meet, the field is the smallest window that holds those of all paths.
"""
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import layers

from zoo.errors import UsageError


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """The window of the input that one value of a layer depends on.

    Value i of an axis sees `size` pixels of the input around pixel `centre + i * stride`; zeros of
    a border count as pixels, so a field may be larger than the image.

    Attributes:
        size: (height, width) in pixels, or (tokens,); empty if it is the whole input.
        stride: the distance of the fields of two neighbouring values, also called jump.
        centre: of the field of the first value; -0.5 is between the first pixel and its border.
    """

    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    centre: tuple[float, ...] = ()

    def __str__(self) -> str:
        return "x".join(map(str, self.size)) if self.size else "all"

    def window(self, *position: int) -> list[tuple[int, int]]:
        """Return the first and the last pixel of each axis that the value at `position` sees.

        They may lie outside the image, on its border of zeros; or, where a layer without padding
        leaves out the last pixels of the image, on these.
        """
        starts = [round(centre + index * stride - (size - 1) / 2) for index, size, stride, centre
                  in zip(position, self.size, self.stride, self.centre, strict=True)]
        return [(start, start + size - 1) for start, size in zip(starts, self.size, strict=True)]


WHOLE = ReceptiveField()


@dataclasses.dataclass(eq=False)
class Step:
    """One call of a layer, or of an operation on tensors such as keras.ops.add.

    Attributes:
        operation: what is called.
        inputs: the steps before it.
        shape: of its (first) output, with the batch.
        field: its receptive field; None if it is not known, as of layers this module has no rule
            for.
    """

    operation: keras.Operation
    inputs: list["Step"]
    shape: tuple[int | None, ...]
    field: ReceptiveField | None = None

    @property
    def name(self) -> str:
        """The name of the layer or operation."""
        return self.operation.name


def steps(model: keras.Model) -> list[Step]:
    """Return what `model` computes, step by step, from its inputs on, with receptive fields.

    Networks inside the model are followed into. Any Keras backend.

    Raises:
        zoo.errors.UsageError: if `model` is not a graph of layers, such as a subclassed model.
    """
    function = _function(model)
    if function is None:
        raise UsageError(f"Expected a functional or sequential model. {model.name} is a "
                         f"{type(model).__name__}, whose layers cannot be followed.")
    found: list[Step] = []
    values = {}
    for tensor in function.inputs:
        step = Step(tensor._keras_history.operation, [], tuple(tensor.shape))
        step.field = _input_field(step.shape)
        found.append(step)
        values[id(tensor)] = step
    _follow(function, values, found)
    return found


def receptive_fields(model: keras.Model) -> dict[str, ReceptiveField | None]:
    """Return {name of a layer: its receptive field}; None where the field is not known."""
    return {step.name: step.field for step in steps(model)
            if isinstance(step.operation, layers.Layer)}


def _function(model: Any) -> Any:
    """Return the graph of layers of `model`; None if it has none."""
    function = getattr(model, "_functional", model)
    return function if hasattr(function, "_nodes_by_depth") else None


def _follow(function: Any, values: dict[int, Step], found: list[Step]) -> None:
    for node in _nodes(function):
        inputs = list(dict.fromkeys(values[id(tensor)] for tensor in node.input_tensors))
        inner = _function(node.operation) if isinstance(node.operation, keras.Model) else None
        if inner is not None:
            inside = {id(tensor): values[id(outer)] for tensor, outer
                      in zip(inner.inputs, node.input_tensors, strict=True)}
            _follow(inner, inside, found)
            for outer, tensor in zip(node.outputs, inner.outputs, strict=True):
                values[id(outer)] = inside[id(tensor)]
            continue
        step = Step(node.operation, inputs, tuple(node.outputs[0].shape))
        step.field = _field(step)
        found.append(step)
        values.update((id(tensor), step) for tensor in node.outputs)


def _nodes(function: Any) -> Iterator[Any]:
    """Yield the calls of a graph, each after those that it needs; not the inputs."""
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if not node.is_input:
                yield node


# Per axis of the input: the first and the last pixel that value 0 sees, and the stride.
_Axis = tuple[float, float, float]

_POINTWISE = (
    layers.Activation, layers.ActivityRegularization, layers.Add, layers.AlphaDropout,
    layers.Average, layers.BatchNormalization, layers.Dropout, layers.ELU, layers.Embedding,
    layers.GaussianDropout, layers.GaussianNoise, layers.Identity, layers.LeakyReLU, layers.Maximum,
    layers.Minimum, layers.Multiply, layers.Normalization, layers.PReLU, layers.ReLU,
    layers.Rescaling, layers.Softmax, layers.SpatialDropout1D, layers.SpatialDropout2D,
    layers.Subtract)
_CHANNELWISE = (layers.Concatenate, layers.LayerNormalization, layers.UnitNormalization)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.SeparableConv1D, layers.SeparableConv2D,
                 layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_POOLS = (layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D,
          layers.AveragePooling2D)
_GLOBAL = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling1D,
           layers.GlobalMaxPooling2D, layers.Dot, layers.GroupNormalization,
           layers.MultiHeadAttention, layers.Attention, layers.AdditiveAttention, layers.RNN,
           layers.Bidirectional)


def _input_field(shape):
    axes = max(len(shape) - 2, 1) if len(shape) < 5 else 0
    return _public([(0, 0, 1)] * axes)


def _public(axes):
    if not axes:
        return WHOLE
    return ReceptiveField(tuple(int(last - first + 1) for first, last, _ in axes),
                          tuple(int(stride) for _, _, stride in axes),
                          tuple((first + last) / 2 for first, last, _ in axes))


def _axes(field: ReceptiveField) -> list[_Axis]:
    return [(centre - (size - 1) / 2, centre + (size - 1) / 2, stride) for size, stride, centre
            in zip(field.size, field.stride, field.centre, strict=True)]


def _field(step: Step) -> ReceptiveField | None:
    """Return the field of a step from those of its inputs."""
    fields = [source.field for source in step.inputs if not _is_constant(source)]
    if isinstance(step.operation, _GLOBAL):
        return WHOLE
    if not fields or None in fields:
        return None
    if WHOLE in fields:
        return WHOLE
    joined = _join([_axes(field) for field in fields if field])
    if joined is None:
        return None
    layer, before = step.operation, step.inputs[0].shape
    if isinstance(layer, (layers.Flatten, layers.Reshape, layers.Permute)):
        return _reshaped(step, joined)
    if isinstance(layer, layers.Dense):
        return _public(joined) if len(before) > 2 or _is_vector(step.inputs[0]) else WHOLE
    if isinstance(layer, _CHANNELWISE):
        axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
        if axis % len(before) == len(before) - 1:
            return _public(joined)
        return None if isinstance(layer, layers.Concatenate) else WHOLE
    if isinstance(layer, _POINTWISE):
        return _public(joined)
    if isinstance(layer, layers.Layer) and getattr(layer, "data_format", "") != "channels_first":
        return _windowed(layer, before, joined)
    return _operated(step, joined)


def _is_constant(step: Step) -> bool:
    """Whether a step does not depend on the input."""
    return not step.inputs and not isinstance(step.operation, layers.InputLayer)


def _is_vector(step: Step) -> bool:
    """Whether a step has no positions but a field: a flattened map of one pixel, and after it."""
    while len(step.shape) == 2 and step.inputs:
        step = step.inputs[0]
    return len(step.shape) > 2


def _join(fields: Sequence[list[_Axis]]) -> list[_Axis] | None:
    """Return the smallest window around several; None if their strides differ."""
    joined = []
    for axes in zip(*fields, strict=False):
        if len({stride for _, _, stride in axes}) > 1:
            return None
        joined.append((min(first for first, _, _ in axes), max(last for _, last, _ in axes),
                       axes[0][2]))
    return joined


def _reshaped(step: Step, axes: list[_Axis]) -> ReceptiveField | None:
    """Return the field after a layer that moves values: the whole input unless positions stay."""
    before, after = step.inputs[0].shape, step.shape
    if len(before) == 2 and after[1:2] == before[1:2]:  # (batch, tokens) to (batch, tokens, 1)
        return _public(axes)
    positions = before[1:-1]
    if len(before) > 2 and (after[1:-1] == positions or all(n == 1 for n in positions)):
        return _public(axes)
    return WHOLE if None not in before[1:] or isinstance(step.operation, layers.Flatten) else None


def _windowed(layer: Any, before: tuple[int | None, ...],
              axes: list[_Axis]) -> ReceptiveField | None:
    """Return the field after a convolution, pooling or padding; None after another layer."""
    def each(value: Any) -> list:
        return list(value) if isinstance(value, (list, tuple)) else [value] * len(axes)
    if isinstance(layer, _TRANSPOSED):
        return None
    if isinstance(layer, (layers.ZeroPadding1D, layers.ZeroPadding2D)):
        pads = [layer.padding] if len(axes) == 1 else layer.padding
        return _public([(first - pad[0] * stride, last - pad[0] * stride, stride)
                        for (first, last, stride), pad in zip(axes, pads, strict=True)])
    if isinstance(layer, (layers.Cropping1D, layers.Cropping2D)):
        crops = [layer.cropping] if len(axes) == 1 else layer.cropping
        return _public([(first + crop[0] * stride, last + crop[0] * stride, stride)
                        for (first, last, stride), crop in zip(axes, crops, strict=True)])
    if isinstance(layer, _CONVOLUTIONS):
        kernels, dilations = each(layer.kernel_size), each(layer.dilation_rate)
    elif isinstance(layer, _POOLS):
        kernels, dilations = each(layer.pool_size), [1] * len(axes)
    else:
        return None
    windows = []
    for (first, last, jump), kernel, dilation, stride, length in zip(
            axes, kernels, dilations, each(layer.strides), before[1:], strict=False):
        reach = (kernel - 1) * dilation
        border = {"valid": 0, "causal": reach}.get(layer.padding)
        if border is None:  # "same"
            rest = stride if length is None else length - (math.ceil(length / stride) - 1) * stride
            border = max(reach + 1 - rest, 0) // 2
        windows.append((first - border * jump, last + (reach - border) * jump, jump * stride))
    return _public(windows)


def _operated(step: Step, axes: list[_Axis]) -> ReceptiveField | None:
    """Return the field after an operation on tensors, or a layer without a rule of its own."""
    if isinstance(step.operation, layers.Layer) and not isinstance(
            step.operation, (layers.Lambda, layers.ZeroPadding2D)):  # which may pad channels
        return None
    before, after = step.inputs[0].shape, step.shape
    if len(before) == len(after) > 2 and before[1:-1] == after[1:-1]:
        return _public(axes)  # on the channels
    elementwise = type(step.operation).__name__.lower() in (
        "add", "subtract", "multiply", "divide", "cast", "square", "relu", "mod", "sign", "minimum",
        "maximum", "equal", "notequal", "greater")
    return _public(axes) if elementwise else None
