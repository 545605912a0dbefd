"""A training that is killed at any instant goes on as if nothing had happened.

The batches depend on (seed, step) alone (`training.pipeline`), so what has to be kept is the step, every variable of model,
optimiser and metrics, and the history so far. keras.callbacks.BackupAndRestore keeps less: it restarts the epoch with
weights from its middle, and forgets dropout's seeds and the best epoch.
"""
import io
import json
import time

import keras
import numpy as np

from training.run_dir import write

_SECONDS = 30  # between two checkpoints inside an epoch; a kill costs at most this much work


class Checkpoint(keras.callbacks.Callback):
    """Keeps the whole state of a training in RUN/checkpoint.npz, and the best epoch's weights in RUN/best.npz.

    Args:
        run: the run directory.
        steps_per_epoch: batches in an epoch.
    """

    def __init__(self, run, steps_per_epoch):
        super().__init__()
        self.path, self.best_path, self.steps_per_epoch = run / "checkpoint.npz", run / "best.npz", steps_per_epoch
        self.step, self.history, self.seconds, self._metrics = 0, [], 0.0, None

    def restore(self, model):
        """Load the state of an interrupted training into the compiled `model`, if there is one."""
        model.optimizer.build(model.trainable_variables)
        if not self.path.exists():
            return
        with np.load(self.path) as arrays:
            meta = json.loads(str(arrays["meta"]))
            for group, variables in _groups(model).items():
                for i, variable in enumerate(variables):
                    variable.assign(arrays[f"{group}{i}"])
            self._metrics = [arrays[f"metrics{i}"] for i in range(meta["metrics"])]
        self.step, self.history, self.seconds = meta["step"], meta["history"], meta["seconds"]
        logits = keras.tree.map_structure(lambda head: keras.ops.zeros((1, head.shape[-1])), model.output)
        model.compute_metrics(None, logits, logits)  # makes the metrics' variables; fit resets them

    def best(self):
        """Return the history row of the best epoch: highest validation accuracy, then lowest validation loss."""
        if not self.history or "val_accuracy" not in self.history[0]:
            return self.history[-1]
        return max(self.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))

    def load_best(self, model):
        """Load the weights of the best epoch into `model`."""
        with np.load(self.best_path) as arrays:
            for i, variable in enumerate(model.variables):
                variable.assign(arrays[f"model{i}"])

    def on_train_begin(self, logs=None):
        self._saved_at = self._resumed_at = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        if self._metrics:  # fit has just reset them
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
        self._metrics = None

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if time.monotonic() - self._saved_at > _SECONDS and self.step % self.steps_per_epoch:
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        scores = {name.replace("logits_accuracy", "accuracy"): float(value) for name, value in logs.items()}
        self.history.append({"epoch": epoch + 1, **scores, "learning_rate": rate})
        if self.best() is self.history[-1]:
            write(self.best_path, packed(**_numbered("model", self.model.variables)))
        self.save()

    def save(self):
        """Write the state now, atomically."""
        now = time.monotonic()
        self.seconds, self._resumed_at, self._saved_at = self.seconds + now - self._resumed_at, now, now
        metrics = self.model.metrics_variables if self.step % self.steps_per_epoch else []
        meta = {"step": self.step, "history": self.history, "seconds": self.seconds, "metrics": len(metrics)}
        groups = {**_groups(self.model), "metrics": metrics}
        arrays = {key: value for group in groups for key, value in _numbered(group, groups[group]).items()}
        write(self.path, packed(**arrays, meta=json.dumps(meta)))


def _groups(model):
    return {"model": model.variables, "optimizer": model.optimizer.variables}


def _numbered(group, variables):
    return {f"{group}{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}


def packed(**arrays):
    """Return the bytes of an .npz file of `arrays`."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
