"""What a recipe can say about training does what it says."""
import contextlib
import dataclasses
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
from training import checkpoint, data, distribute, fit, optimize, prepare, progress, recipes
from training.fit import train
from zoo.errors import UserError

DIGITS = recipes.Recipe("r", "lenet5", "digits", epochs=2, batch=256, warmup=0.0, schedule="constant")
RESNET = dataclasses.replace(DIGITS, model="resnet20", model_args={"input_shape": (8, 8, 1), "n": 1})


def options(recipe=DIGITS, **fields):
    return dataclasses.replace(recipe, **fields)


def stepped(recipe, gradients, start=1.0, stages=None):
    """The kernel after one call of the recipe's optimiser for each of `gradients`, numbers."""
    made = optimize.optimizer(recipe, 10, stages)
    kernel = keras.Variable(np.full((2, 3), start, "float32"), name="kernel")
    made.build([kernel])
    for gradient in gradients:
        made.apply([keras.ops.full((2, 3), gradient)])
    return kernel.numpy()[0, 0]


@pytest.mark.parametrize("name", optimize.OPTIMIZERS)
def test_every_optimizer_goes_against_the_gradient(name):
    assert stepped(options(optimizer=name, learning_rate=0.1), [1.0] * 3) < 1


@pytest.mark.parametrize("fields, expected", [
    ({"schedule": "constant", "warmup": 2.0}, {0: 0, 10: 0.1, 20: 0.2, 90: 0.2}),
    ({"schedule": "step"}, {0: 0.2, 49: 0.2, 50: 0.02, 74: 0.02, 75: 0.002, 99: 0.002}),
    ({"schedule": "one_cycle"}, {0: 0.008, 45: 0.2, 90: 0.008, 100: 0.00008}),
    ({"schedule": "cosine"}, {0: 0.2, 50: 0.1, 100: 0}),
    ({"schedule": "cosine", "accumulate": 2}, {0: 0.2, 25: 0.1, 50: 0}),
    ({"schedule": "cosine", "accumulate": 60, "warmup": 10.0}, {0: 0, 1: 0.2}),
])
def test_schedules_go_through_their_points(fields, expected):
    rate = optimize.optimizer(options(epochs=10, learning_rate=0.2, **fields), 10)._learning_rate
    assert {step: float(rate(step)) for step in expected} == pytest.approx(expected, abs=1e-6)


def test_accumulated_gradients_make_one_update_of_their_mean():
    sgd = options(optimizer="sgd", momentum=0.0, learning_rate=0.1)
    assert stepped(options(sgd, accumulate=2), [1.0, 3.0]) == pytest.approx(stepped(sgd, [2.0]))
    assert stepped(options(sgd, accumulate=2), [1.0]) == 1


def test_clipping_bounds_the_norm_of_the_gradient():
    sgd = options(optimizer="sgd", momentum=0.0, learning_rate=1.0, clip=0.6)
    assert stepped(sgd, [100.0], start=0.0) == pytest.approx(-0.6 / 6 ** 0.5)


def test_a_stage_follows_its_own_share_of_the_rate():
    sgd = options(optimizer="sgd", momentum=0.0, learning_rate=1.0, stage_rates={"stem": 0.1})
    assert stepped(sgd, [1.0], stages=["stem"]) == pytest.approx(0.9)
    assert stepped(sgd, [1.0], stages=["stage1"]) == 0


def weights_of(run, stage):
    """{path: value} of all variables of `stage` in the run's model, statistics of batch normalisations too."""
    model = keras.models.load_model(run / "model.keras")
    return {v.path: v.numpy() for v in model.variables if v.path.startswith(stage)}


def test_frozen_stages_do_not_move_until_they_are_thawed(tmp_path):
    recipe = options(RESNET, frozen=["stem", "stage1"])
    train(recipe, tmp_path / "frozen", log=False)
    train(options(recipe, thaw=1), tmp_path / "thawed", log=False)
    keras.utils.set_random_seed(0)
    start = {v.path: v.numpy() for v in fit.prepare(recipe)[1]().variables}
    for run, stage, moves in (("frozen", "stage1", False), ("frozen", "stage2", True), ("thawed", "stage1", True),
                              ("thawed", "stem", False)):
        moved = [not np.array_equal(value, start[path]) for path, value in weights_of(tmp_path / run, stage).items()]
        assert moved and all(moved) if moves else not any(moved), (run, stage)


def test_thawing_goes_on_after_an_interrupt(tmp_path, monkeypatch):
    recipe = options(RESNET, frozen=["all"], thaw=1, stage_rates={"stage3": 0.5}, epochs=3, patience=3, ema=0.9)
    train(recipe, tmp_path / "whole", log=False)
    with monkeypatch.context() as patch:
        patch.setattr(progress.Report, "on_train_batch_begin",
                      lambda self, batch, logs=None: self.checkpoint.step == 8 and stop())
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "again", log=False)
        patch.setattr("training.checkpoint._SECONDS", 0)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "again", log=False)
    train(recipe, tmp_path / "again", log=False)
    assert (tmp_path / "again/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


def stop():
    raise KeyboardInterrupt


def test_an_unknown_stage_is_named():
    with pytest.raises(UserError, match="Unknown stage of resnet20 'stage9'. Did you mean 'stage"):
        fit.prepare(options(RESNET, frozen=["stage9"]))[1]()


def test_the_averaged_weights_are_kept(tmp_path):
    train(options(epochs=1, ema=0.9), tmp_path / "run", log=False)
    state = np.load(tmp_path / "run/checkpoint.npz")
    optimizer = [value for key, value in state.items() if key.startswith("optimizer")]
    for i, kept in enumerate(keras.models.load_model(tmp_path / "run/model.keras").get_weights()):
        assert any(np.array_equal(kept, value) for value in optimizer) and not np.array_equal(kept, state[f"model{i}"])


def test_training_stops_when_validation_gets_no_better(tmp_path):
    metrics = train(options(learning_rate=0.0, epochs=9, patience=2), tmp_path / "run", log=False)
    assert metrics["epochs"] == 3 and metrics["best_epoch"]["epoch"] == 1


def test_the_initializer_draws_every_kernel():
    model = fit.prepare(options(initializer="zeros"))[1]()
    assert all(("kernel" in v.name) == (not v.numpy().any()) or "bias" in v.name for v in model.trainable_variables)
    with pytest.raises(UserError, match="Unknown initializer 'he_norml'. Did you mean 'he_normal'"):
        fit.prepare(options(initializer="he_norml"))[1]()


@pytest.mark.parametrize("fields, words", [
    ({"initializer": "identity"}, r"'identity' cannot draw the kernels of lenet5. Received: the shape \(5, 5, 1, 6\)"),
    ({"initializer": "get"}, "Unknown initializer 'get'"),
    ({"patience": 2, "validation": 0.0}, "patience needs validation examples.* Received: patience=2, validation=0."),
    ({"stage_rates": {"all": 0.1}}, "Unknown stage of lenet5 'all'"),
    ({"accumulate": 13}, "accumulate must be at most 12, as many batches as all epochs have. Received: 13."),
])
def test_what_could_do_nothing_is_refused(tmp_path, fields, words):
    with pytest.raises(UserError, match=words):
        train(options(**fields), tmp_path / "run", log=False)
    assert not (tmp_path / "run").exists()


def test_a_limit_leaves_training_examples_out_and_no_others():
    whole, some = (fit.prepare(options(limit=limit))[0] for limit in (0, 200))
    assert len(some.train) == 200 and set(some.train.rows) < set(whole.train.rows)
    assert np.array_equal(some.test.rows, whole.test.rows) and np.array_equal(some.validation.rows, whole.validation.rows)
    assert np.bincount(some.train.labels).min() >= 18


def test_a_diverging_training_says_where_and_keeps_no_broken_weights(tmp_path):
    with pytest.raises(UserError, match=r"no longer a finite number at step \d+ \(epoch 1\), with a learning rate of 1e\+30"):
        train(options(model="lenet5_relu", optimizer="sgd", learning_rate=1e30), tmp_path / "run", log=False)
    assert not (tmp_path / "run/checkpoint.npz").exists() and not (tmp_path / "run/metrics.json").exists()


def test_an_overflow_under_loss_scaling_halves_the_scale_and_goes_on(tmp_path):
    metrics = train(options(precision="mixed_float16", epochs=1), tmp_path / "run", log=False)
    assert metrics["best_epoch"]["loss_scale"] in {2.0 ** n for n in range(20)}


def test_a_full_disk_loses_no_earlier_checkpoint(tmp_path):
    """The limit on the size of a file stands for the end of the disk."""
    script = ("import resource, sys; from training import checkpoint, recipes; from training.fit import train;"
              "checkpoint._SECONDS = 0; recipe = recipes.read(sys.argv[1]);"
              "save = checkpoint.Checkpoint.save\n"
              "def full(self):\n"
              "    if self.step == 12: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))\n"
              "    save(self)\n"
              "checkpoint.Checkpoint.save = full\n"
              "train(recipe, sys.argv[2], log=False)")
    recipe = options(epochs=3)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    full = subprocess.run([sys.executable, "-c", script, tmp_path / "recipe.json", tmp_path / "run"], cwd=ROOT,
                          capture_output=True, text=True)
    assert "Cannot write" in full.stderr.splitlines()[-1] and "make room" in full.stderr.splitlines()[-1]
    assert json.loads(str(np.load(tmp_path / "run/checkpoint.npz")["meta"]))["step"] == 11
    assert not list((tmp_path / "run").glob(".*.tmp"))
    train(recipe, tmp_path / "run", log=False)
    train(recipe, tmp_path / "whole", log=False)
    assert (tmp_path / "run/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


def test_a_slow_disk_is_written_to_for_a_tenth_of_the_time(tmp_path, monkeypatch):
    """Seconds are counted, not waited for: one a step, and forty a checkpoint."""
    seconds, begun = [0], []
    monkeypatch.setattr(checkpoint, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(checkpoint, "write", lambda path, data: (begun.append(seconds[0]), seconds.append(seconds.pop() + 40)))
    model = fit.prepare(DIGITS)[1]()
    fit.compile_model(model, DIGITS, 10_000)
    state = checkpoint.Checkpoint(tmp_path, 10_000)
    state.set_model(model)
    state.on_train_begin()
    for step in range(1000):
        seconds[0] += 1
        state.on_train_batch_end(step, {"loss": 1.0})
    assert begun == [31, 31 + 441, 31 + 2 * 441]


def test_a_batch_beyond_the_memory_is_refused_with_one_that_fits(tmp_path):
    model = zoo.build("resnet20")
    with pytest.raises(UserError, match=r"batch of 1024 takes 2 GB .* has 1 GB\. Try --set batch=(\d+) ") as refused:
        prepare.refuse_too_large(model, 1024, memory=1e9)
    fits = int(re.search(r"batch=(\d+)", str(refused.value))[1])
    prepare.refuse_too_large(model, fits, memory=1e9)
    assert 1024 / 4 <= fits < 1024
    recipe = recipes.Recipe("vast", "densenet40_k12", "digits", {"input_shape": (224, 224, 1)}, batch=2000, epochs=1)
    with pytest.raises(UserError, match=r"^Out of memory: a batch of 1293 takes \d+ GB"):  # 0.4 GB an image
        train(recipe, tmp_path / "run", log=False)
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_data(tmp_path, monkeypatch):
    digits = data.load("digits", (8, 8, 1))
    np.savez(tmp_path / "d.npz", x_train=digits.train.images, y_train=digits.train.labels)
    recipe = options(data=str(tmp_path / "d.npz"), model_args={"input_shape": (32, 32, 1)}, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(progress.Report, "on_train_batch_begin", lambda self, batch, logs=None: stop())
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", log=False)
    np.savez(tmp_path / "d.npz", x_train=255 - digits.train.images, y_train=digits.train.labels)
    with pytest.raises(UserError, match="was begun with data fingerprint"):
        train(recipe, tmp_path / "run", log=False)


# Trains as its first argument says, then in half precision; then the gradient of the second device alone is infinite.
TWO_DEVICES = """
import sys, keras, tensorflow as tf
from training import distribute, optimize, recipes
from training.fit import train
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
train(recipes.read(sys.argv[1]), sys.argv[2], log=False, strategy="mirrored")
half = recipes.Recipe("half", "mlp", "digits", {"input_shape": (8, 8, 1)}, epochs=1, batch=256, precision="mixed_float16")
train(half, sys.argv[3], log=False, strategy="mirrored")
two = distribute.make("mirrored", half)
with two.scope():
    kernel, scaled = keras.Variable(2.0), optimize.LossScale(keras.optimizers.SGD(1.0))
    scaled.build([kernel])
share = two.experimental_distribute_values_from_function(lambda device: tf.constant([1.0, float("inf")])[
    device.replica_id_in_sync_group])
tf.function(lambda: two.run(lambda gradient: scaled.apply([gradient]), (share,)))()
print(keras.ops.convert_to_numpy(kernel), keras.ops.convert_to_numpy(scaled.dynamic_scale))
"""


def test_mirrored_devices_train_as_one_does(tmp_path):
    """Two logical CPUs, batch normalisation and all; the batches are even, so that both devices' shares weigh alike."""
    recipe = options(RESNET, limit=1280, optimizer="nesterov", learning_rate=0.01, ema=0.9)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    one = train(recipe, tmp_path / "one", log=False)
    said = subprocess.run([sys.executable, "-c", TWO_DEVICES, tmp_path / "recipe.json", tmp_path / "two", tmp_path / "half"],
                          cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said.split() == ["2.0", "16384.0"], "the overflow reached the weights"
    half = json.loads((tmp_path / "half/metrics.json").read_text())
    assert half["precision"] == "mixed_float16" and half["best_epoch"]["loss_scale"] == 2.0 ** 15
    two = json.loads((tmp_path / "two/metrics.json").read_text())
    assert two["strategy"] == "mirrored" and not two["deterministic"]
    for key in ("loss", "val_loss"):
        assert two["best_epoch"][key] == pytest.approx(one["best_epoch"][key], rel=1e-3)


@pytest.mark.parametrize("strategy, fields, words", [
    ("miror", {}, "Unknown strategy 'miror'. Did you mean 'mirrored'"),
    ("multi_worker", {}, "needs TF_CONFIG in the environment.*--strategy mirrored is for one machine"),
    ("mirrored", {"accumulate": 2}, "accumulate does not work with --strategy mirrored"),
    ("mirrored", {"clip": 1.0}, "clip does not work with --strategy mirrored"),
])
def test_a_strategy_that_cannot_work_is_refused(tmp_path, strategy, fields, words):
    with pytest.raises(UserError, match=words):
        train(options(**fields), tmp_path / "run", log=False, strategy=strategy)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("examples, devices, words", [
    (1293, 4, None), (64, 4, None), (71, 4, None), (65, 2, "would have 1 of 65 .* 2 devices. Choose --set batch=62"),
    (69, 4, "5 of 69 examples, which do not go round 4 devices. Choose --set batch=56"), (5, 4, "Choose fewer devices"),
])
def test_a_last_batch_without_an_example_for_every_device_is_refused(examples, devices, words):
    """tf.data cuts 5 examples for 4 devices into 2, 2, 1 and none."""
    strategy = types.SimpleNamespace(num_replicas_in_sync=devices)
    with pytest.raises(UserError, match=words) if words else contextlib.nullcontext():
        distribute.refuse_empty_share(examples, options(batch=64), strategy)
