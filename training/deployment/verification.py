"""Exports asked in processes of their own: whether they answer as the network does, and how fast."""
import json
import subprocess
import sys
import time

import numpy as np

from zoo.errors import UserError
from zoo.training.deployment import runtimes

# By how much a probability may differ: the same float32 operations, fused otherwise; float16 weights. int8 is held to labels.
TOLERANCE = {"saved_model": 1e-5, "litert": 1e-4, "onnx": 1e-4, "litert-fp16": 2e-2}
AGREEMENT = 0.9  # of the labels, for int8
_COLUMNS = ("format", "MB", "p50 ms", "p99 ms", "examples/s", "cold start ms", "memory MB", "accuracy", "agreement")


def ask(export, asked, scratch, name, measured=False):
    """Return the answers of the export at the path `export`, a dict of arrays by signature, and what was measured.

    Args:
        asked: {signature: what it is asked, an array}.
        scratch: an existing folder; one is made in it.
        name: the format, for the message.

    Raises:
        zoo.errors.UserError: if its runtime cannot run it.
    """
    folder = scratch / f"{name}-{'measured' if measured else 'checked'}"
    folder.mkdir()
    for signature, array in asked.items():
        np.save(folder / f"{signature}.npy", array)
    began = time.time()
    done = subprocess.run([sys.executable, "-I", runtimes.__file__, export, folder, *["--measure"] * measured],
                          capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"The {name} export could not be run by itself: {said[-1]}. Nothing was exported.")
    answers = {}
    for signature in asked:
        with np.load(folder / f"{signature}.npz") as kept:
            answers[signature] = dict(kept)
    report = json.loads((folder / "measured.json").read_text()) if measured else {}
    return answers, report | ({"cold_start_ms": 1e3 * (report.pop("answered") - began)} if measured else {})


def compare(name, answers, expected, class_names):
    """Return {"difference": the largest of a probability, "agreement": the share of equal labels} of an export's answers.

    Args:
        name: the format.
        answers: by signature, as `ask` returns them.
        expected: {"probabilities": (n, classes), "features": (n, ...)} of the network itself.
        class_names: the classes' names.

    Raises:
        zoo.errors.UserError: if they differ by more than the format explains.
    """
    allowed, worst, agreed = TOLERANCE.get(name), 0.0, 1.0
    own = expected["probabilities"].argmax(axis=1)
    for signature, answer in answers.items():
        kind = "features" if signature == "features" else "probabilities"
        difference = float(np.abs(answer[kind] - expected[kind]).max() / max(1.0, np.abs(expected[kind]).max()))
        if allowed and not difference <= allowed:  # not >: NaN has to fail
            raise _otherwise(name, signature, f"{kind} differ by {difference:.1e}, {allowed:.0e} is allowed")
        same = kind == "features" or _labels(answer, class_names) == np.array(class_names)[own]
        same = np.broadcast_to(same, own.shape)
        if same.mean() < AGREEMENT or allowed and not same[_clear(expected["probabilities"], allowed)].all():
            raise _otherwise(name, signature, f"{same.mean():.0%} of the labels agree")
        worst, agreed = max(worst, difference), min(agreed, float(same.mean()))
    return {"difference": worst, "agreement": agreed}


def _otherwise(name, signature, what):
    return UserError(f"The {name} export's {signature} answers otherwise than the Keras model: {what}. Nothing was exported.")


def _labels(answer, class_names):
    return np.char.decode(answer["label"], "utf-8") if "label" in answer else np.array(class_names)[
        answer["probabilities"].argmax(axis=1)]


def _clear(probabilities, allowed):
    """Where the first label leads the second by more than the difference allowed can turn."""
    best = np.sort(probabilities, axis=1)
    return best[:, -1] - best[:, -2] > 2 * allowed


def matrix(trained, exports, scratch, data_dir=None, count=lambda done, whole: None):
    """Return a dict for each export: how large and how fast it is, and how good on the whole test part.

    Args:
        trained: a `zoo.training.trained.Trained`.
        exports: {format: (path, bytes)}.
        scratch: an existing folder for what is asked and answered.
        data_dir: where TensorFlow Datasets keeps its files.
        count: is told (done, in all).
    """
    test = trained.dataset(data_dir).test
    raw = trained.raw_inputs(test)
    inputs = trained.inputs(raw)
    own, rows = trained.probabilities(inputs).argmax(axis=1), []
    for number, (name, (path, size)) in enumerate(exports.items()):
        count(number, len(exports))
        whole = raw if trained.vocabulary and name == "saved_model" else inputs
        answers, measured = ask(path, {"serving_default": whole}, scratch, name, measured=True)
        found = answers["serving_default"]["probabilities"].argmax(axis=1)
        rows.append({"format": name, "bytes": size, **measured, "accuracy": float(np.mean(found == test.labels)),
                     "agreement": float(np.mean(found == own)), "examples": len(test)})
    count(len(exports), len(exports))
    return rows


def cells(rows):
    """Return the head of the matrix and its rows, as texts."""
    return _COLUMNS, [[
        row["format"], f"{row['bytes'] / 1e6:.3f}", f"{row['latency_p50_ms']:.3f}", f"{row['latency_p99_ms']:.3f}",
        f"{row['throughput']:,.0f}", f"{row['cold_start_ms']:,.0f}", f"{row['memory_mb']:.0f}" if row["memory_mb"] else "-",
        f"{row['accuracy']:.2%}", f"{row['agreement']:.2%}"] for row in rows]


def markdown(rows, machine):
    """Return the matrix as a page of Markdown."""
    head, lines = cells(rows)
    table = "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] + ["---:"] * (len(head) - 1), *lines))
    return f"""# Deploy matrix

{table}

Latency at batch 1, throughput at batch 256, in a process of its own with its runtime's own number of threads; cold start from
starting that process to its first answer; memory is the most it held. Accuracy on the {rows[0]['examples']:,} test
examples, and the share of them whose label is the Keras model's. Machine: {machine}.
"""
