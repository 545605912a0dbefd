"""Exports opened in their own runtimes: a SavedModel, a LiteRT file, an ONNX file.

This module imports neither Keras nor any other module of this package. As a script it runs an
export in a process that can import neither of them nor, for LiteRT and ONNX, TensorFlow:
`python -I runtimes.py EXPORT FOLDER [--measure]`. It reads the inputs from FOLDER/SIGNATURE.npy and
writes the outputs to FOLDER/SIGNATURE.npz. With --measure it writes latency, throughput and memory
of the first signature to FOLDER/measured.json.
"""
import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_BATCH = 256
_WARM_UP, _CALLS, _SECONDS = 20, 500, 3.0  # untimed calls; timed calls at most, and for how long

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


class Signature(NamedTuple):
    """A function of an export with one input."""

    input_name: str
    run: Run  # from the input to {output name: array}


def load(path: str | os.PathLike[str], threads: int | None = None) -> dict[str, Signature]:
    """Open an export.

    Args:
        path: a SavedModel's directory, a .tflite file or an .onnx file.
        threads: how many threads compute, of LiteRT and ONNX files; they leave the processors to
            others between calls. By default the runtime decides both.

    Returns:
        {name: `Signature`}; LiteRT and ONNX files have serving_default. Signatures with several
        inputs are left out.

    Raises:
        ImportError: if the runtime is not installed.
        Exception: of the runtime's own class, if the file is damaged.
    """
    loaders = {".tflite": _litert, ".onnx": _onnx}
    return loaders.get(Path(path).suffix, _saved_model)(str(path), threads)


def _saved_model(path: str, threads: int | None) -> dict[str, Signature]:
    import tensorflow as tf
    loaded = tf.saved_model.load(path)

    def signature(function, input_name):
        def run(inputs, loaded=loaded):  # `loaded` has to outlive its signatures
            outputs = function(**{input_name: tf.constant(inputs)})
            return {key: value.numpy() for key, value in outputs.items()}
        return Signature(input_name, run)
    inputs = {name: list(function.structured_input_signature[1])
              for name, function in loaded.signatures.items()}
    return {name: signature(function, *inputs[name])
            for name, function in loaded.signatures.items() if len(inputs[name]) == 1}


def _litert(path: str, threads: int | None) -> dict[str, Signature]:
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path, num_threads=threads)
    ((name, tensors),) = interpreter.get_signature_list().items()
    runner = interpreter.get_signature_runner(name)
    (input_name,) = tensors["inputs"]
    shape = runner.get_input_details()[input_name]["shape_signature"]

    def one_by_one(inputs: np.ndarray) -> dict[str, np.ndarray]:
        padding = [(0, max(0, size - given))
                   for size, given in zip(shape[1:], inputs.shape[1:], strict=True)]
        rows = [runner(**{input_name: row[None]})
                for row in np.pad(inputs, [(0, 0), *padding])]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    if shape[0] > 0:  # a file for one example
        return {"serving_default": Signature(input_name, one_by_one)}
    return {"serving_default": Signature(input_name, lambda inputs: runner(**{input_name: inputs}))}


def _onnx(path: str, threads: int | None) -> dict[str, Signature]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    return {"serving_default": Signature(input_name, lambda inputs: dict(
        zip(outputs, session.run(None, {input_name: inputs}), strict=True)))}


def run_batches(run: Run, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return {output name: array} for all `inputs`, run in batches of 256; strings as bytes."""
    batches = [run(inputs[start:start + _BATCH]) for start in range(0, len(inputs), _BATCH)]
    outputs = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return {key: value.astype("S") if value.dtype == object else value
            for key, value in outputs.items()}


def measure(run: Run, inputs: np.ndarray) -> dict[str, Any]:
    """Measure speed and memory.

    Returns:
        A dict: latency_p50_ms and latency_p99_ms at batch 1; throughput, examples per second at
        batch 256; memory_mb, the peak of this process in MiB, None where the system does not
        report it.
    """
    one, many = inputs[:1], np.resize(inputs, (_BATCH, *inputs.shape[1:]))
    milliseconds = 1e3 * _times(run, one, _WARM_UP)
    seconds = _times(run, many, _WARM_UP // 10)
    status, peak = Path("/proc/self/status"), None
    if status.exists():
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
    return {"latency_p50_ms": float(np.percentile(milliseconds, 50)),
            "latency_p99_ms": float(np.percentile(milliseconds, 99)),
            "throughput": _BATCH / float(np.median(seconds)),
            "memory_mb": peak and int(peak[1]) / 1024}


def _times(run: Run, inputs: np.ndarray, warm_up: int) -> np.ndarray:
    """Return the seconds of each timed call."""
    for _ in range(warm_up):
        run(inputs)
    times: list[float] = []
    first = time.perf_counter()
    while len(times) < _CALLS and time.perf_counter() - first < _SECONDS:
        start = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - start)
    return np.array(times)


def main(export: str, folder: str, measured: bool) -> None:
    """Run the inputs in `folder`, and measure the first signature if `measured`."""
    blocked = ["keras", "zoo"]
    if Path(export).suffix in (".tflite", ".onnx"):
        blocked.append("tensorflow")
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError now
    if not measured:
        gc.disable()  # saves a quarter of TensorFlow's import time, which a cold start includes
    signatures = load(export)
    for file in sorted(Path(folder).glob("*.npy")):
        run, inputs = signatures[file.stem].run, np.load(file)
        if measured:
            run(inputs[:1])
            report = {"first_output": time.time(), **measure(run, inputs)}  # ends the cold start
            (Path(folder) / "measured.json").write_text(json.dumps(report), encoding="utf-8")
        outputs: dict[str, Any] = run_batches(run, inputs)
        np.savez(file.with_suffix(".npz"), **outputs)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--measure" in sys.argv[3:])
