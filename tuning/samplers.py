"""Optuna's counterparts of keras-tuner's algorithms, over the same spaces."""
import keras_tuner as kt
import optuna


def sampler(plan, declared):
    """Return Optuna's sampler for the plan's algorithm; hyperband's draws are random."""
    if plan.algorithm == "grid":
        return optuna.samplers.GridSampler(grid(declared), seed=plan.seed)
    if plan.algorithm == "bayesian":
        return _Seeded(optuna.samplers.TPESampler, plan.seed, constant_liar=True, n_startup_trials=len(declared.space) + 1)
    return _Seeded(optuna.samplers.RandomSampler, plan.seed)


def grid(declared):
    """Return {name: values} of the hyperparameters; of an interval, ten and the default."""
    return {hp.name: list(dict.fromkeys([hp.default, *hp.values])) for hp in declared.space}


class _Seeded(optuna.samplers.BaseSampler):
    """A sampler made afresh for each trial, its seed of the trial's number: whichever process draws, it draws the same."""

    def __init__(self, kind, seed, **options):
        self.kind, self.seed, self.options, self.made = kind, seed, options, {}

    def _of(self, trial):
        number = first_of(trial)
        if number not in self.made:
            self.made = {number: self.kind(seed=(self.seed * 100_003 + number) % 2**32, **self.options)}
        return self.made[number]

    def infer_relative_search_space(self, study, trial):
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study, trial, search_space):
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, param_name, param_distribution):
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


def suggested(trial, declared):
    """Return the values that Optuna's `trial` gives the hyperparameters of `declared`, a dict of those that are active."""
    hps, kinds = type(declared)(), kt.engine.hyperparameters
    for hp in declared.space:
        hps.merge([hp])
        if not hps.is_active(hp):
            continue
        if isinstance(hp, kinds.Float) or (isinstance(hp, kinds.Int) and hp.sampling != "reverse_log"):
            ask = trial.suggest_float if isinstance(hp, kinds.Float) else trial.suggest_int
            log = hp.sampling == "log"
            step = {} if log or hp.step is None else {"step": hp.step}
            hps.values[hp.name] = ask(hp.name, hp.min_value, hp.max_value, log=log, **step)
        else:
            hps.values[hp.name] = trial.suggest_categorical(hp.name, list(hp.values))
    return hps.values


def first_of(trial):
    """The number of the trial that this one goes on with: its own, unless it was taken over."""
    history = trial.system_attrs.get("retry_history", [])
    return history[0] if history else trial.number
