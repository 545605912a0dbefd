"""Where to search for better recipes: `search` and `refit`, and `hypermodel` for keras-tuner.

A search survives being killed: the same call resumes it.
"""
import importlib
from typing import TYPE_CHECKING, Any

import zoo.training  # noqa: F401 - before TensorFlow: it chooses TensorFlow's settings

if TYPE_CHECKING:
    from zoo.tuning.hypermodels import hypermodel
    from zoo.tuning.refitting import refit
    from zoo.tuning.searching import search

__all__ = ["hypermodel", "refit", "search"]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use: the process of a trial needs no keras-tuner."""
    modules = {"hypermodel": "hypermodels", "refit": "refitting", "search": "searching"}
    if name not in modules:
        raise AttributeError(f"module 'zoo.tuning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zoo.tuning.{modules[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
