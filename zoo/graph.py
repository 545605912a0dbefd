"""What a network computes between its layers with weights, in a form that can be compared.

Two networks whose weights have the same shapes may still compute different functions: by their
activations, poolings, paddings or strides. `check_function` compares these, from the prepared
pixels on; `preparation` returns what prepares them. Names, dtypes,
initializers, regularizers, dropout and other layers that do nothing at inference are ignored.
"""
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import layers

from zoo.errors import UsageError

Pairs = Sequence[tuple[keras.layers.Layer, keras.layers.Layer]]

# Layers that return their input at inference, or the same numbers in another shape.
_TRANSPARENT = (layers.ActivityRegularization, layers.AlphaDropout, layers.Dropout, layers.Flatten,
                layers.GaussianDropout, layers.GaussianNoise, layers.Identity, layers.Reshape,
                layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
_SYMMETRIC = (layers.Add, layers.Average, layers.Maximum, layers.Minimum, layers.Multiply)
# Options without effect on the function, or visible in the shapes of the weights.
_IGNORED = {"name", "dtype", "trainable", "activation", "data_format", "filters", "units",
            "kernel_size", "use_bias", "momentum", "synchronized", "axis", "keepdims", "seed",
            "input_dim", "output_dim", "depth_multiplier"}
_IGNORED_ENDS = ("_initializer", "_regularizer", "_constraint", "_normalizer")


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """A step of a network. Two steps with the same `id` compute the same function.

    Attributes:
        id: equal for equal steps of two networks that share `ids`.
        name: of the layer.
        kind: the class of the layer, or "activation".
        config: its options that change the function.
        inputs: the steps before it; empty for an input and for a layer with weights.
        stem: whether it follows layers with weights of the stem alone.
        front: whether no layer with weights precedes it.
        operation: whether it is an operation on tensors, such as keras.ops.add, and not a layer.
        prepared: the layers and operations on pixels before it that are not among the steps.
    """

    id: int
    name: str
    kind: str
    config: dict[str, Any]
    inputs: tuple["Node", ...] = ()
    stem: bool = False
    front: bool = False
    operation: bool = False
    prepared: tuple[keras.Operation, ...] = ()


class Graph:
    """The steps of `model`.

    Args:
        model: a functional or sequential model.
        numbers: {id of a layer with weights: (its number, whether it belongs to a stem)}; layers
            of two networks that have the same number are taken as equal.
        ids: the steps seen so far; pass the same dict for two networks to compare.

    Attributes:
        calls: {id of a layer with weights: its inputs and its padding in each call}.
        outputs: the last steps.
        seen: the ids of all steps.

    Raises:
        TypeError: if the model, or one inside it, is not a graph of layers.
    """

    def __init__(self, model: keras.Model, numbers: dict[int, tuple[int, bool]],
                 ids: dict[Any, int]):
        _function(model)  # before a model without inputs raises
        self._numbers, self._ids, self.seen = numbers, ids, set[int]()
        self.calls: dict[int, list[tuple[list[Node], Any]]] = {}
        self._images = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4
        inputs = [self._node(tensor.name, "input", {"number": number}, front=True)
                  for number, tensor in enumerate(model.inputs)]
        self.outputs: list[Node] = keras.tree.flatten(self._run(model, inputs))

    def _run(self, model, inputs):
        return _function(model)._run_through_graph(
            inputs, operation_fn=lambda operation: functools.partial(self._apply, operation))

    def _node(self, name, kind, config, inputs=(), **flags):
        key = (kind, _frozen(config), tuple(node.id for node in inputs))
        prepared = dict.fromkeys(layer for node in inputs for layer in node.prepared)
        node = Node(self._ids.setdefault(key, len(self._ids)), name, kind, config, tuple(inputs),
                    prepared=tuple(prepared), **flags)
        self.seen.add(node.id)
        return node

    def _apply(self, operation, *args, **options):
        if isinstance(operation, keras.Model):
            return self._run(operation, args[0] if args else options["inputs"])
        options = {key: value for key, value in options.items() if key not in ("training", "mask")}
        inputs = [value for value in keras.tree.flatten((args, options)) if isinstance(value, Node)]
        front = all(node.front for node in inputs)
        if _is_transparent(operation, inputs, front):
            return inputs[0]
        if front and self._images and _prepares(operation):
            prepared = dict.fromkeys(layer for node in inputs for layer in node.prepared)
            return dataclasses.replace(inputs[0], prepared=(*prepared, operation))
        if getattr(operation, "weights", ()):
            return self._weighted(operation, inputs)
        stem = bool(inputs) and all(node.stem for node in inputs)
        activation = _activation(operation)
        if activation:
            return self._node(operation.name, "activation", activation, inputs, stem=stem,
                              front=front)
        if activation is not None:  # linear
            return inputs[0]
        if isinstance(operation, _SYMMETRIC):
            inputs = sorted(inputs, key=lambda node: node.id)
        config = _config(operation, args, options)
        if stem:  # stem="small" has other strides
            config.pop("strides", None)
        node = self._node(operation.name, type(operation).__name__, config, inputs, stem=stem,
                          front=front, operation=not isinstance(operation, layers.Layer))
        count = len(operation._inbound_nodes[0].outputs)
        if count == 1:
            return node
        return [self._node(operation.name, "output", {"number": number}, [node], stem=stem,
                           front=front) for number in range(count)]

    def _weighted(self, layer, inputs):
        padding = getattr(layer, "padding", None)
        if padding == "valid":
            padding = ((0, 0),) * (len(layer.kernel.shape) - 2)
            if inputs[0].kind.startswith("ZeroPadding"):
                padding = _frozen(inputs[0].config["padding"])
                if len(layer.kernel.shape) == 3:
                    padding = (padding,)
                inputs = list(inputs[0].inputs)
        self.calls.setdefault(id(layer), []).append((inputs, padding))
        number, stem = self._numbers.get(id(layer), (-1, False))
        node = self._node(layer.name, "weights", {"number": number}, stem=stem)
        activation = _activation(layer)
        if activation:
            return self._node(layer.name, "activation", activation, [node], stem=stem)
        return node


def _function(model):
    """Return the graph of layers of `model`."""
    function = getattr(model, "_functional", model)
    if not hasattr(function, "_run_through_graph"):
        raise TypeError(f"{model.name} is not a graph of layers.")
    return function


def _is_transparent(operation, inputs, front):
    if isinstance(operation, _TRANSPARENT) or type(operation).__name__ == "Cast":
        return True
    if type(operation).__name__.startswith("Random") and not isinstance(
            operation, layers.RandomCrop):
        return True
    # A grey image in several channels.
    return front and operation.name == "repeat" and len({node.id for node in inputs}) == 1


def _prepares(operation):
    """Whether `operation`, before all layers with weights, prepares the pixels for them."""
    return not isinstance(operation, layers.Layer) or isinstance(
        operation, (layers.Lambda, layers.Normalization, layers.Rescaling, layers.Resizing))


def preparation(model: keras.Model) -> list[keras.Operation]:
    """Return what prepares the pixels for the first layer with weights, from the input on.

    These are layers of Rescaling, Normalization and Lambda, and operations; resizing is left to
    whoever feeds images. The list is empty if `model` does not take images, or is not a graph of
    layers.
    """
    try:
        calls = Graph(model, {}, {}).calls
    except TypeError:
        return []
    first = next(iter(calls.values()), None)
    prepared = () if first is None else first[0][0][0].prepared
    return [layer for layer in prepared if not isinstance(layer, layers.Resizing)]


def _activation(layer):
    """Return the options of the activation of `layer`: {} if it is linear, None if it has none."""
    relu = {"activation": "relu", "max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    if isinstance(layer, layers.ReLU):
        return {**relu, **{key: _number(getattr(layer, key)) for key in relu
                           if key != "activation"}}
    if not hasattr(layer, "activation"):
        return None
    name = keras.activations.serialize(layer.activation)
    if name == "linear":
        return {}
    if name in ("relu", "relu6"):
        return {**relu, "max_value": 6.0 if name == "relu6" else None}
    return {"activation": name}


def _number(value):
    return None if value is None else float(value)


def _config(operation, args=(), options=()):
    """Return the options of a layer, or of an operation with its arguments, that matter."""
    if isinstance(operation, layers.Layer):
        config = {key: value for key, value in operation.get_config().items()
                  if key not in _IGNORED and not key.endswith(_IGNORED_ENDS)}
        if isinstance(operation, layers.Concatenate):
            config["axis"] = operation.axis % len(operation._inbound_nodes[0].outputs[0].shape)
        return config
    config = {key: value for key, value in vars(operation).items()
              if key != "name" and not key.startswith("_")
              and isinstance(value, (int, float, str, tuple, list, type(None)))}
    constants = keras.tree.map_structure(
        lambda value: "input" if isinstance(value, Node) else repr(value), (args, dict(options)))
    return {**config, "arguments": constants}


def _frozen(value):
    """Return `value` in a form that can be compared and hashed; lists and tuples are the same."""
    if isinstance(value, dict):
        return tuple((key, _frozen(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return value if isinstance(value, (int, float, str, type(None))) else repr(value)


def check_function(source: keras.Model, model: keras.Model, pairs: Pairs,
                   rest: keras.layers.Layer | None) -> None:
    """Raise UsageError if `source` and `model` compute different functions from the same weights.

    The strides of a stem may differ: stem="small" takes the weights of the other one.

    Args:
        source, model: the networks.
        pairs: (layer of source, layer of model) whose weights have the same shapes, all layers
            with weights but the classifier.
        rest: the last layer with weights of `source`, if it is not in `pairs`.

    Raises:
        zoo.errors.UsageError: names the first layer and option that differ. A source that is not a
            graph of layers, such as a subclassed model, is not compared.
    """
    ids: dict[Any, int] = {}
    try:
        theirs, ours = (
            Graph(network, {id(pair[side]): (number, pair[1].name.startswith("stem"))
                            for number, pair in enumerate(pairs)}, ids)
            for side, network in enumerate((source, model)))
    except TypeError:
        return
    for their, our in pairs:
        calls = zip(theirs.calls[id(their)], ours.calls[id(our)], strict=False)
        for (their_inputs, their_padding), (our_inputs, our_padding) in calls:
            _check_options(source, model, (their, their_padding), (our, our_padding))
            _check_nodes(source, model, their_inputs, our_inputs, f"Before {our.name!r}")
    _check_end(source, model, theirs, ours, pairs, rest)


def _check_end(source, model, theirs, ours, pairs, rest):
    """Compare what follows the last pair, up to the classifier or the features."""
    logits = next((layer for layer in model.layers if layer.name == "logits"), None)
    if any(our is logits for _, our in pairs) or max(len(theirs.outputs), len(ours.outputs)) > 1:
        return
    our_end = ours.outputs if logits is None else ours.calls[id(logits)][0][0]
    if rest is not None:
        _check_nodes(source, model, theirs.calls[id(rest)][0][0], our_end, "At the end")
    elif theirs.outputs[0].id not in ours.seen:  # a source may end before the pooling
        _check_nodes(source, model, theirs.outputs, our_end, "At the end")


def _check_options(source, model, their, our):
    """Compare two layers with weights."""
    (their_layer, their_padding), (our_layer, our_padding) = their, our
    if not _same_padding(their, our):
        raise _differ(source, model, their_layer.name, our_layer.name, "padding", their_padding,
                      our_padding)
    theirs, ours = map(_weighted_config, (their_layer, our_layer))
    for key in sorted({*theirs, *ours}):
        if key == "strides" and our_layer.name.startswith("stem"):
            continue
        if _frozen(theirs.get(key)) != _frozen(ours.get(key)):
            raise _differ(source, model, their_layer.name, our_layer.name, key, theirs.get(key),
                          ours.get(key))


def _weighted_config(layer):
    config = {key: value for key, value in _config(layer).items() if key != "padding"}
    if isinstance(layer, layers.Dense) or getattr(layer, "kernel_size", None) == (1, 1):
        defaults = {"strides": (1, 1), "dilation_rate": (1, 1), "groups": 1}  # a dense layer's
        return {**defaults, **{key: value for key, value in config.items() if key in defaults}}
    return config


def _same_padding(their, our):
    """Whether two layers pad alike: explicit zeros may be those of padding="same"."""
    return their[1] == our[1] or all(_is_same(*layer) for layer in (their, our))


def _is_same(layer, padding):
    """Whether `padding` is that of "same" for images of some size."""
    if padding in ("same", None):
        return True
    if not isinstance(padding, tuple):
        return False
    for pads, kernel, stride, dilation in zip(padding, layer.kernel_size, layer.strides,
                                              layer.dilation_rate, strict=True):
        reach = (kernel - 1) * dilation + 1
        totals = {max(reach - (rest or stride), 0) for rest in range(stride)}
        if pads not in {(total // 2, total - total // 2) for total in totals}:
            return False
    return True


def _check_nodes(source, model, theirs: Iterable[Node], ours: Iterable[Node], where: str) -> None:
    """Raise UsageError for the first step that differs in what leads to `theirs` and `ours`."""
    for their, our in itertools.zip_longest(theirs, ours):
        if their is None or our is None or their.id != our.id:
            their, our = _first_difference(their, our)
            if their is not None and our is not None and their.kind == our.kind:
                for key in their.config:
                    if _frozen(their.config[key]) != _frozen(our.config.get(key)):
                        raise _differ(source, model, their.name, our.name, key, their.config[key],
                                      our.config.get(key))
                raise UsageError(f"Layer {their.name!r} of {source.name} has other constants than "
                                 f"{our.name!r} of {model.name}. {_ADVICE}")
            raise UsageError(f"{where}, {source.name} has {_describe(their)}, and {model.name} has "
                             f"{_describe(our)}. {_ADVICE}")


_ADVICE = "Build it with the options that the weights were trained with."


def _differ(source, model, their, our, option, theirs, ours):
    return UsageError(f"Layer {their!r} of {source.name} has {option}={theirs!r}, and {our!r} of "
                      f"{model.name} has {option}={ours!r}. {_ADVICE}")


def _describe(node):
    if node is None:
        return "no layer"
    if node.kind == "activation":
        return f"activation={node.config['activation']!r} (layer {node.name!r})"
    return f"layer {node.name!r} ({node.kind})"


def _first_difference(their, our):
    """Return the first steps, from the input on, in which two different steps differ."""
    (their_start, theirs), (our_start, ours) = _chain(their), _chain(our)
    if their_start.id != our_start.id:
        alike = (their_start.kind == our_start.kind and their_start.inputs
                 and len(their_start.inputs) == len(our_start.inputs))
        if alike:
            for pair in zip(their_start.inputs, our_start.inputs, strict=True):
                if pair[0].id != pair[1].id:
                    nearest = _first_difference(*pair)
                    inside = any(node is not None and node.operation for node in nearest)
                    return (their_start, our_start) if inside else nearest
        return their_start, our_start
    for pair in itertools.zip_longest(theirs, ours):
        if None in pair or pair[0].kind != pair[1].kind or (
                _frozen(pair[0].config) != _frozen(pair[1].config)):
            return pair
    return their, our


def _chain(node):
    """Return the last step before `node` with none or several inputs, and those after it."""
    chain = []
    while node is not None and len(node.inputs) == 1:
        chain.append(node)
        node = node.inputs[0]
    return node, chain[::-1]
