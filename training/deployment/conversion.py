"""LiteRT and ONNX files of a trained network: from float32 pixels or int32 token ids to probabilities, any batch size.

Each has one input, `image` or `tokens`, and one output, `probabilities`. Strings stay outside: token ids are the line numbers
of vocab.txt, from 0, in as many columns as a sentence has tokens.
"""
import dataclasses
import importlib.util

import numpy as np
import psutil
import tensorflow as tf

from zoo.errors import UserError
from zoo.startup import quiet

FILES = {"litert": "model.tflite", "litert-fp16": "model-fp16.tflite", "litert-int8": "model-int8.tflite",
         "onnx": "model.onnx", "onnx-int8": "model-int8.onnx"}
_NEEDS = {"litert": ("ai_edge_litert",), "onnx": ("onnx", "onnxruntime", "tf2onnx")}
_CALIBRATION = 200  # training examples whose activations set the ranges of int8
_OPSET = 17
_ONNX_MEMORY = 50  # times the weights' bytes that tf2onnx takes: 56 for AlexNet, 68 for ResNet-50, over 43 for VGG-16


def refuse_missing(formats):
    """Raise UserError if a package is missing that one of `formats` needs."""
    for extra, packages in _NEEDS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        wanted = [name for name in formats if name.startswith(extra)]
        if wanted and missing:
            raise UserError(f"The format {wanted[0]} needs {', '.join(missing)}: pip install 'classic-zoo[{extra}]'.")


def refuse_too_large(model, formats, memory=None):
    """Raise UserError if a conversion would need more than the machine's `memory` in bytes, and be killed for it."""
    needed = _ONNX_MEMORY * 4 * model.count_params()
    memory = memory or psutil.virtual_memory().total
    if needed > memory and any(name.startswith("onnx") for name in formats):
        others = [name for name in FILES if not name.startswith("onnx")]
        raise UserError(f"Converting {model.name} to ONNX takes about {needed / 1e9:,.0f} GB of memory, and this machine has "
                        f"{memory / 1e9:,.0f} GB. Leave onnx out: --formats saved_model,{','.join(others)}.")


def calibration(trained, data_dir=None):
    """Return training examples, spread over the training part, as the network takes them."""
    split = trained.dataset(data_dir).train
    places = np.linspace(0, len(split) - 1, min(_CALIBRATION, len(split))).astype(int)
    return trained.inputs(trained.raw_inputs(dataclasses.replace(split, indices=split.indices[places])))


def write(trained, formats, folder, samples):
    """Write the files of `formats`, a subset of `FILES`, into `folder`.

    Args:
        trained: a `zoo.training.trained.Trained`.
        samples: what `calibration` returns; None if no format is int8.
    """
    function, spec = _function(trained)
    with quiet():  # the converters write to the terminal from C++ and by logging
        for name in formats:
            if name.startswith("litert"):
                (folder / FILES[name]).write_bytes(_litert(trained.model, function, name, samples))
        if "onnx" in formats or "onnx-int8" in formats:
            _onnx(function, spec, formats, folder, samples)


def _function(trained):
    model = trained.model
    shape, dtype, name = ((None, None), tf.int32, "tokens") if trained.vocabulary else (
        (None, *model.input.shape[1:]), tf.float32, "image")
    spec = tf.TensorSpec(shape, dtype, name=name)
    return tf.function(lambda inputs: {"probabilities": tf.nn.softmax(model(inputs, training=False))},
                       input_signature=[spec], autograph=False), spec


def _litert(model, function, name, samples):
    holder = tf.Module()
    holder.weights = [weight.value for weight in model.variables]  # of a Keras model the converter finds none, and drops them
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], holder)
    if name != "litert":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if name == "litert-fp16":
        converter.target_spec.supported_types = [tf.float16]
    if name == "litert-int8":
        converter.representative_dataset = lambda: ([samples[i:i + 1]] for i in range(len(samples)))
    return converter.convert()


def _onnx(function, spec, formats, folder, samples):
    import tf2onnx
    whole = folder / FILES["onnx"]
    tf2onnx.convert.from_function(function, [spec], opset=_OPSET, output_path=str(whole))
    if "onnx-int8" in formats:
        _quantise(whole, folder / FILES["onnx-int8"], spec.name, samples)
    if "onnx" not in formats:
        whole.unlink()


def _quantise(whole, to, name, samples):
    """Images with ranges of activations from `samples`; of sentences the weights alone, as their lengths vary."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process
    if name == "tokens":
        quantization.quantize_dynamic(whole, to, weight_type=quantization.QuantType.QUInt8)  # older runtimes know no other
        return

    class Reader(quantization.CalibrationDataReader):
        left = iter(samples)

        def get_next(self):
            sample = next(self.left, None)
            return None if sample is None else {name: sample[None]}
    prepared = to.with_name(f".{to.name}")
    quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(prepared, to, Reader())
    prepared.unlink()
