"""What an image network sees: the filters of its first layer, the maps of its stages, and the heat of each class."""
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.stage import features, stages
from zoo.training.explanation import pictures
from zoo.training.preprocessing.images import decode


def last_map(model):
    """Return the last stage of `model` whose output is a map of more than one pixel; None if there is none."""
    for stage, layer in reversed(stages(model).items()):
        shape = model.get_layer(layer).output.shape
        if len(shape) == 4 and shape[1] * shape[2] > 1:
            return stage
    return None


def grad_cam(model, images, class_ids, stage=None):
    """Return where `model` saw each class: float32 (n, height, width) from 0 to 1, or all 0 if nothing spoke for it.

    Each map of the stage counts as much as raising it would raise the logit, on average over its pixels (R. R. Selvaraju et
    al., "Grad-CAM", ICCV 2017, equations 1 and 2); https://arxiv.org/abs/1610.02391

    Args:
        images: (n, height, width, channels) in [0, 255].
        class_ids: n integers.
        stage: one of `zoo.stages(model)`; by default `last_map`.
    """
    layer = stages(model)[stage or last_map(model)]
    tapped = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    images = tf.cast(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)  # the weights may all be frozen
        maps, logits = tapped(images, training=False)
        chosen = tf.gather(logits, tf.cast(class_ids, tf.int32), axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
    heat = tf.image.resize(tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True)), images.shape[1:3])[..., 0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()


def first_filters(model):
    """Return pictures of the filters of the first 2-D convolution; none if there is no such layer."""
    layer = next((layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)), None)
    return pictures.filters(keras.ops.convert_to_numpy(layer.kernel)) if layer else []


def stage_maps(model, image):
    """Return {stage: (shape, pictures)} of what each stage of `model` makes of an image, (height, width, channels)."""
    names = list(stages(model))
    found = features(model, names)(np.asarray(image, "float32")[None], training=False)
    return {name: (tuple(found[name].shape[1:]), pictures.feature_maps(np.asarray(found[name][0]))) for name in names}


def read_image(path):
    """Return the uint8 pixels of an image file, (height, width, 3).

    Raises:
        zoo.errors.UserError: if it cannot be read or is no image.
    """
    try:
        return decode(Path(path).read_bytes()).numpy()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except tf.errors.InvalidArgumentError:
        raise UserError(f"{path} is no image. Expected a JPEG, PNG, GIF, BMP or WebP file.") from None
