"""Trained networks as SavedModel, LiteRT and ONNX files, each verified in its own runtime.

`export` writes them, with a model card.
"""


def __getattr__(name: str):
    if name == "export":
        from zoo.training.deployment.exporter import export  # imports TensorFlow
        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
