"""Searches that several processes share through a database."""

import contextlib
import csv
import dataclasses
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import keras_tuner as kt
import pytest

from tests.conftest import ROOT
from tests.test_tuning_survival import SPACE, wait_for
from zoo.errors import UserError
from zoo.training.recipe import read
from zoo.training.recipes import Recipe
from zoo.tuning.plan import Plan
from zoo.tuning.subprocess_worker import Worker

optuna = pytest.importorskip("optuna", reason="the extra `distributed` is not installed")
TRIALS = 5


def worker(folder, url, *more):
    """Start `zoo tune` on the database `url`, with a heartbeat every second, not every 20."""
    (folder / "space.py").write_text(SPACE)
    args = [
        "tune",
        "tests.mishaps:mishap",
        "--data",
        "digits",
        "--epochs",
        "3",
        "--space",
        folder / "space.py",
        "--run",
        folder / "run",
        "--storage",
        url,
        "--trials",
        TRIALS,
        *more,
    ]
    start = (
        "import sys; from zoo.tuning import distributed; distributed._HEARTBEAT = 1; "
        "from zoo.__main__ import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def killed_in_the_middle(folder, url):
    """Let two workers share a search and kill the first during a trial.

    Returns what the other printed, and the table.
    """
    with worker(folder, url) as first, worker(folder, url) as second:
        wait_for(folder / "run/trials/0000/trial.json", first)
        while not (
            begun := [
                path
                for path in folder.glob("run/trials/*/checkpoint.npz")
                if not (path.parent / "result.json").exists()
            ]
        ):
            assert first.poll() is None and second.poll() is None
            time.sleep(0.01)
        first.kill()
        output = second.communicate()[0]
        assert second.returncode == 0, output
    assert begun
    return output, list(csv.DictReader((folder / "run/trials.csv").read_text().splitlines()))


def all_done_once(table):
    assert len(table) == TRIALS and {row["status"] for row in table} == {"completed"}, table
    assert (
        len({row["trial"] for row in table})
        == len({row["learning_rate"] for row in table})
        == TRIALS
    )
    assert {row["epochs"] for row in table} == {"3"}


@pytest.mark.slow
def test_a_killed_workers_trial_is_taken_over(tmp_path):
    output, table = killed_in_the_middle(tmp_path, f"sqlite:///{tmp_path}/search.db")
    all_done_once(table)
    assert (tmp_path / "run/best.json").exists() and (tmp_path / "run/search.html").exists()
    late = worker(tmp_path, f"sqlite:///{tmp_path}/search.db")
    again = late.communicate()[0]
    assert late.returncode == 0 and not re.search(r"epoch +\d+/", again), (
        "a finished search trained again"
    )
    shutil.move(
        tmp_path / "run/best.json", tmp_path / "before.json"
    )  # as if the process that came last had been killed
    (tmp_path / "run/trials.csv").unlink()
    worker(tmp_path, f"sqlite:///{tmp_path}/search.db").communicate()
    assert (tmp_path / "run/best.json").read_text() == (tmp_path / "before.json").read_text()
    assert (tmp_path / "run/trials.csv").exists()


class Instant(Worker):
    """Answers each job at once, without training."""

    def check(self, folder, **kwargs):
        return {"status": "completed", "args": {}, "data": "", "weights": None, "onednn": False}

    def size(self, model, args):
        return {"status": "completed", "params": 1, "multiply_adds": 1}

    def run(self, job, folder, more=True, **kwargs):
        return {
            "status": "completed",
            "score": 0.5,
            "val_loss": 1.0,
            "best_epoch": 1,
            "epochs": 1,
            "seconds": 0.0,
            **kwargs,
        }


def conditional(hp, recipe):
    chosen = {"optimizer": hp.Choice("optimizer", ["adam", "sgd"])}
    with hp.conditional_scope("optimizer", ["sgd"]):
        momentum = hp.Choice("momentum", [0.5, 0.9])
    return chosen | ({"momentum": momentum} if chosen["optimizer"] == "sgd" else {})


def doubled(hp, recipe):
    return {"batch_size": hp.Int("batch_size", 8, 64, step=2, sampling="log")}


def layers(hp, recipe):
    """Ask for the size of both layers at all values, as keras-tuner's own examples do."""
    sizes = [hp.Choice(f"size{number}", [8, 16]) for number in range(2)]
    return {"input_shape": tuple(sizes[: hp.Int("layers", 1, 2)])}


def fixed(hp, recipe):
    return {"batch_size": hp.Fixed("batch_size", 16)}


SMALL = {  # the recipes that a space can make
    conditional: [
        {"optimizer": "adam", "momentum": 0.9},
        {"optimizer": "sgd", "momentum": 0.5},
        {"optimizer": "sgd", "momentum": 0.9},
    ],
    fixed: [{"batch_size": 16}],
    doubled: [{"batch_size": size} for size in (8, 16, 32, 64)],
    layers: [{"input_shape": sizes} for sizes in ([8], [16], [8, 8], [8, 16], [16, 8], [16, 16])],
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "space, algorithm, storage",
    [
        pytest.param(
            space,
            algorithm,
            storage,
            marks=[SLOW]
            * (algorithm == "bayesian" and space is not fixed or storage and space is not layers),
        )
        for space in SMALL
        for algorithm in ("grid", "random", "hyperband", "bayesian")
        for storage in (False, True)
    ],
)
def test_a_small_space_is_tried_once_and_ends_the_search(
    tmp_path, monkeypatch, space, algorithm, storage
):
    from zoo.tuning import distributed, report, sequential

    monkeypatch.setattr(distributed, "Worker", Instant)
    monkeypatch.setattr(sequential, "Worker", Instant)
    monkeypatch.setattr(report, "page", lambda recipe, rows, trials=None: "")
    plan = Plan(
        Recipe("r", "tests.mishaps:mishap", "digits", epochs=3), algorithm, space=space, trials=20
    )

    def search():
        if storage:
            url = f"sqlite:///{tmp_path}/s.db"
            return distributed.run_search(plan, tmp_path / "run", url, log=False)
        return sequential.run_search(plan, tmp_path / "run", log=False)

    rows = search()
    recipes = [
        read(tmp_path / f"run/trials/{row['trial']:04}/recipe.json")
        for row in rows
        if row["continues"] is None
    ]
    made = [
        {name: {**asdict, **asdict["model_args"]}[name] for name in SMALL[space][0]}
        for asdict in map(dataclasses.asdict, recipes)
    ]
    assert sorted(map(str, made)) == sorted(map(str, SMALL[space]))
    assert search() == rows


def test_a_space_whose_size_is_unknown_ends_the_search_when_draws_repeat(tmp_path, monkeypatch):
    from zoo.tuning import distributed

    monkeypatch.setattr(distributed, "Worker", Instant)
    monkeypatch.setattr(distributed, "_COLLISIONS", 20)
    plan = Plan(
        Recipe("r", "tests.mishaps:mishap", "digits", epochs=1),
        trials=12,
        space=lambda hp, recipe: {"batch_size": hp.Int("batch_size", 4, 6, sampling="log")},
    )
    rows = distributed.run_search(plan, tmp_path / "run", f"sqlite:///{tmp_path}/s.db", log=False)
    assert sorted(row["values"]["batch_size"] for row in rows) == [4, 5, 6]


def test_a_search_of_other_data_or_another_space_is_another_study(tmp_path, monkeypatch):
    """The same name of the data, the same recipe and the same ranges."""
    from zoo.tuning import distributed

    class OfData(Instant):
        """Scores what its data is."""

        def check(self, folder, **kwargs):
            return {**super().check(folder, **kwargs), "data": data, "weights": weights}

        def run(self, job, folder, more=True, **kwargs):
            recipe = read(folder / "recipe.json")
            score = len(data + str(weights)) + recipe.learning_rate
            return {**super().run(job, folder, more, **kwargs), "score": score}

    def rate(hp, recipe):
        return {"learning_rate": hp.Choice("rate", [0.25, 0.5])}

    def halved(hp, recipe):
        return {"learning_rate": hp.Choice("rate", [0.25, 0.5]) / 2}

    monkeypatch.setattr(distributed, "Worker", OfData)
    recipe = Recipe("r", "tests.mishaps:mishap", "digits", epochs=1)

    def best(name, **changed):
        plan = Plan(**{"recipe": recipe, "algorithm": "grid", "space": rate, "trials": 2} | changed)
        url = f"sqlite:///{tmp_path}/s.db"
        return distributed.run_search(plan, tmp_path / name, url, log=False)[0]["score"]

    data, weights = "old", None
    assert best("first") == best("second") == 7.5
    data = "other"
    assert best("third") == 9.5
    with pytest.raises(UserError, match="digits has changed since the search in .* began"):
        best("first")
    data, weights = "old", "ab"
    assert best("fourth") == 5.5
    data, weights = "old", None
    assert best("fifth", space=halved) == 7.25
    assert best("sixth", recipe=dataclasses.replace(recipe, validation_split=0.3)) == 7.5
    names = [
        study.study_name for study in optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/s.db")
    ]
    assert len(names) == len(set(names)) == 5


def test_logarithmic_steps_multiply_as_keras_tuner_has_them():
    import optuna

    from zoo.tuning import samplers

    declared = kt.HyperParameters()
    declared.Int("units", 3, 100, step=2, sampling="log")
    declared.Float("rate", 0.001, 1.0, step=10, sampling="log")
    declared.Float("turned", 1.0, 100.0, step=3, sampling="reverse_log")
    declared.Int("linear", 0, 10, step=5)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [samplers.suggest(study.ask(), declared) for _ in range(60)]
    assert {values["units"] for values in drawn} == {3, 6, 12, 24, 48, 96}
    assert {type(values["units"]) for values in drawn} == {int}
    assert {round(values["rate"], 9) for values in drawn} == {0.001, 0.01, 0.1, 1.0}
    assert {values["turned"] for values in drawn} == {100.0, 98.0, 92.0, 74.0, 20.0}
    assert {values["linear"] for values in drawn} == {0, 5, 10}


def test_a_large_grid_is_not_written_out():
    from zoo.tuning import samplers

    declared = kt.HyperParameters()
    for number in range(30):
        declared.Float(f"x{number}", 0.0, 1.0, default=0.5)
    plan = Plan(Recipe("r", "lenet5", "digits"), "grid", trials=7)
    assert samplers.limit(plan, declared) == 7
    grid = samplers.sampler(plan, declared).grid
    assert (
        grid[0] == dict.fromkeys(declared.values, 0.5)
        and len({str(values) for values in grid}) == 7
    )


@contextlib.contextmanager
def postgres():
    """Run a server on loopback, or skip without PostgreSQL. Root runs it as nobody."""
    if not shutil.which("initdb") or not shutil.which("postgres"):
        pytest.skip("PostgreSQL is not installed: initdb and postgres are looked for on the path")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        user = {"user": "nobody", "cwd": folder} if os.geteuid() == 0 else {}
        if user:
            shutil.chown(folder, "nobody")
        subprocess.run(
            ["initdb", "-D", f"{folder}/db", "-U", "zoo", "-A", "trust"],
            check=True,
            capture_output=True,
            **user,
        )
        free.bind(("127.0.0.1", 0))
        address = ["-h", "127.0.0.1", "-p", str(free.getsockname()[1])]
        free.close()
        with subprocess.Popen(
            ["postgres", "-D", f"{folder}/db", "-k", folder, *address],
            stderr=subprocess.DEVNULL,
            **user,
        ) as server:
            while subprocess.run(["pg_isready", *address], capture_output=True).returncode:
                assert server.poll() is None
                time.sleep(0.1)
            try:
                yield f"postgresql+psycopg://zoo@127.0.0.1:{address[-1]}/postgres"
            finally:
                server.terminate()


@pytest.mark.slow
def test_a_killed_workers_trial_is_taken_over_on_postgresql(tmp_path):
    with postgres() as url:
        all_done_once(killed_in_the_middle(tmp_path, url)[1])


@pytest.mark.parametrize(
    "url, words",
    [
        pytest.param(
            "sqlite:////no/such/folder/s.db", "Cannot use the storage", marks=pytest.mark.slow
        ),
        ("nosuch://x", "Cannot use the storage nosuch://x"),
    ],
)
def test_a_storage_that_cannot_be_used_is_named(zoo_command, tmp_path, url, words):
    answer = zoo_command("tune", "lenet5-digits", "--epochs", 1, "--run", "run", "--storage", url)
    assert (
        answer.returncode == 1 and words in answer.stderr and len(answer.stderr.splitlines()) == 1
    )
