"""What goes wrong while a network trains ends in one line, and costs nothing that was there."""
import json
import re
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import zoo
from tests.conftest import ROOT
from tests.test_training_options import DIGITS, options, stop
from zoo.errors import UserError
from zoo.training import evaluation, recipes
from zoo.training.data.dataset import load_data
from zoo.training.deployment import exporter
from zoo.training.engine import callbacks, checkpoint, fit, prepare, progress
from zoo.training.engine.fit import train
from zoo.training.explanation import explainer


def test_a_diverging_training_says_where_and_keeps_no_broken_weights(tmp_path):
    with pytest.raises(
        UserError,
        match=r"no longer a finite number at step \d+ \(epoch 1\), with a learning rate of 1e\+30",
    ):
        train(
            options(model="lenet5_relu", optimizer="sgd", learning_rate=1e30),
            tmp_path / "run",
            log=False,
        )
    assert (
        not (tmp_path / "run/checkpoint.npz").exists()
        and not (tmp_path / "run/metrics.json").exists()
    )


def test_an_overflow_under_loss_scaling_halves_the_scale_and_goes_on(tmp_path):
    metrics = train(options(precision="mixed_float16", epochs=1), tmp_path / "run", log=False)
    assert metrics["best_epoch"]["loss_scale"] in {2.0 ** n for n in range(20)}


def test_a_full_disk_loses_no_earlier_checkpoint(tmp_path):
    """The limit on the size of a file stands for the end of the disk."""
    script = """
import resource, sys
from zoo.training import recipes
from zoo.training.engine import callbacks, checkpoint, fit
callbacks._SECONDS, save = 0, checkpoint.TrainingState.save
def full(self, model):
    if self.step == 12:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
    save(self, model)
checkpoint.TrainingState.save = full
fit.train(recipes.read(sys.argv[1]), sys.argv[2], log=False)
"""
    recipe = options(epochs=3)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    full = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "recipe.json", tmp_path / "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (
        "Cannot write" in full.stderr.splitlines()[-1]
        and "make room" in full.stderr.splitlines()[-1]
    )
    assert json.loads(str(np.load(tmp_path / "run/checkpoint.npz")["meta"]))["step"] == 11
    assert not list((tmp_path / "run").glob(".*.tmp"))
    train(recipe, tmp_path / "run", log=False)
    train(recipe, tmp_path / "whole", log=False)
    assert (tmp_path / "run/history.csv").read_bytes() == (
        tmp_path / "whole/history.csv"
    ).read_bytes()


def test_a_slow_disk_is_written_to_for_a_tenth_of_the_time(tmp_path, monkeypatch):
    """A simulated clock: one second per step, forty per checkpoint."""
    seconds, begun = [0], []

    def slow_write(path, data):
        begun.append(seconds[0])
        seconds[0] += 40
    monkeypatch.setattr(callbacks, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(checkpoint, "write", slow_write)
    model = fit.prepare(DIGITS)[1]()
    fit.compile_model(model, DIGITS, 10_000)
    state = checkpoint.TrainingState(tmp_path, 10_000)
    every = keras.callbacks.CallbackList(callbacks.state_callbacks(state), model=model)
    every.on_train_begin()
    for step in range(1000):
        seconds[0] += 1
        every.on_train_batch_end(step, {"loss": 1.0})
    assert begun == [31, 31 + 441, 31 + 2 * 441]


def test_a_batch_beyond_the_memory_is_refused_with_one_that_fits(tmp_path):
    model = zoo.build("resnet20")
    with pytest.raises(
        UserError, match=r"batch of 1024 takes 2 GB .* has 1 GB\. Try batch_size=(\d+) "
    ) as refused:
        prepare.check_memory(model, 1024, memory=1e9)
    fits = int(re.search(r"batch_size=(\d+)", str(refused.value))[1])
    prepare.check_memory(model, fits, memory=1e9)
    assert 1024 / 4 <= fits < 1024
    recipe = recipes.Recipe(
        "vast",
        "densenet40_k12",
        "digits",
        {"input_shape": (224, 224, 1)},
        batch_size=2000,
        epochs=1,
    )
    with pytest.raises(
        UserError, match=r"^Out of memory: a batch of 1293 takes \d+ GB"
    ):  # 0.4 GB an image
        train(recipe, tmp_path / "run", log=False)
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_data(tmp_path, monkeypatch):
    digits = load_data("digits", (8, 8, 1))
    np.savez(tmp_path / "d.npz", x_train=digits.train.examples, y_train=digits.train.labels)
    recipe = options(
        data=str(tmp_path / "d.npz"), model_args={"input_shape": (32, 32, 1)}, epochs=1
    )
    with monkeypatch.context() as patch:
        patch.setattr(
            progress.Report, "on_train_batch_begin", lambda self, batch, logs=None: stop()
        )
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", log=False)
    np.savez(tmp_path / "d.npz", x_train=255 - digits.train.examples, y_train=digits.train.labels)
    with pytest.raises(UserError, match="was started with data fingerprint"):
        train(recipe, tmp_path / "run", log=False)


@pytest.fixture
def drawn(tmp_path):
    """A run on an array file without a test part, and that file."""
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", images=draw.integers(0, 256, (80, 8, 8)), labels=np.arange(80) % 2)
    train(options(model="mlp", data=str(tmp_path / "d.npz"), epochs=1), tmp_path / "run", log=False)
    return tmp_path / "run", tmp_path / "d.npz"


def test_what_was_trained_on_is_not_scored_as_a_test_part(drawn, tmp_path):
    run, file = drawn
    before = evaluation.evaluate(run)
    assert before["examples"] == 16
    with np.load(file) as held:
        np.savez(file, images=held["images"][2:], labels=held["labels"][2:])
    with pytest.raises(
        UserError,
        match="The test split of .*d.npz has changed since .*run was trained, .* `zoo evaluate",
    ):
        evaluation.evaluate(run)
    with pytest.raises(UserError, match="has changed since"):
        exporter.export(run, tmp_path / "export", report=True)
    assert evaluation.evaluate(run, str(file))["examples"] == 16
    assert "that the run kept" in explainer.explain(run).tested


def test_classes_that_have_changed_are_not_reported_on(drawn, tmp_path):
    run, file = drawn
    with np.load(file) as held:
        np.savez(file, images=held["images"], labels=held["labels"] + 1)
    with pytest.raises(UserError, match="was trained on the classes 0, 1; .* has 0, 1, 2"):
        exporter.export(run, tmp_path / "export", report=True)
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("file", [
    "checkpoint.npz", "best.npz", "manifest.json", "metrics.json", "examples.npz", "history.csv"])
def test_a_damaged_run_directory_is_told_in_a_line(file, drawn):
    run, _ = drawn
    recipe = recipes.read(run / "recipe.json")
    doing = {"examples.npz": exporter.export, "history.csv": explainer.explain}.get(file)
    if file != "metrics.json" and not doing:
        (run / "metrics.json").unlink()
    (run / file).write_bytes(
        (run / file).read_bytes()[:100] if file.endswith(".npz") else b"epoch\n?"
    )
    with pytest.raises(
        UserError,
        match=f"Cannot read .*{file}: .* The run directory is damaged: choose a new run directory",
    ):
        doing(run) if doing else train(recipe, run, log=False)


def test_a_missing_best_epoch_is_told_before_the_rest_is_trained(drawn):
    run, _ = drawn
    (run / "metrics.json").unlink(), (run / "best.npz").unlink()
    with pytest.raises(UserError, match="Cannot read .*best.npz: FileNotFoundError"):
        train(recipes.read(run / "recipe.json"), run, log=False)


def test_a_kill_before_the_manifest_leaves_a_run_directory(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "write_or_check_manifest", lambda *told: stop())
        with pytest.raises(KeyboardInterrupt):
            train(options(epochs=1), tmp_path / "run", log=False)
    assert train(options(epochs=1), tmp_path / "run", log=False)["test_examples"] == 360
