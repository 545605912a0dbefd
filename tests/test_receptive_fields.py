"""Receptive fields against what gradients reach, and against published sizes."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from tests.models import DEEP, ONE_OF_EACH, TINY
from zoo.errors import UsageError
from zoo.factory import without_weights
from zoo.receptive_fields import receptive_fields

# Of the last feature map, from https://github.com/google-research/receptive_field, the library of
# A. Araujo et al. 2019.
PUBLISHED = {
    "alexnet": 195, "vgg16": 212, "resnet50": 483, "resnet101": 1027, "resnet152": 1507,
    "mobilenet_v1": 315, "inception_v3": 1311, "inception_v4": 2071, "inception_resnet_v2": 3039}
IMAGES = [pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name
          for name in sorted(ONE_OF_EACH)
          if len(zoo.spec(name).defaults.get("input_shape", ())) == 3
          and not name.startswith("mlp")]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    model = without_weights(zoo.build, name)
    fields = receptive_fields(model)
    maps = [fields[layer.name] for layer in model.layers if len(layer.output.shape) == 4]
    assert maps[-1].size == (PUBLISHED[name],) * 2


def linear(layer):
    """The same layer without what hides or cancels a gradient: activations and maxima."""
    config = layer.get_config()
    if isinstance(layer, layers.MaxPooling2D):
        return layers.AveragePooling2D.from_config(config)
    if isinstance(layer, layers.GlobalMaxPooling2D):
        return layers.GlobalAveragePooling2D.from_config(config)
    if isinstance(layer, layers.ReLU):
        return layers.Identity(name=layer.name)
    if "activation" in config:
        config["activation"] = "linear"
    return type(layer).from_config(config)


def reached(model, stage, image, position):
    """The first and last row and column of the image that change a value of a stage."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(image)
        value = tf.reduce_sum(stage(image)[0, position[0], position[1]])
    touched = tf.reduce_any(tape.gradient(value, image)[0] != 0, axis=-1).numpy()
    return [(int(np.flatnonzero(touched.any(axis=axis))[0]),
             int(np.flatnonzero(touched.any(axis=axis))[-1])) for axis in (1, 0)]


@pytest.mark.parametrize("name", IMAGES)
def test_fields_are_what_gradients_reach(name):
    """At the centre and in a corner of the map of each stage.

    AlexNet's kernels cover 99x131 to the last pixel, and torchvision's, padded, 95x127: what they
    left out, the padding of later layers would take for zeros. With the first of these sizes,
    TensorFlow 2.21 aborts in the gradient of Xception's 1x1 kernels with stride 2.
    """
    alexnets = {"alexnet": (99, 131), "alexnet_2tower": (99, 131), "alexnet_torchvision": (95, 127)}
    sides = alexnets.get(name, (97, 113))
    shape = (*sides, TINY[name].get("input_shape", zoo.spec(name).defaults["input_shape"])[-1])
    model = zoo.build(name, **{**TINY[name], "input_shape": shape})
    fields = receptive_fields(model)
    model = keras.models.clone_model(model, clone_function=linear)
    for layer in model.layers:
        layer.set_weights([np.full(value.shape, 1 / max(np.prod(value.shape[:-1]), 1))
                           if value.ndim > 1 else np.ones(value.shape) * (
                               0 if "mean" in variable.name or "beta" in variable.name else 1)
                           for value, variable in zip(layer.get_weights(), layer.weights,
                                                      strict=True)])
    image = tf.constant(np.random.default_rng(0).uniform(100, 200, (1, *shape)), "float32")
    checked = 0
    for last in zoo.stages(model).values():
        output = model.get_layer(last).output
        if len(output.shape) != 4:
            continue
        stage, height, width = keras.Model(model.input, output), *output.shape[1:3]
        for position in ((height // 2, width // 2), (0, 0)):
            expected = [(0, side - 1) for side in shape[:2]]
            if fields[last].size:
                expected = [(max(first, 0), min(end, side - 1)) for (first, end), side
                            in zip(fields[last].window(*position), shape, strict=False)]
            assert reached(model, stage, image, position) == expected, (last, position)
            checked += 1
    assert checked


@pytest.mark.parametrize("name, stage, size", [
    ("textcnn", "window5_conv", 5), ("dpcnn", "region_conv", 3),
    # two pads of 3 and a pooling of 3 with stride 2: 3, 5, 7, then 7 + 2, and 2 * 2 steps wider
    ("dpcnn", "stage1_block_add", 7), ("dpcnn", "stage2_block_add", 17)])
def test_fields_of_sentences_are_in_tokens(name, stage, size):
    model = without_weights(zoo.build, name)
    assert receptive_fields(model)[stage].size == (size,)


def test_a_layer_of_no_known_rule_has_no_field_and_what_joins_all_sees_all():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2DTranspose(4, 3, 2, name="up")(layers.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, layers.Dense(2)(layers.GlobalMaxPooling2D(name="pool")(x)))
    fields = receptive_fields(model)
    assert fields["up"] is None and str(fields["conv"]) == "3x3" and str(fields["pool"]) == "all"
    rows = {row.layer: row.receptive_field for row in zoo.layer_table(model)}
    assert (rows["conv"], rows["up"], rows["pool"]) == ("3x3", "-", "all")


def test_fields_go_through_a_network_inside_a_model():
    inner = zoo.build("lenet5", classes=0)
    image = keras.Input((32, 32, 1))
    fields = receptive_fields(keras.Model(image, layers.Dense(2)(inner(image))))
    assert fields["c3"].size == (14, 14)


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        pass
    with pytest.raises(UsageError, match="Expected a functional or sequential model. own is a Own"):
        receptive_fields(Own())
