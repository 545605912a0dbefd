"""Several devices or machines that share each batch, by tf.distribute."""
import functools
import json
import math
import os

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from zoo.errors import UsageError, UserError, unknown

STRATEGIES = ("none", "mirrored", "multi_worker")
_MENDED = "3.15."  # the Keras whose fit `_mend` lets run on several machines
_EXAMPLE = """TF_CONFIG='{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'"""


def make(name, recipe, deterministic=False):
    """Return the tf.distribute.Strategy called `name`, in whose scope a network is built and compiled.

    "none" is one device. "mirrored" is all GPUs of the machine, or all its logical devices. "multi_worker" is one process on
    each machine of $TF_CONFIG, started by the same command with a run directory that all of them see; it has to be made before
    TensorFlow computes anything. Only the first worker writes.

    Raises:
        zoo.errors.UserError: if there is no such strategy, or the recipe or the machine asks for what it cannot do.
    """
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if name == "none":
        return tf.distribute.get_strategy()
    if recipe.accumulation_steps > 1:
        raise UsageError(f"accumulation_steps does not work with --strategy {name}: Keras adds gradients up on one device only. "
                         "Several devices hold larger batches.")
    if deterministic:
        raise UsageError(f"--deterministic does not work with --strategy {name}: TensorFlow cannot run such a graph so. On "
                         "CPUs it is not needed.")
    if name == "multi_worker":
        made = _multi_worker()
    else:
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        made = _mirrored(*(device.name for device in devices))
    if recipe.batch_size % made.num_replicas_in_sync:
        raise UsageError(f"With --strategy {name} a batch is shared by {made.num_replicas_in_sync} devices and must be a "
                         f"multiple of that. Received: batch_size={recipe.batch_size}.")
    return made


@functools.cache
def _mirrored(*devices):
    """The one strategy of a process: a second would number the sums over devices anew, and TensorFlow mix them up."""
    return tf.distribute.MirroredStrategy(devices)


def _multi_worker():
    try:
        workers = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
    except (KeyError, ValueError, TypeError):
        raise UsageError(f"--strategy multi_worker needs TF_CONFIG in the environment, such as {_EXAMPLE}, with another index "
                         "on each machine. --strategy mirrored is for one machine.") from None
    if not keras.__version__.startswith(_MENDED):
        raise UserError(f"--strategy multi_worker works with Keras {_MENDED}x. Received: {keras.__version__}. "
                        "--strategy mirrored is for one machine.")
    if len(workers) < 2:
        raise UsageError(f"TF_CONFIG names {len(workers)} worker; --strategy multi_worker needs two or more.")
    try:
        made = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError:
        raise UserError("--strategy multi_worker has to be the first thing that TensorFlow does in a process.") from None
    _mend()
    return made


def _mend():
    """Let Keras's fit average its logs over machines, which as it stands it takes for a batch (Keras issue 20585)."""
    reduce = trainer.reduce_per_replica

    def mended(values, strategy, reduction):
        if reduction == "auto" and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        return reduce(values, strategy, reduction)
    trainer.reduce_per_replica = mended


def is_chief(strategy):
    """Return whether this process is the one that writes: the only one, or the first of several workers."""
    resolver = strategy.cluster_resolver
    return resolver is None or resolver.task_id in (0, None)


def synchronised(model, strategy):
    """Return `model`, for several devices with batch normalisations that see the whole batch, and the same weights.

    Without that each device would keep statistics of its own share, and only those of the first would be saved.
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
        copy._maybe_symbolic_build = lambda **_: None  # it is built; Keras would do it again, with a batch it cannot reduce
    return copy


def shared(batches, strategy, divide):
    """Return `batches` for `strategy`; of several machines each takes its part of every batch, or, not to `divide`, all."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return batches

    def part(context):
        first, every = context.input_pipeline_id, context.num_input_pipelines
        return batches.map(lambda *parts: tf.nest.map_structure(lambda part: part[first::every], parts))
    return strategy.distribute_datasets_from_function(part if divide else lambda context: batches)


def refuse_empty_share(examples, recipe, strategy):
    """Refuse a training part whose last batch is too small for every device to get an example of it."""
    devices = strategy.num_replicas_in_sync
    if _leaves_none(examples, recipe.batch_size, devices):
        fits = [batch for batch in range(devices, recipe.batch_size, devices) if not _leaves_none(examples, batch, devices)]
        raise UsageError(f"The last batch of an epoch would have {examples % recipe.batch_size} of {examples:,} examples, which do "
                         f"not go round {devices} devices. Choose {f'--set batch_size={fits[-1]}' if fits else 'fewer devices'}.")


def _leaves_none(examples, batch, devices):
    """Whether the last batch leaves a device without an example: all but the last device that gets any take alike many."""
    last = examples % batch
    return 0 < last <= (devices - 1) * math.ceil(last / devices)
