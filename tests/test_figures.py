"""The pictures of a run."""

import numpy as np
import pytest

from zoo.training import figures


@pytest.mark.parametrize("first, told", [(2.0, []), (14.0, ["14↑"])])
def test_a_steep_first_validation_is_told_and_flattens_nothing(first, told):
    history = [
        {"epoch": 1, "loss": 1.6, "val_loss": first, "accuracy": 0.5, "val_accuracy": 0.1},
        {"epoch": 2, "loss": 0.8, "val_loss": 0.9, "accuracy": 0.7, "val_accuracy": 0.6},
    ]
    loss, accuracy = figures.curves(history).axes
    assert [text.get_text() for text in loss.texts] == told and not accuracy.texts
    drawn = [
        [value for value in line.get_ydata() if np.isfinite(value)]
        for line in (*loss.lines, *accuracy.lines)
    ]
    assert drawn == [[1.6, 0.8], [0.9] if told else [first, 0.9], [0.5, 0.7], [0.1, 0.6]]
    assert loss.get_ylim()[1] < 2.2


@pytest.mark.parametrize("names, rotation", [
    (["negative", "positive"], 0), ([str(n) for n in range(10)], 0), (["automobile"] * 10, 90),
    (["a name of forty letters, longer than most"] * 2, 90)])
def test_names_lie_where_there_is_room(names, rotation):
    figure = figures.confusion(np.eye(len(names), dtype=int), names)
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {rotation}
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_small_losses_hide_no_accuracy():
    history = [
        {"epoch": epoch, "loss": 0.1 / epoch, "val_loss": 0.1, "accuracy": 0.9, "val_accuracy": 1.0}
        for epoch in (1, 2, 3)
    ]
    loss, accuracy = figures.curves(history, best=2).axes
    training, validation, best = accuracy.lines
    assert training.get_ydata().tolist() == [0.9] * 3
    assert validation.get_ydata().tolist() == [1.0] * 3
    assert best.get_xdata() == [2, 2]
    for axes in (loss, accuracy):
        assert axes.get_legend().get_texts()[-1].get_text() == "best epoch: 2"
    accuracy.figure.canvas.draw()
    assert {label.get_text()[-1] for label in accuracy.get_yticklabels()} == {"%"}


def test_a_small_confusion_matrix_shows_shares():
    axes, _ = figures.confusion(np.array([[3, 1], [0, 1234]]), ["a", "b"]).axes
    assert [text.get_text() for text in axes.texts] == ["3\n75%", "1\n25%", "1,234\n100%"]


@pytest.mark.parametrize("classes, numbers, names", [(20, 20, 20), (21, 0, 21), (61, 0, 0)])
def test_a_confusion_matrix_shows_the_numbers_and_names_that_fit(classes, numbers, names):
    labels = [f"$class {number}" for number in range(classes)]
    axes, bar = figures.confusion(7 * np.eye(classes, dtype=int), labels).axes
    assert [text.get_text() for text in axes.texts] == ["7"] * numbers
    ticks = [text.get_text() for text in axes.get_yticklabels()]
    assert [tick for tick in ticks if tick in labels] == labels[:names]
    assert np.array_equal(axes.images[0].get_array(), np.eye(classes)) and bar.get_ylim() == (0, 1)


def test_a_figure_becomes_a_png_file():
    assert figures.png(figures.confusion(np.eye(2, dtype=int), ["a", "b"]), dpi=40).startswith(
        b"\x89PNG"
    )
