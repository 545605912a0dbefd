"""Inception networks against their papers: the size of every map, the weights of every module."""
import functools

import keras
import numpy as np
import pytest

import zoo
from zoo.blocks import image_input, local_response_norm
from zoo.factory import without_weights
from zoo.inception import AUX_DROPOUT, AUX_WEIGHT
from zoo.tables import multiply_adds


@functools.cache
def full(name):
    """The network without weights: only its shapes count here."""
    return without_weights(zoo.build, name)


googlenet_aux = functools.cache(functools.partial(zoo.build, "googlenet", aux=True))


def size(model, layer):
    return model.get_layer(layer).output.shape[1:]


def layers_of(model, prefix):
    return [layer for layer in model.layers if layer.name.startswith(prefix)]


def params(layers):
    return sum(layer.count_params() for layer in layers)


def drawn(model, name):
    """A module as drawn, branches from left to right: "max/2 | 192 @ 1x1, 320 @ 3x3/2"."""
    branches = {}
    for layer in sorted(layers_of(model, f"{name}_b"), key=lambda layer: layer.name):
        halved = "/2" if getattr(layer, "strides", 1) in (2, (2, 2)) else ""
        kind = {"MaxPooling2D": "max", "AveragePooling2D": "avg"}.get(type(layer).__name__)
        if hasattr(layer, "filters"):
            kind = f"{layer.filters} @ {'x'.join(map(str, layer.kernel_size))}"
        if kind:
            branches.setdefault(layer.name[len(name):len(name) + 3], []).append(kind + halved)
    return " | ".join(", ".join(steps) for steps in branches.values())


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# Szegedy et al. 2015, table 1: layers, output size, params (1024s), ops (millions). None where the
# table's own filter counts give something else: 2.7K and 34M for the first convolution, 463K for
# 4c, 1072K and 54M for 5a.
GOOGLENET_TABLE_1 = [
    ("stem_1a_conv", (112, 112, 64), None, None),
    ("stem_1b_pool", (56, 56, 64), None, None),
    ("stem_2", (56, 56, 192), 112, 360),
    ("stem_3_pool", (28, 28, 192), None, None),
    ("stage3_a", (28, 28, 256), 159, 128),
    ("stage3_b", (28, 28, 480), 380, 304),
    ("stage4_pool", (14, 14, 480), None, None),
    ("stage4_a", (14, 14, 512), 364, 73),
    ("stage4_b", (14, 14, 512), 437, 88),
    ("stage4_c", (14, 14, 512), None, 100),
    ("stage4_d", (14, 14, 528), 580, 119),
    ("stage4_e", (14, 14, 832), 840, 170),
    ("stage5_pool", (7, 7, 832), None, None),
    ("stage5_a", (7, 7, 832), None, None),
    ("stage5_b", (7, 7, 1024), 1388, 71),
    ("pool", (1024,), None, None),
    ("logits", (1000,), 1000, 1),
]


@pytest.mark.parametrize("prefix, shape, kilo_params, mega_ops", GOOGLENET_TABLE_1)
def test_googlenet_is_its_table_1(prefix, shape, kilo_params, mega_ops):
    layers = layers_of(full("googlenet"), prefix)
    assert layers[-1].output.shape[1:] == shape
    weights = [weight for layer in layers for weight in layer.weights]
    kernels = sum(int(np.prod(weight.shape)) for weight in weights if len(weight.shape) > 1)
    assert kilo_params is None or kernels / 1024 == pytest.approx(kilo_params, rel=0.02)
    operations = sum(multiply_adds(layer) for layer in layers)
    assert mega_ops is None or operations / 1e6 == pytest.approx(mega_ops, rel=0.01, abs=0.7)


# #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj, and the channels that come in
@pytest.mark.parametrize("module, inputs, n1, r3, n3, r5, n5, proj", [
    ("stage3_a", 192, 64, 96, 128, 16, 32, 32), ("stage3_b", 256, 128, 128, 192, 32, 96, 64),
    ("stage4_a", 480, 192, 96, 208, 16, 48, 64), ("stage4_b", 512, 160, 112, 224, 24, 64, 64),
    ("stage4_c", 512, 128, 128, 256, 24, 64, 64), ("stage4_d", 512, 112, 144, 288, 32, 64, 64),
    ("stage4_e", 528, 256, 160, 320, 32, 128, 128), ("stage5_a", 832, 256, 160, 320, 32, 128, 128),
    ("stage5_b", 832, 384, 192, 384, 48, 128, 128)])
def test_googlenet_modules_have_the_params_of_their_columns(
        module, inputs, n1, r3, n3, r5, n5, proj):
    count = ((inputs + 1) * (n1 + r3 + r5 + proj) + (9 * r3 + 1) * n3 + (25 * r5 + 1) * n5)
    assert params(layers_of(full("googlenet"), module)) == count


def test_googlenet_is_figure_3_where_its_table_is_silent():
    model = full("googlenet")
    assert drawn(model, "stage3_a") == (
        "64 @ 1x1 | 96 @ 1x1, 128 @ 3x3 | 16 @ 1x1, 32 @ 5x5 | max, 32 @ 1x1")
    assert drawn(model, "stage5_b") == (
        "384 @ 1x1 | 192 @ 1x1, 384 @ 3x3 | 48 @ 1x1, 128 @ 5x5 | max, 128 @ 1x1")
    convolutions = [layer for layer in model.layers if hasattr(layer, "filters")]
    assert [layer.activation.__name__ for layer in convolutions] == ["relu"] * 57
    pools = [layer for layer in layers_of(model, "stage") if "pool" in layer.name]
    assert {type(layer).__name__ for layer in pools} == {"MaxPooling2D"}
    for before, norm in (("stem_1b_pool", "stem_1_lrn"), ("stem_2b_conv", "stem_2_lrn")):
        assert model.get_layer(norm).input[0] is model.get_layer(before).output
    assert googlenet_aux().get_layer("aux1_fc").activation.__name__ == "relu"


def test_googlenet_with_auxiliary_heads():
    model = googlenet_aux()
    assert model.count_params() == 13_378_280
    assert {name: out.shape for name, out in model.output.items()} == dict.fromkeys(
        ["logits", "aux1", "aux2"], (None, 1000))
    assert {out.dtype for out in model.output.values()} == {"float32"}
    assert size(model, "aux1_pool") == (4, 4, 512)  # section 5
    assert size(model, "aux2_pool") == (4, 4, 528)
    rates = [model.get_layer(name).rate for name in ("dropout", "aux1_dropout", "aux2_dropout")]
    assert rates == [0.4, AUX_DROPOUT, 0.7]


def test_googlenet_trains_through_its_auxiliary_heads():
    keras.utils.set_random_seed(0)
    model = zoo.build("googlenet", aux=True, input_shape=(9, 9, 3), classes=3, depths=[1, 4, 1],
                      stem="small", width=1 / 16)
    x, y = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3)), np.arange(6) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", dict.fromkeys(model.output, loss),
                  loss_weights={"logits": 1, "aux1": AUX_WEIGHT, "aux2": AUX_WEIGHT})
    kernels = [model.get_layer(f"aux{i}_logits").kernel for i in (1, 2)]
    before = [kernel.numpy() for kernel in kernels]
    model.fit(x, dict.fromkeys(model.output, y), verbose=0)
    for kernel, old in zip(kernels, before, strict=True):
        assert (kernel.numpy() != old).any()


def test_googlenet_features_need_no_auxiliary_heads():
    features = zoo.build("googlenet", aux=True, classes=0, input_shape=(17, 17, 3), width=1 / 16)
    assert features.output.shape == (None, 64)


@pytest.mark.parametrize("options, message", [
    ({"depths": (2, 6, 2)}, "at most 2, 5 and 2"), ({"depths": (2, 5)}, "three integers"),
    ({"aux": True, "depths": (2, 3, 2)}, "needs the modules stage4_a, stage4_d"),
    ({"stem": "smal"}, "mean 'small'")])
def test_googlenet_refuses(options, message):
    with pytest.raises(zoo.errors.UsageError, match=message):
        zoo.build("googlenet", **options)


@pytest.mark.parametrize("size", [5, 4])
def test_local_response_normalisation_is_the_formula(size):
    image = keras.Input((2, 3, 7))
    model = keras.Model(
        image, local_response_norm(image, "lrn", size=size, k=2.0, alpha=0.3, beta=0.75))
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 7)).astype("float32")
    first = [c - size // 2 for c in range(7)]
    energy = np.stack([(x[..., max(0, c):c + size] ** 2).sum(-1) for c in first], -1)
    expected = x / (2 + 0.3 * energy) ** 0.75
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    assert not model.weights


def test_small_inception_is_the_lectures_listing():
    model = full("small_inception")
    assert params(layers_of(model, "stage1_inception")) == 19_104
    assert params(layers_of(model, "stage2_inception")) == 19_824
    assert size(model, "stage1_inception_concat") == (12, 12, 88)
    assert size(model, "stage2_inception_concat") == (4, 4, 88)
    assert size(model, "flatten") == (1408,)
    convolutions = [layer for layer in model.layers if hasattr(layer, "filters")]
    assert {layer.activation.__name__ for layer in convolutions} == {"linear"}
    joined = [tensor.shape[-1] for tensor in model.get_layer("stage1_inception_concat").input]
    assert joined == [16, 24, 24, 24]


def test_small_inception_averages_over_the_zeros_of_the_border():
    model = full("small_inception")
    zeros, average = (model.get_layer(f"stage1_inception_b4a_{name}") for name in ("zeros", "pool"))
    mean = average(zeros(np.ones((1, 12, 12, 10), "float32")))
    mean = keras.ops.convert_to_numpy(mean)[0, :, :, 0]
    assert mean.shape == (12, 12)
    np.testing.assert_allclose([mean[0, 0], mean[0, 5], mean[5, 5]], [4 / 9, 6 / 9, 1], rtol=1e-6)


# Szegedy et al. 2016, table 1: the rows that the released network has kept
INCEPTION_V3_TABLE_1 = {
    "stem_a_conv": (149, 149, 32), "stem_b_conv": (147, 147, 32), "stem_c_conv": (147, 147, 64),
    "stem_d_pool": (73, 73, 64), "stem_f_relu": (71, 71, 192), "stem_g_pool": (35, 35, 192),
    "stage1_block2_concat": (35, 35, 288), "stage1_block3_concat": (35, 35, 288),
    "stage2_reduction_concat": (17, 17, 768), "stage2_block4_concat": (17, 17, 768),
    "stage3_reduction_concat": (8, 8, 1280), "stage3_block2_concat": (8, 8, 2048),
    "pool": (2048,), "logits": (1000,),
}


@pytest.mark.parametrize("layer, shape", INCEPTION_V3_TABLE_1.items())
def test_inception_v3_map_sizes(layer, shape):
    assert full("inception_v3").input.shape[1:] == (299, 299, 3)
    assert size(full("inception_v3"), layer) == shape


# Szegedy et al. 2017, figures 3 to 9
INCEPTION_V4_FIGURES = {
    "stem_a_relu": (149, 149, 32), "stem_b_relu": (147, 147, 32), "stem_c_relu": (147, 147, 64),
    "stem_block1_concat": (73, 73, 160), "stem_block2_concat": (71, 71, 192),
    "stem_block3_concat": (35, 35, 384),
    "stage1_block4_concat": (35, 35, 384), "stage2_reduction_concat": (17, 17, 1024),
    "stage2_block7_concat": (17, 17, 1024), "stage3_reduction_concat": (8, 8, 1536),
    "stage3_block3_concat": (8, 8, 1536), "pool": (1536,), "dropout": (1536,), "logits": (1000,),
}


@pytest.mark.parametrize("layer, shape", INCEPTION_V4_FIGURES.items())
def test_inception_v4_map_sizes(layer, shape):
    assert size(full("inception_v4"), layer) == shape


@pytest.mark.parametrize("module, branches", {
    "stem_block1": "max/2 | 96 @ 3x3/2",
    "stem_block2": "64 @ 1x1, 96 @ 3x3 | 64 @ 1x1, 64 @ 7x1, 64 @ 1x7, 96 @ 3x3",
    "stem_block3": "192 @ 3x3/2 | max/2",
    "stage1_block4": "avg, 96 @ 1x1 | 96 @ 1x1 | 64 @ 1x1, 96 @ 3x3 | 64 @ 1x1, 96 @ 3x3, 96 @ 3x3",
    "stage2_reduction": "max/2 | 384 @ 3x3/2 | 192 @ 1x1, 224 @ 3x3, 256 @ 3x3/2",
    "stage2_block7": "avg, 128 @ 1x1 | 384 @ 1x1 | 192 @ 1x1, 224 @ 1x7, 256 @ 7x1 | "
                     "192 @ 1x1, 192 @ 1x7, 224 @ 7x1, 224 @ 1x7, 256 @ 7x1",
    "stage3_reduction": "max/2 | 192 @ 1x1, 192 @ 3x3/2 | "
                        "256 @ 1x1, 256 @ 1x7, 320 @ 7x1, 320 @ 3x3/2",
    "stage3_block3": "avg, 256 @ 1x1 | 256 @ 1x1 | 384 @ 1x1, 256 @ 1x3, 256 @ 3x1 | "
                     "384 @ 1x1, 448 @ 1x3, 512 @ 3x1, 256 @ 3x1, 256 @ 1x3"}.items())
def test_inception_v4_modules_are_figures_3_to_8(module, branches):
    assert drawn(full("inception_v4"), module) == branches


def test_inception_v4_normalises_and_rectifies_every_convolution():
    model = full("inception_v4")
    convolutions = [layer.name for layer in model.layers if hasattr(layer, "filters")]
    assert len(convolutions) == 149
    for name in (name.removesuffix("_conv") for name in convolutions):
        norm, relu = model.get_layer(f"{name}_bn"), model.get_layer(f"{name}_relu")
        assert norm.input is model.get_layer(f"{name}_conv").output and relu.input is norm.output
        assert isinstance(relu, keras.layers.ReLU) and norm.scale and norm.center


def test_inception_v4_keeps_eight_tenths_before_its_output():
    assert full("inception_v4").get_layer("dropout").rate == 0.2


@pytest.mark.parametrize("name, count", [
    ("inception_v3", 23_817_352), ("inception_v4", 42_679_816)])
def test_trainable_params(name, count):
    assert trainable(full(name)) == count


def test_inception_v3_normalises_without_scale_and_leaves_border_zeros_out_of_averages():
    norms = [layer for layer in full("inception_v3").layers if layer.name.endswith("_bn")]
    assert len(norms) == 94
    assert {(layer.scale, layer.center, layer.epsilon) for layer in norms} == {(False, True, 1e-3)}
    average = full("inception_v3").get_layer("stage1_block1_b4a_pool")
    assert keras.ops.convert_to_numpy(average(np.ones((1, 3, 3, 192), "float32"))).min() == 1


@pytest.mark.parametrize("name", ["inception_v3", "inception_v4"])
@pytest.mark.parametrize("depths", [(1, 1), (1, -1, 1), (1, 1.5, 1)])
def test_depths_are_three_integers(name, depths):
    with pytest.raises(zoo.errors.UsageError, match="depths must be 3 integers from 0 up"):
        zoo.build(name, depths=depths)


def test_a_deeper_stage_repeats_its_last_module():
    deep = zoo.build("inception_v3", input_shape=(32, 32, 3), depths=[4, 0, 0], stem="small",
                     width=1 / 16)
    assert [size(deep, f"stage1_block{i}_b4b_conv")[-1] for i in (1, 2, 3, 4)] == [2, 4, 4, 4]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "inception_v4"])
def test_small_stem_has_the_weights_of_the_papers(name):
    small = zoo.build(name, input_shape=(32, 32, 3), stem="small")
    large = full(name)
    assert [weight.shape for weight in small.weights] == [weight.shape for weight in large.weights]


SMALLEST = [("small_inception", {}, 16), ("googlenet", {"aux": True}, 65),
            ("googlenet", {"aux": True, "stem": "small"}, 9),
            ("inception_v3", {}, 75), ("inception_v3", {"stem": "small"}, 17),
            ("inception_v4", {}, 75), ("inception_v4", {"stem": "small"}, 17)]


@pytest.mark.parametrize("name, options, n", SMALLEST)
def test_smallest_image_leaves_nothing_to_spare(name, options, n, monkeypatch):
    """One pixel less fails in Keras itself once our own check is out of the way."""
    width = {} if name == "small_inception" else {"width": 1 / 16}
    cheap = {"depths": (0, 0, 1)} if "_v" in name else {}
    channels = zoo.spec(name).defaults["input_shape"][-1]
    build = functools.partial(zoo.build, name, **options, **width, **cheap)
    build(input_shape=(n, n + 1, channels))
    with pytest.raises(zoo.errors.UsageError, match=f"at least {n}x{n} "):
        build(input_shape=(n, n - 1, channels))
    module = zoo.spec(name).builder.__module__
    monkeypatch.setattr(f"{module}.image_input", lambda shape, **_: image_input(shape))
    with pytest.raises(ValueError, match="size would be zero or negative"):
        build(input_shape=(n, n - 1, channels))


@pytest.mark.parametrize("stem, n", [("imagenet", 17), ("small", 3)])
def test_smallest_googlenet_halves_no_single_pixel(stem, n):
    model = zoo.build("googlenet", input_shape=(n, n, 3), stem=stem, width=1 / 16)
    halving = [layer for layer in model.layers if getattr(layer, "strides", None) in (2, (2, 2))]
    assert min(layer.input.shape[1] for layer in halving) == 2
    with pytest.raises(zoo.errors.UsageError, match=f"at least {n}x{n} "):
        zoo.build("googlenet", input_shape=(n - 1, n, 3), stem=stem)
