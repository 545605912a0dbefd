"""What all builders share: shapes, scales and options that they accept and refuse."""
import json

import keras
import numpy as np
import pytest

import zoo
from zoo import blocks
from zoo.errors import UsageError
from zoo.lenet import lenet5
from zoo.mobilenet_v2 import make_divisible

THIN = {"alexnet": {"width": 1 / 16, "units": 4}, "googlenet": {"width": 1 / 16},
        "googlenet_torchvision": {"width": 1 / 16, "depths": (1, 1, 1)},
        "inception_v3": {"width": 1 / 16, "depths": (1, 0, 0)},
        "inception_v4": {"width": 1 / 16, "depths": (1, 0, 0)},
        "resnet18": {"width": 4}, "densenet121": {"growth_rate": 4, "depths": (1, 1)},
        "mobilenet_v1": {"alpha": 1 / 8}, "mobilenet_v2": {"alpha": 1 / 8},
        "mobilenet_v3_small": {"alpha": 1 / 8}, "efficientnet_b0": {"width": 1 / 8, "depth": 0.5},
        "inception_resnet_v2": {"width": 1 / 16, "depths": (1, 0, 0)},
        "resnet50_v2": {"width": 4, "depths": (1, 1)},
        "resnext50_32x4d": {"width": 4, "cardinality": 2, "depths": (1, 1)},
        "se_resnet50": {"width": 4, "depths": (1, 1)},
        "shufflenet_v2_x0_5": {"filters": (8, 8), "depths": (1,)},
        "squeezenet1_1": {"width": 1 / 8}, "wide_resnet50_2": {"width": 4, "depths": (1, 1)},
        "xception": {"width": 1 / 16, "depth": 1}, "zfnet": {"width": 1 / 16, "units": 4}}


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("name, overrides", [
    ("lenet5", {}), ("mlp", {"hidden": ()}), ("resnet20", {"n": 1, "width": 4}),
    ("googlenet", {"aux": True, "stem": "small", "width": 1 / 16})])
def test_numpy_integers_are_classes_and_shapes(name, overrides, tmp_path):
    shape = np.array([32, 32, 1])
    model = zoo.build(name, input_shape=shape, classes=np.int64(7), **overrides)
    python = zoo.build(name, input_shape=(32, 32, 1), classes=7, **overrides)
    assert json.loads(model.to_json())["config"]["layers"][0] == json.loads(
        python.to_json())["config"]["layers"][0]
    assert type(model.get_layer("logits").units) is int
    assert [w.shape for w in model.weights] == [w.shape for w in python.weights]
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").input.shape == (None, 32, 32, 1)


def test_numpy_zero_gives_features():
    assert zoo.build("lenet5", classes=np.int32(0)).output.shape == (None, 84)


@pytest.mark.parametrize("shape", [32, None, "abc", (32.0, 32, 1), (32, 32, 0), (32, 32, 1, 1)])
def test_a_shape_that_is_not_three_integers_is_refused(shape):
    with pytest.raises(UsageError, match="three positive integers. Received: "):
        lenet5(shape)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 224, 320), (3, 299, 299),
                                   np.array([3, 32, 32])])
def test_channels_first_is_refused_with_the_shape_to_pass(shape):
    channels, height, width = shape
    message = rf"looks like \(channels, height, width\).* mean \({height}, {width}, {channels}\)"
    for name in ("mlp", "resnet20", "resnet50"):
        with pytest.raises(UsageError, match=message):
            zoo.build(name, input_shape=shape)


@pytest.mark.parametrize("shape", [
    (1, 1, 3), (3, 3, 3), (3, 32, 3), (1, 256, 1), (3, 100, 4),  # 1, 3 or 4 channels
    (1, 128, 9), (3, 64, 12),  # rows of many channels
    (3, 3, 64), (3, 4, 512),  # small maps
    (32, 32, 12), (32, 32, 200), (4, 32, 32)])  # images of many channels
def test_other_shapes_are_taken_as_they_are(shape):
    image, x = blocks.image_input(shape, any_size=True)
    assert image.shape == x.shape == (None, *shape)


def test_any_size_does_not_look_like_channels_first():
    assert blocks.image_input((None, 32, 32), any_size=True)[0].shape == (None, None, 32, 32)


@pytest.mark.parametrize("options", [
    {"mean": (123, 117, 104)}, {"mean": 127.5, "std": 127.5}, {"mean": [0.485, 0.456, 116.0]},
    {"mean": (0.485, 0.456, 0.406), "std": (58.395, 57.12, 57.375)}, {"std": 255}])
def test_a_mean_or_std_of_pixels_up_to_255_is_refused(options):
    with pytest.raises(UsageError, match="on a scale of 0 to 1, .* divided by 255. Received: "):
        zoo.build("resnet20", **options)


@pytest.mark.parametrize("mean, std", [
    ((123.68 / 255, 116.779 / 255, 103.939 / 255), 1 / 255),
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.1, 0.2, 0.3), (1 / 255,) * 3),
    (0.5, 0.5), (0.0784, 0.7843), (1.0, 1.0), (-0.5, 1.0), (0, 1)])
def test_published_means_and_stds_are_accepted(mean, std):
    layer = zoo.build("resnet20", n=1, mean=mean, std=std).get_layer("rescale")
    white = np.full((1, 1, 1, 3), 255, "uint8")
    normalised = keras.ops.convert_to_numpy(layer(white))[0, 0, 0]
    np.testing.assert_allclose(normalised, (1 - np.array(mean)) / std * np.ones(3), rtol=1e-5,
                               atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", THIN)
def test_paper_is_another_name_of_the_imagenet_stem(name):
    options = [{}, {"stem": "imagenet"}, {"stem": "paper"}]
    models = [zoo.build(name, **THIN[name], **option) for option in options]
    default, imagenet, paper = (
        [(layer.name, layer.output.shape) for layer in model.layers] for model in models)
    assert default == imagenet == paper


def test_every_builder_with_a_stem_calls_the_large_one_imagenet():
    stems = {zoo.spec(name).defaults.get("stem", "small") for name in zoo.names()}
    assert stems == {"imagenet", "small"}
    builders = {zoo.spec(name).builder for name in zoo.names() if "stem" in zoo.spec(name).defaults}
    assert builders == {zoo.spec(name).builder for name in THIN}


def test_an_unknown_stem_names_the_nearest():
    with pytest.raises(UsageError, match="Unknown stem 'papers'. Known: imagenet, small"):
        blocks.resolve_stem("papers", blocks.STEM_STRIDE)


def test_the_first_name_of_head_still_works():
    assert blocks.classifier is blocks.head


@pytest.mark.parametrize("halvings, side", [(0, 1), (1, 2), (2, 3), (3, 5), (5, 17)])
def test_minimum_side_leaves_every_halving_two_pixels(halvings, side):
    assert blocks.minimum_side(halvings) == side
    for _ in range(halvings):
        assert side >= 2
        side = -(-side // 2)


def test_counts_are_rounded_to_multiples_of_eight_that_lose_at_most_a_tenth():
    assert [make_divisible(n) for n in (1, 12, 16.9, 33.6, 35, 140)] == [8, 16, 16, 32, 32, 144]
    for n in range(8, 3000):
        assert make_divisible(n) % 8 == 0 and make_divisible(n) >= 0.9 * n
