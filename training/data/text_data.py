"""Sentences as a data set: read, divided, numbered by a vocabulary of the training part, and held as rows of token ids."""
import dataclasses
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from zoo.errors import UserError
from zoo.training.data import sentences as text
from zoo.training.data import sources
from zoo.training.data.cache import Split
from zoo.training.data.checks.image_files import SUFFIXES
from zoo.training.data.dataset import Dataset, complete, is_path, refuse_untrained
from zoo.training.preprocessing.text import Vocabulary


def is_text(name, data_dir=None):
    """Return whether the data set `name` is one of sentences.

    Such are a CSV or TSV file, a folder of those named as parts or of class folders with .txt files and no images, and the
    names of TensorFlow Datasets whose examples have a text.
    """
    if name == "digits" or Path(name).suffix == ".npz":
        return False
    if not is_path(name):
        return "text" in sources.tfds_builder(name, data_dir).info.features
    path = Path(name)
    if not path.is_dir():
        return path.suffix.lower() in (".csv", ".tsv")
    return bool(text.tables(path)) or _holds(path, {".txt"}) and not _holds(path, SUFFIXES)


def _holds(folder, suffixes):
    return any(file.suffix.lower() in suffixes for file in folder.glob("*/**/*"))


def load(recipe, data_dir=None, vocabulary=None):
    """Load the sentences of `recipe.data`.

    Given parts are kept, missing ones drawn as `zoo.training.data.dataset.complete` draws them. With `recipe.folds` all parts are put
    together, and the fold number `recipe.fold` of a stratified division into so many is the test part (Kim 2014, section 3).

    Args:
        recipe: gives data, validation_split, seed, vocabulary, min_count, max_tokens, folds and fold.
        data_dir: where TensorFlow Datasets keeps its files.
        vocabulary: of a trained network; None to build one from the training part.

    Returns:
        A `zoo.training.data.dataset.Dataset` whose examples are token ids, int32 of shape (n, longest), padded with 0 at the end.

    Raises:
        zoo.errors.UserError: if the data cannot be read, or cannot be divided.
    """
    given, class_names = _read(recipe.data, data_dir)
    texts = np.array([text for texts, _ in given.values() for text in texts], object)
    labels = np.array([class_names.index(label) for _, labels in given.values() for label in labels], "int32")
    whole = Split(texts, labels, np.arange(len(texts)))
    parts = _parts(whole, {part: len(texts) for part, (texts, _) in given.items()}, recipe)
    parts = complete(parts, recipe.data, recipe.validation_split, recipe.seed)
    if vocabulary is None:
        refuse_untrained(parts["train"], recipe.data)
    vocabulary = vocabulary or Vocabulary.build(parts["train"].images.tolist(), recipe.vocabulary, recipe.min_count)
    ids = vocabulary.encode(texts.tolist(), recipe.max_tokens)
    held = {part: dataclasses.replace(split, store=ids, texts=texts) for part, split in parts.items()}
    return Dataset(held["train"], held.get("validation"), held["test"], class_names, vocabulary)


def _read(name, data_dir):
    """{part: (texts, labels)} and the class names in order."""
    if is_path(name):
        given = text.read(name)
        return given, sorted({label for _, labels in given.values() for label in labels})
    found = listing(name, data_dir)
    names = sources.tfds_builder(name, data_dir).info.features["label"].names
    return {part: ([text for _, text, _ in rows], [label for _, _, label in rows]) for part, rows in found.items()}, names


def listing(name, data_dir=None):
    """Return {part: [(number, text, label), ...]} of the data set `name` of TensorFlow Datasets."""
    builder = sources.tfds_builder(name, data_dir)
    sources.prepare(builder)
    names = builder.info.features["label"].names
    return {part: [(number, row["text"].decode(), names[row["label"]]) for number, row in
                   enumerate(builder.as_dataset(split=part, shuffle_files=False).as_numpy_iterator())]
            for part in ("train", "validation", "test") if part in builder.info.splits}


def _parts(whole, counts, recipe):
    """The given parts of `whole`, which stand one after the other; or one fold as the test part, and the rest to train on."""
    if recipe.folds:
        smallest = np.bincount(whole.labels).min()
        if recipe.folds > smallest:
            raise UserError(f"folds must be at most {smallest}, as many as its smallest class has examples. Received: "
                            f"{recipe.folds}.")
        divided = list(StratifiedKFold(recipe.folds, shuffle=True, random_state=0).split(whole.rows, whole.labels))
        train, test = divided[recipe.fold]
        return {"train": dataclasses.replace(whole, rows=train), "test": dataclasses.replace(whole, rows=test)}
    ends = np.cumsum(list(counts.values()))
    return {part: dataclasses.replace(whole, rows=np.arange(end - count, end))
            for (part, count), end in zip(counts.items(), ends, strict=True)}
