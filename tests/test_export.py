"""The SavedModel: what it takes, what it answers, and that nothing half-made is left behind."""
import dataclasses
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training import prediction, trained
from zoo.training.deployment import conversion, exporter
from zoo.training.deployment import saved_model as signatures
from zoo.training.preprocessing.images import fit_to

STRANGER = """
import sys
sys.modules["keras"] = sys.modules["zoo"] = None
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
answer = model.signatures["from_bytes"](tf.constant([open(sys.argv[2], "rb").read()]))
print(answer["label"].numpy()[0].decode())
"""


def test_pixels_are_answered_as_the_keras_model_answers(exported, finished_run, test_images):
    loaded = tf.saved_model.load(exported[0])
    answers = loaded.signatures["serving_default"](image=tf.constant(test_images, tf.float32))
    logits = keras.models.load_model(finished_run / "model.keras").predict(test_images, verbose=0)
    assert set(answers) == {"probabilities", "class_id", "label", "top_k", "top_k_probabilities"}
    np.testing.assert_allclose(answers["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    assert np.array_equal(answers["class_id"], logits.argmax(axis=1))
    assert [label.decode() for label in answers["label"].numpy()] == [str(i) for i in logits.argmax(axis=1)]


def test_sessions_answer_alike(exported, test_images):
    """TensorFlow Serving runs the graph between the tensors that a signature names, and asks no functions."""
    pixels, files = test_images[:3].astype("float32"), [b"?", *(tf.io.encode_png(image).numpy() for image in test_images[:2])]
    asked = {"serving_default": pixels, "serving_uint8": test_images[:3], "features": pixels, "from_bytes": files,
             "stages": files}
    functions, answers = tf.saved_model.load(exported[0]).signatures, {}
    assert functions.keys() == asked.keys()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ends = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(exported[0])).signature_def
        for name, question in asked.items():
            (taken,) = ends[name].inputs.values()
            answers[name] = session.run({key: end.name for key, end in ends[name].outputs.items()}, {taken.name: question})
    for name, question in asked.items():
        expected = functions[name](tf.constant(question))
        assert answers[name].keys() == expected.keys()
        for key, answer in answers[name].items():
            if answer.dtype == np.float32:
                np.testing.assert_allclose(answer, expected[key], atol=1e-5)
            else:
                assert answer.tolist() == expected[key].numpy().tolist()


def test_encoded_images_of_any_size_and_kind_are_answered(exported, test_images):
    loaded = tf.saved_model.load(exported[0])
    image = test_images[0]
    larger = tf.cast(tf.image.resize(image, (64, 48)), tf.uint8)
    files = [tf.io.encode_png(image), tf.io.encode_png(tf.image.grayscale_to_rgb(larger)),
             tf.io.encode_jpeg(larger, quality=100)]
    answers = loaded.signatures["from_bytes"](image_bytes=tf.stack(files))
    pixels = loaded.signatures["serving_default"](image=tf.constant(image[None], tf.float32))
    np.testing.assert_allclose(answers["probabilities"][0], pixels["probabilities"][0], atol=1e-6)
    assert len(set(answers["label"].numpy())) == 1


def test_a_stranger_with_tensorflow_alone_gets_a_label(exported, finished_run, test_images, tmp_path):
    (tmp_path / "digit.png").write_bytes(tf.io.encode_png(test_images[0]).numpy())
    asked = subprocess.run([sys.executable, "-I", "-c", STRANGER, exported[0], tmp_path / "digit.png"],
                           capture_output=True, text=True)
    assert asked.stdout.strip() == prediction.predict(finished_run, [tmp_path / "digit.png"])[0]["label"], asked.stderr


@pytest.mark.parametrize(("constant", "variables"), [(signatures.CONSTANT, 0), (1_000, 4), (0, 10)])
def test_the_weights_are_on_disk_once(finished_run, tmp_path, monkeypatch, constant, variables):
    """As constants of the graph up to that limit, as variables over it."""
    monkeypatch.setattr(signatures, "CONSTANT", constant)
    found = exporter.export(finished_run, tmp_path / "model")
    weights, graph = 4 * 61_706, (tmp_path / "model/saved_model.pb").stat().st_size
    on_disk = sum(file.stat().st_size for file in (tmp_path / "model").glob("variables/*"))
    kept = tf.saved_model.load(tmp_path / "model").variables
    assert len(kept) == variables
    assert sum(4 * tf.size(weight).numpy() for weight in kept) <= on_disk <= (weights + 2_000) * bool(variables)
    assert weights < graph + on_disk < found["bytes"] <= 1.1 * weights + 1_500 * variables
    assert found["difference"] < 1e-5


def test_what_is_added_to_the_model_is_its_card(exported):
    assert exported[1]["bytes"] - exported[1]["formats"]["saved_model"]["bytes"] < 10_000, "the card"
    assert exported[1]["bytes"] == sum(f.stat().st_size for f in exported[0].rglob("*") if f.is_file())


def test_an_export_that_is_there_is_kept_unless_forced(exported, finished_run):
    before = (exported[0] / "saved_model.pb").read_bytes()
    with pytest.raises(UserError, match="exists. Choose another --to, or replace it with --force"):
        exporter.export(finished_run, exported[0])
    assert (exported[0] / "saved_model.pb").read_bytes() == before
    exporter.export(finished_run, exported[0], force=True)
    assert sorted(p.name for p in exported[0].parent.iterdir()) == ["model"]


def test_a_mismatch_leaves_nothing_behind(finished_run, tmp_path, monkeypatch):
    """The graph on disk is made to differ from the Keras model, as a wrong conversion would."""
    honest = signatures.write

    def corrupt(source, path):
        original = source.model.get_weights()
        source.model.set_weights([weight + 0.01 for weight in original])
        asked = honest(source, path)
        source.model.set_weights(original)
        return asked
    monkeypatch.setattr(signatures, "write", corrupt)
    with pytest.raises(UserError, match="serving_default answers otherwise than the Keras model.*Nothing was exported"):
        exporter.export(finished_run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_export_that_cannot_be_written_says_so(finished_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write .*file/model: "):
        exporter.export(finished_run, tmp_path / "file/model")


def test_a_shipped_network_is_exported_by_its_name(test_images, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "lenet5-digits", "--json"]) == 0
    done = json.loads(capfd.readouterr().out)
    assert done["path"] == "saved_models/lenet5-digits" and done["examples_of"] == "random"
    told = json.loads((tmp_path / done["path"] / "assets/card.json").read_text())
    assert told["metrics"] == zoo.card("lenet5-digits")["metrics"] and told["class_names"] == [str(n) for n in range(10)]
    answers = tf.saved_model.load(tmp_path / done["path"]).signatures["serving_default"](tf.constant(test_images, tf.float32))
    np.testing.assert_array_equal(answers["class_id"], zoo.load("lenet5-digits").predict(test_images, verbose=0).argmax(1))
    assert main(["export", "lenet5-digit"]) == 1 and "Did you mean 'lenet5-digits'?" in capfd.readouterr().err


def test_an_unknown_format_is_told_beside_all():
    with pytest.raises(UserError, match="Unknown format 'litter'. Did you mean 'litert'?"):
        exporter.export("lenet5-digits", formats=["all", "litter"])


@pytest.mark.parametrize("content", [b"", b"PK damaged", None])
def test_a_model_that_cannot_be_opened_is_told_with_its_version(finished_run, tmp_path, content):
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "model.keras").unlink() if content is None else (run / "model.keras").write_bytes(content)
    words = f"^Cannot open .*model.keras with Keras {keras.__version__}; Keras {keras.__version__} made it: .+"
    with pytest.raises(UserError, match=words) as raised:
        exporter.export(run, tmp_path / "model")
    assert "\n" not in str(raised.value) and not (tmp_path / "model").exists()


def test_an_unfinished_run_is_not_exported(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        exporter.export(tmp_path, tmp_path / "model")
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(UserError, match="is not finished"):
        exporter.export(tmp_path, tmp_path / "model")


def test_no_stage_is_called_as_an_answer_is(finished_run, tmp_path):
    image = keras.Input((32, 32, 1))
    network = keras.Model(image, keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="error")(image)))
    source = dataclasses.replace(trained.load(finished_run), model=network)
    with pytest.raises(UserError, match="Expected stages with names of their own. Received: error"):
        signatures.write(source, tmp_path)


@pytest.mark.parametrize("size", [(40, 70), (70, 40), (5, 9)])
def test_a_crop_is_what_resizing_and_cutting_gives(size):
    image = tf.random.stateless_uniform((1, *size, 3), (1, 2), 0, 256, tf.int32)
    scale = max(24 / size[0], 32 / size[1])
    whole = tf.image.resize(image, [round(side * scale) for side in size], antialias=True)
    top, left = (whole.shape[1] - 24) // 2, (whole.shape[2] - 32) // 2
    np.testing.assert_allclose(fit_to(tf.cast(image, tf.uint8), (24, 32, 3), "crop"),
                               np.round(whole[:, top:top + 24, left:left + 32]), atol=1)


def test_a_network_too_large_for_onnx_is_refused_before_anything_is_written():
    model = zoo.build("lenet5")
    with pytest.raises(UserError, match=r"^Converting lenet5 to ONNX takes about 0 GB .* Leave onnx out: --formats "):
        conversion.refuse_too_large(model, ("saved_model", "onnx-int8"), memory=1e6)
    conversion.refuse_too_large(model, ("saved_model", "litert"), memory=1e6)
    conversion.refuse_too_large(model, exporter.FORMATS)
