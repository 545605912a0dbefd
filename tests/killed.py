"""Trains in the directory that is named, saving its state every few steps, until it is killed or kills itself.

`python -m tests.killed RUN [write|validation|step]` dies of SIGKILL in the next write of a checkpoint, half-way through the
next validation, or between the third step and whatever follows.
"""
import os
import signal
import sys

from zoo.training import files, recipes
from zoo.training.engine import checkpoint
from zoo.training.engine.fit import train

RECIPE = recipes.Recipe("killed", "lenet5", "digits", {"dropout": 0.3}, normalize=True, epochs=12, batch_size=64, ema=0.98,
                        clip_norm=1.0, augment={"shift": 2, "rotate": 10}, label_smoothing=0.1, optimizer="adamw",
                        weight_decay=1e-3)


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def half_written(file):
    """As os.fsync, but of a checkpoint half the bytes never came."""
    if "checkpoint" in file.name:
        file.truncate(file.tell() // 2)
        die()


if __name__ == "__main__":
    checkpoint._SECONDS = 0.05  # as if an epoch took minutes
    moment = sys.argv[2] if len(sys.argv) > 2 else None
    if moment == "write":
        files.os.fsync = lambda number: half_written(sys._getframe(1).f_locals["file"])
    elif moment == "validation":
        checkpoint.Checkpoint.on_test_batch_end = lambda self, batch, logs=None: die() if batch == 1 else None
    elif moment == "step":
        checkpoint.Checkpoint.on_train_batch_begin = lambda self, batch, logs=None: die() if batch == 3 else None
    train(RECIPE, sys.argv[1])
