"""The SavedModel: from pixels, encoded images or sentences to probabilities and labels.

Everything is a TensorFlow operation. TensorFlow writes the graph, because Keras's `export` would
write every weight twice. It is a graph without objects, as in TensorFlow 1, which every loader
reads: a file with objects holds each signature two or three times. All signatures call one
function, which would otherwise be written once for each.
"""
import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import zoo
from zoo.errors import UserError
from zoo.training.deployment import keras_model
from zoo.training.preprocessing.images import decode, fit_to
from zoo.training.preprocessing.pillow_images import BAD_IMAGE
from zoo.training.preprocessing.text import lookup_table, token_ids
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.recipe import Recipe
from zoo.training.trained import Trained

TOP_K = 5
# Up to this number of bytes a weight is a constant of the graph, larger ones are variables.
# TensorFlow computes in advance what depends on constants alone, most of batch normalisation, and
# writes nothing to save and restore them. A large constant takes several times its size in memory.
CONSTANT_LIMIT = 200_000

Tensors = dict[str, tf.Tensor]
Signatures = dict[str, tuple[Tensors, Tensors]]  # {name: (inputs, outputs)}


def write(trained: Trained, path: Path) -> dict[str, np.ndarray]:
    """Write the SavedModel of a trained network into the directory `path`, new or empty.

    The signatures of an image network are
    - serving_default, `image`: float32 pixels in [0, 255], of shape (batch, height, width,
      channels);
    - serving_uint8, `image`: the same as uint8, a quarter of the bytes;
    - from_bytes, `image_bytes`: strings of shape (batch,), each a JPEG, PNG, GIF, BMP or WebP file
      of any size. It also returns `error`, string (batch,): empty, or the reason why the image
      cannot be used. Such an image has the class_id -1, the label "" and probabilities of 0; the
      other images of the batch are not affected;
    - features, `image` as for serving_default: `features`, float32, the input of the last layer;
    - stages, `image_bytes` as for from_bytes: the feature maps of each stage by its name, float32
      (batch, height, width, channels), and `error`. An image that cannot be used counts as black.

    Those of a text network are serving_default, features and stages, `text`: UTF-8 strings of shape
    (batch,). The feature maps are float32 (batch, tokens, maps) or, after the maximum over time,
    (batch, maps).

    The other outputs are probabilities, float32 (batch, classes); class_id, int64 (batch,); label,
    string (batch,); and for the k most likely classes, 5 or all if there are fewer, in descending
    order: top_k, their labels, string (batch, k), and top_k_probabilities.

    Returns:
        {signature: array}, the inputs that compare signatures with the network on
        `trained.examples`.

    Raises:
        zoo.errors.UserError: if a stage of an image network has the name "error".
    """
    if not trained.vocabulary and "error" in zoo.stages(trained.model):
        raise UserError("Expected no stage named \"error\", which is an output of the signature "
                        "\"stages\". Received: error.")
    model, weights = _model(trained)
    names = {path: f"weight_{number}" for number, (path, _) in enumerate(itertools.chain(*weights))}
    with (tf.Graph().as_default() as graph, tf.compat.v1.Session() as session,
          _vocabulary_file(trained.vocabulary) as file):
        run = _shared_function(model, weights, names, trained.class_names)
        if trained.vocabulary:
            signatures = _text(trained, trained.vocabulary, file, run)
        else:
            signatures = _images(trained, run)
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session, [tf.saved_model.SERVING],
            {name: _signature(*tensors) for name, tensors in signatures.items()},
            assets_collection=graph.get_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.compat.v1.tables_initializer(), strip_default_attrs=True,
            saver=tf.compat.v1.train.Saver(allow_empty=True))
        builder.save()
    _strip(path / "saved_model.pb")
    keras_model.write(trained.model, names, path)
    examples = trained.examples
    if trained.vocabulary:
        return {"serving_default": examples, "features": examples}
    pixels = examples.astype("float32")
    return {"serving_default": pixels, "serving_uint8": examples, "features": pixels,
            "from_bytes": np.array([tf.io.encode_png(_uncut(image, trained.recipe)).numpy()
                                    for image in examples])}


def _uncut(image: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return an image of whose file the network sees `image`: what eval_resize cuts is black."""
    if not recipe.eval_resize:
        return image
    before = [(recipe.eval_resize - side) // 2 for side in image.shape[:2]]
    after = [recipe.eval_resize - side - first
             for side, first in zip(image.shape[:2], before, strict=True)]
    return np.pad(image, [*zip(before, after, strict=True), (0, 0)])


def _images(trained: Trained, run: Callable) -> Signatures:
    shape = (None, *trained.model.input.shape[1:])
    image = tf.compat.v1.placeholder(tf.float32, shape, "image")
    image_uint8 = tf.compat.v1.placeholder(tf.uint8, shape, "image_uint8")
    image_bytes = tf.compat.v1.placeholder(tf.string, (None,), "image_bytes")
    decoded, error = _decode(image_bytes, shape[1:], trained.recipe)
    cast = tf.cast(image_uint8, tf.float32)
    outputs, features, _ = run(image)
    outputs_of_uint8, _, _ = run(cast)
    outputs_of_bytes, _, maps = run(decoded)
    signatures = {
        "serving_default": ({"image": image}, outputs),
        "serving_uint8": ({"image": image_uint8}, outputs_of_uint8),
        "from_bytes": ({"image_bytes": image_bytes}, _mask_bad(outputs_of_bytes, error)),
        "features": ({"image": image}, {"features": features})}
    if maps:
        signatures["stages"] = ({"image_bytes": image_bytes}, {**maps, "error": error})
    return signatures


@contextlib.contextmanager
def _vocabulary_file(vocabulary: Vocabulary | None) -> Iterator[Path]:
    """Yield a file of the vocabulary; that of an old run may have words that are not normalized."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "vocab.txt")
        file.write_text(str(vocabulary or ""), encoding="utf-8")
        yield file


def _text(trained: Trained, vocabulary: Vocabulary, file: Path, run: Callable) -> Signatures:
    text = tf.compat.v1.placeholder(tf.string, (None,), "text")
    lookup = lookup_table(vocabulary, file)
    ids = token_ids(text, lookup, trained.recipe.max_tokens, vocabulary.unit)
    outputs, features, maps = run(ids)
    return {"serving_default": ({"text": text}, outputs),
            "features": ({"text": text}, {"features": features}),
            "stages": ({"text": text}, maps)}


def _model(trained: Trained) -> tuple[keras.Model, list[list[tuple[str, np.ndarray]]]]:
    """Return the model from inputs to (logits, features, feature maps), and its weights.

    The weights are two lists of (name, value): the trainable ones, and the others.
    """
    stages = list(zoo.stages(trained.model))
    maps = zoo.features(trained.model, stages).output if stages else {}
    model = keras.Model(trained.model.input, (trained.model.output, trained.features, maps))
    return model, [[(weight.path, weight.numpy()) for weight in weights]
                   for weights in (model.trainable_variables, model.non_trainable_variables)]


def _shared_function(model: keras.Model, weights: Sequence[Sequence[tuple[str, np.ndarray]]],
                     names: Mapping[str, str], class_names: Sequence[str]) -> Callable:
    """Return a tf.function from inputs to (outputs, features, feature maps by stage).

    A signature computes only what it uses of them. The nodes of the weights have the names
    {path of the weight: name}, by which `keras_model.load` reads them.
    """
    constants = [[(names[path], _weight(names[path], value)) for path, value in group]
                 for group in weights]

    @tf.function(autograph=False)
    def run(inputs):
        # The outer scope keeps Keras from initializing other models' variables in this graph.
        with keras.StatelessScope(initialize_variables=False):
            (logits, features, maps), _ = model.stateless_call(
                *([tf.convert_to_tensor(weight, name=name) for name, weight in group]
                  for group in constants),
                inputs, training=False)
        names, probabilities = tf.constant(class_names), tf.nn.softmax(logits)
        class_id = tf.argmax(probabilities, axis=1)
        best = tf.math.top_k(probabilities, min(TOP_K, len(class_names)))
        return {"probabilities": probabilities, "class_id": class_id,
                "label": tf.gather(names, class_id), "top_k": tf.gather(names, best.indices),
                "top_k_probabilities": best.values}, features, maps
    return run


def _weight(name: str, value: np.ndarray) -> np.ndarray | tf.Variable:
    """Return the value, or a variable of the default session; see `CONSTANT_LIMIT`."""
    if value.nbytes <= CONSTANT_LIMIT:
        return value
    start = tf.compat.v1.placeholder(value.dtype, value.shape)
    variable = tf.Variable(start, trainable=False, name=name)
    tf.compat.v1.get_default_session().run(variable.initializer, {start: value})
    return variable


def _signature(inputs: Tensors, outputs: Tensors) -> SignatureDef:
    inputs, outputs = ({name: TensorInfo(name=tensor.name, dtype=tensor.dtype.as_datatype_enum,
                                         tensor_shape=tensor.shape.as_proto())
                        for name, tensor in tensors.items()} for tensors in (inputs, outputs))
    return tf.compat.v1.saved_model.build_signature_def(inputs, outputs,
                                                        tf.saved_model.PREDICT_METHOD_NAME)


def _strip(path: Path) -> None:
    """Remove what TensorFlow infers again when it loads the graph: 5 % of LeNet-5's file."""
    model = SavedModel.FromString(path.read_bytes())
    (meta,) = model.meta_graphs
    meta.meta_info_def.ClearField("stripped_op_list")
    functions = meta.graph_def.library.function
    described: list[Any] = [*meta.graph_def.node, *functions]
    for function in functions:
        described += [*function.node_def, *function.arg_attr.values()]
    for item in described:
        for name in ("_output_shapes", "_input_shapes"):
            item.attr.pop(name, None)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _decode(image_bytes: tf.Tensor, shape: Sequence[int],
            recipe: Recipe) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images and errors of encoded images.

    A failing operation fails the whole graph, but in a dataset only its element: images that cannot
    be decoded drop out, and the others keep their index. One more element at the end keeps the
    batch from being empty.

    Returns:
        Images, float32 (n, *shape), black where the bytes cannot be used; and errors, string
        (n,), the reason, empty where they can.
    """
    count = tf.size(image_bytes, tf.int64)
    images = tf.data.Dataset.from_tensor_slices((tf.range(count, dtype=tf.int64), image_bytes))

    def prepare(index, data):
        image, error = decode(data, recipe.background)
        image = tf.squeeze(fit_to(tf.expand_dims(image, 0), shape, recipe.resize,
                                  recipe.eval_resize), 0)
        return index, tf.where(tf.equal(error, ""), image, 0), error
    images = images.map(prepare).ignore_errors()
    # the end has the index after the last
    end = tf.data.Dataset.from_tensors((count, tf.zeros(shape, tf.uint8), tf.constant("")))
    batch = images.concatenate(end).batch(count + 1)
    indices, images, errors = batch.get_single_element()
    images = tf.math.unsorted_segment_sum(tf.cast(images, tf.float32), indices, count + 1)
    errors = tf.tensor_scatter_nd_update(
        tf.fill([count + 1], BAD_IMAGE), tf.expand_dims(indices, 1), errors)
    return tf.ensure_shape(images[:-1], (None, *shape)), errors[:-1]


def _mask_bad(outputs: Tensors, error: tf.Tensor) -> Tensors:
    """Return `outputs` with class_id -1, empty labels and zeros where there is an error."""
    good = tf.equal(error, "")  # outside of functions == compares the tensors themselves
    empty = {"class_id": tf.constant(-1, tf.int64)}
    column, masked = tf.expand_dims(good, 1), {}
    for name, output in outputs.items():
        masked[name] = tf.where(good if output.shape.rank == 1 else column, output,
                                empty.get(name, "" if output.dtype == tf.string else 0.0))
    return {**masked, "error": error}
