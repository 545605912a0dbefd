"""The learning-rate finder: the loss of a short training while the learning rate grows.

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3,
https://arxiv.org/abs/1506.01186. There the rate grows linearly; here, as in most libraries since,
by the same factor at each step, so that all powers of ten get as many steps.
"""
import dataclasses
import math
import os
from collections.abc import Callable

import keras
import numpy as np
from matplotlib.figure import Figure

from zoo.errors import UserError
from zoo.training.data import pipeline
from zoo.training.engine import precision
from zoo.training.engine.callbacks import Logs
from zoo.training.engine.fit import dtype_policy
from zoo.training.engine.prepare import check_memory, compile_model, labels_per_head, prepare
from zoo.training.recipe import Recipe

_LOWEST, _HIGHEST = 1e-6, 10.0
_STEPS = 150
_SMOOTHING = 0.9   # of the moving average of the loss
_DIVERGED = 4      # times the lowest loss: the test ends
_LEAST = 10        # steps before it may end, and of a curve that tells something


@dataclasses.dataclass(frozen=True)
class Rates:
    """What `find_lr` measured.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step's batch, in nats.
        smoothed: their moving averages, without the bias towards the first.
        suggested: the rate at which the smoothed loss falls most steeply.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggested: float


def find_lr(recipe: Recipe, data_dir: str | os.PathLike | None = None,
            say: Callable = lambda line: None) -> Rates:
    """Train by `recipe` from its start with a growing learning rate, and return the losses.

    The rate grows from 1e-6 to 10 in 150 steps; the test ends earlier when the loss is four times
    the lowest one. Nothing is written.

    Args:
        recipe: its learning rate and schedule are replaced.
        data_dir: where TensorFlow Datasets keeps its files.
        say: called with a line about what takes time.

    Raises:
        zoo.errors.UserError: if data, network and recipe do not go together, or the loss does not
            fall at any rate.
    """
    recipe = dataclasses.replace(recipe, accumulation_steps=1, min_steps=0)
    dataset, build = prepare(recipe, data_dir, say=say)
    keras.utils.set_random_seed(recipe.seed)
    with dtype_policy(precision.resolve(recipe.precision)):
        model = build()
        check_memory(model, min(recipe.batch_size, len(dataset.train)))
        compile_model(model, recipe, _STEPS)
    growth = (_HIGHEST / _LOWEST) ** (1 / (_STEPS - 1))
    model.optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(
        _LOWEST, 1, growth)
    batches = labels_per_head(model, pipeline.training_batches(
        dataset.train, recipe, len(dataset.class_names)))
    test = _GrowingRate()
    model.fit(batches, steps_per_epoch=_STEPS, epochs=1, shuffle=False, verbose=0,
              callbacks=[test])
    rates, losses = test.rates, test.losses
    smoothed = smooth(losses)
    return Rates(rates, losses, smoothed, steepest(rates, smoothed))


class _GrowingRate(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.model.reset_metrics()  # the loss in the logs is that of this batch alone
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = float(logs["loss"]) if logs else math.nan
        if not math.isfinite(loss):
            self.rates.pop()
            self.model.stop_training = True
            return
        self.losses.append(loss)
        smoothed = smooth(self.losses)
        if len(smoothed) > _LEAST and smoothed[-1] > _DIVERGED * min(smoothed):
            self.model.stop_training = True


def smooth(losses: list[float]) -> list[float]:
    """Return the moving averages of losses, each divided by the sum of its weights."""
    average, smoothed = 0.0, []
    for step, loss in enumerate(losses, 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING ** step))
    return smoothed


def steepest(rates: list[float], smoothed: list[float]) -> float:
    """Return the rate before the lowest smoothed loss at which it falls most per factor of rate.

    Raises:
        zoo.errors.UserError: if it falls nowhere.
    """
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    if lowest < 2:
        raise UserError("The loss did not fall at any learning rate from "
                        f"{_LOWEST:g} to {_HIGHEST:g}.")
    slopes = np.gradient(np.array(smoothed), np.log(rates))[:lowest + 1]
    return float(rates[int(np.argmin(slopes))])


def draw(found: Rates, name: str) -> Figure:
    """Return a figure of the losses over the learning rate, the suggested one marked."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="tab:blue", alpha=0.3, label="loss of each batch")
    axes.plot(found.rates, found.smoothed, color="tab:blue", label="smoothed")
    axes.axvline(found.suggested, color="tab:orange", linestyle="--",
                 label=f"falls most steeply: {found.suggested:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss",
             ylim=(None, 1.1 * max(found.smoothed[0], *found.smoothed[:_LEAST])),
             title=f"Learning-rate finder: {name}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
