"""The classic networks against the tables of their papers and courses, row by row."""
import functools

import keras
import numpy as np
import pytest

import zoo
from zoo.alexnet import LRN, alexnet
from zoo.blocks import image_input, local_response_norm
from zoo.errors import UsageError
from zoo.tables import layer_table
from zoo.vgg import vgg

# As the courses print them: feature maps, height x width (or units), kernel, stride, activation.
LENET5 = """
    1    32x32  -    -  -
    6    28x28  5x5  1  tanh
    6    14x14  2x2  2  tanh
    16   10x10  5x5  1  tanh
    16   5x5    2x2  2  tanh
    120  1x1    5x5  1  tanh
    -    84     -    -  tanh
    -    10     -    -  (softmax)
"""
LENET5_RELU = """
    1    32x32  -    -  -
    6    28x28  5x5  1  relu
    6    14x14  2x2  2  -
    16   10x10  5x5  1  relu
    16   5x5    2x2  2  -
    120  1x1    5x5  1  relu
    -    84     -    -  relu
    -    10     -    -  (softmax)
"""
ALEXNET = """
    3    227x227  -      -  -
    96   55x55    11x11  4  relu
    96   27x27    3x3    2  -
    256  27x27    5x5    1  relu
    256  13x13    3x3    2  -
    384  13x13    3x3    1  relu
    384  13x13    3x3    1  relu
    256  13x13    3x3    1  relu
    256  6x6      3x3    2  -
    -    9216     -      -  -
    -    4096     -      -  relu
    -    4096     -      -  relu
    -    1000     -      -  (softmax)
"""
VGG16 = """
    3    224x224  -    -  -
    64   224x224  3x3  1  relu
    64   224x224  3x3  1  relu
    64   112x112  2x2  2  -
    128  112x112  3x3  1  relu
    128  112x112  3x3  1  relu
    128  56x56    2x2  2  -
    256  56x56    3x3  1  relu
    256  56x56    3x3  1  relu
    256  56x56    3x3  1  relu
    256  28x28    2x2  2  -
    512  28x28    3x3  1  relu
    512  28x28    3x3  1  relu
    512  28x28    3x3  1  relu
    512  14x14    2x2  2  -
    512  14x14    3x3  1  relu
    512  14x14    3x3  1  relu
    512  14x14    3x3  1  relu
    512  7x7      2x2  2  -
    -    25088    -    -  -
    -    4096     -    -  relu
    -    4096     -    -  relu
    -    1000     -    -  (softmax)
"""
SIMPLE_CNN = """
    1   28x28  -    -  -
    10  24x24  5x5  1  -
    10  12x12  2x2  2  relu
    20  8x8    5x5  1  -
    20  4x4    2x2  2  relu
    -   320    -    -  -
    -   10     -    -  (softmax)
"""

# As Keras's and PyTorch's summaries print them: output, params.
SUMMARIES = {
    "lenet": ("28x28x1 24x24x6 12x12x6 8x8x16 4x4x16 256 120 84 10",
              (0, 156, 0, 2_416, 0, 0, 30_840, 10_164, 850)),
    "lenet_cassava": ("150x150x3 150x150x6 75x75x6 71x71x16 35x35x16 19600 120 84 5",
                      (0, 456, 0, 2_416, 0, 0, 2_352_120, 10_164, 425)),
    "lenet_keras": ("28x28x1 28x28x6 14x14x6 10x10x16 5x5x16 400 120 84 10",
                    (0, 156, 0, 2_416, 0, 0, 48_120, 10_164, 850)),
    "conv_only": ("28x28x1 22x22x32 16x16x64 10x10x128 4x4x256 4096 10",
                  (0, 1_600, 100_416, 401_536, 1_605_888, 0, 40_970)),
    "conv_only_128": ("28x28x1 22x22x32 16x16x64 10x10x128 4x4x256 4096 128 10",
                      (0, 1_600, 100_416, 401_536, 1_605_888, 0, 524_416, 1_290)),
    "conv_only_128_cifar": ("32x32x3 26x26x32 20x20x64 14x14x128 8x8x256 16384 128 10",
                            (0, 4_736, 100_416, 401_536, 1_605_888, 0, 2_097_280, 1_290)),
    "fashion_cnn": ("28x28x1 28x28x16 14x14x16 3136 128 10", (0, 160, 0, 0, 401_536, 1_290)),
}

# Hand arithmetic from the tables: map x maps x kernel x input maps, then the fully connected layers
ALEXNET_MULTIPLY_ADDS = (
    55 * 55 * 96 * 11 * 11 * 3 + 27 * 27 * 256 * 5 * 5 * 96 + 13 * 13 * 384 * 3 * 3 * 256
    + 13 * 13 * 384 * 3 * 3 * 384 + 13 * 13 * 256 * 3 * 3 * 384
    + 9216 * 4096 + 4096 * 4096 + 4096 * 1000)
VGG16_MULTIPLY_ADDS = (
    9 * (224**2 * 64 * (3 + 64) + 112**2 * 128 * (64 + 128) + 56**2 * 256 * (128 + 2 * 256)
         + 28**2 * 512 * (256 + 2 * 512) + 14**2 * 512 * 3 * 512)
    + 25088 * 4096 + 4096 * 4096 + 4096 * 1000)


@functools.cache
def rows(name):
    """The table of a network; the network, up to half a gigabyte, is not kept."""
    return layer_table(zoo.build(name))


def printed(name):
    """Rows as the courses write them: with the flattened map, except in LeNet."""
    return [f"{row.maps or '-'} {row.size} {row.kernel} {row.stride} {row.activation}".split()
            for row in rows(name) if not (row.layer == "flatten" and name.startswith("lenet5"))]


def outputs(name):
    return " ".join(f"{row.size}x{row.maps}" if row.maps else row.size for row in rows(name))


@pytest.mark.parametrize("name, table", [
    ("lenet5", LENET5), ("lenet5_relu", LENET5_RELU), ("alexnet", ALEXNET), ("vgg16", VGG16),
    ("simple_cnn", SIMPLE_CNN)])
def test_layers_are_those_of_the_course_table(name, table):
    assert printed(name) == [line.split() for line in table.strip().splitlines()]


@pytest.mark.parametrize("name", SUMMARIES)
def test_maps_and_weights_are_those_of_the_course_summary(name):
    sizes, weights = SUMMARIES[name]
    assert outputs(name) == sizes
    assert tuple(row.params for row in rows(name)) == weights


@pytest.mark.parametrize("name, sizes", [
    ("mlp_fashion", (784, 256, 10)), ("mlp_fashion_2", (784, 256, 256, 10)),
    ("mlp_cifar", (3072, 256, 10)), ("mlp_cifar_3", (3072, 256, 256, 256, 10))])
def test_perceptron_has_the_units_of_the_course(name, sizes):
    assert tuple(int(row.size) for row in rows(name)[1:]) == sizes


@pytest.mark.parametrize("name, expected", [
    ("alexnet", ALEXNET_MULTIPLY_ADDS), ("vgg16", VGG16_MULTIPLY_ADDS)])
def test_multiply_adds_are_those_of_hand_arithmetic(name, expected):
    assert sum(row.multiply_adds for row in rows(name)) == expected


def test_two_towers_halve_the_products_of_convolutions_2_4_and_5():
    one = {row.layer: row.multiply_adds for row in rows("alexnet")}
    towers = layer_table(zoo.build("alexnet_2tower", units=8))
    two = {row.layer: row.multiply_adds for row in towers}
    assert [one[f"stage{n}_conv"] / two[f"stage{n}_conv"] for n in range(1, 6)] == [1, 2, 1, 2, 2]
    assert [layer for layer in two if layer.endswith("lrn")] == ["stage1_lrn", "stage2_lrn"]


@pytest.mark.parametrize("name, depths", [
    ("vgg11", [1, 1, 2, 2, 2]), ("vgg13", [2, 2, 2, 2, 2]), ("vgg19", [2, 2, 4, 4, 4])])
def test_vgg_configurations_are_those_of_table_1(name, depths):
    thin = zoo.build(name, input_shape=(32, 32, 3), filters=(2, 2, 2, 2, 2), units=2)
    counts = [sum(layer.name.startswith(f"stage{n}_conv") for layer in thin.layers)
              for n in range(1, 6)]
    assert counts == depths
    assert sum(depths) + 3 == int(name.removeprefix("vgg"))


@pytest.mark.parametrize("name, initializer", [
    ("mlp_fashion_sigmoid", "GlorotUniform"), ("mlp_cifar_3", "HeUniform")])
def test_perceptron_starts_as_the_course_does_to_the_output(name, initializer):
    dense = [layer for layer in zoo.build(name).layers if isinstance(layer, keras.layers.Dense)]
    assert {type(layer.kernel_initializer).__name__ for layer in dense} == {initializer}
    assert not any(np.any(layer.bias.numpy()) for layer in dense)


def test_course_normalisation_maps_pixels_to_minus_one_and_one():
    model = zoo.build("mlp_fashion")
    rescale = keras.Model(model.input, model.get_layer("rescale").output)
    scaled = rescale(np.full((1, 28, 28, 1), [[[0], [255]] * 14], "uint8"))
    np.testing.assert_allclose(scaled[0, 0, :2, 0], [-1, 1], atol=1e-6)


def test_response_normalisation_is_that_of_section_3_3():
    x = np.random.default_rng(0).normal(0, 100, (2, 3, 4, 9)).astype("float32")
    image = keras.Input(x.shape[1:])
    got = keras.Model(image, local_response_norm(image, "lrn", **LRN))(x)
    expected = np.empty(x.shape)
    for i in range(9):
        near = x[..., max(0, i - 2):min(8, i + 2) + 1].astype("float64")
        expected[..., i] = x[..., i] / (2 + 1e-4 * (near ** 2).sum(-1)) ** 0.75
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_response_normalisation_does_not_overflow_in_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        image = keras.Input((1, 1, 8), dtype="float16")
        model = keras.Model(image, local_response_norm(image, "lrn", **LRN))
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.full((1, 1, 1, 8), 1000, "float16")
    assert float(model(x)[0, 0, 0, 4]) == pytest.approx(1000 / (2 + 1e-4 * 5e6) ** 0.75, rel=1e-3)


def test_paper_initialisation_of_alexnet_is_that_of_section_5():
    keras.utils.set_random_seed(0)
    model = alexnet((67, 67, 3), 10, groups=2, initializer="paper", width=1 / 4, units=64)
    weighted = [layer for layer in model.layers if layer.weights]
    ones = {layer.name for layer in weighted if np.all(layer.bias.numpy() == 1)}
    assert ones == {"stage2_conv", "stage4_conv", "stage5_conv", "fc1", "fc2"}
    for name in ("stage1_conv", "stage3_conv", "logits"):
        assert not model.get_layer(name).bias.numpy().any()
    assert {round(float(layer.kernel.numpy().std()), 2) for layer in weighted} == {0.01}


@pytest.mark.parametrize("build, size", [
    (functools.partial(alexnet, width=1 / 32, units=4), 67),
    (functools.partial(alexnet, width=1 / 32, units=4, stem="small"), 15),
    (functools.partial(vgg, depths=(1, 1, 1, 1, 1), filters=[2] * 5, units=4), 32),
    (functools.partial(vgg, depths=[1, 1], filters=(2, 2), units=4), 4),
    (functools.partial(zoo.build, "simple_cnn"), 16),
    (functools.partial(zoo.build, "simple_cnn", filters=[4]), 6),
    (functools.partial(zoo.build, "conv_only", filters=(2, 2, 2, 2)), 25),
    (functools.partial(zoo.build, "conv_only", filters=[2, 2], kernel=3), 5),
    (functools.partial(zoo.build, "fashion_cnn"), 2)])
def test_the_minimum_in_the_message_is_the_smallest_image_that_works(build, size, monkeypatch):
    assert build(input_shape=(size, size, 1)).output.shape[0] is None
    with pytest.raises(UsageError, match=f"at least {size}x{size}"):
        build(input_shape=(size, size - 1, 1))
    for module in ("alexnet", "vgg", "convnets"):
        monkeypatch.setattr(f"zoo.{module}.image_input", _image_input_of_any_size)
    with pytest.raises(ValueError, match="zero or negative"):
        build(input_shape=(size - 1, size - 1, 1))


def _image_input_of_any_size(input_shape, *, minimum, hint=None, **scale):
    return image_input(input_shape, **scale)


def test_too_small_an_image_names_the_option_that_makes_it_fit():
    with pytest.raises(UsageError, match="at least 67x67.*pass stem='small'"):
        zoo.build("alexnet", input_shape=(32, 32, 3))
    with pytest.raises(UsageError, match="at least 32x32.*pass fewer stages in depths and filters"):
        zoo.build("vgg16", input_shape=(28, 28, 1))


@pytest.mark.parametrize("name, options, message", [
    ("alexnet", {"stem": "smal"}, "Did you mean 'small'"),
    ("alexnet", {"groups": 3}, "groups must be 1 or 2"),
    ("alexnet", {"units": 0}, "units must be positive whole numbers. Received: 0"),
    ("conv_only", {"kernel": -1}, "kernel must be positive"),
    ("simple_cnn", {"filters": [8, 0]}, "filters must be positive"),
    ("fashion_cnn", {"units": 0}, "units must be positive"),
    ("mlp", {"hidden": (0,)}, "hidden must be positive"),
    ("vgg16", {"units": -1}, "units must be positive"),
    ("vgg16", {"filters": (8, 8)}, "as many stages. Received: 5 and 2")])
def test_wrong_option_is_explained_in_one_line(name, options, message):
    with pytest.raises(UsageError, match=message):
        zoo.build(name, **options)


def test_scale_of_vgg_carries_the_channel_means_of_caffe():
    means = np.array([123.68, 116.779, 103.939])
    model = vgg((4, 4, 3), 2, depths=(1,), filters=(2,), units=2, mean=list(means / 255),
                std=1 / 255)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype("uint8")
    scaled = keras.Model(model.input, model.get_layer("rescale").output)(pixels)
    np.testing.assert_allclose(scaled, pixels - means, atol=1e-4)


def test_lists_stand_for_tuples():
    lists = vgg([8, 8, 1], 2, depths=[1, 1], filters=[2, 2], units=2)
    tuples = vgg((8, 8, 1), 2, depths=(1, 1), filters=(2, 2), units=2)
    assert [w.shape for w in lists.weights] == [w.shape for w in tuples.weights]
    assert lists.count_params() == 20 + 38 + 18 + 6 + 6  # two convolutions, fc1, fc2, logits
    assert zoo.build("mlp", hidden=[8, 4]).get_layer("fc2").units == 4


def test_perceptron_without_hidden_layers_is_logistic_regression():
    assert zoo.build("mlp", hidden=[]).count_params() == 784 * 10 + 10


def test_every_convolution_of_alexnet_follows_the_width():
    model = alexnet((15, 15, 1), 2, groups=2, stem="small", width=1 / 16, units=2)
    got = [model.get_layer(f"stage{n}_conv").filters for n in range(1, 6)]
    assert got == [6, 16, 24, 24, 16]
