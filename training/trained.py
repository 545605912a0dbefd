"""A trained network as its exports see it: the network, what goes into it and what its answers are called."""
import dataclasses
from pathlib import Path

import keras
import numpy as np

from zoo import shipped
from zoo.training import evaluation, files
from zoo.training.preprocessing.images import fit_to
from zoo.training.preprocessing.text import Vocabulary
from zoo.training.recipes import Recipe

_DRAWN = 32  # examples for a network that comes without any


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a finished run has left, see `load`, or what is shipped, see `run_or_shipped`."""

    run: Path                      # the run directory; a shipped network's own folder
    model: keras.Model             # from images or token ids to logits
    metrics: dict                  # metrics.json
    recipe: Recipe
    vocabulary: Vocabulary | None  # None of an image network
    examples: np.ndarray           # uint8 images (n, height, width, channels), or n UTF-8 texts as bytes
    of: str = "test"               # what examples these are: "test", or "random"

    @property
    def name(self):
        """What its export is called unless told otherwise: as it is shipped, or as its recipe."""
        return self.run.name if self.of == "random" else self.recipe.name

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
        return evaluation.probabilities(self.model, inputs)

    def dataset(self, data_dir=None):
        """Return the `zoo.training.data.dataset.Dataset` it was trained on, validation examples among the training ones.

        Raises:
            zoo.errors.UserError: if they are not to be had, or have changed since.
        """
        found = evaluation.dataset(self.model, self.recipe, self.vocabulary, data_dir)
        evaluation.refuse_others(self.run, self.metrics, self.recipe.data, found)
        return found


def load(run):
    """Return the `Trained` of the finished run in the directory `run`.

    Raises:
        zoo.errors.UserError: if there is no finished run.
    """
    model, metrics, recipe = evaluation.load(run)
    with files.arrays_of(Path(run) / "examples.npz") as kept:
        examples = kept["examples"]
    return Trained(Path(run), model, metrics, recipe, evaluation.vocabulary(run), examples)


def run_or_shipped(source):
    """Return the `Trained` of a finished run, or of a shipped network, whose examples are drawn: it comes without data.

    Args:
        source: the path of a run directory, or, where nothing has that path, a name of `zoo.shipped`.

    Raises:
        zoo.errors.UserError: if there is neither, or its files are damaged.
    """
    if evaluation.is_run(source):
        return load(source)
    model, class_names, recipe, vocabulary = evaluation.network(source)
    card = shipped.card(source)
    metrics = {**card["metrics"], "class_names": class_names, "versions": card["trained_with"]}
    draw = np.random.default_rng(0)
    examples = _sentences(draw, vocabulary) if vocabulary else _colours(draw, model.input.shape[1:])
    return Trained(shipped.FOLDER / source, model, metrics, recipe, vocabulary, examples, of="random")


def _colours(draw, shape):
    """Images of a few soft patches each, which networks tell apart better than noise."""
    return fit_to(draw.integers(0, 256, (_DRAWN, 4, 4, shape[-1]), "uint8"), shape, "stretch").numpy()


def _sentences(draw, vocabulary):
    """Sentences of 1 to 20 known words."""
    return np.array([" ".join(draw.choice(vocabulary.words[2:], length)).encode()
                     for length in draw.integers(1, 21, _DRAWN)])


def questions(split):
    """Return all examples of a `zoo.training.data.splits.Split` as `Trained.examples` holds some: images, or texts as bytes."""
    return np.array(split.raw(np.arange(len(split))))
