"""Trains in the directory named on the command line, saving its state every few steps; a test kills it.

`python -m tests.killed RUN`
"""
import sys

from training import checkpoint, recipes
from training.fit import train

RECIPE = recipes.Recipe("killed", "lenet5", "digits", {"dropout": 0.3}, normalise=True, epochs=12, batch=64,
                        augment={"shift": 2, "rotate": 10}, label_smoothing=0.1, optimizer="adamw", weight_decay=1e-3)

if __name__ == "__main__":
    checkpoint._SECONDS = 0.05  # as if an epoch took minutes
    train(RECIPE, sys.argv[1])
