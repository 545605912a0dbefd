"""Optuna's counterparts of keras-tuner's algorithms, over the same spaces."""
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras_tuner as kt
import optuna
from keras_tuner.engine import hyperparameters as kinds

from zoo.tuning.trial import identity

if TYPE_CHECKING:
    from zoo.tuning.plan import Plan


def sampler(plan: "Plan", declared: kt.HyperParameters) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler for the plan's algorithm; hyperband draws at random."""
    if plan.algorithm == "grid":
        return _Grid(list(itertools.islice(candidates(plan, declared), plan.trials)))
    if plan.algorithm == "bayesian":
        return _Seeded(optuna.samplers.TPESampler, plan.seed, constant_liar=True,
                       n_startup_trials=len(declared.space) + 1)
    return _Seeded(optuna.samplers.RandomSampler, plan.seed)


def combinations(declared: kt.HyperParameters) -> Iterator[dict[str, Any]]:
    """Yield the values of each combination of active hyperparameters, the defaults first.

    Of a continuous interval, the default and ten values.
    """
    def extend(values, rest):
        if not rest:
            yield values
        elif _active(rest[0], values):
            for value in _grid(rest[0]):
                yield from extend({**values, rest[0].name: value}, rest[1:])
        else:
            yield from extend(values, rest[1:])
    yield from extend({}, declared.space)


def candidates(plan: "Plan", declared: kt.HyperParameters) -> Iterator[dict[str, Any]]:
    """Yield the first of all `combinations` that make the same recipe."""
    of, yielded = identity(plan, declared), set()
    for values in combinations(declared):
        if of(values) not in yielded:
            yielded.add(of(values))
            yield values


def _active(hp, values):
    return all(condition.is_active(values) for condition in hp.conditions)


def limit(plan: "Plan", declared: kt.HyperParameters) -> int:
    """Return `plan.trials`, or the number of candidates in the space if that is smaller."""
    if plan.algorithm != "grid" and any(map(_continuous, declared.space)):
        return plan.trials
    return sum(1 for _ in itertools.islice(candidates(plan, declared), plan.trials))


def _continuous(hp):
    return isinstance(hp, (kinds.Float, kinds.Int)) and hp.step is None


def _grid(hp):
    values = _values(hp)
    if hp.default in values or _continuous(hp):
        values = [hp.default, *values]
    return list(dict.fromkeys(values))


def _values(hp):
    """Return a hyperparameter's values; keras-tuner gives some integers as floats."""
    return [int(value) if isinstance(hp, kinds.Int) else value for value in hp.values]


class _Grid(optuna.samplers.BaseSampler):
    """The combination of the trial's number, whichever process draws."""

    def __init__(self, grid):
        self.grid = grid

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        return self.grid[first_number(trial) % len(self.grid)][param_name]


class _Seeded(optuna.samplers.BaseSampler):
    """A new sampler for each trial, seeded with its number: every process draws the same.

    After a trial that repeated an earlier one, a random sampler takes the turn.
    """

    def __init__(self, kind, seed, **options):
        self.kind, self.seed, self.options, self.samplers = kind, seed, options, {}

    def _sampler(self, study, trial):
        number = first_number(trial)
        if number not in self.samplers:
            kind, options = self.kind, self.options
            # Under Hyperband, `study` has only the trials of one bracket.
            if any(other.number == number - 1 and "surplus" in other.user_attrs
                   for other in study.get_trials(deepcopy=False)):
                kind, options = optuna.samplers.RandomSampler, {}
            seed = (self.seed * 100_003 + number) % 2**32
            self.samplers = {number: kind(seed=seed, **options)}
        return self.samplers[number]

    def infer_relative_search_space(self, study, trial):
        return self._sampler(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study, trial, search_space):
        return self._sampler(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, param_name, param_distribution):
        sampler = self._sampler(study, trial)
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def suggest(trial: optuna.Trial, declared: kt.HyperParameters) -> dict[str, Any]:
    """Return the values that Optuna's `trial` draws for the active hyperparameters."""
    values: dict[str, Any] = {}
    for hp in declared.space:
        if _active(hp, values):
            values[hp.name] = _suggest(trial, hp)
    return values


def _suggest(trial, hp):
    if not isinstance(hp, (kinds.Float, kinds.Int)):
        return trial.suggest_categorical(hp.name, list(hp.values))
    # Steps of other than linear sampling multiply. Optuna has no such steps, nor reverse_log.
    multiplied = hp.step is not None and hp.sampling != "linear"
    if multiplied or (isinstance(hp, kinds.Int) and hp.sampling == "reverse_log"):
        return trial.suggest_categorical(hp.name, _values(hp))
    suggest_number = trial.suggest_int if isinstance(hp, kinds.Int) else trial.suggest_float
    steps = {} if hp.step is None else {"step": hp.step}
    return suggest_number(hp.name, hp.min_value, hp.max_value, log=hp.sampling == "log", **steps)


def first_number(trial: Any) -> int:
    """Return the number of the trial that this one takes over, or else its own."""
    history = trial.system_attrs.get("retry_history", [])
    return history[0] if history else trial.number
