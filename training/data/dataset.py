"""Data sets by name: opened, split and cached.

Examples are decoded or numbered once, into memory or a file on disk; or, images that are too many,
whenever they are read. Training picks its batches by index, so that every step is a function of
(seed, step).
"""
import dataclasses
import os
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from zoo.errors import UserError
from zoo.training.data.augmentation.settings import needs_original
from zoo.training.data.cache import ImageCache, fits_memory
from zoo.training.data.opening import open_source
from zoo.training.data.sentences import Sentences
from zoo.training.data.source import VALIDATION_SHARE, Source
from zoo.training.data.splits import (
    Split,
    check_train_split,
    cross_validation_splits,
    fill_missing_splits,
    given_splits,
)
from zoo.training.data.stream import ImageStream
from zoo.training.data.token_cache import TokenCache
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.recipe import Recipe

_MOST_COUNTED = 10_000  # images of a stream of which mean and standard deviation are computed


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in three splits: train fits, validation selects, test is used once."""

    train: Split
    validation: Split | None
    test: Split
    class_names: list[str]  # in label order
    vocabulary: Vocabulary | None = None  # of sentences; their words or characters

    @property
    def counted(self) -> np.ndarray:
        """The indices of the training images of which `statistics` are computed.

        All of them; of a stream at most 10,000, evenly spaced: classes stand one after another.
        """
        count = len(self.train)
        if self.train.source.is_stream and count > _MOST_COUNTED:
            return np.linspace(0, count - 1, _MOST_COUNTED).astype("int64")
        return np.arange(count)

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """(means, standard deviations) of the `counted` images, per channel, scaled to 0 to 1."""
        channels = cast(int, self.train.source.native_shape[-1])
        counts = np.zeros((channels, 256), "int64")
        for images in self.train.in_batches(self.counted):
            counts += [np.bincount(channel.ravel(), minlength=256)
                       for channel in np.moveaxis(images, -1, 0)]
        levels = np.arange(256) / 255
        means = [float(np.average(levels, weights=count)) for count in counts]
        return means, [float(np.average((levels - mean) ** 2, weights=count) ** 0.5)
                       for mean, count in zip(means, counts, strict=True)]


def load_dataset(recipe: Recipe, shape: tuple | None = None, vocabulary: Vocabulary | None = None,
                 *, data_dir: str | os.PathLike | None = None, source: Source | None = None,
                 cache_dir: str | os.PathLike | None = None, validation: bool = True,
                 streams: bool | None = None, say: Callable | None = None) -> Dataset:
    """Load the data set of a recipe.

    Given splits are kept and missing ones drawn, see `zoo.training.data.splits`. With
    `recipe.folds` the test split is one fold of the whole.

    Args:
        recipe: gives data, validation_split, seed, folds and fold; resize, eval_resize, background,
            skip_bad, cache and augment for images; vocabulary, min_count and max_tokens for
            sentences.
        shape: (height, width, channels) to resize images to; None for their own.
        vocabulary: of a trained network or of characters; None builds one from the words of the
            training split.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        source: the data set if it is open already.
        cache_dir: see `zoo.training.data.cache.ImageCache`.
        validation: whether to draw a missing validation split.
        streams: whether a training that is resumed, or was finished, with cache "auto" decoded
            images whenever they were read; None if there is none, and the memory decides.
        say: called with a line about what takes time or space.

    Raises:
        zoo.errors.UserError: if the data set cannot be opened, read, decoded or divided.
    """
    if source is None:
        source = open_source(recipe.data, data_dir)
    if isinstance(source, Sentences):
        source.say = say
    if source.kind == "image":
        shape = shape or _own_shape(source)
        streams = _streams(source, shape, recipe, streams)
    source.check(recipe.skip_bad, listing_only=bool(streams))
    if say:
        for line in source.left_out:
            say(line)
    if source.kind == "image":
        options: dict[str, Any] = {
            "resize": recipe.resize, "eval_resize": recipe.eval_resize,
            "background": recipe.background, "skip_bad": recipe.skip_bad, "say": say}
        if streams:
            source = ImageStream(source, cast(tuple, shape), **options)
        else:
            source = ImageCache(source, cast(tuple, shape), cache_dir=cache_dir,
                                cache=recipe.cache, **options)
    splits = given_splits(source)
    if recipe.folds:
        splits = cross_validation_splits(source, recipe.folds, recipe.fold)
    share = recipe.validation_split if validation else 0
    splits = fill_missing_splits(splits, recipe.data, share, recipe.seed)
    if source.kind == "text":
        if vocabulary is None:
            check_train_split(splits["train"], recipe.data)
        raw = cast(Callable[[np.ndarray], list[bytes]], source.raw)
        tokens = TokenCache(raw, source.labels, vocabulary, recipe.max_tokens,
                            train=splits["train"].indices, size=recipe.vocabulary,
                            min_count=recipe.min_count, cache_dir=cache_dir, say=say)
        vocabulary = tokens.vocabulary
        splits = {name: Split(tokens, split.indices) for name, split in splits.items()}
    return Dataset(splits["train"], splits.get("validation"), splits["test"], source.class_names,
                   vocabulary)


def load_data(name: str, shape: tuple | None = None, *, validation_split: float = VALIDATION_SHARE,
              seed: int = 0, resize: str = "stretch", eval_resize: int = 0,
              background: str = "white", skip_bad: bool = False, cache: str = "auto",
              vocabulary: int = 20_000,
              min_count: int = 1, max_tokens: int = 400, alphabet: str = "",
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
        eval_resize: of "crop" alone, the pixels of the shorter side before the cut; 0 for as few as
            the cut needs.
        background: of transparent images, "white", "black" or a colour such as "#ffe0c0".
        skip_bad: leave out image files that cannot be decoded, instead of raising.
        cache: where images are kept, "auto", "memory", "disk" or "none"; see
            `zoo.training.recipe.Recipe`.
        vocabulary: sentences: the maximum number of words, the most frequent ones.
        min_count: sentences: a word must occur this often in the training split.
        max_tokens: sentences: longer ones are truncated.
        alphabet: sentences: the characters that are tokens, such as `zoo.char_cnn.ALPHABET`; "" for
            words as tokens.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        cache_dir: the directory for decoded images that would crowd the memory.
        say: called with a line about what takes time or space, such as `print`.

    Raises:
        zoo.errors.UserError: if the data set cannot be opened, read, decoded or divided.
    """
    recipe = Recipe("data", "", name, validation_split=validation_split, seed=seed, resize=resize,
                    eval_resize=eval_resize, background=background, skip_bad=skip_bad, cache=cache,
                    vocabulary=vocabulary, min_count=min_count, max_tokens=max_tokens)
    characters = Vocabulary.of_characters(alphabet) if alphabet else None
    return load_dataset(recipe, shape, characters, data_dir=data_dir, cache_dir=cache_dir, say=say)


def _streams(source, shape, recipe, begun):
    if needs_original(recipe.augment):  # which is not kept
        return True
    if recipe.cache == "auto":
        return not fits_memory(source, shape) if begun is None else begun
    return recipe.cache == "none"


def _own_shape(source):
    if None in source.native_shape:
        raise UserError(f"The images of {source.name} vary in size: name a shape to resize them "
                        "to, such as (224, 224, 3).")
    return source.native_shape
