"""A network of the zoo as a keras-tuner HyperModel, for a tuner of the caller's own."""
from typing import Any

import keras
import keras_tuner as kt
import tensorflow as tf

import zoo
from zoo.errors import UsageError
from zoo.training.engine import optimizers
from zoo.training.recipe import Recipe
from zoo.tuning import spaces


class _HyperModel(kt.HyperModel):
    def __init__(self, model, model_args):
        super().__init__(name=model)
        self.recipe = Recipe(model, model, data="", model_args=model_args, schedule="constant")

    def declare_hyperparameters(self, hp):
        """Declare what only `fit` uses; keras-tuner learns the rest from `build`."""
        return spaces.choice(hp, "batch_size", (32, 64, 128, 256), self.recipe.batch_size)

    def build(self, hp):
        chosen = spaces.optimization(hp, self.recipe) | spaces.network(hp, self.recipe)
        recipe = spaces.apply(self.recipe, chosen)
        model = zoo.build(recipe.model, **recipe.model_args)
        model.compile(optimizers.optimizer(recipe, 1),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy"], jit_compile=False)
        # Otherwise Hyperband loses the optimizer's state between its rounds.
        model.optimizer.build(model.trainable_variables)
        return model

    def fit(self, hp, model, *args, **kwargs):
        batch_size = self.declare_hyperparameters(hp)  # its default under tune_new_entries=False
        data = args[0] if args else kwargs.get("x")
        if not isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
            kwargs.setdefault("batch_size", batch_size)
        return model.fit(*args, **kwargs)


def hypermodel(model: str, **model_args: Any) -> kt.HyperModel:
    """Return a `keras_tuner.HyperModel` of a network, compiled for integer labels.

    It searches the network's arguments, the optimizer, learning rate and weight decay and, if
    `fit` receives arrays, the batch size. All that the tuner passes to `fit`, such as callbacks
    or Hyperband's epochs and initial_epoch, is passed on unchanged.

        >>> tuner = keras_tuner.Hyperband(tuning.hypermodel("lenet5"), "val_accuracy", max_epochs=9)
        >>> tuner.search(images, labels, validation_split=0.1)  # uint8 (n, 32, 32, 1), int (n,)

    Args:
        model: the name of a network, as for `zoo.build`.
        **model_args: arguments of its builder, such as input_shape and classes. For an argument
            that is searched, the value is the default.

    Raises:
        zoo.errors.UsageError: if there is no such network, or it would have auxiliary heads or
            fewer than 2 classes.
    """
    zoo.spec(model)
    if model_args.get("aux"):
        raise UsageError(f"The auxiliary heads of {model} need labels of their own, which a tuner "
                         f"does not provide: leave out aux. Received: aux={model_args['aux']}.")
    if model_args.get("classes", 2) < 2:
        raise UsageError(f"classes must be at least 2. Received: {model_args['classes']}.")
    return _HyperModel(model, model_args)
