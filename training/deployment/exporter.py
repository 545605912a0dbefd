"""Exports a trained network: a SavedModel, LiteRT and ONNX files, each verified before use."""
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.errors import UserError
from zoo.training import files, trained
from zoo.training.deployment import card, conversion, samples, saved_model, verification
from zoo.training.deployment.formats import FILES, check_packages, expand
from zoo.training.engine.manifest import machine
from zoo.training.files import write
from zoo.training.preprocessing import tokens


def export(run: str | os.PathLike[str], to: str | os.PathLike[str] | None = None,
           force: bool = False, formats: Iterable[str] = ("saved_model",), report: bool = False,
           data_dir: str | None = None,
           count: Callable[[int, int], object] = lambda done, total: None) -> dict[str, Any]:
    """Export a trained network to a directory, completely or not at all.

    The directory is a SavedModel, see `zoo.training.deployment.saved_model.write`. It also holds
    the files of the other formats, see `zoo.training.deployment.conversion`, with labels.txt and,
    for a text network, vocab.txt and tokens.py and tokens.mjs, which make token ids. assets/ holds
    the model card, card.json and README.md, samples.json with a few test examples of a run, the
    layers of the network in model.json.gz, and the files that the SavedModel reads; deploy.json and
    deploy.md hold the report. Everything is written beside `to`, run in a process that has only its
    runtime, compared with the network on examples, and only then renamed.

    Args:
        run: a finished run's directory, compared on its first test examples; or the name of a
            shipped network, or of one with ImageNet weights such as "mobilenet_v2-imagenet",
            compared on random examples.
        to: the directory of the export; None for saved_models/NAME.
        force: whether to replace an existing export. The same export is kept without it.
        formats: names of `zoo.training.deployment.formats.FORMATS`, or "all".
        report: whether to measure each format on this machine and score it on the test split.
        data_dir: the folder of TensorFlow Datasets; int8 needs training data, the report test data.
        count: called with (done, total) formats as the report measures them.

    Returns:
        A dict: path; bytes of the directory; exists, true if `to` held this export already and
        nothing was written; examples, the number compared; examples_of, "test" or "random";
        difference, the largest of a probability in a format that is not int8; formats, {name:
        {file, bytes, difference, agreement}}; and with `report` deploy, the rows of deploy.json.

    Raises:
        zoo.errors.UserError: if there is no such network or format, `to` holds anything but this
            export and `force` is False, a package is missing, a file cannot be written, or a format
            disagrees with the network. Nothing is left behind then.
    """
    formats = expand(formats)
    check_packages(formats)
    source = trained.load(run)
    conversion.check_memory(source.model, formats)
    to = Path(to or f"saved_models/{source.name}")
    if not force and not report and (existing := _existing(source, formats, to)):
        return existing
    # Read first: a damaged file is told before the long part.
    verified: dict[str, Any] = {"examples": len(source.examples),
                                "examples_of": source.examples_of}
    with files.replacing(to, force) as scratch:
        new = scratch / "new"
        try:
            written = _write(source, formats, new, data_dir)
        except tf.errors.OpError as error:  # such as a full disk; a session adds its whole stack
            *_, reason = error.message.partition("[[{{")[0].rstrip().split("\n")
            raise UserError(f"Cannot write {to}: {reason}.") from None
        verified |= _verify(source, written, new, scratch)
        described = card.describe(source, {name: file for name, (file, _) in written.items()},
                                  _served_name(to))
        content = json.dumps({**described, "verified": verified}, indent=2, ensure_ascii=False)
        write(new / "assets/card.json", content + "\n")
        write(new / "assets/README.md", card.markdown(described))
        samples.write_samples(source, new / "assets")
        result = {"path": str(to), "bytes": _bytes(new), "exists": False, **verified}
        if report:
            exports = {name: (new / entry["file"], entry["bytes"])
                       for name, entry in result["formats"].items()}
            rows = verification.matrix(source, exports, scratch, data_dir, count)
            result["deploy"] = rows
            content = json.dumps({"machine": machine(), "formats": rows}, indent=2)
            write(new / "deploy.json", content + "\n")
            write(new / "deploy.md", verification.markdown(rows, machine()))
    return result


def _served_name(to: Path) -> str:
    """Return the name in TensorFlow Serving and `zoo serve`: MODEL for the path MODEL/1."""
    return to.resolve().parent.name if to.name.isdecimal() else to.name


def _existing(source: trained.Trained, formats: Sequence[str], to: Path) -> dict[str, Any] | None:
    """Return the result of an earlier export of the same network in the same formats to `to`."""
    file = to / "assets/card.json"
    if not file.is_file():
        return None
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    here = card.describe(source, {}, _served_name(to))
    same = ("name", "architecture", "recipe", "metrics", "class_names", "versions")
    if set(there.get("files", ())) != set(formats) or "verified" not in there or any(
            there.get(key) != here[key] for key in same):
        return None
    return {"path": str(to), "bytes": _bytes(to), "exists": True, **there["verified"]}


def _write(source: trained.Trained, formats: Sequence[str], to: Path,
           data_dir: str | None) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """Write all files and return {format: (file name, {signature: inputs to verify it on})}."""
    calibration = None
    if any("int8" in name for name in formats):
        calibration = conversion.calibration(source, data_dir)
    written = {}
    if "saved_model" in formats:
        written["saved_model"] = (".", saved_model.write(source, to))
    (to / "assets").mkdir(parents=True, exist_ok=True)
    others = [name for name in formats if name != "saved_model"]
    if others:
        conversion.write(source, others, to, calibration)
        write(to / "labels.txt", "\n".join(source.class_names) + "\n")
        if source.vocabulary:
            write(to / "vocab.txt", str(source.vocabulary))
            for file in (Path(tokens.__file__), Path(tokens.__file__).with_suffix(".mjs")):
                write(to / file.name, file.read_bytes())
        inputs = {"serving_default": source.inputs(source.examples)}
        written |= {name: (FILES[name], inputs) for name in others}
    return written


def _verify(source: trained.Trained,
            written: Mapping[str, tuple[str, Mapping[str, np.ndarray]]], new: Path,
            scratch: Path) -> dict[str, Any]:
    """Run every format in a separate process, and compare it with the network."""
    inputs = source.inputs(source.examples)
    formats: dict[str, dict[str, Any]] = {}
    features = keras.Model(source.model.input, source.features)
    expected = {"probabilities": source.probabilities(inputs),
                "features": features.predict(inputs, verbose=0)}
    for name, (file, signature_inputs) in written.items():
        outputs, _ = verification.run_export(new / file, signature_inputs, scratch, name)
        parts: tuple[str, ...] = (file,)
        if name == "saved_model":
            parts = ("saved_model.pb", "fingerprint.pb", "variables")
        formats[name] = {"file": file, "bytes": sum(_bytes(new / part) for part in parts),
                         **verification.compare(name, outputs, expected, source.class_names)}
    differences = [entry["difference"] for name, entry in formats.items() if "int8" not in name]
    return {"difference": max(differences, default=None), "formats": formats}


def _bytes(path: Path) -> int:
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in paths if file.is_file())
