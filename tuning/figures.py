"""The pictures of a search, as matplotlib figures."""
import math

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

_WIDE = 50  # a range of numbers is drawn on a logarithmic axis if its ends are so many times apart
_COLOURS = colormaps["viridis"]


def scores(rows):
    """Return a figure of the score of each trial, and of the best so far."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    done = sorted((row for row in rows if row["status"] == "completed"), key=lambda row: row["trial"])
    numbers, values = [row["trial"] for row in done], [row["score"] for row in done]
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, np.maximum.accumulate(values), where="post", label="best so far")
    for row in rows:
        if row["status"] != "completed":
            axes.axvline(row["trial"], color="tab:red", alpha=0.3, linestyle=":")
    axes.set(xlabel="trial (dotted red: without a score)", ylabel="validation accuracy")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def varied(rows):
    """Return the names of the hyperparameters that took more than one value."""
    names = dict.fromkeys(name for row in rows for name in row["values"])
    return [name for name in names if len({row["values"][name] for row in rows if name in row["values"]}) > 1]


def slices(rows):
    """Return a figure of the score against each hyperparameter that was varied."""
    names, done = varied(rows), [row for row in rows if row["status"] == "completed"]
    columns = min(len(names), 4)
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.6 * columns + 1, 2.4 * lines), layout="constrained")
    for axes, name in zip(figure.subplots(lines, columns, squeeze=False, sharey=True).flat, names, strict=False):
        shown = [row for row in done if name in row["values"]]
        places, ticks, wide = _places([row["values"][name] for row in shown])
        axes.scatter(places, [row["score"] for row in shown], c=[row["trial"] for row in shown], cmap=_COLOURS, s=18)
        axes.set(xlabel=name, xscale="log" if wide else "linear")
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
        axes.grid(alpha=0.3)
    figure.supylabel("validation accuracy")
    return figure


def parallel(rows):
    """Return a figure of parallel coordinates: a line a trial, its colour the rank of its score; the best is drawn last."""
    done = sorted((row for row in rows if row["status"] == "completed"), key=lambda row: row["score"])
    names = [name for name in varied(done) if all(name in row["values"] for row in done)]
    figure = Figure(figsize=(1.6 * len(names) + 3, 4), layout="constrained")
    axes = figure.subplots()
    heights = np.array([_share([row["values"][name] for row in done]) for name in names]
                       + [_share([row["score"] for row in done])])
    for rank, line in enumerate(heights.T):
        axes.plot(line, color=_COLOURS(rank / max(len(done) - 1, 1)), alpha=0.8)
    axes.set_xticks(range(len(names) + 1), [*names, "validation accuracy"], rotation=20, ha="right")
    axes.set_yticks([0, 1], ["lowest", "highest"])
    axes.grid(axis="x")
    return figure


def _places(values):
    """Return where values lie on an axis, the labels of its ticks if they are no numbers, and whether it is logarithmic."""
    if all(type(value) in (int, float) for value in values):
        return values, None, min(values, default=0) > 0 and max(values) / min(values) > _WIDE
    labels = sorted({str(value) for value in values})
    return [labels.index(str(value)) for value in values], labels, False


def _share(values):
    """Return values as shares of their range, 0 to 1."""
    places, _, wide = _places(values)
    places = np.log(places) if wide else np.asarray(places, float)
    return (places - places.min()) / (np.ptp(places) or 1)
