"""Training on several devices or machines that share each batch, through tf.distribute."""
import functools
import json
import math
import os
from collections.abc import Callable

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from zoo.errors import UsageError, UserError, unknown
from zoo.training.recipe import STRATEGIES, Recipe

_PATCHED = "3.15."  # the Keras versions for which `_patch_keras` is tested
_EXAMPLE = ("""TF_CONFIG='{"cluster": {"worker": ["host0:12345", "host1:12345"]}, """
            """"task": {"type": "worker", "index": 0}}'""")


def make(name: str, recipe: Recipe, deterministic: bool = False) -> tf.distribute.Strategy:
    """Return the tf.distribute.Strategy called `name`; build and compile in its scope.

    "none" uses one device. "mirrored" uses all GPUs of this machine, or all its logical CPUs.
    "multi_worker" is one process per machine of $TF_CONFIG, all started with the same command and a
    run directory that all of them can read; it must be created before TensorFlow executes any
    operation. Only the first worker writes.

    Raises:
        zoo.errors.UserError: if the strategy is unknown, or does not work with this recipe or on
            this machine.
    """
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if name == "none":
        return tf.distribute.get_strategy()
    if recipe.accumulation_steps > 1:
        raise UsageError(f"accumulation_steps does not work with strategy {name}: Keras "
                         "accumulates gradients on one device only. Use a larger batch_size.")
    if deterministic:
        raise UsageError(f"deterministic does not work with strategy {name}: TensorFlow cannot "
                         "run a distributed graph deterministically. CPUs do not need it.")
    if name == "multi_worker":
        made = _multi_worker()
    else:
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        made = _mirrored(*(device.name for device in devices))
    if recipe.batch_size % made.num_replicas_in_sync:
        raise UsageError(f"With strategy {name}, batch_size must be a multiple of the "
                         f"{made.num_replicas_in_sync} devices. Received: {recipe.batch_size}.")
    return made


@functools.cache
def _mirrored(*devices):
    """Return the only MirroredStrategy of the process; all-reduces of two would get mixed up."""
    return tf.distribute.MirroredStrategy(devices)


def _multi_worker():
    try:
        workers = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
    except (KeyError, ValueError, TypeError):
        raise UsageError(
            f"Strategy multi_worker needs TF_CONFIG in the environment, such as {_EXAMPLE}, with "
            "another index on each machine. Strategy mirrored is for one machine.") from None
    if not keras.__version__.startswith(_PATCHED):
        raise UserError(f"Strategy multi_worker works with Keras {_PATCHED}x. Received: "
                        f"{keras.__version__}. Strategy mirrored is for one machine.")
    if len(workers) < 2:
        raise UsageError("Strategy multi_worker needs two or more workers in TF_CONFIG. "
                         f"Received: {len(workers)}.")
    try:
        made = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError:
        raise UserError("Strategy multi_worker must be created before TensorFlow executes any "
                        "operation in this process.") from None
    _patch_keras()
    return made


def _patch_keras():
    """Make fit average its logs over workers; Keras mistakes them for a batch (issue 20585)."""
    reduce = trainer.reduce_per_replica

    def patched(values, strategy, reduction):
        workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        if reduction == "auto" and workers:
            return keras.tree.map_structure(
                lambda value: strategy.reduce("MEAN", value, axis=None), values)
        return reduce(values, strategy, reduction)
    trainer.reduce_per_replica = patched


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes files: the only one, or the first of several workers."""
    resolver = strategy.cluster_resolver
    return resolver is None or resolver.task_id in (0, None)


def synchronize_batch_norm(model: keras.Model, strategy: tf.distribute.Strategy) -> keras.Model:
    """Return `model`; for several devices, a copy whose batch normalization uses the whole batch.

    Otherwise each device would normalize its own share, and only the moving statistics of the
    first would be saved.
    """
    if strategy.num_replicas_in_sync == 1:
        return model

    def clone(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = True
        return type(layer).from_config(config)
    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        # Keras would build the model again, with a batch that it cannot reduce.
        copy._maybe_symbolic_build = lambda **_: None
    return copy


def distribute(batches: Callable[..., tf.data.Dataset], strategy: tf.distribute.Strategy,
               split: bool) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Return the batches that `batches` makes for `strategy`.

    With several workers, each gets its share of every batch if `split`, otherwise all of it.

    Args:
        batches: makes them; if `split`, it is called with the (number, workers) of this worker,
            and need not read the examples of the others.
        strategy: of the training.
        split: whether workers share a batch.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return batches()
    if not split:
        return strategy.distribute_datasets_from_function(lambda context: batches())

    def share(context):
        first, every = context.input_pipeline_id, context.num_input_pipelines
        return batches((first, every)).map(lambda *arrays: tf.nest.map_structure(
            lambda array: array[first::every], arrays))
    return strategy.distribute_datasets_from_function(share)


def check_last_batch(examples: int, recipe: Recipe, strategy: tf.distribute.Strategy) -> None:
    """Raise UsageError if the last batch of an epoch has no example for one of the devices."""
    devices = strategy.num_replicas_in_sync
    if not _leaves_device_empty(examples, recipe.batch_size, devices):
        return
    fits = [size for size in range(devices, recipe.batch_size, devices)
            if not _leaves_device_empty(examples, size, devices)]
    choice = f"batch_size={fits[-1]}" if fits else "fewer devices"
    raise UsageError(
        f"The last batch of an epoch would have {examples % recipe.batch_size} of {examples:,} "
        f"examples, too few for {devices} devices. Choose {choice}.")


def validation_batch_size(examples: int, recipe: Recipe, strategy: tf.distribute.Strategy) -> int:
    """Return the largest batch size, up to the recipe's, that leaves no device without an example.

    Raises:
        zoo.errors.UsageError: if there are fewer examples than devices.
    """
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return recipe.batch_size  # every worker validates whole batches
    devices = strategy.num_replicas_in_sync
    for size in range(recipe.batch_size, 0, -devices):
        if examples >= devices and not _leaves_device_empty(examples, size, devices):
            return size
    raise UsageError(f"The validation split has {examples} examples, too few for {devices} "
                     "devices. Choose a larger validation_split, or fewer devices.")


def _leaves_device_empty(examples, batch_size, devices):
    """Return whether a device gets nothing of the last batch.

    tf.data gives each device ceil(last / devices) examples until there are none left.
    """
    last = examples % batch_size
    return 0 < last <= (devices - 1) * math.ceil(last / devices)
