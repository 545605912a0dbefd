"""The small trained networks that come with the zoo: `zoo.load("lenet5-mnist")` is one with its weights.

Each is a folder of saved_models/shipped, which an installed zoo has beside its packages: card.json tells what it is, what it
reached and the SHA-256 of its files; weights.npz holds plain arrays by the weights' names; a text network has its words in
vocab.txt. Loading builds the network by its name here and fills the arrays in. Nothing in the files can run: pickles are
refused. The SHA-256 finds damage. It is no signature: who can replace the files can replace the card.
"""
import hashlib
import io
import json
import zipfile
import zlib
from importlib.resources import files
from pathlib import Path

from zoo import imagenet
from zoo.errors import UserError, unknown
from zoo.registry import build
from zoo.registry import names as registered

FOLDER = Path(str(files("zoo.saved_models"))) / "shipped"
WEIGHTS = "weights.npz"


def names(folder=None):
    """Return the names of the shipped models, those of their recipes, sorted."""
    return sorted(file.parent.name for file in Path(folder or FOLDER).glob("*/card.json"))


def card(name, folder=None):
    """Return the card of a shipped model, a dict.

    class_names are in the order of the logits; metrics, seeds, recipe, data, input, output, files, licence and versions are
    what `zoo.training.results.publish` wrote.

    Args:
        name: one of `names(folder)`; or of a network with ImageNet's weights, see `zoo.imagenet`.
        folder: where the models' folders are; None for those that come with the zoo.

    Raises:
        zoo.errors.UsageError: if there is no such model; the nearest name is given.
        zoo.errors.UserError: if its card cannot be read.
    """
    if _downloaded(name, folder):
        return imagenet.card(name)
    if name not in names(folder):
        raise unknown("shipped model", name, names(folder))
    file = Path(folder or FOLDER) / name / "card.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {file}: {getattr(error, 'strerror', None) or error}.") from None


def read(name, file, folder=None):
    """Return the bytes of a file of a shipped model, of which the card's SHA-256 is true.

    Args:
        name, folder: as for `card`.
        file: one of the card's files: "weights.npz" or "vocab.txt".

    Raises:
        zoo.errors.UserError: if it cannot be read, or is not the file that the card is of.
    """
    path = Path(folder or FOLDER) / name / file
    told = card(name, folder)["files"][file]["sha256"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    found = hashlib.sha256(data).hexdigest()
    if found != told:
        raise UserError(f"{path} is damaged: its SHA-256 is {found[:12]}..., and its card says {told[:12]}... Install "
                        "classic-zoo again.")
    return data


def load(name, folder=None):
    """Return the shipped model `name`, a functional `keras.Model` on any backend, as `zoo.build` makes it.

    It goes from images in [0, 255], or from token ids, to float32 logits. `zoo.card(name)["class_names"]` names them.

    Args:
        name, folder: as for `card`.

    Raises:
        zoo.errors.UsageError: if there is no such model; the nearest name is given.
        zoo.errors.UserError: if a file of it is missing, damaged, or holds anything but the network's weights.
    """
    if _downloaded(name, folder):
        return imagenet.load(name)
    told = card(name, folder)
    if told["architecture"] not in registered():  # "module:name" would import a module that the card names
        raise UserError(f"The card of {name} names {told['architecture']!r}, which is no network of the zoo.")
    path = Path(folder or FOLDER) / name / WEIGHTS
    arrays = _arrays(read(name, WEIGHTS, folder), path)
    model = build(told["architecture"], **told["arguments"])
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    if shapes != {path: array.shape for path, array in arrays.items()}:
        raise UserError(f"{path} does not hold the weights of {told['architecture']}, or not all.")
    for weight in model.weights:
        weight.assign(arrays[weight.path])
    return model


def known(name):
    """Return whether `name` is a shipped model's, or of the kind of those with ImageNet's weights."""
    return name in names() or _downloaded(name, None)


def _downloaded(name, folder):
    return folder is None and name.endswith(imagenet.SUFFIX)


def _arrays(data, path):
    """The arrays of an .npz file by their names, none of them pickled."""
    import numpy as np  # here, so that `import zoo` stays instant
    try:
        with zipfile.ZipFile(io.BytesIO(data)):  # np.load would take a single array or a bare pickle, too
            pass
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            return {key: held[key] for key in held.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} holds anything but plain arrays: {error}.") from None
