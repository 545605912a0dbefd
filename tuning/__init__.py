"""Where to search for better recipes: `search` and `refit`, and `hypermodel` for keras-tuner.

A search survives being killed: the same call resumes it."""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.tuning.hypermodels import hypermodel
    from zoo.tuning.refitting import refit
    from zoo.tuning.searching import search

__all__ = ["hypermodel", "refit", "search"]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use: the process of a trial needs no keras-tuner."""
    if name == "hypermodel":
        from zoo.tuning.hypermodels import hypermodel as function
    elif name == "refit":
        from zoo.tuning.refitting import refit as function
    elif name == "search":
        from zoo.tuning.searching import search as function
    else:
        raise AttributeError(f"module 'zoo.tuning' has no attribute {name!r}")
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
