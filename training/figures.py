"""The pictures of a run, as matplotlib figures."""
import io

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

MATRIX_CLASSES = 20  # the most classes for which a confusion matrix shows its numbers
_SHARED_CLASSES = 10  # the most for which it shows their shares as well
_NAMED_CLASSES = 60  # the most for which it shows their names; beyond, it shows their indices
_STEEP = 3  # times the largest training loss: a validation value above is written, not drawn
_SHARES = LinearSegmentedColormap.from_list(  # transparent to blue: on light and dark
    "shares", [(0.14, 0.39, 0.77, 0), (0.14, 0.39, 0.77, 1)])


def png(figure: Figure, dpi: int = 120) -> bytes:
    """Return the PNG file of a figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def curves(history: list[dict[str, float]], best: int | None = None) -> Figure:
    """Return a figure of loss and accuracy over the epochs.

    Args:
        history: a dict for each epoch: epoch, loss, accuracy and, with validation data, val_loss
            and val_accuracy.
        best: the epoch whose weights were kept, which is marked; None for no mark.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _curve(axes, history, name, best)
    return figure


def curve(history: list[dict[str, float]], name: str, best: int | None = None) -> Figure:
    """Return a figure of "loss" or "accuracy" alone, see `curves`, legible on a phone."""
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    _curve(figure.subplots(), history, name, best)
    return figure


def _curve(axes, history, name, best):
    epochs = [row["epoch"] for row in history]
    limit = _STEEP * max(row["loss"] for row in history) if name == "loss" else 1
    for key, label in ((name, "training"), (f"val_{name}", "validation")):
        if key not in history[0]:
            continue
        values = np.array([row[key] for row in history])
        axes.plot(epochs, np.where(values > limit, np.nan, values), marker=".", label=label)
        # Before batch normalisation has settled a validation loss can be huge: a line to it would
        # flatten the rest.
        for i in np.flatnonzero(values > limit):
            axes.annotate(f"{values[i]:.3g}\u2191", (epochs[i], 1), (5, -3),
                          ("data", "axes fraction"), "offset points", va="top",
                          color=axes.lines[-1].get_color())
    if best:
        axes.axvline(best, color="gray", linestyle=":", zorder=0, label=f"best epoch: {best}")
    axes.set(xlabel="epoch", ylabel=name, title=name.capitalize())
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def confusion(matrix: np.ndarray, class_names: list[str], side: float | None = None) -> Figure:
    """Return a figure of a confusion matrix, coloured by the share of each true class.

    scikit-learn's ConfusionMatrixDisplay colours by the numbers it prints. Here these differ:
    counts are printed, so that a rare class stays readable, and shares are coloured. Up to 10
    classes, shares are printed below the counts.

    Args:
        matrix: integers (classes, classes); rows are true classes, columns predicted ones.
        class_names: in the order of the rows.
        side: of the figure, in inches; by default it grows with the number of classes. The font of
            the names shrinks to fit.
    """
    count = len(class_names)
    side = side or min(4 + 0.35 * count, 16)
    size = min(10, 45 * side / count)  # points; the names take some of the side
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=_SHARES, vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class",
             title="Confusion matrix of the test split")
    if count <= _NAMED_CLASSES:
        # A letter is 0.6 of the font's size wide, a column 72 points times its share of the side.
        widest, column_width = 0.6 * size * max(map(len, class_names)), 72 * 0.6 * side / count
        rotation = 0 if widest < 0.9 * column_width else 90
        axes.set_xticks(range(count), class_names, fontsize=size, parse_math=False,
                        rotation=rotation)
        axes.set_yticks(range(count), class_names, fontsize=size, parse_math=False)
    if count <= MATRIX_CLASSES:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else None
            label = f"{matrix[row, column]:,}"
            if count <= _SHARED_CLASSES:
                label += f"\n{shares[row, column]:.0%}"
            axes.text(column, row, label, ha="center", va="center", color=colour,
                      fontsize=max(7, min(11, 60 * side / count / max(
                          map(len, label.split("\n"))))))
    figure.colorbar(image, label="share of the true class", fraction=0.046,
                    format=PercentFormatter(1))
    return figure
