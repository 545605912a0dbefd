"""A training: what it leaves, what it reaches, and that a kill does not change it."""
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.conftest import ROOT
from zoo.errors import UserError
from zoo.training import evaluation, recipes
from zoo.training.data import pipeline
from zoo.training.engine import fit, optimizers, precision, prepare
from zoo.training.engine.fit import train


def test_a_run_directory_is_complete(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    rows = list(csv.DictReader((finished_run / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert (
        metrics["weights"] == 61_706 and metrics["seed"] == 0 and metrics["precision"] == "float32"
    )
    assert metrics["seconds"] > 0 and metrics["images_per_second"] > 0
    assert metrics["versions"]["tensorflow"] == tf.__version__
    assert metrics["test_accuracy"] == np.trace(metrics["test_confusion"]) / 360
    for picture in ("curves.png", "confusion.png"):
        assert tf.io.decode_png((finished_run / picture).read_bytes()).shape[0] > 300
    assert list(finished_run.glob("tensorboard/train/events.*")) and list(
        finished_run.glob("tensorboard/validation/events.*")
    )
    assert not list(finished_run.glob(".*.tmp"))


def test_the_model_file_is_the_network_that_was_scored(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    scores = evaluation.evaluate(finished_run)
    assert scores["accuracy"] == metrics["test_accuracy"] and scores["loss"] == pytest.approx(
        metrics["test_loss"], rel=1e-6
    )


def test_a_finished_run_is_not_trained_again(finished_run):
    before = (finished_run / "model.keras").stat().st_mtime_ns
    recipe = recipes.read(finished_run / "recipe.json")
    assert train(recipe, finished_run)["recipe"] == "lenet5-digits"
    assert (finished_run / "model.keras").stat().st_mtime_ns == before


def test_a_run_of_another_recipe_is_left_alone(finished_run):
    kept = (finished_run / "recipe.json").read_text()
    with pytest.raises(
        UserError, match="contains a run of another recipe .*epochs is 3 there, 40 here"
    ):
        train(recipes.get_recipe("lenet5-digits"), finished_run)
    assert (finished_run / "recipe.json").read_text() == kept


def test_a_training_that_cannot_start_leaves_no_directory(tmp_path):
    for args, words in (
        ({"input_shape": (8, 8, 1)}, "at least 16x16"),
        ({"classes": 3}, "classes must be 10, as digits has, or be left out. Received: 3"),
    ):
        with pytest.raises(UserError, match=words):
            train(recipes.Recipe("small", "lenet5", "digits", args), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_two_trainings_do_not_share_a_directory(finished_run):
    from zoo.training.run_dir import claim
    recipe = recipes.read(finished_run / "recipe.json")
    with claim(finished_run, recipe), pytest.raises(UserError, match="Another process is training"):
        with claim(finished_run, recipe):
            pass


def killed(run, *moment, seconds=None):
    """Run tests/killed.py until it kills itself at `moment`, or kill it `seconds` after an epoch.

    Returns the step of the checkpoint.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tests.killed", run, *moment],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as training:
        if seconds is not None:
            next(line for line in training.stdout if line.startswith("epoch"))
            time.sleep(seconds)
            training.kill()
        training.communicate()
    assert training.returncode == -signal.SIGKILL
    return json.loads(str(np.load(run / "checkpoint.npz")["meta"]))["step"]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_bit_for_bit_the_same(tmp_path):
    moments = random.Random(0)
    subprocess.run(
        [sys.executable, "-m", "tests.killed", tmp_path / "whole"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    run = tmp_path / "killed"
    steps = [
        killed(run, seconds=moments.uniform(0, 0.2)),
        killed(run, "write"),
        killed(run, "validation"),
        killed(run, seconds=moments.uniform(0, 0.2)),
        killed(run, "step"),
    ]
    assert 0 < steps[0] and steps == sorted(steps) and steps[-1] < 12 * 21, (
        "it was not killed in the middle"
    )
    subprocess.run(
        [sys.executable, "-m", "tests.killed", run], cwd=ROOT, check=True, capture_output=True
    )
    assert (run / "history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    whole, resumed = (np.load(folder / "checkpoint.npz") for folder in (tmp_path / "whole", run))
    assert not [
        key for key in whole if key != "meta" and not np.array_equal(whole[key], resumed[key])
    ]
    models = [
        keras.models.load_model(folder / "model.keras") for folder in (tmp_path / "whole", run)
    ]
    assert all(
        np.array_equal(a, b)
        for a, b in zip(*(model.get_weights() for model in models), strict=True)
    )


def test_a_training_step_is_traced_once():
    dataset, build = fit.prepare(recipes.get_recipe("lenet5-digits"))
    model, traces = build(), []
    fit.compile_model(model, recipes.get_recipe("lenet5-digits"), 2)
    loss = model.compute_loss
    model.compute_loss = lambda *args, **kwargs: traces.append(args) or loss(*args, **kwargs)
    model.fit(pipeline.batches(dataset.train, 32, 10), steps_per_epoch=2, shuffle=False, verbose=0)
    assert len(traces) == 1


def test_a_step_adds_no_variable_to_those_of_a_checkpoint():
    """Of several heads each has a loss of its own, which an interrupted epoch goes on with."""
    model = zoo.build("googlenet", input_shape=(32, 32, 3), stem="small", aux=True,
                      depths=(1, 4, 1), width=0.0625, classes=4)
    prepare.compile_model(model, recipes.Recipe("aux", "googlenet", "none"), 1)
    variables = [variable.path for variable in model.metrics_variables]
    images, labels = np.zeros((2, 32, 32, 3), "float32"), np.eye(4, dtype="float32")[:2]
    model.fit(images, dict.fromkeys(model.output, labels), verbose=0)
    assert [variable.path for variable in model.metrics_variables] == variables
    assert len(variables) > 6


@pytest.mark.slow
def test_auxiliary_heads_train_with_the_network_and_leave_it(tmp_path):
    small = {
        "input_shape": (32, 32, 1),
        "stem": "small",
        "depths": (1, 4, 1),
        "width": 0.0625,
        "aux": True,
    }
    metrics = train(
        recipes.Recipe("aux", "googlenet", "digits", small, epochs=2, batch_size=256),
        tmp_path / "run",
        log=False,
    )
    row = metrics["best_epoch"]
    assert row["loss"] == pytest.approx(
        row["logits_loss"] + 0.3 * (row["aux1_loss"] + row["aux2_loss"]), rel=0.01
    )
    assert "val_accuracy" in row
    assert keras.models.load_model(tmp_path / "run/model.keras").output.shape == (None, 10)


@pytest.mark.parametrize(
    "policy, wrapped", [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_every_precision_trains_and_ends_in_a_float32_model(tmp_path, policy, wrapped):
    recipe = recipes.override(
        recipes.get_recipe("lenet5-digits"), ["epochs=1", f"precision={policy}", "batch_size=256"]
    )
    metrics = train(recipe, tmp_path / "run", log=False)
    assert metrics["precision"] == policy and np.isfinite(metrics["test_loss"])
    model = keras.models.load_model(tmp_path / "run/model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32", "the policy leaked out of the training"


def test_pure_half_precision_is_refused():
    with pytest.raises(UserError, match="Unknown precision 'float16'"):
        precision.resolve("float16")


@pytest.mark.parametrize("devices, policy", [
    ({}, "float32"), ({"TPU": [(0, 0)]}, "mixed_bfloat16"), ({"GPU": [(8, 0)]}, "mixed_bfloat16"),
    ({"GPU": [(9, 0), (7, 5)]}, "mixed_float16"),
])
def test_auto_precision_depends_on_the_devices(monkeypatch, devices, policy):
    """A device is represented by its compute capability."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices.get(kind, []))
    monkeypatch.setattr(tf.config.experimental, "get_device_details",
                        lambda device: {"compute_capability": device})
    assert precision.resolve("auto") == policy


def test_the_rate_warms_up_and_falls_to_zero():
    recipe = recipes.Recipe("r", "lenet5", "digits", epochs=10, warmup=2, learning_rate=0.1)
    rate = optimizers.optimizer(recipe, steps_per_epoch=5)._learning_rate
    rates = [float(rate(step)) for step in range(51)]
    assert (
        rates[0] == 0
        and rates[10] == pytest.approx(0.1)
        and rates[50] == pytest.approx(0, abs=1e-9)
    )
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_weight_decay_spares_biases():
    recipe = recipes.Recipe(
        "r",
        "lenet5",
        "digits",
        optimizer="adamw",
        weight_decay=0.5,
        schedule="constant",
        learning_rate=0.1,
        warmup=0,
    )
    made = optimizers.optimizer(recipe, 5)
    kernel, bias = (
        keras.Variable(np.ones(3), name="kernel"),
        keras.Variable(np.ones(3), name="bias"),
    )
    made.build([kernel, bias])
    made.apply([np.zeros(3, "float32"), np.zeros(3, "float32")])
    assert (kernel.numpy() < 1).all() and (bias.numpy() == 1).all()


@pytest.mark.parametrize(
    "field, words",
    [
        ("optimizer", "Unknown optimizer 'adm'. Did you mean 'adam'"),
        ("schedule", "Unknown schedule 'adm'. Known: constant, cosine"),
    ],
)
def test_an_unknown_part_is_named(field, words):
    with pytest.raises(UserError, match=words):
        optimizers.optimizer(recipes.Recipe("r", "lenet5", "digits", **{field: "adm"}), 5)


@pytest.mark.slow
def test_the_cassava_recipe_runs_on_photographs_of_other_classes(tmp_path):
    archive = Path(os.environ.get("ZOO_DATA", "")) / "sign-digits.zip"
    if not archive.is_file():
        pytest.skip("sign-digits.zip is not here: set ZOO_DATA to the folder that holds it")
    zipfile.ZipFile(archive).extractall(tmp_path)
    photographs = recipes.get_recipe("lenet-cassava", str(tmp_path / "sign-digits"))
    metrics = train(recipes.override(photographs, ["epochs=1"]), tmp_path / "run", log=False)
    assert metrics["input_shape"] == [150, 150, 3] and metrics["class_names"] == [
        str(n) for n in range(10)
    ]
    assert metrics["weights"] == 2_365_581 + 5 * 85  # ten classes for five
    assert metrics["test_examples"] == 409


@pytest.mark.slow
@pytest.mark.parametrize("name, accuracy", [("lenet5-mnist", 0.990), ("lenet-mnist", 0.989)])
def test_mnist_recipes_reach_their_scores(tmp_path, mnist_dir, name, accuracy):
    assert train(recipes.get_recipe(name), tmp_path / "run", mnist_dir)["test_accuracy"] >= accuracy
