"""Fine-tuning: which stages of a network are trained in which epoch."""
from collections.abc import Collection

import keras

from zoo.errors import unknown
from zoo.stage import stages
from zoo.training.recipe import Recipe


def frozen_stages(model: keras.Model, recipe: Recipe, epoch: int) -> set[str]:
    """Return the stages that are frozen in `epoch`, counted from 0.

    Every `recipe.unfreeze_every` epochs the last frozen stage is unfrozen: gradual unfreezing
    (Howard and Ruder 2018, arXiv:1801.06146, section 3.3). A stage whose `stage_lr_multipliers`
    is 0 is frozen in all epochs.

    Raises:
        zoo.errors.UsageError: if the recipe names a stage that the network does not have.
    """
    names = list(stages(model))
    for name in {*recipe.frozen} - {"all"} | {*recipe.stage_lr_multipliers}:
        if name not in names:
            raise unknown(f"stage of {recipe.model}", name, names)
    frozen = [name for name in names if name in recipe.frozen or "all" in recipe.frozen]
    if recipe.unfreeze_every:
        frozen = frozen[:max(0, len(frozen) - epoch // recipe.unfreeze_every)]
    return {*frozen, *(name for name, factor in recipe.stage_lr_multipliers.items() if not factor)}


def freeze(model: keras.Model, recipe: Recipe, epoch: int,
           non_trainable: Collection[str] = ()) -> None:
    """Set `trainable` of all layers for `epoch`.

    If that changes any, `model` traces its train step again in the next call of fit.

    A frozen layer gets no gradients, and batch normalization uses its moving statistics.

    Args:
        model: a compiled model.
        recipe: names the frozen stages.
        epoch: from 0.
        non_trainable: layers that are never trained, such as a static table of word vectors.
    """
    frozen = frozen_stages(model, recipe, epoch)
    trainable = [stage_of(layer.name) not in frozen and layer.name not in non_trainable
                 for layer in model.layers]
    if trainable == [layer.trainable for layer in model.layers]:
        return
    for layer, value in zip(model.layers, trainable, strict=True):
        layer.trainable = value
    model.train_function = None


def stage_of(path: str) -> str:
    """Return the stage in the name of a layer or the path of a variable."""
    return path.split("/")[0].split("_")[0]
