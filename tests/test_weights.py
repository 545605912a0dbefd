"""Weights of keras.applications in our networks: the same logits from the same images, and errors.

No test downloads anything: the networks of keras.applications are built with random weights, which
are copied as downloaded ones are.
"""
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo import weights
from zoo.errors import UsageError

MODULES = {
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet50_keras": "resnet",
    "resnet101_keras": "resnet",
    "resnet152_keras": "resnet",
    "inception_v3": "inception_v3",
    "densenet121": "densenet",
    "densenet169": "densenet",
    "densenet201": "densenet",
    "mobilenet_v1": "mobilenet",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_large": "mobilenet_v3",
    "mobilenet_v3_small": "mobilenet_v3",
    "xception": "xception",
    "inception_resnet_v2": "inception_resnet_v2",
    "efficientnet_b0": "efficientnet",
}
SMALL = (64, 96, 3)


def images(shape, n=4):
    """Real-valued pixels, each image of its own tint."""
    rng = np.random.default_rng(1)
    return (
        rng.uniform(0, 128, (n, *shape)) + rng.uniform(0, 127, (n, 1, 1, 3))[..., : shape[2]]
    ).astype("float32")


def prepared(name, x):
    if name == "efficientnet_b0":  # without its weights, its own layers only divide by 255
        return (255 * (x / 255 - weights.TORCH.mean) / weights.TORCH.std).astype("float32")
    return importlib.import_module(f"keras.applications.{MODULES[name]}").preprocess_input(x.copy())


def published(name, input_shape=SMALL, **options):
    """The network of keras.applications with random weights and the statistics of a batch.

    Without such statistics the logits hardly vary.
    """
    keras.utils.set_random_seed(2)
    model = getattr(keras.applications, weights.KERAS_APPLICATIONS[name][0])(
        weights=None, input_shape=input_shape, classifier_activation=None, **options)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if weight.name in ("gamma", "beta", "bias"):
            weight.assign(rng.normal(weight.name == "gamma", 0.2, weight.shape))
    momenta = {
        layer: layer.momentum
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    for layer in momenta:
        layer.momentum = 0.0
    if momenta:
        model(prepared(name, images(input_shape)), training=True)
    for layer, momentum in momenta.items():
        layer.momentum = momentum
        # A channel that is nearly constant in this batch would blow rounding errors up.
        variance = layer.moving_variance.numpy()
        layer.moving_variance.assign(variance + 0.1 * variance.mean())
    return model


shared = functools.cache(published)


def logits(model, x):
    return keras.ops.convert_to_numpy(model(x))


def assert_same(got, expected, tolerance=1e-4):
    """Compare within `tolerance` of the spread of the logits from image to image."""
    spread = expected.std(axis=0).mean()
    assert np.isfinite(expected).all() and spread > 0.01 * np.abs(expected).mean(), (
        "the logits hardly vary"
    )
    assert np.abs(got - expected).max() < tolerance * np.abs(expected).max()
    assert np.abs(got - expected).mean() < 10 * tolerance * spread


def assert_moves_in(name, input_shape, source, **overrides):
    x = images(input_shape)
    ours = zoo.build(name, weights=source, input_shape=input_shape, **overrides)
    assert_same(logits(ours, x), logits(source, prepared(name, x)))


@pytest.mark.parametrize(
    "name, input_shape",
    [
        pytest.param("vgg16", (224, 224, 3), marks=pytest.mark.slow),
        pytest.param("vgg19", SMALL, marks=pytest.mark.slow),
        pytest.param("resnet50_keras", SMALL, marks=pytest.mark.slow),
        pytest.param("inception_v3", (107, 91, 3), marks=pytest.mark.slow),
        pytest.param("densenet121", SMALL, marks=pytest.mark.slow),
        pytest.param("mobilenet_v1", SMALL, marks=pytest.mark.slow),
        ("mobilenet_v2", SMALL),
    ],
)
def test_the_published_network_gives_the_same_logits_from_plain_pixels(name, input_shape):
    assert_moves_in(name, input_shape, published(name, input_shape))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet101_keras", "resnet152_keras", "densenet169", "densenet201"]
)
def test_the_deeper_published_networks_do_too(name):
    assert_moves_in(name, (128, 160, 3), published(name, (128, 160, 3)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, alpha",
    [(name, alpha) for name, alphas in weights.ALPHAS.items() for alpha in alphas if alpha != 1.0],
)
def test_every_published_width_multiplier_moves_in(name, alpha):
    assert_moves_in(name, SMALL, published(name, alpha=alpha), alpha=alpha)


@pytest.mark.slow
def test_xception_gives_the_published_logits():
    assert_moves_in("xception", (96, 128, 3), published("xception", (96, 128, 3)))


@pytest.mark.parametrize("name, input_shape", [
    ("mobilenet_v3_small", SMALL),
    pytest.param("mobilenet_v3_large", SMALL, marks=pytest.mark.slow),
    pytest.param("efficientnet_b0", SMALL, marks=pytest.mark.slow),
    pytest.param("inception_resnet_v2", (107, 91, 3), marks=pytest.mark.slow)])
def test_networks_with_preprocessing_or_layers_of_their_own_give_the_published_logits(
        name, input_shape, monkeypatch):
    """Random weights stand for the downloaded ones; they come by the same function."""
    source = published(name, input_shape)
    monkeypatch.setattr(weights, "_published", lambda application, *_: source)
    ours = zoo.build(name, weights="imagenet", input_shape=input_shape)
    x = images(input_shape)
    assert_same(logits(ours, x), logits(source, prepared(name, x).astype("float32")))


def test_every_origin_is_compared():
    assert MODULES.keys() == weights.KERAS_APPLICATIONS.keys() <= set(zoo.names())


def test_other_classes_start_with_a_new_head_on_the_same_features():
    source = shared("mobilenet_v2")
    features = keras.Model(source.input, source.layers[-2].output)
    x = images(SMALL)
    expected = logits(features, prepared("mobilenet_v2", x))
    ours = zoo.build("mobilenet_v2", weights=source, input_shape=SMALL, classes=7)
    assert ours.output.shape == (None, 7) and not ours.get_layer("logits").bias.numpy().any()
    assert_same(logits(keras.Model(ours.input, ours.get_layer("pool").output), x), expected)
    assert_same(
        logits(zoo.build("mobilenet_v2", weights=source, input_shape=SMALL, classes=0), x), expected
    )


def test_a_source_without_its_classifier_will_do():
    source = published("mobilenet_v1", include_top=False, pooling="avg")
    x = images(SMALL)
    ours = zoo.build("mobilenet_v1", weights=source, input_shape=SMALL, classes=0)
    assert_same(logits(ours, x), logits(source, prepared("mobilenet_v1", x)))
    headed = zoo.build("mobilenet_v1", weights=source, input_shape=SMALL, classes=3)
    assert headed.output.shape == (None, 3)


def test_vgg_without_its_fully_connected_layers_takes_images_of_any_size(monkeypatch):
    source = published("vgg19", include_top=False)
    calls = []
    monkeypatch.setattr(
        weights,
        "_published",
        lambda application, name, options: calls.append((name, options)) or source,
    )
    for start in (source, "imagenet"):
        ours = zoo.build("vgg19", weights=start, input_shape=(None, None, 3), units=0, classes=0)
        assert ours.count_params() == source.count_params() == 20_024_384
        assert ours.output.shape == (None, 512)
        maps = zoo.features(ours, ["stage5"])
        for shape in (SMALL, (75, 50, 3)):
            x = images(shape)
            expected = logits(
                keras.Sequential([keras.Input(shape), *source.layers[1:]]), prepared("vgg19", x)
            )
            assert_same(logits_of(maps, x, "stage5"), expected)
    assert calls == [(None, {"include_top": False}), ("imagenet", {"include_top": False})]
    headed = zoo.build("vgg19", weights=source, units=0, classes=7, dropout=0.3)
    assert headed.output.shape == (None, 7) and headed.get_layer("dropout").rate == 0.3


def logits_of(model, x, stage):
    return keras.ops.convert_to_numpy(model(x)[stage])


def test_a_new_head_on_an_old_body_moves_in_too():
    body = published("mobilenet_v1", include_top=False, alpha=0.33)
    x = images(SMALL)
    pooled = keras.layers.GlobalAveragePooling2D()(body(body.input))
    source = keras.Model(body.input, keras.layers.Dense(5)(pooled))
    ours = zoo.build("mobilenet_v1", weights=source, input_shape=SMALL, classes=5, alpha=0.33)
    assert_same(logits(ours, x), logits(source, prepared("mobilenet_v1", x)))
    with pytest.raises(UsageError, match="has no layers with weights"):
        zoo.build("mobilenet_v1", weights=keras.Sequential(), input_shape=SMALL)


@pytest.mark.parametrize("name", [
    pytest.param("vgg19", marks=pytest.mark.slow),
    pytest.param("densenet121", marks=pytest.mark.slow), "mobilenet_v2"])
def test_a_grey_image_is_taken_as_one_of_three_equal_channels(name, tmp_path):
    """Also at the border, where a padding of zeros stands for the mean colour."""
    source = shared(name)
    x = images((*SMALL[:2], 1))
    ours = zoo.build(name, weights=source, input_shape=(*SMALL[:2], 1))
    assert_same(logits(ours, x), logits(source, prepared(name, np.repeat(x, 3, axis=-1))))
    assert "repeat" not in zoo.stages(ours)
    if name == "mobilenet_v2":
        ours.save(tmp_path / "grey.keras")
        np.testing.assert_array_equal(
            logits(keras.models.load_model(tmp_path / "grey.keras"), x), logits(ours, x)
        )


def test_a_stem_of_other_stride_and_equal_shape_takes_the_weights():
    source = shared("mobilenet_v2")
    ours = zoo.build("mobilenet_v2", weights=source, input_shape=(32, 32, 3), stem="small")
    np.testing.assert_array_equal(
        ours.get_layer("stem_conv").kernel, source.get_layer("Conv1").kernel
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_and_close_under_mixed_precision(policy):
    source = shared("mobilenet_v2")
    keras.config.set_dtype_policy(policy)
    try:
        ours = zoo.build("mobilenet_v2", weights=source, input_shape=SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    x = images(SMALL)
    got, expected = logits(ours, x), logits(source, prepared("mobilenet_v2", x))
    assert got.dtype == np.float32
    assert ours.get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    "name, overrides, words",
    [
        (
            "resnet50",
            {},
            r"'resnet50'\. .* Did you mean 'resnet50_v1_5' or 'resnet50_keras'\?",
        ),
        ("lenet5", {}, r"No ImageNet weights for 'lenet5'\. There are for: alexnet_torch.*vgg19"),
        ("vgg16", {"weights": "imagnet"}, r"Unknown weights 'imagnet'\. Did you mean 'imagenet'\?"),
        ("vgg16", {"mean": 0.5}, r"their own mean and std\. Received: mean=0\.5"),
        ("densenet121", {"std": [0.2, 0.2, 0.2]}, r"their own mean and std\. Received: std="),
        ("mobilenet_v2", {"input_shape": (64, 64, 4)}, r"3 channels, or of 1\. Received: 4\."),
        ("mobilenet_v2", {"input_shape": (64, 64)}, r"three positive integers"),
        ("mobilenet_v1", {"alpha": 0.6}, r"alpha 0\.25, 0\.5, 0\.75, 1\.0\. Received: 0\.6"),
        (
            "resnet50_keras",
            {"stem": "small"},
            r"'conv1_conv' of resnet50 \(kernel 7x7x3x64, bias 64\) does not fit 'stem_conv' "
            r"\(kernel 3x3x3x64, bias 64\)",
        ),
        ("densenet121", {"depths": (6, 12, 24)}, r"of densenet121 .* does not fit 'logits' "),
        (
            "inception_v3",
            {"width": 0.5},
            r"\(kernel 3x3x3x32\) does not fit 'stem\w*conv' \(kernel 3x3x3x16\)",
        ),
    ],
)
def test_what_will_not_do_is_refused_before_the_download(name, overrides, words):
    with pytest.raises(UsageError, match=words) as refusal:
        zoo.build(name, **{"weights": "imagenet"} | overrides)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("classes", [1000, 0])
def test_a_fully_connected_layer_wants_the_size_it_was_made_for(classes):
    with pytest.raises(
        UsageError,
        match=r"'fc1' of vgg19 \(kernel 3072x4096, bias 4096\) does not fit "
        r"'fc1' \(kernel 512x4096, bias 4096\)\..* input_shape=\(64, 96, 3\)",
    ):
        zoo.build("vgg19", weights=shared("vgg19"), input_shape=(32, 32, 3), classes=classes)


def test_a_network_with_fewer_layers_is_refused():
    ours = zoo.build("mobilenet_v1", input_shape=SMALL, classes=0)
    cut = keras.Model(ours.input, ours.get_layer("stage4_block6_pointwise_relu").output)
    before = cut.get_weights()
    with pytest.raises(
        UsageError, match=r"has 55 layers with weights, 'conv_preds' the last; .* has 46"
    ):
        weights.copy_weights(published("mobilenet_v1"), cut)
    assert all((old == new).all() for old, new in zip(before, cut.get_weights(), strict=True))


def test_no_weights_and_none_are_the_same():
    keras.utils.set_random_seed(0)
    plain = zoo.build("lenet5").get_weights()
    keras.utils.set_random_seed(0)
    none = zoo.build("lenet5", weights=None).get_weights()
    assert all((a == b).all() for a, b in zip(plain, none, strict=True))


def test_a_builder_with_a_weights_argument_of_its_own_keeps_it():
    seen = []

    @zoo.register("weighted")
    def weighted(input_shape=(8, 8, 1), classes=10, *, weights="mine"):
        """Has its own idea of weights."""
        seen.append(weights)
        return zoo.spec("mlp").builder(input_shape, classes)
    try:
        for overrides in ({}, {"weights": "imagenet"}, {"weights": None}):
            assert zoo.build("weighted", **overrides).name == "weighted"
    finally:
        zoo.registry._specs.pop("weighted")
    assert seen == ["mine", "imagenet", None]


def tuned(*front, body=None, operations=None):
    """A body of keras.applications with a preparation of pixels of its own, and a new head."""
    body = body or published("mobilenet_v2", include_top=False, alpha=0.35)
    image = keras.Input(SMALL)
    x = image
    for layer in front:
        x = layer(x)
    if operations:
        x = operations(x)
    x = keras.layers.GlobalAveragePooling2D()(body(x))
    return keras.Model(image, keras.layers.Dense(5)(x), name="tuned")


def adapted():
    layer = keras.layers.Normalization()
    layer.adapt(images(SMALL, n=16))
    return layer


MEANS, VARIANCES = [120.0, 110.0, 100.0], [3600.0, 4900.0, 2500.0]
MOBILE = {"input_shape": SMALL, "classes": 5, "alpha": 0.35}


@pytest.mark.parametrize("front", [
    lambda: [keras.layers.Rescaling(1 / 127.5, -1)],
    *(pytest.param(front, marks=pytest.mark.slow) for front in (
        lambda: [keras.layers.Rescaling([1 / 50, 1 / 60, 1 / 70], [-2.0, -1.9, -1.8])],
        lambda: [keras.layers.Normalization(mean=MEANS, variance=VARIANCES)],
        lambda: [adapted()])),
    lambda: [keras.layers.RandomFlip(), keras.layers.Resizing(*SMALL[:2]),
             keras.layers.Rescaling(1 / 255),
             keras.layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.05, 0.06, 0.07])],
])
def test_plain_layers_before_the_body_become_mean_and_deviation(front, tmp_path):
    source, x = tuned(*front()), images(SMALL)
    expected = keras.ops.convert_to_numpy(source(x, training=False))
    assert_same(logits(zoo.build("mobilenet_v2", weights=source, **MOBILE), x), expected)
    source.save(tmp_path / "tuned.keras")
    ours = zoo.build("mobilenet_v2", weights=tmp_path / "tuned.keras", **MOBILE)
    assert_same(logits(ours, x), expected)


def test_channels_are_not_reversed_behind_layers_that_take_rgb():
    body, x = published("vgg19", include_top=False), images(SMALL)
    source = tuned(keras.layers.Normalization(mean=MEANS, variance=[1.0] * 3), body=body)
    expected = logits(source, x)
    options = {"input_shape": SMALL, "units": 0, "classes": 5}
    assert_same(logits(zoo.build("vgg19", weights=source, **options), x), expected)
    explicit = zoo.build("vgg19", weights=tuned(body=body), mean=[m / 255 for m in MEANS],
                         std=1 / 255, **{**options, "classes": 0})
    np.testing.assert_array_equal(explicit.get_layer("stage1_conv1").kernel, body.layers[1].kernel)


def test_layers_before_a_network_of_the_zoo_are_joined_with_its_own():
    body = zoo.build("lenet5", mean=0.3, std=0.2)
    image = keras.Input((32, 32, 1))
    source = keras.Model(image, body(keras.layers.Rescaling(0.5, 20)(image)))
    x = images((32, 32, 1))
    ours = zoo.build("lenet5", weights=source)
    np.testing.assert_allclose(logits(ours, x), logits(source, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("front, words", [
    ([keras.layers.Lambda(lambda x: x / 127.5 - 1, name="own")], r"'own' \(Lambda\)"),
    ([keras.layers.Normalization(mean=MEANS, variance=VARIANCES, invert=True, name="own")],
     r"'own' \(Normalization\), .*: it is inverted"),
    ([keras.layers.Normalization(mean=0.45, variance=0.06, name="own")],
     r"'own' \(Normalization\), .*: it is not for pixels in \[0, 255\]"),
    ([keras.layers.Rescaling(-1 / 255, 1.0, name="own")], r"'own' \(Rescaling\), .*not for pixels"),
    ([], r"'\w*div\w*' \(TrueDivide\)"),
])
def test_other_preparation_of_pixels_is_refused_or_said_explicitly(front, words):
    operations = None if front else (lambda x: x / 127.5 - 1)
    source, x = tuned(*front, operations=operations), images(SMALL)
    match = f"tuned prepares images by {words}.*Pass mean= and std="
    with pytest.raises(UsageError, match=match) as refusal:
        zoo.build("mobilenet_v2", weights=source, **MOBILE)
    assert "\n" not in str(refusal.value)
    ours = zoo.build("mobilenet_v2", weights=source, mean=0.5, std=0.5, **MOBILE)
    if not front or isinstance(front[0], keras.layers.Lambda):
        assert_same(logits(ours, x), logits(source, x))


def test_mean_and_deviation_can_be_said_for_a_body_that_was_fed_otherwise():
    source, x = tuned(), images(SMALL)
    ours = zoo.build("mobilenet_v2", weights=source, mean=0.0, std=1.0, **MOBILE)
    assert_same(logits(ours, x), logits(source, x / 255))
    assert_same(logits(zoo.build("mobilenet_v2", weights=source, **MOBILE), x),
                logits(source, prepared("mobilenet_v2", x)))


OFFLINE = """
import keras, zoo
from zoo.errors import UserError
try:
    zoo.build("mobilenet_v2", weights="imagenet", classes=5)
except UserError as error:
    print("REFUSED", type(error).__name__, error.exit_code, error)
"""
CACHED = """
import sys
import keras, numpy as np, zoo
source = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
source.save(sys.argv[1] + "/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5")
ours = zoo.build("mobilenet_v2", weights="imagenet", input_shape=(64, 64, 1))
expected = source.get_layer("predictions").kernel
np.testing.assert_array_equal(ours.get_layer("logits").kernel, expected)
print("LOADED", ours.count_params())
"""


@pytest.mark.slow
def test_downloaded_weights_are_used_and_without_a_network_one_line_says_so(tmp_path):
    """A proxy that does not exist stands for no network, a file in Keras's cache for a download."""
    def run(script):
        return subprocess.run(
            [sys.executable, "-c", script, tmp_path],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "KERAS_HOME": str(tmp_path),
                "https_proxy": "http://127.0.0.1:9",
                "no_proxy": "",
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
        )
    done = run(OFFLINE)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        "REFUSED UserError 1 Cannot get the ImageNet weights of MobileNetV2: "
        "URL fetch failure on https://"
    )
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json"
    ], "nothing partial is left"
    done = run(CACHED)
    assert done.returncode == 0 and "LOADED 3538984" in done.stdout, done.stderr
