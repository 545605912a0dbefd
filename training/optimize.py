"""From a recipe to Keras's own optimisers and schedules."""
import keras

from zoo.errors import unknown

OPTIMIZERS = {
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.0),
    "sgd": lambda rate: keras.optimizers.SGD(rate),
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
}
SCHEDULES = ("constant", "cosine")
_NOT_DECAYED = ["bias", "gamma", "beta"]  # biases and normalisations hold no capacity to restrain


def optimizer(recipe, steps_per_epoch):
    """Return the recipe's optimiser, its rate following the recipe's schedule over all epochs.

    Raises:
        zoo.errors.UsageError: if the optimiser or the schedule is unknown.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise unknown("optimizer", recipe.optimizer, OPTIMIZERS)
    made = OPTIMIZERS[recipe.optimizer](_rate(recipe, steps_per_epoch))
    if recipe.weight_decay:
        made.weight_decay = recipe.weight_decay
        made.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return made


def _rate(recipe, steps_per_epoch):
    if recipe.schedule not in SCHEDULES:
        raise unknown("schedule", recipe.schedule, SCHEDULES)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    total, warmup = recipe.epochs * steps_per_epoch, round(min(recipe.warmup, recipe.epochs / 2) * steps_per_epoch)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, total)
    return keras.optimizers.schedules.CosineDecay(0.0, total - warmup, warmup_target=recipe.learning_rate,
                                                  warmup_steps=warmup)
