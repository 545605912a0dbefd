"""What the papers print of the networks that came after the first classics."""
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.test_papers_residual import full, maps, trainable, weighted_layers
from zoo.errors import UsageError
from zoo.factory import without_weights
from zoo.shufflenet_v2 import shuffle, split
from zoo.tables import layer_table, total_multiply_adds


@pytest.mark.slow
@pytest.mark.parametrize("name, count", [
    ("squeezenet1_0", 1_248_424),  # table 1, to the unit
    ("xception", 22_855_952),  # table 3, to the unit
    # of the authors' or torchvision's code
    ("squeezenet1_1", 1_235_496), ("inception_resnet_v2", 55_813_192),
    ("resnet50_v2", 25_549_352), ("resnet110_v2", 1_727_962), ("resnet164_v2", 1_703_258),
    ("resnext50_32x4d", 25_028_904), ("wide_resnet16_4", 2_748_890),
    ("wide_resnet28_10", 36_479_194), ("wide_resnet40_4", 8_949_210),
    ("wide_resnet50_2", 68_883_240), ("se_resnet50", 28_088_024),
    ("mobilenet_v3_large", 5_483_032), ("mobilenet_v3_small", 2_542_856),
    ("shufflenet_v2_x0_5", 1_366_792), ("shufflenet_v2_x1_0", 2_278_604),
    ("shufflenet_v2_x1_5", 3_503_624), ("shufflenet_v2_x2_0", 7_393_996),
    ("efficientnet_b0", 5_288_548)])
def test_trainable_params(name, count):
    assert trainable(full(name)) == count


def test_params_of_nin_add_up_from_its_filters():
    def total(filters, kernels):
        return sum((kernel ** 2 * before + 1) * after for before, after, kernel in
                   zip(filters, filters[1:], kernels, strict=False))
    cifar = total((3, 192, 160, 96, 192, 192, 192, 192, 192, 10), (5, 1, 1, 5, 1, 1, 3, 1, 1))
    assert trainable(full("nin_cifar10")) == cifar
    imagenet = total((3, 96, 96, 96, 256, 256, 256, 384, 384, 384, 1024, 1024, 1000),
                     (11, 1, 1, 5, 1, 1, 3, 1, 1, 3, 1, 1))
    assert trainable(full("nin")) == imagenet


@pytest.mark.parametrize("name, depth", [
    ("resnet50_v2", 50), ("resnet101_v2", 101), ("resnet152_v2", 152), ("resnet110_v2", 110),
    ("resnet164_v2", 164), ("resnext50_32x4d", 50), ("wide_resnet50_2", 50), ("zfnet", 8)])
def test_the_name_counts_the_layers(name, depth):
    assert len(weighted_layers(full(name))) == depth


@pytest.mark.parametrize("name, depth", [
    ("wide_resnet16_4", 16), ("wide_resnet28_10", 28), ("wide_resnet40_4", 40)])
def test_a_wide_resnet_counts_its_convolutions_with_the_shortcuts(name, depth):
    convolutions = [layer for layer in full(name).layers if isinstance(layer, layers.Conv2D)]
    assert len(convolutions) == depth


RESNET50 = {"stem": (56, 64), "stage1": (56, 256), "stage2": (28, 512), "stage3": (14, 1024),
            "stage4": (7, 2048)}


@pytest.mark.parametrize("name, expected", [
    ("nin", {"stage1": (27, 96), "stage2": (13, 256), "stage3": (6, 384), "stage4": (6, 1024)}),
    ("nin_cifar10", {"stage1": (16, 96), "stage2": (8, 192), "stage3": (8, 192)}),
    ("zfnet", {"stage1": (55, 96), "stage2": (13, 256), "stage3": (13, 384), "stage4": (13, 384),
               "stage5": (6, 256)}),
    ("squeezenet1_0", {"stem": (55, 96), "stage1": (55, 256), "stage2": (27, 512),
                       "stage3": (13, 512)}),
    ("xception", {"stem": (147, 64), "stage1": (74, 128), "stage2": (37, 256), "stage3": (19, 728),
                  "stage4": (19, 728), "stage5": (10, 1024), "stage6": (10, 2048)}),
    ("inception_resnet_v2", {"stem": (35, 192), "stage1": (35, 320), "stage2": (17, 1088),
                             "stage3": (8, 2080), "head": (8, 1536)}),
    ("resnet50_v2", RESNET50), ("resnext50_32x4d", RESNET50), ("se_resnet50", RESNET50),
    ("wide_resnet50_2", RESNET50),
    ("resnet164_v2", {"stem": (32, 16), "stage1": (32, 64), "stage2": (16, 128),
                      "stage3": (8, 256)}),
    ("wide_resnet28_10", {"stem": (32, 16), "stage1": (32, 160), "stage2": (16, 320),
                          "stage3": (8, 640)}),
    ("mobilenet_v3_large", {"stem": (112, 16), "stage1": (112, 16), "stage2": (56, 24),
                            "stage3": (28, 40), "stage4": (14, 112), "stage5": (7, 160),
                            "head": (7, 960)}),
    ("mobilenet_v3_small", {"stem": (112, 16), "stage1": (56, 16), "stage2": (28, 24),
                            "stage3": (14, 48), "stage4": (7, 96), "head": (7, 576)}),
    ("shufflenet_v2_x1_0", {"stem": (56, 24), "stage2": (28, 116), "stage3": (14, 232),
                            "stage4": (7, 464), "conv5": (7, 1024)}),
    ("efficientnet_b0", {"stem": (112, 32), "stage2": (112, 16), "stage3": (56, 24),
                         "stage4": (28, 40), "stage5": (14, 80), "stage6": (14, 112),
                         "stage7": (7, 192), "stage8": (7, 320), "head": (7, 1280)})])
def test_feature_maps_are_the_tables(name, expected):
    assert maps(full(name)) == expected


def test_first_maps_are_those_that_the_papers_print():
    """ZFNet's figure 3 and SqueezeNet's table 1 give the maps before the first pooling too."""
    sizes = {name: {row.layer: row.size for row in layer_table(full(name))}
             for name in ("zfnet", "squeezenet1_0")}
    assert sizes["zfnet"]["stage1_conv"] == "110x110"
    assert sizes["zfnet"]["stage2_conv"] == "26x26"
    assert sizes["squeezenet1_0"]["stem_conv"] == "111x111"


@pytest.mark.parametrize("name, millions, relative", [
    ("resnext50_32x4d", 4200, 0.01),  # table 1
    ("se_resnet50", 3870, 0.01),  # table 2
    ("mobilenet_v3_small", 56, 0.01),  # table 4
    ("efficientnet_b0", 390, 0.012),  # table 2, with two digits
    # The others count more than convolutions and dense layers, 1 to 1.4 % of all
    ("mobilenet_v3_large", 219, 0.015),  # table 3
    ("shufflenet_v2_x0_5", 41, 0.015), ("shufflenet_v2_x1_0", 146, 0.01),  # table 8
    ("shufflenet_v2_x1_5", 299, 0.015), ("shufflenet_v2_x2_0", 591, 0.015)])
def test_multiply_adds(name, millions, relative):
    assert total_multiply_adds(full(name)) / 1e6 == pytest.approx(millions, rel=relative)


@pytest.mark.slow
@pytest.mark.parametrize("name, billions", [
    # "_ops" of the weights in torchvision/models, which has three decimals
    ("alexnet_torchvision", 0.714), ("googlenet_torchvision", 1.498),
    ("inception_v3_torchvision", 5.713), ("densenet121", 2.834), ("densenet161", 7.728),
    ("densenet169", 3.36), ("densenet201", 4.291), ("resnet18", 1.814), ("resnet34", 3.664),
    ("resnet50_v1_5", 4.089), ("resnet101_v1_5", 7.801), ("resnet152_v1_5", 11.514),
    ("resnext50_32x4d", 4.23), ("wide_resnet50_2", 11.398), ("vgg11", 7.609), ("vgg11_bn", 7.609),
    ("vgg13", 11.308), ("vgg13_bn", 11.308), ("vgg16_bn", 15.47), ("vgg19_bn", 19.632)])
def test_multiply_adds_are_those_of_torchvision(name, billions):
    assert round(total_multiply_adds(full(name)) / 1e9, 3) == billions


@pytest.mark.parametrize("name, billions", [
    ("se_resnet50_v1_5", 4.11), ("inception_v4_timm", 12.28)])
def test_multiply_adds_are_those_of_timm(name, billions):
    """infer_gmacs of seresnet50 and inception_v4, results/benchmark-infer-amp-nchw-*.csv of timm.

    Ours, of convolutions and dense layers alone, are 0.4 and 0.2 % less.
    """
    assert total_multiply_adds(full(name)) / 1e9 == pytest.approx(billions, rel=0.01)


def test_version_1_5_costs_more_with_as_many_params():
    first, later = full("resnet50"), full("resnet50_v1_5")
    assert trainable(first) == trainable(later)
    assert [later.get_layer(f"stage2_block1_{conv}_conv").strides[0] for conv in "abc"] == [1, 2, 1]
    assert total_multiply_adds(later) / total_multiply_adds(first) == pytest.approx(1.06, abs=0.01)


def test_a_group_of_resnext_is_twice_as_wide_in_each_stage():
    convolutions = [full("resnext50_32x4d").get_layer(f"stage{i}_block1_b_conv")
                    for i in range(1, 5)]
    assert [conv.groups for conv in convolutions] == [32] * 4
    assert [conv.filters // 32 for conv in convolutions] == [4, 8, 16, 32]


def run(function, x):
    """Apply `function` from tensors to tensors to an array."""
    source = keras.Input(x.shape[1:])
    outputs = keras.Model(source, function(source))(x)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def test_a_shuffle_takes_channels_by_turns_and_a_split_halves_them():
    x = np.arange(2 * 2 * 3 * 8, dtype="float32").reshape(2, 2, 3, 8)
    left, right = run(lambda t: split(t), x)
    np.testing.assert_array_equal(left, x[..., :4])
    np.testing.assert_array_equal(right, x[..., 4:])
    mixed = run(lambda t: shuffle(split(t), name="v"), x)
    np.testing.assert_array_equal(mixed, x[..., [0, 4, 1, 5, 2, 6, 3, 7]])


def test_squeeze_and_excitation_is_two_dense_layers_on_the_averages():
    from zoo.blocks import squeeze_excite
    source = keras.Input((3, 4, 6))
    model = keras.Model(source, squeeze_excite(source, 2, name="se"))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    w1, b1, w2, b2 = (keras.ops.convert_to_numpy(weight) for weight in model.weights)
    hidden = np.maximum(x.mean((1, 2)) @ w1[0, 0] + b1, 0)
    gates = 1 / (1 + np.exp(-(hidden @ w2[0, 0] + b2)))
    np.testing.assert_allclose(model(x), x * gates[:, None, None], rtol=1e-5, atol=1e-6)


def test_a_logit_of_nin_is_the_average_of_a_map():
    model = zoo.build("nin_cifar10", width=1 / 16)
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    class_maps = keras.Model(model.input, model.get_layer("logits").output)(x)
    assert class_maps.shape == (2, 8, 8, 10)
    np.testing.assert_allclose(model(x), np.asarray(class_maps).mean((1, 2)), rtol=1e-5)


def test_drop_connect_grows_with_the_position_of_a_block():
    rates = [layer.rate for layer in full("efficientnet_b0").layers
             if layer.name.endswith("_drop")]
    assert rates == sorted(rates) and 0 < rates[0] < rates[-1] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name, sides", [
    ("squeezenet1_0", (21, 20)), ("squeezenet1_1", (17, 16)), ("nin", (39, 38)),
    ("nin_cifar10", (4, 3)), ("zfnet", (53, 52)), ("xception", (37, 36)),
    ("shufflenet_v2_x1_0", (17, 16)), ("mobilenet_v3_small", (17, 16)),
    ("efficientnet_b0", (17, 16)), ("resnet164_v2", (3, 2)), ("resnext50_32x4d", (17, 16))])
def test_the_smallest_image_is_accepted_and_a_smaller_one_refused(name, sides):
    accepted, refused = sides
    without_weights(zoo.build, name, input_shape=(accepted, accepted, 3))
    with pytest.raises(UsageError, match=f"at least {accepted}x{accepted} here"):
        zoo.build(name, input_shape=(refused, refused, 3))


@pytest.mark.parametrize("name, option, message", [
    ("wide_resnet16_4", {"depth": 18}, r"depth must be 6n \+ 4"),
    ("shufflenet_v2_x1_0", {"filters": (115, 232, 464, 1024)}, "filters must be an even number"),
    ("mobilenet_v3_small", {"rows": ((3, 16, 16, True, "relu", 2),)}, "must be RE or HS"),
    ("resnet164_v2", {"block": "basics"}, "Did you mean 'basic'"),
    ("squeezenet1_0", {"rows": ((16, 64),)}, "pairs of filters"),
    ("inception_resnet_v2", {"depths": (1, 2)}, "depths must be 3 integers"),
    ("efficientnet_b0", {"width": 0}, "width must be above 0"),
    ("se_resnet50", {"reduction": 0}, "reduction must be positive"),
    ("nin", {"width": 0}, "width must be above 0")])
def test_a_wrong_option_is_explained_in_one_line(name, option, message):
    with pytest.raises(UsageError, match=message):
        zoo.build(name, **option)


@pytest.mark.parametrize("name, options", [
    ("dpcnn", {"filters": 8, "blocks": 3}), ("fasttext", {"buckets": 30})])
def test_padding_does_not_change_the_logits(name, options):
    model = zoo.build(name, vocab_size=50, embedding=8, **options)
    tokens = np.random.default_rng(0).integers(1, 50, (3, 7)).astype("int32")
    tokens[1, 4:], tokens[2, 1:] = 0, 0
    logits = np.asarray(model(tokens))
    for more in (1, 2, 5):
        padded = np.pad(tokens, ((0, 0), (0, more)))
        np.testing.assert_allclose(model(padded), logits, atol=1e-6)
    np.testing.assert_allclose(model(tokens[1:2, :4]), logits[1:2], atol=1e-6)


def test_fasttext_is_a_linear_layer_on_the_mean_of_words_and_bigrams():
    model = zoo.build("fasttext", vocab_size=50, embedding=4, buckets=30, classes=3)
    words, pairs, kernel, bias = (np.asarray(model.get_layer(name).get_weights()[index])
                                  for name, index in (("embedding_nonstatic", 0),
                                                      ("embedding_bigrams", 0),
                                                      ("logits", 0), ("logits", 1)))
    sentence = [7, 3, 49, 3]
    vectors = [*words[sentence], *(pairs[(a * 8191 + b) % 30]
                                   for a, b in zip(sentence, sentence[1:], strict=False))]
    expected = np.mean(vectors, axis=0) @ kernel + bias
    np.testing.assert_allclose(model(np.array([[*sentence, 0, 0]], "int32"))[0], expected,
                               rtol=1e-4, atol=1e-6)


def test_max_pooling_over_time_halves_a_document_as_numpy_does():
    from zoo.dpcnn import halve
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    zeros = np.pad(x, ((0, 0), (0, 2), (0, 0)))
    expected = np.stack([zeros[:, start:start + 3].max(1) for start in (0, 2, 4)], axis=1)
    np.testing.assert_array_equal(run(lambda t: halve(t, name="h"), x), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of trained networks")
def test_the_features_of_averaged_logits_are_averages_too():
    from zoo.training.recipe import Recipe
    from zoo.training.trained import Trained
    model = zoo.build("nin_cifar10", width=1 / 16)
    features = keras.Model(model.input, Trained(Path(), model, {}, Recipe("r", "m", "d")).features)
    plain = zoo.build("nin_cifar10", width=1 / 16, classes=0)
    plain.set_weights(model.get_weights()[:-2])
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    np.testing.assert_allclose(features(x), plain(x), rtol=1e-5, atol=1e-6)
