"""Networks with ImageNet's weights under names like those that come with the zoo: "mobilenet_v2-imagenet".

Weights and the names of the classes are downloaded once, by keras.applications' own functions, see `zoo.weights`.
"""
from collections import Counter

from zoo.registry import build, spec

SUFFIX = "-imagenet"
_CLASSES = 1000


def load(name):
    """Return the network `name`, such as "mobilenet_v2-imagenet", with its weights.

    Raises:
        zoo.errors.UsageError: if there is no such network, or no weights are published for it.
        zoo.errors.UserError: if they cannot be downloaded.
    """
    return build(name.removesuffix(SUFFIX), weights="imagenet")


def card(name):
    """Return what `zoo.card` says of the network `name`; nothing of it was measured here.

    Raises:
        zoo.errors.UsageError: if there is no such network, or no weights are published for it.
        zoo.errors.UserError: if the names of the classes cannot be downloaded.
    """
    from zoo.weights import origin  # imports Keras
    model = name.removesuffix(SUFFIX)
    found = spec(model)
    origin(model)
    shape = list(found.defaults["input_shape"])
    return {"name": name, "architecture": model, "arguments": {"weights": "imagenet"}, "paper": found.paper,
            "class_names": class_names(), "output": f"float32 logits (batch, {_CLASSES})",
            "input": {"kind": "image", "shape": shape, "range": [0, 255], "resize": "crop"},
            "recipe": {"name": name, "model": model, "data": "imagenet2012", "model_args": {"weights": "imagenet"},
                       "resize": "crop"},
            "metrics": {}, "trained_with": None, "files": {}}


def class_names():
    """Return ImageNet's 1,000 classes in the order of the logits, as keras.applications' `decode_predictions` names them.

    Where two have one name, a crane that flies and one that lifts, their WordNet numbers follow it.

    Raises:
        zoo.errors.UserError: if they cannot be downloaded.
    """
    import numpy as np
    from keras.applications.imagenet_utils import decode_predictions

    from zoo.weights import downloaded
    with downloaded("the names of ImageNet's classes"):
        found = [best[0] for best in decode_predictions(np.eye(_CLASSES, dtype="float32"), top=1)]
    twice = {name for name, count in Counter(name for _, name, _ in found).items() if count > 1}
    return [f"{name} ({number})" if name in twice else name for number, name, _ in found]
