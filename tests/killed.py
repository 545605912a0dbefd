"""Trains in a run directory and saves a checkpoint every few steps, until it is killed.

`python -m tests.killed RUN [write|validation|step]` sends itself SIGKILL in the next write of a
checkpoint, in the middle of the next validation, or between the third step and the next.
"""
import os
import signal
import sys

from zoo.training import files, recipes
from zoo.training.engine import callbacks
from zoo.training.engine.fit import train

RECIPE = recipes.Recipe("killed", "lenet5", "digits", {"dropout": 0.3}, normalize=True, epochs=12,
                        batch_size=64, ema=0.98, clip_norm=1.0, label_smoothing=0.1,
                        augment={"shift": 2, "rotate": 10}, optimizer="adamw", weight_decay=1e-3)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(batch, last):
    if batch == last:
        die()


def half_written(file):
    """Truncate a checkpoint to half its bytes, and die instead of calling os.fsync."""
    if "checkpoint" in file.name:
        file.truncate(file.tell() // 2)
        die()


if __name__ == "__main__":
    callbacks._SECONDS = 0.05  # as if an epoch took minutes
    moment = sys.argv[2] if len(sys.argv) > 2 else None
    if moment == "write":
        files.os.fsync = lambda number: half_written(sys._getframe(1).f_locals["file"])
    elif moment == "validation":
        callbacks.SaveCheckpoint.on_test_batch_end = lambda self, batch, logs=None: die_at(batch, 1)
    elif moment == "step":
        callbacks.SaveCheckpoint.on_train_batch_begin = lambda self, batch, logs=None: die_at(
            batch, 3)
    train(RECIPE, sys.argv[1])
