"""The recipes on ImageNet: as published, and ready to run on a stand-in of its layout."""
import dataclasses
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests import imagenet_stand_in
from zoo.catalog import arguments
from zoo.training import recipes
from zoo.training.data.augmentation.augment import augment
from zoo.training.data.augmentation.crops import training_view
from zoo.training.data.augmentation.settings import check, needs_original
from zoo.training.data.opening import open_source
from zoo.training.data.pipeline import steps_per_training_epoch
from zoo.training.data.splits import Split
from zoo.training.engine import optimizers, prepare
from zoo.training.preprocessing.images import decode_or_explain
from zoo.training.results import record

NAMES = ("alexnet", "vgg16", "googlenet", "inception_v3", "resnet18", "resnet50", "densenet121",
         "mobilenet_v1", "mobilenet_v2")
TRAINING_IMAGES = 1_281_167
RECIPES = {name: recipes.get_recipe(f"{name}-imagenet2012") for name in NAMES}
each = pytest.mark.parametrize("name", NAMES)


@each
def test_every_recipe_goes_with_its_network(name):
    recipe, defaults = RECIPES[name], arguments(name)
    assert set(recipe.model_args) <= set(defaults) and recipe.data == "imagenet2012"
    shape = defaults["input_shape"]
    check(recipe.augment, shape[2], max(shape[:2]))
    assert recipe.resize == "crop" and recipe.eval_resize >= max(shape[:2])
    assert needs_original(recipe.augment) and recipe.augment["flip"]
    assert not recipe.normalize  # it would read all images once
    lines = []
    prepare._check_view(recipe, shape, lines.append)
    assert not lines


@each
def test_the_rates_are_those_of_the_papers(name):
    """{epoch: rate}, by hand from the papers, after the first, a middle and the last step."""
    expected = {
        "alexnet": {0: 0.01, 22: 0.01, 23: 0.001, 89: 0.00001},
        "vgg16": {0: 0.01, 18: 0.01, 19: 0.001, 73: 0.00001},
        "googlenet": {0: 0.01, 7: 0.01, 8: 0.0096, 249: 0.01 * 0.96**31},
        "inception_v3": {0: 0.045, 1: 0.045, 2: 0.0423, 99: 0.045 * 0.94**49},
        "resnet18": {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 119: 0.0001},
        "resnet50": {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 119: 0.0001},
        "densenet121": {0: 0.1, 29: 0.1, 30: 0.01, 60: 0.001, 89: 0.001},
        "mobilenet_v1": {0: 0.045, 2: 0.045, 3: 0.0423, 99: 0.045 * 0.94**39},
        "mobilenet_v2": {0: 0.045, 2: 0.045, 3: 0.0441, 411: 0.045 * 0.98**164}}[name]
    recipe = RECIPES[name]
    steps = steps_per_training_epoch(Split(None, np.arange(TRAINING_IMAGES)), recipe)
    assert steps == -(-TRAINING_IMAGES // recipe.batch_size)
    rate = optimizers.optimizer(recipe, steps)._learning_rate
    found = {epoch: float(rate(epoch * steps)) for epoch in expected}
    assert found == pytest.approx(expected, rel=1e-4)
    assert max(expected) == recipe.epochs - 1


@each
def test_l2_penalties_are_translated(name):
    """Krizhevsky and VGG 5e-4, BVLC's GoogLeNet 2e-4, ResNet and DenseNet 1e-4, others 4e-5."""
    penalty = {"alexnet": 5e-4, "vgg16": 5e-4, "googlenet": 2e-4, "resnet18": 1e-4,
               "resnet50": 1e-4, "densenet121": 1e-4}.get(name, 4e-5)
    recipe = RECIPES[name]
    assert recipe.weight_decay == pytest.approx(penalty / (1 - recipe.momentum))


def test_no_result_is_claimed():
    rows = record.rows("*-imagenet2012")
    assert {row["model"] for row in rows} == set(NAMES)
    assert all(row["accuracy"] == "-" and "%" in row["published"] for row in rows)
    page = record.PAGE.read_text(encoding="utf-8")
    assert "-imagenet2012`" not in page.partition("<!-- results")[2]
    assert "nobody has run\nthem here to their end" in page


def photographs(data_dir):
    """The training images and labels, decoded, of any size."""
    source = open_source("imagenet2012", data_dir)
    train = source.splits["train"]
    return [decode_or_explain(data)[0] for data in source.read(train)], source.labels[train]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    pytest.importorskip("tensorflow_datasets")
    return imagenet_stand_in.prepare(tmp_path_factory.mktemp("imagenet"))


def test_the_stand_in_has_imagenets_layout(data_dir):
    source = open_source("imagenet2012", data_dir)
    assert len(source.class_names) == 1000 and source.class_names[0] == "n01440764"
    images, labels = photographs(data_dir)
    assert len(images) == 60 and len({image.shape for image in images}) > 30
    assert len(np.unique(labels)) == imagenet_stand_in.CLASSES


@pytest.mark.parametrize("name, side, args", [
    ("resnet18", 64, {"width": 8}),
    pytest.param("mobilenet_v2", 64, {"alpha": 0.25}, marks=pytest.mark.slow),
    *(pytest.param(name, side, {}, marks=pytest.mark.slow) for name, side in (
        ("alexnet", 67), ("vgg16", 64), ("googlenet", 65), ("inception_v3", 75),
        ("resnet50", 64), ("densenet121", 64), ("mobilenet_v1", 64)))])
def test_a_few_steps_of_a_small_input(name, side, args, data_dir):
    """The batches of the recipe, its optimizer and its loss."""
    args = {key: value for key, value in args.items() if key in arguments(name)}
    recipe = dataclasses.replace(RECIPES[name], model_args={
        **RECIPES[name].model_args, "input_shape": (side, side, 3), "classes": 1000, **args},
        batch_size=8)
    images, labels = photographs(data_dir)
    model = zoo.build(name, **recipe.model_args)
    prepare.compile_model(model, recipe, 10)
    views = tf.stack([training_view(tf.constant(image), (side, side, 3), recipe.augment,
                                    [recipe.seed, 0, position])
                      for position, image in enumerate(images[:8])])
    batch = augment(views, tf.one_hot(labels[:8], 1000), recipe.augment, [recipe.seed, 0])
    batches = prepare.labels_per_head(model, tf.data.Dataset.from_tensors(batch).repeat(3))
    losses = model.fit(batches, steps_per_epoch=3, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert all(np.isfinite(weight.numpy()).all() for weight in model.trainable_variables)


@pytest.mark.slow
@each
def test_two_epochs_from_the_command_line_killed_once(name, data_dir, tmp_path):
    """The scores and weights are those of an undisturbed run, bit for bit."""
    side = {"alexnet": 67, "googlenet": 65, "inception_v3": 75}.get(name, 64)
    command = [sys.executable, "-m", "zoo", "train", f"{name}-imagenet2012", "--data-dir",
               str(data_dir), "--epochs", "2", "--set", f"input_shape=({side},{side},3)",
               "--set", "batch_size=8", "--run"]
    subprocess.run([*command, str(tmp_path / "once")], check=True, timeout=1800)
    with subprocess.Popen([*command, str(tmp_path / "killed")]) as process:
        while process.poll() is None and not (tmp_path / "killed/checkpoint.npz").exists():
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    subprocess.run([*command, str(tmp_path / "killed")], check=True, timeout=1800)
    once, killed = (keras.models.load_model(tmp_path / run / "model.keras", compile=False)
                    for run in ("once", "killed"))
    for left, right in zip(once.get_weights(), killed.get_weights(), strict=True):
        assert np.array_equal(left, right)
