"""From a recipe to a Keras optimizer with its learning rate schedule."""
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from zoo.errors import UsageError
from zoo.training.recipe import Recipe

# Adam's learning rate for what Muon leaves to it, as a share of Muon's: the root mean square of an
# update by Muon is 0.2 times its learning rate.
_ADAM_SHARE = 0.2
# Inside the root of RMSProp, Szegedy et al. 2016, section 8. Gradients are far smaller, so that a
# step is nearly one of SGD with momentum.
_PAPER_EPSILON = 1.0


class ConvMuon(keras.optimizers.Muon):
    """Keras's Muon, applied to convolution kernels too (Jordan et al. 2024, "Muon").

    A kernel is treated as the matrix of its filters. Keras applies Muon to matrices alone; here
    only vectors, embeddings and the output layer are left to Adam.
    """

    def _should_use_adamw(self, variable):
        not_muon = ("embedding", "logits")
        return len(variable.shape) < 2 or any(word in variable.path for word in not_muon)

    def zeropower_via_newtonschulz5(self, x: tf.Tensor, steps: int) -> tf.Tensor:
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: tf.Tensor) -> tf.Tensor:
        return ops.reshape(super().lr_adjust(ops.reshape(x, (-1, x.shape[-1]))), x.shape)


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, which skips a step if the gradients of any device overflow.

    Keras checks the first device only.
    """

    def check_finite(self, grads: Sequence[tf.Tensor]) -> tf.Tensor:
        finite = ops.cast(super().check_finite(grads), "float32")
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, finite) == 1


def _adamw(recipe, rate, **common):
    common["weight_decay"] = recipe.weight_decay  # AdamW accepts 0, but not None
    return keras.optimizers.AdamW(rate, **common)


def _muon(recipe, rate, **common):
    return ConvMuon(rate, momentum=recipe.momentum, adam_lr_ratio=_ADAM_SHARE,
                    adam_weight_decay=common["weight_decay"], **common)


def _sgd(recipe, rate, nesterov=False, **common):
    return keras.optimizers.SGD(rate, recipe.momentum, nesterov=nesterov, **common)


def _rmsprop_momentum(recipe, rate, **common):
    return keras.optimizers.RMSprop(rate, momentum=recipe.momentum, epsilon=_PAPER_EPSILON,
                                    **common)


OPTIMIZERS = {
    "adadelta": lambda recipe, rate, **common: keras.optimizers.Adadelta(rate, **common),
    "adam": lambda recipe, rate, **common: keras.optimizers.Adam(rate, **common),
    "adamw": _adamw,
    "lamb": lambda recipe, rate, **common: keras.optimizers.Lamb(rate, **common),
    "muon": _muon,
    "nesterov": lambda recipe, rate, **common: _sgd(recipe, rate, nesterov=True, **common),
    "rmsprop": lambda recipe, rate, **common: keras.optimizers.RMSprop(rate, **common),
    "rmsprop_momentum": _rmsprop_momentum,
    "sgd": _sgd,
}
_NOT_DECAYED = ["bias", "gamma", "beta"]  # biases, and scales and offsets of normalization


def optimizer(recipe: Recipe, steps_per_epoch: int,
              stage_of: Sequence[str] = ()) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer; its learning rate follows the schedule over all epochs.

    Weight decay is decoupled (Loshchilov and Hutter 2019, arXiv:1711.05101): a step subtracts
    `learning_rate * weight_decay` times the weight, beside the update. The papers of VGG, ResNet,
    DenseNet and Inception instead add an L2 penalty to the loss, which momentum enlarges to
    1 / (1 - momentum) times as much: their 1e-4 at momentum 0.9 is weight_decay=1e-3 here. They
    also decay biases and normalization, which are exempt here. So with rmsprop_momentum, whose step
    is nearly that of SGD.

    Args:
        recipe: a `zoo.training.Recipe`.
        steps_per_epoch: batches per epoch.
        stage_of: the stage of each trainable variable, in the model's order; needed if the recipe
            has `stage_lr_multipliers`.

    Raises:
        zoo.errors.UsageError: if the optimizer or the schedule is unknown, or
            `accumulation_steps` exceeds the number of batches in the training.
    """
    _check(recipe, recipe.epochs * steps_per_epoch)
    accumulation_steps = None if recipe.accumulation_steps == 1 else recipe.accumulation_steps
    made = OPTIMIZERS[recipe.optimizer](
        recipe, _learning_rate(recipe, steps_per_epoch),
        weight_decay=recipe.weight_decay or None, global_clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema > 0, gradient_accumulation_steps=accumulation_steps,
        ema_momentum=recipe.ema ** (1 / recipe.accumulation_steps))  # Keras averages per batch
    made.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if recipe.clip_norm and tf.distribute.has_strategy():
        _clip_sum(made)
    if recipe.ema:
        _keep_frozen(made)
    if recipe.stage_lr_multipliers:
        _scale_rates(made, [recipe.stage_lr_multipliers.get(stage, 1.0) for stage in stage_of])
    return made


def _check(recipe, steps):
    if recipe.accumulation_steps > steps:
        raise UsageError(f"accumulation_steps must be at most {steps}, the number of batches in "
                         f"all epochs. Received: {recipe.accumulation_steps}.")


def _scale_rates(made, factors):
    """Multiply the learning rate of each variable by its factor, in updates and weight decay.

    Keras decays all variables at the unscaled rate, before their updates; here each is decayed
    just before its own update.
    """
    update, decay = made.update_step, made.weight_decay
    made._apply_weight_decay = lambda variables: None

    def scaled(gradient, variable, rate):
        rate *= factors[made._get_variable_index(variable)]
        if decay and made._use_weight_decay(variable):
            made.assign_sub(variable, variable * ops.cast(decay, variable.dtype)
                            * ops.cast(rate, variable.dtype))
        update(gradient, variable, rate)
    made.update_step = scaled


def _keep_frozen(made):
    """Make the moving average of a frozen variable the variable: rounding would let it drift."""
    update = made._update_model_variables_moving_average

    def averaged(variables):
        update(variables)
        for variable, mean in zip(variables, made._model_variables_moving_average, strict=True):
            if not variable.trainable:
                mean.assign(variable)
    made._update_model_variables_moving_average = averaged


def _clip_sum(made):
    """Clip the gradient of the whole batch; Keras clips each device's share and then sums them."""
    clip = made._clip_gradients

    def clipped(gradients):
        context = tf.distribute.get_replica_context()
        shares = [tf.convert_to_tensor(share) for share in gradients]
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, shares)
        return [gradient / context.num_replicas_in_sync for gradient in clip(whole)]
    made._clip_gradients = clipped


def _learning_rate(recipe, steps_per_epoch):
    """Return the learning rate as a function of the number of batches, also with accumulation.

    one_cycle (Smith and Topin 2018, arXiv:1708.07120) rises from 1/25 of the peak and falls back,
    in 45 % of the training each, then falls to 1/100 of its start. step divides the rate by ten at
    1/2 and 3/4 of the training (He et al. 2016, section 4.2). exponential multiplies it by
    `recipe.decay` every `recipe.decay_epochs` epochs, at once, as the papers on ImageNet do.
    """
    peak, total = recipe.learning_rate, recipe.epochs * steps_per_epoch
    warmup = round(min(recipe.warmup, recipe.epochs / 2) * steps_per_epoch)
    if recipe.schedule == "cosine":
        start = {"warmup_target": peak, "warmup_steps": warmup} if warmup else {}
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else peak, max(total - warmup, 1), **start)
    if recipe.schedule == "exponential":
        every = max(round(recipe.decay_epochs * steps_per_epoch), 1)
        return Staircase(peak, recipe.decay, every, warmup)
    points = [(0, 0.0), (warmup, peak)] if warmup else [(0, peak)]
    if recipe.schedule == "one_cycle":
        points = [(0, peak / 25), (0.45 * total, peak), (0.9 * total, peak / 25),
                  (total, peak / 2500)]
    elif recipe.schedule == "step":
        for step, rate in ((total // 2, peak / 10), (total * 3 // 4, peak / 100)):
            points += [(step - 1, rate * 10), (step, rate)]
    return PiecewiseLinear(points)


class PiecewiseLinear(keras.optimizers.schedules.LearningRateSchedule):
    """Linear interpolation between `points` (batches, rate); constant after the last point."""

    def __init__(self, points: Sequence[tuple[float, float]]):
        self.points = points

    def __call__(self, step):
        step, (_, rate) = ops.cast(step, "float32"), self.points[0]
        for (start, low), (end, high) in zip(self.points, self.points[1:]):
            rate += (high - low) * ops.clip((step - start) / max(end - start, 1), 0, 1)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"points": self.points}


class Staircase(keras.optimizers.schedules.ExponentialDecay):
    """Keras's, in steps: `peak` times `decay` for each `every` batches; warmed up linearly."""

    def __init__(self, peak: float, decay: float, every: int, warmup: int):
        super().__init__(peak, every, decay, staircase=True)
        self.warmup = warmup

    def __call__(self, step):
        rate = super().__call__(step)
        if not self.warmup:
            return rate
        return rate * ops.minimum(ops.cast(step, "float32") / self.warmup, 1)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.initial_learning_rate, "decay": self.decay_rate,
                "every": self.decay_steps, "warmup": self.warmup}
