"""What is handed over, in the hands of strangers: each format in its own runtime, and none that answers otherwise."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import UserError
from zoo.training import recipes, trained
from zoo.training.data import dataset
from zoo.training.deployment import conversion as convert
from zoo.training.deployment import exporter, verification
from zoo.training.engine.fit import train

NETWORKS = ("lenet5", "resnet20", "textcnn")
ITEMS = 200
BLOCKED = "import sys\nfor name in {}: sys.modules[name] = None\nimport numpy as np\nmodel, questions = sys.argv[1:]\n"
STRANGERS = {
    ".": BLOCKED.format(["keras", "zoo"]) + """
import tensorflow as tf
loaded = tf.saved_model.load(model)
(name,) = loaded.signatures["serving_default"].structured_input_signature[1]
answers = loaded.signatures["serving_default"](**{name: tf.constant(np.load(questions))})
print("\\n".join(label.decode() for label in answers["label"].numpy()))""",
    "model.tflite": BLOCKED.format(["keras", "zoo", "tensorflow"]) + """
from ai_edge_litert.interpreter import Interpreter
ask = Interpreter(model_path=model).get_signature_runner()
(name,) = ask.get_input_details()
found = ask(**{name: np.load(questions)})["probabilities"].argmax(axis=1)
labels = open(model.replace("model.tflite", "labels.txt"), encoding="utf-8").read().splitlines()
print("\\n".join(labels[i] for i in found))""",
    "model.onnx": BLOCKED.format(["keras", "zoo", "tensorflow"]) + """
import onnxruntime
session = onnxruntime.InferenceSession(model)
found = session.run(["probabilities"], {session.get_inputs()[0].name: np.load(questions)})[0].argmax(axis=1)
labels = open(model.replace("model.onnx", "labels.txt"), encoding="utf-8").read().splitlines()
print("\\n".join(labels[i] for i in found))"""}


@pytest.fixture(scope="module")
def exports(finished_run, tmp_path_factory):
    """{network: (run, export, answer)}, made when it is asked for: all formats of three networks."""
    made, folder = {}, tmp_path_factory.mktemp("exports")

    def small(name):
        if name == "lenet5":
            return finished_run
        if name == "resnet20":  # on the scans as they are, 8x8
            recipe = recipes.Recipe(name, name, "digits", {"input_shape": (8, 8, 1)}, epochs=5, batch_size=32, normalize=True)
        else:
            table = Path(os.environ.get("ZOO_DATA", "")) / "mr.csv"
            if not table.is_file():
                pytest.skip("mr.csv is not here: set ZOO_DATA to a folder that holds it")
            recipe = recipes.override(recipes.get_recipe("textcnn-mr", str(table)), ["epochs=1"])
        train(recipe, folder / f"{name}-run", log=False)
        return folder / f"{name}-run"

    def get(name):
        if name not in made:
            for package in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
                pytest.importorskip(package, reason=f"{package} is not here: pip install 'classic-zoo[litert,onnx]'")
            run = small(name)
            made[name] = run, folder / name, exporter.export(run, folder / name, formats=["all"])
        return made[name]
    return get


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("file", STRANGERS)
def test_a_stranger_gets_the_labels_of_the_keras_model(exports, name, file, tmp_path):
    run, exported, _ = exports(name)
    source = trained.load(run)
    asked = trained.questions(source.dataset().test)[:ITEMS]
    inputs = source.inputs(asked)
    expected = [source.class_names[i] for i in source.probabilities(inputs).argmax(axis=1)]
    np.save(tmp_path / "questions.npy", asked if file == "." and source.vocabulary else inputs)
    said = subprocess.run([sys.executable, "-I", "-c", STRANGERS[file], exported / file, tmp_path / "questions.npy"],
                          capture_output=True, text=True)
    assert said.stdout.splitlines() == expected and len(set(expected)) > 1, said.stderr[-500:]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_format_was_compared_and_is_no_larger_than_its_numbers(exports, name):
    run, exported, answer = exports(name)
    weights = 4 * trained.load(run).model.count_params()
    assert list(answer["formats"]) == list(exporter.FORMATS)
    for format, found in answer["formats"].items():
        assert found["agreement"] >= verification.AGREEMENT and found["difference"] <= verification.TOLERANCE.get(format, 0.5), format
    vocabulary = (exported / "vocab.txt").stat().st_size if (exported / "vocab.txt").exists() else 0
    card = (file.stat().st_size for file in (exported / "assets").iterdir() if file.name != "vocab.txt")
    saved = answer["formats"]["saved_model"]["bytes"] + vocabulary + sum(card)
    assert weights < saved <= 1.1 * (weights + vocabulary)
    assert (exported / "model-int8.tflite").stat().st_size < 0.6 * (exported / "model.tflite").stat().st_size


@pytest.fixture(scope="module")
def lenet(exports):
    _, exported, _ = exports("lenet5")
    return tf.saved_model.load(exported)


@pytest.fixture(scope="module")
def scans():
    return dataset.load("digits", (32, 32, 1)).test.images[:6]


def test_uint8_pixels_are_answered_as_floats_are(lenet, scans):
    whole = lenet.signatures["serving_uint8"](image=tf.constant(scans))
    floats = lenet.signatures["serving_default"](image=tf.constant(scans, tf.float32))
    assert set(whole) == {"probabilities", "class_id", "label", "top_k", "top_k_probabilities"}
    for key, value in floats.items():
        assert np.array_equal(whole[key], value), key


def test_the_best_classes_come_first(lenet, scans):
    answers = lenet.signatures["serving_default"](image=tf.constant(scans, tf.float32))
    order = np.argsort(-answers["probabilities"].numpy(), axis=1)[:, :5]
    assert np.array_equal(answers["top_k"].numpy().astype(int), order)  # the digits' names are their numbers
    assert np.array_equal(answers["top_k_probabilities"], np.take_along_axis(answers["probabilities"].numpy(), order, 1))
    assert np.array_equal(answers["top_k"][:, 0], answers["label"])


def test_features_lead_to_the_probabilities(lenet, exports, scans):
    features = lenet.signatures["features"](image=tf.constant(scans, tf.float32))["features"]
    last = trained.load(exports("lenet5")[0]).model.get_layer("logits")
    answers = lenet.signatures["serving_default"](image=tf.constant(scans, tf.float32))
    np.testing.assert_allclose(tf.nn.softmax(last(features)), answers["probabilities"], atol=1e-5)


def test_bad_images_take_no_neighbour_down(lenet, scans):
    photograph = tf.io.encode_jpeg(tf.cast(tf.random.stateless_uniform((64, 48, 3), (1, 2), 0, 255), tf.uint8)).numpy()
    good = [tf.io.encode_png(scan).numpy() for scan in scans] + [photograph]
    huge = bytearray(good[0])
    huge[16:24] = (30_000).to_bytes(4, "big") * 2  # the header of a picture of 30,000 x 30,000
    bad = [b"", b"no picture", photograph[:len(photograph) // 2], good[0][:60], bytes(huge)]
    mixed = [file for pair in zip(good, bad + [b"\xff\xd8\xff", b"GIF89a"], strict=True) for file in pair]
    alone = lenet.signatures["from_bytes"](image_bytes=tf.constant(good))
    among = lenet.signatures["from_bytes"](image_bytes=tf.constant(mixed))
    for key, value in alone.items():
        np.testing.assert_allclose(among[key][::2], value, atol=1e-6) if value.dtype.is_floating else \
            np.testing.assert_array_equal(among[key][::2], value)
    assert set(alone["error"].numpy()) == {b""} and b"" not in among["error"].numpy()[1::2]
    assert set(among["class_id"].numpy()[1::2]) == {-1} and set(among["label"].numpy()[1::2]) == {b""}
    assert not np.any(among["probabilities"][1::2])
    only_bad = lenet.signatures["from_bytes"](image_bytes=tf.constant(bad))
    assert set(only_bad["class_id"].numpy()) == {-1}


def test_saved_model_cli_shows_it(exports):
    _, exported, _ = exports("lenet5")
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "show", "--dir", exported, "--all"]
    shown = subprocess.run(tool, capture_output=True, text=True).stdout
    for words in ("signature_def['serving_default']", "signature_def['from_bytes']", "outputs['top_k']", "(-1, 32, 32, 1)"):
        assert words in shown


@pytest.mark.parametrize("name", ["lenet5", "textcnn"])
def test_the_card_says_what_it_is(exports, name):
    run, exported, answer = exports(name)
    card = json.loads((exported / "assets/card.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert card["weights"] == metrics["weights"] and card["metrics"]["test_accuracy"] == metrics["test_accuracy"]
    assert card["architecture"] == name and card["multiply_adds"] > 0 and card["class_names"] == metrics["class_names"]
    assert all((exported / file).exists() for file in card["files"].values()) and len(card["files"]) == len(exporter.FORMATS)
    page = (exported / "assets/README.md").read_text()
    assert f"{card['weights']:,} weights" in page and "curl" in page and ("vocab.txt" in page or name == "lenet5")


def test_the_report_scores_and_times_every_format(finished_run, tmp_path, zoo_command):
    said = zoo_command("export", finished_run, "--to", tmp_path / "model", "--formats", "saved_model,litert", "--report")
    assert said.returncode == 0, said.stderr
    rows = json.loads((tmp_path / "model/deploy.json").read_text())["formats"]
    truth = json.loads((finished_run / "metrics.json").read_text())
    assert [row["format"] for row in rows] == ["saved_model", "litert"]
    for row in rows:
        assert row["accuracy"] == truth["test_accuracy"] and row["agreement"] == 1 and row["examples"] == 360
        assert 0 < row["latency_p50_ms"] <= row["latency_p99_ms"] < row["cold_start_ms"] and row["throughput"] > 0
    table = (tmp_path / "model/deploy.md").read_text()
    assert all(cell in table for row in verification.cells(rows)[1] for cell in row) and "litert" in said.stdout


# What can go wrong

def test_an_unknown_format_and_a_missing_package_are_told(finished_run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="Unknown format 'litert-int4'. Did you mean 'litert-int8'"):
        exporter.export(finished_run, tmp_path / "model", formats=["litert-int4"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"The format onnx needs onnxruntime: pip install 'classic-zoo\[onnx\]'"):
        exporter.export(finished_run, tmp_path / "model", formats=["saved_model", "onnx"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, change", [("litert", 1e-3), ("litert-int8", 0.9), ("onnx", np.nan)])
def test_an_export_that_answers_otherwise_is_refused(name, change):
    expected = np.eye(4, dtype="float32")[[0, 1, 2, 3] * 5] * 0.8 + 0.05
    answers = {"serving_default": {"probabilities": expected.copy()}}
    assert verification.compare(name, answers, {"probabilities": expected}, list("abcd")) == {"difference": 0.0, "agreement": 1.0}
    answers["serving_default"]["probabilities"][::6, 3] += change
    with pytest.raises(UserError, match=f"The {name} export's serving_default answers otherwise"):
        verification.compare(name, answers, {"probabilities": expected}, list("abcd"))


def test_a_wrong_conversion_leaves_nothing(finished_run, tmp_path, monkeypatch):
    honest = convert._litert

    def corrupt(model, function, *args):
        for weight in model.trainable_weights:
            weight.assign(weight + 0.01)
        return honest(model, function, *args)
    monkeypatch.setattr(convert, "_litert", corrupt)
    monkeypatch.setattr(exporter.trained.Trained, "probabilities", lambda self, inputs, first=honest_probabilities(finished_run):
                        first)
    with pytest.raises(UserError, match="litert export's serving_default answers otherwise.*Nothing was exported"):
        exporter.export(finished_run, tmp_path / "model", formats=["litert"])
    assert not list(tmp_path.iterdir())


def honest_probabilities(run):
    source = trained.load(run)
    return source.probabilities(source.inputs(source.examples))
