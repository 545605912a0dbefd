"""A network as a drawing: which boxes, what is written in them, and where they stand.

    graph = diagram(model)                    as its paper draws it: repeated blocks once, "x3"
    graph = diagram(model, style="layers")    every layer, every repetition

`diagram` takes a functional or sequential Keras model, of the zoo or not, on any Keras backend, and
returns a `Diagram`: plain data, `dataclasses.asdict` of which is JSON. A `Node` is a box: a layer
that computes (a convolution, a pooling, a sum, ...) with the layers that papers do not draw (batch
normalisation, activation, dropout, padding, reshaping, the masks of sentences). Every layer of the
model is in exactly one node. An `Edge` joins two nodes by a polyline. A `Group` is a rectangle
around a stage ("stage2"), or around a block inside it ("stage2_block1"); a block that stands for
n equal ones in a row has `repeat` n, and its nodes have the layers, params and multiply-adds of
all of them. Lengths are points of 1/72 inch, for labels of `FONT` points; x goes right, y down,
from the top left corner, and x, y of a node is that of its own top left corner.

The layout is made here and not by a library. From the image to the logits, nearly all classics are
series and parallel branches: an exact layout by recursion keeps the trunk on one straight axis,
shortcuts in a lane at its side and branches in the order of the concatenation, as papers draw them;
a general layered layout, such as grandalf's or Graphviz', does not know trunk from shortcut, and
moves both. What is not series-parallel inside is laid out in layers.
"""
import collections
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from zoo.errors import unknown
from zoo.receptive_fields import ReceptiveField, Step, steps
from zoo.tables import multiply_adds

STYLES = ("blocks", "layers")
FONT = 8.0  # points
GAP = 14.0  # between two rows, where the lines run
SIDE = 12.0  # between two columns
LANE = 12.0  # between a column and the shortcut beside it
FRAME = 6.0  # between a group and its nodes
CIRCLE = 14.0  # the diameter of a sum or product


@dataclasses.dataclass(eq=False)
class Node:
    """A box of a diagram.

    Attributes:
        id: the name of its main layer, with " (2)" after it where that is called again.
        label: what is written in it, such as "3x3 conv, 64, /2"; "/2" is the stride.
        detail: the other layers in it that papers mention, such as "BN, ReLU"; may be empty.
        kind: input, conv, depthwise, pool, dense, embedding, norm, activation, add, multiply,
            concat, shuffle, or other. Nodes of kind add and multiply are circles.
        layers: the names of the Keras layers that it stands for, in order, all repetitions.
        stage: what its main layer's name begins with, as in `zoo.stages`; "" if there is none.
        block: such as "stage2_block1"; "" outside of blocks.
        output: the shape of its output without the batch; None is any length.
        params: the number of parameters of its layers.
        multiply_adds: of its layers, for one example; see `zoo.tables.multiply_adds`.
        field: the receptive field of its output, in its last repetition; None if not known.
        x, y, width, height: of the box, in points.
    """

    id: str
    label: str
    detail: str
    kind: str
    layers: list[str]
    stage: str
    block: str
    output: tuple[int | None, ...]
    params: int
    multiply_adds: int
    field: ReceptiveField | None
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclasses.dataclass
class Edge:
    """A line from the output of node `source` to an input of node `target`, by ids.

    Attributes:
        points: (x, y) of the polyline, from the border of one box to that of the other.
        shortcut: whether it passes layers by.
    """

    source: str
    target: str
    points: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    shortcut: bool = False


@dataclasses.dataclass
class Group:
    """A rectangle around the nodes of a stage, or of a block inside a stage.

    Attributes:
        name: "stage2", or "stage2_block1".
        kind: "stage" or "block".
        nodes: the ids of its nodes.
        repeat: how many equal blocks in a row it stands for.
        x, y, width, height: of the rectangle, in points.
    """

    name: str
    kind: str
    nodes: list[str]
    repeat: int = 1
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclasses.dataclass
class Diagram:
    """The drawing of a network; see the docstring of this module.

    Attributes:
        name: of the model.
        style: "blocks" or "layers".
        nodes: in the order of computation.
        edges, groups: see there; stages before the blocks inside them.
        width, height: of all, in points.
        params, multiply_adds: of the network.
        field: the largest receptive field of a feature map, before positions are joined; None if
            there is no map.
    """

    name: str
    style: str
    nodes: list[Node]
    edges: list[Edge]
    groups: list[Group]
    width: float
    height: float
    params: int
    multiply_adds: int
    field: ReceptiveField | None


def diagram(model: keras.Model, style: str = "blocks") -> Diagram:
    """Return the drawing of a network.

    Args:
        model: a functional or sequential model.
        style: "blocks" draws equal blocks that follow each other once, with their number; "layers"
            draws each, and writes normalisation, activation and output shape in the boxes.

    Raises:
        zoo.errors.UsageError: if `style` is unknown, or `model` is not a graph of layers.
    """
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    parts, edges = _parts(model)
    nodes = {}
    seen: set[keras.layers.Layer] = set()  # a layer that is called twice belongs to its first node
    ids: collections.Counter[str] = collections.Counter()
    for part in parts:
        nodes[part] = _node(part, seen)
        ids[nodes[part].id] += 1
        if ids[nodes[part].id] > 1:
            nodes[part].id += f" ({ids[nodes[part].id]})"
    _name_blocks(list(nodes.values()))
    links = [(nodes[source], nodes[target]) for source, target in edges]
    ordered = list(nodes.values())
    repeats: dict[str, int] = {}
    if style == "blocks":
        ordered, links, repeats = _collapse(ordered, links)
    for node in ordered:
        _measure(node, style)
    drawn = _Layout(ordered, links).draw()
    groups = _groups(ordered, drawn, repeats)
    width, height = _shift(ordered, drawn, groups)
    fields = [node.field for node in ordered if node.field and len(node.output) > 1]
    return Diagram(model.name, style, ordered, drawn, groups, width, height,
                   sum(node.params for node in ordered),
                   sum(node.multiply_adds for node in ordered),
                   max(fields, key=lambda field: field.size or (math.inf,), default=None))


# From layers to nodes.

_SMALL = (layers.Activation, layers.ActivityRegularization, layers.AlphaDropout,
          layers.BatchNormalization, layers.Dropout, layers.ELU, layers.Flatten,
          layers.GaussianDropout, layers.GaussianNoise, layers.Identity, layers.LayerNormalization,
          layers.LeakyReLU, layers.Normalization, layers.PReLU, layers.Permute, layers.ReLU,
          layers.Rescaling, layers.Reshape, layers.Resizing, layers.Softmax,
          layers.SpatialDropout1D, layers.SpatialDropout2D, layers.UnitNormalization,
          layers.Cropping1D, layers.Cropping2D, layers.ZeroPadding1D, layers.ZeroPadding2D)
_PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping1D, layers.Cropping2D)


class _Part:
    """The steps of one node; `main` is the one it is named after."""

    def __init__(self, main: Step):
        self.main, self.steps = main, [main]


def _parts(model: keras.Model) -> tuple[list[_Part], list[tuple[_Part, _Part]]]:
    """Return the steps of a model by node, in order, and which node feeds which."""
    every = steps(model)
    users: dict[Step, list[Step]] = {step: [] for step in every}
    for step in every:
        for source in step.inputs:
            users[source].append(step)
    side = _side(every)
    inputs: dict[Step, list[Step]] = {}
    for step in every:  # through operations, but not through masks
        through = [source for each in step.inputs for source in (
            inputs[each] if each in side and not isinstance(each.operation, layers.Layer)
            else [each])]
        inputs[step] = list(dict.fromkeys(s for s in through if s not in side)) or step.inputs
    part: dict[Step, _Part] = {}
    for step in every:  # what follows its only source
        source = inputs[step][0] if len(inputs[step]) == 1 else step
        if (source in part and step not in side and _is_small(step)
                and {user for user in users[source] if user not in side} == {step}
                and not _leads(step, source, users)):
            part[step] = part[source]
            part[step].steps.append(step)
        elif step not in side:
            part[step] = _Part(step)
    for step in reversed(every):  # what only serves the next: its padding, operations, masks
        own = part.get(step)
        if own and not (own.main is step and step.inputs and all(map(_is_small, own.steps))):
            continue
        members = own.steps if own else [step]
        following = {user for member in members for user in users[member]} - set(members)
        owners = {part.get(user) for user in following}
        target = owners.pop() if len(owners) == 1 else None
        if target and (step in side or all(inputs[user][0] in members and not _is_join(user)
                                           for user in following)):
            target.steps = [*members, *target.steps]
            part.update((member, target) for member in members)
    embedding = next((step for step in every if isinstance(step.operation, layers.Embedding)),
                     every[0])
    for step in every:
        if step not in part:  # a mask of several layers
            first = inputs[step][0]
            drawn = first in part and not isinstance(first.operation, layers.InputLayer)
            part[step] = part[first if drawn and first not in side else embedding]
            part[step].steps.append(step)
    order = {step: number for number, step in enumerate(every)}
    parts = list(dict.fromkeys(part[step] for step in every))
    for each in parts:
        each.steps = sorted(dict.fromkeys(each.steps), key=order.__getitem__)
    parts = _sorted(parts, part, inputs, side)
    links = dict.fromkeys((part[source], part[step]) for step in every if step not in side
                          for source in inputs[step]
                          if part[source] is not part[step] and source not in side)
    return parts, list(links)


def _sorted(parts, part, inputs, side):
    """Return the parts, each after those that feed it."""
    position = {each: number for number, each in enumerate(parts)}
    sources: dict[_Part, set[_Part]] = collections.defaultdict(set)
    for step, own in part.items():
        if step not in side:
            sources[own].update(part[s] for s in inputs[step] if s not in side)
    done: dict[_Part, None] = {}

    def visit(each):
        if each not in done:
            for source in sorted(sources[each] - {each}, key=position.__getitem__):
                visit(source)
            done[each] = None
    for each in parts:
        visit(each)
    return list(done)


def _side(every: list[Step]) -> set[Step]:
    """Return the steps that papers do not draw: operations on tensors, and masks of sentences."""
    side = {step for step in every if not isinstance(step.operation, layers.Layer)
            and not _is_join(step)}
    if any(isinstance(step.operation, layers.Embedding) for step in every):
        side |= {step for step in every if len(step.shape) in (2, 3) and step.inputs
                 and (step.shape[2:] == (1,) and step.shape[1] in (None, 1)
                      or step.shape[1:] == (None,))
                 and not isinstance(step.operation, layers.Embedding)}
    return side


def _is_join(step: Step) -> bool:
    """Whether `step` joins several layers."""
    return len([source for source in step.inputs
                if isinstance(source.operation, layers.Layer)]) > 1


def _is_small(step: Step) -> bool:
    layer = step.operation
    if isinstance(layer, layers.Concatenate):  # a grey image in several channels
        return len(step.inputs) == 1
    if isinstance(layer, layers.Multiply):  # by a mask
        return step.name.endswith("masked")
    if isinstance(layer, layers.Identity):  # the end of operations, such as a channel shuffle
        return all(isinstance(source.operation, layers.Layer) for source in step.inputs)
    return isinstance(layer, _SMALL) or type(layer).__name__.startswith("Random")


def _leads(step: Step, source: Step, users: dict[Step, list[Step]]) -> bool:
    """Whether `step`, after `source`, belongs to the layer after it: by its name, or as padding."""
    following = users[step]
    if len(following) != 1 or not following[0].inputs == [step]:
        return False
    if isinstance(step.operation, _PADDINGS):
        return True
    if isinstance(source.operation, layers.InputLayer):
        return False
    prefix = step.name.rpartition("_")[0]
    last = following[0]
    while last and _is_small(last) and users[last] and len(users[last]) == 1:
        last = users[last][0]
    return bool(prefix) and last.name.rpartition("_")[0] == prefix != (
        source.name.rpartition("_")[0]) and not _is_small(last) and not _is_join(last)


_KINDS: dict[str, str] = {
    "Conv1D": "conv", "Conv2D": "conv", "Conv3D": "conv", "SeparableConv1D": "conv",
    "SeparableConv2D": "conv", "Conv1DTranspose": "conv", "Conv2DTranspose": "conv",
    "DepthwiseConv1D": "depthwise", "DepthwiseConv2D": "depthwise", "Dense": "dense",
    "Embedding": "embedding", "Add": "add", "Multiply": "multiply", "Concatenate": "concat",
    "InputLayer": "input", "BatchNormalization": "norm", "LayerNormalization": "norm",
    "GroupNormalization": "norm", "ReLU": "activation", "Activation": "activation",
}
_POOLS = {"MaxPooling": "max pool", "AveragePooling": "avg pool"}
_DETAILS = {"BatchNormalization": "BN", "LayerNormalization": "LN", "Dropout": "dropout",
            "SpatialDropout2D": "dropout", "SpatialDropout1D": "dropout", "Softmax": "softmax",
            "LeakyReLU": "leaky ReLU", "ELU": "ELU", "PReLU": "PReLU"}
_ACTIVATIONS = {"relu": "ReLU", "relu6": "ReLU6", "hard_swish": "h-swish", "hard_silu": "h-swish",
                "silu": "swish", "hard_sigmoid": "h-sigmoid"}


def _node(part: _Part, seen: set[keras.layers.Layer]) -> Node:
    main = part.main
    kind, label = _kind_and_label(main)
    own = list(dict.fromkeys(step.operation for step in part.steps
                             if isinstance(step.operation, layers.Layer)
                             and step.operation not in seen))
    seen.update(own)
    last = [step for step in part.steps if step is main or step.shape[2:] != (1,) and not
            isinstance(step.operation, (layers.Flatten, layers.Reshape))][-1]
    details = [word for step in part.steps for word in _details(step, main)]
    return Node(main.name, label, ", ".join(details), kind, [layer.name for layer in own],
                _stage(main), "", tuple(last.shape[1:]),
                sum(layer.count_params() for layer in own), sum(map(multiply_adds, own)),
                last.field)


def _kind_and_label(step: Step) -> tuple[str, str]:
    """Return the kind of a node and what is written in it."""
    layer, shape = step.operation, step.shape
    name = type(layer).__name__
    kind = _KINDS.get(name, "other")
    stride = _stride(layer)
    if kind == "input":
        size = "x".join(str(n or "n") for n in shape[1:])
        return kind, f"{layer.name}, {size}" if len(shape) > 2 else layer.name
    if kind in ("conv", "depthwise"):
        return kind, _convolution(layer, name, stride)
    if kind == "dense":
        return kind, f"fc, {layer.units}"
    if kind == "embedding":
        return kind, f"embedding, {layer.output_dim}"
    if kind == "multiply" and step.name.endswith("lrn"):  # see zoo.blocks.local_response_norm
        return "norm", "LRN"
    if kind in ("add", "multiply") and len(step.inputs) > 1:
        return kind, "+" if kind == "add" else "\N{MULTIPLICATION SIGN}"
    if kind == "concat":
        return kind, f"concat, {shape[-1]}"
    for begin, words in _POOLS.items():
        if name.startswith(begin):
            return "pool", f"{_size(layer.pool_size)} {words}{stride}"
        if name.startswith(f"Global{begin}"):
            return "pool", "max over time" if len(layer.input.shape) == 3 and begin[0] == "M" else (
                f"global {words}")
    if name == "Dot":
        return "pool", "mean over time"
    if step.name.endswith("shuffle"):
        return "shuffle", "channel shuffle"
    if kind == "norm":
        return kind, " ".join(_details(step, None)) or name
    if kind == "activation":
        return kind, " ".join(_details(step, None)) or name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return kind, words


def _convolution(layer: Any, name: str, stride: str) -> str:
    size = _size(layer.kernel_size)
    if name.startswith("Depthwise"):
        return f"{size} depthwise{stride}"
    kind = "separable" if name.startswith("Separable") else "conv"
    if name.endswith("Transpose"):
        kind = "up-conv"
    words = f"{size} {kind}, {layer.filters}{stride}"
    if getattr(layer, "groups", 1) > 1:
        words += f", {layer.groups} groups"
    if max(_pair(layer.dilation_rate)) > 1:
        words += f", dilated {max(_pair(layer.dilation_rate))}"
    return words


def _stride(layer: Any) -> str:
    strides = set(_pair(getattr(layer, "strides", 1)))
    if strides == {1}:
        return ""
    return f", /{'x'.join(map(str, strides if len(strides) == 1 else layer.strides))}"


def _size(window: Any) -> str:
    window = _pair(window)
    return f"{window[0]}-wide" if len(window) == 1 else "x".join(map(str, window))


def _pair(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _details(step: Step, main: Step | None) -> list[str]:
    """Return the words for a layer inside a node, or for the activation of its main layer."""
    layer = step.operation
    name = type(layer).__name__
    if step is not main and name in _DETAILS:
        return [_DETAILS[name]]
    if isinstance(layer, layers.ReLU) and not step.name.endswith("clip"):
        return ["ReLU" if layer.max_value is None else f"ReLU{layer.max_value:g}"]
    activation = getattr(layer, "activation", None)
    if activation is None or not isinstance(layer, layers.Layer):
        return []
    word = keras.activations.serialize(activation)
    word = word if isinstance(word, str) else type(activation).__name__
    return [] if word == "linear" else [_ACTIVATIONS.get(word, word)]


def _is_automatic(step: Step) -> bool:
    """Whether Keras named the layer, as conv2d_3."""
    plain = re.sub(r"_\d+$", "", step.name)
    return plain == re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(step.operation).__name__).lower()


def _stage(step: Step) -> str:
    if _is_automatic(step) or step.name in ("image", "tokens", "logits", "features"):
        return ""
    return step.name.split("_")[0]


# Blocks, and those that are equal.

def _name_blocks(nodes: list[Node]) -> None:
    """Set the block of each node: two words that two nodes or more begin with, one after another.

    The block of stage2_block1_a_conv is stage2_block1.
    """
    names = {node.id: "_".join(node.id.split("_")[:2]) if node.stage and node.id.count("_") > 1
             else "" for node in nodes}
    runs: list[list[Node]] = []
    for node in nodes:
        if runs and names[node.id] and names[runs[-1][-1].id] == names[node.id]:
            runs[-1].append(node)
        else:
            runs.append([node])
    counts = collections.Counter(names[run[0].id] for run in runs)
    for run in runs:
        if len(run) > 1 and counts[names[run[0].id]] == 1:
            for node in run:
                node.block = names[run[0].id]


_Links = list[tuple[Node, Node]]


def _collapse(nodes: list[Node], links: _Links) -> tuple[list[Node], _Links, dict[str, int]]:
    """Join equal blocks in a row; return nodes, links, and {block: how many it stands for}."""
    blocks: dict[str, list[Node]] = {}
    for node in nodes:
        if node.block:
            blocks.setdefault(node.block, []).append(node)
    shapes = {name: _signature(inside, links) for name, inside in blocks.items()}
    replaced: dict[Node, Node] = {}
    repeats: dict[str, int] = {}
    kept, previous = None, set()  # the block to join with, and where the last one ends
    for name, inside in blocks.items():
        entry = {source for source, target in links if target in inside and source not in inside}
        exits = {source for source, target in links if source in inside and target not in inside}
        if (kept and shapes[name] == shapes[kept] and len(exits) == 1
                and entry == previous and inside[0].stage == blocks[kept][0].stage):
            repeats[kept] = repeats.get(kept, 1) + 1
            for first, node in zip(blocks[kept], inside, strict=True):
                replaced[node] = first
                first.layers += node.layers
                first.params += node.params
                first.multiply_adds += node.multiply_adds
                first.field, first.output = node.field, node.output
                if first.kind == "concat":
                    first.label = node.label
        else:
            kept = name
        previous = exits
    remaining = [node for node in nodes if node not in replaced]
    inner = {name: set(inside) for name, inside in blocks.items()}
    joined: dict[tuple[Node, Node], None] = {}
    for source, target in links:
        if target in replaced and source not in inner[target.block]:
            continue  # from one repetition to the next
        if target in replaced:
            continue
        joined[replaced.get(source, source), target] = None
    return remaining, list(joined), repeats


def _signature(inside: list[Node], links: _Links) -> tuple:
    """Return what two blocks have in common if they are equal."""
    place = {node: number for number, node in enumerate(inside)}
    labels = tuple(node.kind if node.kind == "concat" else node.label for node in inside)
    edges = tuple(sorted((place.get(source, -1), place[target]) for source, target in links
                         if target in place))
    return labels, edges


# The layout.

_NARROW, _WIDE = set(" .,:;|!'ijlftr/()[]-"), set("mwMWx+_QOG")


def text_width(text: str, size: float = FONT) -> float:
    """Return about how wide a text is in a sans-serif font, at least as wide as DejaVu Sans."""
    ems = sum(0.42 if c in _NARROW else 0.80 if c in _WIDE or c.isupper() else 0.65 for c in text)
    return ems * size


def _measure(node: Node, style: str) -> None:
    if node.kind in ("add", "multiply") and len(node.label) == 1:
        node.width = node.height = CIRCLE
        return
    lines = lines_of(node, style)
    node.width = max(text_width(lines[0]), *(text_width(line, FONT - 1.5) for line in lines[1:]),
                     44.0) + 12
    node.height = 16.0 + 9.0 * (len(lines) - 1)


def lines_of(node: Node, style: str) -> list[str]:
    """Return what is written in a box: its label and, in the style "layers", details and shape."""
    if style == "blocks" or node.kind in ("add", "multiply"):
        return [node.label]
    shape = "x".join(str(n or "n") for n in node.output)
    if node.kind in ("input", "dense"):  # the label has it
        shape = ""
    return [node.label, *filter(None, [node.detail, shape])]


@dataclasses.dataclass
class _Box:
    """A laid-out piece: what it reaches to the left and right of its axis, and its height.

    `place(x, y)` puts it with its axis at x and its top at y.
    """

    left: float
    right: float
    height: float
    place: Callable[[float, float], None]
    inside: list[Node]


class _Layout:
    """Sets the positions of nodes: series and branches by recursion, see the module's docstring."""

    def __init__(self, nodes: list[Node], links: _Links):
        self.nodes = nodes
        self.order = {node: number for number, node in enumerate(nodes)}
        self.after: dict[Node, list[Node]] = {node: [] for node in nodes}
        self.before: dict[Node, list[Node]] = {node: [] for node in nodes}
        for source, target in links:
            self.after[source].append(target)
            self.before[target].append(source)
        self.lanes: dict[tuple[Node, Node], float] = {}  # the x of shortcuts
        self.beside: set[tuple[Node, Node]] = set()  # enter their target from the right
        self.joins: set[tuple[Node, Node]] = set()  # turn before their target, not at their source
        self.lines: dict[tuple[Node, Node], list[tuple[float, float]]] = {}  # of the layers

    def draw(self) -> list[Edge]:
        """Set the positions of all nodes; return the edges with their lines."""
        trunk, sides = self._split_sides()
        self._between(trunk, None, None).place(0.0, 0.0)
        right = max(node.x + node.width for node in trunk)
        right = max([right, *self.lanes.values()]) + SIDE
        above: list[Node] = []
        for root, members in sides:  # one below another, or in columns if there is no room
            box = self._between(members, None, None)
            top = root.y + root.height + GAP
            if above and top < max(node.y + node.height for node in above) + GAP:
                right = max(node.x + node.width for node in above) + SIDE
            box.place(right + LANE + box.left, top)
            above = members
        return [self._edge(source, target, {root for root, _ in sides})
                for source in self.nodes for target in self.after[source]]

    def _split_sides(self) -> tuple[list[Node], list[tuple[Node, list[Node]]]]:
        """Return the nodes on the way to the main output, and [(where it starts, side branch)]."""
        ends = [node for node in self.nodes if not self.after[node]]
        main = next((node for node in ends if "logits" in node.layers), ends[-1])
        trunk, todo = set(), [main]
        while todo:
            node = todo.pop()
            if node not in trunk:
                trunk.add(node)
                todo += self.before[node]
        self.trunk = trunk
        sides = []
        for members in self._components([node for node in self.nodes if node not in trunk]):
            roots = [source for node in members for source in self.before[node] if source in trunk]
            sides.append((roots[0] if roots else main, members))
        sides.sort(key=lambda side: self.order[side[0]])
        return [node for node in self.nodes if node in trunk], sides

    def _components(self, nodes: Sequence[Node]) -> list[list[Node]]:
        """Return the connected pieces of `nodes`, each in order."""
        left, pieces = dict.fromkeys(nodes), []
        while left:
            todo, piece = [next(iter(left))], set()
            while todo:
                node = todo.pop()
                if node in left:
                    del left[node]
                    piece.add(node)
                    todo += self.before[node] + self.after[node]
            pieces.append(sorted(piece, key=self.order.__getitem__))
        return pieces

    def _cuts(self, nodes: list[Node], first: Node | None, last: Node | None) -> list[Node]:
        """Return the nodes that every way from `first` to `last` through `nodes` passes."""
        place = {node: number for number, node in enumerate(nodes)}
        entries = [place[node] for node in nodes
                   if first in self.before[node] or not any(s in place for s in self.before[node])]
        exits = [place[node] for node in nodes
                 if last in self.after[node] or not any(t in place for t in self.after[node])]
        reach, cuts = -1, []
        for number, node in enumerate(nodes):
            if reach <= number and max(entries) <= number <= min(exits):
                cuts.append(node)
            reach = max([reach, *(place[t] for t in self.after[node] if t in place)])
        return cuts

    def _between(self, nodes: list[Node], first: Node | None, last: Node | None) -> _Box:
        """Lay out connected `nodes` between two others: in series where all ways meet."""
        cuts = self._cuts(nodes, first, last)
        if not cuts:
            return self._layered(nodes, first, last)
        items: list[Node | _Box] = []
        ends = [first, *cuts, last]
        place = {node: number for number, node in enumerate(nodes)}
        numbers = [-1, *(place[cut] for cut in cuts), len(nodes)]
        for number, (start, end) in enumerate(zip(ends, ends[1:])):
            interior = nodes[numbers[number] + 1:numbers[number + 1]]
            if interior:
                direct = start is not None and end in self.after[start]
                items.append(self._parallel(self._components(interior), start, end, direct))
            if number < len(cuts):
                items.append(cuts[number])
        if last is not None:
            self.joins.add((cuts[-1], last))
        return self._series(items)

    def _series(self, items: list[Any]) -> _Box:
        boxes = [item for item in items if isinstance(item, Node) and item.width > CIRCLE]
        for node in boxes:
            node.width = max(other.width for other in boxes)
        gaps = [0.0]
        for above, below in zip(items, items[1:]):
            ends = (above if isinstance(above, Node) else above.inside[-1],
                    below if isinstance(below, Node) else below.inside[0])
            gaps.append(GAP + sum(FRAME for each in ("stage", "block")
                                  for end in ends if getattr(end, each)
                                  and getattr(ends[0], each) != getattr(ends[1], each)))
        reaches = [(item.width / 2, item.width / 2) if isinstance(item, Node) else
                   (item.left, item.right) for item in items]

        def place(x: float, y: float) -> None:
            for gap, item in zip(gaps, items, strict=True):
                y += gap
                if isinstance(item, Node):
                    item.x, item.y = x - item.width / 2, y
                else:
                    item.place(x, y)
                y += item.height
        inside = [node for item in items
                  for node in ([item] if isinstance(item, Node) else item.inside)]
        return _Box(max(left for left, _ in reaches), max(right for _, right in reaches),
                    sum(gaps) + sum(item.height for item in items), place, inside)

    def _parallel(self, pieces: list[list[Node]], first: Node | None, last: Node | None,
                  direct: bool) -> _Box:
        """Lay out branches side by side, and a direct edge in a lane at their right."""
        if last is not None:
            rank = {node: number for number, node in enumerate(self.before[last])}
            pieces = sorted(pieces, key=lambda piece: min(
                (rank[node] for node in piece if node in rank), default=0))
        boxes = [self._between(piece, first, last) for piece in pieces]
        joins = last is not None and last.kind in ("add", "multiply")
        gate = last is not None and last.kind == "multiply" and direct and len(boxes) == 1
        beside = joins and not direct and len(boxes) == 2
        if beside and len(pieces[0]) < len(pieces[1]):
            pieces, boxes = pieces[::-1], boxes[::-1]
        height = max(box.height for box in boxes)
        offsets, right = [], LANE + SIDE if gate else 0.0
        for box in boxes:
            offsets.append(right + box.left)
            right += box.left + box.right + SIDE
        right -= SIDE
        axis = 0.0 if gate else offsets[0] if beside or len(boxes) == 1 else right / 2
        lane = right - axis + LANE

        def place(x: float, y: float) -> None:
            for box, offset in zip(boxes, offsets, strict=True):
                spare = height - box.height
                box.place(x - axis + offset, y + (spare / 2 if joins else spare))
            if direct and not gate and first is not None and last is not None:
                self.lanes[first, last] = x + lane
            for piece in pieces if gate else pieces[1:] if beside else []:
                self.beside.update((node, end) for node in piece for end in self.after[node]
                                   if end is last)
        return _Box(axis, lane if direct and not gate else right - axis, height, place,
                    [node for box in boxes for node in box.inside])

    def _layered(self, nodes: list[Node], first: Node | None, last: Node | None) -> _Box:
        """Lay out in layers what is neither in series nor parallel; long edges pass between."""
        level: dict[Node, int] = {}
        for node in nodes:
            level[node] = max((level[s] + 1 for s in self.before[node] if s in level), default=0)
        rows: list[list[Any]] = [[] for _ in range(max(level.values()) + 1)]
        for node in nodes:
            rows[level[node]].append(node)
        chains: dict[tuple[Node, Node], list[Any]] = {}
        ends = dict.fromkeys([*([first] if first else []), *nodes])
        for source in ends:
            for target in self.after[source]:
                if target in level or target is last and source is not first:
                    passed = range(level.get(source, -1) + 1, level.get(target, len(rows)))
                    chains[source, target] = [(source.id, target.id, row) for row in passed]
                    for row, bend in zip(passed, chains[source, target], strict=True):
                        rows[row].append(bend)
        above: dict[Any, list[Any]] = collections.defaultdict(list)
        for (source, target), bends in chains.items():
            for upper, lower in zip([source, *bends], [*bends, target]):
                above[lower].append(upper)
        for upper_row, lower_row in zip(rows, rows[1:]):
            place_of = {item: number for number, item in enumerate(upper_row)}
            lower_row.sort(key=lambda item: sum(  # noqa: B023 - used at once
                place_of.get(u, 0) for u in above[item]) / max(len(above[item]), 1))

        def width(item: Any) -> float:
            return item.width if isinstance(item, Node) else LANE
        widths = [sum(map(width, row)) + SIDE * (len(row) - 1) for row in rows]
        heights = [max(item.height for item in row if isinstance(item, Node)) for row in rows]

        def place(x: float, y: float) -> None:
            bends: dict[Any, list[tuple[float, float]]] = {}
            for row, total, height in zip(rows, widths, heights, strict=True):
                left = x - total / 2
                for item in row:
                    if isinstance(item, Node):
                        item.x, item.y = left, y
                    else:
                        middle = left + LANE / 2
                        bends[item] = [(middle, y), (middle, y + height)]
                    left += width(item) + SIDE
                y += height + GAP
            for pair, chain in chains.items():
                self.lines[pair] = [point for bend in chain for point in bends[bend]]
        return _Box(max(widths) / 2, max(widths) / 2, sum(heights) + GAP * (len(rows) - 1), place,
                    nodes)

    def _edge(self, source: Node, target: Node, roots: set[Node]) -> Edge:
        """Return the edge between two nodes that stand, with its line."""
        x, to = source.x + source.width / 2, target.x + target.width / 2
        bottom, middle = source.y + source.height, target.y + target.height / 2
        pair, right = (source, target), target.x + target.width
        edge = Edge(source.id, target.id)
        if pair in self.lines:
            edge.points = [(x, bottom), *self.lines[pair], (to, target.y)]
        elif source in self.trunk and target not in self.trunk:
            side = source.y + source.height / 2
            edge.points = [(source.x + source.width, side), (to, side), (to, target.y)]
        elif pair in self.lanes:
            lane, turn = self.lanes[pair], self._fork(source)
            edge.points = [(x, bottom), (x, turn), (lane, turn), (lane, middle), (right, middle)]
            edge.shortcut = True
        elif abs(x - to) < 0.01:
            edge.points = [(x, bottom), (to, target.y)]
        elif pair in self.beside:
            edge.points = [(x, bottom), (x, middle), (right, middle)]
        elif pair in self.joins:
            turn = (target.y + max(s.y + s.height for s in self.before[target]
                                   if (s, target) not in self.lanes)) / 2
            edge.points = [(x, bottom), (x, turn), (to, turn), (to, target.y)]
        else:
            turn = self._fork(source)
            edge.points = [(x, bottom), (x, turn), (to, turn), (to, target.y)]
        return edge

    def _fork(self, source: Node) -> float:
        """Return the y at which the lines from a node part."""
        tops = [target.y for target in self.after[source]
                if (source, target) not in self.lanes and target in self.trunk]
        bottom = source.y + source.height
        return (bottom + min(tops)) / 2 if tops else bottom + GAP / 2


def _groups(nodes: list[Node], edges: list[Edge], repeats: dict[str, int]) -> list[Group]:
    """Return the rectangles around stages and blocks that hold nothing else."""
    groups = []
    for kind, pad in (("stage", 2 * FRAME - 1), ("block", FRAME)):
        names: dict[str, list[Node]] = {}
        for node in nodes:
            if getattr(node, kind):
                names.setdefault(getattr(node, kind), []).append(node)
        for name, inside in names.items():
            ids = {node.id for node in inside}
            points = [point for edge in edges if edge.target in ids and edge.shortcut
                      for point in edge.points[2:]]
            points += [point for edge in edges if {edge.source, edge.target} <= ids
                       for point in edge.points]
            xs = [x for x, _ in points] + [x for n in inside for x in (n.x, n.x + n.width)]
            ys = [y for n in inside for y in (n.y, n.y + n.height)]
            x, y = min(xs) - pad, min(ys) - pad
            group = Group(name, kind, [node.id for node in inside], repeats.get(name, 1), x, y,
                          max(xs) + pad - x, max(ys) + pad - y)
            if not any(_overlap(group, node) for node in nodes if node.id not in ids):
                groups.append(group)
    return groups


def _overlap(one: Any, other: Any) -> bool:
    return (one.x < other.x + other.width and other.x < one.x + one.width
            and one.y < other.y + other.height and other.y < one.y + one.height)


def _shift(nodes: list[Node], edges: list[Edge], groups: list[Group]) -> tuple[float, float]:
    """Move all to the positive side of 0, 0; return width and height."""
    boxes: list[Any] = [*nodes, *groups]
    points = [point for edge in edges for point in edge.points]
    left = min([box.x for box in boxes] + [x for x, _ in points])
    top = min(box.y for box in boxes)
    for box in boxes:
        box.x, box.y = round(box.x - left, 2), round(box.y - top, 2)
        box.width, box.height = round(box.width, 2), round(box.height, 2)
    for edge in edges:
        edge.points = [(round(x - left, 2), round(y - top, 2)) for x, y in edge.points]
    right = max([box.x + box.width for box in boxes] + [x - left for x, _ in points])
    return right, max(box.y + box.height for box in boxes)
