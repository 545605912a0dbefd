"""Training: from a recipe to a run directory with a network, its history and its test scores."""
import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data import pipeline
from zoo.training.data.dataset import Dataset
from zoo.training.data.stream import ImageStream, naming_bad_files
from zoo.training.engine import distribution, precision
from zoo.training.engine.callbacks import CallerCallbacks, state_callbacks
from zoo.training.engine.checkpoint import SELECTION_METRICS, TrainingState
from zoo.training.engine.distillation import distil, teacher_of
from zoo.training.engine.finish import finish
from zoo.training.engine.freezing import freeze, frozen_stages
from zoo.training.engine.manifest import (
    manifest,
    streamed,
    weights_fingerprint,
    write_or_check_manifest,
)
from zoo.training.engine.prepare import check_memory, compile_model, labels_per_head, prepare
from zoo.training.engine.progress import Report
from zoo.training.files import read_json, write
from zoo.training.recipe import Recipe
from zoo.training.run_dir import as_begun, claim

Callbacks = Iterable[keras.callbacks.Callback]


def train(recipe: Recipe, run: str | os.PathLike, data_dir: str | os.PathLike | None = None,
          log: bool = True, strategy: str = "none", deterministic: bool = False,
          callbacks: Callbacks = ()) -> dict | None:
    """Train by `recipe` in the directory `run`, or resume the interrupted training there.

    Writes recipe.json, manifest.json, checkpoint.npz, best.npz and TensorBoard events in
    tensorboard/ during training, then model.keras (float32, the weights of the best epoch),
    examples.npz, history.csv, curves.png, confusion.png, confusion.npz (with validation and up to
    20 classes, the confusion matrix of each epoch) and, last, metrics.json. If metrics.json
    exists, nothing is trained. A resumed training ends with the same weights, bit for bit.

    Args:
        recipe: a `zoo.training.Recipe`.
        run: path of the run directory.
        data_dir: the folder of TensorFlow Datasets; None for its default.
        log: whether to print progress.
        strategy: how devices share a batch: "none", "mirrored" (the GPUs of this machine) or
            "multi_worker" (the machines of $TF_CONFIG).
        deterministic: use only deterministic GPU operations, which are slower. CPU operations
            always are deterministic.
        callbacks: Keras callbacks. They are called after each checkpoint is written and see
            the epoch numbers of the whole training, also on resume; on_train_begin and
            on_train_end are called once. `model.stop_training = True` ends the training after the
            current epoch. Resuming does not restore a callback's own state. With multi_worker,
            every worker calls them.

    Returns:
        The content of metrics.json; None in a worker of "multi_worker" that is not the first.

    Raises:
        zoo.errors.UserError: if the recipe, the data or the run directory is invalid, the loss
            diverges, or memory or disk space is exhausted. Nothing is overwritten, and the last
            checkpoint stays complete.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("Training needs Keras on TensorFlow. Received: "
                        f"KERAS_BACKEND={keras.backend.backend()}.")
    recipe = as_begun(recipe, run)
    say = print if log else lambda line: None
    devices = distribution.make(strategy, recipe, deterministic)
    chief = distribution.is_chief(devices)
    with claim(run, recipe) if chief else contextlib.nullcontext(Path(run)) as run:
        if (run / "metrics.json").exists():
            say(f"The training in {run} is finished; nothing is trained")
            return read_json(run / "metrics.json")
        policy = precision.resolve(recipe.precision)  # a wrong name fails before data is loaded
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        dataset, build = prepare(recipe, data_dir, cache_dir=run, streams=streamed(run), say=say)
        stream = dataset.train.source
        if isinstance(stream, ImageStream):
            stream.bad_file = run / "replaced.txt"
            stream.restore_bad()
        model, steps, teacher = _compiled(recipe, dataset, build, devices)
        with explain_failures(run, recipe, strategy):
            if chief:
                write(run / "recipe.json", recipe.to_json())  # first: marks a run directory
                flags = {"precision": policy, "strategy": strategy, "deterministic": deterministic}
                if recipe.model_args.get("weights") is not None:  # a path; its content may change
                    flags["weights_fingerprint"] = weights_fingerprint(model)
                if teacher:
                    flags["teacher_fingerprint"] = weights_fingerprint(teacher.model)
                write_or_check_manifest(run, manifest(recipe, dataset, **flags), say)
            state = _run_epochs(model, dataset, recipe, run, steps, log, callbacks, chief)
            if not chief:
                return None
            results = finish(state.best_model(build), dataset, recipe, run, state)
            if isinstance(stream, ImageStream):
                stream.report_bad(say)
            return results


def train_until(recipe: Recipe, run: Path, dataset: Dataset, build: Callable[[], keras.Model],
                log: bool = True, until: int | None = None,
                callbacks: Callbacks = ()) -> TrainingState:
    """Train up to the end of the epoch `until`, or resume there, without using the test split.

    Args:
        recipe, run, log, callbacks: see `train`.
        dataset, build: what `prepare` returned.
        until: the number of the last epoch, from 1; None for the recipe's last.

    Returns:
        The state, with the history and the best epoch.

    Raises:
        zoo.errors.UserError: see `train`.
    """
    model, steps, _ = _compiled(recipe, dataset, build, distribution.make("none", recipe))
    write(run / "recipe.json", recipe.to_json())
    with explain_failures(run, recipe, "none"):
        return _run_epochs(model, dataset, recipe, run, steps, log, callbacks, until=until)


def _compiled(recipe, dataset, build, devices):
    """Return the recipe's network, compiled, the batches of an epoch, and its teacher, if any."""
    keras.utils.set_random_seed(recipe.seed)
    steps = pipeline.steps_per_training_epoch(dataset.train, recipe)
    distribution.check_last_batch(len(dataset.train), recipe, devices)
    with devices.scope(), dtype_policy(precision.resolve(recipe.precision)):
        model = distribution.synchronize_batch_norm(build(), devices)
        if devices.num_replicas_in_sync == 1:
            check_memory(model, min(recipe.batch_size, len(dataset.train)))
        compile_model(model, recipe, steps)
        teacher = None
        if recipe.teacher:
            teacher = teacher_of(recipe, dataset.class_names, model.input.shape[1:])
            distil(model, teacher, recipe)
    return model, steps, teacher


@contextlib.contextmanager
def dtype_policy(policy: str) -> Iterator[None]:
    """Make `policy` Keras's global one for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def explain_failures(run: Path, recipe: Recipe, strategy: str) -> Iterator[None]:
    """Turn exhausted memory, a full disk or a lost worker into a UserError that says what to do."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        size = recipe.batch_size
        raise UserError(f"Out of memory with batches of {size}. Try batch_size="
                        f"{max(size // 2, 1)} with a new run directory; with accumulation_steps=2 "
                        f"an update still uses {size} examples.") from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
            tf.errors.InternalError) as error:
        if strategy != "multi_worker":
            raise
        raise UserError(f"Another worker is gone ({type(error).__name__}). Run the same command on "
                        "every machine again to resume from the last checkpoint.") from None
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):  # of a caller's callback
            raise
        raise UserError(f"Cannot write {run}: {error.strerror}. The last checkpoint is complete: "
                        "make room and run the same command again.") from None


def _run_epochs(model, dataset, recipe, run, steps, log, callbacks=(), chief=True, until=None):
    """Complete an interrupted epoch, then train the remaining ones, all or up to `until`."""
    state = TrainingState(run, steps, recipe.patience, writes=chief)
    state.restore(model)
    report = Report(recipe.epochs, state, quiet=not log)
    caller = CallerCallbacks(callbacks, state, recipe.epochs)
    used = [*state_callbacks(state), report]
    if chief:
        used.append(keras.callbacks.TensorBoard(run / "tensorboard"))
    if recipe.ema:
        used.append(keras.callbacks.SwapEMAWeights())  # validate the averaged weights
    if caller.callbacks:
        used.append(caller)
    classes, devices, validation = len(dataset.class_names), model.distribute_strategy, {}
    if dataset.validation:
        size = distribution.validation_batch_size(len(dataset.validation), recipe, devices)
        batches = distribution.distribute(lambda: labels_per_head(
            model, pipeline.batches(dataset.validation, size, classes)), devices, split=False)
        validation = {"validation_data": batches, "validation_steps":
                      pipeline.steps_per_epoch(dataset.validation, size)}
        if recipe.balance != "none":
            metric = state.selection_metric or SELECTION_METRICS[0]
            report.console.print(f"The best epoch is the one with the highest {metric}.")
    non_trainable = [layer.name for layer in model.layers if not layer.trainable]
    try:
        for end in _fit_boundaries(model, recipe, math.ceil(state.step / steps),
                                   until or recipe.epochs):
            epoch, step = divmod(state.step, steps)
            if epoch >= end or state.stopped or caller.stopped:
                continue
            freeze(model, recipe, epoch, non_trainable)
            first = state.step
            batches = distribution.distribute(lambda share=(0, 1), first=first: labels_per_head(
                model, pipeline.training_batches(dataset.train, recipe, classes, first, share)),
                devices, split=True)
            with naming_bad_files(lambda: _suspects(dataset, recipe, classes, state.step)):
                model.fit(batches, initial_epoch=epoch, epochs=end, steps_per_epoch=steps - step,
                          shuffle=False, callbacks=used, verbose=0, **validation)
        caller.finish()
    finally:
        report.close()
    return state


def _suspects(dataset, recipe, classes, step):
    """(split, indices) of the examples of a step and of the validation split, which follows it."""
    yield dataset.train, pipeline.indices_of_step(dataset.train, recipe, classes, step)
    if dataset.validation:
        yield dataset.validation, np.arange(len(dataset.validation))


def _fit_boundaries(model, recipe, first, until):
    """Return the epochs at which a call of fit ends.

    These are `first`, the end of an interrupted epoch; where a stage is unfrozen; and `until`.
    """
    ends = {first, until}
    if recipe.unfreeze_every:
        epochs = range(recipe.unfreeze_every, until, recipe.unfreeze_every)
        ends.update(epoch for epoch in epochs if frozen_stages(model, recipe, epoch)
                    != frozen_stages(model, recipe, epoch - 1))
    return sorted(ends)
