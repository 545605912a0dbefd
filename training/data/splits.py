"""The training, validation and test split of a data set, as arrays of indices."""
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from zoo.errors import UserError
from zoo.training.data.source import TEST_SHARE, Source

FILES = "files:"
_CHUNK = 4096  # examples fingerprinted at a time


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of `source` at `indices`."""

    source: Source
    indices: np.ndarray  # int64 of shape (m,)

    def __len__(self):
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        """The labels, int32 of shape (m,)."""
        return self.source.labels[self.indices]

    @property
    def examples(self) -> np.ndarray:
        """All examples as `take` returns them, copied into memory."""
        return self.take(np.arange(len(self)))

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Return some examples as the network takes them.

        Args:
            indices: integers from 0 to m - 1.

        Returns:
            uint8 images (n, height, width, channels), or int32 token ids (n, longest sentence).
        """
        return cast(np.ndarray, self.source.read(self.indices[indices]))  # a cache's

    def in_batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the examples of `take` in batches."""
        return self.source.in_batches(self.indices[indices])

    def raw(self, indices: np.ndarray) -> np.ndarray | list[Any]:
        """Return some examples as a client sends them: uint8 images, or UTF-8 texts as bytes."""
        return self.source.raw(self.indices[indices])


def fingerprint(splits: list[Split]) -> str:
    """Return a hash of all examples and labels of `splits`, as 32 hexadecimal digits.

    Of a stream it starts with `FILES`, and is of the labels and what `Source.identity` gives: names
    and sizes of files, for example. To read all of its examples may take hours.
    """
    if any(split.source.is_stream for split in splits):
        return FILES + _identity(splits)
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        digest.update(np.ascontiguousarray(split.labels).tobytes())
        for first in range(0, len(split), _CHUNK):
            raw = split.raw(np.arange(first, min(first + _CHUNK, len(split))))
            digest.update(b"\0".join(raw) if isinstance(raw, list) else raw.tobytes())
    return digest.hexdigest()


def _identity(splits):
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        digest.update(np.ascontiguousarray(split.labels).tobytes())
        digest.update(split.source.identity(split.indices))
    return digest.hexdigest()


def is_of_stream(fingerprint: object) -> bool:
    """Return whether a fingerprint is that of a stream."""
    return str(fingerprint).startswith(FILES)


def given_splits(source: Source) -> dict[str, Split]:
    """Return the splits that `source` comes with; all of it is "train" if it comes undivided."""
    splits = source.splits or {"train": np.arange(len(source))}
    return {name: Split(source, indices) for name, indices in splits.items()}


def cross_validation_splits(source: Source, folds: int, fold: int) -> dict[str, Split]:
    """Return fold number `fold` of `folds` as the test split and the others as the training split.

    All given splits are put together and divided by class (Kim 2014, section 3).

    Raises:
        zoo.errors.UserError: if a class has fewer examples than there are folds.
    """
    smallest = np.bincount(source.labels).min()
    if folds > smallest:
        raise UserError(f"folds must be at most {smallest}, as many as its smallest class has "
                        f"examples. Received: {folds}.")
    divider = StratifiedKFold(folds, shuffle=True, random_state=0)
    train, test = list(divider.split(source.labels, source.labels))[fold]
    return {"train": Split(source, train), "test": Split(source, test)}


def fill_missing_splits(splits: dict[str, Split], name: str, validation: float,
                        seed: int) -> dict[str, Split]:
    """Return `splits` of the data set `name` with the missing ones drawn from the training split.

    A missing test split is a fifth of the training split, the same for every seed. A missing
    validation split is then the share `validation` of the rest, drawn by `seed`; 0 draws none.
    Both are stratified by class. A missing training split is empty: trained networks can be
    evaluated on a test split alone.

    Raises:
        zoo.errors.UserError: if there is neither a training nor a test split, or there are too few
            examples to draw a split from.
    """
    if not splits.keys() & {"train", "test"}:
        raise UserError(f"{name}: expected a train or a test split. "
                        f"Received: {', '.join(splits) or 'neither'}.")
    if "train" not in splits:
        return {**splits, "train": Split(splits["test"].source, np.arange(0))}
    splits = dict(splits)
    if "test" not in splits:
        splits["train"], splits["test"] = stratified_split(splits["train"], TEST_SHARE, seed=0)
    if "validation" not in splits and validation:
        splits["train"], splits["validation"] = stratified_split(splits["train"], validation, seed)
    return splits


def stratified_split(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Return (the rest, `share` of the examples drawn by `seed`), both with the same class ratios.

    Args:
        split: what is divided.
        share: a share below 1, or a number of examples.
        seed: of the draw.
    """
    try:
        rest, drawn = train_test_split(split.indices, test_size=share, random_state=seed,
                                       stratify=split.labels)
    except ValueError as error:  # a class of one example, or fewer examples drawn than classes
        amount = share if share >= 1 else f"{share:.0%}"
        raise UserError(f"Cannot set {amount} of {len(split):,} examples aside by class: "
                        f"{error}") from None
    return Split(split.source, np.sort(rest)), Split(split.source, np.sort(drawn))


def subsample(split: Split, count: int, seed: int) -> Split:
    """Return `count` examples of `split`, drawn by `seed` and class; all if `count` is 0."""
    if not 0 < count < len(split):
        return split
    return stratified_split(split, count, seed)[1]


def check_train_split(train: Split, name: str) -> None:
    """Raise UserError if the training split of the data set `name` is empty."""
    if not len(train):
        raise UserError(f"{name} has no training split. `zoo evaluate RUN --data {name}` evaluates "
                        "a run on its test split.")
