"""What a finished training leaves in its run directory, and where and on what it ran."""
import hashlib
import json
import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training import evaluation, figures
from zoo.training.data.splits import fingerprint
from zoo.training.files import csv_text, packed, read_json, write
from zoo.weights import normalization

_EXAMPLES = 32     # test examples that a run keeps, to check its exports with
# What a run cannot change half-way.
_FIXED = ("data_fingerprint", "weights_fingerprint", "examples", "precision", "deterministic", "strategy")


def finish(model, dataset, recipe, run, state):
    """Write what a finished training leaves; `model` is a fresh float32 network."""
    state.load_best(model)
    if isinstance(model.output, dict):  # auxiliary heads have done their work
        model = keras.Model(model.input, model.output["logits"], name=model.name)
    temporary = run / ".model.keras"
    model.save(temporary)
    os.replace(temporary, run / "model.keras")
    scores = evaluation.score(model, dataset.test, dataset.class_names)
    if dataset.vocabulary:
        write(run / "vocab.txt", str(dataset.vocabulary))
    write(run / "examples.npz", _some(dataset.test))
    columns = list(state.history[0])
    rows = ([row.get(column) for column in columns] for row in state.history)
    write(run / "history.csv", csv_text(columns, rows))
    write(run / "curves.png", figures.png(figures.curves(state.history)))
    write(run / "confusion.png", figures.png(figures.confusion(np.array(scores["confusion"]), dataset.class_names)))
    metrics = {
        "recipe": recipe.name, "model": recipe.model, "data": recipe.data,
        **{f"test_{key}": value for key, value in scores.items()},
        "best_epoch": state.best(), "weights": model.count_params(), "input_shape": list(model.input.shape[1:]),
        "epochs": len(state.history), "seconds": round(state.seconds, 1),
        "images_per_second": round(len(state.history) * len(dataset.train) / state.seconds),
        **read_json(run / "manifest.json"), "test_fingerprint": fingerprint([dataset.test]),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "class_names": dataset.class_names,
    }
    write(run / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def _some(split):
    """The first examples of `split`, images or texts as bytes, and their labels, as the bytes of an .npz file."""
    shown = np.arange(min(_EXAMPLES, len(split)))
    return packed(examples=np.array(split.raw(shown)), labels=split.labels[shown])


def manifest(recipe, dataset, **flags):
    """Return what has to be the same for a run to repeat to the last bit: data, seed, flags, versions and machine."""
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {
        **flags, "seed": recipe.seed, "data_fingerprint": fingerprint([part for part in parts.values() if part]),
        "examples": {name: len(part) for name, part in parts.items() if part},
        "machine": machine(), "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
        "versions": {name: version(name) for name in ("classic-zoo", "tensorflow", "keras", "numpy")},
        "python": platform.python_version(), "commit": _commit(),
    }


def weights_fingerprint(model):
    """Return a hash of all variables of `model`, and of how it prepares its pixels, as 32 hexadecimal digits."""
    digest = hashlib.blake2b(repr(normalization(model)).encode(), digest_size=16)
    for variable in model.variables:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()


def keep_manifest(run, made, say):
    """Write manifest.json, or compare it with that of the interrupted run which goes on.

    Raises:
        zoo.errors.UserError: if the data or a flag is not what it was.
    """
    file = run / "manifest.json"
    if not file.exists():
        write(file, json.dumps(made, indent=2) + "\n")
        return
    kept = read_json(file)
    changed = [key for key in made if kept.get(key) != made[key] and key != "commit"]
    for key in _FIXED:
        if key in changed:
            raise UserError(f"{run} was begun with {key.replace('_', ' ')} {kept.get(key)}, and now it is {made[key]}. "
                            "Choose another --run, or go on as it was begun.")
    if changed:
        say(f"Going on with other {', '.join(changed)} than at the start: the result will not be the same to the last bit.")


def machine():
    """Return what this computes on, in words: processor, cores and GPUs."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    gpus = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
            for gpu in tf.config.list_physical_devices("GPU")]
    return ", ".join([found[1] if found else platform.machine(), f"{os.cpu_count()} cores", *gpus])


def _commit():
    """The commit of the checkout that this code stands in, None where it is installed; -dirty if its Python has changed."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None

    def git(*args):
        return subprocess.run(["git", "-C", here, *args], capture_output=True, text=True)
    commit, changed = git("describe", "--always").stdout.strip(), git("diff", "--quiet", "HEAD", "--", "*.py").returncode == 1
    return f"{commit}{'-dirty' * changed}" if commit else None
