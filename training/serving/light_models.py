"""The engines `onnxruntime` and `litert`: ONNX and LiteRT files, served as their SavedModel.

The files take pixels or token ids and return probabilities. What a SavedModel does before and after
them is done here by Pillow and NumPy; this module needs no TensorFlow.
"""
import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UserError, missing_packages
from zoo.startup import quiet
from zoo.training.deployment import runtimes
from zoo.training.preprocessing.pillow_images import DROPPED, prepare
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.serving.signature import Arrays, Signature
from zoo.training.serving.wire_format import TensorSpec

_TOP_K = 5  # as of the SavedModel

Network = Callable[[np.ndarray], np.ndarray]  # from pixels or token ids to probabilities


def load(file: Path, card: Mapping[str, Any], threads: int | None = None) -> dict[str, Signature]:
    """Open an ONNX or LiteRT file of an export.

    Args:
        file: the .onnx or .tflite file, in the folder of the export.
        card: the export's model card.
        threads: how many threads compute; by default the runtime's choice.

    Returns:
        {name: `Signature`}: serving_default, and for an image network serving_uint8 and from_bytes,
        as `zoo.training.deployment.saved_model.write` describes them.

    Raises:
        zoo.errors.UserError: if the runtime is not installed, or the file is damaged.
    """
    described, names = card["input"], [name.encode() for name in card["class_names"]]
    is_text = described["kind"] == "text"
    blank = np.zeros((1, 1), "int32") if is_text else np.zeros((1, *described["shape"]), "float32")
    network = _network(file, threads, blank)
    if is_text:
        vocabulary = Vocabulary.parse((file.parent / "vocab.txt").read_text(encoding="utf-8"))
        return {"serving_default": _text(network, names, vocabulary, described["max_tokens"])}
    return _images(network, names, described)


def _network(file: Path, threads: int | None, blank: np.ndarray) -> Network:
    try:
        with quiet():  # LiteRT writes which kernels it uses
            run = runtimes.load(file, threads)["serving_default"].run
            run(blank)
    except ImportError as error:
        extra = {".onnx": "onnx", ".tflite": "litert"}[file.suffix]
        raise missing_packages(f"Serving {file}", str(error.name), extra) from None
    except Exception as error:  # each runtime has errors of its own
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"Cannot open {file}, is it damaged? {reason}") from None
    lock = threading.Lock()  # a LiteRT interpreter computes for one caller at a time

    def network(inputs: np.ndarray) -> np.ndarray:
        with lock:
            return run(inputs)["probabilities"]
    return network


def _text(network: Network, names: list[bytes], vocabulary: Vocabulary,
          max_tokens: int) -> Signature:
    def run(inputs: Arrays) -> Arrays:
        texts = [text.decode(errors="replace") for text in inputs["text"]]
        return _outputs(network(vocabulary.encode(texts, max_tokens)), names)
    return Signature(run, _specs(text=(object,)), _output_specs(names), padded=False)


def _images(network: Network, names: list[bytes],
            described: Mapping[str, Any]) -> dict[str, Signature]:
    shape = tuple(described["shape"])
    background = described.get("background", DROPPED)
    eval_resize = described.get("eval_resize", 0)

    def run(inputs: Arrays) -> Arrays:
        return _outputs(network(inputs["image"].astype("float32", copy=False)), names)

    def decode(inputs: Arrays) -> Arrays:
        files = inputs["image_bytes"]
        images, errors = np.zeros((len(files), *shape), "float32"), np.full(len(files), b"", object)
        for i, data in enumerate(files):
            try:
                images[i] = prepare(data, shape, described["resize"], background, eval_resize)
            except UserError as error:
                errors[i] = str(error).encode()
        return {"image": images, "error": errors}

    def from_bytes(inputs: Arrays) -> Arrays:
        outputs, bad = run(inputs), inputs["error"] != b""
        for output in outputs.values():
            output[bad] = b"" if output.dtype == object else 0
        outputs["class_id"][bad] = -1
        return {**outputs, "error": inputs["error"]}
    specs = _output_specs(names)
    signature = functools.partial(Signature, takes_pixels=True, padded=False)
    return {"serving_default": signature(run, _specs(image=("float32", *shape)), specs),
            "serving_uint8": signature(run, _specs(image=("uint8", *shape)), specs),
            "from_bytes": signature(from_bytes, _specs(image_bytes=(object,)),
                                    {**specs, **_specs(error=(object,))}, prepare=decode,
                                    prepared_pixels=shape[0] * shape[1])}


def _outputs(probabilities: np.ndarray, names: list[bytes]) -> Arrays:
    """Return the outputs of a SavedModel; of equal probabilities the first class leads."""
    labels = np.array(names, object)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP_K]
    return {"probabilities": np.array(probabilities), "class_id": best[:, 0].astype("int64"),
            "label": labels[best[:, 0]], "top_k": labels[best],
            "top_k_probabilities": np.take_along_axis(probabilities, best, axis=1)}


def _output_specs(names: list[bytes]) -> dict[str, TensorSpec]:
    best = min(_TOP_K, len(names))
    return _specs(probabilities=("float32", len(names)), class_id=("int64",), label=(object,),
                  top_k=(object, best), top_k_probabilities=("float32", best))


def _specs(**specs: tuple[Any, ...]) -> dict[str, TensorSpec]:
    """Return {name: TensorSpec} for {name: (dtype, *shape of a row)}."""
    return {name: TensorSpec(name, np.dtype(dtype), (None, *shape))
            for name, (dtype, *shape) in specs.items()}
