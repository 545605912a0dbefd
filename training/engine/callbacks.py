"""Keras callbacks that drive a training's `zoo.training.engine.checkpoint.TrainingState`."""
import math
import re
import time
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from zoo.errors import UserError
from zoo.training.engine.checkpoint import TrainingState, inner_optimizer
from zoo.training.engine.confusion import counted_matrix

Logs = dict[str, Any] | None  # Keras's scores up to now

_SECONDS = 30  # between two checkpoints inside an epoch: the most work that a kill costs
_SLOW = 3      # seconds; if a write takes longer, the interval grows to ten times that


def state_callbacks(state: TrainingState) -> list[keras.callbacks.Callback]:
    """Return the callbacks that count, check, save and stop, in the order that fit has to call."""
    return [RecordHistory(state), CheckFinite(state), SaveCheckpoint(state), StopEarly(state),
            KeepWeights()]


class _StateCallback(keras.callbacks.Callback):
    def __init__(self, state: TrainingState):
        super().__init__()
        self.state = state


class RecordHistory(_StateCallback):
    """Counts the steps, and adds a row to the history after each epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.state.restore_metrics(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.state.step += 1

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        scores = {re.sub("logits_(?=(balanced_)?accuracy)", "", name): float(value)
                  for name, value in (logs or {}).items()}
        row = {"epoch": epoch + 1, **scores,
               "learning_rate": _number(self.model.optimizer.learning_rate)}
        if _scales_loss(self.model):
            row["loss_scale"] = _number(self.model.optimizer.dynamic_scale)
        if self.state.history:  # a run of version 0.1 keeps its columns, and its selection metric
            row = {name: row[name] for name in self.state.history[0] if name in row}
        self.state.history.append(row)
        if "val_loss" in scores and (matrix := counted_matrix(self.model)):
            self.state.confusions[epoch + 1] = matrix


class CheckFinite(_StateCallback):
    """Raises UserError when the loss or the weights are no longer finite.

    With loss scaling, a step that overflows leaves the weights unchanged, and training continues.
    """

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if logs and not math.isfinite(logs["loss"]):
            if not _scales_loss(self.model):
                raise _diverged(self.model, self.state)
            check_finite(self.model, self.state)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        check_finite(self.model, self.state)


class SaveCheckpoint(_StateCallback):
    """Saves the state every 30 seconds and after each epoch, and the weights of the best epoch."""

    _write_seconds = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._saved_at = self._counted_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        wait = _SECONDS * max(1, self._write_seconds / _SLOW)
        in_epoch = self.state.step % self.state.steps_per_epoch
        if in_epoch and time.monotonic() - self._saved_at > wait:
            check_finite(self.model, self.state)
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.state.best_epoch() is self.state.history[-1]:
            self.state.save_best(self.model)
        self._save()

    def _save(self):
        now = time.monotonic()
        self.state.seconds += now - self._counted_at
        self.state.save(self.model)
        self._counted_at, self._saved_at = now, time.monotonic()
        self._write_seconds = self._saved_at - now


class StopEarly(_StateCallback):
    """Stops after the recipe's `patience` of epochs without improvement."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.state.stopped:
            self.model.stop_training = True


class KeepWeights(keras.callbacks.Callback):
    """Keeps fit from overwriting the weights with their moving averages when it returns."""

    def on_train_begin(self, logs: Logs = None) -> None:
        self._use_ema = inner_optimizer(self.model).use_ema

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        inner_optimizer(self.model).use_ema = self._use_ema

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        inner_optimizer(self.model).use_ema = False

    def on_train_end(self, logs: Logs = None) -> None:
        inner_optimizer(self.model).use_ema = self._use_ema


class CallerCallbacks(keras.callbacks.CallbackList):
    """Calls the caller's callbacks as if one call of fit trained all epochs.

    Training calls fit again after an interrupted epoch and whenever it unfreezes a stage.
    `stopped` is true once a callback has set `model.stop_training`; the epoch is completed first.

    Args:
        callbacks: Keras callbacks.
        state: the state, whose counts have to be updated before these callbacks are called.
        epochs: the number of epochs of the whole training.
    """

    def __init__(self, callbacks: Iterable[keras.callbacks.Callback], state: TrainingState,
                 epochs: int):
        self.state, self.epochs, self.stopped = state, epochs, False
        self._begun = False
        self._logs: Logs = None
        super().__init__(list(callbacks), verbose=0)

    def set_params(self, params: dict[str, Any]) -> None:
        steps = self.state.steps_per_epoch
        super().set_params({**params, "epochs": self.epochs, "steps": steps})

    def on_train_begin(self, logs: Logs = None) -> None:
        if not self._begun:
            super().on_train_begin(logs)
        self._begun = True

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        super().on_train_batch_begin(self.state.step % self.state.steps_per_epoch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        super().on_train_batch_end((self.state.step - 1) % self.state.steps_per_epoch, logs)
        self.stopped |= self.model.stop_training
        self.model.stop_training = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.stopped |= self.model.stop_training
        self.model.stop_training = self.stopped

    def on_train_end(self, logs: Logs = None) -> None:
        self._logs = logs

    def finish(self) -> None:
        """Call on_train_end, after the last call of fit."""
        if self._begun:
            super().on_train_end(self._logs)


def check_finite(model: keras.Model, state: TrainingState) -> None:
    """Raise UserError if a trainable weight of `model` is not finite."""
    for variable in model.trainable_variables:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise _diverged(model, state)


def _diverged(model, state):
    rate = _number(model.optimizer.learning_rate)
    saved = "No checkpoint was written"
    if state.saved_step:
        saved = f"The last good checkpoint is of step {state.saved_step}"
    epoch = (state.step - 1) // state.steps_per_epoch + 1
    return UserError(
        f"The loss is no longer a finite number at step {state.step} (epoch {epoch}), with a "
        f"learning rate of {rate:.3g}. {saved}. A lower rate or clip_norm=1 may help, with "
        "a new run directory.")


def _scales_loss(model):
    return isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def _number(variable):
    return float(keras.ops.convert_to_numpy(variable))  # also of a variable on several devices
