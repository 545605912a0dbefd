"""The confusion matrix of each epoch, counted as the validation split is scored."""
import csv

import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from tests.test_training_callbacks import Recorder
from tests.test_training_options import DIGITS, options
from zoo.training import recipes
from zoo.training.engine import callbacks
from zoo.training.engine.confusion import CountingAccuracy
from zoo.training.engine.fit import train
from zoo.training.engine.prepare import prepare


def matrices(run):
    with np.load(run / "confusion.npz") as arrays:
        return dict(zip(arrays["epochs"].tolist(), arrays["matrices"], strict=True))


def test_each_epoch_has_its_matrix(finished_run):
    counted = matrices(finished_run)
    history = list(csv.DictReader((finished_run / "history.csv").read_text().splitlines()))
    assert list(counted) == [1, 2, 3]
    for row, matrix in zip(history, counted.values(), strict=True):
        assert np.trace(matrix) / matrix.sum() == pytest.approx(float(row["val_accuracy"]))
    dataset, _ = prepare(recipes.read(finished_run / "recipe.json"))
    model = keras.models.load_model(finished_run / "model.keras")  # of the best epoch
    predicted = model.predict(dataset.validation.examples.astype("float32"), verbose=0).argmax(1)
    best = int(max(history, key=lambda row: (float(row["val_accuracy"]),
                                             -float(row["val_loss"])))["epoch"])
    np.testing.assert_array_equal(
        counted[best], confusion_matrix(dataset.validation.labels, predicted, labels=range(10)))


@pytest.mark.slow
def test_a_resumed_training_keeps_the_matrices(tmp_path, monkeypatch):
    recipe = options(DIGITS, epochs=2)
    train(recipe, tmp_path / "whole", log=False)
    monkeypatch.setattr(callbacks, "_SECONDS", 0)
    steps = np.load(tmp_path / "whole/checkpoint.npz")["optimizer0"] // 2
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", log=False, callbacks=[Recorder(interrupt=int(steps) + 1)])
    train(recipe, tmp_path / "cut", log=False)
    whole, cut = matrices(tmp_path / "whole"), matrices(tmp_path / "cut")
    assert list(whole) == list(cut) == [1, 2]
    np.testing.assert_array_equal(list(whole.values()), list(cut.values()))


def test_many_classes_are_not_counted():
    assert CountingAccuracy(20).counts.shape == (20, 20)
    assert CountingAccuracy(21).counts is None


def test_without_validation_there_is_no_matrix(tmp_path):
    train(options(DIGITS, epochs=1, validation_split=0.0), tmp_path / "run", log=False)
    assert not (tmp_path / "run/confusion.npz").exists()
