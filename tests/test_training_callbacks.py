"""Callbacks of the caller's own see a training as one, and leave its result alone."""
import json

import keras
import numpy as np
import pytest

from tests.test_training_options import DIGITS, RESNET, options
from zoo.training.engine import callbacks
from zoo.training.engine.fit import train


class Recorder(keras.callbacks.Callback):
    """Records what it sees; interrupts the training at the end of batch number `interrupt`."""

    def __init__(self, interrupt=None):
        super().__init__()
        self.interrupt, self.calls, self.epochs, self.batches = interrupt, [], [], []

    def on_train_begin(self, logs=None):
        self.calls.append("begin")

    def on_train_end(self, logs=None):
        self.calls.append("end")
        assert logs["loss"] > 0

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs["val_accuracy"]))

    def on_train_batch_begin(self, batch, logs=None):
        self.batches.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        assert batch == self.batches[-1] and logs["loss"] > 0
        if len(self.batches) == self.interrupt:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_callbacks_see_true_epochs_on_resume_and_do_not_change_the_result(tmp_path, monkeypatch):
    """fit is called for each of the three epochs, and twice for the interrupted one."""
    recipe = options(RESNET, frozen=["all"], unfreeze_every=1, epochs=3, ema=0.9)
    train(recipe, tmp_path / "without", log=False)
    monkeypatch.setattr(callbacks, "_SECONDS", 0)
    first, second = Recorder(interrupt=8), Recorder()
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "with", log=False, callbacks=[first])
    train(recipe, tmp_path / "with", log=False, callbacks=[second])
    assert first.calls == ["begin", 0, 1] and first.batches == [0, 1, 2, 3, 4, 5, 0, 1]
    assert second.calls == ["begin", 1, 2, "end"] and second.batches == [
        2,
        3,
        4,
        5,
        0,
        1,
        2,
        3,
        4,
        5,
    ]
    assert (second.params["epochs"], second.params["steps"]) == (3, 6)
    without, resumed = (np.load(tmp_path / run / "checkpoint.npz") for run in ("without", "with"))
    assert set(without) == set(resumed)
    assert all(np.array_equal(without[key], resumed[key]) for key in without if key != "meta")
    history = json.loads(str(resumed["meta"]))["history"]
    assert history == json.loads(str(without["meta"]))["history"]
    seen = [*first.epochs, *second.epochs]
    assert seen == [(row["epoch"] - 1, row["val_accuracy"]) for row in history]


def test_a_callback_stops_the_training_after_the_epoch(tmp_path):
    class Stop(Recorder):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True
    stop = Stop()
    metrics = train(options(RESNET, frozen=["all"], unfreeze_every=1, epochs=3), tmp_path / "run",
                    log=False, callbacks=[stop])
    assert metrics["epochs"] == 1 and stop.calls == ["begin", 0, "end"]
    assert stop.batches == list(range(6))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_records_a_training(tmp_path, monkeypatch):
    """With a local file store."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    with mlflow.start_run() as run:
        train(DIGITS, tmp_path / "run", log=False, callbacks=[mlflow.tensorflow.MlflowCallback()])
    seen = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")
    history = json.loads(str(np.load(tmp_path / "run/checkpoint.npz")["meta"]))["history"]
    assert [(metric.step, metric.value) for metric in seen] == [
        (row["epoch"] - 1, row["val_accuracy"]) for row in history]
