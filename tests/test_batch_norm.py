"""Fused batch normalization equals Keras's: outputs, gradients and moving statistics."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.training import recipes
from zoo.training.engine.batch_norm import Fused, fuse
from zoo.training.engine.prepare import compile_model


def operations(layer, maps):
    """Return the types of the operations of `layer` in training."""
    graph = (
        tf.function(lambda x: layer(x, training=True))
        .get_concrete_function(tf.TensorSpec(maps.shape))
        .graph
    )
    return {operation.type for operation in graph.get_operations()}


def trained_once(model, maps):
    """Return the outputs in training, the gradients of a loss, and the weights afterwards."""
    maps = tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = model(maps, training=True)
        loss = tf.reduce_mean(tf.sin(3 * tf.cast(outputs, tf.float32)))
    gradients = tape.gradient(
        loss, [maps, *(variable.value for variable in model.trainable_variables)]
    )
    return [outputs, *gradients, *model.get_weights()]


@pytest.mark.parametrize(
    ("shape", "policy"),
    [
        ((8, 7, 5, 3), "float32"),
        ((2, 1, 1, 3), "float32"),
        ((8, 7, 5, 3), "mixed_float16"),
        ((6, 3), "float32"),
    ],
)
def test_same_numbers_as_keras(shape, policy):
    rng, image = np.random.default_rng(0), keras.Input(shape[1:])
    theirs = keras.Model(
        image, keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, dtype=policy)(image)
    )
    theirs.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in theirs.get_weights()])
    ours = keras.models.clone_model(theirs)
    ours.set_weights(theirs.get_weights())
    fuse(ours)
    assert type(ours.layers[-1]) is Fused
    maps = rng.normal(2, 3, shape).astype("float32")
    for expected, found in zip(trained_once(theirs, maps), trained_once(ours, maps), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        ours(maps, training=False), theirs(maps, training=False), rtol=1e-4, atol=1e-5
    )


def test_frozen_layer_keeps_its_statistics():
    layer = Fused()
    layer.build((None, 4, 4, 3))
    layer.trainable = False
    layer(np.ones((2, 4, 4, 3), "float32"), training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


def test_keras_does_not_fuse_yet():
    """If this fails, Keras fuses too, and training/engine/batch_norm.py can be deleted."""
    maps = np.ones((2, 4, 4, 3), "float32")
    assert "FusedBatchNormV3" in operations(Fused(), maps)
    assert "FusedBatchNormV3" not in operations(keras.layers.BatchNormalization(), maps)


def test_two_trainings_end_bit_for_bit_the_same():
    recipe = recipes.override(recipes.Recipe("twice", "resnet20", "digits"), ["optimizer=sgd"])
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), "uint8")
    start, ends = zoo.build("resnet20", input_shape=(8, 8, 1), n=1), []
    for _ in range(2):
        model = keras.models.clone_model(start)
        model.set_weights(start.get_weights())
        compile_model(model, recipe, 3)
        for _ in range(3):
            model.train_on_batch(images, np.eye(10)[np.arange(64) % 10])
        ends.append(model.get_weights())
    assert all(np.array_equal(one, other) for one, other in zip(*ends, strict=True))
    assert not np.array_equal(ends[0][-1], start.get_weights()[-1])
