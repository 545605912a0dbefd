"""The classic networks, each under one name: `zoo.build("lenet5")` is LeNet-5 as a Keras model.

    zoo.names("resnet*")                    the registered names; `zoo.spec` describes one
    zoo.build("resnet20", classes=3)        a network, with random or trained weights
    zoo.load("resnet20-cifar10")            a trained network; `zoo.card` describes it
    zoo.stages(model), zoo.features(...)    the stages of a network, and their feature maps
    zoo.layer_table(model)                  the table that papers print
    zoo.draw("resnet50", "resnet50.svg")    the drawing of a network
    @zoo.register("my_net")                 registers a builder of your own
"""
import importlib
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, UserError
from zoo.registry import Spec, names, register, spec

if TYPE_CHECKING:
    from zoo.drawing import draw
    from zoo.factory import build
    from zoo.shipped import card, load
    from zoo.stage import features, stages
    from zoo.tables import layer_table

__version__ = "0.2.0"
__all__ = ["Spec", "UsageError", "UserError", "build", "card", "draw", "features",
           "layer_table", "load", "names", "register", "spec", "stages"]
_MODULES = {"build": "factory", "card": "shipped", "draw": "drawing", "features": "stage",
            "layer_table": "tables", "load": "shipped", "stages": "stage"}


def __getattr__(name: str) -> Any:
    """Import a module on the first use of its function, so that `import zoo` stays fast."""
    if name not in _MODULES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zoo.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
