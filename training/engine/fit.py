"""`train`: from a recipe to a run directory with a trained network, its history and its score on the test images."""
import contextlib
from pathlib import Path

import keras
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data import pipeline
from zoo.training.engine import distribution, precision
from zoo.training.engine.checkpoint import Checkpoint
from zoo.training.engine.finish import finish, keep_manifest, manifest, weights_fingerprint
from zoo.training.engine.freezing import freeze
from zoo.training.engine.prepare import check_memory, compile_model, labels_per_head, prepare
from zoo.training.engine.progress import Report
from zoo.training.files import read_json, write
from zoo.training.run_dir import claim


def train(recipe, run, data_dir=None, log=True, strategy="none", deterministic=False):
    """Train by `recipe` in the directory `run`; if an interrupted run of it is there, go on where it stopped.

    Writes into `run`: recipe.json, manifest.json, checkpoint.npz and best.npz while it trains, TensorBoard events in
    tensorboard/, then model.keras (float32, the best epoch), examples.npz, history.csv, curves.png, confusion.png and, last,
    metrics.json.

    Args:
        recipe: a `zoo.training.recipes.Recipe`.
        run: path of the run directory.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        log: whether to print progress.
        strategy: how several devices share a batch, one of `zoo.training.engine.distribution.STRATEGIES`.
        deterministic: refuse operations that may differ from run to run. On a CPU none does; on a GPU it costs time.

    Returns:
        The content of metrics.json, a dict; None in a process of "multi_worker" that is not the first.

    Raises:
        zoo.errors.UserError: if the recipe, the data or the run directory will not do, the loss diverges, or memory or disk
            are exhausted; nothing is overwritten, and the last checkpoint stays whole.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Training needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}.")
    say = print if log else lambda line: None
    devices = distribution.make(strategy, recipe, deterministic)
    chief = distribution.is_chief(devices)
    with claim(run, recipe) if chief else contextlib.nullcontext(Path(run)) as run:
        if (run / "metrics.json").exists():
            return read_json(run / "metrics.json")
        policy = precision.resolve(recipe.precision)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        dataset, build = prepare(recipe, data_dir, cache_dir=run, say=say)
        model, steps = _compiled(recipe, dataset, build, devices)
        with _told_in_a_line(run, recipe, strategy):
            if chief:
                write(run / "recipe.json", recipe.to_json())  # first: it makes a directory a run's
                flags = {"precision": policy, "strategy": strategy, "deterministic": deterministic}
                if recipe.model_args.get("weights") is not None:  # the recipe says only where they are from
                    flags["weights_fingerprint"] = weights_fingerprint(model)
                keep_manifest(run, manifest(recipe, dataset, **flags), say)
            state = _fit(model, dataset, recipe, run, steps, log, chief)
            return finish(build(), dataset, recipe, run, state) if chief else None


def fit(recipe, run, dataset, build, log=True, until=None):
    """Train up to the end of the epoch `until`, by default the last, without a look at the test part.

    What is there of an interrupted training in `run` goes on. `dataset` and `build` are what `prepare` returned.

    Returns:
        The `zoo.training.engine.checkpoint.Checkpoint`, with the history and the best epoch.
    """
    model, steps = _compiled(recipe, dataset, build, distribution.make("none", recipe))
    write(run / "recipe.json", recipe.to_json())
    with _told_in_a_line(run, recipe, "none"):
        return _fit(model, dataset, recipe, run, steps, log, until=until)


def _compiled(recipe, dataset, build, devices):
    """Return the recipe's network, compiled, and the number of batches in an epoch."""
    keras.utils.set_random_seed(recipe.seed)
    steps = pipeline.steps_per_epoch(dataset.train, recipe.batch_size)
    distribution.refuse_empty_share(len(dataset.train), recipe, devices)
    with devices.scope(), _dtype_policy(precision.resolve(recipe.precision)):
        model = distribution.synchronised(build(), devices)
        if devices.num_replicas_in_sync == 1:
            check_memory(model, min(recipe.batch_size, len(dataset.train)))
        compile_model(model, recipe, steps)
    return model, steps


@contextlib.contextmanager
def _dtype_policy(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _told_in_a_line(run, recipe, strategy):
    """Turn a disk or memory that is exhausted, or a machine that is gone, into one line that says what to do."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise UserError(f"Out of memory with batches of {recipe.batch_size}. Try --set batch_size={max(recipe.batch_size // 2, 1)} with a "
                        f"new --run; with --set accumulation_steps=2 an update still sees {recipe.batch_size} examples.") from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError) as error:
        if strategy != "multi_worker":
            raise
        raise UserError(f"Another worker is gone ({type(error).__name__}). Start the same command on every machine again: it "
                        "goes on from the last checkpoint.") from None
    except OSError as error:
        raise UserError(f"Cannot write {run}: {error.strerror}. The last checkpoint is whole: make room and run the same "
                        "command again.") from None


def _fit(model, dataset, recipe, run, steps, log, chief=True, until=None):
    """Fit the rest of an interrupted epoch, if there is one, and then the epochs that are left, all or up to `until`."""
    state = Checkpoint(run, steps, recipe.patience, writes=chief)
    state.restore(model)
    report = Report(recipe.epochs, steps, state, quiet=not log)
    callbacks = [state, report, *[keras.callbacks.TensorBoard(run / "tensorboard")] * chief]
    if recipe.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights())  # the averages are what is validated
    classes, devices, validation = len(dataset.class_names), model.distribute_strategy, {}
    if dataset.validation:
        batches = labels_per_head(model, pipeline.batches(dataset.validation, recipe.batch_size, classes))
        validation = {"validation_data": distribution.shared(batches, devices, divide=False),
                      "validation_steps": pipeline.steps_per_epoch(dataset.validation, recipe.batch_size)}
    resting = [layer.name for layer in model.layers if not layer.trainable]
    try:
        for pause in _pauses(recipe, -(-state.step // steps), until or recipe.epochs):
            epoch, begun = divmod(state.step, steps)
            if epoch < pause and not state.stopped:
                freeze(model, recipe, epoch, resting)
                batches = labels_per_head(model, pipeline.training_batches(dataset.train, recipe, classes, first=state.step))
                model.fit(distribution.shared(batches, devices, divide=True), initial_epoch=epoch, epochs=pause,
                          steps_per_epoch=steps - begun, shuffle=False, callbacks=callbacks, verbose=0, **validation)
    finally:
        report.close()
    return state


def _pauses(recipe, begun, until):
    """The epochs before which fit has to be called anew: after an interrupted one, and where a stage is thawed."""
    return sorted({begun, *(range(recipe.unfreeze_every, until, recipe.unfreeze_every) if recipe.unfreeze_every else ()), until})
