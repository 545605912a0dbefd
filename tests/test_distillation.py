"""Knowledge distillation: the loss, what a student learns, and teachers that do not fit."""
import dataclasses
import shutil

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import zoo
from zoo.errors import UserError
from zoo.training import evaluation, recipes, trained
from zoo.training.engine.distillation import distil, teacher_of
from zoo.training.engine.fit import train
from zoo.training.engine.prepare import compile_model

DIGITS = [str(digit) for digit in range(10)]
RECIPE = recipes.Recipe("student", "simple_cnn", "digits", {"input_shape": (32, 32, 1)},
                        optimizer="adamw", learning_rate=3e-3, epochs=2, batch_size=64,
                        teacher="lenet5-digits")


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("weight, temperature", [(0.9, 2.0), (0.3, 4.0)])
def test_the_loss_is_that_of_the_paper(weight, temperature):
    recipe = dataclasses.replace(RECIPE, teacher_weight=weight, temperature=temperature)
    model = zoo.build("simple_cnn", input_shape=(32, 32, 1))
    teacher = teacher_of(recipe, DIGITS, (32, 32, 1))
    compile_model(model, recipe, 1)
    images = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 1)).astype("float32")
    labels = np.eye(10, dtype="float32")[[3, 1, 4, 1, 5]]
    logits = model(images, training=False)
    plain = float(model.compute_loss(images, labels, logits, training=True))
    distil(model, teacher, recipe)
    taught, logits = np.asarray(teacher.model(images), "float64"), np.asarray(logits, "float64")
    soft = np.exp(log_softmax(taught / temperature))
    of_teacher = -(soft * log_softmax(logits / temperature)).sum(-1).mean()
    expected = (1 - weight) * plain + weight * temperature**2 * of_teacher
    found = model.compute_loss(images, labels, keras.ops.convert_to_tensor(logits, "float32"))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    unchanged = model.compute_loss(images, labels, logits.astype("float32"), training=False)
    assert float(unchanged) == pytest.approx(plain, rel=1e-5)


def test_a_student_learns_what_its_teacher_answers_where_the_labels_tell_nothing(tmp_path):
    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype("uint8")[..., None]
    noise = np.random.default_rng(0).permutation(np.arange(len(images)) % 10)
    np.savez(tmp_path / "noise.npz", x_train=images[:1500], y_train=noise[:1500],
             x_test=images[1500:], y_test=noise[1500:])
    recipe = dataclasses.replace(RECIPE, data=str(tmp_path / "noise.npz"), epochs=8,
                                 validation_split=0.0, teacher_weight=1.0)
    metrics = train(recipe, tmp_path / "run", log=False)
    assert metrics["test_accuracy"] < 0.2
    assert evaluation.evaluate(tmp_path / "run", data="digits")["accuracy"] > 0.9


def test_the_teachers_classes_are_put_into_the_order_of_the_data():
    images = np.random.default_rng(1).uniform(0, 255, (3, 32, 32, 1)).astype("float32")
    teacher = teacher_of(RECIPE, DIGITS[::-1], (32, 32, 1))
    assert np.array_equal(teacher.logits(images), np.asarray(teacher.model(images))[:, ::-1])


@pytest.mark.parametrize("names, shape, words", [
    (["cat", "dog"], (32, 32, 1), "must have the classes of digits, cat, dog. Received: 0, 1, 2"),
    (DIGITS, (28, 28, 1), "must take images of 28x28x1, as simple_cnn does here. "
                          "Received: 32x32x1.")])
def test_a_teacher_that_does_not_fit_is_told_in_a_line(names, shape, words):
    with pytest.raises(UserError, match=f"The teacher lenet5-digits {words}"):
        teacher_of(RECIPE, names, shape)


@pytest.mark.slow
def test_another_teacher_does_not_go_on_with_a_training(finished_run, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    shutil.copytree(finished_run, tmp_path / "teacher")
    recipe = dataclasses.replace(RECIPE, teacher=str(tmp_path / "teacher"))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", log=False, callbacks=[Stop()])
    other = trained.load("lenet5-digits").model
    other.save(tmp_path / "teacher/model.keras")
    with pytest.raises(UserError, match="was started with teacher fingerprint"):
        train(recipe, tmp_path / "run", log=False)
    shutil.copy(finished_run / "model.keras", tmp_path / "teacher/model.keras")
    assert train(recipe, tmp_path / "run", log=False)["best_epoch"]["epoch"] in (1, 2)
