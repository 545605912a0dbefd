"""Runs exports in separate processes: do they agree with the Keras model, and how fast are they?"""
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import UserError
from zoo.training.deployment import runtimes

if TYPE_CHECKING:
    from zoo.training.trained import Trained

# The largest difference of a probability: the same float32 operations in another order; float16
# weights. int8 has no such limit, its labels have to agree.
TOLERANCE = {"saved_model": 1e-5, "litert": 1e-4, "litert-batch1": 1e-4,
             "onnx": 1e-4, "litert-fp16": 2e-2}
AGREEMENT = 0.9  # of the labels, for int8
_COLUMNS = ("format", "MB", "p50 ms", "p99 ms", "examples/s", "cold start ms", "memory MB",
            "accuracy", "agreement")

Arrays = Mapping[str, np.ndarray]


def run_export(export: Path, inputs: Arrays, scratch: Path, name: str,
               measured: bool = False) -> tuple[dict[str, dict[str, np.ndarray]],
                                                dict[str, Any]]:
    """Run an export in a separate process that has only its runtime.

    Args:
        export: the path of the SavedModel or file.
        inputs: {signature: input array}.
        scratch: an existing folder for temporary files.
        name: the format, for the error message.
        measured: whether to measure speed and memory of the first signature.

    Returns:
        {signature: {output name: array}}; and the measurements of
        `zoo.training.deployment.runtimes.measure` with cold_start_ms, {} if not `measured`.

    Raises:
        zoo.errors.UserError: if the runtime cannot run it.
    """
    folder = scratch / f"{name}-{'measured' if measured else 'checked'}"
    folder.mkdir()
    for signature, array in inputs.items():
        np.save(folder / f"{signature}.npy", array)
    command: list[str | Path] = [sys.executable, "-I", "-X", "utf8", runtimes.__file__,
                                 export, folder]
    if measured:
        command.append("--measure")
    start = time.time()
    process = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        raise UserError(f"Cannot run the {name} export in a separate process: {lines[-1]}. "
                        "Nothing was exported.")
    outputs = {}
    for signature in inputs:
        with np.load(folder / f"{signature}.npz") as arrays:
            outputs[signature] = dict(arrays)
    if not measured:
        return outputs, {}
    report = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    report["cold_start_ms"] = 1e3 * (report.pop("first_output") - start)
    return outputs, report


def compare(name: str, outputs: Mapping[str, Arrays], expected: Arrays,
            class_names: Sequence[str]) -> dict[str, float]:
    """Compare the outputs of an export with those of the Keras model.

    Args:
        name: the format.
        outputs: {signature: {output name: array}}, see `run_export`.
        expected: {"probabilities": (n, classes), "features": (n, ...)} of the Keras model.
        class_names: the names of the classes.

    Returns:
        {"difference": the largest of a probability, "agreement": the share of equal labels}.

    Raises:
        zoo.errors.UserError: if they differ by more than the format explains.
    """
    tolerance, difference, agreement = TOLERANCE.get(name), 0.0, 1.0
    labels = np.array(class_names)[expected["probabilities"].argmax(axis=1)]
    for signature, arrays in outputs.items():
        kind = "features" if signature == "features" else "probabilities"
        scale = max(1.0, np.abs(expected[kind]).max())
        largest = float(np.abs(arrays[kind] - expected[kind]).max() / scale)
        if tolerance and not largest <= tolerance:  # not >: NaN has to fail
            raise _differs(name, signature,
                           f"{kind} differ by {largest:.1e}, more than {tolerance:.0e}")
        equal = np.ones(len(labels), bool)
        if kind == "probabilities":
            equal = _labels(arrays, class_names) == labels
        if equal.mean() < AGREEMENT or tolerance and not equal[
                _unambiguous(expected["probabilities"], tolerance)].all():
            raise _differs(name, signature, f"{equal.mean():.0%} of the labels agree")
        difference = max(difference, largest)
        agreement = min(agreement, float(equal.mean()))
    return {"difference": difference, "agreement": agreement}


def _differs(name: str, signature: str, reason: str) -> UserError:
    return UserError(f"The {name} export's {signature} differs from the Keras model: {reason}. "
                     "Nothing was exported.")


def _labels(outputs: Arrays, class_names: Sequence[str]) -> np.ndarray:
    if "label" in outputs:
        return np.char.decode(outputs["label"], "utf-8")
    return np.array(class_names)[outputs["probabilities"].argmax(axis=1)]


def _unambiguous(probabilities: np.ndarray, tolerance: float) -> np.ndarray:
    """Return whether the first label leads the second by more than `tolerance` can change."""
    ordered = np.sort(probabilities, axis=1)
    return ordered[:, -1] - ordered[:, -2] > 2 * tolerance


def matrix(trained: "Trained", exports: Mapping[str, tuple[Path, int]], scratch: Path,
           data_dir: str | None = None,
           count: Callable[[int, int], object] = lambda done, total: None) -> list[dict[str, Any]]:
    """Measure exports: size, speed, and accuracy on the whole test split.

    Args:
        trained: the network that was exported.
        exports: {format: (path, bytes)}.
        scratch: an existing folder for temporary files.
        data_dir: the folder of TensorFlow Datasets.
        count: called with (done, total).

    Returns:
        A dict for each export: format, bytes, the measurements of `run_export`, accuracy,
        agreement (the share of labels equal to the Keras model's) and examples.
    """
    test = trained.dataset(data_dir).test
    raw = trained.raw_inputs(test)
    inputs = trained.inputs(raw)
    expected, rows = trained.probabilities(inputs).argmax(axis=1), []
    for number, (name, (path, size)) in enumerate(exports.items()):
        count(number, len(exports))
        takes_text = trained.vocabulary and name == "saved_model"
        outputs, measured = run_export(path, {"serving_default": raw if takes_text else inputs},
                                       scratch, name, measured=True)
        labels = outputs["serving_default"]["probabilities"].argmax(axis=1)
        rows.append({"format": name, "bytes": size, **measured,
                     "accuracy": float(np.mean(labels == test.labels)),
                     "agreement": float(np.mean(labels == expected)), "examples": len(test)})
    count(len(exports), len(exports))
    return rows


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the header and the rows of the matrix as texts."""
    return _COLUMNS, [[
        row["format"], f"{row['bytes'] / 1e6:.3f}", f"{row['latency_p50_ms']:.3f}",
        f"{row['latency_p99_ms']:.3f}", f"{row['throughput']:,.0f}",
        f"{row['cold_start_ms']:,.0f}", f"{row['memory_mb']:.0f}" if row["memory_mb"] else "-",
        f"{row['accuracy']:.2%}", f"{row['agreement']:.2%}"] for row in rows]


def markdown(rows: Sequence[Mapping[str, Any]], machine: str) -> str:
    """Return the matrix as a page of Markdown."""
    head, lines = cells(rows)
    rule = ["---"] + ["---:"] * (len(head) - 1)
    table = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
    return f"""# Deploy matrix

{table}

Latency at batch 1 and throughput at batch 256, in a separate process with the runtime's default
number of threads. Cold start is the time from starting that process to its first output. Memory is
its peak. Accuracy is on the {rows[0]['examples']:,} test examples; agreement is the share of them
whose label equals the Keras model's. Machine: {machine}.
"""
