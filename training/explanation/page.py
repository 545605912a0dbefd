"""The page of `zoo explain`: one self-contained HTML file, light or dark, for desktop and phone."""
import base64
import functools
import io
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from zoo.registry import spec
from zoo.tables import layer_table, total_multiply_adds
from zoo.training import figures
from zoo.training.explanation.explainer import Explained
from zoo.training.explanation.grad_cam import overlay
from zoo.training.explanation.kernels import GAIN, Filtered
from zoo.training.explanation.ngrams import has_windows
from zoo.training.explanation.pictures import png

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
    sections = ["N-grams"] if source.vocabulary else [
        "First-layer filters", "Feature maps", "Grad-CAM"]
    context = {}
    if explained.history:
        sections = ["Training curves", "Confusion matrix", "Precision and recall", "Errors",
                    *sections]
        best = source.metrics["best_epoch"]["epoch"]
        curves = [_svg(functools.partial(figures.curve, explained.history, name, best), name,
                       f"{name} over the epochs") for name in ("loss", "accuracy")]
        matrix = np.array(source.metrics["test_confusion"])
        context = {"curves": curves, **_confusion(matrix, source.class_names)}
    rows, many = explained.per_class, len(explained.per_class) > figures.MATRIX_CLASSES
    if many:
        rows = sorted(rows, key=lambda row: row["f1"])
    paper = spec(source.recipe.model).paper
    return _render(
        title=source.name, facts=_facts(explained), explained=explained,
        origin=f"{source.recipe.model} ({paper}) trained on {source.recipe.data}",
        sections=[*sections, "Layers"], has_windows=has_windows(source.model),
        confused=[(pair["true"], pair["predicted"], f"{pair['count']:,}", f"{pair['share']:.1%}")
                  for pair in explained.confused],
        scores=[(row["class"], f"{row['precision']:.3f}", f"{row['recall']:.3f}",
                 f"{row['f1']:.3f}", f"{row['examples']:,}") for row in rows],
        lowest_first=many, class_ngrams=[
            [(ngram.words or "(padding)", f"{ngram.added:+.3f}") for ngram in best]
            for best in explained.ngrams],
        layer_head=_LAYERS, layers=_layers(source.model), **context)


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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(data_uri=_data_uri, overlay=overlay)
    return environment.get_template("page.html").render(context)


def _data_uri(pixels, side):
    return f"data:image/png;base64,{base64.b64encode(png(pixels, side)).decode()}"


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
    unit = "token" if source.vocabulary else "image"
    facts = {"classes": f"{len(source.class_names):,}",
             "params": f"{source.model.count_params():,}",
             f"multiply-adds of one {unit}": f"{total_multiply_adds(source.model):,}"}
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
