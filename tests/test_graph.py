"""Weights are accepted only where they compute the same function as in their own network."""
import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.models import OTHERS_SLOW, TINY
from zoo.blocks import local_response_norm
from zoo.errors import UsageError

MOBILE = {"alpha": 0.25, "input_shape": (64, 64, 3)}
ALEX = {"width": 0.1, "units": 8, "input_shape": (67, 67, 3), "stem": "imagenet"}
TEXT = {"vocab_size": 30, "embedding": 8, "filters": 4}

# (network, its options, those of the network that gets its weights, the words of the error)
OTHERS = [
    ("lenet5", {}, {"activation": "relu"},
     "Layer 'c1' of lenet5 has activation='tanh', and 'c1' of lenet5 has activation='relu'"),
    ("lenet5", {"activation": "relu"}, {"activation": "sigmoid"},
     "activation='relu', and 'c1' .* activation='sigmoid'"),
    ("mlp", {}, {"activation": "sigmoid"}, "activation='relu', and .* activation='sigmoid'"),
    ("lenet", {"padding": "same"}, {"padding": "same", "pool": "max"},
     r"Before 'c3', lenet has layer 's2' \(AveragePooling2D\), .* \(layer 'c1_relu'\)"),
    ("textcnn", TEXT, {**TEXT, "padding": "valid"}, "'window3_conv' .* padding="),
    ("alexnet", ALEX, {**ALEX, "lrn": True},
     r"Before 'stage2_conv', .* 'stage1_lrn' \(Multiply\)"),
    ("alexnet", {**ALEX, "lrn": True}, ALEX, r"'stage1_lrn' \(Multiply\)"),
    ("mobilenet_v1", MOBILE, {**MOBILE, "relu_max": None},
     "Layer 'stem_relu' .* max_value=6.0, and 'stem_relu' .* max_value=None"),
]


def examples(model):
    rng = np.random.default_rng(0)
    shape = [size or 9 for size in model.input.shape[1:]]
    if len(shape) == 1:
        return rng.integers(1, 10, (4, *shape)).astype("int32")
    return rng.integers(0, 256, (4, *shape)).astype("float32")


def logits(model, x):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x))


@pytest.mark.parametrize("classes", [5, 0])
@pytest.mark.parametrize("name, options, others, words", OTHERS)
def test_an_option_that_changes_the_function_is_refused(name, options, others, words, classes):
    source = zoo.build(name, classes=5, **options)
    with pytest.raises(UsageError, match=words) as refusal:
        zoo.build(name, weights=source, classes=classes, **others)
    assert "\n" not in str(refusal.value)
    other = zoo.build(name, classes=5, **others)
    values = [4 * value for value in source.get_weights()]  # reach the limits of activations
    for model in (source, other):
        model.set_weights(values)  # the shapes alone fit
    assert not np.allclose(logits(other, examples(other)), logits(source, examples(other)))


@pytest.mark.parametrize("name", OTHERS_SLOW)
def test_a_saved_network_gives_its_weights_to_its_own_builder(name, tmp_path):
    """After a file has turned tuples into lists; dropout may differ."""
    overrides = TINY[name]
    keras.utils.set_random_seed(1)
    source = zoo.build(name, **overrides)
    source.save(tmp_path / "model.keras")
    ours = zoo.build(name, weights=tmp_path / "model.keras", **{**overrides, "dropout": 0.2})
    x = examples(source)
    for actual, expected in zip(keras.tree.flatten(logits(ours, x)),
                                keras.tree.flatten(logits(source, x)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_mixed_precision_and_another_size_are_no_other_function():
    source = zoo.build("googlenet", **TINY["googlenet"])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        zoo.build("googlenet", weights=source, **TINY["googlenet"])
    finally:
        keras.config.set_dtype_policy("float32")
    source = zoo.build("mobilenet_v1", **MOBILE)
    zoo.build("mobilenet_v1", weights=source, **{**MOBILE, "input_shape": (None, None, 3)})


def test_a_model_that_is_no_graph_is_compared_by_shapes():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = [layers.Dense(4, name="one"), layers.Dense(2, name="two")]

        def call(self, x):
            return self.network[1](keras.ops.tanh(self.network[0](x)))
    source = Own()
    source(np.ones((1, 3), "float32"))
    image = keras.Input((3,))
    hidden = layers.Dense(4, activation="tanh")(image)
    ours = keras.Model(image, layers.Dense(2, name="logits")(hidden))
    zoo.weights.copy_weights(source, ours)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(logits(ours, x), logits(source, x), rtol=1e-6)


def small(size=3, window=3, alpha=1e-4, strides=2, pool=layers.MaxPooling2D, rate=1, epsilon=1e-3,
          padding="same", swap=False, slope=0.0):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides, padding, name="a")(image)
    x = layers.BatchNormalization(epsilon=epsilon, name="bn")(x)
    x = layers.ReLU(negative_slope=slope, name="relu")(x)
    x = local_response_norm(x, "lrn", size=size, k=1.0, alpha=alpha, beta=0.75)
    x = pool(window, 1, "same", name="pool")(x)
    y = layers.Conv2D(4, 3, padding="same", dilation_rate=rate, name="b")(x)
    x = layers.Concatenate(name="join")([y, x] if swap else [x, y])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(2, name="logits")(x), name="small")


@pytest.mark.parametrize("change, words", [
    ({"alpha": 2e-4}, "Layer 'lrn' of small has other constants than 'lrn' of small"),
    ({"size": 5}, "Layer 'lrn' of small has other constants than 'lrn' of small"),
    ({"strides": 1}, r"Layer 'a' of small has strides=\(2, 2\), .* strides=\(1, 1\)"),
    ({"pool": layers.AveragePooling2D}, r"'pool' \(MaxPooling2D\).* 'pool' \(AveragePooling2D\)"),
    ({"rate": 2}, "'b' of small has dilation_rate="),
    ({"epsilon": 0.1}, "'bn' of small has epsilon=0.001"),
    ({"padding": "valid"}, "'a' of small has padding='same'"),
    ({"window": 2}, r"'pool' of small has pool_size=\(3, 3\)"),
    ({"swap": True}, "'join'|'b'|'pool'"),
    ({"slope": 0.1}, "'relu' of small has negative_slope=0.0"),
])
def test_every_option_of_a_layer_counts(change, words):
    zoo.weights.copy_weights(small(), small())
    ours = small(**change)
    before = ours.get_weights()
    with pytest.raises(UsageError, match=words):
        zoo.weights.copy_weights(small(), ours)
    assert all(np.array_equal(a, b) for a, b in zip(before, ours.get_weights(), strict=True))


def test_a_layer_of_relu_and_an_argument_of_relu_are_the_same():
    def dense(apart):
        image = keras.Input((4,))
        x = layers.Dense(3, activation=None if apart else "relu6")(image)
        x = layers.ReLU(6)(x) if apart else x
        x = layers.ZeroPadding2D(1)(layers.Reshape((3, 1, 1))(x)) if apart else (
            layers.Reshape((3, 1, 1))(x))
        x = layers.Conv2D(2, 3, padding="valid" if apart else "same")(x)
        return keras.Model(image, layers.Dense(2, name="logits")(layers.Flatten()(x)))
    source, ours = dense(apart=True), dense(apart=False)
    zoo.weights.copy_weights(source, ours)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(logits(ours, x), logits(source, x), rtol=1e-6)
