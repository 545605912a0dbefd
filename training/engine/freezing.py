"""Fine-tuning: which stages of a network are trained in which epoch, and how fast."""
from zoo.errors import unknown
from zoo.stage import stages


def frozen_stages(model, recipe, epoch):
    """Return the set of stages that are not trained in `epoch`, counted from 0.

    With `recipe.unfreeze_every`, after so many epochs the last of the frozen stages is trained too, and after as many again the one
    before it: gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146, section 3.3).

    Raises:
        zoo.errors.UsageError: if the recipe names a stage that the network has not; the nearest one is given.
    """
    known = list(stages(model))
    for name in {*recipe.frozen} - {"all"} | {*recipe.stage_lr_multipliers}:
        if name not in known:
            raise unknown(f"stage of {recipe.model}", name, known)
    frozen = [name for name in known if name in recipe.frozen or "all" in recipe.frozen]
    return set(frozen[:max(0, len(frozen) - epoch // recipe.unfreeze_every)] if recipe.unfreeze_every else frozen)


def freeze(model, recipe, epoch, resting=()):
    """Let the layers of frozen stages rest in `epoch`: no gradients, and batch normalisation by its stored statistics.

    Keras does both for a layer with trainable=False. The training step of a compiled model is traced anew. The layers named
    in `resting` are never trained, whatever the recipe says, such as a static table of word vectors.
    """
    frozen = frozen_stages(model, recipe, epoch)
    for layer in model.layers:
        layer.trainable = stage_of(layer.name) not in frozen and layer.name not in resting
    model.train_function = None


def stage_of(path):
    """Return the stage of a layer's name or a variable's path."""
    return path.split("/")[0].split("_")[0]
