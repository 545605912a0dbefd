"""LiteRT and ONNX files of a trained network, for any batch size; `litert-batch1` for one example.

Each has one input, `image` (float32 pixels) or `tokens` (int32 token ids), and one output,
`probabilities`. Strings stay outside: token ids are the line numbers of vocab.txt, from 0, in as
many columns as a sentence has tokens. `litert-batch1` is for LiteRT's CompiledModel and LiteRT.js,
which need fixed shapes: it takes one image, or one sentence of as many token ids as the network
reads, padded with 0.
"""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from zoo.errors import UserError
from zoo.startup import quiet
from zoo.training.deployment.formats import FILES
from zoo.training.trained import Trained

_CALIBRATION = 200  # training examples whose activations set the ranges of int8
_OPSET = 17
# The memory that tf2onnx needs, as a multiple of the weights' bytes. Measured: 56 for AlexNet,
# 68 for ResNet-50, over 43 for VGG-16.
_ONNX_MEMORY = 50


def check_memory(model: keras.Model, formats: Sequence[str], memory: float | None = None) -> None:
    """Raise UserError if converting `model` would need more than `memory`.

    Args:
        memory: in bytes; None for that of this machine.
    """
    needed = _ONNX_MEMORY * 4 * model.count_params()
    memory = memory or psutil.virtual_memory().total
    if needed > memory and any(name.startswith("onnx") for name in formats):
        others = [name for name in FILES if not name.startswith("onnx")]
        raise UserError(f"Converting {model.name} to ONNX takes about {needed / 1e9:,.0f} GB of "
                        f"memory, and this machine has {memory / 1e9:,.0f} GB. Leave onnx out: "
                        f"formats saved_model,{','.join(others)}.")


def calibration(trained: Trained, data_dir: str | None = None) -> np.ndarray:
    """Return up to 200 training examples, evenly spread over the split, as network inputs."""
    split = trained.dataset(data_dir).train
    indices = np.linspace(0, len(split) - 1, min(_CALIBRATION, len(split))).astype(int)
    return trained.inputs(split.raw(indices))


def write(trained: Trained, formats: Sequence[str], folder: Path,
          samples: np.ndarray | None) -> None:
    """Write the files of `formats` into `folder`.

    Args:
        formats: names of `FILES`.
        samples: the examples of `calibration`; None if no format is int8.
    """
    function, spec = _serving_function(trained)
    with quiet():  # the converters write to the terminal from C++ and by logging
        for name in formats:
            if name.startswith("litert"):
                converted = function
                if name == "litert-batch1":
                    converted, _ = _serving_function(trained, fixed=True)
                try:
                    content = _litert(trained.model, converted, name, samples)
                except ConverterError:
                    raise UserError(f"TensorFlow's converter cannot write {name} for "
                                    f"{trained.recipe.model}. Leave it out of the formats."
                                    ) from None
                (folder / FILES[name]).write_bytes(content)
        if "onnx" in formats or "onnx-int8" in formats:
            _onnx(function, spec, formats, folder, samples)


def _serving_function(trained: Trained, fixed: bool = False) -> tuple[Any, tf.TensorSpec]:
    """Return the function from pixels or token ids to probabilities, and its input's spec.

    Args:
        fixed: whether it takes one example, and a fixed number of token ids.
    """
    model, rows = trained.model, 1 if fixed else None
    spec = tf.TensorSpec((rows, *model.input.shape[1:]), tf.float32, name="image")
    if trained.vocabulary:
        columns = trained.recipe.max_tokens if fixed else None
        spec = tf.TensorSpec((rows, columns), tf.int32, name="tokens")
    function = tf.function(
        lambda inputs: {"probabilities": tf.nn.softmax(model(inputs, training=False))},
        input_signature=[spec], autograph=False)
    return function, spec


def _litert(model: keras.Model, function: Any, name: str, samples: Any) -> bytes:
    holder = tf.Module()  # the converter drops variables that no tf.Module holds
    holder.weights = [weight.value for weight in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], holder)
    if name not in ("litert", "litert-batch1"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if name == "litert-fp16":
        converter.target_spec.supported_types = [tf.float16]
    if name == "litert-int8":
        converter.representative_dataset = lambda: (
            [samples[i:i + 1]] for i in range(len(samples)))
    return converter.convert()


def _onnx(function: Any, spec: tf.TensorSpec, formats: Sequence[str], folder: Path,
          samples: Any) -> None:
    import tf2onnx
    path = folder / FILES["onnx"]
    tf2onnx.convert.from_function(function, [spec], opset=_OPSET, output_path=str(path))
    if "onnx-int8" in formats:
        _quantize(path, folder / FILES["onnx-int8"], spec.name, samples)
    if "onnx" not in formats:
        path.unlink()


def _quantize(path: Path, to: Path, name: str, samples: Any) -> None:
    """Quantize weights and, for images, activations, whose ranges `samples` give.

    Sentences differ in length, so text networks keep float32 activations.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process
    if name == "tokens":
        # older runtimes support no other type
        quantization.quantize_dynamic(path, to, weight_type=quantization.QuantType.QUInt8)
        return

    class Reader(quantization.CalibrationDataReader):
        remaining = iter(samples)

        def get_next(self):
            sample = next(self.remaining, None)
            return None if sample is None else {name: sample[None]}
    prepared = to.with_name(f".{to.name}")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(prepared, to, Reader())
    prepared.unlink()
