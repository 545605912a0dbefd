"""Faults of keras-tuner 1.4.8. If a test fails, what tuning/ builds around its fault can go."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import keras
import keras_tuner as kt
import pytest

from tests.conftest import ROOT
from tests.test_tuning_survival import wait_for

# keras-tuner 1.4.8 calls threading.currentThread().getName() at every step of an oracle; a caller
# cannot prevent it.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning"
)


def plain(algorithm=kt.oracles.RandomSearchOracle, **options):
    space = kt.HyperParameters()
    space.Choice("a", [1, 2, 3])
    space.Float("b", 0.0, 1.0)
    return algorithm(kt.Objective("val_accuracy", "max"), hyperparameters=space, **options)


def run_trials(oracle, count):
    for _ in range(count):
        trial = oracle.create_trial("tuner0")
        oracle.update_trial(trial.trial_id, {"val_accuracy": trial.hyperparameters["b"]})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)


def test_trap_seed_0_is_random():
    assert len({plain(seed=0).seed for _ in range(20)}) > 1


def test_trap_neighbouring_seeds_share_their_draws():
    assert plain(seed=1)._random_values()["b"] == pytest.approx(
        plain(seed=2).hyperparameters.space[1].random_sample(2)
    )


def test_trap_the_direction_of_an_objective_is_guessed_wrong():
    from keras_tuner.src.engine.objective import create_objective

    assert create_objective("val_f1_score").direction == "min"


def test_trap_a_grid_has_floats_for_integers_of_logarithmic_steps():
    space = kt.HyperParameters()
    space.Int("units", 2, 8, step=2, sampling="log")
    assert [type(value) for value in space.space[0].values] == [float] * 3


def test_trap_new_hyperparameters_are_unknown_to_fit_where_they_are_not_tuned(tmp_path):
    """A hyperparameter of `declare_hyperparameters` alone must be declared again in `fit`."""

    class Declared(kt.HyperModel):
        def declare_hyperparameters(self, hp):
            hp.Int("batch_size", 1, 2)

        def build(self, hp):
            return tiny(hp)

        def fit(self, hp, model, *args, **kwargs):
            names.append(list(hp.values))
            return 1.0

    names = []
    space = kt.HyperParameters()
    space.Float("rate", 0.0, 1.0)
    kt.RandomSearch(
        Declared(),
        max_trials=1,
        hyperparameters=space,
        tune_new_entries=False,
        directory=tmp_path,
        project_name="p",
    ).search(verbose=0)
    assert names == [["rate"]]


@pytest.mark.parametrize("file", ["oracle.json", "trial_00/trial.json"])
def test_trap_a_truncated_file_ends_the_resume(tmp_path, file):
    oracle = plain(max_trials=10, seed=1)
    oracle._set_project_dir(tmp_path, "p")
    oracle.verbose = 0
    run_trials(oracle, 2)
    text = (tmp_path / "p" / file).read_text()
    (tmp_path / "p" / file).write_text(text[: len(text) // 2])
    again = plain(max_trials=10, seed=1)
    again._set_project_dir(tmp_path, "p")
    with pytest.raises(json.JSONDecodeError):
        again.reload()


def test_trap_grid_search_cannot_go_on(tmp_path):
    oracle = plain(kt.oracles.GridSearchOracle)
    oracle._set_project_dir(tmp_path, "p")
    oracle.verbose = 0
    run_trials(oracle, 3)
    again = plain(kt.oracles.GridSearchOracle)
    again._set_project_dir(tmp_path, "p")
    again.reload()
    again.verbose = 0
    with pytest.raises(KeyError, match="'0002'"):  # the last trial before the break
        run_trials(again, 3)


def test_trap_three_failures_end_a_search():
    oracle = plain(max_trials=10, seed=1)
    oracle.verbose, oracle.save, oracle._save_trial = 0, lambda: None, lambda trial: None
    with pytest.raises(RuntimeError, match="Number of consecutive failures"):
        for _ in range(3):
            trial = oracle.create_trial("tuner0")
            trial.status = "FAILED"
            oracle.end_trial(trial)


def test_trap_a_bayesian_search_goes_on_otherwise(tmp_path):
    def opened(folder):
        oracle = plain(
            kt.oracles.BayesianOptimizationOracle, max_trials=10, num_initial_points=2, seed=1
        )
        oracle._set_project_dir(tmp_path / folder, "p")
        oracle.verbose = 0
        return oracle

    whole, cut = opened("whole"), opened("cut")
    run_trials(whole, 5)
    run_trials(cut, 3)
    again = opened("cut")
    again.reload()
    run_trials(again, 2)
    values = [
        [oracle.trials[key].hyperparameters.values for key in sorted(oracle.trials)]
        for oracle in (whole, again)
    ]
    assert values[0][:3] == values[1][:3] and values[0][3:] != values[1][3:]


class Constant(kt.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        return {"val_loss": 1.0}


def tiny(hp):
    hp.Float("rate", 0.0, 1.0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("options, count", [({}, 2), ({"tuner_id": "mine"}, 0)])
def test_trap_tuner_id_forgets_the_saved_search(tmp_path, options, count):
    def tuner():
        return Constant(
            tiny,
            kt.Objective("val_loss", "min"),
            max_trials=2,
            directory=tmp_path,
            project_name="p",
            **options,
        )

    tuner().search(verbose=0)
    assert len(tuner().oracle.trials) == count


GROWING = """
import sys, keras, keras_tuner as kt, numpy as np, psutil
from tests.test_keras_tuner_traps import tiny
class Size(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        print(psutil.Process().memory_info().rss / 2**20)
    def __deepcopy__(self, memo):
        return self
x = np.zeros((8, 1))
objective = kt.Objective("val_loss", "min")
tuner = kt.RandomSearch(tiny, objective, max_trials=12, directory=sys.argv[1], project_name="p")
tuner.search(x, x, validation_data=(x, x), verbose=0, callbacks=[Size()])
"""


@pytest.mark.slow
def test_trap_memory_grows_from_trial_to_trial(tmp_path):
    """In a process of its own: here, what earlier tests have freed would be filled first."""
    finished = subprocess.run(
        [sys.executable, "-c", GROWING, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    sizes = [float(line) for line in finished.stdout.splitlines()]
    assert len(sizes) == 12
    assert sizes[-1] - sizes[3] > 2, sizes  # of a network of two weights, in eight trials


CHIEF = """
import sys, time, keras_tuner as kt
from tests.test_keras_tuner_traps import tiny
class Long(kt.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        open(sys.argv[1] + "/begun", "w").close()
        time.sleep(600)
objective = kt.Objective("val_loss", "min")
tuner = Long(tiny, objective, max_trials=1, directory=sys.argv[1], project_name="p")
tuner.search(verbose=0)
"""


@pytest.mark.slow
def test_trap_a_chief_waits_for_a_killed_worker(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    @contextlib.contextmanager
    def started(name):
        variables = {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": port,
        }
        with subprocess.Popen(
            [sys.executable, "-c", CHIEF, tmp_path],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    with started("chief") as chief, started("worker") as worker:
        wait_for(tmp_path / "begun", worker)
        worker.kill()
        with started("other"), pytest.raises(subprocess.TimeoutExpired):  # it gets no trial
            chief.wait(30)
