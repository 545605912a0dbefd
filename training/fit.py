"""`train`: from a recipe to a run directory with a trained network, its history and its score on the test images."""
import contextlib
import csv
import io
import json
import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import zoo
from training import data, evaluate, figures, optimize, pipeline, precision, text_data
from training.augment import check
from training.checkpoint import Checkpoint, packed
from training.progress import Report
from training.run_dir import claim, write
from zoo.errors import UserError
from zoo.inception import AUX_WEIGHT

_EXAMPLES = 32  # test examples that a run keeps, to check its exports with


def train(recipe, run, data_dir=None, log=True):
    """Train by `recipe` in the directory `run`; if an interrupted run of it is there, go on where it stopped.

    Writes into `run`: recipe.json, checkpoint.npz and best.npz while it trains, TensorBoard events in tensorboard/, then
    model.keras (float32, the best epoch), examples.npz, history.csv, curves.png, confusion.png and, last, metrics.json.

    Args:
        recipe: a `training.recipes.Recipe`.
        run: path of the run directory.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        log: whether to print progress.

    Returns:
        The content of metrics.json, a dict.

    Raises:
        zoo.errors.UserError: if the recipe, the data or the run directory will not do; nothing is overwritten.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Training needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}.")
    with claim(run, recipe) as run:
        if (run / "metrics.json").exists():
            return json.loads((run / "metrics.json").read_text())
        policy = precision.resolve(recipe.precision)
        dataset, build = prepare(recipe, data_dir, cache_dir=run, say=print if log else None)
        state = fit(recipe, run, dataset, build, log)
        return _finish(build(), dataset, recipe, run, state, policy)


def fit(recipe, run, dataset, build, log=True, until=None, callbacks=()):
    """Train up to the end of the epoch `until`, by default of the last, without a look at the test part.

    What is there of an interrupted training in `run` goes on. `dataset` and `build` are what `prepare` returned.

    Returns:
        The `training.checkpoint.Checkpoint`, with the history and the best epoch.
    """
    keras.utils.set_random_seed(recipe.seed)
    steps = pipeline.steps_per_epoch(dataset.train, recipe.batch)
    with _dtype_policy(precision.resolve(recipe.precision)):
        model = build()
        compile_model(model, recipe, steps)
    write(run / "recipe.json", recipe.to_json())
    return _fit(model, dataset, recipe, run, steps, log, until or recipe.epochs, callbacks)


def prepare(recipe, data_dir=None, **told):
    """Return the recipe's `training.data.Dataset` and a function without arguments that builds its network for it.

    `told` are cache_dir and say of `training.data.load`.
    """
    spec = zoo.spec(recipe.model)
    args = dict(recipe.model_args)
    if text_data.is_text(recipe.data, data_dir):
        _refuse_mismatch(spec, "vocab_size", recipe, "sentences")
        dataset = text_data.load(recipe, data_dir)
        args |= {"vocab_size": len(dataset.vocabulary), "classes": len(dataset.class_names)}
        return dataset, lambda: zoo.build(recipe.model, **args)
    _refuse_mismatch(spec, "input_shape", recipe, "images")
    if "input_shape" not in args:
        args["input_shape"] = (*spec.defaults["input_shape"][:2], data.own_shape(recipe.data, data_dir)[-1])
    check(recipe.augment, args["input_shape"][-1])
    dataset = data.load(recipe.data, tuple(args["input_shape"]), validation=recipe.validation, seed=recipe.seed,
                        data_dir=data_dir, resize=recipe.resize, skip_bad=recipe.skip_bad, **told)
    if recipe.normalise:
        args["mean"], args["std"] = dataset.statistics
    args["classes"] = len(dataset.class_names)
    return dataset, lambda: zoo.build(recipe.model, **args)


def _refuse_mismatch(spec, argument, recipe, kind):
    if argument not in spec.defaults:
        raise UserError(f"{recipe.model} does not take {kind}, and those of {recipe.data} are {kind}.")


@contextlib.contextmanager
def _dtype_policy(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compile_model(model, recipe, steps):
    """Cross-entropy and accuracy; where auxiliary heads end in a dict of logits, theirs count AUX_WEIGHT each."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    weights = None
    if isinstance(model.output, dict):
        weights = {head: 1.0 if head == "logits" else AUX_WEIGHT for head in model.output}
        loss = dict.fromkeys(model.output, loss)
    model.compile(optimize.optimizer(recipe, steps), loss, loss_weights=weights, jit_compile=False,
                  metrics={"logits": ["accuracy"]} if weights else ["accuracy"])


def _for_heads(model, batches):
    """The batches with the labels once for each head of `model`."""
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda images, labels, *weights: (images, dict.fromkeys(model.output, labels), *weights))


def _fit(model, dataset, recipe, run, steps, log, until, callbacks):
    """Fit the rest of an interrupted epoch, if there is one, and then the epochs that are left up to `until`."""
    state = Checkpoint(run, steps)
    state.restore(model)
    report = Report(recipe.epochs, steps, state, quiet=not log)
    callbacks = [state, report, keras.callbacks.TensorBoard(run / "tensorboard"), *callbacks]
    classes = len(dataset.class_names)
    validation = dataset.validation
    if validation:
        validation = _for_heads(model, pipeline.batches(validation, recipe.batch, classes))
    try:
        for pause in (-(-state.step // steps), until):
            epoch, begun = divmod(state.step, steps)
            if epoch < pause:
                batches = pipeline.training_batches(dataset.train, recipe, classes, first=state.step)
                model.fit(_for_heads(model, batches), initial_epoch=epoch, epochs=pause, steps_per_epoch=steps - begun,
                          shuffle=False, validation_data=validation, callbacks=callbacks, verbose=0)
    finally:
        report.close()
    return state


def _finish(model, dataset, recipe, run, state, policy):
    """Write what a finished training leaves; `model` is a fresh float32 network."""
    state.load_best(model)
    if isinstance(model.output, dict):  # auxiliary heads have done their work
        model = keras.Model(model.input, model.output["logits"], name=model.name)
    temporary = run / ".model.keras"
    model.save(temporary)
    os.replace(temporary, run / "model.keras")
    scores = evaluate.score(model, dataset.test, dataset.class_names)
    shown = np.arange(min(_EXAMPLES, len(dataset.test)))
    if dataset.vocabulary:
        write(run / "vocab.txt", str(dataset.vocabulary))
        examples = np.array([text.encode() for text in dataset.test.texts[dataset.test.rows[shown]]])
    else:
        examples = dataset.test.take(shown)
    write(run / "examples.npz", packed(examples=examples, labels=dataset.test.labels[shown]))
    write(run / "history.csv", _csv(state.history))
    write(run / "curves.png", _png(figures.curves(state.history)))
    write(run / "confusion.png", _png(figures.confusion(np.array(scores["confusion"]), dataset.class_names)))
    metrics = {
        "recipe": recipe.name, "model": recipe.model, "data": recipe.data,
        **{f"test_{key}": value for key, value in scores.items()},
        "best_epoch": state.best(), "weights": model.count_params(), "input_shape": list(model.input.shape[1:]),
        "seconds": round(state.seconds, 1),
        "images_per_second": round(recipe.epochs * len(dataset.train) / state.seconds),
        "precision": policy, "seed": recipe.seed, "machine": machine(),
        "versions": {name: version(name) for name in ("classic-zoo", "tensorflow", "keras", "numpy")},
        "python": platform.python_version(), "commit": _commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "class_names": dataset.class_names,
    }
    write(run / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def machine():
    """Return what this computes on, in words: processor, cores and GPUs."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    gpus = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
            for gpu in tf.config.list_physical_devices("GPU")]
    return ", ".join([found[1] if found else platform.machine(), f"{os.cpu_count()} cores", *gpus])


def _commit():
    """The commit of the checkout that this code stands in, None where it is installed."""
    here = Path(__file__).parents[1]
    if not (here / ".git").exists():
        return None
    said = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return said.stdout.strip() or None


def _csv(history):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
