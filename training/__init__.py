"""How a network of the zoo is trained, evaluated and exported, with TensorFlow.

    recipe = get_recipe("lenet5-digits")    a recipe by name; `list_recipes` lists them
    train(recipe, "runs/digits")            a run directory with the trained network
    evaluate("runs/digits")                 scores on the test split
    predict("runs/digits", ["digit.png"])   labels for files
    export("runs/digits")                   a SavedModel, LiteRT and ONNX files
    explain("runs/digits")                  what the network has learned
    load_data("digits", (32, 32, 1))        a data set as arrays
    examine("photos")                       what is wrong with a data set
"""
import importlib
import os
from typing import TYPE_CHECKING, Any

from zoo.startup import prefer_onednn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up lines are noise
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
prefer_onednn()

if TYPE_CHECKING:
    from zoo.training.data.dataset import load_data
    from zoo.training.deployment.exporter import export
    from zoo.training.doctor import examine
    from zoo.training.engine.fit import train
    from zoo.training.evaluation import evaluate
    from zoo.training.explanation.explainer import explain
    from zoo.training.prediction import predict
    from zoo.training.recipe import Recipe
    from zoo.training.recipes import get_recipe, list_recipes

__all__ = ["Recipe", "evaluate", "examine", "explain", "export", "get_recipe", "list_recipes",
           "load_data", "predict", "train"]
_MODULES = {"Recipe": "recipe", "evaluate": "evaluation", "examine": "doctor",
            "explain": "explanation.explainer", "export": "deployment.exporter",
            "get_recipe": "recipes", "list_recipes": "recipes", "load_data": "data.dataset",
            "predict": "prediction", "train": "engine.fit"}


def __getattr__(name: str) -> Any:
    """Import a module on the first use of its function, so that the import stays fast."""
    if name not in _MODULES:
        raise AttributeError(f"module 'zoo.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zoo.training.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
