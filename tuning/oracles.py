"""keras-tuner's four algorithms, made to propose the same hyperparameters whenever seed and results are the same.

keras-tuner keeps a search in oracle.json and trial.json, which are not written atomically, lose the Gaussian process's random
state, and break grid search. Here an oracle writes nothing: to go on, a search is asked for again from its first trial, and
the finished ones are answered from their results (`zoo.tuning.sequential`).
"""
import warnings

import keras_tuner as kt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

OBJECTIVE = "val_accuracy"
_COLLISIONS = 300  # candidates refused in a row before the space counts as exhausted


class _Kept:
    """What the four have in common.

    Args:
        feasible: a function of a dict of values that says whether a candidate may be tried at all.
        recorded: a function of a trial's number that returns what was kept of it, a dict of the values tried and of those
            refused on the way to them; None if it is a new one.
        trials: the most trials; None for as many as the algorithm knows.
        seed: not negative.
        **options: of keras-tuner's oracle.
    """

    def __init__(self, feasible, recorded, trials, seed, **options):
        # 0 would mean random to keras-tuner; seeds are spread as each draw of a trial uses up the next one
        super().__init__(objective=kt.Objective(OBJECTIVE, "max"), seed=1 + seed * 100_003 % (2**31 - 2),
                         max_consecutive_failed_trials=2**31, **options)
        self.max_trials, self.verbose = trials, 0
        self.feasible, self.recorded, self.refused = feasible, recorded, []

    def save(self):
        """Keep nothing: the results of the trials are all there is to keep."""

    def _save_trial(self, trial):
        pass

    def _random_values(self):
        for _ in range(_COLLISIONS):
            values = super()._random_values()
            if values is None or self.feasible(values):
                return values
        return None


class Random(_Kept, kt.oracles.RandomSearchOracle):
    """Each trial for itself."""


class Hyperband(_Kept, kt.oracles.HyperbandOracle):
    """Many short trainings, of which the best go on."""

    def unfinished(self):
        """Return the ids of the trials that may yet be gone on with."""
        return {info["id"] for bracket in self._brackets for level in bracket["rounds"] for info in level}


class Grid(_Kept, kt.oracles.GridSearchOracle):
    """Every combination, from the defaults on; of an interval, ten values."""

    def _get_next_combination(self, values):
        values = super()._get_next_combination(values)
        while values is not None and not self.feasible(values):
            values = super()._get_next_combination(values)
        return values


class Bayesian(_Kept, kt.oracles.BayesianOptimizationOracle):
    """A Gaussian process, after one random trial more than there are hyperparameters."""

    def populate_space(self, trial_id):
        self.num_initial_points = len(self._nonfixed_space()) + 1
        finished = sum(trial.status == "COMPLETED" for trial in self.trials.values())
        known = self.recorded(int(trial_id)) if finished >= self.num_initial_points else None
        if known:  # a proposal takes seconds, and may differ in its last digits on another machine
            self.refused = known["refused"]
            return {"status": "RUNNING", "values": known["values"]}
        self._random_state = np.random.RandomState([self.seed, int(trial_id)])
        if finished >= self.num_initial_points:  # those answered from the record have drawn nothing
            self._seed_state = (self.seed + (1 + int(trial_id)) * 1_000_003) % (2**31 - 2)
        with warnings.catch_warnings():  # the process's length scales often end at their bounds, which does no harm
            warnings.simplefilter("ignore", ConvergenceWarning)
            response = super().populate_space(trial_id)
        values = response["values"]
        if finished < self.num_initial_points or not (self._duplicate(values) or self._refuse(values)):
            return response
        return self._random_populate_space()

    def _refuse(self, values):
        """Return whether a candidate is over the limits, and remember it then."""
        refused = not self.feasible(values)
        self.refused = self.refused + [values] * refused
        return refused

    def _vectorize_trials(self):
        """Count what failed as no better than the worst, or the process would propose it again and again."""
        x, y = super()._vectorize_trials()
        failed = [trial for trial in self.trials.values() if trial.status in ("FAILED", "INVALID")]
        for values in [*(trial.hyperparameters.values for trial in failed), *self.refused]:
            x = np.vstack([x, [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in self._nonfixed_space()]])
            y = np.append(y, y.max())
        return x, y


def oracle(algorithm, space, feasible, recorded, *, trials, seed, epochs):
    """Return keras-tuner's oracle of the name `algorithm` over `space`, a `kt.HyperParameters`; see `_Kept`."""
    common = {"hyperparameters": space, "allow_new_entries": False, "tune_new_entries": True}
    if algorithm == "hyperband":
        return Hyperband(feasible, recorded, trials, seed, max_epochs=epochs, hyperband_iterations=None, **common)
    kind = {"random": Random, "bayesian": Bayesian, "grid": Grid}[algorithm]
    return kind(feasible, recorded, trials, seed, **common)
