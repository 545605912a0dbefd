"""`train`: from a recipe to a run directory with a trained network, its history and its score on the test images."""
import contextlib
import json

import keras
import tensorflow as tf

import zoo
from training import data, distribute, optimize, pipeline, precision, text_data
from training.augment import check
from training.checkpoint import Checkpoint
from training.finish import finish, keep_manifest, manifest
from training.freeze import freeze, frozen_stages, stage_of
from training.progress import Report
from training.run_dir import claim, write
from zoo.errors import UserError, unknown
from zoo.inception import AUX_WEIGHT


def train(recipe, run, data_dir=None, log=True, strategy="none", deterministic=False):
    """Train by `recipe` in the directory `run`; if an interrupted run of it is there, go on where it stopped.

    Writes into `run`: recipe.json, manifest.json, checkpoint.npz and best.npz while it trains, TensorBoard events in
    tensorboard/, then model.keras (float32, the best epoch), examples.npz, history.csv, curves.png, confusion.png and, last,
    metrics.json.

    Args:
        recipe: a `training.recipes.Recipe`.
        run: path of the run directory.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        log: whether to print progress.
        strategy: how several devices share a batch, one of `training.distribute.STRATEGIES`.
        deterministic: refuse operations that may differ from run to run. On a CPU none does; on a GPU it costs time.

    Returns:
        The content of metrics.json, a dict.

    Raises:
        zoo.errors.UserError: if the recipe, the data or the run directory will not do, the loss diverges, or memory or disk
            are exhausted; nothing is overwritten, and the last checkpoint stays whole.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Training needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}.")
    say = print if log else lambda line: None
    with claim(run, recipe) as run:
        if (run / "metrics.json").exists():
            return json.loads((run / "metrics.json").read_text())
        policy = precision.resolve(recipe.precision)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        dataset, build = prepare(recipe, data_dir, cache_dir=run, say=say)
        model, steps = _compiled(recipe, dataset, build, strategy)
        flags = {"precision": policy, "strategy": strategy, "deterministic": deterministic}
        keep_manifest(run, manifest(recipe, dataset, **flags), say)
        write(run / "recipe.json", recipe.to_json())
        with _told_in_a_line(run, recipe):
            return finish(build(), dataset, recipe, run, _fit(model, dataset, recipe, run, steps, log))


def fit(recipe, run, dataset, build, log=True, until=None, callbacks=()):
    """Train up to the end of the epoch `until`, by default the last, without a look at the test part.

    What is there of an interrupted training in `run` goes on. `dataset` and `build` are what `prepare` returned.

    Returns:
        The `training.checkpoint.Checkpoint`, with the history and the best epoch.
    """
    model, steps = _compiled(recipe, dataset, build)
    write(run / "recipe.json", recipe.to_json())
    with _told_in_a_line(run, recipe):
        return _fit(model, dataset, recipe, run, steps, log, until, callbacks)


def _compiled(recipe, dataset, build, strategy="none"):
    """Return the recipe's network, compiled, and the number of batches in an epoch."""
    keras.utils.set_random_seed(recipe.seed)
    steps = pipeline.steps_per_epoch(dataset.train, recipe.batch)
    with distribute.scope(strategy, recipe), _dtype_policy(precision.resolve(recipe.precision)):
        model = distribute.synchronised(build(), strategy)
        compile_model(model, recipe, steps)
    return model, steps


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
        return data.limited(dataset, recipe), lambda: _build(recipe, args)
    _refuse_mismatch(spec, "input_shape", recipe, "images")
    if "input_shape" not in args:
        args["input_shape"] = (*spec.defaults["input_shape"][:2], data.own_shape(recipe.data, data_dir)[-1])
    check(recipe.augment, args["input_shape"][-1])
    dataset = data.load(recipe.data, tuple(args["input_shape"]), validation=recipe.validation, seed=recipe.seed,
                        data_dir=data_dir, resize=recipe.resize, skip_bad=recipe.skip_bad, **told)
    dataset = data.limited(dataset, recipe)
    if recipe.normalise:
        args["mean"], args["std"] = dataset.statistics
    args["classes"] = len(dataset.class_names)
    return dataset, lambda: _build(recipe, args)


def _build(recipe, args):
    """The recipe's network; its kernels drawn by the recipe's initialiser, if it names one."""
    model = zoo.build(recipe.model, **args)
    frozen_stages(model, recipe, 0)  # refuses stages that are not there
    if recipe.initializer:
        known = [name for name in dir(keras.initializers) if name.islower() and not name.startswith("_")]
        if recipe.initializer not in known:
            raise unknown("initializer", recipe.initializer, known)
        for variable in model.trainable_variables:
            if "kernel" in variable.name:
                variable.assign(keras.initializers.get(recipe.initializer)(variable.shape))
    return model


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


@contextlib.contextmanager
def _told_in_a_line(run, recipe):
    """Turn a disk or memory that is exhausted into one line that says what to do."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise UserError(f"Out of memory with batches of {recipe.batch}. Try --set batch={max(recipe.batch // 2, 1)} with a "
                        f"new --run; with --set accumulate=2 an update still sees {recipe.batch} examples.") from None
    except OSError as error:
        raise UserError(f"Cannot write {run}: {error.strerror}. The last checkpoint is whole: make room and run the same "
                        "command again.") from None


def compile_model(model, recipe, steps):
    """Cross-entropy and accuracy; where auxiliary heads end in a dict of logits, theirs count AUX_WEIGHT each."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    weights = None
    if isinstance(model.output, dict):
        weights = {head: 1.0 if head == "logits" else AUX_WEIGHT for head in model.output}
        loss = dict.fromkeys(model.output, loss)
    stages = [stage_of(variable.path) for variable in model.trainable_variables]
    model.compile(optimize.optimizer(recipe, steps, stages), loss, loss_weights=weights, jit_compile=False,
                  metrics={"logits": ["accuracy"]} if weights else ["accuracy"])


def _for_heads(model, batches):
    """The batches with the labels once for each head of `model`."""
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda images, labels, *weights: (images, dict.fromkeys(model.output, labels), *weights))


def _fit(model, dataset, recipe, run, steps, log, until=None, callbacks=()):
    """Fit the rest of an interrupted epoch, if there is one, and then the epochs that are left, all or up to `until`."""
    state = Checkpoint(run, steps, recipe.patience)
    state.restore(model)
    report = Report(recipe.epochs, steps, state, quiet=not log)
    callbacks = [state, report, keras.callbacks.TensorBoard(run / "tensorboard"), *callbacks]
    if recipe.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights())  # the averages are what is validated
    classes = len(dataset.class_names)
    validation = dataset.validation
    if validation:
        validation = _for_heads(model, pipeline.batches(validation, recipe.batch, classes))
    try:
        for pause in _pauses(recipe, -(-state.step // steps), until or recipe.epochs):
            epoch, begun = divmod(state.step, steps)
            if epoch < pause and not state.stopped:
                freeze(model, recipe, epoch)
                batches = pipeline.training_batches(dataset.train, recipe, classes, first=state.step)
                model.fit(_for_heads(model, batches), initial_epoch=epoch, epochs=pause, steps_per_epoch=steps - begun,
                          shuffle=False, validation_data=validation, callbacks=callbacks, verbose=0)
    finally:
        report.close()
    return state


def _pauses(recipe, begun, until):
    """The epochs before which fit has to be called anew: after an interrupted one, and where a stage is thawed."""
    return sorted({begun, *(range(recipe.thaw, until, recipe.thaw) if recipe.thaw else ()), until})
