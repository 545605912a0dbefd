"""The state of a training: what an interrupted run needs to continue bit for bit.

A batch depends on (seed, step) alone (`zoo.training.data.pipeline`), so a checkpoint holds the
step, every variable of the model, the optimizer and the metrics, and the history.
keras.callbacks.BackupAndRestore saves less: it restarts the interrupted epoch with the weights of
its middle, and forgets dropout's seeds and the best epoch.
"""
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.training.files import arrays_of, packed, write

SELECTION_METRICS = ("val_balanced_accuracy", "val_accuracy")  # the first that is measured


class TrainingState:
    """The step, history and variables of a training, in RUN/checkpoint.npz and RUN/best.npz.

    Args:
        run: the run directory.
        steps_per_epoch: batches per epoch.
        patience: epochs without improvement after which `stopped` is true; 0 for never.
        writes: whether this process writes the files; with several workers, only the first does.

    Attributes:
        step: batches trained.
        saved_step: `step` of the last checkpoint; 0 if there is none.
        history: one dict per epoch: epoch, loss, accuracy, validation scores and learning rate.
        confusions: {epoch: confusion matrix of the validation split, a list of rows}, of the epochs
            of which one was counted, see `zoo.training.engine.confusion`.
        seconds: time spent in training, over all starts.
    """

    def __init__(self, run: Path, steps_per_epoch: int, patience: int = 0, writes: bool = True):
        self.path, self.best_path = run / "checkpoint.npz", run / "best.npz"
        self.steps_per_epoch, self.patience, self.writes = steps_per_epoch, patience, writes
        self.step, self.saved_step, self.seconds = 0, 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.confusions: dict[int, list[list[int]]] = {}
        self._metrics: list[np.ndarray] = []

    def restore(self, model: keras.Model) -> None:
        """Load the checkpoint, if there is one, into the compiled `model`.

        Raises:
            zoo.errors.UserError: if a file is damaged or missing.
        """
        if not self.path.exists():
            return
        with arrays_of(self.path) as arrays:
            meta = json.loads(str(arrays["meta"]))
            for group, variables in _groups(model).items():
                for i, variable in enumerate(variables):
                    variable.assign(arrays[f"{group}{i}"])
            self._metrics = [arrays[f"metrics{i}"] for i in range(meta["metrics"])]
        self.step = self.saved_step = meta["step"]
        self.history, self.seconds = meta["history"], meta["seconds"]
        self.confusions = {int(epoch): matrix
                           for epoch, matrix in meta.get("confusions", {}).items()}
        if self.history:  # a damaged best.npz is reported now, not after the last epoch
            with arrays_of(self.best_path):
                pass

    def restore_metrics(self, model: keras.Model) -> None:
        """Load the metrics of an interrupted epoch, which fit has just reset."""
        if self._metrics:
            variables = model.metrics_variables
            for added in ("confusion", "balanced_accuracy"):  # since version 0.1
                if len(self._metrics) < len(variables):
                    variables = [v for v in variables if added not in v.path]
            for variable, value in zip(variables, self._metrics, strict=True):
                variable.assign(value)
        self._metrics = []

    def save(self, model: keras.Model) -> None:
        """Write the checkpoint atomically."""
        if not self.writes:
            return
        metrics = model.metrics_variables if self.step % self.steps_per_epoch else []
        meta = {"step": self.step, "history": self.history, "seconds": self.seconds,
                "confusions": self.confusions, "metrics": len(metrics)}
        arrays: dict[str, np.ndarray] = {}
        for group, variables in {**_groups(model), "metrics": metrics}.items():
            arrays |= _numbered(group, variables)
        write(self.path, packed(**arrays, meta=json.dumps(meta)))
        self.saved_step = self.step

    def save_best(self, model: keras.Model) -> None:
        """Write the weights of `model`, or their moving averages, as those of the best epoch."""
        if self.writes:
            write(self.best_path, packed(**_numbered("model", _averaged(model))))

    @property
    def selection_metric(self) -> str | None:
        """The score of the history that selects the best epoch; None without validation.

        It is val_balanced_accuracy if the recipe balances the classes, else val_accuracy.
        """
        scores = self.history[0] if self.history else {}
        return next((name for name in SELECTION_METRICS if name in scores), None)

    def best_epoch(self) -> dict[str, Any]:
        """Return the best row of the history: highest `selection_metric`, then lowest val_loss.

        Without validation, the last epoch is the best.
        """
        metric = self.selection_metric
        if metric is None:
            return self.history[-1]
        return max(self.history, key=lambda row: (row[metric], -row["val_loss"]))

    def best_model(self, build: Callable[[], keras.Model]) -> keras.Model:
        """Return the network that `build` builds, with the best epoch's weights and one output.

        Auxiliary heads are removed: only training uses them.

        Raises:
            zoo.errors.UserError: if best.npz is damaged or missing.
        """
        model = build()
        with arrays_of(self.best_path) as arrays:
            for i, variable in enumerate(model.variables):
                variable.assign(arrays[f"model{i}"])
        if isinstance(model.output, dict):
            model = keras.Model(model.input, model.output["logits"], name=model.name)
        return model

    @property
    def stopped(self) -> bool:
        """Whether `patience` epochs have passed without improvement, according to the history."""
        if not self.patience or not self.history:
            return False
        return len(self.history) - self.best_epoch()["epoch"] >= self.patience


def inner_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """Return the optimizer of `model`, without the loss scaling of mixed_float16."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def _averaged(model):
    """Return the variables of `model`; moving averages replace those that have one."""
    optimizer = inner_optimizer(model)
    if not optimizer.use_ema:
        return model.variables
    averages = {variable.path: average for variable, average in zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)}
    return [averages.get(variable.path, variable) for variable in model.variables]


def _groups(model):
    return {"model": model.variables, "optimizer": model.optimizer.variables}


def _numbered(group, variables):
    return {f"{group}{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
