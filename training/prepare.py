"""What a recipe trains: its data set, its network built for it and compiled."""
import keras

import zoo
from training import data, optimize, text_data
from training.augment import check
from training.batch_norm import fuse
from training.freeze import frozen_stages, stage_of
from zoo.errors import UserError, unknown
from zoo.inception import AUX_WEIGHT


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


def compile_model(model, recipe, steps):
    """Cross-entropy and accuracy; where auxiliary heads end in a dict of logits, theirs count AUX_WEIGHT each.

    The model is for training alone: its batch normalisations become `training.batch_norm.Fused`.
    """
    fuse(model)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    weights = None
    if isinstance(model.output, dict):
        weights = {head: 1.0 if head == "logits" else AUX_WEIGHT for head in model.output}
        loss = dict.fromkeys(model.output, loss)
    stages = [stage_of(variable.path) for variable in model.trainable_variables]
    model.compile(optimize.optimizer(recipe, steps, stages), loss, loss_weights=weights, jit_compile=False,
                  metrics={"logits": ["accuracy"]} if weights else ["accuracy"])


def for_heads(model, batches):
    """The batches with the labels once for each head of `model`."""
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda images, labels, *weights: (images, dict.fromkeys(model.output, labels), *weights))
