"""The SavedModel: its inputs and outputs, and that a failed export leaves nothing behind."""
import base64
import dataclasses
import io
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training import prediction, trained
from zoo.training.deployment import conversion, exporter, formats, keras_model, saved_model
from zoo.training.preprocessing.images import fit_to

WITH_TENSORFLOW_ALONE = """
import sys
sys.modules["keras"] = sys.modules["zoo"] = None
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
outputs = model.signatures["from_bytes"](tf.constant([open(sys.argv[2], "rb").read()]))
print(outputs["label"].numpy()[0].decode())
"""


def test_outputs_equal_the_keras_model(exported, finished_run, test_images):
    loaded = tf.saved_model.load(exported[0])
    outputs = loaded.signatures["serving_default"](image=tf.constant(test_images, tf.float32))
    logits = keras.models.load_model(finished_run / "model.keras").predict(test_images, verbose=0)
    classes = logits.argmax(axis=1)
    assert set(outputs) == {"probabilities", "class_id", "label", "top_k", "top_k_probabilities"}
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    assert np.array_equal(outputs["class_id"], classes)
    assert [label.decode() for label in outputs["label"].numpy()] == [str(i) for i in classes]


def test_sessions_and_functions_agree(exported, test_images):
    """TensorFlow Serving runs the graph between the tensors that a signature names."""
    pixels = test_images[:3].astype("float32")
    files = [b"?", *(tf.io.encode_png(image).numpy() for image in test_images[:2])]
    inputs = {"serving_default": pixels, "serving_uint8": test_images[:3], "features": pixels,
              "from_bytes": files, "stages": files}
    functions, outputs = tf.saved_model.load(exported[0]).signatures, {}
    assert functions.keys() == inputs.keys()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING],
                                                   str(exported[0]))
        for name, array in inputs.items():
            definition = meta_graph.signature_def[name]
            (tensor,) = definition.inputs.values()
            fetches = {key: output.name for key, output in definition.outputs.items()}
            outputs[name] = session.run(fetches, {tensor.name: array})
    for name, array in inputs.items():
        expected = functions[name](tf.constant(array))
        assert outputs[name].keys() == expected.keys()
        for key, output in outputs[name].items():
            if output.dtype == np.float32:
                np.testing.assert_allclose(output, expected[key], atol=1e-5)
            else:
                assert output.tolist() == expected[key].numpy().tolist()


def test_encoded_images_of_any_size_and_kind_are_classified(exported, test_images):
    loaded = tf.saved_model.load(exported[0])
    image = test_images[0]
    larger = tf.cast(tf.image.resize(image, (64, 48)), tf.uint8)
    files = [tf.io.encode_png(image), tf.io.encode_png(tf.image.grayscale_to_rgb(larger)),
             tf.io.encode_jpeg(larger, quality=100)]
    outputs = loaded.signatures["from_bytes"](image_bytes=tf.stack(files))
    pixels = loaded.signatures["serving_default"](image=tf.constant(image[None], tf.float32))
    np.testing.assert_allclose(outputs["probabilities"][0], pixels["probabilities"][0], atol=1e-6)
    assert len(set(outputs["label"].numpy())) == 1


def test_tensorflow_alone_predicts_a_label(exported, finished_run, test_images, tmp_path):
    file = tmp_path / "digit.png"
    file.write_bytes(tf.io.encode_png(test_images[0]).numpy())
    process = subprocess.run([sys.executable, "-I", "-c", WITH_TENSORFLOW_ALONE, exported[0], file],
                             capture_output=True, text=True)
    (expected,) = prediction.predict(finished_run, [file])
    assert process.stdout.strip() == expected["label"], process.stderr


@pytest.mark.parametrize(
    ("limit", "variables"),
    [
        (saved_model.CONSTANT_LIMIT, 0),
        pytest.param(1_000, 4, marks=pytest.mark.slow),
        (0, 10),
    ],
)
def test_the_weights_are_on_disk_once(finished_run, tmp_path, monkeypatch, limit, variables):
    """As constants of the graph up to the limit, as variables over it."""
    monkeypatch.setattr(saved_model, "CONSTANT_LIMIT", limit)
    result = exporter.export(finished_run, tmp_path / "model")
    weights, graph = 4 * 61_706, (tmp_path / "model/saved_model.pb").stat().st_size
    on_disk = sum(file.stat().st_size for file in (tmp_path / "model").glob("variables/*"))
    loaded = tf.saved_model.load(tmp_path / "model").variables
    assert len(loaded) == variables
    most = weights + 2_000 if variables else 0
    assert sum(4 * tf.size(weight).numpy() for weight in loaded) <= on_disk <= most
    most = 1.1 * weights + 1_500 * variables + 150_000  # the last for decoding image files
    assert weights < graph + on_disk < result["bytes"] <= most
    assert result["difference"] < 1e-5
    expected = trained.load(finished_run).model
    restored = keras_model.load(tmp_path / "model")
    assert [layer.name for layer in restored.layers] == [layer.name for layer in expected.layers]
    for weight, own in zip(restored.weights, expected.weights, strict=True):
        assert weight.path == own.path
        np.testing.assert_array_equal(weight, own)


def test_the_layers_of_an_export_of_version_0_1_are_not_there(tmp_path):
    with pytest.raises(UserError, match="has no assets/model.json.gz: `zoo export` of version 0.2"):
        keras_model.load(tmp_path)


def test_the_only_other_files_are_the_card_the_layers_and_samples(exported, finished_run):
    folder, result = exported
    card_and_samples = result["bytes"] - result["formats"]["saved_model"]["bytes"]
    samples = json.loads((folder / "assets/samples.json").read_text())["images"]
    assert card_and_samples < 20_000 and len(samples) == 8
    examples = np.load(finished_run / "examples.npz")["examples"]
    for sample, image in zip(samples, examples[:8], strict=True):
        file = base64.b64decode(sample.removeprefix("data:image/png;base64,"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), image[:, :, 0])
    assert result["bytes"] == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def test_an_existing_export_is_kept_unless_forced(exported, finished_run, tmp_path, capsys):
    folder, first = exported
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    again = exporter.export(finished_run, folder)
    assert again == {**first, "exists": True} and not first["exists"]
    assert main(["export", str(finished_run), "--to", str(folder)]) == 0
    assert f"{folder} already holds this export; --force writes it again" in capsys.readouterr().out
    for run, names in ((finished_run, ["saved_model", "litert"]), ("lenet5-digits", None)):
        with pytest.raises(UserError, match="exists. Choose another directory, or replace it"):
            exporter.export(run, folder, formats=names or ["saved_model"])
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}

    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model/assets/card.json").write_text("{")
    with pytest.raises(UserError, match="exists. Choose another directory, or replace it"):
        exporter.export(finished_run, tmp_path / "model")
    forced = exporter.export(finished_run, tmp_path / "model", force=True)
    assert not forced["exists"] and json.loads((tmp_path / "model/assets/card.json").read_text())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_a_mismatch_leaves_nothing_behind(finished_run, tmp_path, monkeypatch):
    """Change the graph on disk, as a wrong conversion would."""
    original_write = saved_model.write

    def corrupt(source, path):
        weights = source.model.get_weights()
        source.model.set_weights([weight + 0.01 for weight in weights])
        inputs = original_write(source, path)
        source.model.set_weights(weights)
        return inputs
    monkeypatch.setattr(saved_model, "write", corrupt)
    words = "serving_default differs from the Keras model.*Nothing was exported"
    with pytest.raises(UserError, match=words):
        exporter.export(finished_run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_export_that_cannot_be_written_says_so(finished_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write .*file/model: "):
        exporter.export(finished_run, tmp_path / "file/model")


def test_a_shipped_network_is_exported_by_its_name(test_images, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "lenet5-digits", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["path"] == "saved_models/lenet5-digits" and result["examples_of"] == "random"
    card = json.loads((tmp_path / result["path"] / "assets/card.json").read_text())
    assert card["metrics"] == zoo.card("lenet5-digits")["metrics"]
    assert card["class_names"] == [str(n) for n in range(10)]
    loaded = tf.saved_model.load(tmp_path / result["path"])
    outputs = loaded.signatures["serving_default"](tf.constant(test_images, tf.float32))
    logits = zoo.load("lenet5-digits").predict(test_images, verbose=0)
    np.testing.assert_array_equal(outputs["class_id"], logits.argmax(axis=1))
    assert main(["export", "lenet5-digit"]) == 1
    assert "Did you mean 'lenet5-digits'?" in capfd.readouterr().err


def test_an_unknown_format_is_reported_beside_all():
    with pytest.raises(UserError, match="Unknown format 'litter'. Did you mean 'litert'?"):
        exporter.export("lenet5-digits", formats=["all", "litter"])


@pytest.mark.parametrize("content", [b"", b"PK damaged", None])
def test_the_error_of_a_damaged_model_names_the_keras_version(finished_run, tmp_path, content):
    run = shutil.copytree(finished_run, tmp_path / "run")
    if content is None:
        (run / "model.keras").unlink()
    else:
        (run / "model.keras").write_bytes(content)
    words = (f"^Cannot open .*model.keras with Keras {keras.__version__}; "
             f"Keras {keras.__version__} made it: .+")
    with pytest.raises(UserError, match=words) as raised:
        exporter.export(run, tmp_path / "model")
    assert "\n" not in str(raised.value) and not (tmp_path / "model").exists()


def test_an_unfinished_run_is_not_exported(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        exporter.export(tmp_path, tmp_path / "model")
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(UserError, match="is not finished"):
        exporter.export(tmp_path, tmp_path / "model")


def test_a_stage_named_error_is_an_error(finished_run, tmp_path):
    image = keras.Input((32, 32, 1))
    flat = keras.layers.Flatten(name="error")(image)
    network = keras.Model(image, keras.layers.Dense(10, name="logits")(flat))
    source = dataclasses.replace(trained.load(finished_run), model=network)
    with pytest.raises(UserError, match='Expected no stage named "error", .*Received: error'):
        saved_model.write(source, tmp_path)


def test_another_model_without_weights_does_not_matter(finished_run, tmp_path):
    with keras.StatelessScope(initialize_variables=False):
        other = keras.layers.Dense(2)
        other.build((None, 3))
    try:
        exporter.export(finished_run, tmp_path / "model")
    finally:
        keras.utils.clear_session()  # forgets the weights that were not made


@pytest.mark.parametrize("size", [(40, 70), (70, 40), (5, 9)])
def test_a_crop_equals_resizing_and_cropping(size):
    image = tf.random.stateless_uniform((1, *size, 3), (1, 2), 0, 256, tf.int32)
    scale = max(24 / size[0], 32 / size[1])
    whole = tf.image.resize(image, [round(side * scale) for side in size], antialias=True)
    top, left = (whole.shape[1] - 24) // 2, (whole.shape[2] - 32) // 2
    np.testing.assert_allclose(fit_to(tf.cast(image, tf.uint8), (24, 32, 3), "crop"),
                               np.round(whole[:, top:top + 24, left:left + 32]), atol=1)


def test_a_network_too_large_for_onnx_is_an_error_before_anything_is_written():
    model = zoo.build("lenet5")
    words = r"^Converting lenet5 to ONNX takes about 0 GB .* Leave onnx out: formats "
    with pytest.raises(UserError, match=words):
        conversion.check_memory(model, ("saved_model", "onnx-int8"), memory=1e6)
    conversion.check_memory(model, ("saved_model", "litert"), memory=1e6)
    conversion.check_memory(model, formats.FORMATS)
