"""Exports opened in their own runtimes: a SavedModel, a LiteRT file, an ONNX file; nothing here knows Keras or this package.

As a script it asks an export as a stranger would, in a process that can import neither Keras nor, for LiteRT and ONNX,
TensorFlow: `python -I runtimes.py EXPORT FOLDER [--measure]`. The questions are FOLDER/SIGNATURE.npy; the answers go beside
them, SIGNATURE.npz. With --measure, how long the first signature's answers take goes to FOLDER/measured.json.
"""
import collections
import gc
import json
import re
import sys
import time
from pathlib import Path

import numpy as np

_BATCH = 256
_WARM_UP, _CALLS, _SECONDS = 20, 500, 3.0  # calls that are not timed; those that are, at most, and for how long

Signature = collections.namedtuple("Signature", "takes ask")  # the input's name; a function from an array to a dict of arrays


def load(path):
    """Return {name: `Signature`} of an export; LiteRT and ONNX have serving_default. What takes several inputs is left out.

    Args:
        path: of a SavedModel's directory, a .tflite file or an .onnx file.

    Raises:
        ImportError: if its runtime is not installed.
        Exception: of the runtime's own, if the file is damaged.
    """
    return {".tflite": _litert, ".onnx": _onnx}.get(Path(path).suffix, _saved_model)(str(path))


def _saved_model(path):
    import tensorflow as tf
    loaded = tf.saved_model.load(path)

    def asking(signature, takes):
        def ask(inputs, loaded=loaded):  # `loaded` has to outlive its signatures
            return {key: value.numpy() for key, value in signature(**{takes: tf.constant(inputs)}).items()}
        return Signature(takes, ask)
    inputs = {name: list(signature.structured_input_signature[1]) for name, signature in loaded.signatures.items()}
    return {name: asking(signature, *inputs[name]) for name, signature in loaded.signatures.items() if len(inputs[name]) == 1}


def _litert(path):
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path)
    ((signature, ends),) = interpreter.get_signature_list().items()
    runner = interpreter.get_signature_runner(signature)
    (takes,) = ends["inputs"]
    return {"serving_default": Signature(takes, lambda inputs: runner(**{takes: inputs}))}


def _onnx(path):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    takes, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    return {"serving_default": Signature(
        takes, lambda inputs: dict(zip(outputs, session.run(None, {takes: inputs}), strict=True)))}


def answers(ask, inputs):
    """Return the answers to all `inputs`, asked in batches of 256; strings as bytes."""
    parts = [ask(inputs[first:first + _BATCH]) for first in range(0, len(inputs), _BATCH)]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return {key: value.astype("S") if value.dtype == object else value for key, value in joined.items()}


def measure(ask, inputs):
    """Return latency_p50_ms and latency_p99_ms at batch 1, throughput at batch 256 in examples a second, and memory_mb.

    Memory is the most this process has held so far, None where the system does not tell.
    """
    one, many = inputs[:1], np.resize(inputs, (_BATCH, *inputs.shape[1:]))
    milliseconds = 1e3 * _times(ask, one, _WARM_UP, _CALLS)
    seconds = _times(ask, many, _WARM_UP // 10, _CALLS)
    status = Path("/proc/self/status")
    held = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return {"latency_p50_ms": float(np.percentile(milliseconds, 50)), "latency_p99_ms": float(np.percentile(milliseconds, 99)),
            "throughput": _BATCH / float(np.median(seconds)), "memory_mb": held and int(held[1]) / 1024}


def _times(ask, inputs, warm_up, calls):
    for _ in range(warm_up):
        ask(inputs)
    times, began = [], time.perf_counter()
    while len(times) < calls and time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        ask(inputs)
        times.append(time.perf_counter() - start)
    return np.array(times)


def main(export, folder, measured):
    """Answer the questions in `folder`, and measure if `measured`."""
    blocked = ["keras", "zoo"] + ["tensorflow"] * bool(Path(export).suffix in (".tflite", ".onnx"))
    sys.modules.update(dict.fromkeys(blocked))  # an import of one of these from here on fails
    if not measured:
        gc.disable()  # a quarter of TensorFlow's import; a cold start is measured as a stranger has it
    signatures = load(export)
    for questions in sorted(Path(folder).glob("*.npy")):
        ask, inputs = signatures[questions.stem].ask, np.load(questions)
        if measured:
            ask(inputs[:1])
            report = {"answered": time.time(), **measure(ask, inputs)}  # when the first answer was there: cold start
            (Path(folder) / "measured.json").write_text(json.dumps(report))
        np.savez(questions.with_suffix(".npz"), **answers(ask, inputs))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--measure" in sys.argv[3:])
