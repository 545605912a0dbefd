"""The formats of exports, their files and packages, checked before TensorFlow is imported."""
import importlib.util
from collections.abc import Iterable, Sequence

from zoo.errors import missing_packages, unknown

FILES = {"litert": "model.tflite", "litert-fp16": "model-fp16.tflite",
         "litert-int8": "model-int8.tflite", "litert-batch1": "model-batch1.tflite",
         "onnx": "model.onnx", "onnx-int8": "model-int8.onnx"}
FORMATS = ("saved_model", *FILES)
_PACKAGES = {"litert": ("ai_edge_litert",), "onnx": ("onnx", "onnxruntime", "tf2onnx")}
_SYNONYMS = {"tflite": "litert", "tf": "saved_model", "tensorflow": "saved_model"}


def expand(formats: Iterable[str]) -> tuple[str, ...]:
    """Return `formats` without repetitions; "all" stands for all of `FORMATS`.

    Raises:
        zoo.errors.UsageError: if there is no such format; the message names the nearest.
    """
    formats = tuple(dict.fromkeys(formats))
    for name in formats:
        if name not in ("all", *FORMATS):
            raise unknown("format", name, ("all", *FORMATS), _SYNONYMS)
    return FORMATS if "all" in formats else formats


def check_packages(formats: Sequence[str]) -> None:
    """Raise UserError if a package is missing that one of `formats` needs."""
    for extra, packages in _PACKAGES.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        needing = [name for name in formats if name.startswith(extra)]
        if needing and missing:
            raise missing_packages(f"The format {needing[0]}", ", ".join(missing), extra)
