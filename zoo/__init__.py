"""The classic networks, each under one name: `zoo.build("lenet5")` is the exact network as a Keras model."""
from zoo.registry import Spec, build, names, register, spec

__version__ = "0.1.0"
__all__ = ["Spec", "build", "features", "names", "register", "spec", "stages"]


def __getattr__(name):
    """Import what needs Keras on first use, so that `import zoo` stays instant."""
    if name not in ("features", "stages"):
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    from zoo import stage
    return getattr(stage, name)
