"""Where examples come from: folders of images, arrays in .npz files, and TensorFlow Datasets."""
import logging
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import requests

from zoo.errors import UsageError, UserError, unknown

SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
          "dev": "validation", "test": "test"}
MOST_CLASSES = 1_000_000  # a larger label is no class, but an id or a mark
TEST_SHARE = 0.2  # of a data set that comes without a test part
_NPZ_NAMES = {"train": (("x_train", "y_train"), ("images", "labels"), ("x", "y")),
              "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("x_validation", "y_validation")),
              "test": (("x_test", "y_test"),)}

_PAIRED = {name: other for pairs in _NPZ_NAMES.values() for x, y in pairs for name, other in ((x, y), (y, x))}


def files(folder):
    """List the files of a folder of class folders, with or without train, validation and test above them.

    Args:
        folder: path; its class folders are named by their labels, and may hold folders of their own. Hidden files and folders
            do not count, nor do links to folders.

    Returns:
        A list of (path, label, split), sorted by split, label and file name; split is "train", "validation", "test", or
        None where the folder has no such parts.

    Raises:
        zoo.errors.UserError: if there are no class folders, or files stand where class folders should.
    """
    parts = _folders(Path(folder))
    given = {name: SPLITS[name.lower()] for name in parts if name.lower() in SPLITS}
    if given and len(given) < len(parts):
        odd = min(set(parts) - set(given))
        raise UserError(f"{folder} has both parts ({', '.join(given)}) and {odd!r}; expected parts alone, or classes alone.")
    roots = [(Path(folder) / name, split) for name, split in given.items()] or [(Path(folder), None)]
    found = [(path, label, split) for root, split in roots for label in _folders(root)
             for path in sorted((root / label).rglob("*")) if path.is_file() and not _hidden(path.relative_to(root))]
    if not found:
        raise UserError(f"{folder} holds no class folders with files; expected {folder}/[train|validation|test/]CLASS/IMAGE.")
    return found


def _hidden(path):
    return any(name.startswith(".") for name in path.parts)


def class_names(folder):
    """Return the names of all class folders of `folder`, the empty ones too, numbers in the order of numbers."""
    parts = _folders(Path(folder))
    roots = [Path(folder) / name for name in parts if name.lower() in SPLITS] or [Path(folder)]
    return sorted({label for root in roots for label in _folders(root)}, key=_numerically)


def arrays(path, check=True):
    """Read the images and labels of a .npz file.

    Args:
        path: of a file with x_train and y_train, and, if it has them, x_val, y_val, x_test and y_test; or with images and
            labels; or with x_test and y_test alone; class_names, if it has them, are for `array_names`. Images are
            (n, height, width) or (n, height, width, 1 or 3) in [0, 255]; labels integers of shape (n,).
        check: whether to refuse other arrays; if not, they are returned as they are.

    Returns:
        {"train": (images, labels), ...}: images uint8 of shape (n, height, width, channels), labels int32 of shape (n,).

    Raises:
        zoo.errors.UserError: if the file cannot be read or holds anything else.
    """
    try:
        with zipfile.ZipFile(path):  # np.load would take what is none for a pickle, and recommend it
            pass
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"Cannot read {path} as .npz: {error}.") from None
    odd = sorted(name for name in held if name[:2].lower() in ("x_", "y_") and _PAIRED.get(name) not in held)
    if odd:
        raise UserError(f"{path} has {odd[0]} without its other half, or under a name that is not known. Expected pairs of "
                        f"{', '.join(name for name in _PAIRED if name.startswith('x_'))} and the same with y.")
    parts = {}
    for split, pairs in _NPZ_NAMES.items():
        for x, y in pairs:
            if x in held and y in held:
                parts[split] = _checked(path, x, held[x], y, held[y]) if check else (held[x], held[y])
    if not parts.keys() & {"train", "test"}:
        raise UserError(f"{path} needs the arrays x_train and y_train, or images and labels. It has: {', '.join(held)}.")
    return parts


def array_names(path, count):
    """Return what the `count` classes of a .npz file are called: its array class_names, or their numbers.

    Raises:
        zoo.errors.UserError: if these are fewer, or two are the same.
    """
    with np.load(path, allow_pickle=False) as file:
        names = [str(name) for name in file["class_names"].ravel()] if "class_names" in file.files else None
    if names is None:
        return [str(number) for number in range(count)]
    if len(names) < count or len(set(names)) < len(names):
        raise UserError(f"class_names in {path} must be at least {count} names, each another. Received: {', '.join(names)}.")
    return names


def _checked(path, x_name, x, y_name, y):
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not len(x):
        raise UserError(f"{x_name} in {path} must be (n, height, width) or (n, height, width, 1 or 3), n from 1 up. Received: "
                        f"{x.shape}.")
    if y.shape not in ((len(x),), (len(x), 1)) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise UserError(f"{y_name} in {path} must be {len(x)} whole numbers from 0 up. Received: {y.dtype} {y.shape}.")
    if y.max() >= MOST_CLASSES:
        raise UserError(f"{y_name} in {path} must be the numbers of classes, below {MOST_CLASSES:,}. Received: {y.max():,}.")
    low, high = x.min(), x.max()
    if not 0 <= low <= high <= 255 or (x.dtype.kind == "f" and 0 < high <= 1):  # not so if one is no number
        raise UserError(f"{x_name} in {path} must be pixels of 0 to 255. Received: {low:g} to {high:g}.")
    return np.round(x).astype("uint8"), y.ravel().astype("int32")


def _folders(folder):
    """The names of the visible folders in `folder`, numbers in the order of numbers."""
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise UserError(f"Cannot read the folder {folder}: {error.strerror}.") from None
    return sorted(names, key=_numerically)


def _numerically(name):
    return [int(text) if i % 2 else text for i, text in enumerate(re.split(r"([0-9]+)", name))]


def _tfds():
    import tensorflow_datasets as tfds  # imported late: it takes a second, and digits do without

    from zoo.training.data import ntc_scv  # noqa: F401 - registers our builder
    logging.getLogger("absl").setLevel(logging.ERROR)
    return tfds


def in_tfds(name):
    """Return whether TensorFlow Datasets knows `name`, or what stands before its configuration, as in "emnist/letters"."""
    return name.partition("/")[0] in _tfds().list_builders(with_community_datasets=False)


def tfds_builder(name, data_dir):
    """Return the builder of the TensorFlow Datasets data set `name`, whose examples have an image or a text, and one label.

    Raises:
        zoo.errors.UserError: if there is no such data set (the nearest name is given), or it has no such examples.
    """
    tfds = _tfds()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError):  # ValueError: not a name of theirs, or of a configuration
        raise _not_found(tfds, name) from None
    except AssertionError as error:  # of the version; TFDS puts the call before what is wrong
        raise UserError(str(error).rpartition('": ')[2]) from None
    features = dict((builder.info.features or {}).items())
    if not isinstance(features.get("label"), tfds.features.ClassLabel) or not features.keys() & {"image", "text"}:
        kinds = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())
        raise UserError(f"The data set {name!r} has no images or texts with one ClassLabel each; its features are {kinds}.")
    return builder


def _not_found(tfds, name):
    base, configuration, _ = name.partition("/")
    if configuration and in_tfds(name):
        return unknown("data set", name, [base, *(f"{base}/{known}" for known in tfds.builder_cls(base).builder_configs)])
    nearest = unknown("data set", name, ["digits", *tfds.list_builders(with_community_datasets=False)])
    return UsageError(f"{nearest} Nor is there a file or folder {name}.")


def prepare(builder):
    """Download and prepare the data set if it is not there; ask for one address first, as TFDS retries for minutes."""
    if builder.is_prepared():
        return
    try:
        for address in list(builder.url_infos)[:1]:
            requests.head(address, timeout=10, allow_redirects=True)
        builder.download_and_prepare()
    except (OSError, AssertionError) as error:  # what requests and TFDS raise: no network, disk full, manual download
        reason = str(error) if isinstance(error, AssertionError) else type(error).__name__
        name = builder.info.full_name  # with its version, and configuration if it has any: as many folders
        raise UserError(f"The data set {name!r} is not prepared in {builder.data_path.parents[name.count('/')]} and could "
                        f"not be downloaded ({reason}). Connect to the network, or name another --data-dir.") from error
