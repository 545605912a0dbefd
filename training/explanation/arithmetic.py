"""What each number of a network is computed from: its terms, and the steps from their sum to it.

A `Step` is what papers draw as one layer: a convolution with its padding, bias, batch normalisation
and activation. Every output of the step is a function of one channel's parameters and of a patch of
the step's source, so its arithmetic can be written out.
"""
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

_ELEMENTWISE = {
    "Add": "add", "Average": "average", "Maximum": "maximum", "Minimum": "minimum",
    "Multiply": "multiply", "Subtract": "subtract"}
_MOVES = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping1D, layers.Cropping2D,
          layers.Flatten, layers.Reshape, layers.Permute)
_MOVE_OPERATIONS = {"GetItem", "Take", "Reshape", "Transpose", "Squeeze", "ExpandDims", "Flip"}
_NOTHING = (layers.ActivityRegularization, layers.AlphaDropout, layers.Dropout,
            layers.GaussianDropout, layers.GaussianNoise, layers.Identity,
            layers.SpatialDropout1D, layers.SpatialDropout2D)
_LRN = {"Power", "Add", "Multiply", "GetItem", "Pad", "Square", "Cast"}
ACTIVATIONS = {"relu", "relu6", "leaky_relu", "tanh", "sigmoid", "silu", "hard_sigmoid",
               "hard_silu", "elu", "selu", "gelu", "softplus", "exponential"}


@dataclasses.dataclass(eq=False)
class Step:
    """One drawn layer of a network for one input.

    Attributes:
        layers: the names of its layers, in order.
        kind: "input", "conv" (dense layers too), "max", "avg", "add", "multiply" and other
            elementwise kinds, "concat", "same" (nothing but `after`), "move" (each output is one
            input, or 0), "lrn", "embedding", or "other", whose arithmetic is not known.
        sources: the steps that it reads.
        tensor: its symbolic output.
        shape: (height, width, channels) of its output; a vector has height and width 1, a sentence
            has its tokens as height.
        geometry: of a window: kernel (height, width), strides, dilation, pad (top, left), groups.
        kernel: of "conv", float32 (height, width, channels of a group, output channels).
        after: what follows the sum of the terms: (name of the operation, its parameters), each
            parameter a float or an array with one number for each output channel.
        options: of "lrn" and of pools.
        hidden: whether it is left out of drawings, such as the mask of a sentence.
        params: the number of its parameters.
        values: its output, float32 of its shape.
    """

    layers: list[str]
    kind: str
    sources: list["Step"]
    tensor: Any
    shape: tuple[int, int, int] = (0, 0, 0)
    geometry: dict[str, Any] = dataclasses.field(default_factory=dict)
    kernel: np.ndarray | None = None
    after: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    hidden: bool = False
    params: int = 0
    values: Any = None
    nodes: list[Any] = dataclasses.field(default_factory=list)
    fields: Any = None  # of view: int (height, 2) and (width, 2), first and last pixel of the input


def steps_of(model: keras.Model, inputs: np.ndarray) -> list[Step]:
    """Return the steps of `model` for one input, from the input to the first output.

    Args:
        model: a functional or sequential model of one input: an image (height, width, channels)
            with its channels last, or token ids.
        inputs: one example, without the batch axis.

    Raises:
        TypeError: if the model is not a graph of layers.
    """
    function = getattr(model, "_functional", model)
    if not hasattr(function, "_run_through_graph") or len(function.inputs) != 1:
        raise TypeError(f"{model.name} is not a graph of layers with one input.")
    nodes = _sorted_nodes(function.outputs[0])
    swallowed, norms = _response_norms(nodes)
    consumers: dict[int, int] = {}
    for node in nodes:
        for tensor in node.input_tensors:
            consumers[id(tensor)] = consumers.get(id(tensor), 0) + (id(node) not in swallowed)
    steps: dict[int, Step] = {}  # by the tensor that is the step's output so far
    for node in nodes:
        if id(node) in swallowed:
            continue
        sources = [steps[id(tensor)] for tensor in node.input_tensors
                   if id(tensor) in steps and not (id(node) in norms and tensor is not
                                                   node.input_tensors[0])]
        alone = len(sources) == 1 and consumers[id(node.input_tensors[0])] == 1
        extended = alone and sources[0].kind not in ("input", "move") and _extend(sources[0], node)
        step = sources[0] if extended else _step(node, sources, norms.get(id(node)))
        step.nodes.append(node)
        step.tensor = node.outputs[0]
        steps[id(step.tensor)] = step
    ordered = list(dict.fromkeys(steps.values()))
    _run(function, ordered, inputs)
    return _without_moves(ordered)


def _sorted_nodes(output):
    """The nodes that `output` depends on, each after those it reads, branches in their order."""
    ordered, seen = [], set()
    stack = [(_node_of(output), False)]
    while stack:
        node, done = stack.pop()
        if done:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(_node_of(tensor), False) for tensor in reversed(node.input_tensors)]
    return ordered


def _node_of(tensor):
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _response_norms(nodes):
    """The ids of nodes inside local response normalisations, and {id of the last: its options}."""
    swallowed, norms = set(), {}
    for node in nodes:
        if not isinstance(node.operation, layers.Multiply) or len(node.input_tensors) != 2:
            continue
        source, power = node.input_tensors
        inner, stack = [], [_node_of(power)]
        while stack:
            each = stack.pop()
            if type(each.operation).__name__ not in _LRN:
                break
            inner.append(each)
            stack += [_node_of(tensor) for tensor in each.input_tensors if tensor is not source]
        else:
            kinds = {type(each.operation).__name__: each for each in inner}
            if "Power" not in kinds or "Square" not in kinds:
                continue
            numbers = {kind: [value for value in keras.tree.flatten(
                [each.arguments.args, each.arguments.kwargs]) if isinstance(value, float | int)]
                for kind, each in (("Power", inner[0]), ("Add", inner[1]),
                                   ("Multiply", kinds["Multiply"]))}
            swallowed |= set(map(id, inner))
            norms[id(node)] = {
                "size": len({id(each) for each in inner
                             if type(each.operation).__name__ == "GetItem"}),
                "k": numbers["Add"][0], "alpha": numbers["Multiply"][0],
                "beta": -numbers["Power"][0]}
    return swallowed, norms


def _extend(step, node):
    """Append `node` to the step if it maps each number by itself; return whether it does."""
    operation = node.operation
    after = _pointwise(operation)
    if after is None or step.kind in ("embedding",):
        return False
    if step.after and step.after[-1][0] == "other":
        return False
    step.after += after
    step.layers.append(operation.name)
    step.params += _count(operation)
    return True


def _count(operation):
    return operation.count_params() if isinstance(operation, layers.Layer) else 0


def _array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), "float32")


def _pointwise(operation):
    """What a layer that maps each number by itself does; None for another layer."""
    if isinstance(operation, _NOTHING) or type(operation).__name__ == "Cast":
        return []
    if isinstance(operation, layers.BatchNormalization):
        if operation.axis not in (-1, len(operation.input.shape) - 1):
            return None
        gamma = _array(operation.gamma) if operation.scale else 1.0
        beta = _array(operation.beta) if operation.center else 0.0
        return [("bn", {"mean": _array(operation.moving_mean),
                        "variance": _array(operation.moving_variance), "gamma": gamma,
                        "beta": beta, "epsilon": operation.epsilon})]
    if isinstance(operation, layers.Rescaling):
        return [("scale", {"by": np.asarray(operation.scale, "float32"),
                           "offset": np.asarray(operation.offset, "float32")})]
    if isinstance(operation, layers.ReLU):
        return [("relu", {"max": operation.max_value, "slope": float(operation.negative_slope),
                          "threshold": float(operation.threshold)})]
    if isinstance(operation, layers.LeakyReLU):
        return [("relu", {"max": None, "slope": float(operation.negative_slope),
                          "threshold": 0.0})]
    if isinstance(operation, layers.Activation):
        return _activation(operation)
    return None


def _activation(operation):
    name = keras.activations.serialize(operation.activation)
    if name == "linear":
        return []
    if name in ("relu", "relu6", "leaky_relu"):
        return [("relu", {"max": 6.0 if name == "relu6" else None,
                          "slope": 0.2 if name == "leaky_relu" else 0.0, "threshold": 0.0})]
    name = {"swish": "silu", "hard_swish": "hard_silu"}.get(name, name)
    if isinstance(name, str) and name in ACTIVATIONS | {"softmax"}:
        return [(name, {})]
    return [("other", {"name": name if isinstance(name, str) else operation.name})]


def _step(node, sources, norm):
    operation = node.operation
    step = Step([operation.name], "other", sources, node.outputs[0], params=_count(operation))
    if norm:
        step.kind, step.options = "lrn", norm
    elif isinstance(operation, layers.InputLayer):
        step.kind = "input"
    elif isinstance(operation, layers.Embedding):
        step.kind = "embedding"
    elif isinstance(operation, layers.Concatenate):
        step.kind = "concat" if operation.axis in (-1, len(step.tensor.shape) - 1) else "other"
    elif isinstance(operation, _MOVES) or (type(operation).__name__ in _MOVE_OPERATIONS
                                           and len(node.input_tensors) == 1):
        step.kind = "move"
    elif type(operation).__name__ in _ELEMENTWISE and len(sources) == len(node.input_tensors) > 1:
        step.kind = _ELEMENTWISE[type(operation).__name__]
    elif len(sources) == 1 and not _window(step, operation):
        after = _pointwise(operation)
        if after is not None:
            step.kind, step.after = "same", after
    return step


def _window(step, operation):
    """Fill the fields of a convolution, dense layer or pooling; return whether it is one."""
    if getattr(operation, "data_format", "channels_last") != "channels_last":
        return False
    if isinstance(operation, layers.Dense):
        step.kind, step.options = "conv", {"dense": True}
        step.kernel = _array(operation.kernel)[None, None]
        step.geometry = {"kernel": (1, 1), "strides": (1, 1), "dilation": (1, 1), "pad": (0, 0),
                         "groups": 1}
    elif isinstance(operation, layers.SeparableConv1D | layers.SeparableConv2D):
        depth, point = _array(operation.depthwise_kernel), _array(operation.pointwise_kernel)
        point = point.reshape(*depth.shape[-2:], -1)
        kernel = np.einsum("...cm,cmo->...co", depth, point)
        _convolution(step, operation, kernel, 1)
        step.options["separable"] = True
    elif isinstance(operation, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        kernel = _array(operation.kernel)
        channels = kernel.shape[-2]
        _convolution(step, operation, kernel.reshape(*kernel.shape[:-2], 1, -1), channels)
    elif type(operation) in (layers.Conv1D, layers.Conv2D):
        _convolution(step, operation, _array(operation.kernel), operation.groups)
    elif isinstance(operation, layers.MaxPooling1D | layers.MaxPooling2D):
        step.kind = "max"
        step.geometry = _geometry(operation, operation.pool_size)
    elif isinstance(operation, layers.AveragePooling1D | layers.AveragePooling2D):
        step.kind = "avg"
        step.geometry = _geometry(operation, operation.pool_size)
    elif isinstance(operation, layers.GlobalAveragePooling1D | layers.GlobalAveragePooling2D):
        step.kind, step.geometry = "avg", {"kernel": None}
    elif isinstance(operation, layers.GlobalMaxPooling1D | layers.GlobalMaxPooling2D):
        step.kind, step.geometry = "max", {"kernel": None}
    else:
        return False
    if getattr(operation, "use_bias", False):
        step.after.append(("bias", {"by": _array(operation.bias)}))
    if step.kind == "conv":
        step.after += _activation(operation)
    return True


def _convolution(step, operation, kernel, groups):
    if kernel.ndim == 3:  # along a sentence: its tokens are the height
        kernel = kernel[:, None]
    step.kind, step.kernel = "conv", kernel
    step.geometry = {**_geometry(operation, kernel.shape[:2]), "groups": groups}


def _geometry(operation, kernel):
    def pair(lengths, default=1):
        lengths = (lengths,) if isinstance(lengths, int) else tuple(lengths)
        return lengths if len(lengths) == 2 else (*lengths, default)
    return {"kernel": pair(kernel), "strides": pair(operation.strides),
            "dilation": pair(getattr(operation, "dilation_rate", 1)),
            "padding": operation.padding, "groups": 1}


def _map_shape(shape):
    shape = tuple(shape)
    if len(shape) == 1:
        return (1, 1, *shape)
    if len(shape) == 2:
        return (shape[0], 1, shape[1])
    return shape if len(shape) == 3 else (1, 1, math.prod(shape))


def _run(function, steps, inputs):
    """Set the values and shapes of the steps for one input."""
    tapped = keras.Model(function.inputs[0], [step.tensor for step in steps])
    outputs = tapped(np.asarray(inputs)[None], training=False)
    for step, output in zip(steps, outputs, strict=True):
        value = np.asarray(keras.ops.convert_to_numpy(output), "float32")[0]
        words = step.kind == "input" and value.ndim == 1
        step.shape = (len(value), 1, 1) if words else _map_shape(value.shape)
        step.values = value.reshape(step.shape)


def _before(step, side, axis):
    """Return the pixels of padding before the first, as TensorFlow places them."""
    geometry = step.geometry
    extent = (geometry["kernel"][axis] - 1) * geometry["dilation"][axis] + 1
    if geometry["padding"] == "causal":
        return extent - 1
    if geometry["padding"] != "same":
        return 0
    stride = geometry["strides"][axis]
    return max((-(-side // stride) - 1) * stride + extent - side, 0) // 2


def _without_moves(steps):
    """Fold paddings into windows and flattenings into dense layers; set what depends on shapes."""
    readers: dict[int, int] = {}
    for step in steps:
        for read in step.sources:
            readers[id(read)] = readers.get(id(read), 0) + 1
    folded: set[int] = set()
    for step in steps:
        source: Any = step.sources[0] if step.sources else None
        if step.geometry:
            if step.geometry["kernel"] is None:
                step.geometry = {"kernel": source.shape[:2], "strides": (1, 1),
                                 "dilation": (1, 1), "padding": "valid", "groups": 1}
            pad = [0, 0]
            if "padding" in step.geometry:
                pad = [_before(step, source.shape[axis], axis) for axis in (0, 1)]
            step.options["same"] = step.geometry.get("padding") == "same"
            margin = _zeros(source, step)
            if margin and readers[id(source)] == 1:
                pad = [pad[0] + margin[0], pad[1] + margin[1]]
                _fold(step, source, folded)
            step.geometry["pad"] = pad
        if step.options.get("dense") and source.kind == "move" and readers[id(source)] == 1 \
                and source.sources[0].values.size == source.values.size \
                and isinstance(source.nodes[0].operation, layers.Flatten | layers.Reshape):
            shape = source.sources[0].shape
            step.kernel = step.kernel.reshape(*shape, -1)
            step.geometry["kernel"] = shape[:2]
            _fold(step, source, folded)
    kept = [step for step in steps if id(step) not in folded]
    texts = {id(step) for step in kept if step.kind == "embedding"}
    if texts:
        for step in kept:
            if any(id(source) in texts for source in step.sources):
                texts.add(id(step))
            step.hidden = id(step) not in texts and step.kind != "input"
    for step in kept:
        _set_fields(step, kept[0])
    return kept


def _fold(step, source, folded):
    folded.add(id(source))
    step.sources = source.sources
    step.layers = source.layers + step.layers


def _zeros(source, step):
    """The pixels (top, left) that a padding layer of zeros adds; None for another step."""
    operation = source.nodes[0].operation
    if step.options["same"] or source.kind != "move" or source.after:
        return None
    if isinstance(operation, layers.ZeroPadding2D) and operation.data_format == "channels_last":
        return operation.padding[0][0], operation.padding[1][0]
    if isinstance(operation, layers.ZeroPadding1D):
        return operation.padding[0], 0
    return None


@functools.cache
def moved_from(step: Step) -> np.ndarray:
    """Return where each output of a "move" comes from, as flat indices into its source.

    Returns:
        int64 of the shape of the step; -1 is a zero of the padding.
    """
    source = step.sources[0]
    indices = np.arange(1, source.values.size + 1, dtype="float64")
    tensor = step.nodes[0].input_tensors[0]
    indices = indices.reshape(1, *[a if b is None else b for a, b in zip(
        _own_shape(source, len(tensor.shape) - 1), tensor.shape[1:], strict=True)])
    model = keras.Model(tensor, step.tensor)
    moved = keras.ops.convert_to_numpy(model(indices.astype("float32"), training=False))
    return np.round(moved).astype("int64").reshape(step.shape) - 1


def _own_shape(step, rank):
    return {1: step.shape[2:], 2: (step.shape[0], step.shape[2])}.get(rank, step.shape)


def _set_fields(step, first):
    """Set the receptive field: the first and last row and column of the input for each position."""
    if step is first or step.kind == "embedding":
        step.fields = [np.repeat(np.arange(side)[:, None], 2, axis=1) for side in step.shape[:2]]
        return
    if not step.sources or step.kind == "other" or step.hidden:
        step.fields = [_whole(step.shape[axis], first.shape[axis]) for axis in (0, 1)]
        return
    step.fields = []
    for axis in (0, 1):
        if step.kind == "move":
            moved = _moved_fields(step, axis)
        elif step.geometry:
            moved = _window_fields(step, axis)
        else:
            moved = np.full((step.shape[axis], 2), -1)
            for source in step.sources:
                if not source.hidden:
                    moved = _union(moved, np.broadcast_to(source.fields[axis], moved.shape))
        step.fields.append(moved)


def _whole(count, side):
    return np.tile([0, side - 1], (count, 1))


def _union(one, other):
    low = np.where(one[:, 0] < 0, other[:, 0],
                   np.where(other[:, 0] < 0, one[:, 0], np.minimum(one[:, 0], other[:, 0])))
    return np.stack([low, np.maximum(one[:, 1], other[:, 1])], axis=1)


def _window_fields(step, axis):
    geometry, source = step.geometry, step.sources[0].fields[axis]
    union = np.full((step.shape[axis], 2), -1)
    for tap in range(geometry["kernel"][axis]):
        rows = (np.arange(step.shape[axis]) * geometry["strides"][axis]
                + tap * geometry["dilation"][axis] - geometry["pad"][axis])
        inside = (rows >= 0) & (rows < len(source))
        union = _union(union, np.where(inside[:, None], source[np.clip(rows, 0, len(source) - 1)],
                                       -1))
    return union


def _moved_fields(step, axis):
    source = step.sources[0]
    index = moved_from(step)
    rows = index // (source.shape[1] * source.shape[2]) if axis == 0 else \
        index // source.shape[2] % source.shape[1]
    lows, highs = source.fields[axis][:, 0], source.fields[axis][:, 1]
    rows, absent = np.moveaxis(rows, axis, 0), np.moveaxis(index < 0, axis, 0)
    rows, absent = rows.reshape(len(rows), -1), absent.reshape(len(rows), -1)
    blank = absent | (lows[rows] < 0)  # which sees nothing of the input
    low = np.where(blank, np.iinfo("int64").max, lows[rows]).min(axis=1)
    high = np.where(absent, -1, highs[rows]).max(axis=1)
    return np.stack([np.where(high < 0, -1, low), high], axis=1)


@dataclasses.dataclass(frozen=True)
class Terms:
    """What one number is the sum, mean or maximum of.

    Attributes:
        indices: of each term: of "conv", "max" and "avg" into the patch (height, width, channels of
            a group); else into the sources.
        inputs, weights: float64; of "conv" and "avg", the sum is that of the products.
    """

    indices: np.ndarray
    inputs: np.ndarray
    weights: np.ndarray


def terms_at(step: Step, channel: int, row: int, column: int) -> Terms:
    """Return the terms of one number of a step; of an "input", "embedding" or "other", itself."""
    values = [source.values for source in step.sources]
    if step.geometry:
        return _patch_terms(step, channel, row, column)
    if step.kind == "concat":
        number = channel
        for index, value in enumerate(values):
            if number < value.shape[2]:
                return _terms([index], [value[row, column, number]])
            number -= value.shape[2]
    if step.kind == "lrn":
        low = max(channel - step.options["size"] // 2, 0)
        high = channel + (step.options["size"] - 1) // 2 + 1
        inputs = values[0][row, column, low:high]
        return _terms(low + np.arange(len(inputs)), inputs)
    if step.kind in ("input", "embedding", "other"):
        return _terms([0], [step.values[row, column, channel]])
    if step.kind == "move":
        index = int(moved_from(step)[row, column, channel])
        return _terms([index], [values[0].ravel()[index] if index >= 0 else 0.0])
    return _terms(range(len(values)), [
        value[min(row, value.shape[0] - 1), min(column, value.shape[1] - 1),
              min(channel, value.shape[2] - 1)] for value in values])


def _terms(indices, inputs):
    return Terms(np.asarray(indices), np.asarray(inputs, "float64"), np.ones(len(inputs)))


def _patch_terms(step, channel, row, column):
    source, geometry = step.sources[0].values, step.geometry
    height, width = geometry["kernel"]
    rows, columns = (
        start * geometry["strides"][axis] - geometry["pad"][axis]
        + np.arange(geometry["kernel"][axis]) * geometry["dilation"][axis]
        for axis, start in ((0, row), (1, column)))
    if step.kind == "conv":
        share = step.kernel.shape[2]
        first = channel // (step.kernel.shape[3] // geometry["groups"]) * share
    else:
        share, first = 1, channel
    inside = (((rows >= 0) & (rows < source.shape[0]))[:, None]
              & ((columns >= 0) & (columns < source.shape[1]))[None])
    patch = source[np.clip(rows, 0, source.shape[0] - 1)][
        :, np.clip(columns, 0, source.shape[1] - 1), first:first + share].astype("float64")
    patch = np.where(inside[..., None], patch, 0)
    indices = np.arange(patch.size)
    if step.kind == "conv":
        return Terms(indices, patch.ravel(), step.kernel[..., channel].astype("float64").ravel())
    keep = inside.ravel() if step.options["same"] else np.ones(height * width, bool)
    return Terms(indices[keep], patch.ravel()[keep], np.full(keep.sum(), 1 / keep.sum()))


def strongest(values: np.ndarray, count: int) -> Sequence[int]:
    """Return the indices of the channels that vary most, in ascending order.

    Args:
        values: (height, width, channels); of a vector, height and width 1, those farthest from 0.
        count: how many, at most.
    """
    if values.shape[0] * values.shape[1] == 1:
        strength = np.abs(values[0, 0])
    else:
        strength = values.std(axis=(0, 1))
    return np.sort(np.argsort(-strength, kind="stable")[:count]).tolist()
