"""The training engine: runs the epochs of a recipe, saves checkpoints, resumes interrupted runs.

`train` needs TensorFlow, which is imported on first use.
"""
__all__ = ["train"]


def __getattr__(name):
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zoo.training.engine.fit import train
    return train
