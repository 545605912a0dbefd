"""A network as a map for a page: its steps, the feature maps of one input, and their arithmetic.

A small network carries all its numbers, so that the page can compute any pixel of any map. Of a
larger one, the page carries the maps that vary most and, on a grid of positions, the exact terms of
each number: the largest products, and the sum of the rest.
"""
import base64
import functools
import io
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from markupsafe import Markup
from PIL import Image

from zoo.diagrams import diagram
from zoo.errors import UserError
from zoo.tables import multiply_adds
from zoo.training.explanation.arithmetic import moved_from, steps_of, strongest, terms_at
from zoo.training.pages.templates import environment
from zoo.training.preprocessing.tokens import Vocabulary

if TYPE_CHECKING:
    from zoo.training.explanation.explainer import Explained

TERMS = 9  # of a number that a large network's page shows by themselves, the largest
_BYTES = 1_600_000  # of the numbers of a page
_SHOWN = (10_000, 16, 8, 4)  # maps of a step, the first that fit; all numbers of these
_SAMPLED = ((4, 8), (4, 7), (3, 7), (2, 7), (2, 5), (1, 5), (1, 4), (1, 3))  # (maps, grid side)
_UNITS = 16  # shown of a vector in a large network
_FILTERS = 8  # shown of each width of a TextCNN
_SIDE = 56  # pixels of a map's picture at most
_OPEN = 26  # steps of a network that is drawn with all its stages open


def of_explained(explained: "Explained") -> Markup:
    """Return the map of an explained network and the first input that was looked into.

    Raises:
        zoo.errors.UserError: if there is none, see `fragment`, the network reads characters, or the
            sentence is empty.
    """
    source, shown = explained.trained, explained.looked_into[0].input
    if isinstance(shown, str) and source.vocabulary:
        return of_sentence(source.model, shown, source.vocabulary, source.recipe.max_tokens,
                           source.class_names)
    return fragment(source.model, np.asarray(shown), source.class_names)


def of_sentence(model: keras.Model, text: str, vocabulary: Vocabulary, max_tokens: int | None,
                class_names: Sequence[str]) -> Markup:
    """Return the map of a network for a sentence; see `fragment`.

    Raises:
        zoo.errors.UserError: if there is none, see `fragment`, the network reads characters, or the
            sentence is empty.
    """
    if vocabulary.unit == "characters":  # of a thousand positions, in reverse or pooled
        raise UserError("There is no map of a network that reads characters.")
    words = vocabulary.split([text], max_tokens)[0]
    if not words:
        raise UserError("There is no map: the sentence has no words.")
    return fragment(model, vocabulary.encode([text], max_tokens)[0], class_names, words)


def fragment(model: keras.Model, example: np.ndarray, class_names: Sequence[str],
             words: Sequence[str] = ()) -> Markup:
    """Return the HTML of a network's map, for a page that has D3: all but D3 in one.

    Args:
        model: of images, from pixels in [0, 255], or a TextCNN, from token ids.
        example: one image (height, width, channels), or int token ids (tokens,).
        class_names: in the order of the model's outputs.
        words: of the sentence.

    Raises:
        zoo.errors.UserError: if the model is not a graph of layers with one input.
    """
    try:
        data = map_data(model, example, class_names, words)
    except TypeError as error:
        raise UserError(f"There is no map of this network: {error}") from None
    packed = base64.b64encode(zlib.compress(json.dumps(data).encode(), 9)).decode()
    template = environment(Path(__file__).parent).get_template("network_map.html")
    return Markup(template.render(data=packed))


def map_data(model: keras.Model, example: np.ndarray, class_names: Sequence[str],
             words: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the page's script draws and computes with, for JSON; see `fragment`."""
    example = np.asarray(example, "int32" if words else "float32")
    steps = steps_of(model, example)
    numbers = {id(step): number for number, step in enumerate(steps)}
    count, side = _choose(steps, words)
    paths = _paths(steps)
    labels = {layer: node for node in diagram(model, "layers").nodes for layer in node.layers}
    filters = _best_filters(steps) if words else {}
    first = {"kind": "text", "words": list(words)} if words else {"kind": "image"}
    return {
        "input": first, "classes": list(class_names), "exact": side is None,
        "open": sum(not step.hidden for step in steps) <= _OPEN,
        "output": len(steps) - 1, "logits": _floats(_logits(steps[-1])),
        "steps": [{"path": path, "label": _label(step, labels),
                   "sources": [numbers[id(source)] for source in step.sources],
                   "best": id(step) in filters,
                   **_entry(step, _shown(step, steps, count, side, filters), side)}
                  for step, path in zip(steps, paths, strict=True)]}


def _logits(step):
    """The outputs of the last step, before a softmax."""
    if step.kernel is None or ("softmax", {}) not in step.after:
        return step.values.ravel()
    logits = np.tensordot(step.sources[0].values, step.kernel, 3)
    return logits + sum(options["by"] for name, options in step.after if name == "bias")


def _label(step, labels):
    """What a drawing writes into the step, such as "3x3 conv, 64, /2, BN, ReLU"."""
    name = step.nodes[0].operation.name
    node = labels.get(name)
    if node is None or node.id != name:
        return ""
    return ", ".join(text for text in (node.label, node.detail) if text)


def _choose(steps, words):
    """How many maps of a step are shown, and the side of the grid; None if all is there."""
    if words:
        return _SHOWN[1], None
    for count in _SHOWN:
        size = sum(4 * step.values.size for step in steps)
        for step in steps:
            if step.kernel is not None:
                shown = min(count, step.kernel.shape[3])
                size += 4 * step.kernel[..., 0].size * shown
        if size <= _BYTES:
            return count, None
    for count, side in _SAMPLED:
        records = 0
        for step in steps:
            height, width, channels = step.shape
            maps = _UNITS if height * width == 1 else count
            records += min(height, side) * min(width, side) * min(channels, maps)
        if records * (4 + TERMS * 10) <= _BYTES:
            break
    return count, side


def _shown(step, steps, count, side, filters):
    """The channels of a step that are shown."""
    if id(step) in filters:
        return filters[id(step)]
    if step.shape[:2] == (1, 1) and side is not None:
        count = max(count, _UNITS)
    if step is steps[-1] and side is not None:  # the most probable classes
        return np.sort(np.argsort(-step.values[0, 0], kind="stable")[:count]).tolist()
    return list(range(step.shape[2])) if count >= step.shape[2] else strongest(step.values, count)


def _best_filters(steps):
    """{id of a step: filters} of a TextCNN, those that add most to the predicted class's logit."""
    last = steps[-1]
    if last.kernel is None or last.sources[0].kind not in ("concat", "max"):
        return {}
    pooled = last.sources[0]
    added = pooled.values[0, 0] * last.kernel[0, 0, :, last.values[0, 0].argmax()]
    chosen, offset, every = {}, 0, []
    for source in pooled.sources if pooled.kind == "concat" else [pooled]:
        size = source.shape[2]
        best = np.sort(np.argsort(-added[offset:offset + size], kind="stable")[:_FILTERS]).tolist()
        every += [offset + number for number in best]
        while source.kind != "embedding" and source.shape[2] == size:
            chosen[id(source)] = best
            if not source.sources or source.kind == "conv":
                break
            source = source.sources[0]
        offset += size
    return {**chosen, id(pooled): every}


def _paths(steps):
    """The groups of each step, such as ["stage2", "block1"]: runs of layers named alike."""
    visible = [step for step in steps if not step.hidden]
    names = {id(step): step.nodes[0].operation.name.split("_") for step in visible}
    paths: dict[int, list[str]] = {id(step): [] for step in steps}
    for level in (0, 1):
        runs = [(key, list(run)) for key, run in itertools.groupby(visible, functools.partial(
            lambda level, step: (*paths[id(step)], *names[id(step)][:level + 1]), level))]
        keys = [key for key, _ in runs]
        for key, run in runs:
            inside = sum(other[:level] == key[:level] for other in keys)
            if len(run) > 1 and keys.count(key) == 1 and inside > 1 and len(key) == 2 * level + 1:
                for step in run:
                    paths[id(step)].append("_".join(names[id(step)][:level + 1]))
    return [paths[id(step)] for step in steps]


def _entry(step, channels, side):
    cost = sum(multiply_adds(node.operation) for node in step.nodes
               if isinstance(node.operation, keras.layers.Layer))
    entry = {
        "name": step.nodes[0].operation.name, "layers": step.layers, "kind": step.kind,
        "shape": step.shape, "params": step.params, "cost": cost, "hidden": step.hidden,
        "channels": channels, "options": step.options,
        "fields": [_ints(field) for field in step.fields],
        "after": [[name, {key: _parameter(value, channels) for key, value in options.items()}]
                  for name, options in step.after]}
    if step.geometry:
        entry["geometry"] = {key: step.geometry[key] for key in
                             ("kernel", "strides", "dilation", "pad", "groups")}
        share = 1 if step.kernel is None else step.kernel.shape[2]
        each = step.shape[2] if step.kernel is None else (
            step.kernel.shape[3] // step.geometry["groups"])
        entry["geometry"] |= {"share": share, "first": [
            channel // each * share if step.kernel is not None else channel
            for channel in channels]}
    if not step.hidden and not (step.kind == "input" and step.shape[1:] == (1, 1)):
        entry["maps"], entry["cell"] = _sprite(step, channels)
    if side is None:
        entry["values"] = _floats(step.values)
        if step.kernel is not None:
            entry["kernel"] = _floats(np.moveaxis(step.kernel[..., channels], -1, 0))
        if step.kind == "move" and not step.hidden:
            entry["moved"] = _ints(moved_from(step)[..., channels], "int32")
    elif step.kind != "input" and not step.hidden:
        rows, columns = (_grid(length, side) for length in step.shape[:2])
        entry |= {"rows": rows, "columns": columns, **_records(step, channels, rows, columns)}
    return entry


def _grid(length, side):
    """Up to `side` positions of `length`, evenly spread."""
    if length <= side:
        return list(range(length))
    return [(2 * number + 1) * length // (2 * side) for number in range(side)]


def _records(step, channels, rows, columns):
    """The terms of each number on the grid: the largest by the absolute value of their products."""
    shape = (len(channels), len(rows), len(columns))
    inputs, weights = (np.zeros((*shape, TERMS), "float32") for _ in range(2))
    indices = np.full((*shape, TERMS), -1, "int32")
    rest = np.zeros(shape, "float32")
    for place in np.ndindex(shape):
        terms = terms_at(step, channels[place[0]], rows[place[1]], columns[place[2]])
        products = terms.inputs * terms.weights
        order = np.arange(len(products))
        if len(order) > TERMS:
            largest = products if step.kind == "max" else np.abs(products)
            order = np.argpartition(-largest, TERMS)[:TERMS]
            order = order[np.argsort(-largest[order], kind="stable")]
            rest[place] = products.sum() - products[order].sum()
        inputs[place][:len(order)] = terms.inputs[order]
        weights[place][:len(order)] = terms.weights[order]
        indices[place][:len(order)] = terms.indices[order]
    return {"inputs": _floats(inputs), "weights": _floats(weights),
            "indices": _ints(indices, "int32"), "rest": _floats(rest)}


def _parameter(value, channels):
    """A number, or the numbers of the shown channels."""
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return float(value)
        value = np.broadcast_to(value, max(value.size, max(channels) + 1))
        return {"floats": _floats(value[channels])}
    return value


def _sprite(step, channels):
    """The shown maps side by side as a PNG file, each from its minimum to its maximum."""
    maps = step.values[..., channels]
    if step.kind == "input":  # one picture, in colours if it has three
        pixels = step.values
        if pixels.shape[2] not in (1, 3):
            pixels = pixels.mean(axis=2, keepdims=True)
        low, high = pixels.min(), pixels.max()
        if low < 0 or not 1 < high <= 255:  # a model of one's own may take other ranges
            pixels = 255 * (pixels - low) / max(high - low, 1e-12)
        pixels = pixels.astype("uint8")
        return _png(pixels), [pixels.shape[1], pixels.shape[0]]
    vector = maps.shape[0] * maps.shape[1] == 1
    axes = (0, 1, 2) if vector else (0, 1)
    low, high = maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)
    grey = (255 * (maps - low) / np.maximum(high - low, 1e-12)).astype("uint8")
    pictures = [Image.fromarray(np.ascontiguousarray(grey[..., number]))
                for number in range(grey.shape[2])]
    for picture in pictures:
        if max(picture.size) > _SIDE:
            picture.thumbnail((_SIDE, _SIDE))
    width, height = pictures[0].size
    return _png(np.concatenate([np.asarray(picture) for picture in pictures], axis=1)), [
        width, height]


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels).save(
        file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _floats(values):
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _ints(values, dtype="int16"):
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()
