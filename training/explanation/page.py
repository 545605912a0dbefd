"""The page of `zoo explain`: one self-contained HTML file, light or dark, for desktop and phone."""
import functools
import io
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from zoo.errors import UserError
from zoo.registry import spec
from zoo.tables import layer_table, total_multiply_adds
from zoo.training import figures
from zoo.training.explanation.explainer import Explained
from zoo.training.explanation.grad_cam import overlay
from zoo.training.explanation.kernels import GAIN, Filtered
from zoo.training.explanation.network_map import fragment, of_explained
from zoo.training.explanation.ngrams import has_windows
from zoo.training.explanation.pictures import png, smallest
from zoo.training.pages.templates import data_uri, environment

_TOP = 5         # classes whose probabilities are shown for an example
_SMALL = 64      # pixels of an example in a gallery at most
_SENTENCE = 300  # characters of one
_NAME = 16  # characters of a class name beside the picture of a confusion matrix
_LAYERS = ("layer", "type", "maps", "size", "kernel", "stride", "activation", "params",
           "multiply-adds")
_INK = "#010203"  # a colour that no figure uses: it becomes that of the page's text
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "axes.facecolor": "none",
    "legend.framealpha": 0, "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _INK,
    "axes.titlecolor": _INK, "xtick.color": _INK, "ytick.color": _INK}


def run_page(explained: Explained) -> str:
    """Return the HTML page of an explained network."""
    source = explained.trained
    try:
        network = of_explained(explained)
    except UserError as error:
        network = Markup("<p>%s</p>") % str(error)
    sections = ["N-grams"] if source.vocabulary else [
        "First-layer filters", "Feature maps", "Where the network looks"]
    context: dict[str, Any] = {}
    if explained.history:
        sections = ["Training curves", "Confusion matrix", "Precision and recall", "Top losses",
                    "Map of examples", *sections]
        if not source.vocabulary:
            sections.append("Augmented batch")
        best = source.metrics["best_epoch"]["epoch"]
        curves = [_svg(functools.partial(figures.curve, explained.history, name, best), name,
                       f"{name} over the epochs") for name in ("loss", "accuracy")]
        matrix = np.array(source.metrics["test_confusion"])
        context = {"curves": curves, **_confusion(matrix, source.class_names),
                   "augmentation": _augmentation(source.recipe.augment),
                   "results": _results(explained, matrix, best)}
    rows, many = explained.per_class, len(explained.per_class) > figures.MATRIX_CLASSES
    if many:
        rows = sorted(rows, key=lambda row: row["f1"])
    paper = spec(source.recipe.model).paper
    return _render(
        title=source.name, facts=_facts(explained), explained=explained,
        origin=f"{source.recipe.model} ({paper}) trained on {source.recipe.data}",
        network=network, sections=[*sections, "Layers"], has_windows=has_windows(source.model),
        confused=[(pair["true"], pair["predicted"], f"{pair['count']:,}", f"{pair['share']:.1%}")
                  for pair in explained.confused],
        scores=[(row["class"], f"{row['precision']:.3f}", f"{row['recall']:.3f}",
                 f"{row['f1']:.3f}", f"{row['examples']:,}") for row in rows],
        lowest_first=many, class_ngrams=[
            [(ngram.words or "(padding)", f"{ngram.added:+.3f}") for ngram in best]
            for best in explained.ngrams],
        layer_head=_LAYERS, layers=_layers(source.model), **context)


def model_page(model: keras.Model, example: np.ndarray, class_names: Sequence[str],
               words: Sequence[str] = ()) -> str:
    """Return the page of any functional or sequential model: its map, for one input.

    Args:
        model: from one image to logits or probabilities, or from token ids.
        example: one image (height, width, channels) as the model takes it, or int token ids.
        class_names: in the order of the model's outputs.
        words: of a sentence.

    Raises:
        zoo.errors.UserError: if the model is not a graph of layers with one input.
    """
    return _render(title=model.name, network=fragment(model, example, class_names, words))


def kernels_page(name: str, shown: list[Filtered]) -> str:
    """Return the page of an image through the classical kernels.

    Args:
        name: of the image.
        shown: see `zoo.training.explanation.kernels.through`.
    """
    weights = [[[str(Fraction(float(weight)).limit_denominator(16)) for weight in row]
                for row in each.kernel] for each in shown]
    return _render(title=f"Classical kernels: {name}", gain=GAIN,
                   kernels=list(zip(shown, weights, strict=True)))


def _render(**context):
    made = environment(Path(__file__).parent)
    made.filters.update(data_uri=_picture, overlay=overlay)
    names = context["explained"].trained.class_names if "explained" in context else []
    made.filters["top"] = lambda prediction: [(names[i], share)
                                              for i, share in _top(prediction.probabilities)]
    return made.get_template("page.html").render(context)


def _picture(pixels, side):
    """A picture as a URI: photographs as WebP, where it is smaller; all else exactly."""
    if pixels.ndim == 3 and pixels.shape[2] == 3 and max(pixels.shape) > _SMALL:
        return data_uri(*smallest(pixels, side))
    return data_uri(png(pixels, side))


def _top(probabilities):
    """The highest probabilities, as pairs of class id and probability."""
    order = np.argsort(-probabilities, kind="stable")[:_TOP]
    return [(int(i), round(float(probabilities[i]), 4)) for i in order]


def _results(explained, matrix, best):
    """What the scripts of the page show: test examples, their map, the matrices of the epochs."""
    names = explained.trained.class_names
    ids = {name: i for i, name in enumerate(names)}
    examples = [{**_shown(each.input), "true": ids[each.true_class],
                 "predicted": ids[each.predicted], "top": _top(each.probabilities)}
                for each in explained.examples]
    few = len(names) <= figures.MATRIX_CLASSES
    pairs = {f"{ids[pair['true']]},{ids[pair['predicted']]}": pair["count"]
             for pair in explained.confused}
    return {"classes": names, "examples": examples, "best": best, "pairs": pairs,
            "matrix": matrix.tolist() if few else None,
            "epochs": [{"epoch": epoch, "matrix": counts.tolist()}
                       for epoch, counts in explained.confusions.items()],
            "positions": {kind: places.round(3).tolist()
                          for kind, places in explained.positions.items()}}


def _shown(example):
    if isinstance(example, str):
        return {"text": example if len(example) <= _SENTENCE else example[:_SENTENCE - 1] + "…"}
    return {"src": data_uri(*smallest(example, _SMALL))}


def _augmentation(augment):
    """The augmentation in words."""
    if not augment:
        return "it has none"
    return ", ".join(name if value is True else f"{name}={value}"
                     for name, value in augment.items())


def _svg(make: Callable[[], Figure], name: str, label: str) -> str:
    """Return a figure as an <svg> whose text has the colour of the page's.

    Args:
        make: returns the figure; called under the style of the page.
        name: prefix of the ids, as several figures number their elements alike.
        label: what it shows, for a screen reader.
    """
    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        make().savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg"):])
    svg = svg.replace("xlink:href", "href").replace(_INK, "currentColor")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _facts(explained):
    source, metrics = explained.trained, explained.trained.metrics
    facts = {"classes": f"{len(source.class_names):,}",
             "params": f"{source.model.count_params():,}",
             f"multiply-adds of one {source.counted_of}": f"{total_multiply_adds(source.model):,}"}
    if "test_accuracy" not in metrics:  # keras.applications' weights
        return facts
    return {"test accuracy": f"{metrics['test_accuracy']:.4f}",
            "test examples": f"{metrics['test_examples']:,}", **facts,
            "epochs": len(explained.history) or source.recipe.epochs,
            "seconds": f"{metrics['seconds']:,}", "seed": metrics["seed"]}


def _confusion(matrix, class_names):
    """The matrix as rows of (count, share) where there is room for its numbers, else as a chart."""
    if len(class_names) <= figures.MATRIX_CLASSES:
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        return {"matrix": [list(zip(*row, strict=True))
                           for row in zip(matrix, shares, strict=True)]}
    short = [name if len(name) <= _NAME else name[:_NAME - 1] + "…" for name in class_names]
    return {"matrix": None, "matrix_chart": _svg(
        lambda: figures.confusion(matrix, short, side=7.5), "confusion", "confusion matrix")}


def _layers(model):
    rows = [(row.layer, row.kind, row.maps, row.size, row.kernel, row.stride, row.activation,
             row.params, row.multiply_adds) for row in layer_table(model)]
    return [[f"{cell:,}" if isinstance(cell, int) else cell or "-" for cell in row] for row in rows]
