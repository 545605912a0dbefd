"""With balanced classes, the best epoch is the one of the highest balanced accuracy."""
import json

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from zoo.training import recipes, trained
from zoo.training.data.dataset import load_data
from zoo.training.engine import checkpoint, fit, progress
from zoo.training.engine.balanced_accuracy import BalancedAccuracy
from zoo.training.engine.fit import train
from zoo.training.files import packed


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """The path of digits of which all zeros and a few of the others are left."""
    digits, arrays = load_data("digits", (8, 8, 1)), {}
    for name, split in (("train", digits.train), ("test", digits.test)):
        kept = np.concatenate([np.flatnonzero(split.labels == n)[:None if n == 0 else 15]
                               for n in range(10)])
        arrays[f"x_{name}"] = np.array(split.raw(kept))
        arrays[f"y_{name}"] = split.labels[kept]
    file = tmp_path_factory.mktemp("uneven") / "uneven.npz"
    np.savez(file, **arrays)
    return file


def recipe_of(file, **fields):
    return recipes.Recipe(**{
        "name": "b", "model": "mlp", "data": str(file), "model_args": {"input_shape": (8, 8, 1)},
        "epochs": 3, "batch_size": 64, "validation_split": 0.3, **fields})


@pytest.mark.parametrize("present", [range(7), (0, 3, 6), (2,)])
def test_the_metric_is_scikit_learns(present):
    rng, metric = np.random.default_rng(0), BalancedAccuracy(7)
    true = rng.choice(present, 200, p=None if len(present) < 7 else np.arange(1, 8) / 28)
    logits = rng.normal(size=(200, 7)) + np.diag(np.arange(7) / 2)[true]
    for first in range(0, 200, 64):
        metric.update_state(np.eye(7)[true][first:first + 64], logits[first:first + 64])
    predicted = logits.argmax(axis=1)
    expected = np.mean([np.mean(predicted[true == n] == n) for n in present])
    if len(present) == 7:
        assert balanced_accuracy_score(true, predicted) == pytest.approx(expected)
        assert abs(accuracy_score(true, predicted) - expected) > 0.05
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_the_kept_epoch_is_the_best_by_balanced_accuracy(uneven, tmp_path, capsys, balance):
    recipe = recipe_of(uneven, balance=balance)
    metrics = train(recipe, tmp_path / "run")
    assert "The best epoch is the one with the highest val_balanced_accuracy.\n" in (
        capsys.readouterr().out)
    assert metrics["selection_metric"] == "val_balanced_accuracy"
    header, *rows = (tmp_path / "run/history.csv").read_text().splitlines()
    column = header.split(",").index("val_balanced_accuracy")
    scores = [float(row.split(",")[column]) for row in rows]
    assert metrics["best_epoch"]["val_balanced_accuracy"] == max(scores)
    validation = fit.prepare(recipe)[0].validation
    model = keras.models.load_model(tmp_path / "run/model.keras")
    predicted = trained.predict_logits(model, validation).argmax(axis=1)
    expected = balanced_accuracy_score(validation.labels, predicted)
    assert metrics["best_epoch"]["val_balanced_accuracy"] == pytest.approx(expected, abs=1e-6)


def test_without_balance_accuracy_selects(uneven, tmp_path, capsys):
    metrics = train(recipe_of(uneven, epochs=1), tmp_path / "run")
    assert metrics["selection_metric"] == "val_accuracy"
    assert "balanced" not in (tmp_path / "run/history.csv").read_text() + capsys.readouterr().out
    metrics = train(recipe_of(uneven, epochs=1, validation_split=0.0, balance="weights"),
                    tmp_path / "all")
    assert metrics["selection_metric"] is None and "highest" not in capsys.readouterr().out


def test_selection_and_early_stopping_go_by_the_history(tmp_path):
    state = checkpoint.TrainingState(tmp_path, 1, patience=2)
    for epoch, (plain, balanced) in enumerate([(0.5, 0.8), (0.9, 0.6), (0.95, 0.7)], 1):
        state.history.append({"epoch": epoch, "val_loss": 1.0, "val_accuracy": plain,
                              "val_balanced_accuracy": balanced})
    assert state.best_epoch()["epoch"] == 1 and state.stopped
    for row in state.history:
        del row["val_balanced_accuracy"]
    assert state.selection_metric == "val_accuracy"
    assert state.best_epoch()["epoch"] == 3 and not state.stopped


@pytest.mark.slow
def test_auxiliary_heads_are_not_measured(uneven, tmp_path):
    small = {"input_shape": (32, 32, 1), "stem": "small", "depths": (1, 4, 1), "width": 0.0625,
             "aux": True}
    recipe = recipe_of(uneven, model="googlenet", model_args=small, epochs=1, balance="weights")
    metrics = train(recipe, tmp_path / "run", log=False)
    assert {name for name in metrics["best_epoch"] if "accuracy" in name} == {
        "accuracy", "balanced_accuracy", "val_accuracy", "val_balanced_accuracy"}


def interrupt(step):
    def stop(report, batch, logs=None):
        if report.state.step == step:
            raise KeyboardInterrupt
    return stop


@pytest.mark.parametrize("step", [
    pytest.param(1, marks=pytest.mark.slow), 5])  # before and after the first row of the history
def test_a_training_resumes_and_that_of_an_older_version_keeps_its_metric(uneven, tmp_path,
                                                                           monkeypatch, step):
    recipe = recipe_of(uneven, balance="weights", epochs=3)
    train(recipe, tmp_path / "whole", log=False)
    with monkeypatch.context() as patch:
        patch.setattr("zoo.training.engine.callbacks._SECONDS", 0)
        patch.setattr(progress.Report, "on_train_batch_begin", interrupt(step))
        for run in ("new", "old"):
            with pytest.raises(KeyboardInterrupt):
                train(recipe, tmp_path / run, log=False)
    train(recipe, tmp_path / "new", log=False)
    assert (tmp_path / "new/history.csv").read_bytes() == (
        tmp_path / "whole/history.csv").read_bytes()
    file = tmp_path / "old/checkpoint.npz"  # as version 0.1 wrote it
    with np.load(file) as arrays:
        arrays = dict(arrays)
    meta = json.loads(str(arrays.pop("meta")))
    for row in meta["history"]:
        del row["balanced_accuracy"], row["val_balanced_accuracy"]
    metrics = [arrays.pop(f"metrics{number}") for number in range(meta["metrics"])]
    kept = [values for values in metrics if values.shape not in ((10,), (10, 10))]
    assert len(metrics) - len(kept) == 3  # balanced accuracy and the confusion matrix
    meta["metrics"] = len(kept)
    arrays |= {f"metrics{number}": values for number, values in enumerate(kept)}
    file.write_bytes(packed(**arrays, meta=json.dumps(meta)))
    metrics = train(recipe, tmp_path / "old", log=False)
    older = step == 5
    assert metrics["selection_metric"] == (
        "val_accuracy" if older else "val_balanced_accuracy")
    header, *rows = (tmp_path / "old/history.csv").read_text().splitlines()
    assert ("balanced" in header) != older and len(rows) == 3
    assert {row.count(",") for row in rows} == {header.count(",")}
