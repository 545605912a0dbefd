"""How much each hyperparameter mattered in a search: permutation importance in a random forest.

L. Breiman, "Random Forests", Machine Learning 45, 2001, section 10,
https://doi.org/10.1023/A:1010933404324. F. Hutter, H. Hoos and K. Leyton-Brown, "An Efficient
Approach for Assessing Hyperparameter Importance", ICML 2014, fit such a forest to a search.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

LEAST = 10  # trials
_TREES = 100
_REPEATS = 10


def importances(trials: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, float]:
    """Return how much the score depended on each hyperparameter, largest first.

    A forest learns the score from the hyperparameters. The importance of one is the mean drop of
    the forest's R² on the trials when its values are shuffled between them; the shares add to 1.

    Args:
        trials: the values of each, {name: number, string or bool}; a name may be missing.
        scores: of the trials.

    Returns:
        {name: share, from 0 to 1}, of the hyperparameters with more than one value. Empty if there
        are fewer than 10 trials, or nothing changes the score.
    """
    names = varied(trials)
    if len(trials) < LEAST or not names or len(set(scores)) < 2:
        return {}
    columns = np.array([_codes([values.get(name) for values in trials]) for name in names]).T
    forest = RandomForestRegressor(_TREES, random_state=0).fit(columns, scores)
    drops = permutation_importance(forest, columns, scores, n_repeats=_REPEATS,
                                   random_state=0).importances_mean.clip(0)
    if not drops.sum():
        return {}
    shares = dict(zip(names, (drops / drops.sum()).tolist(), strict=True))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def varied(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names that have more than one value; a missing one counts as a value."""
    names = dict.fromkeys(name for values in trials for name in values)
    return [name for name in names if len({str(values.get(name)) for values in trials}) > 1]


def _codes(values):
    """Numbers for the values: themselves, or the index among the sorted ones; -1 where missing."""
    if all(type(value) in (int, float, type(None)) for value in values):
        present = [value for value in values if value is not None]
        return [min(present) - 1 if value is None else value for value in values]
    labels = sorted({str(value) for value in values if value is not None})
    return [-1 if value is None else labels.index(str(value)) for value in values]
