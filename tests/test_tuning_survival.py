"""Searches that are killed, interrupted and gone on with."""

import csv
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

import zoo
from tests.conftest import ROOT
from zoo.errors import UserError
from zoo.training.files import write
from zoo.training.recipes import Recipe
from zoo.tuning import sequential
from zoo.tuning.job import JOBS
from zoo.tuning.plan import Plan
from zoo.tuning.subprocess_worker import Worker

# keras-tuner 1.4.8 calls threading.currentThread().getName() at every step of an oracle; a caller
# cannot prevent it.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning"
)

SPACE = """
def space(hp, recipe):
    return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
            "batch_size": hp.Choice("batch_size", [64, 128])}
"""


def start(folder, name, algorithm, *more):
    """Start a search of a linear network on the digits in a process group of its own."""
    (folder / "space.py").write_text(SPACE)
    args = [
        "tune",
        "tests.mishaps:mishap",
        "--data",
        "digits",
        "--algorithm",
        algorithm,
        "--epochs",
        "3",
        "--space",
        folder / "space.py",
        "--run",
        folder / name,
        *more,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path, process, seconds=600):
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
        time.sleep(0.02)


def table(run):
    rows = list(csv.DictReader((run / "trials.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class Cut(BaseException):
    """The end of a process, as far as one that goes on can play it."""


class Here(Worker):
    """Does the jobs in this process, which ends at each of `moments` in turn.

    A moment is "before" a job, "between" its epochs or "after" it.
    """

    def __init__(self, moments):
        super().__init__()
        self.moments = list(moments)

    def check(self, folder, **kwargs):
        return {"status": "completed", **JOBS["check"](folder, data_dir=None, log=False, **kwargs)}

    def size(self, model, args):
        return {"status": "completed", **JOBS["size"](model, args)}

    def run(self, job, folder, more=True, **kwargs):
        moment = self.moments.pop(0) if self.moments and job == "search" else None
        if moment == "before":
            raise Cut
        if moment == "between":
            JOBS[job](folder, data_dir=None, log=False, **kwargs | {"until": 1})
            raise Cut
        answer = {"status": "completed", **JOBS[job](folder, data_dir=None, log=False, **kwargs)}
        write(folder / "result.json", json.dumps(answer))
        if moment == "after":
            raise Cut
        return answer


def linear(hp, recipe):
    return {
        "learning_rate": hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
        "batch_size": hp.Choice("batch_size", [64, 128]),
    }


@pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param("random", marks=pytest.mark.slow),
        pytest.param("bayesian", marks=pytest.mark.slow),
        pytest.param("hyperband", marks=pytest.mark.slow),
        pytest.param("grid", marks=pytest.mark.slow),
    ],
)
def test_cut_off_anywhere_it_ends_in_the_same_ranking(tmp_path, monkeypatch, algorithm):
    plan = Plan(
        Recipe("linear", "tests.mishaps:mishap", "digits", epochs=3),
        algorithm,
        space=linear,
        trials=5,
        keep=2,
    )
    monkeypatch.setattr(sequential, "Worker", lambda *output: Here(()))
    sequential.run_search(plan, tmp_path / "whole", log=False)
    cut, here = 0, Here(["before", "between", "after"])
    monkeypatch.setattr(sequential, "Worker", lambda *output: here)
    while True:
        try:
            sequential.run_search(plan, tmp_path / "cut", log=False)
            break
        except Cut:
            cut += 1
    assert cut == 3
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    assert (tmp_path / "cut/best.json").read_text() == (tmp_path / "whole/best.json").read_text()


# Three real kills of real processes: a minute each.
@pytest.mark.slow
@pytest.mark.parametrize("algorithm, trials", [("random", 4), ("bayesian", 5), ("hyperband", 5)])
def test_killed_three_times_it_ends_in_the_same_ranking(tmp_path, algorithm, trials):
    moments = random.Random(algorithm)
    with start(tmp_path, "whole", algorithm, "--trials", trials) as whole:
        for number in range(3):
            with start(tmp_path, "killed", algorithm, "--trials", trials) as process:
                wait_for(tmp_path / f"killed/trials/{number:04}/trial.json", process)
                time.sleep(moments.uniform(0, 1.5))
                process.kill()
        assert not (tmp_path / f"killed/trials/{trials - 1:04}/result.json").exists(), (
            "it was killed too late"
        )
        finished = {
            path: path.stat().st_mtime_ns for path in tmp_path.glob("killed/trials/*/result.json")
        }
        with start(tmp_path, "killed", algorithm, "--trials", trials) as process:
            output = process.communicate()[0]
        assert process.returncode == 0, output
        assert whole.wait() == 0
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items()), (
        "a finished trial was repeated"
    )
    assert table(tmp_path / "killed") == table(tmp_path / "whole")
    assert (tmp_path / "killed/best.json").read_text() == (tmp_path / "whole/best.json").read_text()


def test_a_trial_imports_tensorflow_only_where_that_is_quick():
    program = "import sys, zoo.tuning.job; print('tensorflow' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
        ).stdout
        == "False\n"
    )


@pytest.mark.slow
def test_a_search_does_not_go_on_with_other_data(tmp_path, monkeypatch):
    images, labels = np.arange(60 * 64).reshape(60, 8, 8) % 251, np.arange(60) % 2
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    monkeypatch.setattr(sequential, "Worker", lambda *output: Here(()))
    plan = Plan(
        Recipe("linear", "tests.mishaps:mishap", str(tmp_path / "set.npz"), epochs=1),
        space=linear,
        trials=1,
    )
    sequential.run_search(plan, tmp_path / "run", log=False)
    np.savez(tmp_path / "set.npz", images=images, labels=1 - labels)
    with pytest.raises(
        UserError, match="set.npz has changed since the search in .* began. Choose another run"
    ):
        sequential.run_search(dataclasses.replace(plan, trials=2), tmp_path / "run", log=False)
    assert not (tmp_path / "run/trials/0001").exists()


def one_batch_size(hp, recipe):
    return {"batch_size": hp.Choice("batch_size", [64])}


@pytest.mark.parametrize("storage", [
    None, pytest.param("sqlite:///{}/search.db", marks=pytest.mark.slow)])
def test_a_search_does_not_go_on_from_other_weights(tmp_path, monkeypatch, storage):
    from zoo.tuning import distributed

    monkeypatch.setattr(sequential, "Worker", lambda *output: Here(()))
    monkeypatch.setattr(distributed, "Worker", lambda *output: Here(()))
    weights = tmp_path / "weights.keras"
    model = zoo.build("mlp", input_shape=(8, 8, 1), hidden=(4,))
    model.save(weights)
    recipe = Recipe(
        "r",
        "mlp",
        "digits",
        {"input_shape": (8, 8, 1), "hidden": (4,), "weights": str(weights)},
        epochs=1,
        max_train_examples=100,
    )

    def search():
        plan = Plan(recipe, "grid", space=one_batch_size, trials=1)
        if storage:
            return distributed.run_search(plan, tmp_path / "run", storage.format(tmp_path), False)
        return sequential.run_search(plan, tmp_path / "run", log=False)

    assert search() == search()
    model.set_weights([weight + 1 for weight in model.get_weights()])
    model.save(weights)
    with pytest.raises(UserError, match="The weights of .*weights.keras have changed since"):
        search()


@pytest.mark.slow
def test_a_trial_does_not_outlive_its_search(tmp_path):
    with start(tmp_path, "run", "random", "--trials", "2") as process:
        wait_for(tmp_path / "run/trials/0000/trial.json", process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert children and not psutil.wait_procs(children, timeout=20)[1]


def test_an_interrupt_takes_one_line_and_the_search_goes_on(tmp_path):
    with start(tmp_path, "run", "random", "--trials", "2") as process:
        wait_for(tmp_path / "run/trials/0000/trial.json", process)
        os.killpg(
            process.pid, signal.SIGINT
        )  # as the terminal does: the trial's process gets it too
        output = process.communicate()[0]
    assert process.returncode == 130 and output.splitlines()[-1].startswith("zoo: Interrupted."), (
        output
    )
    result = tmp_path / "run/trials/0000/result.json"
    assert not result.exists() or json.loads(result.read_text())["status"] == "completed"


def test_a_trial_that_ends_the_search_is_not_begun_for_ever(tmp_path):
    from zoo.tuning import trial

    folder = trial.folder_of(tmp_path, 0)
    folder.mkdir(parents=True)
    kept, starts = None, []
    for _ in range(trial._STARTS + 1):
        kept = trial._count_start(folder, kept)
        starts.append(kept["starts"])
    assert starts[-1] > trial._STARTS
    (folder / "checkpoint.npz").write_text("an epoch was done")
    assert trial._count_start(folder, kept)["starts"] == 1, "a trial that gets on is given up"


@pytest.mark.slow
def test_a_network_that_kills_the_process_that_counts_it_is_an_error():
    with Worker(log=False) as worker:
        assert "ended by SIGKILL" in worker.size("tests.mishaps:mishap", {"fate": "crash"})["error"]
        size = {"status": "completed", "params": 650, "multiply_adds": 640}
        assert worker.size("tests.mishaps:mishap", {"fate": "fine"}) == size
        process = worker._checker[0]
        assert worker.size("lenet5", {})["params"] == 61_706 and worker._checker[0] is process
    assert process.poll() is not None, "it outlives the search"


@pytest.mark.slow
def test_thirty_trials_do_not_grow_the_search(tmp_path):
    with start(tmp_path, "run", "random", "--trials", "30", "--keep", "2") as process:
        sizes = {}
        for number in (2, 29):
            wait_for(tmp_path / f"run/trials/{number:04}/trial.json", process, 900)
            sizes[number] = psutil.Process(process.pid).memory_info().rss / 2**20
        process.communicate()
    assert sizes[29] - sizes[2] < 100, sizes
    assert len(list(tmp_path.glob("run/trials/*/best.npz"))) == 2
