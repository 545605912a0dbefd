"""A network whose argument `fate` makes its training fail; `tests.mishaps:mishap` in a recipe."""
import os
import signal
import sys

import keras

from zoo import register


@register("mishap")
def mishap(input_shape=(8, 8, 1), classes=10, *, fate="fine"):
    """A linear network; fate "die" kills the process of a trial, "crash" that of any job."""
    if fate == "raise":
        raise ArithmeticError("no network can have this fate")
    job = getattr(sys.modules["__main__"].__spec__, "name", "") == "zoo.tuning.job"
    if job and (fate == "crash" or (fate == "die" and len(sys.argv) == 1)):  # networks are counted with an argument
        os.kill(os.getpid(), signal.SIGKILL)
    image = keras.Input(input_shape)
    return keras.Model(
        image,
        keras.layers.Dense(classes)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))),
    )
