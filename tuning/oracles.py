"""keras-tuner's four algorithms, which propose the same trials for the same seed and results.

keras-tuner keeps a search in oracle.json and trial.json, which are not written atomically, lose the
random state of the Gaussian process and break grid search. Here an oracle writes nothing: a resumed
search asks for all trials again and answers the finished ones (`zoo.tuning.sequential`).
"""
import warnings
from collections.abc import Callable
from typing import Any

import keras_tuner as kt
import numpy as np
from keras_tuner.engine import hyperparameters as kinds
from sklearn.exceptions import ConvergenceWarning

OBJECTIVE = "val_accuracy"
_COLLISIONS = 300  # rejected candidates in a row before the space counts as exhausted


class _Resumable(kt.Oracle):
    """What the four have in common.

    Args:
        feasible: a function of a dict of values that returns whether a candidate may be tried.
        identity: a function of a dict of values; equal results are the same trial.
        recorded: a function of a trial's number that returns its trial.json, a dict with values
            and refused (the candidates rejected before it); None for a new trial.
        trials: the maximum number; None for no limit.
        seed: at least 0.
        **options: of keras-tuner's oracle.
    """

    def __init__(self, feasible, identity, recorded, trials, seed, **options):
        # keras-tuner takes 0 as random; seeds are spread because each draw uses the next one.
        super().__init__(objective=kt.Objective(OBJECTIVE, "max"),
                         seed=1 + seed * 100_003 % (2**31 - 2),
                         max_consecutive_failed_trials=2**31, **options)
        self.max_trials, self.verbose = trials, 0
        self.feasible, self.identity, self.recorded = feasible, identity, recorded
        self.refused = []

    def save(self):
        """Write nothing: the results of the trials are enough."""

    def _save_trial(self, trial):
        pass

    def _compute_values_hash(self, values):
        return self.identity(values)

    def _random_values(self):
        for _ in range(_COLLISIONS):
            values = super()._random_values()
            if values is None or self.feasible(values):
                return values
        return None


class Random(_Resumable, kt.oracles.RandomSearchOracle):
    """Independent random trials."""


class Hyperband(_Resumable, kt.oracles.HyperbandOracle):
    """Many short trainings; the best of them continue."""

    def unfinished(self) -> set[str]:
        """Return the ids of the trials that may continue."""
        return {info["id"] for bracket in self._brackets for level in bracket["rounds"]
                for info in level}


class Grid(_Resumable, kt.oracles.GridSearchOracle):
    """Every combination, starting with the defaults; ten values of a continuous interval."""

    def _get_next_combination(self, values):
        values = self._next(values)
        while values is not None and (self._duplicate(values) or not self.feasible(values)):
            values = self._next(values)
        return values

    def _next(self, values):
        values = super()._get_next_combination(values)
        for hp in self.hyperparameters.space:  # its integers with logarithmic steps are floats
            if values is not None and isinstance(hp, kinds.Int) and hp.name in values:
                values[hp.name] = int(values[hp.name])
        return values


class Bayesian(_Resumable, kt.oracles.BayesianOptimizationOracle):
    """A Gaussian process, after one random trial more than there are hyperparameters."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if not self._nonfixed_space():  # a Gaussian process needs a hyperparameter
            return self._random_populate_space()
        self.num_initial_points = len(self._nonfixed_space()) + 1
        finished = sum(trial.status == "COMPLETED" for trial in self.trials.values())
        initial = finished < self.num_initial_points
        record = None if initial else self.recorded(int(trial_id))
        if record:  # a proposal takes seconds, and its last digits may differ between machines
            self.refused = record["refused"]
            return {"status": "RUNNING", "values": record["values"]}
        self._random_state = np.random.RandomState([self.seed, int(trial_id)])
        if not initial:  # trials answered from the record have drawn nothing
            self._seed_state = (self.seed + (1 + int(trial_id)) * 1_000_003) % (2**31 - 2)
        with warnings.catch_warnings():  # length scales often end at their bounds: harmless
            warnings.simplefilter("ignore", ConvergenceWarning)
            response = super().populate_space(trial_id)
        values = response["values"]
        if initial or not (self._duplicate(values) or self._refuse(values)):
            return response
        return self._random_populate_space()

    def _refuse(self, values):
        """Return whether a candidate is over the limits, and remember it if so."""
        if self.feasible(values):
            return False
        self.refused = [*self.refused, values]
        return True

    def _vectorize_trials(self):
        """Count failed trials as the worst, or the process would propose them again and again."""
        x, y = super()._vectorize_trials()
        failed = [trial.hyperparameters.values for trial in self.trials.values()
                  if trial.status in ("FAILED", "INVALID")]
        for values in [*failed, *self.refused]:
            x = np.vstack([x, [hp.value_to_prob(values.get(hp.name, hp.default))
                               for hp in self._nonfixed_space()]])
            y = np.append(y, y.max())
        return x, y


ALGORITHMS = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband, "grid": Grid}


def make_oracle(algorithm: str, declared: kt.HyperParameters,
                feasible: Callable[[dict[str, Any]], bool],
                identity: Callable[[dict[str, Any]], str],
                recorded: Callable[[int], dict[str, Any] | None], *, trials: int | None, seed: int,
                epochs: int) -> kt.Oracle:
    """Return the oracle of an algorithm over the hyperparameters `declared`; see `_Resumable`."""
    options = {"hyperparameters": declared, "allow_new_entries": False, "tune_new_entries": True}
    if algorithm == "hyperband":
        options |= {"max_epochs": epochs, "hyperband_iterations": None}
    return ALGORITHMS[algorithm](feasible, identity, recorded, trials, seed, **options)
