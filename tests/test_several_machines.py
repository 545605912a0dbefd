"""`strategy="multi_worker"`: two processes train as one does, and a killed one can be restarted."""
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.test_stream import photos
from zoo.training import recipes
from zoo.training.engine.fit import train

RECIPE = recipes.Recipe(
    "shared",
    "resnet20",
    "digits",
    {"input_shape": (8, 8, 1), "n": 1, "dropout": 0.2},
    epochs=6,
    batch_size=128,
    max_train_examples=1280,
    optimizer="nesterov",
    learning_rate=0.02,
    ema=0.9,
    augment={"shift": 1},
)


@contextlib.contextmanager
def workers(tmp_path, run, recipe):
    """Two processes of `zoo train`, each with its place in TF_CONFIG; the first one writes."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0)), other.bind(("127.0.0.1", 0))
        hosts = [f"127.0.0.1:{place.getsockname()[1]}" for place in (one, other)]
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    started = []
    for index in (0, 1):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        started.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "zoo",
                    "train",
                    "--recipe",
                    tmp_path / "recipe.json",
                    "--run",
                    run,
                    "--strategy",
                    "multi_worker",
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
            )
        )
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def finished(tmp_path, run, recipe=RECIPE):
    with workers(tmp_path, run, recipe) as both:
        said = [process.communicate(timeout=300) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
    assert "this worker is done; the first one writes" in said[1][0]
    return keras.models.load_model(run / "model.keras").get_weights()


@pytest.mark.slow
def test_a_killed_worker_costs_a_restart_and_no_bit(tmp_path):
    whole = finished(tmp_path, tmp_path / "whole")
    with workers(tmp_path, tmp_path / "killed", RECIPE) as (first, second):
        next(line for line in first.stdout if line.startswith("epoch 2/6"))
        second.send_signal(signal.SIGKILL)
        said = first.communicate(timeout=120)[1]
    assert first.returncode == 1 and "Another worker is gone" in said.splitlines()[-1], said
    resumed = finished(tmp_path, tmp_path / "killed")
    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))


@pytest.mark.slow
def test_two_workers_agree_with_one_process(tmp_path):
    """Without dropout, which draws for each share by itself."""
    recipe = recipes.override(RECIPE, ["dropout=0.0", "epochs=2"])
    finished(tmp_path, tmp_path / "two", recipe)
    one = train(recipe, tmp_path / "one", log=False)
    two = json.loads((tmp_path / "two/metrics.json").read_text())
    assert two["strategy"] == "multi_worker" and one["strategy"] == "none"
    for key in ("loss", "val_loss"):
        assert two["best_epoch"][key] == pytest.approx(one["best_epoch"][key], rel=1e-3)


@pytest.mark.slow
def test_two_workers_agree_with_one_process_on_a_stream(tmp_path):
    """That their shares are disjoint is tested in tests/test_stream.py."""
    recipe = dataclasses.replace(
        recipes.override(RECIPE, ["dropout=0.0", "epochs=2", "input_shape=(12,12,3)"]),
        data=str(photos(tmp_path / "photos")),
        cache="none",
        batch_size=16,
        max_train_examples=0,
        augment={"random_resized_crop": 0.2, "flip": True},
    )
    finished(tmp_path, tmp_path / "two", recipe)
    one = train(recipe, tmp_path / "one", log=False)
    two = json.loads((tmp_path / "two/metrics.json").read_text())
    assert two["strategy"] == "multi_worker" and one["strategy"] == "none"
    assert two["data_fingerprint"] == one["data_fingerprint"]
    for key in ("loss", "val_loss"):
        assert two["best_epoch"][key] == pytest.approx(one["best_epoch"][key], rel=1e-3)
