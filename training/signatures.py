"""The SavedModel: from pixels, encoded images or sentences to probabilities and labels, in TensorFlow's own operations.

Endpoints without `track`, which would write every weight a second time; and one function that all of them call, which would
else be written once for each.
"""
import keras
import numpy as np
import tensorflow as tf

import zoo
from training.images import decode, fit_to
from training.vocabulary import token_ids

BEST = 5  # classes in top_k
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
    - stages, `image_bytes` as of from_bytes: each stage's maps by name, float32 (batch, height, width, channels).
    Of a text network they are serving_default and features, `text`: UTF-8 strings of shape (batch,).
    All but features answer probabilities, float32 (batch, classes); class_id, int64 (batch,); label, string (batch,); and
    the best k, 5 or all classes, the most likely first: top_k, their labels, string (batch, k), and top_k_probabilities.

    Returns:
        What each signature is to be asked for a comparison with the network on `trained.examples`: {name: array}.
    """
    archive = keras.export.ExportArchive()
    (_text if trained.vocabulary else _images)(archive, trained)
    archive.write_out(str(path), verbose=False)
    examples = trained.examples
    if trained.vocabulary:
        return {"serving_default": examples, "features": examples}
    pixels = examples.astype("float32")
    return {"serving_default": pixels, "serving_uint8": examples, "features": pixels,
            "from_bytes": np.array([tf.io.encode_png(image).numpy() for image in examples])}


def _images(archive, trained):
    shape = trained.model.input.shape[1:]
    pixels, whole, encoded = (tf.TensorSpec((None, *shape), tf.float32, name="image"),
                              tf.TensorSpec((None, *shape), tf.uint8, name="image"),
                              tf.TensorSpec((None,), tf.string, name="image_bytes"))
    answers = _answers(trained, pixels)
    decoded = tf.function(lambda image_bytes: _decoded(image_bytes, shape, trained.recipe.resize), input_signature=[encoded],
                          autograph=False)

    def from_bytes(image_bytes):
        images, good = decoded(image_bytes)
        return _without_bad(answers(images)[0], good)

    archive.add_endpoint("serving_default", lambda image: answers(image)[0], [pixels])
    archive.add_endpoint("serving_uint8", lambda image: answers(tf.cast(image, tf.float32))[0], [whole])
    archive.add_endpoint("from_bytes", from_bytes, [encoded])
    archive.add_endpoint("features", lambda image: {"features": answers(image)[1]}, [pixels])
    if zoo.stages(trained.model):
        archive.add_endpoint("stages", lambda image_bytes: answers(decoded(image_bytes)[0])[2], [encoded])


def _text(archive, trained):
    lookup = trained.vocabulary.lookup(trained.run / "vocab.txt")
    archive.track(lookup)  # the table of words is no variable, and its file has to go along
    sentences = tf.TensorSpec((None,), tf.string, name="text")
    answers = _answers(trained, sentences, lambda text: token_ids(text, lookup, trained.recipe.max_tokens))
    archive.add_endpoint("serving_default", lambda text: answers(text)[0], [sentences])
    archive.add_endpoint("features", lambda text: {"features": answers(text)[1]}, [sentences])


def _answers(trained, spec, prepare=lambda inputs: inputs):
    """A tf.function from what `spec` describes to (answers, features, maps by stage); what is unused is not computed."""
    stages = list(zoo.stages(trained.model))
    maps = zoo.features(trained.model, stages).output if stages else {}
    network = keras.Model(trained.model.input, (trained.model.output, trained.features, maps))
    names = tf.constant(trained.class_names)

    def answers(inputs):
        logits, features, maps = network(prepare(inputs), training=False)
        probabilities = tf.nn.softmax(logits)
        class_id, best = tf.argmax(probabilities, axis=1), tf.math.top_k(probabilities, min(BEST, len(trained.class_names)))
        return {"probabilities": probabilities, "class_id": class_id, "label": tf.gather(names, class_id),
                "top_k": tf.gather(names, best.indices), "top_k_probabilities": best.values}, features, maps
    return tf.function(answers, input_signature=[spec], autograph=False)


def _decoded(image_bytes, shape, resize):
    """(images, whether each is one): float32 (n, *shape), black where the bytes are no image; bool (n,).

    An operation that fails takes the whole graph with it, but in a dataset only its element: what cannot be decoded drops
    out, and the rest go where they belong. An element past the end keeps the batch from being empty.
    """
    count = tf.size(image_bytes, tf.int64)
    read = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate().map(
        lambda place, data: (place, fit_to(decode(data)[None], shape, resize)[0])).ignore_errors()
    end = tf.data.Dataset.from_tensors((count, tf.zeros(shape, tf.uint8)))
    places, images = read.concatenate(end).batch(count + 1).get_single_element()
    images = tf.scatter_nd(places[:, None], tf.cast(images, tf.float32), (count + 1, *shape))[:-1]
    good = tf.scatter_nd(places[:, None], tf.ones_like(places), [count + 1])[:-1] > 0
    return tf.ensure_shape(images, (None, *shape)), good


def _without_bad(answers, good):
    nothing = {"class_id": tf.constant(-1, tf.int64)}
    kept = {}
    for name, answer in answers.items():
        mask = good if answer.shape.rank == 1 else good[:, None]
        kept[name] = tf.where(mask, answer, nothing.get(name, "" if answer.dtype == tf.string else 0.0))
    return kept | {"error": tf.where(good, "", BAD_IMAGE)}
