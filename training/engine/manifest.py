"""manifest.json: what must stay the same for a run to repeat bit for bit."""
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import keras
import tensorflow as tf

from zoo.errors import UserError
from zoo.startup import ONEDNN, uses_onednn
from zoo.training.data.dataset import Dataset
from zoo.training.data.splits import fingerprint, is_of_stream
from zoo.training.files import read_json, write
from zoo.training.recipe import Recipe
from zoo.weights import normalization

_PACKAGES = ("classic-zoo", "tensorflow", "keras", "numpy")
# A run cannot be resumed if one of these changed.
_FIXED = ("data_fingerprint", "weights_fingerprint", "teacher_fingerprint", "examples", "precision",
          "deterministic", "strategy")


def manifest(recipe: Recipe, dataset: Dataset, **flags: object) -> dict[str, object]:
    """Return the content of manifest.json: data, seed, versions, machine, and `flags` as given."""
    splits = {name: split for name, split in (
        ("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
        if split}
    return {
        **flags, "seed": recipe.seed, "data_fingerprint": fingerprint(list(splits.values())),
        "examples": {name: len(split) for name, split in splits.items()}, "machine": machine(),
        "onednn": uses_onednn(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or _processors(),
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(), "commit": commit(),
    }


def write_or_check_manifest(run: Path, made: dict[str, object],
                            say: Callable[[str], object]) -> None:
    """Write manifest.json; if an interrupted run has one, compare it with `made`.

    A change of versions, machine or the use of oneDNN is reported through `say`.

    Raises:
        zoo.errors.UserError: if the data or a flag changed.
    """
    file = run / "manifest.json"
    if not file.exists():
        write(file, json.dumps(made, indent=2) + "\n")
        return
    before = read_json(file)
    if "onednn" not in before and not os.environ.get(ONEDNN):
        before["onednn"] = made["onednn"]  # version 0.1 left it to TensorFlow, as this process does
    changed = [key for key in made if before.get(key) != made[key] and key != "commit"]
    for key in _FIXED:
        if key in changed:
            raise UserError(f"{run} was started with {key.replace('_', ' ')} {before.get(key)}. "
                            f"Received: {made[key]}. Choose another run directory, or resume with "
                            "the same data and options.")
    if changed:
        say(f"Resuming with different {', '.join(changed)}: the result will not be bit-identical.")


def streamed(run: Path) -> bool | None:
    """Return whether the training begun in `run` decodes images at every step; None if none is."""
    file = run / "manifest.json"
    return is_of_stream(read_json(file)["data_fingerprint"]) if file.exists() else None


def weights_fingerprint(model: keras.Model) -> str:
    """Return a hash of the variables and the pixel normalization of `model`, 32 hex digits."""
    digest = hashlib.blake2b(repr(normalization(model)).encode(), digest_size=16)
    for variable in model.variables:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()


def machine() -> str:
    """Return the processor, the number of cores this process may use, and the GPUs."""
    cpuinfo = Path("/proc/cpuinfo")
    described = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    line = re.search(r"model name\s*:\s*(.+)", described)
    processor = line[1] if line else platform.machine()
    gpus = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
            for gpu in tf.config.list_physical_devices("GPU")]
    cores = _processors()
    return ", ".join([processor, f"{cores} core{'s' * (cores > 1)}", *gpus])


def _processors():
    """On how many processors this process may run; TensorFlow has as many threads by default."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def commit() -> str | None:
    """Return the commit of the checkout this code runs from; None if the code is installed.

    The suffix -dirty marks changed Python files.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*args):
        return subprocess.run(["git", "-C", root, *args], capture_output=True,
                              encoding="utf-8", errors="replace")
    name = git("describe", "--always").stdout.strip()
    if name and git("diff", "--quiet", "HEAD", "--", "*.py").returncode == 1:
        name += "-dirty"
    return name or None
