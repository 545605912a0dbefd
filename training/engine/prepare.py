"""What a recipe trains: its data set, its network built for it and compiled."""
import dataclasses
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import psutil
import tensorflow as tf

import zoo
from zoo import shipped
from zoo.blocks import check_positive
from zoo.errors import UsageError, UserError, unknown
from zoo.factory import resolve
from zoo.inception import AUX_WEIGHT
from zoo.training.data.augmentation.settings import check
from zoo.training.data.checks.sizes import few_examples, few_images
from zoo.training.data.dataset import Dataset, load_dataset
from zoo.training.data.opening import open_source
from zoo.training.data.splits import check_train_split, subsample
from zoo.training.engine import optimizers
from zoo.training.engine.balanced_accuracy import BalancedAccuracy
from zoo.training.engine.batch_norm import fuse
from zoo.training.engine.confusion import CountingAccuracy
from zoo.training.engine.freezing import frozen_stages, stage_of
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.preprocessing.word_vectors import read_word_vectors
from zoo.training.recipe import Recipe, check_kind
from zoo.weights import trained_values

if TYPE_CHECKING:
    from zoo.registry import Spec

_USUAL_MARGIN = 256 / 224  # of an image's shorter side to what is cut out of it


def prepare(recipe: Recipe, data_dir: str | os.PathLike | None = None, *,
            cache_dir: str | os.PathLike | None = None, streams: bool | None = None,
            say: Callable = lambda line: None) -> tuple[Dataset, Callable[[], keras.Model]]:
    """Return the data set of a recipe and a function that builds its network for it.

    Args:
        recipe: the experiment.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        cache_dir: see `zoo.training.data.cache.ImageCache`.
        streams: see `zoo.training.data.dataset.load_dataset`.
        say: called with a line about what takes time or space, or may be a mistake.

    Raises:
        zoo.errors.UserError: if data, network and recipe do not go together.
    """
    dataset, args = arguments(recipe, data_dir, cache_dir=cache_dir, streams=streams, say=say)
    return dataset, lambda: _build(recipe, args)


def arguments(recipe: Recipe, data_dir: str | os.PathLike | None = None, *,
              cache_dir: str | os.PathLike | None = None, streams: bool | None = None,
              say: Callable = lambda line: None) -> tuple[Dataset, dict]:
    """Return the data set of a recipe and the arguments of its network's builder; see `prepare`."""
    spec, args = zoo.spec(recipe.model), dict(recipe.model_args)
    source = open_source(recipe.data, data_dir)
    settle = _settle_images if source.kind == "image" else _settle_sentences
    settle(recipe, spec, args, source, say)
    alphabet = {**spec.defaults, **args}.get("alphabet") if source.kind == "text" else None
    vocabulary = Vocabulary.of_characters(alphabet) if alphabet else None
    dataset = load_dataset(recipe, args.get("input_shape"), vocabulary, source=source,
                           cache_dir=cache_dir, streams=streams, say=say)
    check_train_split(dataset.train, recipe.data)
    if dataset.vocabulary:
        args |= text_arguments(recipe, dataset.vocabulary)
        args |= _vectors(recipe, dataset.vocabulary, {**spec.defaults, **args}, say)
    train = subsample(dataset.train, recipe.max_train_examples, recipe.seed)
    dataset = dataclasses.replace(dataset, train=train)
    _say_few(recipe, spec, args, dataset, say)
    if recipe.normalize and args.get("weights") is None:  # weights bring their own normalization
        counted, count = len(dataset.counted), len(dataset.train)
        if counted < count:
            say(f"Mean and standard deviation are those of {counted:,} of the {count:,} training "
                "images")
        means, stds = dataset.statistics
        args["mean"], args["std"] = means, [std or 1.0 for std in stds]  # 0 for a constant channel
    count = len(dataset.class_names)
    if count < 2:
        raise UserError(f"{recipe.data}: expected at least 2 classes, received {count}.")
    if recipe.patience and not dataset.validation:
        raise UsageError("patience needs a validation split, such as validation_split=0.1. "
                         f"Received: patience={recipe.patience}, "
                         f"validation_split={recipe.validation_split:g}.")
    if args.get("classes", count) != count:
        raise UserError(f"classes must be {count}, as {recipe.data} has, or be left out. "
                        f"Received: {args['classes']}.")
    return dataset, args | {"classes": count}


def text_arguments(recipe: Recipe, vocabulary: Vocabulary) -> dict[str, int]:
    """Return the builder arguments of a network for sentences that follow from its data.

    They are the number of words; of a network for characters, the length of its frame, unless the
    recipe names one.
    """
    if vocabulary.unit == "words":
        return {"vocab_size": len(vocabulary)}
    if "length" not in zoo.spec(recipe.model).defaults or "length" in recipe.model_args:
        return {}
    return {"length": recipe.max_tokens}


def _say_few(recipe, spec, args, dataset, say):
    """Say what few examples mean for the scores, and for random weights."""
    for name, split in (("validation", dataset.validation), ("test", dataset.test)):
        line = few_examples(name, len(split)) if split else None
        if line:
            say(f"Note: {line}.")
    few = few_images(len(dataset.train)) if "input_shape" in spec.defaults else None
    if few and args.get("weights") is None:
        say(f"Note: {few}. {_trained_weights(spec, args['input_shape'])}")


def _trained_weights(spec, input_shape):
    """Advice on trained weights to start the network `spec` from, for images of `input_shape`.

    Weights for colours take grey images, those for grey ones no colours.
    """
    *size, channels = input_shape
    names = [name for name in shipped.names() if (card := shipped.card(name))
             and card["architecture"] == spec.name and card["input"]["shape"][:2] == size
             and card["input"]["shape"][2] in (channels, 3)]
    names += trained_values(spec.name)
    if names:
        return f"weights={names[0]} starts from trained ones."
    return "resnet20 with weights=resnet20-cifar10 starts from trained ones."


def _settle_images(recipe, spec, args, source, say):
    """Check a recipe for images, and complete `args` by input_shape and weights."""
    _check_takes(spec, "input_shape", recipe, "images")
    check_kind(recipe)
    if "input_shape" not in args:
        args["input_shape"] = (*spec.defaults["input_shape"][:2], source.native_shape[-1])
    resolve_weights(recipe, spec, args, say)
    shape = tuple(args["input_shape"])
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise UsageError("input_shape must be height, width and 1 or 3 channels. "
                         f"Received: {', '.join(map(str, shape))}.")
    check_positive(input_shape=shape)
    _check_view(recipe, shape, say)


def _check_view(recipe, shape, say):
    """Check the augmentation, and what part of an image the network sees."""
    side = max(shape[:2])
    check(recipe.augment, shape[2], side)
    if 0 < recipe.eval_resize < side:
        raise UsageError(f"eval_resize must be at least the network's size, {side} pixels here. "
                         f"Received: {recipe.eval_resize}.")
    jitter = recipe.augment.get("scale_jitter") or [0]
    for name, value in (("eval_resize", recipe.eval_resize), ("scale_jitter", jitter[0])):
        if value > 2 * side:  # a recipe for larger images
            say(f"Note: {name} resizes images to {value} pixels, of which the network sees {side}. "
                f"Usual are {round(side * _USUAL_MARGIN)}.")


def _settle_sentences(recipe, spec, args, source, say):
    """Check a recipe for sentences."""
    reads_characters = "alphabet" in spec.defaults
    _check_takes(spec, "alphabet" if reads_characters else "vocab_size", recipe, "sentences")
    check_kind(recipe)
    if args.get("weights") is not None and "weights" not in spec.defaults:
        raise UsageError("weights are for images, as each data set numbers its own words; "
                         "vectors=FILE starts from word vectors. "
                         f"Received: weights={args['weights']}.")


def _check_takes(spec, argument, recipe, kind):
    if argument not in spec.defaults:
        raise UserError(f"{recipe.model} does not take {kind}, and those of {recipe.data} are "
                        f"{kind}.")


def resolve_weights(recipe: Recipe, spec: "Spec", args: dict, say: Callable) -> None:
    """Replace the name in `args["weights"]` by the network itself, whose files may change later."""
    if "weights" in spec.defaults:  # the builder resolves them
        return
    if args.get("weights") is None:
        if recipe.frozen:
            say("Frozen stages keep their random weights: weights=RUN, or the name of a "
                "shipped network, gives trained ones.")
        return
    args["weights"] = resolve(args["weights"])


def _vectors(recipe, vocabulary, args, say):
    """The builder arguments of the pre-trained word vectors that the recipe names, if it does."""
    if not recipe.vectors:
        if "static" in args.get("tables", ()):
            say(f"Word vectors of {recipe.model} that are not trained stay random: "
                "vectors=FILE gives it better ones.")
        return {}
    if "vectors" not in args:
        raise UserError(f"{recipe.model} takes no word vectors.")
    table, count = read_word_vectors(recipe.vectors, vocabulary, recipe.seed)
    say(f"{recipe.vectors}: vectors of {table.shape[1]} numbers for {count:,} of the "
        f"{len(vocabulary) - 2:,} words; the others are random")
    return {"vectors": table, "embedding": table.shape[1]}


def _build(recipe, args):
    """The recipe's network; its kernels drawn by the recipe's initializer, if it names one."""
    model = zoo.build(recipe.model, **args)
    frozen_stages(model, recipe, 0)  # raises UserError for unknown stages
    if recipe.initializer:
        reinitialize_kernels(model, recipe)
    return model


def reinitialize_kernels(model: keras.Model, recipe: Recipe) -> None:
    """Draw all kernels of `model` by `recipe.initializer`.

    Raises:
        zoo.errors.UserError: if Keras has no such initializer, or it cannot draw such shapes.
    """
    initializers = {name: member for name, member in vars(keras.initializers).items()
                    if name.islower() and isinstance(member, type)
                    and issubclass(member, keras.initializers.Initializer)}
    if recipe.initializer not in initializers:
        raise unknown("initializer", recipe.initializer, initializers)
    for variable in model.trainable_variables:
        if "kernel" in variable.name:
            try:
                variable.assign(initializers[recipe.initializer]()(variable.shape))
            except ValueError:  # identity, for a convolution
                raise UserError(f"The initializer {recipe.initializer!r} cannot draw the kernels "
                                f"of {recipe.model}. Received: the shape {variable.shape}."
                                ) from None


def compile_model(model: keras.Model, recipe: Recipe, steps: int) -> None:
    """Compile with cross-entropy and accuracy; each auxiliary head counts AUX_WEIGHT in the loss.

    With a recipe's `balance`, balanced accuracy is computed too: it selects the best epoch.
    The model is for training alone: its batch normalizations become
    `zoo.training.engine.batch_norm.Fused`.

    Args:
        model: from examples to logits, or to a dict of logits, one for each head.
        recipe: gives the optimizer, its schedule, label_smoothing and balance.
        steps: batches per epoch.
    """
    fuse(model)
    loss: Any = keras.losses.CategoricalCrossentropy(from_logits=True,
                                                     label_smoothing=recipe.label_smoothing)
    output = model.output["logits"] if isinstance(model.output, dict) else model.output
    metrics: Any = [CountingAccuracy(output.shape[-1])]
    if recipe.balance != "none":
        metrics.append(BalancedAccuracy(output.shape[-1]))
    loss_weights = None
    if isinstance(model.output, dict):
        loss_weights = {head: 1.0 if head == "logits" else AUX_WEIGHT for head in model.output}
        loss, metrics = dict.fromkeys(model.output, loss), {"logits": metrics}
    stages = [stage_of(variable.path) for variable in model.trainable_variables]
    optimizer = optimizers.optimizer(recipe, steps, stages)
    if model.dtype_policy.name == "mixed_float16":
        optimizer = optimizers.LossScale(optimizer)
    model.compile(optimizer, loss, loss_weights=loss_weights, jit_compile=False, metrics=metrics)
    # Variables that the first step made, of the optimizer, the metrics and the loss of each head,
    # would trace it twice, and be missing where an interrupted epoch goes on.
    model.optimizer.build(model.trainable_variables)
    logits = keras.tree.map_structure(lambda head: keras.ops.zeros((1, head.shape[-1])),
                                      model.output)
    model.compute_loss(None, logits, logits)
    model.compute_metrics(None, logits, logits)  # fit resets them


def check_memory(model: keras.Model, batch: int, memory: int | None = None) -> None:
    """Raise UserError if a step on a CPU must exceed the memory: TensorFlow would crash silently.

    Args:
        model: the model to train.
        batch: examples in a batch.
        memory: of the machine, in bytes; None for that of this one.
    """
    if tf.config.list_logical_devices("GPU"):  # there TensorFlow raises ResourceExhaustedError
        return
    memory = memory or psutil.virtual_memory().total
    each = sum(_map_bytes(layer) for layer in model.layers if layer.trainable_variables)
    if batch * each > memory:
        fits = 2 ** max(int(math.log2(memory / each / 2)), 0)  # the gradients take as much again
        raise UserError(f"Out of memory: a batch of {batch} takes {batch * each / 1e9:,.0f} GB for "
                        f"the layers' outputs, and this machine has {memory / 1e9:,.0f} GB. Try "
                        f"batch_size={fits} with a new run directory.")


def _map_bytes(layer):
    """The least that gradients need per example: the layer's output. Unknown lengths count 1."""
    item = tf.as_dtype(layer.compute_dtype).size
    return sum(item * math.prod(size or 1 for size in output.shape)
               for output in keras.tree.flatten(layer.output))


def labels_per_head(model: keras.Model, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return `batches` with the labels once for each head of `model`."""
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda examples, labels, *weights: (
        examples, dict.fromkeys(model.output, labels), *weights))
