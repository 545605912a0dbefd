"""From a recipe to Keras's own optimisers, and to the rates they follow."""
import keras
import tensorflow as tf
from keras import ops

from zoo.errors import UsageError, unknown

_ADAM_SHARE = 0.2  # of Muon's rate goes to what Adam updates: a step of Muon has a root mean square of 0.2 rates


class ConvMuon(keras.optimizers.Muon):
    """Keras's Muon, for the kernels of convolutions too: each is the matrix of its filters (Jordan et al. 2024, "Muon").

    Keras leaves all but matrices to Adam; here only vectors, embeddings and the output layer are.
    """

    def _should_use_adamw(self, variable):
        return len(variable.shape) < 2 or any(word in variable.path for word in ("embedding", "logits"))

    def zeropower_via_newtonschulz5(self, x, steps):
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x):
        return ops.reshape(super().lr_adjust(ops.reshape(x, (-1, x.shape[-1]))), x.shape)


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, which leaves a step out whose gradients overflow; Keras asks the first device alone if they do."""

    def check_finite(self, grads):
        finite = ops.cast(super().check_finite(grads), "float32")
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, finite) == 1


OPTIMIZERS = {
    "adadelta": lambda recipe, rate, **common: keras.optimizers.Adadelta(rate, **common),
    "adam": lambda recipe, rate, **common: keras.optimizers.Adam(rate, **common),
    "adamw": lambda recipe, rate, **common: keras.optimizers.AdamW(rate, **{**common, "weight_decay": recipe.weight_decay}),
    "lamb": lambda recipe, rate, **common: keras.optimizers.Lamb(rate, **common),
    "muon": lambda recipe, rate, **common: ConvMuon(rate, momentum=recipe.momentum, adam_lr_ratio=_ADAM_SHARE,
                                                    adam_weight_decay=common["weight_decay"], **common),
    "nesterov": lambda recipe, rate, **common: keras.optimizers.SGD(rate, recipe.momentum, nesterov=True, **common),
    "rmsprop": lambda recipe, rate, **common: keras.optimizers.RMSprop(rate, **common),
    "sgd": lambda recipe, rate, **common: keras.optimizers.SGD(rate, recipe.momentum, **common),
}
SCHEDULES = ("constant", "cosine", "one_cycle", "step")
_NOT_DECAYED = ["bias", "gamma", "beta"]  # biases and normalisations hold no capacity to restrain


def optimizer(recipe, steps_per_epoch, stage_of=None):
    """Return the recipe's optimiser, its rate following the recipe's schedule over all epochs.

    Args:
        recipe: a `zoo.training.recipes.Recipe`.
        steps_per_epoch: batches in an epoch.
        stage_of: for `recipe.stage_lr_multipliers`, the stage of each trainable variable, a list in the model's order.

    Raises:
        zoo.errors.UsageError: if the optimiser or the schedule is unknown, or the gradients of more batches than there are
            would be accumulated.
    """
    _refuse(recipe, recipe.epochs * steps_per_epoch)
    made = OPTIMIZERS[recipe.optimizer](
        recipe, _rate(recipe, steps_per_epoch), weight_decay=recipe.weight_decay or None, global_clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema > 0, ema_momentum=recipe.ema ** (1 / recipe.accumulation_steps),  # Keras averages once a batch
        gradient_accumulation_steps=recipe.accumulation_steps if recipe.accumulation_steps > 1 else None)
    made.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if recipe.clip_norm and tf.distribute.has_strategy():
        _clip_sum(made)
    if recipe.stage_lr_multipliers:
        _scale_rates(made, [recipe.stage_lr_multipliers.get(stage, 1.0) for stage in stage_of])
    return made


def _refuse(recipe, steps):
    if recipe.optimizer not in OPTIMIZERS:
        raise unknown("optimizer", recipe.optimizer, OPTIMIZERS)
    if recipe.accumulation_steps > steps:
        raise UsageError(f"accumulation_steps must be at most {steps}, as many batches as all epochs have. "
                         f"Received: {recipe.accumulation_steps}.")


def _scale_rates(made, factors):
    """Multiply each variable's rate by its factor. Weight decay is of the full rate, as Keras applies it to all alike."""
    update = made.update_step
    made.update_step = lambda gradient, variable, rate: update(
        gradient, variable, rate * factors[made._get_variable_index(variable)])


def _clip_sum(made):
    """Bound the gradient of the whole batch. Keras bounds each device's share of it, and then adds the shares up."""
    clip = made._clip_gradients

    def clipped(gradients):
        context = tf.distribute.get_replica_context()
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.convert_to_tensor(share) for share in gradients])
        return [gradient / context.num_replicas_in_sync for gradient in clip(whole)]
    made._clip_gradients = clipped


def _rate(recipe, steps_per_epoch):
    """The recipe's rate as a function of the batches seen: so Keras asks for it, whatever it accumulates.

    one_cycle is Smith and Topin 2018 (arXiv:1708.07120): up from a 25th of the rate and down again in 45 % of the training
    each, then to a hundredth of where it began. step divides by ten at half and at three quarters of the training (He et al.
    2016, section 4.2).
    """
    if recipe.schedule not in SCHEDULES:
        raise unknown("schedule", recipe.schedule, SCHEDULES)
    peak, total = recipe.learning_rate, recipe.epochs * steps_per_epoch
    warmup = round(min(recipe.warmup, recipe.epochs / 2) * steps_per_epoch)
    if recipe.schedule == "cosine":
        start = {"warmup_target": peak, "warmup_steps": warmup} if warmup else {}
        return keras.optimizers.schedules.CosineDecay(0.0 if warmup else peak, max(total - warmup, 1), **start)
    rise = [(0, 0.0), (warmup, peak)] if warmup else [(0, peak)]
    if recipe.schedule == "one_cycle":
        rise = [(0, peak / 25), (0.45 * total, peak), (0.9 * total, peak / 25), (total, peak / 2500)]
    elif recipe.schedule == "step":
        for place, rate in ((total // 2, peak / 10), (total * 3 // 4, peak / 100)):
            rise += [(place - 1, rate * 10), (place, rate)]
    return Lines(rise)


class Lines(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that goes in straight lines through `points`, (batches seen, rate), and stays where the last one is."""

    def __init__(self, points):
        self.points = points

    def __call__(self, step):
        step, (_, rate) = ops.cast(step, "float32"), self.points[0]
        for (start, low), (end, high) in zip(self.points, self.points[1:]):
            rate += (high - low) * ops.clip((step - start) / max(end - start, 1), 0, 1)
        return rate

    def get_config(self):
        return {"points": self.points}
