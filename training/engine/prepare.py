"""What a recipe trains: its data set, its network built for it and compiled."""
import math

import keras
import psutil
import tensorflow as tf

import zoo
from zoo.blocks import check_positive
from zoo.errors import UsageError, UserError, unknown
from zoo.factory import resolve
from zoo.inception import AUX_WEIGHT
from zoo.training.data import dataset as data
from zoo.training.data import text_data
from zoo.training.data.augmentation.augment import check
from zoo.training.engine import optimizers
from zoo.training.engine.batch_norm import fuse
from zoo.training.engine.freezing import frozen_stages, stage_of
from zoo.training.preprocessing import text


def prepare(recipe, data_dir=None, *, say=lambda line: None, **told):
    """Return the recipe's `zoo.training.data.dataset.Dataset` and a function without arguments that builds its network for it.

    `say` is told what is worth knowing, a line each; `told` is cache_dir of `zoo.training.data.dataset.load`.
    """
    dataset, args = arguments(recipe, data_dir, say=say, **told)
    return dataset, lambda: _build(recipe, args)


def arguments(recipe, data_dir=None, *, say=lambda line: None, **told):
    """Return the recipe's `zoo.training.data.dataset.Dataset` and a dict of the arguments that `prepare` calls its builder with."""
    kind = _sentences if text_data.is_text(recipe.data, data_dir) else _images
    dataset, args = kind(recipe, zoo.spec(recipe.model), dict(recipe.model_args), data_dir, say, **told)
    count = len(dataset.class_names)
    if count < 2:
        raise UserError(f"{recipe.data}: expected at least 2 classes, received {count}.")
    if recipe.patience and not dataset.validation:
        raise UsageError("patience needs validation examples to go by, such as --set validation_split=0.1. Received: "
                         f"patience={recipe.patience}, validation_split={recipe.validation_split:g}.")
    if args.get("classes", count) != count:
        raise UserError(f"classes must be {count}, as {recipe.data} has, or be left out. Received: {args['classes']}.")
    return dataset, args | {"classes": count}


def _sentences(recipe, spec, args, data_dir, say, **told):
    _refuse_mismatch(spec, "vocab_size", recipe, "sentences")
    for name, given in (("augment", recipe.augment), ("normalize", recipe.normalize),
                        ("resize", recipe.resize != "stretch" and recipe.resize)):
        if given:
            raise UsageError(f"{name} is for images, and the examples of {recipe.data} are sentences. Received: {given!r}.")
    if args.get("weights") is not None and "weights" not in spec.defaults:
        raise UsageError("weights are for images, as each data set numbers its own words; --set vectors=FILE starts from word "
                         f"vectors. Received: weights={args['weights']}.")
    dataset = text_data.load(recipe, data_dir)
    args |= {"vocab_size": len(dataset.vocabulary),
             **_vectors(recipe, dataset.vocabulary, {**spec.defaults, **args}, say)}
    return data.limited(dataset, recipe), args


def _images(recipe, spec, args, data_dir, say, **told):
    _refuse_mismatch(spec, "input_shape", recipe, "images")
    if recipe.folds:
        raise UserError(f"folds are for sentences, and the examples of {recipe.data} are images. Received: {recipe.folds}.")
    if "input_shape" not in args:
        args["input_shape"] = (*spec.defaults["input_shape"][:2], data.own_shape(recipe.data, data_dir)[-1])
    _start(recipe, spec, args, say)
    shape = tuple(args["input_shape"])
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise UsageError(f"input_shape must be height, width and 1 or 3 channels. Received: {', '.join(map(str, shape))}.")
    check_positive(input_shape=shape)
    check(recipe.augment, shape[2])
    dataset = data.load(recipe.data, shape, validation=recipe.validation_split, seed=recipe.seed,
                        data_dir=data_dir, resize=recipe.resize, skip_bad=recipe.skip_bad, say=say, **told)
    data.refuse_untrained(dataset.train, recipe.data)
    dataset = data.limited(dataset, recipe)
    if recipe.normalize and args.get("weights") is None:  # which bring those they were trained with
        means, stds = dataset.statistics
        args["mean"], args["std"] = means, [std or 1.0 for std in stds]  # a channel may be the same everywhere
    return dataset, args


def _start(recipe, spec, args, say):
    """Put the network that `args` names to start from in its place: once, as its files may be gone when it is built again."""
    if "weights" in spec.defaults:  # the builder's own affair
        return
    if args.get("weights") is None:
        if recipe.frozen:
            say("Frozen stages keep their random weights: --set weights=RUN, or a shipped network's name, gives trained ones.")
        return
    args["weights"] = resolve(args["weights"])


def _vectors(recipe, known, args, say):
    """The builder arguments of the pre-trained vectors that the recipe names, if it does."""
    if not recipe.vectors:
        if "static" in args.get("tables", ()):
            say(f"Word vectors of {recipe.model} that are not trained stay random: --set vectors=FILE gives it better ones.")
        return {}
    if "vectors" not in args:
        raise UserError(f"{recipe.model} takes no word vectors.")
    table, found = text.vectors(recipe.vectors, known, recipe.seed)
    say(f"{recipe.vectors}: vectors of {table.shape[1]} numbers for {found:,} of the {len(known) - 2:,} words; the others are "
        "random")
    return {"vectors": table, "embedding": table.shape[1]}


def _build(recipe, args):
    """The recipe's network; its kernels drawn by the recipe's initialiser, if it names one."""
    model = zoo.build(recipe.model, **args)
    frozen_stages(model, recipe, 0)  # refuses stages that are not there
    if recipe.initializer:
        _draw(model, recipe)
    return model


def _draw(model, recipe):
    """Draw all kernels of `model` anew."""
    known = {name: made for name, made in vars(keras.initializers).items()
             if name.islower() and isinstance(made, type) and issubclass(made, keras.initializers.Initializer)}
    if recipe.initializer not in known:
        raise unknown("initializer", recipe.initializer, known)
    for variable in model.trainable_variables:
        if "kernel" in variable.name:
            try:
                variable.assign(known[recipe.initializer]()(variable.shape))
            except ValueError:  # identity of a convolution's, for one
                raise UserError(f"The initializer {recipe.initializer!r} cannot draw the kernels of {recipe.model}. Received: "
                                f"the shape {variable.shape}.") from None


def _refuse_mismatch(spec, argument, recipe, kind):
    if argument not in spec.defaults:
        raise UserError(f"{recipe.model} does not take {kind}, and those of {recipe.data} are {kind}.")


def compile_model(model, recipe, steps):
    """Cross-entropy and accuracy; where auxiliary heads end in a dict of logits, theirs count AUX_WEIGHT each.

    The model is for training alone: its batch normalisations become `zoo.training.engine.batch_norm.Fused`.
    """
    fuse(model)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    shares = None
    if isinstance(model.output, dict):
        shares = {head: 1.0 if head == "logits" else AUX_WEIGHT for head in model.output}
        loss = dict.fromkeys(model.output, loss)
    stages = [stage_of(variable.path) for variable in model.trainable_variables]
    made = optimizers.optimizer(recipe, steps, stages)
    if model.dtype_policy.name == "mixed_float16":
        made = optimizers.LossScale(made)
    model.compile(made, loss, loss_weights=shares, jit_compile=False,
                  metrics={"logits": ["accuracy"]} if shares else ["accuracy"])
    # What is left to the first step to make, the variables of the optimiser and the metrics, has that step traced twice.
    model.optimizer.build(model.trainable_variables)
    logits = keras.tree.map_structure(lambda head: keras.ops.zeros((1, head.shape[-1])), model.output)
    model.compute_metrics(None, logits, logits)  # fit resets them


def refuse_too_large(model, batch, memory=None):
    """Raise UserError if a step on a CPU must exceed the memory: TensorFlow would crash there without a word.

    Args:
        model: a model that is to be trained.
        batch: examples in a batch.
        memory: of the machine, in bytes; None for that of this one.
    """
    if tf.config.list_logical_devices("GPU"):  # there TensorFlow raises ResourceExhaustedError
        return
    memory = memory or psutil.virtual_memory().total
    each = sum(_map_bytes(layer) for layer in model.layers if layer.trainable_variables)
    if batch * each > memory:
        fits = 2 ** max(int(math.log2(memory / each / 2)), 0)  # the gradients take as much again
        raise UserError(f"Out of memory: a batch of {batch} takes {batch * each / 1e9:,.0f} GB for the layers' answers, and "
                        f"this machine has {memory / 1e9:,.0f} GB. Try --set batch_size={fits} with a new --run.")


def _map_bytes(layer):
    """What the gradients need of one example, at the least: the answer of a layer that learns. Unknown lengths count 1."""
    item = tf.as_dtype(layer.compute_dtype).size
    return sum(item * math.prod(size or 1 for size in answer.shape) for answer in keras.tree.flatten(layer.output))


def for_heads(model, batches):
    """The batches with the labels once for each head of `model`."""
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda images, labels, *weights: (images, dict.fromkeys(model.output, labels), *weights))
