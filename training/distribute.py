"""Several devices that share each batch, by tf.distribute."""
import contextlib

import keras
import tensorflow as tf

from zoo.errors import UsageError, unknown

STRATEGIES = ("none", "mirrored")


def scope(strategy, recipe):
    """Return the context in which a network is built and compiled for `strategy`.

    "mirrored" is tf.distribute.MirroredStrategy on all GPUs of the machine, or all its logical devices.

    Raises:
        zoo.errors.UsageError: if there is no such strategy, or the recipe asks for what it cannot do.
    """
    if strategy == "multi_worker":
        raise UsageError("Several machines are not supported: Keras 3 cannot fit under MultiWorkerMirroredStrategy. "
                         "--strategy mirrored uses all GPUs of one machine.")
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if strategy == "none":
        return contextlib.nullcontext()
    devices = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if recipe.accumulate > 1:
        raise UsageError("accumulate does not work with --strategy mirrored: Keras adds up gradients on one device only.")
    if recipe.batch % len(devices):
        raise UsageError(f"With --strategy mirrored the batch is shared by {len(devices)} devices and must be a multiple of "
                         f"that. Received: batch={recipe.batch}.")
    return tf.distribute.MirroredStrategy(devices).scope()


def synchronised(model, strategy):
    """Return `model`, for several devices with batch normalisations that see the whole batch, and the same weights.

    Without that each device would keep statistics of its own share, and only those of the first would be saved.
    """
    if strategy == "none":
        return model

    def clone(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = True
        return type(layer).from_config(config)
    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy
