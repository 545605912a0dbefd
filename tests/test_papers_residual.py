"""What the papers print of ResNet, DenseNet and the MobileNets."""
import functools
import math

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.factory import without_weights
from zoo.tables import layer_table, total_multiply_adds


@functools.cache
def full(name):
    """The network without weights: only its shapes count here."""
    return without_weights(zoo.build, name)


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def maps(model):
    """{stage: (height, channels)} of every stage that has a feature map."""
    outputs = {stage: model.get_layer(last).output for stage, last in zoo.stages(model).items()}
    return {stage: (x.shape[1], x.shape[3]) for stage, x in outputs.items() if len(x.shape) == 4}


def weighted_layers(model):
    """Convolutions and dense layers except in shortcuts, as the papers count depth."""
    return [layer for layer in model.layers
            if hasattr(layer, "kernel") and "shortcut" not in layer.name]


@pytest.mark.slow
@pytest.mark.parametrize("name, count", [
    ("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032),
    ("resnet101", 44_549_160), ("resnet152", 60_192_808), ("resnet50_keras", 25_583_592),
    ("resnet20", 269_722), ("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018),
    ("resnet110", 1_727_962),
    ("densenet121", 7_978_856), ("densenet169", 14_149_480), ("densenet201", 20_013_928),
    ("densenet40_k12", 1_019_722), ("densenet_bc100_k12", 769_162), ("mobilenet_v1", 4_231_976)])
def test_trainable_params(name, count):
    assert trainable(full(name)) == count


def test_densenet_counts_add_up_from_the_paper():
    """L=40: 12 layers a block, 16 input channels.

    L=100, BC: 16 layers a block, 24 input channels, halved after each block.
    """
    def block(channels, depth, params):
        inputs = range(channels, channels + 12 * depth, 12)
        return sum(params(c) for c in inputs), channels + 12 * depth

    first, a = block(16, 12, lambda c: 2 * c + 9 * c * 12)
    second, b = block(a, 12, lambda c: 2 * c + 9 * c * 12)
    third, c = block(b, 12, lambda c: 2 * c + 9 * c * 12)
    plain = (27 * 16 + first + (2 * a + a * a) + second + (2 * b + b * b) + third
             + 2 * c + (10 * c + 10))
    assert trainable(full("densenet40_k12")) == plain

    first, a = block(24, 16, lambda c: 2 * c + 48 * c + 2 * 48 + 9 * 48 * 12)
    second, b = block(a // 2, 16, lambda c: 2 * c + 48 * c + 2 * 48 + 9 * 48 * 12)
    third, c = block(b // 2, 16, lambda c: 2 * c + 48 * c + 2 * 48 + 9 * 48 * 12)
    compressed = (27 * 24 + first + (2 * a + a * a // 2) + second + (2 * b + b * b // 2) + third
                  + 2 * c + (10 * c + 10))
    assert trainable(full("densenet_bc100_k12")) == compressed


@pytest.mark.parametrize("name, depth", [
    ("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("resnet101", 101), ("resnet152", 152),
    ("resnet20", 20), ("resnet32", 32), ("resnet44", 44), ("resnet56", 56), ("resnet110", 110),
    ("densenet121", 121), ("densenet169", 169), ("densenet201", 201), ("densenet40_k12", 40),
    ("densenet_bc100_k12", 100), ("mobilenet_v1", 28)])
def test_the_name_counts_the_layers(name, depth):
    assert len(weighted_layers(full(name))) == depth


@pytest.mark.parametrize("name, expected", [
    ("resnet18", {"stem": (56, 64), "stage1": (56, 64), "stage2": (28, 128), "stage3": (14, 256),
                  "stage4": (7, 512)}),
    ("resnet152", {"stem": (56, 64), "stage1": (56, 256), "stage2": (28, 512),
                   "stage3": (14, 1024), "stage4": (7, 2048)}),
    ("resnet110", {"stem": (32, 16), "stage1": (32, 16), "stage2": (16, 32), "stage3": (8, 64)}),
    ("densenet121", {"stem": (56, 64), "stage1": (56, 256), "transition1": (28, 128),
                     "stage2": (28, 512), "transition2": (14, 256), "stage3": (14, 1024),
                     "transition3": (7, 512), "stage4": (7, 1024)}),
    ("densenet40_k12", {"stem": (32, 16), "stage1": (32, 160), "transition1": (16, 160),
                        "stage2": (16, 304), "transition2": (8, 304), "stage3": (8, 448)}),
    ("mobilenet_v1", {"stem": (112, 32), "stage1": (112, 64), "stage2": (56, 128),
                      "stage3": (28, 256), "stage4": (14, 512), "stage5": (7, 1024)}),
    ("mobilenet_v2", {"stem": (112, 32), "stage1": (112, 16), "stage2": (56, 24),
                      "stage3": (28, 32), "stage4": (14, 64), "stage5": (14, 96),
                      "stage6": (7, 160), "stage7": (7, 320), "head": (7, 1280)})])
def test_feature_maps_are_the_tables(name, expected):
    assert maps(full(name)) == expected


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_the_imagenet_stem_halves_twice(name):
    sizes = {row.layer: (row.size, row.kernel, row.stride) for row in layer_table(full(name))}
    assert sizes["stem_conv"] == ("112x112", "7x7", "2")
    assert sizes["stem_pool"] == ("56x56", "3x3", "2")


# Table 1 has one decimal; for 34 layers and for 50 its figure is 0.06 below the count.
@pytest.mark.parametrize("name, billions", [
    ("resnet18", 1.8), ("resnet34", 3.6), ("resnet50", 3.8), ("resnet101", 7.6),
    ("resnet152", 11.3)])
def test_resnet_multiply_adds(name, billions):
    assert total_multiply_adds(full(name)) / 1e9 == pytest.approx(billions, abs=0.065)


def test_resnet34_without_projections_costs_what_the_paper_prints():
    model = full("resnet34")
    projections = sum(row.multiply_adds for row in layer_table(model) if "shortcut" in row.layer)
    assert total_multiply_adds(model) - projections == pytest.approx(3.6e9, abs=0.05e9)


@pytest.mark.parametrize("options, millions, params", [  # tables 6 and 7; params in millions
    ({}, 569, 4.2), ({"alpha": 0.75}, 325, 2.6), ({"alpha": 0.5}, 149, 1.3),
    ({"alpha": 0.25}, 41, 0.5),
    ({"input_shape": (192, 192, 3)}, 418, 4.2), ({"input_shape": (128, 128, 3)}, 186, 4.2)])
def test_mobilenet_v1_multiply_adds_and_params(options, millions, params):
    model = zoo.build("mobilenet_v1", **options)
    assert total_multiply_adds(model) / 1e6 == pytest.approx(millions, abs=1)
    assert trainable(model) / 1e6 == pytest.approx(params, abs=0.06)


@pytest.mark.parametrize("alpha, millions", [(1.0, 300), (1.4, 585)])
def test_mobilenet_v2_multiply_adds(alpha, millions):
    """Table 4."""
    model = zoo.build("mobilenet_v2", alpha=alpha)
    assert total_multiply_adds(model) / 1e6 == pytest.approx(millions, rel=0.01)


def test_mobilenet_v2_width_leaves_the_last_convolution_alone_unless_it_widens():
    heads = [zoo.build("mobilenet_v2", alpha=alpha, rows=[(1, 100, 1, 2)]) for alpha in (0.35, 1.4)]
    assert [maps(model)["head"][1] for model in heads] == [1280, 1792]
    assert [maps(model)["stage1"][1] for model in heads] == [32, 144]  # of 35, 140


def test_a_bottleneck_strides_in_its_first_convolution():
    strides = [full("resnet50").get_layer(f"stage2_block1_{conv}_conv").strides[0]
               for conv in ("a", "b", "c", "shortcut")]
    assert strides == [2, 1, 1, 2]


def test_only_the_keras_variants_have_convolution_biases():
    for name, biased in (("resnet50", False), ("resnet50_keras", True)):
        convolutions = [x for x in full(name).layers if isinstance(x, layers.Conv2D)]
        assert {layer.use_bias for layer in convolutions} == {biased}


def test_no_cifar_shortcut_has_weights():
    shortcuts = [row for row in layer_table(full("resnet20")) if "shortcut" in row.layer]
    assert len(shortcuts) == 4 and not any(row.params for row in shortcuts)


def test_densenet_drops_out_after_every_convolution_but_the_first():
    model = zoo.build("densenet_bc100_k12", depths=(2, 1), dropout=0.2)
    before = [layer.input._keras_history.operation.name for layer in model.layers
              if isinstance(layer, layers.Dropout)]
    convolutions = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert sorted([*before, "stem_conv"]) == sorted(convolutions)


def test_relu_saturates_where_asked():
    for cap in (6.0, None):
        model = zoo.build("mobilenet_v1", rows=[[64, 1, 2]], relu_max=cap)
        relus = [layer for layer in model.layers if isinstance(layer, layers.ReLU)]
        assert {layer.max_value for layer in relus} == {cap}


@pytest.mark.parametrize("name, option", [
    ("resnet50", {"depths": [1, 1], "width": 4}),
    ("densenet121", {"depths": [1, 1], "growth_rate": 4}),
    ("mobilenet_v1", {"rows": [[8, 1, 1], [8, 1, 2]]}),
    ("mobilenet_v2", {"rows": [[1, 8, 1, 1], [2, 8, 1, 2]]})])
def test_options_may_be_lists(name, option):
    assert zoo.build(name, input_shape=[32, 32, 3], **option).output.shape == (None, 1000)


def halved(layer):
    """The height of the map that a strided layer halves, without a border put around it."""
    before = layer.input._keras_history.operation
    return (before.input if isinstance(before, layers.ZeroPadding2D) else layer.input).shape[1]


@pytest.mark.parametrize("name, options, side", [
    ("resnet18", {"width": 4}, 17), ("resnet50", {"width": 4, "stem": "small"}, 5),
    ("resnet50", {"depths": (1,), "width": 4}, 3), ("resnet20", {"width": 4}, 3),
    ("densenet121", {"depths": (1, 1, 1, 1), "growth_rate": 4}, 29),
    ("densenet121", {"depths": (1, 1), "growth_rate": 4}, 5),
    ("densenet40_k12", {"depths": (1, 1, 1)}, 4),
    ("mobilenet_v1", {"alpha": 1 / 8}, 17), ("mobilenet_v1", {"alpha": 1 / 8, "stem": "small"}, 9),
    ("mobilenet_v2", {"alpha": 1 / 8, "rows": ((1, 8, 1, 2), (2, 8, 1, 2))}, 5)])
def test_the_smallest_image_leaves_every_halving_two_pixels(name, options, side):
    model = zoo.build(name, input_shape=(side, side, 3), **options)
    strided = [layer for layer in model.layers
               if getattr(layer, "strides", (1, 1))[0] == 2 and "shortcut" not in layer.name]
    assert min(map(halved, strided)) == 2
    assert np.isfinite(keras.ops.convert_to_numpy(model(np.zeros((1, side, side, 3))))).all()
    message = f"at least {side}x{side} here. Received: {side - 1}x{side}"
    with pytest.raises(zoo.errors.UsageError, match=message):
        zoo.build(name, input_shape=(side - 1, side, 3), **options)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "mobilenet_v1", "mobilenet_v2"])
def test_the_hint_for_small_images_makes_them_fit(name):
    with pytest.raises(zoo.errors.UsageError, match="For smaller images pass stem='small'"):
        zoo.build(name, input_shape=(16, 16, 3))
    small = zoo.build(name, input_shape=(16, 16, 3), stem="small")
    assert small.get_layer("stem_conv").output.shape[1:3] == (16, 16)


@pytest.mark.parametrize("name, option, message", [
    ("resnet50", {"stem": "smal"}, "Did you mean 'small'"),
    ("resnet50", {"block": "bottelneck"}, "Did you mean 'bottleneck'"),
    ("resnet50", {"depths": (3, 0)}, "depths must be positive whole numbers"),
    ("resnet20", {"n": 0}, "n must be positive"),
    ("densenet121", {"stem": "cifar"}, "Unknown stem 'cifar'"),
    ("densenet121", {"compression": 0}, "compression must be above 0"),
    ("densenet121", {"growth_rate": 1.5}, "growth_rate must be positive whole"),
    ("mobilenet_v1", {"alpha": 0}, "alpha must be above 0"),
    ("mobilenet_v2", {"stem": "big"}, "Unknown stem 'big'"),
    ("mobilenet_v2", {"rows": ((1, 8, 0, 1),)}, "rows must be positive")])
def test_a_wrong_option_is_explained_in_one_line(name, option, message):
    with pytest.raises(zoo.errors.UsageError, match=message):
        zoo.build(name, **option)
