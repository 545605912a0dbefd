"""Trained networks by name: `zoo.load("lenet5-mnist")` returns one, `zoo.card` describes it.

Those that ship with the zoo are folders of saved_models/shipped: card.json describes the network,
its measured accuracy and the SHA-256 of its files; weights.npz holds one plain array per weight;
a text network has a vocabulary, vocab.txt. Loading builds the network by its name and assigns the
arrays. It executes no code from the files: pickled objects are rejected. The SHA-256 detects
damage. It is not a signature: whoever can replace the files can replace the card.

Names such as "mobilenet_v2-imagenet" are networks of the zoo with ImageNet weights, which are
downloaded once; see `zoo.weights`. So are the class names, by a function of keras.applications.

An address such as "hf://owner/name" is a network that `zoo publish` put on the Hugging Face Hub: a
card.json of the same kind, and its arrays as model.safetensors.
"""
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import hub, hub_weights, registry
from zoo.errors import UserError, unknown

if TYPE_CHECKING:
    import keras
    import numpy as np

# Inside the installed package, or beside it in a checkout.
_HOMES = [parent / "saved_models" / "shipped" for parent in Path(__file__).parents[:2]]
FOLDER = _HOMES[0] if _HOMES[0].is_dir() else _HOMES[1]
WEIGHTS = "weights.npz"
IMAGENET = (hub_weights.IMAGENET, hub_weights.TORCHVISION)  # the end of a name, after a hyphen


def names(folder: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the names of the shipped networks, which are those of their recipes, sorted."""
    return sorted(file.parent.name for file in Path(folder or FOLDER).glob("*/card.json"))


def is_shipped(name: str) -> bool:
    """Return whether `name` is a shipped network's, or ends as those with ImageNet weights.

    It may also be an address on the Hugging Face Hub.
    """
    return name in names() or _is_imagenet(name, None) or hub.is_address(name)


def check_name(name: str) -> None:
    """Raise UserError if `name` is not the name of a trained network; see `is_shipped`."""
    if not is_shipped(name):
        raise UserError(f"{name} is not a run directory. {unknown('shipped model', name, names())}")


def _is_imagenet(name: str, folder: str | os.PathLike[str] | None) -> bool:
    return folder is None and name.rpartition("-")[2] in IMAGENET


def card(name: str, folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the card of a trained network.

    Args:
        name: one of `names(folder)`; a network with ImageNet weights, such as
            "mobilenet_v2-imagenet"; or an address on the Hugging Face Hub, "hf://owner/name".
        folder: the folder of the networks' folders; None for those that ship with the zoo.

    Returns:
        A dict: "class_names" in the order of the logits, "architecture", "arguments", "metrics",
        "seeds", "recipe", "data", "input", "output", "files", "licence", "versions" and more, as
        `zoo.training.results.publish` wrote them. For ImageNet weights "metrics" is empty: this
        project did not measure their accuracy. Those from the Hugging Face Hub have
        "weights_file", where it is and what it expects, and "published", the accuracy that its
        source gives.

    Raises:
        zoo.errors.UsageError: if there is no such network; the message names the nearest.
        zoo.errors.UserError: if the card cannot be read, or ImageNet's class names cannot be
            downloaded.
    """
    if hub.is_address(name):
        return _hub_card(name)
    if _is_imagenet(name, folder):
        return _imagenet_card(name)
    if name not in names(folder):
        raise unknown("shipped model", name, names(folder))
    file = Path(folder or FOLDER) / name / "card.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot read {file}: {reason}.") from None


_NEEDED = {"architecture": str, "arguments": dict, "class_names": list, "recipe": dict,
           "files": dict, "metrics": dict, "input": dict}  # in the card.json of a stranger


def _hub_card(address: str) -> dict[str, Any]:
    repository, revision = hub.parse(address)
    path = hub.download(repository, hub.CARD, revision)
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from None
    if not isinstance(described, dict) or not all(
            isinstance(described.get(key), kind) for key, kind in _NEEDED.items()):
        raise UserError(f"{hub.CARD} of {address} is not that of a network of the zoo.")
    _check_architecture(address, described)
    return {"trained_with": None, **described,
            "recipe": {**described["recipe"], "model": described["architecture"]}}


def _check_architecture(name: str, described: dict[str, Any]) -> str:
    """Return the network that a card names: "module:name" would import a module of that name."""
    architecture = described["architecture"]
    if architecture not in registry.names():
        raise UserError(f"The card of {name} names {architecture!r}, which is not a network of "
                        "the zoo.")
    return architecture


def _imagenet_card(name: str) -> dict[str, Any]:
    from zoo.weights import no_weights, trained_values  # imports Keras, only needed here
    architecture, _, value = name.rpartition("-")
    spec = registry.spec(architecture)
    if value not in trained_values(architecture):
        raise no_weights(architecture, value)
    published = hub_weights.PUBLISHED.get((architecture, value))
    recipe: dict[str, Any] = {"name": name, "model": architecture, "data": "imagenet2012",
                              "model_args": {"weights": value}, "resize": "crop"}
    if published:
        recipe["eval_resize"] = published.resize
    return {"name": name, "architecture": architecture, "arguments": {"weights": value},
            "paper": spec.paper, "class_names": _imagenet_class_names(),
            "input": {"kind": "image", "shape": list(spec.defaults["input_shape"]),
                      "range": [0, 255], "resize": "crop", "background": "white",
                      "eval_resize": recipe.get("eval_resize", 0)},
            "output": f"float32 logits (batch, {hub_weights.CLASSES})",
            "recipe": recipe, "metrics": {}, "trained_with": None, "files": {},
            **(hub_weights.card(published) if published else {})}


def _imagenet_class_names() -> list[str]:
    """Return ImageNet's 1,000 class names in the order of the logits, as Keras decodes them.

    Two classes that share a name, a crane that flies and one that lifts, have their WordNet number
    added.
    """
    import numpy as np
    from keras.applications.imagenet_utils import decode_predictions

    from zoo.weights import downloading
    with downloading("the names of ImageNet's classes"):
        one_hot = np.eye(hub_weights.CLASSES, dtype="float32")
        classes = [best[0] for best in decode_predictions(one_hot, top=1)]
    counts = Counter(name for _, name, _ in classes)
    return [f"{name} ({number})" if counts[name] > 1 else name for number, name, _ in classes]


def read(name: str, file: str, folder: str | os.PathLike[str] | None = None) -> bytes:
    """Return the bytes of a file of a shipped network, after checking its SHA-256 against the card.

    Args:
        name, folder: as for `card`.
        file: one of the card's files: "weights.npz", "model.safetensors" or "vocab.txt".

    Raises:
        zoo.errors.UserError: if the file cannot be read, or its SHA-256 differs.
    """
    try:
        expected = card(name, folder)["files"][file]["sha256"]
    except (KeyError, TypeError):
        raise UserError(f"The card of {name} has no SHA-256 of {file}.") from None
    path = _path(name, file, folder)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        advice = f"Delete {path} and try again." if hub.is_address(name) else (
            "Install classic-zoo again.")
        raise UserError(f"{path} is damaged: its SHA-256 is {digest[:12]}..., and its card says "
                        f"{expected[:12]}... {advice}")
    return data


def _path(name: str, file: str, folder: str | os.PathLike[str] | None) -> Path:
    """Return the path of a file of a network; one on the Hub is downloaded."""
    if not hub.is_address(name):
        return Path(folder or FOLDER) / name / file
    repository, revision = hub.parse(name)
    return hub.download(repository, file, revision)


def load(name: str, folder: str | os.PathLike[str] | None = None) -> "keras.Model":
    """Return a trained network, on any Keras backend.

    Args:
        name, folder: as for `card`.

    Returns:
        A `keras.Model` as from `zoo.build`: from images in [0, 255], or token ids, to float32
        logits. `zoo.card(name)["class_names"]` names them.

    Raises:
        zoo.errors.UsageError: if there is no such network; the message names the nearest.
        zoo.errors.UserError: if a file is missing, damaged, or does not hold plain arrays of the
            network's weights; or ImageNet weights cannot be downloaded.
    """
    if _is_imagenet(name, folder):
        from zoo.weights import pretrained
        architecture, _, value = name.rpartition("-")
        return pretrained(registry.spec(architecture), value, {})
    described = card(name, folder)
    architecture = _check_architecture(name, described)
    file = hub.WEIGHTS if hub.is_address(name) else WEIGHTS
    data, path = read(name, file, folder), _path(name, file, folder)
    arrays = hub.arrays(path) if hub.is_address(name) else _arrays(data, path)
    try:
        model = registry.spec(architecture).build(described["arguments"])
    except TypeError as error:
        raise UserError(f"The card of {name} has other arguments than {architecture}: {error}"
                        ) from None
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    if shapes != {key: array.shape for key, array in arrays.items()}:
        raise UserError(f"{path} does not hold the weights of {architecture}, or not all.")
    for weight in model.weights:
        weight.assign(arrays[weight.path])
    return model


def _arrays(data: bytes, path: Path) -> dict[str, "np.ndarray"]:
    """Return the arrays of an .npz file by their names; none may be pickled."""
    import numpy as np  # here, so that `import zoo` stays fast
    try:
        with zipfile.ZipFile(io.BytesIO(data)):  # np.load accepts a single array or a pickle too
            pass
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} holds anything but plain arrays: {error}.") from None
