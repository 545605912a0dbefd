"""The SavedModel: from pixels, encoded images or sentences to probabilities and labels, in TensorFlow's own operations.

Written by TensorFlow, as Keras's `export` would write every weight a second time; and with one function that all signatures
call, which would else be written once for each.
"""
import math

import keras
import numpy as np
import tensorflow as tf

import zoo
from training.images import decode, fit_to
from training.vocabulary import token_ids
from zoo.errors import UserError

BEST = 5  # classes in top_k
# Bytes up to which a weight is a constant of the graph, not a variable. TensorFlow then works out ahead what depends on it
# alone, most of batch normalisation, and nothing is written to save and restore it, a quarter of the file of a small network.
# Large ones cost several times their size in memory.
CONSTANT = 200_000
BAD_IMAGE = "no JPEG, PNG, GIF, BMP or WebP image, or damaged"


def write(trained, path):
    """Write the SavedModel of a `training.trained.Trained` into the directory `path`.

    Of an image network the signatures are
    - serving_default, `image`: float32 pixels in [0, 255], of shape (batch, height, width, channels);
    - serving_uint8, `image`: the same as uint8, a quarter of the bytes;
    - from_bytes, `image_bytes`: strings of shape (batch,), each a JPEG, PNG, GIF, BMP or WebP file of any size. It answers
      `error` too, string (batch,): empty, or what is wrong with an image; that image has the class_id -1, the label "" and
      probabilities of 0, and its neighbours are answered;
    - features, `image` as of serving_default: `features`, float32, what the logits are computed from;
    - stages, `image_bytes` as of from_bytes: each stage's maps by name, float32 (batch, height, width, channels), and
      `error`; the maps of what is no image are those of a black one.
    Of a text network they are serving_default, features and stages, `text`: UTF-8 strings of shape (batch,). The maps of
    stages are float32 (batch, tokens, maps) or, after the maximum over time, (batch, maps).
    All others answer probabilities, float32 (batch, classes); class_id, int64 (batch,); label, string (batch,); and the best
    k, 5 or all classes, the most likely first: top_k, their labels, string (batch, k), and top_k_probabilities.

    Returns:
        What each signature is to be asked for a comparison with the network on `trained.examples`: {name: array}.

    Raises:
        zoo.errors.UserError: if a stage of an image network is called "error".
    """
    if not trained.vocabulary and "error" in zoo.stages(trained.model):
        raise UserError("Expected stages with names of their own. Received: error, which the signature stages answers too.")
    used = tf.Module()
    used.weights = [weight.value for weight in trained.model.weights if not _constant(weight)]
    used.lookup = trained.vocabulary and trained.vocabulary.lookup(trained.run / "vocab.txt")
    tf.saved_model.save(used, str(path), _text(trained, used.lookup) if trained.vocabulary else _images(trained))
    examples = trained.examples
    if trained.vocabulary:
        return {"serving_default": examples, "features": examples}
    pixels = examples.astype("float32")
    return {"serving_default": pixels, "serving_uint8": examples, "features": pixels,
            "from_bytes": np.array([tf.io.encode_png(image).numpy() for image in examples])}


def _images(trained):
    shape = trained.model.input.shape[1:]
    pixels, whole, encoded = (tf.TensorSpec((None, *shape), tf.float32, name="image"),
                              tf.TensorSpec((None, *shape), tf.uint8, name="image"),
                              tf.TensorSpec((None,), tf.string, name="image_bytes"))
    answers = _answers(trained, pixels)
    decoded = _function(lambda image_bytes: _decoded(image_bytes, shape, trained.recipe.resize), encoded)

    def from_bytes(image_bytes):
        images, error = decoded(image_bytes)
        return _without_bad(answers(images)[0], error)

    def stages(image_bytes):
        images, error = decoded(image_bytes)
        return answers(images)[2] | {"error": error}

    signatures = {
        "serving_default": _function(lambda image: answers(image)[0], pixels),
        "serving_uint8": _function(lambda image: answers(tf.cast(image, tf.float32))[0], whole),
        "from_bytes": _function(from_bytes, encoded),
        "features": _function(lambda image: {"features": answers(image)[1]}, pixels)}
    if zoo.stages(trained.model):
        signatures["stages"] = _function(stages, encoded)
    return signatures


def _text(trained, lookup):
    sentences = tf.TensorSpec((None,), tf.string, name="text")
    answers = _answers(trained, sentences, lambda text: token_ids(text, lookup, trained.recipe.max_tokens))
    return {"serving_default": _function(lambda text: answers(text)[0], sentences),
            "features": _function(lambda text: {"features": answers(text)[1]}, sentences),
            "stages": _function(lambda text: answers(text)[2], sentences)}


def _function(python_function, spec):
    return tf.function(python_function, input_signature=[spec], autograph=False)


def _answers(trained, spec, prepare=lambda inputs: inputs):
    """A tf.function from what `spec` describes to (answers, features, maps by stage); what is unused is not computed."""
    stages = list(zoo.stages(trained.model))
    maps = zoo.features(trained.model, stages).output if stages else {}
    network = _inference(keras.Model(trained.model.input, (trained.model.output, trained.features, maps)))

    def answers(inputs):
        logits, features, maps = network(prepare(inputs))
        names, probabilities = tf.constant(trained.class_names), tf.nn.softmax(logits)
        class_id, best = tf.argmax(probabilities, axis=1), tf.math.top_k(probabilities, min(BEST, len(trained.class_names)))
        return {"probabilities": probabilities, "class_id": class_id, "label": tf.gather(names, class_id),
                "top_k": tf.gather(names, best.indices), "top_k_probabilities": best.values}, features, maps
    return _function(answers, spec)


def _inference(model):
    """The Keras model as a function, with `CONSTANT` kept to."""
    weights = [[weight.numpy() if _constant(weight) else weight.value for weight in part]
               for part in (model.trainable_variables, model.non_trainable_variables)]
    return lambda inputs: model.stateless_call(
        *([tf.convert_to_tensor(weight) for weight in part] for part in weights), inputs, training=False)[0]


def _constant(weight):
    return 4 * math.prod(weight.shape) <= CONSTANT


def _decoded(image_bytes, shape, resize):
    """(images, errors): float32 (n, *shape), black where the bytes are no image; string (n,), empty where they are one.

    An operation that fails takes the whole graph with it, but in a dataset only its element: what cannot be decoded drops
    out, and the rest go where they belong. An element at the end keeps the batch from being empty.
    """
    count = tf.size(image_bytes, tf.int64)
    read = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate().map(lambda place, data: (
        place, tf.squeeze(fit_to(tf.expand_dims(decode(data), 0), shape, resize), 0))).ignore_errors()
    end = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), tf.zeros(shape, tf.uint8)))
    places, images = read.concatenate(end).batch(count + 1).get_single_element()
    images = tf.math.unsorted_segment_sum(tf.cast(images, tf.float32), places, count)  # one image a place; -1 is none
    good = tf.math.unsorted_segment_sum(tf.ones_like(places), places, count) > 0
    return tf.ensure_shape(images, (None, *shape)), tf.where(good, "", BAD_IMAGE)


def _without_bad(answers, error):
    good = error == ""
    nothing, column, kept = {"class_id": tf.constant(-1, tf.int64)}, good[:, None], {}
    for name, answer in answers.items():
        kept[name] = tf.where(good if answer.shape.rank == 1 else column, answer,
                              nothing.get(name, "" if answer.dtype == tf.string else 0.0))
    return kept | {"error": error}
