"""The pictures of a run, as matplotlib figures."""
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

_CELLS = 20  # up to so many classes a confusion matrix shows its numbers
_NAMES = 60  # up to so many, their names; beyond, their places in the order of the classes
_STEEP = 3   # times the largest training loss: above, a validation before batch normalisation has settled is told, not drawn
_SHARES = LinearSegmentedColormap.from_list("shares", [(0.14, 0.39, 0.77, 0), (0.14, 0.39, 0.77, 1)])  # on any ground


def curves(history):
    """Return a figure of loss and accuracy over the epochs.

    Args:
        history: a list of dicts, one an epoch, with the keys epoch, loss, accuracy and, where there is validation data,
            val_loss and val_accuracy.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _curve(axes, history, name)
    return figure


def curve(history, name):
    """Return a figure of "loss" or "accuracy" alone, see `curves`; it is legible on a phone."""
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    _curve(figure.subplots(), history, name)
    return figure


def _curve(axes, history, name):
    epochs, limit = [row["epoch"] for row in history], _STEEP * max(row["loss"] for row in history)
    for key, label in ((name, "training"), (f"val_{name}", "validation")):
        if key in history[0]:
            values = np.array([row[key] for row in history])
            axes.plot(epochs, np.where(values > limit, np.nan, values), marker=".", label=label)
            for place in np.flatnonzero(values > limit):  # a line to there would flatten the rest
                axes.annotate(f"{values[place]:.3g}\u2191", (epochs[place], 1), (5, -3), ("data", "axes fraction"),
                              "offset points", va="top", color=axes.lines[-1].get_color())
    axes.set(xlabel="epoch", ylabel=name, title=name.capitalize())
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.legend()


def confusion(matrix, class_names, side=None):
    """Return a figure of a confusion matrix, coloured by the share of each true class.

    Args:
        matrix: integer array of shape (classes, classes); rows are true classes, columns predicted ones.
        class_names: their names, in order.
        side: of the figure, in inches; by default it grows with the classes. The names are as small as it takes.
    """
    count = len(class_names)
    side = side or min(4 + 0.35 * count, 16)
    size = min(10, 45 * side / count)  # points; the names take up some of the side
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap=_SHARES, vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix of the test part")
    if count <= _NAMES:
        axes.set_xticks(range(count), class_names, fontsize=size, parse_math=False,
                        rotation=0 if max(map(len, class_names)) <= 3 else 90)
        axes.set_yticks(range(count), class_names, fontsize=size, parse_math=False)
    if count <= _CELLS:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=8,
                      color="white" if shares[row, column] > 0.5 else None)
    figure.colorbar(picture, label="share of the true class", fraction=0.046)
    return figure
