"""Searches: what becomes of their trials, and what they leave."""

import csv
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import warnings

import keras
import keras_tuner as kt
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.conftest import ROOT
from tests.test_onednn import PROBE
from tests.test_tuning_oracles import space
from tests.test_tuning_spaces import DIGITS
from zoo import tuning
from zoo.__main__ import main
from zoo.errors import UsageError, UserError
from zoo.training import recipes
from zoo.tuning import refitting
from zoo.tuning.plan import Plan
from zoo.tuning.sequential import run_search

# keras-tuner 1.4.8 calls threading.currentThread().getName() at every step of an oracle; a caller
# cannot prevent it.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning"
)

FATES = ("die", "raise", "nan", "over", "fine", "better")
MISHAP = recipes.Recipe(
    "mishap",
    "tests.mishaps:mishap",
    "digits",
    epochs=2,
    batch_size=256,
    schedule="constant",
    learning_rate=1e-3,
)


def mishaps(hp, recipe):
    """The first trials cannot end well, each for a reason of its own."""
    fate = hp.Choice("fate", FATES)
    chosen = {
        "learning_rate": {"nan": 3e38, "better": 0.01}.get(fate, recipe.learning_rate),
        "fate": fate if fate in ("die", "raise") else "fine",
    }
    return chosen | ({"input_shape": (16, 16, 1)} if fate == "over" else {})


class Shared(keras.callbacks.Callback):
    """A callback that keras-tuner does not copy for each trial."""

    def __deepcopy__(self, memo):
        return self


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished search in which three trials of five fail: its directory, rows and plan."""
    run = tmp_path_factory.mktemp("search") / "run"
    plan = Plan(MISHAP, "grid", space=mishaps, max_params=1000, trials=10, keep=1)
    return run, run_search(plan, run, log=False), plan


def test_each_failure_is_told_and_the_search_goes_on(finished):
    run, rows, _ = finished
    table = list(csv.DictReader((run / "trials.csv").read_text().splitlines()))
    assert [row["fate"] for row in table] == [fate for fate in FATES if fate != "over"]
    assert [row["status"] for row in table] == [
        "failed",
        "failed",
        "failed",
        "completed",
        "completed",
    ]
    for row, words in zip(
        table[:3], ("SIGKILL", "ArithmeticError: no network can have", "finite number"), strict=True
    ):
        assert words in row["error"] and "\n" not in row["error"]


def test_a_recipe_over_the_limit_is_skipped_by_name(tmp_path):
    plan = Plan(MISHAP, "grid", space=mishaps, max_params=700, trials=2, fixed={"fate": "over"})
    with pytest.raises(
        UserError, match="The first one: 2,570 params and 2,560 multiply-adds are over the limit"
    ):
        run_search(plan, tmp_path / "run", log=False)
    assert not list(tmp_path.glob("run/trials/0000/tensorboard")), "it was trained"


def test_limits_that_nothing_is_within_are_told(tmp_path, capfd):
    def rates(hp, recipe):
        return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-2)}

    plan = Plan(MISHAP, "random", space=rates, max_params=7, trials=2)
    with pytest.raises(
        UserError, match="^No network of the space is within max_params and max_flops"
    ):
        run_search(plan, tmp_path / "run")
    assert "10 candidates rejected: their networks are over the limits" in capfd.readouterr().out


def test_the_best_trial_becomes_a_recipe(finished):
    run, rows, plan = finished
    assert rows[0]["values"] == {"fate": "better"} and rows[0]["score"] > rows[1]["score"] > 0.1
    best = recipes.read(run / "best.json")
    assert (
        best.name == "mishap-tuned"
        and best.learning_rate == 0.01
        and best.epochs == plan.recipe.epochs
    )
    assert json.loads((run / "trials/0004/result.json").read_text())["score"] == rows[0]["score"]


def test_only_the_best_weights_stay(finished):
    run, rows, plan = finished
    assert {path.parent.name for path in run.glob("trials/*/*.npz")} == {f"{rows[0]['trial']:04}"}


def test_a_finished_search_is_not_done_again(finished):
    run, rows, plan = finished
    before = {path: path.stat().st_mtime_ns for path in run.glob("trials/*/*")}
    assert run_search(plan, run, log=False) == rows
    assert {path: path.stat().st_mtime_ns for path in run.glob("trials/*/*")} == before


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"algorithm": "random"}, "algorithm is grid there, random here"),
        ({"max_params": 7}, "max_params is 1000 there, 7 here"),
        ({"space": space}, "space is "),
        ({"space": lambda *hp: mishaps(*hp) | {"batch_size": 9}}, "the space has changed"),
        ({"recipe": dataclasses.replace(MISHAP, seed=5)}, "of another recipe"),
    ],
)
def test_another_search_is_not_mixed_in(finished, changed, words):
    run, rows, plan = finished
    kept = (run / "trials.csv").read_text()
    with pytest.raises(UserError, match=words):
        run_search(dataclasses.replace(plan, **changed), run, log=False)
    assert (run / "trials.csv").read_text() == kept


@pytest.mark.slow
def test_data_that_cannot_be_tuned_on_ends_it_before_the_first_trial(tmp_path):
    for recipe, words in (
        (dataclasses.replace(DIGITS, data="no/such.npz"), "no/such.npz"),
        (dataclasses.replace(DIGITS, validation_split=0.0), "needs a validation split"),
    ):
        with pytest.raises(UserError, match=words):
            run_search(Plan(recipe), tmp_path / "run", log=False)
        assert not list(tmp_path.iterdir())


def test_where_every_trial_fails_the_first_error_is_told(tmp_path):
    with pytest.raises(
        UserError, match="No trial in .* succeeded. The first one: ArithmeticError: no network"
    ):
        run_search(
            Plan(MISHAP, "grid", space=mishaps, fixed={"fate": "raise"}),
            tmp_path / "run",
            log=False,
        )
    assert "ArithmeticError" in (tmp_path / "run/trials.csv").read_text()


def test_the_command_writes_a_row_for_each_trial_and_a_recipe(zoo_command, tmp_path):
    args = [
        "tune",
        "lenet5-digits",
        "--trials",
        5,
        "--algorithm",
        "random",
        "--seed",
        0,
        "--epochs",
        1,
        "--set",
        "batch_size=256",
        "--fix",
        "batch_size=256",
        "--run",
        "R",
    ]
    answer = zoo_command(*args)
    assert answer.returncode == 0 and not answer.stderr, answer.stderr
    assert "rank" in answer.stdout and "5 trials" in answer.stdout
    assert len((tmp_path / "R/trials.csv").read_text().splitlines()) == 6
    assert (
        recipes.read(tmp_path / "R/best.json").epochs == recipes.get_recipe("lenet5-digits").epochs
    )
    first, *lines = answer.stdout.splitlines()
    assert first == "lenet5-digits: random search of 5 trials, 1 epochs each, in R."
    table = lines[[line.startswith("rank") for line in lines].index(True) :]
    assert max(map(len, table)) <= 80 and any(line.startswith("learning_rate") for line in table)


def test_the_command_says_what_it_does_before_tensorflow_starts(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", PROBE + "from zoo.__main__ import main\nsys.exit(main())"]
        + ["tune", "lenet5-mnist", "--algorithm", "hyperband", "--epochs", "9"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    assert said.splitlines()[0] == (
        "lenet5-mnist: hyperband search of 20 trials, up to 9 epochs each, in "
        "runs/lenet5-mnist-search."
    )


def test_a_table_of_many_wide_values_fits(capsys):
    from zoo.cli.tune import _print_leaderboard

    rows = [
        {
            "trial": number,
            "status": "completed",
            "score": 0.5,
            "val_loss": 1.0,
            "params": 10**9,
            "epochs": 100,
            "values": {"rate": 1e-5 / 3, "name" * 20: "value" * (30 if number == wide else 1)},
        }
        for wide in (99, 0, 3)
        for number in range(12)
    ]
    for first in (0, 12, 24):
        _print_leaderboard(rows[first : first + 12], "run")
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[0].split()[:2] == ["rank", "1"] and lines[1].split()[:2] == ["trial", "0"]


@pytest.mark.parametrize(
    "args, words",
    [
        (["lenet-mnits"], "Did you mean 'lenet-mnist'"),
        (["lenet5-digits", "--algorithm", "grdi"], "'random', 'bayesian', 'hyperband', 'grid'"),
        (["lenet5-digits", "--fix", "dropot=1"], "Did you mean 'dropout'"),
        (["lenet5-digits", "--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_a_mistake_takes_one_line(args, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *args]) == 2
    err = capfd.readouterr().err
    assert words in err and len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_search_begun_when_params_were_called_weights_goes_on(finished, tmp_path):
    run, rows, plan = finished
    shutil.copytree(run, tmp_path / "run")
    for file in tmp_path.glob("run/trials/*/trial.json"):
        trial = {
            "weights" if key == "params" else key: value
            for key, value in json.loads(file.read_text()).items()
        }
        file.write_text(json.dumps(trial))
    assert json.loads((tmp_path / "run/trials/0004/trial.json").read_text())["weights"] == 650
    assert run_search(plan, tmp_path / "run", log=False) == rows and rows[0]["params"] == 650
    assert (tmp_path / "run/trials.csv").read_text() == (run / "trials.csv").read_text()


@pytest.mark.parametrize(
    "storage", [None, pytest.param("sqlite:///{}/search.db", marks=pytest.mark.slow)]
)
def test_the_session_that_calls_search_stays_as_it_is(tmp_path, monkeypatch, storage):
    if storage:
        pytest.importorskip("optuna", reason="the extra `distributed` is not installed")

    def state():
        return (
            keras.config.dtype_policy().name,
            random.getstate(),
            np.random.get_state()[1].tolist(),
            dict(os.environ),
            tf.config.get_visible_devices(),
            warnings.filters[:],
        )

    def rate(hp):
        return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-2)}

    monkeypatch.setattr(zoo, "build", None)  # in this process
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer, before = keras.layers.Dense(1).name, state()
        trials = tuning.search(
            "tests.mishaps:mishap",
            tmp_path / "run",
            data="digits",
            trials=2,
            epochs=1,
            space=rate,
            max_params=1000,
            fixed={"learning_rate": 0.01},
            log=False,
            storage=storage and storage.format(tmp_path),
        )
        assert state() == before
        assert (
            int(keras.layers.Dense(1).name.split("_")[-1]) == int(layer.partition("_")[2] or 0) + 1
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert [trial["values"] for trial in trials] == [{"learning_rate": 0.01}], (
        "one value is all there is to try"
    )
    assert (
        trials[0]["params"] == 650
        and recipes.read(tmp_path / "run/best.json").learning_rate == 0.01
    )


@pytest.mark.slow
def test_each_trial_trains_with_the_callers_callbacks(tmp_path):
    def rate(hp):
        return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-2)}

    plan = {"data": "digits", "trials": 2, "epochs": 2, "space": rate, "log": False}
    with pytest.raises(
        UserError,
        match="callbacks must be the .module:function. .*Received: 'tests.mishaps:nowhere'",
    ):
        tuning.search(
            "tests.mishaps:mishap", tmp_path / "run", callbacks="tests.mishaps:nowhere", **plan
        )
    tuning.search(
        "tests.mishaps:mishap", tmp_path / "run", callbacks="tests.mishaps:note_epochs", **plan
    )
    for number in range(2):
        assert (
            tmp_path / f"run/trials/{number:04}/epochs.txt"
        ).read_text() == "0 accuracy\n1 accuracy\n"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"algorithm": "grdi"}, "Unknown algorithm 'grdi'. Did you mean 'grid'"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"keep": "3"}, "keep must be a whole number"),
        ({"max_params": 0}, "max_params must be at least 1"),
        ({"fixed": {"dropot": 1}}, "Did you mean 'dropout'"),
        ({"space": lambda hp: hp.Int("n")}, "The space <lambda> failed: TypeError"),
    ],
)
def test_a_mistaken_argument_of_search_is_named(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        tuning.search("lenet5-digits", tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_search_is_not_refitted(tmp_path):
    with pytest.raises(UserError, match="holds no search with a best recipe"):
        tuning.refit(tmp_path)


def test_the_public_functions_are_listed():
    assert set(tuning.__all__) == {"hypermodel", "refit", "search"} <= set(dir(tuning))


@pytest.mark.parametrize(
    "args, words",
    [
        ({"aux": True}, "The auxiliary heads of googlenet need labels of their own"),
        ({"classes": 0}, "classes must be at least 2. Received: 0"),
    ],
)
def test_a_network_that_a_tuner_cannot_fit_is_refused(args, words):
    with pytest.raises(UserError, match=words):
        tuning.hypermodel("googlenet", **args)


@pytest.mark.parametrize("batch_size, used", [
    (None, 128), pytest.param(64, 64, marks=pytest.mark.slow)])
def test_a_hypermodel_trains_where_new_hyperparameters_are_not_tuned(tmp_path, batch_size, used):
    hp, sizes = kt.HyperParameters(), []
    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    if batch_size:
        hp.Fixed("batch_size", batch_size)
    tuner = kt.RandomSearch(
        tuning.hypermodel("lenet5"),
        kt.Objective("val_loss", "min"),
        max_trials=1,
        seed=1,
        hyperparameters=hp,
        tune_new_entries=False,
        directory=tmp_path,
        project_name="mine",
    )
    images, labels = np.zeros((128, 32, 32, 1)), np.arange(128) % 10

    class Steps(Shared):
        def on_train_begin(self, logs=None):
            sizes.append(self.params["steps"])

    tuner.search(
        images, labels, validation_data=(images, labels), epochs=1, callbacks=[Steps()], verbose=0
    )
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]
    assert sizes == [128 // used]


@pytest.mark.slow
def test_every_builder_is_a_hypermodel_of_keras_tuner(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 1)), np.arange(64) % 10
    tuner = kt.Hyperband(
        tuning.hypermodel("lenet5"),
        kt.Objective("val_loss", "min"),
        max_epochs=3,
        seed=1,
        directory=tmp_path,
        project_name="mine",
    )
    assert "batch_size" in tuner.oracle.get_space()
    seen = []

    class Seen(Shared):
        def on_train_begin(self, logs=None):
            seen.append(int(self.model.optimizer.iterations.numpy()))

        def on_epoch_begin(self, epoch, logs=None):
            seen.append((epoch, self.params["epochs"]))

    tuner.search(images, labels, validation_data=(images, labels), callbacks=[Seen()], verbose=0)
    assert (1, 3) in seen and any(isinstance(step, int) and step > 0 for step in seen), (
        "the optimiser's state was lost"
    )


def test_the_page_needs_nothing_from_elsewhere(finished):
    run, rows, _ = finished
    page = (run / "search.html").read_text()
    assert "data-live" not in page and "{{" not in page
    assert page.index("better") < page.index("no network can have this fate"), (
        "the best trial is not the first"
    )


@pytest.mark.slow
def test_the_better_of_two_trainings_is_kept_by_validation(finished, tmp_path):
    run, rows, plan = finished
    run = shutil.copytree(run, tmp_path / "run")
    result = tuning.refit(run, repeats=2, log=False)
    assert json.loads((run / "refit.json").read_text()) == result
    # ten times the rate, of a linear network
    assert result["difference"] > result["noise"] and result["kept"] == "tuned"
    assert "more than noise" in result["verdict"]
    for kind, folder in refitting.FOLDERS.items():
        for seed, name in enumerate((folder, f"{folder}-1")):
            history = list(csv.DictReader((run / name / "history.csv").read_text().splitlines()))
            best = max(float(row["val_accuracy"]) for row in history)
            assert result[kind]["val_accuracy"][seed] == pytest.approx(best)
    model = (run / "kept/model.keras").read_bytes()
    assert model == (run / "refit/model.keras").read_bytes()

    # Where the search found nothing better, the recipe is kept, with as many epochs.
    best = recipes.read(run / "best.json")
    worse = dataclasses.replace(best, learning_rate=1e-6, epochs=3)
    (run / "best.json").write_text(worse.to_json())
    with pytest.raises(UserError, match="holds the training of another recipe"):
        tuning.refit(run, repeats=1, log=False)
    for folder in refitting.FOLDERS.values():
        shutil.rmtree(run / folder)
    result = tuning.refit(run, repeats=1, log=False)
    assert result["kept"] == "recipe" and result["epochs"] == 3
    kept = recipes.read(run / "kept/recipe.json")
    assert (kept.name, kept.epochs) == (MISHAP.name, 3)


@pytest.mark.parametrize(
    "tuned, recipe, kept, words",
    [
        ((0.95, 0.96, 0.97), (0.90, 0.91, 0.92), "tuned", "better by more than noise"),
        ((0.95, 0.96, 0.97), (0.94, 0.95, 0.97), "tuned", "within noise"),
        ((0.90, 0.91, 0.92), (0.95, 0.96, 0.97), "recipe", "better by more than noise"),
        ((0.94, 0.95, 0.97), (0.95, 0.96, 0.97), "recipe", "within noise"),
        ((0.95, 0.96), (0.95, 0.96), "recipe", "the tuned one is not better"),
        ((0.96,), (0.95,), "tuned", "within noise"),
        ((0.96,), (0.80,), "tuned", "better by more than noise"),
    ],
)
def test_noise_is_not_taken_for_progress(tuned, recipe, kept, words):
    tuned, recipe = (
        {
            "val_accuracy": scores,
            "mean": np.mean(scores),
            "stdev": np.std(scores, ddof=1) if scores[1:] else None,
        }
        for scores in (tuned, recipe)
    )
    report = refitting._compare(tuned, recipe, 360)
    assert report["kept"] == kept and words in report["verdict"]
