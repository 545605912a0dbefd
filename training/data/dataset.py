"""Data sets by name: opened, split and cached.

Examples are decoded or numbered once, into memory or a file on disk. Training then picks its
batches by index, so that every step is a function of (seed, step).
"""
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np

from zoo.errors import UserError
from zoo.training.data import tfds
from zoo.training.data.cache import ImageCache, TokenCache
from zoo.training.data.digits import Digits
from zoo.training.data.image_folder import ImageFolder
from zoo.training.data.npz import Npz
from zoo.training.data.sentences import (
    SentenceTable,
    TextFolder,
    check_only_tables,
    is_text_folder,
    list_tables,
)
from zoo.training.data.source import VALIDATION_SHARE, Source
from zoo.training.data.splits import (
    Split,
    check_train_split,
    cross_validation_splits,
    fill_missing_splits,
    given_splits,
)
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.recipe import Recipe

_BATCH = 256  # images counted at a time
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_FILE_MARKS = ("\\", ".npz", ".csv", ".tsv")  # in an argument that can only be a path


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in three splits: train fits, validation selects, test is used once."""

    train: Split
    validation: Split | None
    test: Split
    class_names: list[str]  # in label order
    vocabulary: Vocabulary | None = None  # of sentences

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """(means, standard deviations) of the training images, per channel, scaled to 0 to 1."""
        channels = cast(int, self.train.source.native_shape[-1])
        counts = np.zeros((channels, 256), "int64")
        for first in range(0, len(self.train), _BATCH):
            images = self.train.take(np.arange(first, min(first + _BATCH, len(self.train))))
            counts += [np.bincount(channel.ravel(), minlength=256)
                       for channel in np.moveaxis(images, -1, 0)]
        levels = np.arange(256) / 255
        means = [float(np.average(levels, weights=count)) for count in counts]
        return means, [float(np.average((levels - mean) ** 2, weights=count) ** 0.5)
                       for mean, count in zip(means, counts, strict=True)]


def open_source(argument: str, data_dir: str | os.PathLike | None = None) -> Source:
    """Open the data set that `argument` names. This is the only place that tells kinds apart.

    Args:
        argument: "digits"; the path of an .npz file, of a CSV or TSV file, of a folder of tables
            named train, validation and test, or of a folder of class folders of images or of .txt
            files (with train, validation and test above them or without); or a name of TensorFlow
            Datasets, such as "mnist" or "emnist/letters". What exists as a path is a path.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.

    Raises:
        zoo.errors.UserError: if there is no such data set, or it is none of labelled images or
            sentences.
    """
    path = Path(argument)
    if argument == "digits":
        return Digits()
    is_path = path.exists() or any(mark in argument for mark in _FILE_MARKS) or (
        "/" in argument and not tfds.is_builder(argument))
    if not is_path:
        return tfds.open_tfds(argument, data_dir)
    if path.suffix == ".npz":
        return Npz(argument)
    tables = list_tables(path)
    if path.is_file() and not tables:
        advice = ""
        if path.suffix.lower() in _ARCHIVES:
            advice = " Unpack the archive and name the folder."
        raise UserError(f"{path} is a file. Expected a folder, a CSV or TSV table, or an .npz file."
                        f"{advice}")
    if tables:
        check_only_tables(path, tables.values())
        return SentenceTable(argument)
    return TextFolder(argument) if is_text_folder(path) else ImageFolder(argument)


def load_dataset(recipe: Recipe, shape: tuple | None = None, vocabulary: Vocabulary | None = None,
                 *, data_dir: str | os.PathLike | None = None, source: Source | None = None,
                 cache_dir: str | os.PathLike | None = None, validation: bool = True,
                 say: Callable | None = None) -> Dataset:
    """Load the data set of a recipe.

    Given splits are kept and missing ones drawn, see `zoo.training.data.splits`. With
    `recipe.folds` the test split is one fold of the whole.

    Args:
        recipe: gives data, validation_split, seed, folds and fold; resize, background and skip_bad
            for images; vocabulary, min_count and max_tokens for sentences.
        shape: (height, width, channels) to resize images to; None for their own.
        vocabulary: of a trained network; None builds one from the training split.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        source: the data set if it is open already.
        cache_dir: see `zoo.training.data.cache.ImageCache`.
        validation: whether to draw a missing validation split.
        say: called with a line about what takes time or space.

    Raises:
        zoo.errors.UserError: if the data set cannot be opened, read, decoded or divided.
    """
    if source is None:
        source = open_source(recipe.data, data_dir)
    source.check(recipe.skip_bad)
    if say:
        for line in source.left_out:
            say(line)
    if source.kind == "image":
        source = ImageCache(source, shape or _own_shape(source), recipe.resize, recipe.background,
                            recipe.skip_bad, cache_dir, say)
    splits = given_splits(source)
    if recipe.folds:
        splits = cross_validation_splits(source, recipe.folds, recipe.fold)
    share = recipe.validation_split if validation else 0
    splits = fill_missing_splits(splits, recipe.data, share, recipe.seed)
    if source.kind == "text":
        if vocabulary is None:
            check_train_split(splits["train"], recipe.data)
            texts = cast(list[str], source.read(splits["train"].indices))
            vocabulary = Vocabulary.build(texts, recipe.vocabulary, recipe.min_count)
        texts = cast(list[str], source.read(np.arange(len(source))))
        tokens = TokenCache(texts, source.labels, vocabulary, recipe.max_tokens)
        splits = {name: Split(tokens, split.indices) for name, split in splits.items()}
    return Dataset(splits["train"], splits.get("validation"), splits["test"], source.class_names,
                   vocabulary)


def load_data(name: str, shape: tuple | None = None, *, validation_split: float = VALIDATION_SHARE,
              seed: int = 0, resize: str = "stretch", background: str = "white",
              skip_bad: bool = False, vocabulary: int = 20_000, min_count: int = 1,
              max_tokens: int = 400,
              data_dir: str | os.PathLike | None = None,
              cache_dir: str | os.PathLike | None = None,
              say: Callable | None = None) -> Dataset:
    """Load a data set by name, without a recipe.

    The arrays of its splits are `dataset.train.examples` and `dataset.train.labels`.

    Args:
        name: the data set, see `open_source`.
        shape: (height, width, channels) to resize images to; None for their own.
        validation_split: share of the training split, 0 to 0.5, if no validation split is given.
        seed: draws the validation split.
        resize: "stretch", "crop" or "pad".
        background: of transparent images, "white", "black" or a colour such as "#ffe0c0".
        skip_bad: leave out image files that cannot be decoded, instead of raising.
        vocabulary: sentences: the maximum number of words, the most frequent ones.
        min_count: sentences: a word must occur this often in the training split.
        max_tokens: sentences: longer ones are truncated.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        cache_dir: the directory for decoded images that would crowd the memory.
        say: called with a line about what takes time or space, such as `print`.

    Raises:
        zoo.errors.UserError: if the data set cannot be opened, read, decoded or divided.
    """
    recipe = Recipe("data", "", name, validation_split=validation_split, seed=seed, resize=resize,
                    background=background, skip_bad=skip_bad, vocabulary=vocabulary,
                    min_count=min_count, max_tokens=max_tokens)
    return load_dataset(recipe, shape, data_dir=data_dir, cache_dir=cache_dir, say=say)


def _own_shape(source):
    if None in source.native_shape:
        raise UserError(f"The images of {source.name} vary in size: name a shape to resize them "
                        "to, such as (224, 224, 3).")
    return source.native_shape
