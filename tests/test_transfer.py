"""Networks that start from trained ones: the same logits, better from few examples, errors."""

import shutil

import keras
import numpy as np
import pytest

import zoo
from zoo import shipped
from zoo.errors import UsageError, UserError
from zoo.training import recipes
from zoo.training.engine import prepare
from zoo.training.engine.fit import train
from zoo.training.results import publish
from zoo.weights import normalization

MNIST = {"input_shape": (28, 28, 1), "padding": "same"}


def images(shape, n=4):
    return np.random.default_rng(1).integers(0, 256, (n, *shape)).astype("float32")


def logits(model, x):
    return keras.ops.convert_to_numpy(model(x))


@pytest.mark.parametrize("named", ["a run's directory", "a file", "a model"])
def test_a_run_is_started_from(finished_run, named):
    file = finished_run / "model.keras"
    source = keras.models.load_model(file)
    weights = {"a run's directory": str(finished_run), "a file": file, "a model": source}[named]
    x = images((32, 32, 1))
    np.testing.assert_allclose(
        logits(zoo.build("lenet5", weights=weights), x), logits(source, x), rtol=1e-6
    )


@pytest.mark.parametrize("name", [name for name in shipped.names() if "textcnn" not in name])
def test_a_shipped_network_is_started_from_with_its_own_preparation_of_pixels(name):
    source, card = zoo.load(name), zoo.card(name)
    args = {
        key: value
        for key, value in card["arguments"].items()
        if key not in ("mean", "std", "classes")
    }
    x = images(source.input.shape[1:])
    np.testing.assert_allclose(
        logits(zoo.build(card["architecture"], weights=name, **args), x),
        logits(source, x),
        rtol=1e-5,
        atol=1e-5,
    )


def test_sentences_start_from_a_network_of_as_many_words():
    source, card = zoo.load("textcnn-uit_vsfc"), zoo.card("textcnn-uit_vsfc")
    tokens = np.random.default_rng(1).integers(0, 100, (3, 12)).astype("int32")
    ours = zoo.build("textcnn", weights="textcnn-uit_vsfc", **card["arguments"])
    np.testing.assert_array_equal(logits(ours, tokens), logits(source, tokens))


def test_other_classes_start_afresh_on_the_same_features():
    source, x = zoo.load("resnet20-cifar10"), images((32, 32, 3))
    pooled = logits(keras.Model(source.input, source.get_layer("pool").output), x)
    ours = zoo.build("resnet20", weights=source, classes=3)
    np.testing.assert_allclose(
        logits(keras.Model(ours.input, ours.get_layer("pool").output), x),
        pooled,
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        logits(zoo.build("resnet20", weights=source, classes=0), x), pooled, rtol=1e-5, atol=1e-5
    )
    assert source.get_layer("logits").bias.numpy().any()
    assert not ours.get_layer("logits").bias.numpy().any()


def test_a_new_head_on_an_old_body_moves_in_with_the_bodys_preparation_of_pixels():
    body, x = zoo.features(zoo.load("resnet20-cifar10"), ["stage3"]), images((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(body(body.input)["stage3"])
    source = keras.Model(body.input, keras.layers.Dense(4)(pooled))
    ours = zoo.build("resnet20", weights=source, classes=4)
    np.testing.assert_allclose(logits(ours, x), logits(source, x), rtol=1e-5, atol=1e-5)


def test_a_grey_image_is_taken_as_one_of_three_equal_channels():
    source, x = zoo.load("resnet20-cifar10"), images((32, 32, 1))
    ours = zoo.build("resnet20", weights=source, input_shape=(32, 32, 1))
    np.testing.assert_allclose(
        logits(ours, x), logits(source, np.repeat(x, 3, axis=-1)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
def test_few_examples_go_further_from_trained_weights(tmp_path):
    """50 scans of digits, from handwriting learnt on MNIST."""
    accuracy = {}
    for weights in ("", "lenet5-mnist"):
        settings = [
            "input_shape=28,28,1",
            "padding=same",
            "max_train_examples=50",
            "epochs=5",
            "batch_size=10",
            "augment={}",
        ]
        if weights:
            settings.append(f"weights={weights}")
        recipe = recipes.override(recipes.get_recipe("lenet5-digits"), settings)
        accuracy[weights] = train(recipe, tmp_path / f"run{weights}", log=False)["test_accuracy"]
    assert accuracy["lenet5-mnist"] > accuracy[""] + 0.1


@pytest.mark.parametrize(
    "name, overrides, words",
    [
        (
            "lenet5",
            {"weights": "lenet5-mnst"},
            r"Did you mean 'lenet5-mnist'\? Nor is lenet5-mnst a finished run or a \.keras",
        ),
        ("lenet5", {"weights": "."}, r"Nor is \. a finished run"),
        ("lenet5", {"weights": 3}, r"Unknown weights 3\. Known: .*, imagenet, .*, lenet5-mnist, "),
        (
            "lenet5",
            {"weights": "lenet5-mnist", "mean": 0.5, **MNIST},
            r"their own mean and std\. Received: mean=0\.5",
        ),
        (
            "lenet5",
            {"weights": "lenet5-mnist", "padding": "same"},
            r"does not fit .* input_shape=\(28, 28, 1\)",
        ),
        ("resnet32", {"weights": "resnet20-cifar10"}, r"of resnet20 .* does not fit"),
        (
            "resnet20",
            {"weights": "lenet5-mnist"},
            r"'c1' of lenet5 \(kernel 5x5x1x6, bias 6\) does not fit 'stem_conv'",
        ),
    ],
)
def test_what_will_not_do_is_refused_in_a_line(name, overrides, words):
    with pytest.raises(UsageError, match=words) as refusal:
        zoo.build(name, **overrides)
    assert "\n" not in str(refusal.value)


def test_a_damaged_file_is_reported(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="Cannot open the weights .*model.keras: "):
        zoo.build("lenet5", weights=tmp_path)


def test_sentences_do_not_start_from_the_weights_of_others(tmp_path):
    (tmp_path / "few.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 20)
    with pytest.raises(UsageError, match="vectors=FILE starts from word vectors"):
        recipe = recipes.get_recipe("textcnn-mr", str(tmp_path / "few.csv"))
        prepare.prepare(recipes.override(recipe, ["weights=textcnn-uit_vsfc"]))


def test_weights_bring_the_mean_and_deviation_they_were_trained_with():
    source, recipe = zoo.load("resnet20-cifar10"), recipes.get_recipe("resnet20", "digits")
    assert recipe.normalize
    _, build = prepare.prepare(recipes.override(recipe, ["weights=resnet20-cifar10"]))
    actual = normalization(build())
    expected = normalization(source)
    assert all(actual[name] == pytest.approx(value) for name, value in expected.items())


def test_frozen_stages_without_weights_are_reported():
    lines = []
    settings = ["frozen=c1,s2"]
    prepare.prepare(
        recipes.override(recipes.get_recipe("lenet5-digits"), settings), say=lines.append
    )
    assert any("random weights: weights=RUN" in line for line in lines)
    lines.clear()
    settings += ["weights=lenet5-digits"]
    prepare.prepare(
        recipes.override(recipes.get_recipe("lenet5-digits"), settings), say=lines.append
    )
    assert not any("random" in line for line in lines)


def test_a_training_outlives_what_it_started_from(finished_run, tmp_path):
    source = shutil.copytree(finished_run, tmp_path / "source")
    _, build = prepare.prepare(
        recipes.override(recipes.get_recipe("lenet5-digits"), [f"weights={source}"])
    )
    first = build().get_weights()
    shutil.rmtree(source)
    assert all(np.array_equal(a, b) for a, b in zip(first, build().get_weights(), strict=True))


@pytest.mark.slow
def test_a_run_does_not_go_on_from_other_weights(finished_run, tmp_path):
    source = shutil.copytree(finished_run, tmp_path / "source")
    recipe = recipes.override(
        recipes.get_recipe("lenet5-digits"), [f"weights={source}", "epochs=1"]
    )
    begun = train(recipe, tmp_path / "run", log=False)["weights_fingerprint"]
    (tmp_path / "run/metrics.json").unlink()
    assert train(recipe, tmp_path / "run", log=False)["weights_fingerprint"] == begun
    (tmp_path / "run/metrics.json").unlink()
    zoo.build("lenet5").save(source / "model.keras")
    with pytest.raises(
        UserError, match=f"was started with weights fingerprint {begun}. Received: "
    ):
        train(recipe, tmp_path / "run", log=False)


@pytest.mark.slow
def test_what_was_started_from_weights_ships_without_them(tmp_path):
    """With their preparation of pixels, which no argument of its recipe tells."""
    settings = ["weights=resnet20-cifar10", "epochs=1", "max_train_examples=64", "learning_rate=0"]
    train(
        recipes.override(recipes.get_recipe("resnet20", "digits"), settings),
        tmp_path / "run",
        log=False,
    )
    publish.ship([tmp_path / "run"], tmp_path / "models")
    source, card = zoo.load("resnet20-cifar10"), zoo.card("resnet20-digits", tmp_path / "models")
    assert "weights" not in card["arguments"]
    assert card["recipe"]["model_args"] == {"weights": "resnet20-cifar10"}
    shipped_again = zoo.load("resnet20-digits", tmp_path / "models")
    np.testing.assert_allclose(
        shipped_again.get_layer("rescale").offset, source.get_layer("rescale").offset
    )
    assert len(source.get_layer("rescale").offset) == 3
