"""Training on several devices of one machine equals training on one, or fails with one line."""
import contextlib
import json
import subprocess
import sys
import types

import pytest

from tests.conftest import ROOT
from tests.test_training_options import RESNET, options
from zoo.errors import UserError
from zoo.training.engine import distribution
from zoo.training.engine.fit import train

# Trains the recipe of the first argument, then in half precision; then lets the gradient of the
# second device overflow.
TWO_DEVICES = """
import sys, keras, tensorflow as tf
from zoo.training import recipes
from zoo.training.engine import distribution, optimizers
from zoo.training.engine.fit import train
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
train(recipes.read(sys.argv[1]), sys.argv[2], log=False, strategy="mirrored")
half = recipes.Recipe("half", "mlp", "digits", {"input_shape": (8, 8, 1)}, epochs=1, batch_size=256,
                      precision="mixed_float16", clip_norm=1.0)
train(half, sys.argv[3], log=False, strategy="mirrored")
two = distribution.make("mirrored", half)
with two.scope():
    kernel, scaled = keras.Variable(2.0), optimizers.LossScale(keras.optimizers.SGD(1.0))
    scaled.build([kernel])
gradients = tf.constant([1.0, float("inf")])
share = two.experimental_distribute_values_from_function(
    lambda device: gradients[device.replica_id_in_sync_group])
tf.function(lambda: two.run(lambda gradient: scaled.apply([gradient]), (share,)))()
print(keras.ops.convert_to_numpy(kernel), keras.ops.convert_to_numpy(scaled.dynamic_scale))
"""


@pytest.mark.slow
def test_mirrored_devices_train_as_one_does(tmp_path):
    """Two logical CPUs, with batch normalization; all batches split evenly."""
    recipe = options(
        RESNET,
        max_train_examples=1280,
        optimizer="nesterov",
        learning_rate=0.01,
        ema=0.9,
        clip_norm=0.5,
    )
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    one = train(recipe, tmp_path / "one", log=False)
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            TWO_DEVICES,
            tmp_path / "recipe.json",
            tmp_path / "two",
            tmp_path / "half",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.split() == ["2.0", "16384.0"], "the overflow reached the weights"
    half = json.loads((tmp_path / "half/metrics.json").read_text())
    assert half["precision"] == "mixed_float16" and half["best_epoch"]["loss_scale"] == 2.0 ** 15
    two = json.loads((tmp_path / "two/metrics.json").read_text())
    assert two["strategy"] == "mirrored" and not two["deterministic"]
    for key in ("loss", "val_loss"):
        assert two["best_epoch"][key] == pytest.approx(one["best_epoch"][key], rel=1e-3)


@pytest.mark.parametrize(
    "strategy, fields, words",
    [
        ("miror", {}, "Unknown strategy 'miror'. Did you mean 'mirrored'"),
        (
            "multi_worker",
            {},
            "needs TF_CONFIG in the environment.*Strategy mirrored is for one machine",
        ),
        (
            "mirrored",
            {"accumulation_steps": 2},
            "accumulation_steps does not work with strategy mirrored",
        ),
    ],
)
def test_a_strategy_that_cannot_work_is_refused(tmp_path, strategy, fields, words):
    with pytest.raises(UserError, match=words):
        train(options(**fields), tmp_path / "run", log=False, strategy=strategy)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "examples, devices, words",
    [
        (1293, 4, None),
        (64, 4, None),
        (71, 4, None),
        (65, 2, "would have 1 of 65 examples, too few for 2 devices. Choose batch_size=62"),
        (69, 4, "5 of 69 examples, too few for 4 devices. Choose batch_size=56"),
        (5, 4, "Choose fewer devices"),
    ],
)
def test_a_last_batch_without_an_example_for_every_device_is_refused(examples, devices, words):
    """tf.data cuts 5 examples for 4 devices into 2, 2, 1 and none."""
    strategy = types.SimpleNamespace(num_replicas_in_sync=devices)
    with pytest.raises(UserError, match=words) if words else contextlib.nullcontext():
        distribution.check_last_batch(examples, options(batch_size=64), strategy)


def test_no_validation_batch_leaves_a_device_without_an_example():
    strategy = types.SimpleNamespace(num_replicas_in_sync=4)
    for examples in range(16, 200):
        size = distribution.validation_batch_size(examples, options(batch_size=64), strategy)
        last = examples % size or size
        each = -(-last // 4)
        assert size % 4 == 0 and last - 3 * each > 0, examples
    assert distribution.validation_batch_size(128, options(batch_size=64), strategy) == 64
    for examples in (3, 5):
        with pytest.raises(UserError, match=f"{examples} examples, too few for 4 devices"):
            distribution.validation_batch_size(examples, options(batch_size=64), strategy)
