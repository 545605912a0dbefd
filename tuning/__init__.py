"""Where to search for better recipes, and searches that survive a kill; `hypermodel` is for a keras-tuner of your own."""

__all__ = ["hypermodel"]


def __getattr__(name):
    """Import what needs keras-tuner on first use, so that the process of a trial does without."""
    if name != "hypermodel":
        raise AttributeError(f"module 'zoo.tuning' has no attribute {name!r}")
    from zoo.tuning.hypermodels import hypermodel
    return hypermodel
