"""The classic networks, each under one name: `zoo.build("lenet5")` is the exact network as a Keras model."""
import importlib

from zoo.registry import Spec, build, names, register, spec

__version__ = "0.1.0"
__all__ = ["Spec", "build", "card", "features", "load", "names", "register", "spec", "stages"]
_LATE = {"card": "shipped", "features": "stage", "load": "shipped", "stages": "stage"}


def __getattr__(name):
    """Import what needs Keras on first use, so that `import zoo` stays instant."""
    if name not in _LATE:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zoo.{_LATE[name]}"), name)
