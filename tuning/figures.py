"""The figures of a search, drawn with matplotlib."""
import math

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_WIDE = 50  # ratio of a range's ends from which its axis is logarithmic
_COLOURS = colormaps["viridis"]


def _completed(rows):
    return [row for row in rows if row["status"] == "completed"]


def scores(rows: list[dict]) -> Figure:
    """Return a figure of the score of each trial, and of the best so far."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    completed = sorted(_completed(rows), key=lambda row: row["trial"])
    numbers = [row["trial"] for row in completed]
    values = [row["score"] for row in completed]
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, np.maximum.accumulate(values), where="post", label="best so far")
    for row in rows:
        if row["status"] != "completed":
            axes.axvline(row["trial"], color="tab:red", alpha=0.3, linestyle=":")
    axes.set(xlabel="trial (dotted red: no score)", ylabel="validation accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def varied(rows: list[dict]) -> list[str]:
    """Return the names of the hyperparameters that have more than one value in `rows`."""
    values: dict[str, set] = {}
    for row in rows:
        for name, value in row["values"].items():
            values.setdefault(name, set()).add(value)
    return [name for name, different in values.items() if len(different) > 1]


def slices(rows: list[dict]) -> Figure:
    """Return a figure of the score against each hyperparameter that varies."""
    names, completed = varied(rows), _completed(rows)
    columns = min(len(names), 4)
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.6 * columns + 1, 2.4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, name in zip(panels.flat, names, strict=False):
        shown = [row for row in completed if name in row["values"]]
        positions, ticks, logarithmic = _positions([row["values"][name] for row in shown])
        axes.scatter(positions, [row["score"] for row in shown],
                     c=[row["trial"] for row in shown], cmap=_COLOURS, s=18)
        axes.set(xlabel=name, xscale="log" if logarithmic else "linear")
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
        axes.grid(alpha=0.3)
    figure.supylabel("validation accuracy")
    return figure


def parallel(rows: list[dict]) -> Figure:
    """Return parallel coordinates: a line per trial, coloured by rank; the best is on top."""
    completed = sorted(_completed(rows), key=lambda row: row["score"])
    names = [name for name in varied(completed) if all(name in row["values"] for row in completed)]
    figure = Figure(figsize=(1.6 * len(names) + 3, 4), layout="constrained")
    axes = figure.subplots()
    columns = [[row["values"][name] for row in completed] for name in names]
    columns.append([row["score"] for row in completed])
    for rank, line in enumerate(np.array([_heights(column) for column in columns]).T):
        axes.plot(line, color=_COLOURS(rank / max(len(completed) - 1, 1)), alpha=0.8)
    axes.set_xticks(range(len(columns)), [*names, "validation accuracy"], rotation=20, ha="right")
    axes.set_yticks([0, 1], ["lowest", "highest"])
    axes.grid(axis="x")
    return figure


def _positions(values):
    """Return the positions of values on an axis, tick labels unless they are numbers, and
    whether the axis is logarithmic."""
    if all(type(value) in (int, float) for value in values):
        wide = min(values, default=0) > 0 and max(values) / min(values) > _WIDE
        return values, None, wide
    labels = sorted({str(value) for value in values})
    return [labels.index(str(value)) for value in values], labels, False


def _heights(values):
    """Return the positions of values between the lowest, 0, and the highest, 1."""
    positions, _, logarithmic = _positions(values)
    positions = np.log(positions) if logarithmic else np.asarray(positions, float)
    return (positions - positions.min()) / (np.ptp(positions) or 1)
