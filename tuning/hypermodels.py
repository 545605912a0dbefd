"""A network of the zoo as a plain keras-tuner HyperModel, for a tuner of the user's own."""
import keras
import keras_tuner as kt
import tensorflow as tf

import zoo
from zoo.errors import UsageError
from zoo.training.engine import optimizers
from zoo.training.recipes import Recipe
from zoo.tuning import spaces


class _HyperModel(kt.HyperModel):
    def __init__(self, model, model_args):
        super().__init__(name=model)
        self.recipe = Recipe(model, model, data="", model_args=model_args, schedule="constant")

    def declare_hyperparameters(self, hp):
        """keras-tuner learns here of what only `fit` asks for."""
        return spaces.choice(hp, "batch_size", (32, 64, 128, 256), self.recipe.batch_size)

    def build(self, hp):
        recipe = spaces.apply(self.recipe, spaces.optimization(hp, self.recipe) | spaces.network(hp, self.recipe))
        model = zoo.build(recipe.model, **recipe.model_args)
        model.compile(optimizers.optimizer(recipe, 1), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy"], jit_compile=False)
        model.optimizer.build(model.trainable_variables)  # or Hyperband loses the optimiser's state between its rounds
        return model

    def fit(self, hp, model, *args, **kwargs):
        data = args[0] if args else kwargs.get("x")
        if "batch_size" not in kwargs and not isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
            kwargs["batch_size"] = hp.get("batch_size")
        return model.fit(*args, **kwargs)


def hypermodel(model, **model_args):
    """Return a `keras_tuner.HyperModel` of a network of the zoo, compiled for integer labels.

    It searches the builder's arguments, optimiser, rate, weight decay and, where `fit` is given arrays, the batch. All that
    the tuner hands to `fit`, such as Hyperband's epochs and initial_epoch, goes on unchanged.

    Args:
        model: a name of the zoo.
        **model_args: arguments of its builder, such as input_shape and classes; of one that is searched, the value to begin
            with.

    Raises:
        zoo.errors.UsageError: if there is no such network, or it is to have auxiliary heads.
    """
    zoo.spec(model)
    if model_args.get("aux"):
        raise UsageError(f"The auxiliary heads of {model} want labels of their own, which a tuner does not give: leave out "
                         f"aux. Received: aux={model_args['aux']}.")
    return _HyperModel(model, model_args)
