"""A network whose argument `fate` makes its training fail; `tests.mishaps:mishap` in a recipe."""
import os
import signal
import sys

import keras

from zoo import register


@register("mishap")
def mishap(input_shape=(8, 8, 1), classes=10, *, fate="fine"):
    """A linear network. Fate "raise" raises, "die" kills the process of a trial, "crash" that of
    any job of a search."""
    if fate == "raise":
        raise ArithmeticError("no network can have this fate")
    job = getattr(sys.modules["__main__"].__spec__, "name", "") == "zoo.tuning.job"
    checks = len(sys.argv) > 1  # the process that checks the data and counts networks
    if job and (fate == "crash" or (fate == "die" and not checks)):
        os.kill(os.getpid(), signal.SIGKILL)
    image = keras.Input(input_shape)
    return keras.Model(
        image,
        keras.layers.Dense(classes)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))),
    )


def note_epochs(folder):
    """Return callbacks that append each epoch to FOLDER/epochs.txt."""
    def note(epoch, logs):
        with open(folder / "epochs.txt", "a") as file:
            print(epoch, sorted(logs)[0], file=file)
    return [keras.callbacks.LambdaCallback(on_epoch_end=note)]
