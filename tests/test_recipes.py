"""Recipes: what can be set, and what is refused."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

import zoo
from zoo.__main__ import main
from zoo.errors import UsageError
from zoo.training import recipes
from zoo.training.data import pipeline
from zoo.training.data.dataset import load_data
from zoo.training.data.splits import Split
from zoo.training.deployment import card
from zoo.training.engine import fit

LENET = recipes.get_recipe("lenet5-mnist")


def test_every_recipe_builds_its_network_and_has_its_own_name():
    for name, recipe in recipes.RECIPES.items():
        assert name == recipe.name
        # Weights would be downloaded; those for ImageNet are large, see test_imagenet_recipes.py.
        if "weights" not in recipe.model_args and recipe.data != "imagenet2012":
            zoo.build(recipe.model, **recipe.model_args)


def test_settings_replace_fields_and_arguments_of_the_network():
    changed = recipes.override(
        LENET,
        [
            "epochs=3",
            "learning_rate=1",
            "normalize=true",
            "augment={'shift': 1}",
            'stage_lr_multipliers={"c1": 0}',
            "optimizer=sgd",
            "dropout=0.5",
            "input_shape=32,32,1",
        ],
    )
    assert (changed.epochs, changed.learning_rate, changed.normalize) == (3, 1.0, True)
    assert (changed.augment, changed.optimizer) == ({"shift": 1}, "sgd")
    assert changed.model_args == {"input_shape": (32, 32, 1), "padding": "same", "dropout": 0.5}
    as_in_the_file = recipes.override(LENET, ['augment={"flip": true, "shift": 1}'])
    assert as_in_the_file.augment == {"flip": True, "shift": 1}


@pytest.mark.parametrize(
    "setting, words",
    [
        ("epochs=abc", "epochs must be a whole number. Received: 'abc'"),
        ("epochs=2.5", "epochs must be a whole number. Received: '2.5'"),
        ("epochs=0", "epochs must be at least 1. Received: 0"),
        ("validation_split=0.9", "validation_split must be 0 to 0.5. Received: 0.9"),
        ("learning_rate=fast", "learning_rate must be a number"),
        ("learning_rate=nan", "learning_rate must be a number"),
        ("normalize=perhaps", "normalize must be true or false"),
        ("augment=3", "augment must be a dictionary"),
        ("dropout=no", "dropout must be a number"),
        ("resize=squash", "Unknown resize 'squash'"),
        ("balance=wieghts", "Did you mean 'weights'?"),
        ("epchs=3", "Unknown setting of lenet5 'epchs'. Did you mean 'epochs'?"),
        ("epochs", "A setting must be name=value"),
    ],
)
def test_a_wrong_setting_is_explained(setting, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        recipes.override(LENET, [setting])


def test_a_recipe_file_repeats_the_recipe(tmp_path):
    (tmp_path / "recipe.json").write_text(LENET.to_json())
    assert json.loads(recipes.read(tmp_path / "recipe.json").to_json()) == json.loads(
        LENET.to_json()
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "is not a recipe"),
        ("[1]", "is not a recipe"),
        ("{}", "is not a recipe"),
        ("\udcff", "is not a recipe"),
        ('{"epocs": 3}', "Did you mean 'epochs'"),
    ],
)
def test_a_broken_recipe_file_is_explained(tmp_path, text, words):
    (tmp_path / "recipe.json").write_text(text, errors="surrogateescape")
    with pytest.raises(UsageError, match=words):
        recipes.read(tmp_path / "recipe.json")


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"data": 5}, "data must be text. Received: 5."),
        ({"epochs": "many"}, "epochs must be a whole number. Received: 'many'."),
        ({"epochs": True}, "epochs must be a whole number. Received: True."),
        ({"frozen": "all"}, "frozen must be a list. Received: 'all'."),
        ({"name": "../x"}, "name must be a valid folder name. Received: '../x'."),
        ({"folds": 1}, "folds must be 0 (use the given splits) or at least 2. Received: 1."),
        (
            {"stage_lr_multipliers": {"c1": -1}},
            "stage_lr_multipliers must be numbers of at least 0. Received: -1 for c1.",
        ),
    ],
)
def test_a_value_that_no_recipe_can_have_is_explained(tmp_path, fields, words):
    (tmp_path / "recipe.json").write_text(json.dumps({**json.loads(LENET.to_json()), **fields}))
    with pytest.raises(UsageError) as raised:
        recipes.read(tmp_path / "recipe.json")
    assert str(raised.value) == words


def test_a_whole_number_does_for_a_number():
    assert dataclasses.replace(LENET, warmup=2, learning_rate=1).warmup == 2


def test_a_missing_recipe_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="Cannot read the recipe .*gone.json: No such file"):
        recipes.read(tmp_path / "gone.json")


def test_class_weights_are_refused_with_mixed_labels():
    with pytest.raises(
        UsageError,
        match="balance='weights' needs one class per image.*Use balance='sampling' with them",
    ):
        recipes.override(LENET, ["augment={'mixup': 0.2}", "balance=weights"])


def test_a_recipe_file_runs_on_other_data(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.json").write_text(
        recipes.Recipe("small", "lenet5", "digits", epochs=1).to_json()
    )
    (tmp_path / "photos").mkdir()
    for data, words in (
        ("photos", f"{tmp_path}/photos has no class folders"),
        ("mnst", "Did you mean 'mnist'?"),
    ):
        assert (
            main(["train", "--recipe", "recipe.json", "--data", data])
            and words in capfd.readouterr().err
        )


def test_a_recipe_runs_on_other_data(tmp_path):
    moved = recipes.get_recipe("lenet-mnist", str(tmp_path))
    assert (moved.model, moved.epochs, moved.data) == (
        "lenet",
        recipes.get_recipe("lenet-mnist").epochs,
        str(tmp_path),
    )
    assert moved.name == f"lenet-mnist-{tmp_path.name}"


def test_a_recipe_on_other_data_gets_another_name(tmp_path):
    (tmp_path / "mr.csv").touch(), (tmp_path / "cat-photos").mkdir()
    for name, data, found in (
        ("textcnn-mr", tmp_path / "mr.csv", "textcnn-mr"),
        ("lenet5-mnist", "mnist", "lenet5-mnist"),
        ("resnet20-sign_digits", "digits", "resnet20-sign_digits-digits"),
        ("lenet5", tmp_path / "cat-photos", "lenet5-cat-photos"),
    ):
        assert recipes.get_recipe(name, str(data)).name == found


def test_a_card_names_files_and_not_where_they_lay(tmp_path):
    started = {"weights": str(tmp_path / "run")}
    told = card.portable(
        recipes.Recipe("a", "resnet20", str(tmp_path / "photos"), started, vectors="there/v.txt")
    )
    assert (told["data"], told["model_args"], told["vectors"]) == (
        "photos",
        {"weights": "run"},
        "v.txt",
    )
    assert (
        card.portable(recipes.Recipe("a", "lenet5", "emnist/letters"))["data"] == "emnist/letters"
    )


def test_a_network_on_data_of_ones_own_gets_settings_for_its_kind():
    photographs, sentences = (
        recipes.get_recipe("resnet20", "photos/"),
        recipes.get_recipe("textcnn", "reviews.csv"),
    )
    assert (photographs.optimizer, photographs.normalize, photographs.batch_size) == (
        "adamw",
        True,
        32,
    )
    assert recipes.get_recipe("vgg16", "photos/").learning_rate < photographs.learning_rate
    assert sentences.min_steps and photographs.min_steps
    with pytest.raises(UsageError, match="Unknown model 'resnt20'. Did you mean 'resnet20'"):
        recipes.get_recipe("resnt20", "photos/")


@pytest.mark.parametrize(
    "name, epochs, size, args",
    [
        ("resnet20", 2, 8, {"width": 8}),
        pytest.param(
            "vgg16", 8, 32, {"filters": (16, 32, 32, 64, 64), "units": 128}, marks=pytest.mark.slow
        ),
        pytest.param(
            "mobilenet_v2",
            4,
            8,
            {"stem": "small", "rows": ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2))},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_networks_of_all_kinds_learn_few_images_by_it(name, epochs, size, args, tmp_path):
    """Batch normalization after few steps, and many layers without it, often fail to train."""
    recipe = recipes.override(recipes.get_recipe(name, "digits"), [f"epochs={epochs}"])
    recipe = dataclasses.replace(recipe, model_args={"input_shape": (size, size, 1), **args})
    assert fit.train(recipe, tmp_path / "run", log=False)["test_accuracy"] > 0.85


def test_an_old_field_name_reads_the_new_field(capfd):
    """For spaces and programs written for version 0.1."""
    assert LENET.batch == LENET.batch_size and LENET.validation == LENET.validation_split
    assert "Recipe: batch is now batch_size" in capfd.readouterr().err
    with pytest.raises(AttributeError, match="'Recipe' object has no attribute 'batchsize'"):
        _ = LENET.batchsize


@pytest.mark.parametrize("count, passes", [(43, 30), (1000, 2), (30_000, 1)])
def test_few_examples_are_repeated_until_there_are_enough_steps(count, passes):
    recipe = dataclasses.replace(LENET, epochs=10, batch_size=32, min_steps=600)
    split = Split(None, np.arange(count))
    steps = pipeline.steps_per_training_epoch(split, recipe)
    assert steps == passes * math.ceil(count / 32) and 10 * steps >= 600
    whole = dataclasses.replace(recipe, min_steps=0)
    assert pipeline.steps_per_training_epoch(split, whole) == math.ceil(count / 32)


def test_epochs_named_by_the_user_are_not_repeated():
    recipe = recipes.get_recipe("resnet20", "photos/")
    assert recipe.min_steps and recipes.override(recipe, ["dropout=0"]).min_steps
    assert recipes.override(recipe, ["epochs=3"]).min_steps == 0
    trained = ["weights=resnet20-cifar10"]  # needs fewer steps
    assert recipes.override(recipe, trained).min_steps == 200
    assert recipes.override(recipe, [*trained, "min_steps=9"]).min_steps == 9
    assert recipes.override(recipe, [*trained, "epochs=3"]).min_steps == 0
    assert recipes.override(recipes.get_recipe("resnet20-cifar10"), trained).min_steps == 0
    assert recipes.override(recipe, ["epochs=3", "min_steps=9"]).min_steps == 9
    assert not any(recipe.min_steps for recipe in recipes.RECIPES.values())
    assert recipes.get_recipe("textcnn-mr", "data/mr.csv").min_steps == 0
    other = recipes.get_recipe("textcnn-mr", "trec.csv")
    assert other.min_steps == recipes.get_recipe("textcnn", "trec.csv").min_steps


def test_a_repeated_epoch_shuffles_each_pass_and_resumes(tmp_path):
    images = np.arange(24, dtype="uint8").reshape(24, 1, 1, 1) * 9
    np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(24) % 2,
             x_test=images, y_test=np.arange(24) % 2)
    recipe = recipes.Recipe("few", "mlp", str(tmp_path / "set.npz"),
                            {"input_shape": (1, 1, 1), "hidden": (4,)}, validation_split=0,
                            epochs=2, min_steps=12, batch_size=8)
    epochs = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: epochs.append(batch))
    metrics = fit.train(recipe, tmp_path / "run", log=False, callbacks=[record])
    assert epochs == [*range(6)] * 2 and metrics["epochs"] == 2  # two passes of three batches
    split = load_data(recipe.data, validation_split=0).train
    batches = pipeline.training_batches(split, recipe, 2).take(6)
    drawn = np.concatenate([batch.numpy().ravel() for batch, _ in batches]).reshape(2, 24)
    assert np.array_equal(np.sort(drawn), [images.ravel()] * 2)
    assert not np.array_equal(*drawn)
