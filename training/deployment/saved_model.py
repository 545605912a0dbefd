"""The SavedModel: from pixels, encoded images or sentences to probabilities and labels, in TensorFlow's own operations.

Written by TensorFlow, as Keras's `export` would write every weight a second time; as a graph without objects, as
TensorFlow 1 wrote it and every loader reads it, since a file with objects has each signature twice or three times over; and
with one function that all signatures call, which would else be written once for each.
"""
import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import zoo
from zoo.errors import UserError
from zoo.training.preprocessing.images import decode, fit_to
from zoo.training.preprocessing.text import token_ids

BEST = 5  # classes in top_k
# Bytes up to which a weight is a constant of the graph, not a variable. TensorFlow then works out ahead what depends on it
# alone, most of batch normalisation, and nothing is written to save and restore it. Large ones cost several times their size
# in memory.
CONSTANT = 200_000
BAD_IMAGE = "no JPEG, PNG, GIF, BMP or WebP image, or damaged"


def write(trained, path):
    """Write the SavedModel of a `zoo.training.trained.Trained` into the directory `path`, new or empty.

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
    model, weights = _model(trained)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        ask = _asking(model, weights, trained.class_names)
        signatures = (_text if trained.vocabulary else _images)(trained, ask)
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session, [tf.saved_model.SERVING], {name: _signature(*ends) for name, ends in signatures.items()},
            assets_collection=graph.get_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.compat.v1.tables_initializer(), strip_default_attrs=True,
            saver=tf.compat.v1.train.Saver(allow_empty=True))
        builder.save()
    _strip(path / "saved_model.pb")
    examples = trained.examples
    if trained.vocabulary:
        return {"serving_default": examples, "features": examples}
    pixels = examples.astype("float32")
    return {"serving_default": pixels, "serving_uint8": examples, "features": pixels,
            "from_bytes": np.array([tf.io.encode_png(image).numpy() for image in examples])}


def _images(trained, ask):
    shape, placeholder = (None, *trained.model.input.shape[1:]), tf.compat.v1.placeholder
    image, whole = placeholder(tf.float32, shape, "image"), placeholder(tf.uint8, shape, "image_uint8")
    image_bytes = placeholder(tf.string, (None,), "image_bytes")
    decoded, error = _decoded(image_bytes, shape[1:], trained.recipe.resize)
    (answers, features, _), (of_whole, _, _), (of_bytes, _, maps) = (
        ask(inputs) for inputs in (image, tf.cast(whole, tf.float32), decoded))
    signatures = {
        "serving_default": ({"image": image}, answers), "serving_uint8": ({"image": whole}, of_whole),
        "from_bytes": ({"image_bytes": image_bytes}, _without_bad(of_bytes, error)),
        "features": ({"image": image}, {"features": features})}
    return signatures | ({"stages": ({"image_bytes": image_bytes}, maps | {"error": error})} if maps else {})


def _text(trained, ask):
    text = tf.compat.v1.placeholder(tf.string, (None,), "text")
    lookup = trained.vocabulary.lookup(trained.run / "vocab.txt")
    answers, features, maps = ask(token_ids(text, lookup, trained.recipe.max_tokens))
    return {"serving_default": ({"text": text}, answers), "features": ({"text": text}, {"features": features}),
            "stages": ({"text": text}, maps)}


def _model(trained):
    """(the model from inputs to (logits, features, maps by stage); the trainable weights and the others, [(name, value)])."""
    stages = list(zoo.stages(trained.model))
    maps = zoo.features(trained.model, stages).output if stages else {}
    model = keras.Model(trained.model.input, (trained.model.output, trained.features, maps))
    return model, [[(weight.path, weight.numpy()) for weight in part]
                   for part in (model.trainable_variables, model.non_trainable_variables)]


def _asking(model, weights, class_names):
    """A tf.function from inputs to (answers, features, maps by stage); what is unused is not computed."""
    parts = [[_weight(name, value) for name, value in part] for part in weights]

    @tf.function(autograph=False)
    def ask(inputs):
        (logits, features, maps), _ = model.stateless_call(
            *([tf.convert_to_tensor(weight) for weight in part] for part in parts), inputs, training=False)
        names, probabilities = tf.constant(class_names), tf.nn.softmax(logits)
        class_id, best = tf.argmax(probabilities, axis=1), tf.math.top_k(probabilities, min(BEST, len(class_names)))
        return {"probabilities": probabilities, "class_id": class_id, "label": tf.gather(names, class_id),
                "top_k": tf.gather(names, best.indices), "top_k_probabilities": best.values}, features, maps
    return ask


def _weight(name, value):
    """The value itself, or a variable of the default session; see `CONSTANT`."""
    if value.nbytes <= CONSTANT:
        return value
    start = tf.compat.v1.placeholder(value.dtype, value.shape)
    variable = tf.Variable(start, trainable=False, name=name)
    tf.compat.v1.get_default_session().run(variable.initializer, {start: value})
    return variable


def _signature(inputs, outputs):
    inputs, outputs = ({name: TensorInfo(name=tensor.name, dtype=tensor.dtype.as_datatype_enum,
                                         tensor_shape=tensor.shape.as_proto()) for name, tensor in ends.items()}
                       for ends in (inputs, outputs))
    return tf.compat.v1.saved_model.build_signature_def(inputs, outputs, tf.saved_model.PREDICT_METHOD_NAME)


def _strip(path):
    """Take out what TensorFlow works out again when it loads the graph: a twentieth of LeNet-5's file."""
    model = SavedModel.FromString(path.read_bytes())
    (meta,) = model.meta_graphs
    meta.meta_info_def.ClearField("stripped_op_list")
    functions = meta.graph_def.library.function
    described = [*meta.graph_def.node, *functions]
    for function in functions:
        described += [*function.node_def, *function.arg_attr.values()]
    for part in described:
        for name in ("_output_shapes", "_input_shapes"):
            part.attr.pop(name, None)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _decoded(image_bytes, shape, resize):
    """(images, errors): float32 (n, *shape), black where the bytes are no image; string (n,), empty where they are one.

    An operation that fails takes the whole graph with it, but in a dataset only its element: what cannot be decoded drops
    out, and the rest go where they belong. An element at the end keeps the batch from being empty.
    """
    count = tf.size(image_bytes, tf.int64)
    read = tf.data.Dataset.from_tensor_slices((tf.range(count, dtype=tf.int64), image_bytes)).map(lambda place, data: (
        place, tf.squeeze(fit_to(tf.expand_dims(decode(data), 0), shape, resize), 0))).ignore_errors()
    end = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), tf.zeros(shape, tf.uint8)))
    places, images = read.concatenate(end).batch(count + 1).get_single_element()
    images = tf.math.unsorted_segment_sum(tf.cast(images, tf.float32), places, count)  # one image a place; -1 is none
    good = tf.math.unsorted_segment_sum(tf.ones_like(places), places, count) > 0
    return tf.ensure_shape(images, (None, *shape)), tf.where(good, "", BAD_IMAGE)


def _without_bad(answers, error):
    good = tf.equal(error, "")  # in a graph that is not a function's == compares the tensors themselves
    nothing, column, kept = {"class_id": tf.constant(-1, tf.int64)}, tf.expand_dims(good, 1), {}
    for name, answer in answers.items():
        kept[name] = tf.where(good if answer.shape.rank == 1 else column, answer,
                              nothing.get(name, "" if answer.dtype == tf.string else 0.0))
    return kept | {"error": error}
