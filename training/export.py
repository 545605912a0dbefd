"""From a run to a SavedModel that takes pixels or encoded images and answers with labels, checked before it is handed over."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import zoo
from training import evaluate, reload_check
from training.images import decode, fit_to
from training.vocabulary import token_ids
from zoo.errors import UserError

_TOLERANCE = 1e-5  # of a probability: the same float32 operations, fused otherwise


def export(run, to=None, force=False):
    """Write the trained network of `run` as a SavedModel into the directory `to`, by default saved_models/RECIPE.

    Of an image network its signatures are serving_default, `image`: float32 pixels in [0, 255] of shape (batch, height,
    width, channels), and from_bytes, `image_bytes`: strings of shape (batch,), each a JPEG, PNG, GIF, BMP or WebP file of any
    size. Of a text network it is serving_default, `text`: UTF-8 strings of shape (batch,). All answer probabilities, float32
    (batch, classes); class_id, int64 (batch,); label, string (batch,). It is written beside `to`, reloaded in a process that
    has TensorFlow and no Keras, compared on test examples, and only then renamed.

    Returns:
        A dict: path, bytes, examples, difference (the largest of a probability).

    Raises:
        zoo.errors.UserError: if there is no finished run, `to` exists and not `force`, it cannot be written, or the
            reloaded network answers otherwise. Nothing is left behind then.
    """
    model, metrics, recipe = evaluate.load(run)
    to = Path(to or f"saved_models/{recipe.name}")
    if to.exists() and not force:
        raise UserError(f"{to} exists. Choose another --to, or replace it with --force.")
    examples = np.load(f"{run}/examples.npz")["examples"]
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as scratch:
            written = Path(scratch) / "saved_model"
            if (Path(run) / "vocab.txt").exists():
                ids, questions = _text(model, metrics["class_names"], evaluate.vocabulary(run), recipe, examples, written)
            else:
                ids, questions = _images(model, metrics["class_names"], recipe.resize, examples, written)
            difference = _compare(model, metrics["class_names"], ids, questions, written)
            if to.exists():
                os.rename(to, Path(scratch) / "old")
            os.rename(written, to)
    except OSError as error:
        raise UserError(f"Cannot write {to}: {error.strerror}.") from None
    size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    return {"path": str(to), "bytes": size, "examples": len(examples), "difference": difference}


def _answer(model, class_names, inputs):
    probabilities = tf.nn.softmax(model(inputs, training=False))
    class_id = tf.argmax(probabilities, axis=1)
    return {"probabilities": probabilities, "class_id": class_id, "label": tf.gather(class_names, class_id)}


def _images(model, class_names, resize, images, path):
    """Write the SavedModel of an image network; return what to ask the Keras model, and the signatures.

    Endpoints without `track`, which would write every weight a second time.
    """
    shape = model.input.shape[1:]

    def pixels(image_bytes):
        return tf.cast(tf.map_fn(lambda data: fit_to(decode(data)[None], shape, resize)[0], image_bytes,
                                 fn_output_signature=tf.TensorSpec(shape, tf.uint8)), tf.float32)

    archive = keras.export.ExportArchive()
    archive.add_endpoint("serving_default", lambda image: _answer(model, class_names, image),
                         [tf.TensorSpec((None, *shape), tf.float32, name="image")])
    files = [tf.TensorSpec((None,), tf.string, name="image_bytes")]
    archive.add_endpoint("from_bytes", lambda image_bytes: _answer(model, class_names, pixels(image_bytes)), files)
    if names := list(zoo.stages(model)):
        stages = zoo.features(model, names)
        archive.add_endpoint("stages", lambda image_bytes: stages(pixels(image_bytes), training=False), files)
    archive.write_out(str(path), verbose=False)
    files = np.array([tf.io.encode_png(image).numpy() for image in images])
    return images, {"serving_default": images.astype("float32"), "from_bytes": files}


def _text(model, class_names, vocabulary, recipe, texts, path):
    """Write the SavedModel of a text network, the vocabulary inside; return as `_images` does."""
    lookup = vocabulary.lookup()
    archive = keras.export.ExportArchive()
    archive.track(lookup)  # the table of words is no variable
    archive.add_endpoint("serving_default",
                         lambda text: _answer(model, class_names, token_ids(text, lookup, recipe.max_tokens)),
                         [tf.TensorSpec((None,), tf.string, name="text")])
    archive.write_out(str(path), verbose=False)
    return token_ids(tf.constant(texts), lookup, recipe.max_tokens).numpy(), {"serving_default": texts}


def _compare(model, class_names, inputs, questions, written):
    """Return the largest difference of a probability between `model` on `inputs` and what is on disk on `questions`."""
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(inputs, verbose=0)))
    for signature, question in questions.items():
        np.save(written.parent / f"{signature}.npy", question)
    asked = subprocess.run([sys.executable, "-I", reload_check.__file__, written], capture_output=True, text=True)
    if asked.returncode:
        raise UserError(f"The SavedModel could not be run with TensorFlow alone: {asked.stderr.strip().splitlines()[-1]}")
    difference = 0.0
    for signature in questions:
        answers = np.load(written.parent / f"{signature}.npz")
        difference = max(difference, float(np.abs(answers["probabilities"] - expected).max()))
        labels = [name.decode() for name in answers["label"]]
        if difference > _TOLERANCE or labels != [class_names[i] for i in expected.argmax(axis=1)]:
            raise UserError(f"The SavedModel's {signature} answers otherwise than the Keras model: probabilities differ by "
                            f"{difference:.1e}, {_TOLERANCE:.0e} is allowed. Nothing was exported.")
    return difference
