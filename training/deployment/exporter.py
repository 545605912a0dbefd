"""From a run to what is handed over: a SavedModel, LiteRT and ONNX files, each checked in its own runtime first."""
import json
from pathlib import Path

import keras
import tensorflow as tf

from zoo.errors import UserError, unknown
from zoo.training import files, trained
from zoo.training.deployment import card, conversion, saved_model, verification
from zoo.training.engine.manifest import machine
from zoo.training.files import write

FORMATS = ("saved_model", *conversion.FILES)


def export(run, to=None, force=False, formats=("saved_model",), report=False, data_dir=None, count=lambda done, whole: None):
    """Write the trained network `run` into the directory `to`, by default in saved_models, all of it or nothing.

    `to` is the SavedModel's directory, see `zoo.training.deployment.saved_model.write`; the files of the other formats stand in it, see
    `zoo.training.deployment.conversion`, with labels.txt and, of a text network, vocab.txt. assets/ holds the model card, card.json and
    README.md, and what the SavedModel reads itself; deploy.json and deploy.md hold the report. Everything is written beside
    `to`, opened in a process that has only its runtime, compared on examples, and only then renamed.

    Args:
        run: a finished run's directory, compared on its first test examples; or the name of a shipped network, or of one with
            ImageNet's weights such as "mobilenet_v2-imagenet", on random ones.
        force: replace an export that is there.
        formats: names of `FORMATS`.
        report: measure each format on this machine, and score it on the whole test part.
        data_dir: where TensorFlow Datasets keeps its files; int8 needs training data, the report test data.
        count: is told (done, in all) formats that were measured.

    Returns:
        A dict: path; bytes of the directory; examples compared; examples_of, "test" or "random"; difference, the largest of a
        probability in a format that is not int8; formats, {name: {file, bytes, difference, agreement}}; with `report` deploy,
        what deploy.json holds.

    Raises:
        zoo.errors.UserError: if there is no such network, `to` exists and not `force`, a package is missing, it cannot be
            written, or a format answers otherwise than the network. Nothing is left behind then.
    """
    formats = _known(formats)
    conversion.refuse_missing(formats)
    source = trained.run_or_shipped(run)
    conversion.refuse_too_large(source.model, formats)
    to = Path(to or f"saved_models/{source.name}")
    with files.replacing(to, force) as scratch:
        written = scratch / "new"
        try:
            written_files = _write(source, formats, written, data_dir, _served_name(to))
        except tf.errors.OpError as error:  # TensorFlow's name for a full disk; of a session it tells the whole stack too
            *_, why = error.message.partition("[[{{")[0].rstrip().split("\n")
            raise UserError(f"Cannot write {to}: {why}.") from None
        answers = {"path": str(to), "bytes": _bytes(written), "examples": len(source.examples), "examples_of": source.of,
                   **_check(source, written_files, written, scratch)}
        if report:
            exports = {name: (written / found["file"], found["bytes"]) for name, found in answers["formats"].items()}
            answers["deploy"] = verification.matrix(source, exports, scratch, data_dir, count)
            write(written / "deploy.json", json.dumps({"machine": machine(), "formats": answers["deploy"]}, indent=2) + "\n")
            write(written / "deploy.md", verification.markdown(answers["deploy"], machine()))
    return answers


def _served_name(to):
    """What TensorFlow Serving and `zoo serve` call it: of a version, MODEL/1, the model's name."""
    return to.resolve().parent.name if to.name.isdecimal() else to.name


def _known(formats):
    for name in formats:
        if name not in ("all", *FORMATS):
            raise unknown("format", name, ("all", *FORMATS))
    return FORMATS if "all" in formats else tuple(dict.fromkeys(formats))


def _write(source, formats, to, data_dir, name):
    """Write all files; return {format: (file name, what its signatures are to be asked)}."""
    samples = conversion.calibration(source, data_dir) if any("int8" in name for name in formats) else None
    inputs, files = source.inputs(source.examples), {}
    if "saved_model" in formats:
        files["saved_model"] = (".", saved_model.write(source, to))
    (to / "assets").mkdir(parents=True, exist_ok=True)
    others = [name for name in formats if name != "saved_model"]
    if others:
        conversion.write(source, others, to, samples)
        write(to / "labels.txt", "\n".join(source.class_names) + "\n")
        if source.vocabulary:
            write(to / "vocab.txt", str(source.vocabulary))
    files |= {name: (conversion.FILES[name], {"serving_default": inputs}) for name in others}
    described = card.describe(source, {name: file for name, (file, _) in files.items()}, name)
    write(to / "assets/card.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    write(to / "assets/README.md", card.markdown(described))
    return files


def _check(source, files, written, scratch):
    """Ask every format in a process of its own; return what differs from the Keras model's answers, and the sizes."""
    inputs, found = source.inputs(source.examples), {}
    features = keras.Model(source.model.input, source.features)
    expected = {"probabilities": source.probabilities(inputs), "features": features.predict(inputs, verbose=0)}
    for name, (file, asked) in files.items():
        answers, _ = verification.ask(written / file, asked, scratch, name)
        parts = ("saved_model.pb", "fingerprint.pb", "variables") if name == "saved_model" else (file,)
        found[name] = {"file": file, "bytes": sum(_bytes(written / part) for part in parts),
                       **verification.compare(name, answers, expected, source.class_names)}
    differences = [given["difference"] for name, given in found.items() if "int8" not in name]
    return {"difference": max(differences, default=None), "formats": found}


def _bytes(path):
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
