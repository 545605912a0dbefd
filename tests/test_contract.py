"""The contract that every network of the zoo keeps, see `zoo.build`."""
import functools
import itertools
import json
import math
import re

import keras
import numpy as np
import pytest

import zoo
from tests.models import OTHERS_SLOW, PARAMS, TINY
from zoo import catalog
from zoo.errors import UsageError
from zoo.factory import without_weights
from zoo.tables import layer_table

RECORDED = json.loads(catalog.PATH.read_text())


@functools.cache
def tiny(name):
    """The network at its small size, built once for all tests that do not change it."""
    keras.utils.set_random_seed(0)  # the same weights, whichever test comes first
    return zoo.build(name, **TINY[name])


def takes_tokens(name):
    return "input_shape" not in zoo.spec(name).defaults


def pixels(model, n):
    """`n` random images for `model`, or sentences of seven token ids."""
    shape = model.input.shape[1:]
    if model.input.name == "tokens":
        vocab_size = next((layer.input_dim for layer in model.layers
                           if isinstance(layer, keras.layers.Embedding)), 10)  # of "abc def."
        return np.random.default_rng(0).integers(1, vocab_size, (n, 7)).astype("int32")
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype("uint8")


def test_every_registered_name_is_in_the_table():
    ours = [name for name in zoo.names() if zoo.spec(name).builder.__module__.startswith("zoo.")]
    assert sorted(TINY) == sorted(PARAMS) == ours  # tests register others


@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_the_full_network_is_the_recorded_one(name):
    """If this fails: make models."""
    model = without_weights(zoo.build, name)
    (entry,) = [entry for entry in RECORDED if entry["name"] == name]
    assert json.loads(json.dumps(catalog._entry(zoo.spec(name), model))) == entry
    assert params(model) == entry["params"]


def test_the_params_are_the_published_ones():
    published = {name: zoo.spec(name).params for name in TINY if zoo.spec(name).params}
    recorded = {entry["name"]: entry["params"] for entry in RECORDED}
    assert len(published) > 80 and published == {name: recorded[name] for name in published}


def params(model):
    """The number of parameters, counted weight by weight."""
    return sum(math.prod(weight.shape) for weight in model.weights)


@pytest.mark.parametrize("name", TINY)
def test_the_params_of_the_small_network_are_the_recorded_ones(name):
    assert params(tiny(name)) == tiny(name).count_params() == PARAMS[name]


@pytest.mark.parametrize("name", TINY)
def test_logits_are_finite_float32_of_shape_batch_and_classes(name):
    model = zoo.build(name, **TINY[name] | {"classes": 7})
    logits = keras.ops.convert_to_numpy(model(pixels(model, 2)))
    assert logits.shape == (2, 7) and logits.dtype == np.float32 and np.isfinite(logits).all()


@pytest.mark.parametrize("name", TINY)
def test_zero_classes_give_float32_features(name):
    model = zoo.build(name, **TINY[name] | {"classes": 0})
    assert len(model.output.shape) == 2 and model.output.dtype == "float32"
    assert "logits" not in [layer.name for layer in model.layers]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_pixels_and_logits_stay_float32_under_mixed_precision(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = zoo.build(name, **TINY[name])
    finally:
        keras.config.set_dtype_policy("float32")
    assert takes_tokens(name) or model.get_layer("rescale").compute_dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert policy.removeprefix("mixed_") in {layer.compute_dtype for layer in model.layers}
    assert keras.ops.convert_to_numpy(model(pixels(model, 2))).dtype == np.float32


@pytest.mark.parametrize("name", TINY)
def test_graph_is_flat_and_of_built_in_layers(name):
    for layer in tiny(name).layers:
        assert not isinstance(layer, keras.Model), layer.name
        assert type(layer).__module__.startswith("keras."), layer.name


@pytest.mark.parametrize("name", TINY)
def test_every_layer_is_named_by_its_position(name):
    for layer in tiny(name).layers:
        default = re.sub(r"\d+$", "", type(layer).__name__.lower())
        named = re.sub(r"_|\d+$", "", layer.name) != default
        assert named or layer.name in ("flatten", "dropout"), f"{layer.name} is a default name"


@pytest.mark.parametrize("name", TINY)
def test_every_stage_can_be_tapped(name):
    model = tiny(name)
    taps = zoo.features(model, list(zoo.stages(model)))(pixels(model, 1))
    assert set(taps) == set(zoo.stages(model)) and len(taps) >= 2


@pytest.mark.parametrize("name", TINY)
def test_the_table_counts_every_param(name):
    model = tiny(name)
    assert sum(row.params for row in layer_table(model)) == model.count_params()


@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_config_round_trip_gives_the_same_network(name, tmp_path):
    model = tiny(name)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert json.loads(again.to_json())["config"] == json.loads(model.to_json())["config"]
    x = pixels(model, 2)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels are TensorFlow's")
@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_saved_model_round_trip_gives_the_same_logits_at_two_batch_sizes(name, tmp_path):
    import tensorflow as tf
    model = tiny(name)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    for n in (1, 3):
        x = tf.constant(pixels(model, n), model.input.dtype)
        np.testing.assert_allclose(loaded.serve(x), model(x, training=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_one_fit_step_moves_every_weight_and_lowers_the_loss(name):
    """The loss in training mode without dropout: moving averages of one step say little."""
    model = zoo.build(name, **TINY[name])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    x, y = pixels(model, 8), np.arange(8) % model.output.shape[-1]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Adam's first step moves a weight by its gradient's sign, however small the gradient; eagerly,
    # as tracing takes longer than the one step
    model.compile(keras.optimizers.Adam(1e-5), loss, run_eagerly=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    first = float(loss(y, model(x, training=True)))
    model.fit(x, y, batch_size=8, epochs=1, verbose=0)
    unmoved = [weight.path for weight, old in zip(model.trainable_weights, before, strict=True)
               if (weight.numpy() == old).all()]
    assert not unmoved
    assert float(loss(y, model(x, training=True))) < first


@pytest.mark.parametrize("name", [name for name in TINY if not takes_tokens(name)])
def test_too_small_an_image_is_refused_with_the_minimum(name):
    channels = zoo.spec(name).defaults["input_shape"][-1]
    if name.startswith("mlp"):  # takes any size
        sizes = [channels, *zoo.spec(name).defaults["hidden"], 10]
        expected = sum((n + 1) * units for n, units in itertools.pairwise(sizes))
        assert params(zoo.build(name, input_shape=(1, 1, channels))) == expected
        return
    with pytest.raises(ValueError, match=r"at least \d+x\d+.*Received: 1x1"):
        zoo.build(name, input_shape=(1, 1, channels))


@pytest.mark.parametrize("name", [name for name in OTHERS_SLOW if not takes_tokens(
    name if isinstance(name, str) else name.values[0])])
def test_images_may_have_any_size_if_the_network_averages_its_last_map(name):
    shape = tiny(name).input.shape[1:]
    averaged = any(isinstance(layer, keras.layers.GlobalAveragePooling2D)
                   for layer in tiny(name).layers)
    any_size = {**TINY[name], "input_shape": (None, None, shape[-1])}
    if not averaged:
        message = r"three positive integers\. Received: \(None, None, \d\)"
        with pytest.raises(UsageError, match=message):
            zoo.build(name, **any_size)
        return
    ours = zoo.build(name, **any_size)
    for sides in (shape[:2], (shape[0] + 3, shape[1] + 5)):
        fixed = zoo.build(name, **TINY[name] | {"input_shape": (*sides, shape[-1])})
        fixed.set_weights(ours.get_weights())
        x = pixels(fixed, 2)
        np.testing.assert_allclose(ours(x), fixed(x), rtol=1e-5, atol=1e-6)
    message = "three positive integers, or None for any height and width"
    with pytest.raises(UsageError, match=message):
        zoo.build(name, **{**any_size, "input_shape": (None, None, None)})


def logits_after(load, model, inputs):
    return np.abs(np.asarray(load()(inputs)) - np.asarray(model(inputs))).max()


@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_every_format_of_keras_keeps_the_network(name, tmp_path):
    model, file = tiny(name), str(tmp_path / "model")
    inputs = pixels(model, 2)
    model.save(f"{file}.keras")
    model.save_weights(f"{file}.weights.h5")

    def from_json():
        loaded = keras.models.model_from_json(model.to_json())
        loaded.load_weights(f"{file}.weights.h5")
        return loaded
    before = keras.config.image_data_format()
    try:
        for data_format in ("channels_last", "channels_first"):
            keras.config.set_image_data_format(data_format)
            for load in (from_json, lambda: keras.models.load_model(f"{file}.keras")):
                assert logits_after(load, model, inputs) == 0
    finally:
        keras.config.set_image_data_format(before)
    model.save(f"{file}.h5")
    operations = name in ("alexnet_2tower", "fasttext", "googlenet", "zfnet")
    if operations or name.startswith(("char_cnn", "shufflenet", "vdcnn")):  # see zoo.build
        with pytest.raises(ValueError, match="Unknown layer: '(Cast|GetItem|Pad|Take)'"):
            keras.models.load_model(f"{file}.h5")
    else:
        assert logits_after(lambda: keras.models.load_model(f"{file}.h5"), model, inputs) == 0


@pytest.mark.parametrize("name", [name for name in TINY if takes_tokens(name)])
def test_networks_for_sentences_do_not_depend_on_the_format_of_images(name):
    keras.config.set_image_data_format("channels_first")
    try:
        keras.utils.set_random_seed(0)
        model = zoo.build(name, **TINY[name])
    finally:
        keras.config.set_image_data_format("channels_last")
    inputs = pixels(model, 2)
    assert np.array_equal(model(inputs), tiny(name)(inputs))
