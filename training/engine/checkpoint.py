"""A training that is killed at any instant goes on as if nothing had happened.

The batches depend on (seed, step) alone (`zoo.training.data.pipeline`), so what has to be kept is the step, every variable of model,
optimiser and metrics, and the history so far. keras.callbacks.BackupAndRestore keeps less: it restarts the epoch with
weights from its middle, and forgets dropout's seeds and the best epoch.
"""
import json
import math
import time

import keras
import numpy as np

from zoo.errors import UserError
from zoo.training.files import arrays_of, packed, write

_SECONDS = 30  # between two checkpoints inside an epoch; a kill costs at most this much work
_SLOW = 3      # seconds to write one; where it takes more, the time between two grows with it, and stays ten times that


class Checkpoint(keras.callbacks.Callback):
    """Keeps the whole state of a training in RUN/checkpoint.npz, and the best epoch's weights in RUN/best.npz.

    Args:
        run: the run directory.
        steps_per_epoch: batches in an epoch.
        patience: epochs without a better one after which `stopped` is true; 0 for never.
        writes: whether to write at all; of several machines one does.
    """

    def __init__(self, run, steps_per_epoch, patience=0, writes=True):
        super().__init__()
        self.path, self.best_path = run / "checkpoint.npz", run / "best.npz"
        self.steps_per_epoch, self.patience, self.writes = steps_per_epoch, patience, writes
        self.step, self.history, self.seconds, self._metrics, self._saved_step = 0, [], 0.0, None, 0
        self._write_seconds = 0.0

    def restore(self, model):
        """Load the state of an interrupted training into the compiled `model`, if there is one.

        Raises:
            zoo.errors.UserError: if a file of it is damaged, or missing.
        """
        self._averages = _inner(model.optimizer).use_ema
        if not self.path.exists():
            return
        with arrays_of(self.path) as arrays:
            meta = json.loads(str(arrays["meta"]))
            for group, variables in _groups(model).items():
                for i, variable in enumerate(variables):
                    variable.assign(arrays[f"{group}{i}"])
            self._metrics = [arrays[f"metrics{i}"] for i in range(meta["metrics"])]
        self.step, self.history, self.seconds = meta["step"], meta["history"], meta["seconds"]
        self._saved_step = self.step
        if self.history:  # told now, and not when all the rest is trained
            with arrays_of(self.best_path):
                pass

    def best(self):
        """Return the history row of the best epoch: highest validation accuracy, then lowest validation loss."""
        if not self.history or "val_accuracy" not in self.history[0]:
            return self.history[-1]
        return max(self.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))

    @property
    def stopped(self):
        """Whether `patience` epochs have passed without a better one. It follows from the history, so a resume agrees."""
        return bool(self.patience and self.history) and len(self.history) - self.best()["epoch"] >= self.patience

    def load_best(self, model):
        """Load the weights of the best epoch into `model`."""
        with arrays_of(self.best_path) as arrays:
            for i, variable in enumerate(model.variables):
                variable.assign(arrays[f"model{i}"])

    def on_train_begin(self, logs=None):
        self._saved_at = self._resumed_at = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        _inner(self.model.optimizer).use_ema = self._averages
        if self._metrics:  # fit has just reset them
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
        self._metrics = None

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if not math.isfinite(logs["loss"]) and not self._skips_overflows():
            raise self._diverged()
        wait = _SECONDS * max(1, self._write_seconds / _SLOW)
        if time.monotonic() - self._saved_at > wait and self.step % self.steps_per_epoch:
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        rate = _number(self.model.optimizer.learning_rate)
        scores = {name.replace("logits_accuracy", "accuracy"): float(value) for name, value in logs.items()}
        scale = {"loss_scale": _number(self.model.optimizer.dynamic_scale)} if self._scales_loss() else {}
        self.history.append({"epoch": epoch + 1, **scores, "learning_rate": rate, **scale})
        if not self._finite():
            raise self._diverged()
        if self.best() is self.history[-1] and self.writes:
            write(self.best_path, packed(**_numbered("model", self._averaged())))
        self.save()
        self.model.stop_training = self.stopped
        _inner(self.model.optimizer).use_ema = False  # else the end of fit would put the averages in the weights' place

    def _averaged(self):
        """The model's variables, or their moving averages where the optimiser keeps such."""
        inner = _inner(self.model.optimizer)
        if not self._averages:
            return self.model.variables
        average = {v.path: a for v, a in zip(inner._trainable_variables, inner._model_variables_moving_average, strict=True)}
        return [average.get(variable.path, variable) for variable in self.model.variables]

    def _scales_loss(self):
        return isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)

    def _skips_overflows(self):
        """Whether a loss that is not finite does no harm: the loss is scaled, so its batch has left the weights alone."""
        return self._scales_loss() and self._finite()

    def _finite(self):
        return all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in self.model.trainable_variables)

    def _diverged(self):
        rate = _number(self.model.optimizer.learning_rate)
        kept = f"The last good checkpoint is of step {self._saved_step}" if self._saved_step else "No checkpoint was written"
        return UserError(f"The loss is no longer a finite number at step {self.step} (epoch {len(self.history) + 1}), with a "
                         f"learning rate of {rate:.3g}. {kept}. A lower rate or --set clip_norm=1 may help, with a new --run.")

    def save(self):
        """Write the state now, atomically.

        Raises:
            zoo.errors.UserError: if the weights are no longer finite numbers; the checkpoint there stays.
        """
        if not self._finite():
            raise self._diverged()
        if not self.writes:
            return
        now = time.monotonic()
        self.seconds, self._resumed_at = self.seconds + now - self._resumed_at, now
        metrics = self.model.metrics_variables if self.step % self.steps_per_epoch else []
        meta = {"step": self.step, "history": self.history, "seconds": self.seconds, "metrics": len(metrics)}
        groups = {**_groups(self.model), "metrics": metrics}
        arrays = {key: value for group in groups for key, value in _numbered(group, groups[group]).items()}
        write(self.path, packed(**arrays, meta=json.dumps(meta)))
        self._saved_step, self._saved_at = self.step, time.monotonic()
        self._write_seconds = self._saved_at - now


def _number(variable):
    return float(keras.ops.convert_to_numpy(variable))  # of several devices too


def _inner(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)  # mixed_float16 wraps it


def _groups(model):
    return {"model": model.variables, "optimizer": model.optimizer.variables}


def _numbered(group, variables):
    return {f"{group}{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
