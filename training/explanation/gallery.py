"""Which test examples a page keeps: a sample for the map, and some of each cell of the matrix."""
import numpy as np

from zoo.training.figures import MATRIX_CLASSES

_SAMPLE = 250  # examples on the map
_MOST = 400    # examples in all
_OF_A_CELL = 4
_CELLS = 20    # of networks of many classes: the cells confused most often


def choose(labels: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, int]:
    """Return the indices of the examples to keep, and how many of them, the first, are a sample.

    The sample is drawn at random. The others complete up to 4 examples for each cell of the
    confusion matrix; above 20 classes for the 20 largest cells off its diagonal.

    Args:
        labels, predicted: integers (n,).
        classes: the number of classes.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    cells = labels * classes + predicted
    wanted = set(cells.tolist())
    if classes > MATRIX_CLASSES:
        numbers, counts = np.unique(cells[labels != predicted], return_counts=True)
        wanted = set(numbers[np.argsort(-counts, kind="stable")[:_CELLS]].tolist())
    sample = order[:_SAMPLE]
    held = dict(zip(*np.unique(cells[sample], return_counts=True), strict=True))
    more: list[int] = []
    for index in order[_SAMPLE:]:
        cell = cells[index]
        if len(sample) + len(more) == _MOST:
            break
        if cell in wanted and held.get(cell, 0) < _OF_A_CELL:
            held[cell] = held.get(cell, 0) + 1
            more.append(index)
    return np.array([*sample, *more], int), len(sample)
