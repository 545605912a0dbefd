"""Exports without the zoo: each format runs in its own runtime and agrees with the network."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.models import TINY
from zoo.errors import UserError
from zoo.training import recipes, trained
from zoo.training.data.dataset import load_data
from zoo.training.deployment import conversion, exporter, formats, runtimes, verification
from zoo.training.engine.fit import train
from zoo.training.preprocessing.tokens import Vocabulary

NETWORKS = ("lenet5", "resnet20", "textcnn")
ITEMS = 200
DECODER = 160_000  # bytes of the graph that decodes images or splits sentences
BLOCKED = """import sys
for name in {}: sys.modules[name] = None
import numpy as np
model, inputs = sys.argv[1:]
"""
SCRIPTS = {  # what a user writes who has only the runtime
    ".": BLOCKED.format(["keras", "zoo"]) + """
import tensorflow as tf
loaded = tf.saved_model.load(model)
(name,) = loaded.signatures["serving_default"].structured_input_signature[1]
outputs = loaded.signatures["serving_default"](**{name: tf.constant(np.load(inputs))})
print("\\n".join(label.decode() for label in outputs["label"].numpy()))""",
    "model.tflite": BLOCKED.format(["keras", "zoo", "tensorflow"]) + """
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(model_path=model).get_signature_runner()
(name,) = run.get_input_details()
classes = run(**{name: np.load(inputs)})["probabilities"].argmax(axis=1)
labels = open(model.replace("model.tflite", "labels.txt"), encoding="utf-8").read().splitlines()
print("\\n".join(labels[i] for i in classes))""",
    "model.onnx": BLOCKED.format(["keras", "zoo", "tensorflow"]) + """
import onnxruntime
session = onnxruntime.InferenceSession(model)
(outputs,) = session.run(["probabilities"], {session.get_inputs()[0].name: np.load(inputs)})
classes = outputs.argmax(axis=1)
labels = open(model.replace("model.onnx", "labels.txt"), encoding="utf-8").read().splitlines()
print("\\n".join(labels[i] for i in classes))"""}


@pytest.fixture(scope="module")
def exports(finished_run, tmp_path_factory):
    """Return a function from a network's name to (run, export, result) of all formats, cached."""
    cache, folder = {}, tmp_path_factory.mktemp("exports")

    def small(name):
        if name == "lenet5":
            return finished_run
        if name == "resnet20":  # on the scans in their own size, 8x8
            recipe = recipes.Recipe(name, name, "digits", {"input_shape": (8, 8, 1)}, epochs=5,
                                    batch_size=32, normalize=True)
        else:
            table = Path(os.environ.get("ZOO_DATA", "")) / "mr.csv"
            if not table.is_file():
                pytest.skip("mr.csv is missing: set ZOO_DATA to a folder that holds it")
            recipe = recipes.override(recipes.get_recipe("textcnn-mr", str(table)), ["epochs=1"])
        train(recipe, folder / f"{name}-run", log=False)
        return folder / f"{name}-run"

    def get(name):
        if name not in cache:
            for package in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
                pytest.importorskip(package, reason=f"{package} is missing: "
                                                    "pip install '.[litert,onnx]'")
            run = small(name)
            result = exporter.export(run, folder / name, formats=["all"])
            cache[name] = run, folder / name, result
        return cache[name]
    return get


@pytest.mark.parametrize(
    "name", [NETWORKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])]
)
@pytest.mark.parametrize("file", SCRIPTS)
def test_the_runtime_alone_predicts_the_labels_of_the_keras_model(exports, name, file, tmp_path):
    run, exported, _ = exports(name)
    source = trained.load(run)
    raw = source.raw_inputs(source.dataset().test)[:ITEMS]
    inputs = source.inputs(raw)
    expected = [source.class_names[i] for i in source.probabilities(inputs).argmax(axis=1)]
    np.save(tmp_path / "inputs.npy", raw if file == "." and source.vocabulary else inputs)
    command = [sys.executable, "-I", "-c", SCRIPTS[file], exported / file, tmp_path / "inputs.npy"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.stdout.splitlines() == expected, process.stderr[-500:]
    assert len(set(expected)) > 1


def of_sentences(name, folder):
    recipe = recipes.Recipe("r", name, "reviews.csv", max_tokens=9)
    return trained.Trained(folder, zoo.build(name, **TINY[name]), {"class_names": ["a", "b"]},
                           recipe, Vocabulary(("a",)))


@pytest.mark.parametrize("name", [name for name in TINY if "vocab_size" in TINY[name]])
def test_sentences_without_words_are_the_same_in_every_runtime(name, tmp_path):
    source = of_sentences(name, tmp_path)
    conversion.write(source, ["onnx", "litert"], tmp_path, None)
    tokens = np.zeros((3, 9), "int32")
    tokens[1, :4] = 2, 3, 1, 2
    expected = tf.nn.softmax(source.model(tokens)).numpy()
    for file in ("model.onnx", "model.tflite"):
        outputs = runtimes.load(tmp_path / file)["serving_default"].run(tokens)
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5, err_msg=file)


def test_a_format_that_the_converter_cannot_write_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot write litert-batch1 for fasttext. Leave it out"):
        conversion.write(of_sentences("fasttext", tmp_path), ["litert-batch1"], tmp_path, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", [NETWORKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])]
)
def test_every_format_agrees_and_is_little_larger_than_its_weights(exports, name):
    run, exported, result = exports(name)
    weights = 4 * trained.load(run).model.count_params()
    assert list(result["formats"]) == list(formats.FORMATS)
    for format, entry in result["formats"].items():
        assert entry["agreement"] >= verification.AGREEMENT, format
        assert entry["difference"] <= verification.TOLERANCE.get(format, 0.5), format
    sizes = {file.name: file.stat().st_size for file in exported.iterdir()}
    vocabulary = sizes.get("vocab.txt", 0)
    card = sum(file.stat().st_size for file in (exported / "assets").iterdir()
               if file.name != "vocab.txt")
    saved = result["formats"]["saved_model"]["bytes"] + vocabulary + card
    assert weights < saved <= 1.1 * (weights + vocabulary) + DECODER
    assert sizes["model-int8.tflite"] < 0.6 * sizes["model.tflite"]


@pytest.fixture(scope="module")
def lenet(exports):
    _, exported, _ = exports("lenet5")
    return tf.saved_model.load(exported)


@pytest.fixture(scope="module")
def scans():
    return load_data("digits", (32, 32, 1)).test.examples[:6]


def test_uint8_pixels_and_floats_have_equal_outputs(lenet, scans):
    whole = lenet.signatures["serving_uint8"](image=tf.constant(scans))
    floats = lenet.signatures["serving_default"](image=tf.constant(scans, tf.float32))
    assert set(whole) == {"probabilities", "class_id", "label", "top_k", "top_k_probabilities"}
    for key, value in floats.items():
        assert np.array_equal(whole[key], value), key


def test_the_best_classes_come_first(lenet, scans):
    outputs = lenet.signatures["serving_default"](image=tf.constant(scans, tf.float32))
    probabilities, top_k = outputs["probabilities"].numpy(), outputs["top_k"].numpy()
    order = np.argsort(-probabilities, axis=1)[:, :5]
    assert np.array_equal(top_k.astype(int), order)  # the names of the digits are their numbers
    best = np.take_along_axis(probabilities, order, 1)
    assert np.array_equal(outputs["top_k_probabilities"], best)
    assert np.array_equal(top_k[:, 0], outputs["label"])


def test_features_lead_to_the_probabilities(lenet, exports, scans):
    features = lenet.signatures["features"](image=tf.constant(scans, tf.float32))["features"]
    last = trained.load(exports("lenet5")[0]).model.get_layer("logits")
    outputs = lenet.signatures["serving_default"](image=tf.constant(scans, tf.float32))
    np.testing.assert_allclose(tf.nn.softmax(last(features)), outputs["probabilities"], atol=1e-5)


def test_bad_images_do_not_affect_their_neighbours(lenet, scans):
    pixels = tf.random.stateless_uniform((64, 48, 3), (1, 2), 0, 255)
    photograph = tf.io.encode_jpeg(tf.cast(pixels, tf.uint8)).numpy()
    good = [tf.io.encode_png(scan).numpy() for scan in scans] + [photograph]
    huge = bytearray(good[0])
    huge[16:24] = (30_000).to_bytes(4, "big") * 2  # the header of a picture of 30,000 x 30,000
    bad = [b"", b"no picture", photograph[:len(photograph) // 2], good[0][:60], bytes(huge),
           b"\xff\xd8\xff", b"GIF89a"]
    mixed = [file for pair in zip(good, bad, strict=True) for file in pair]
    alone = lenet.signatures["from_bytes"](image_bytes=tf.constant(good))
    among = lenet.signatures["from_bytes"](image_bytes=tf.constant(mixed))
    for key, value in alone.items():
        if value.dtype.is_floating:
            np.testing.assert_allclose(among[key][::2], value, atol=1e-6)
        else:
            np.testing.assert_array_equal(among[key][::2], value)
    assert set(alone["error"].numpy()) == {b""} and b"" not in among["error"].numpy()[1::2]
    assert set(among["class_id"].numpy()[1::2]) == {-1}
    assert set(among["label"].numpy()[1::2]) == {b""}
    assert not np.any(among["probabilities"][1::2])
    only_bad = lenet.signatures["from_bytes"](image_bytes=tf.constant(bad))
    assert set(only_bad["class_id"].numpy()) == {-1}


def test_saved_model_cli_shows_it(exports):
    _, exported, _ = exports("lenet5")
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "show", "--dir",
               exported, "--all"]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    for words in ("signature_def['serving_default']", "signature_def['from_bytes']",
                  "outputs['top_k']", "(-1, 32, 32, 1)"):
        assert words in output


@pytest.mark.parametrize("name", ["lenet5", pytest.param("textcnn", marks=pytest.mark.slow)])
def test_the_card_describes_the_export(exports, name):
    run, exported, _ = exports(name)
    card = json.loads((exported / "assets/card.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert card["params"] == metrics.get("params", metrics.get("weights"))
    assert card["metrics"]["test_accuracy"] == metrics["test_accuracy"]
    assert card["architecture"] == name and card["multiply_adds"] > 0
    assert card["class_names"] == metrics["class_names"]
    assert all((exported / file).exists() for file in card["files"].values())
    assert len(card["files"]) == len(formats.FORMATS)
    page = (exported / "assets/README.md").read_text()
    assert f"{card['params']:,} params" in page and "curl" in page
    assert "vocab.txt" in page or name == "lenet5"


@pytest.mark.slow
def test_the_report_scores_and_times_every_format(finished_run, tmp_path, zoo_command):
    process = zoo_command("export", finished_run, "--to", tmp_path / "model",
                          "--formats", "saved_model,litert", "--report")
    assert process.returncode == 0, process.stderr
    rows = json.loads((tmp_path / "model/deploy.json").read_text())["formats"]
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert [row["format"] for row in rows] == ["saved_model", "litert"]
    for row in rows:
        assert row["accuracy"] == metrics["test_accuracy"] and row["agreement"] == 1
        assert row["examples"] == 360 and row["throughput"] > 0
        assert 0 < row["latency_p50_ms"] <= row["latency_p99_ms"] < row["cold_start_ms"]
    table = (tmp_path / "model/deploy.md").read_text()
    assert all(cell in table for row in verification.cells(rows)[1] for cell in row)
    assert "litert" in process.stdout


def test_an_unknown_format_and_a_missing_package_are_errors(finished_run, tmp_path, monkeypatch):
    words = "Unknown format 'litert-int4'. Did you mean 'litert-int8'"
    with pytest.raises(UserError, match=words):
        exporter.export(finished_run, tmp_path / "model", formats=["litert-int4"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = r"The format onnx needs onnxruntime: run `pip install \".\[onnx\]\"`"
    with pytest.raises(UserError, match=words):
        exporter.export(finished_run, tmp_path / "model", formats=["saved_model", "onnx"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, change",
                         [("litert", 1e-3), ("litert-int8", 0.9), ("onnx", np.nan)])
def test_an_export_that_differs_is_an_error(name, change):
    expected = {"probabilities": np.eye(4, dtype="float32")[[0, 1, 2, 3] * 5] * 0.8 + 0.05}
    outputs = {"serving_default": {"probabilities": expected["probabilities"].copy()}}
    equal = verification.compare(name, outputs, expected, list("abcd"))
    assert equal == {"difference": 0.0, "agreement": 1.0}
    outputs["serving_default"]["probabilities"][::6, 3] += change
    words = f"The {name} export's serving_default differs from the Keras model"
    with pytest.raises(UserError, match=words):
        verification.compare(name, outputs, expected, list("abcd"))


def test_a_wrong_conversion_leaves_nothing(finished_run, tmp_path, monkeypatch):
    original, source = conversion._litert, trained.load(finished_run)
    probabilities = source.probabilities(source.inputs(source.examples))

    def corrupt(model, function, *args):
        for weight in model.trainable_weights:
            weight.assign(weight + 0.01)
        return original(model, function, *args)
    monkeypatch.setattr(conversion, "_litert", corrupt)
    monkeypatch.setattr(trained.Trained, "probabilities", lambda self, inputs: probabilities)
    words = "litert export's serving_default differs from the Keras model.*Nothing was exported"
    with pytest.raises(UserError, match=words):
        exporter.export(finished_run, tmp_path / "model", formats=["litert"])
    assert not list(tmp_path.iterdir())
