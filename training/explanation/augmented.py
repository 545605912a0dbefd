"""A batch of training images as the network sees it: after the recipe's augmentation."""
import numpy as np

from zoo.training.data import pipeline
from zoo.training.data.splits import Split
from zoo.training.recipe import Recipe

_MOST = 16  # images shown
_LEAST_SHARE = 0.005  # of a label that is named


def augmented_batch(train: Split, recipe: Recipe,
                    class_names: list[str]) -> list[tuple[np.ndarray, str]]:
    """Return the first images of the first batch, and their labels in words.

    Args:
        train: the training split.
        recipe: of the training: batch_size, seed, balance and augmentation.
        class_names: in the order of the labels.

    Returns:
        Up to 16 pairs of a uint8 image (height, width, channels) and its class; of a mixture of
        images all classes with their shares, such as "cat 60 %, dog 40 %".
    """
    batches = pipeline.training_batches(train, recipe, len(class_names))
    images, labels = next(iter(batches))[:2]
    pixels = np.rint(np.clip(images[:_MOST], 0, 255)).astype("uint8")
    return list(zip(pixels, (_words(row, class_names) for row in labels.numpy()), strict=False))


def _words(label, class_names):
    order = [i for i in np.argsort(-label, kind="stable") if label[i] > _LEAST_SHARE]
    if len(order) == 1:
        return class_names[order[0]]
    return ", ".join(f"{class_names[i]} {label[i]:.0%}".replace("%", " %") for i in order)
