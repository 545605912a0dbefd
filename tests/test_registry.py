"""The registry: names that exist, misspelt, registered twice, and of a user's own builder."""
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo
from zoo import catalog, shipped
from zoo.errors import UsageError
from zoo.hub_weights import PUBLISHED
from zoo.settings import builder_args
from zoo.tables import total_multiply_adds
from zoo.weights import KERAS_APPLICATIONS


def test_the_nearest_name_is_given():
    with pytest.raises(UsageError, match=r"Unknown model 'lenet55'\. Did you mean 'lenet5'\?"):
        zoo.build("lenet55")
    for typed, name in (
        ("VGG16", "vgg16"),
        ("VGG-16", "vgg16"),
        ("TextCNN", "textcnn"),
        ("MLP", "mlp"),
    ):
        with pytest.raises(UsageError, match=f"Unknown model '{typed}'. Did you mean '{name}'"):
            zoo.build(typed)


def test_names_are_filtered_by_a_shell_pattern():
    assert zoo.names("lenet5*") == zoo.names("LeNet5*") == ["lenet5", "lenet5_relu"]
    assert [entry["name"] for entry in catalog.matching("LeNet5*")] == ["lenet5", "lenet5_relu"]


def test_a_second_builder_of_one_name_is_refused():
    with pytest.raises(
        UsageError, match="'lenet5' is already registered by zoo.lenet. Choose another name"
    ):
        @zoo.register("lenet5")
        def impostor():
            """Would replace LeNet-5."""


def test_a_variant_with_an_option_its_builder_lacks_is_refused():
    with pytest.raises(TypeError, match="depths"):
        @zoo.register("broken", depths=(1, 2))
        def broken(input_shape=(8, 8, 1)):
            """Takes no depths."""


def test_a_typo_in_an_argument_is_a_type_error_that_names_the_nearest():
    with pytest.raises(
        TypeError, match=r"Unknown argument of lenet5: 'clases'\. Did you mean 'classes'\?"
    ):
        zoo.build("lenet5", clases=3)
    with pytest.raises(TypeError, match=r"Did you mean 'weights'\?"):
        zoo.build("lenet5", weight="imagenet")


@pytest.mark.parametrize(
    "shape, words",
    [
        ((15, 15, 1), "at least 16x16.*Received: 15x15.*padding='same'"),
        ((32, 32), "three positive integers"),
        ((32, -1, 1), "three positive integers"),
    ],
)
def test_an_image_shape_that_will_not_do_is_explained(shape, words):
    with pytest.raises(UsageError, match=words):
        zoo.build("lenet5", input_shape=shape)


@pytest.mark.parametrize("padding, minimum", [("valid", 16), ("same", 12)])
@pytest.mark.parametrize("name", ["lenet", "lenet5"])
def test_the_minimum_size_is_the_smallest_that_works(name, padding, minimum):
    model = zoo.build(name, input_shape=(minimum, minimum, 1), padding=padding)
    assert model.output.shape == (None, 10)
    with pytest.raises(UsageError, match=f"at least {minimum}x{minimum}"):
        zoo.build(name, input_shape=(minimum - 1, minimum, 1), padding=padding)


@pytest.mark.parametrize(
    "name, overrides, weights",
    [
        ("lenet5", {}, 61_706),
        ("lenet5", {"classes": 2}, 61_026),
        ("lenet", {}, 44_426),
        ("lenet", {"classes": 2}, 43_746),
        ("lenet", {"classes": 2, "input_shape": (32, 32, 1)}, 61_026),
        ("lenet_cassava", {}, 2_365_581),
        ("lenet_keras", {}, 61_706),
        ("lenet5", {"input_shape": (28, 28, 1), "padding": "same"}, 61_706),
    ],
)
def test_lenet_weights_to_the_unit(name, overrides, weights):
    assert zoo.build(name, **overrides).count_params() == weights


def test_pixels_are_normalised_with_the_given_mean_and_deviation():
    model = zoo.build("lenet", input_shape=(28, 28, 3), mean=[0.1, 0.2, 0.3], std=[0.5, 0.4, 0.25])
    normalised = keras.Model(model.input, model.get_layer("rescale").output)
    x = keras.ops.full((1, 28, 28, 3), 255.0)
    got = keras.ops.convert_to_numpy(normalised(x))[0, 0, 0]
    assert got == pytest.approx([(1 - 0.1) / 0.5, (1 - 0.2) / 0.4, (1 - 0.3) / 0.25], rel=1e-5)


def test_pixels_are_normalised_with_arrays_too():
    options = {"mean": np.array([0.4, 0.5, 0.6]), "std": np.float32(0.25)}
    layer = zoo.build("resnet20", **options).get_layer("rescale")
    assert layer.scale == pytest.approx([1 / (255 * 0.25)] * 3)
    assert layer.offset == pytest.approx([-1.6, -2, -2.4])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"std": 0}, "std positive. Received: 0.0 and 0"),
        ({"mean": [0.1, 0.2]}, "each of 3 channels. Received: .0.1, 0.2. and"),
        ({"mean": [0.1] * 3, "std": [0.1] * 2}, "one for each of 3 channels"),
        ({"mean": float("nan")}, "mean must be finite"),
    ],
)
def test_a_mean_or_deviation_that_will_not_do_is_explained(options, words):
    with pytest.raises(UsageError, match=words):
        zoo.build("resnet20", **options)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("alexnet", {"width": -3}, "width must be above 0. Received: -3"),
        ("inception_v4", {"width": 0}, "width must be above 0"),
        ("googlenet", {"width": 0.0}, "width must be above 0"),
        ("mobilenet_v2", {"alpha": 0}, "alpha must be above 0"),
        ("textcnn", {"max_norm": -1.0}, "max_norm must be 0 or more"),
        ("textcnn", {"tables": ()}, "at least one of static, nons"),
        ("mlp", {"hidden": (10**9, 10**9)}, "mlp cannot be built with {'hidden'"),
    ],
)
def test_a_size_that_no_network_can_have_is_explained(name, options, words):
    with pytest.raises(UsageError, match=words):
        zoo.build(name, **options)


def test_images_with_their_channels_first_are_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(UsageError, match="have their channels last"):
            zoo.build("mobilenet_v1")
    finally:
        keras.config.set_image_data_format("channels_last")


def test_layers_that_the_zoo_has_not_are_counted_too():
    image = keras.Input((8, 8, 3))
    body = keras.Sequential(
        [
            image,
            keras.layers.SeparableConv2D(4, 3, padding="same"),  # 64 * (9 * 3 + 3 * 4)
            keras.layers.Conv2DTranspose(2, 3, strides=2, padding="same"),
        ]
    )  # 64 * 4 * 9 * 2
    assert (
        total_multiply_adds(keras.Model(image, keras.layers.Dense(5)(body(image))))
        == 2496 + 4608 + 256 * 2 * 5
    )


def test_settings_are_typed_as_the_docstrings_write_them():
    for typed in ("static,nonstatic", "('static', 'nonstatic')"):
        assert builder_args("textcnn", [f"tables={typed}"]) == {"tables": ("static", "nonstatic")}
    assert builder_args("textcnn", ["tables=static"]) == {"tables": ("static",)}
    with pytest.raises(UsageError, match="input_shape must be numbers separated by commas"):
        builder_args("lenet5", ["input_shape={[1]:2}"])
    assert builder_args("resnet20", ["mean=0.485,0.456,0.406", "std=1/4"]) == {
        "mean": (0.485, 0.456, 0.406),
        "std": 0.25,
    }
    assert builder_args("mobilenet_v1", ["relu_max=None"]) == {"relu_max": None}
    for setting in ("std=1/0", "std=0.1;0.2", "dropout=0.1,0.2"):
        with pytest.raises(UsageError, match="must be a number"):
            builder_args("resnet20", [setting])


def test_a_builder_of_ones_own_is_found_by_module_and_name(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "import keras\nfrom zoo import register\nfrom zoo.blocks import head, image_input\n"
        "@register('linear')\ndef linear(input_shape=(8, 8, 1), classes=10):\n"
        "    image, x = image_input(input_shape)\n    x = keras.layers.Flatten(name='flatten')(x)\n"
        "    return keras.Model(image, head(x, classes))\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert zoo.build("my_nets:linear").count_params() == 650
    finally:
        zoo.registry._specs.pop("linear"), sys.modules.pop("my_nets")
    for module in ("my_nts", "json.nts.more"):
        with pytest.raises(UsageError, match=f"Cannot import '{module}'"):
            zoo.build(f"{module}:linear")
    with pytest.raises(
        UsageError, match="Expected a module .* my_nets:linear. Received: './my_nets.py'"
    ):
        zoo.build("./my_nets.py:linear")


def test_a_builder_that_returns_nothing_is_reported():
    try:
        zoo.register("nothing")(lambda: None)
        with pytest.raises(
            UsageError, match="Expected a keras.Model from the builder of nothing. Received: None"
        ):
            zoo.build("nothing")
    finally:
        zoo.registry._specs.pop("nothing")


def test_a_name_of_the_zoo_cannot_be_taken_before_the_zoo_is_loaded():
    program = ("import zoo\ntry:\n    zoo.register('mlp')(lambda: None)\n"
               "except ValueError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "Model 'mlp' is already registered by zoo.mlp. Choose another name.\n", (
        done.stderr
    )


def test_models_json_has_the_names_of_all_networks():
    ours = [name for name in zoo.names() if zoo.spec(name).builder.__module__.startswith("zoo.")]
    assert [entry["name"] for entry in catalog.matching("*")] == ours  # tests register others
    assert {name for entry in catalog.matching() for name in entry["trained"]} == {
        *shipped.names(), *(f"{name}-imagenet" for name in KERAS_APPLICATIONS),
        *("-".join(key) for key in PUBLISHED)}


def test_an_unknown_stage_is_named():
    with pytest.raises(UsageError, match="Unknown stage 'c2'"):
        zoo.features(zoo.build("lenet5"), ["c2"])


def test_a_stage_is_tapped_behind_its_last_layer():
    taps = zoo.features(zoo.build("lenet5"), ["s2", "c5"])
    assert {name: tuple(tensor.shape) for name, tensor in taps.output.items()} == {
        "s2": (None, 14, 14, 6), "c5": (None, 1, 1, 120)}


def test_a_setting_per_channel_is_a_tuple_whatever_its_default():
    assert builder_args("resnet20", ["std=0.1,0.2,0.3"]) == {"std": (0.1, 0.2, 0.3)}
