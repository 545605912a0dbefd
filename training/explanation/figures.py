"""The pictures of an explained run as matplotlib figures, for a notebook; `zoo explain` shows the same on a page."""
import math

import numpy as np
from matplotlib.figure import Figure

from zoo.training import figures
from zoo.training.explanation import pictures

_COLUMNS = 8


def all_of(explained):
    """Return {name: figure} of all that a `zoo.training.explanation.explainer.Explained` has pictures for."""
    names = explained.trained.class_names
    made = {"curves": figures.curves(explained.history),
            "confusion": figures.confusion(np.array(explained.trained.metrics["test_confusion"]), names),
            "per_class": per_class(explained.per_class)}
    if explained.errors and not explained.trained.vocabulary:
        made["errors"] = errors(explained.errors)
    if explained.filters:
        made["filters"] = grid([(picture, "") for picture in explained.filters], "Filters of the first convolution")
    for stage, (shape, maps) in explained.maps.items():
        title = f"{stage}, {' x '.join(map(str, shape))}"
        made[f"maps_{stage}"] = grid([(picture, "") for picture in maps], title)
    if explained.heats:
        made["grad_cam"] = grid([(picture, f"{name}\n{share:.1%}") for name, share, picture in explained.heats], "Grad-CAM", 3)
    if explained.ngrams:
        made["ngrams"] = ngrams(explained.ngrams, names)
    return made


def grid(shown, title, columns=_COLUMNS):
    """Return a figure of small pictures side by side.

    Args:
        shown: (pixels, caption) pairs; uint8 pixels of shape (height, width) or (height, width, 1 or 3).
        title: of the figure.
        columns: pictures in a row.
    """
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(max(1.3 * columns, 3), 1.5 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (pixels, caption) in zip(figure.axes, shown, strict=False):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=8, parse_math=False)
    return figure


def errors(answers):
    """Return a figure of wrong answers to images: each with its true and its found class and the probability of that."""
    shown = [(answer.question, f"true {answer.true}\nfound {answer.found}, {answer.probability:.0%}") for answer in answers]
    return grid(shown, "The most confident errors", 4)


def filtered(shown):
    """Return a figure of an image through the classical kernels; see `zoo.training.explanation.kernels.through`."""
    return grid(list(shown), "Classical kernels", 4)


def heat(image, values, title=""):
    """Return a figure of an image, uint8 (height, width, 1 or 3), under its heat, see `zoo.training.explanation.images.grad_cam`."""
    return grid([(pictures.heated(image, values), title)], "Grad-CAM")


def per_class(rows):
    """Return a figure of precision, recall and F1 of each class; see `zoo.training.evaluation.per_class`."""
    figure = Figure(figsize=(7, min(1.2 + 0.3 * len(rows), 30)), layout="constrained")
    axes = figure.subplots()
    for key, marker in (("precision", "o"), ("recall", "s"), ("f1", "|")):
        axes.plot([row[key] for row in rows], range(len(rows)), marker, label=key, alpha=0.8)
    axes.set_yticks(range(len(rows)), [row["class"] for row in rows], fontsize=min(9, 1500 / len(rows)), parse_math=False)
    axes.set(xlim=(-0.02, 1.02), title="Precision, recall and F1 of the test part")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def ngrams(of_classes, class_names):
    """Return a figure of the words that spoke most for each class; see `zoo.training.explanation.ngrams.of_classes`."""
    figure = Figure(figsize=(7, 0.6 + sum(0.7 + 0.25 * len(found) for found in of_classes)), layout="constrained")
    heights = [1 + len(found) for found in of_classes]
    rows = figure.subplots(len(of_classes), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name, found in zip(rows, class_names, of_classes, strict=True):
        axes.barh(range(len(found)), [ngram.added for ngram in found])
        axes.set_yticks(range(len(found)), [ngram.words for ngram in found], fontsize=8, parse_math=False)
        axes.set_title(f"{name}: added to the logit", fontsize=9, parse_math=False)
        axes.invert_yaxis()
    return figure
