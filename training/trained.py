"""A finished run as its exports see it: the network, what goes into it and what its answers are called."""
import dataclasses
from pathlib import Path

import keras
import numpy as np

from training import evaluate
from training.recipes import Recipe
from training.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a finished run has left; see `load`."""

    run: Path
    model: keras.Model             # from images or token ids to logits
    metrics: dict                  # metrics.json
    recipe: Recipe
    vocabulary: Vocabulary | None  # None of an image network
    examples: np.ndarray           # of the test part: uint8 images (n, height, width, channels), or n UTF-8 texts as bytes

    @property
    def class_names(self):
        """The classes' names, in the order of the probabilities."""
        return self.metrics["class_names"]

    @property
    def features(self):
        """The Keras tensor that the logits are computed from: the pooled features, of shape (batch, n) in most networks."""
        names = [layer.name for layer in self.model.layers]
        return self.model.get_layer("logits" if "logits" in names else names[-1]).input

    def inputs(self, questions):
        """Return what the network takes for images or texts as in `examples`: float32 pixels or int32 token ids."""
        if self.vocabulary:
            return self.vocabulary.encode([question.decode() for question in questions], self.recipe.max_tokens)
        return np.asarray(questions, "float32")

    def probabilities(self, inputs):
        """Return what the network itself answers, float32 of shape (n, classes)."""
        return evaluate.probabilities(self.model, inputs)

    def dataset(self, data_dir=None):
        """Return the `training.data.Dataset` it was trained on, validation examples among the training ones."""
        return evaluate.dataset(self.model, self.recipe, self.vocabulary, data_dir)


def load(run):
    """Return the `Trained` of the finished run in the directory `run`.

    Raises:
        zoo.errors.UserError: if there is no finished run.
    """
    model, metrics, recipe = evaluate.load(run)
    with np.load(f"{run}/examples.npz") as kept:
        return Trained(Path(run), model, metrics, recipe, evaluate.vocabulary(run), kept["examples"])


def questions(split):
    """Return all examples of a `training.store.Split` as `Trained.examples` holds some: images, or texts as bytes."""
    return split.images if split.texts is None else np.array([text.encode() for text in split.texts[split.rows]])
