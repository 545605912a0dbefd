"""Trained networks, loaded in one place: from a run directory, or by the name of a shipped one."""
import dataclasses
import functools
import os
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo import catalog, shipped
from zoo.errors import UserError
from zoo.startup import quiet_retracing
from zoo.training import files, run_dir
from zoo.training.data import pipeline
from zoo.training.data.dataset import Dataset, load_dataset
from zoo.training.data.opening import open_source
from zoo.training.data.splits import Split, fingerprint, is_of_stream
from zoo.training.data.stream import naming_bad_files
from zoo.training.preprocessing.images import fit_to
from zoo.training.preprocessing.pillow_images import DROPPED
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.recipe import Recipe, read_run

_RANDOM_EXAMPLES = 32
_BATCH_SIZE = 256
_CLASSES_NAMED = 5  # in an error message


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network; see `load`.

    Attributes:
        run: the run directory; for a shipped network, its folder.
        model: from images or token ids to float32 logits.
        metrics: what metrics.json holds, or the metrics of a shipped network's card.
        recipe: what the network was trained by.
        vocabulary: of a text network, words or characters; None for an image network.
        is_shipped: whether it was loaded by name; such a network comes without data and examples.
    """

    run: Path
    model: keras.Model
    metrics: dict[str, Any]
    recipe: Recipe
    vocabulary: Vocabulary | None = None
    is_shipped: bool = False

    @property
    def name(self) -> str:
        """The name it ships under, or that of its recipe."""
        return self.run.name if self.is_shipped else self.recipe.name

    @property
    def class_names(self) -> list[str]:
        """The class names, in the order of the logits."""
        # Older versions kept the accents of folders' names decomposed, as macOS writes them.
        return [unicodedata.normalize("NFC", name) for name in self.metrics["class_names"]]

    @property
    def features(self) -> keras.KerasTensor:
        """The symbolic tensor that the logits are computed from, (batch, n) in most networks."""
        names = [layer.name for layer in self.model.layers]
        features = self.model.get_layer("logits" if "logits" in names else names[-1]).input
        if len(features.shape) == 4:  # see `zoo.blocks.averaged_logits`
            return keras.layers.GlobalAveragePooling2D(name="features")(features)
        return features

    @functools.cached_property
    def examples(self) -> np.ndarray:
        """Raw inputs to compare exports on: the first test examples of a run, else random ones.

        They are uint8 images of shape (n, height, width, channels), or n UTF-8 texts as bytes.

        Raises:
            zoo.errors.UserError: if the file of the run is damaged or missing.
        """
        if not self.is_shipped:
            with files.arrays_of(self.run / "examples.npz") as arrays:
                return arrays["examples"]
        generator = np.random.default_rng(0)
        if self.vocabulary:
            return _random_sentences(generator, self.vocabulary)
        return _random_images(generator, self.model.input.shape[1:])

    @property
    def counted_of(self) -> str:
        """What the multiply-adds of the network are of: one "image", "token" or "sentence"."""
        if not self.vocabulary:
            return "image"
        return "token" if self.vocabulary.unit == "words" else "sentence"

    @property
    def examples_of(self) -> str:
        """What `examples` are: "test" or "random"."""
        return "random" if self.is_shipped else "test"

    def raw_inputs(self, split: Split) -> np.ndarray:
        """Return all examples of a split in the form of `examples`."""
        return np.array(split.raw(np.arange(len(split))))

    def inputs(self, raw: np.ndarray | Sequence[Any]) -> np.ndarray:
        """Return what the network takes for raw inputs in the form of `examples`.

        Returns:
            float32 pixels in [0, 255], or int32 token ids of shape (n, longest text).
        """
        if self.vocabulary:
            return self.vocabulary.encode([text.decode() for text in raw], self.recipe.max_tokens)
        return np.asarray(raw, "float32")

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Return the softmax of the logits of `inputs`, float32 of shape (n, classes)."""
        with quiet_retracing():
            logits = self.model.predict(inputs, verbose=0, batch_size=_BATCH_SIZE)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))

    def dataset(self, data_dir: str | None = None, name: str | None = None) -> Dataset:
        """Return the data set that the network was trained on, or another with the same classes.

        No images are held out for validation. Labels follow the order of `class_names`, by name.

        Args:
            data_dir: where TensorFlow Datasets keeps its files.
            name: another data set; None for its own.

        Raises:
            zoo.errors.UserError: if the data set cannot be loaded or has other classes, or the
                test split of its own data set has changed since the training.
        """
        recipe = dataclasses.replace(self.recipe, data=name or self.recipe.data)
        opened = open_source(recipe.data, data_dir)
        opened.order_classes(self.class_names)
        streams = None
        if not name and "data_fingerprint" in self.metrics:
            streams = is_of_stream(self.metrics["data_fingerprint"])
        dataset = load_dataset(recipe, self.model.input.shape[1:], self.vocabulary, source=opened,
                               validation=self.vocabulary is not None, streams=streams)
        source = self.name if self.is_shipped else self.run
        if dataset.class_names != self.class_names:
            raise UserError(f"{source} was trained on the classes {shortened(self.class_names)}; "
                            f"{recipe.data} has {shortened(dataset.class_names)}.")
        expected = None if name else self.metrics.get("test_fingerprint")
        if expected and expected != fingerprint([dataset.test]):
            why = ""
            if self.recipe.background == DROPPED:
                why = " (or its images are JPEG files, which are decoded more exactly since 0.2.0)"
            raise UserError(f"The test split of {recipe.data} has changed since {source} was "
                            f"trained{why}, and may hold training examples. "
                            f"`zoo evaluate {source} --data {recipe.data}` scores it anyway.")
        return dataset


def load(name_or_path: str | os.PathLike[str]) -> Trained:
    """Load a trained network.

    Args:
        name_or_path: the path of the directory of a finished run; or, where no file has that path,
            the name of a network that ships with the zoo (`zoo.shipped.names()`), of one with
            ImageNet weights, such as "mobilenet_v2-imagenet", or the address of one on the Hugging
            Face Hub, "hf://owner/name".

    Raises:
        zoo.errors.UserError: if there is no such network, the run has not finished, a file is
            damaged, or ImageNet weights cannot be downloaded.
    """
    if run_dir.is_run(name_or_path):
        return _load_run(Path(name_or_path))
    return _load_shipped(str(name_or_path))


def _load_run(run: Path) -> Trained:
    metrics, recipe = run_dir.results(run), read_run(run)
    file, vocabulary = run / "model.keras", run / "vocab.txt"
    try:
        model = keras.models.load_model(file, compile=False)
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        version = metrics.get("versions", {}).get("keras", "of unknown version")
        reason = str(error).strip().splitlines()[-1]  # Keras puts the innermost reason last
        raise UserError(f"Cannot open {file} with Keras {keras.__version__}; "
                        f"Keras {version} made it: {reason}") from error
    words = Vocabulary.parse(vocabulary.read_text("utf-8")) if vocabulary.exists() else None
    return Trained(run, model, metrics, recipe, words)


def _load_shipped(name: str) -> Trained:
    catalog.check_trained(name)
    card, vocabulary = shipped.card(name), None
    if "vocab.txt" in card["files"]:
        vocabulary = Vocabulary.parse(shipped.read(name, "vocab.txt").decode())
    from_hub = {key: card[key] for key in ("weights_file", "published") if key in card}
    metrics = {**card["metrics"], **from_hub, "class_names": card["class_names"],
               "versions": card["trained_with"]}
    try:
        recipe = Recipe(**card["recipe"])
    except TypeError as error:  # from the Hub, by another version
        raise UserError(f"The card of {name} has no recipe of this version: {error}.") from None
    return Trained(shipped.FOLDER / name, shipped.load(name), metrics, recipe, vocabulary,
                   is_shipped=True)


def predict_logits(model: keras.Model, split: Split, batch_size: int = _BATCH_SIZE) -> np.ndarray:
    """Return the logits of all examples of `split` in order, float32 of shape (n, classes)."""
    batches = pipeline.batches(split, batch_size, model.output.shape[-1])
    with quiet_retracing(), naming_bad_files(lambda: [(split, np.arange(len(split)))]):
        return model.predict(batches.map(lambda inputs, labels: inputs), verbose=0)


def _random_images(generator, shape):
    """Images of 4x4 soft patches: networks tell them apart better than noise."""
    patches = generator.integers(0, 256, (_RANDOM_EXAMPLES, 4, 4, shape[-1]), "uint8")
    return fit_to(patches, shape, "stretch").numpy()


def _random_sentences(generator, vocabulary):
    """Sentences of 1 to 20 words of the vocabulary."""
    return np.array([" ".join(generator.choice(vocabulary.words[2:], length)).encode()
                     for length in generator.integers(1, 21, _RANDOM_EXAMPLES)])


def shortened(names: Sequence[str]) -> str:
    """Return names for a message: the first ones, and how many more there are."""
    more = len(names) - _CLASSES_NAMED
    return ", ".join(names[:_CLASSES_NAMED]) + (f" and {more} more" if more > 0 else "")
