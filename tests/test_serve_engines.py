"""`zoo serve --engine`: ONNX and LiteRT files, served as their SavedModel, without TensorFlow."""
import asyncio
import concurrent.futures
import csv
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
import tensorflow as tf

from tests import image_set, sentences
from tests.bad_requests import b64, encoded
from tests.conftest import ROOT
from tests.test_serve import predict, serving
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training.serving import batching, startup
from zoo.training.serving.models import Model

pytest.importorskip("starlette", reason="the server needs its extra: pip install '.[serve]'")

LIGHT = ("onnxruntime", "litert")
TEXTS = [text for texts in sentences.SENTENCES.values() for text in texts]
TOLERANCE = 1e-4  # of a probability: a resized pixel may be one level off in 0.2 % of them


@pytest.fixture(scope="module")
def models(converted, tmp_path_factory):
    """A folder with an export of an image network and one of a text network, in three formats."""
    from zoo.training import recipes
    from zoo.training.deployment.exporter import export
    from zoo.training.engine.fit import train
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(converted, folder / "digits")
    table = tmp_path_factory.mktemp("text") / "reviews.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(TEXTS, sentences.LABELS, strict=True)])
    run = table.parent / "run"
    recipe = recipes.get_recipe("textcnn", str(table))
    train(recipes.override(recipe, ["epochs=1"]), run, log=False)
    export(run, folder / "reviews", formats=("saved_model", "onnx", "litert"))
    return folder


@pytest.fixture(scope="module")
def loaded(models):
    """{engine: {model name: Model}}"""
    return {engine: {name: Model(models / name, engine) for name in ("digits", "reviews")}
            for engine in startup.FILES}


def check_equal(outputs, expected):
    assert set(outputs) == set(expected)
    for name, values in sorted(expected.items(), reverse=True):
        assert outputs[name].dtype == values.dtype and outputs[name].shape == values.shape, name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(outputs[name], values, atol=TOLERANCE)
        else:
            assert outputs[name].tolist() == values.tolist(), name


@pytest.mark.parametrize("engine", LIGHT)
@pytest.mark.parametrize("signature", ["serving_default", "serving_uint8", "from_bytes"])
def test_labels_are_equal_on_the_whole_test_split(loaded, engine, signature):
    from zoo.training.data.dataset import load_data
    images = load_data("digits", (32, 32, 1)).test.examples
    inputs = {"image": images.astype("float32" if signature == "serving_default" else "uint8")}
    if signature == "from_bytes":
        inputs = {"image_bytes": np.array([encoded(image) for image in images], object)}
    outputs, expected = (loaded[name]["digits"].signatures[signature].run(inputs)
                         for name in (engine, "tensorflow"))
    check_equal(outputs, expected)
    assert len(outputs["label"]) > 300


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("engine", LIGHT)
def test_files_of_every_kind_give_equal_outputs_and_errors(loaded, engine):
    """Files that are refused get the same reason, and do not affect the others of the batch."""
    readable = {name: data for name, data in image_set.image_set().items()
                if tf.__version__ >= "2.20" or not name.startswith("WebP")}  # of the SavedModel
    files = list(readable.values())[::7]
    files += [b"", b"hello", *(data[:len(data) // 2] for data in files[:20])]
    inputs = {"image_bytes": np.array(files, object)}
    outputs, expected = (loaded[name]["digits"].signatures["from_bytes"].run(inputs)
                         for name in (engine, "tensorflow"))
    check_equal(outputs, expected)
    bad = expected["error"] != b""
    assert 10 < bad.sum() < len(files) - 20 and (outputs["class_id"][bad] == -1).all()


def test_small_images_are_decoded_at_once_unless_one_took_long(loaded):
    """The thread of the event loop decodes them, where that keeps nobody waiting."""
    signature = loaded["litert"]["digits"].signatures["from_bytes"]
    threads, pause, decode = [], 0.0, signature._prepare

    def watched(inputs):
        threads.append("pool" if threading.current_thread() is not threading.main_thread()
                       else "loop")
        end = time.thread_time() + pause
        while time.thread_time() < end:
            pass
        return decode(inputs)

    def submit(side=28, rows=1):
        threads.clear()
        files = [encoded(np.full((side, side, 1), 20 * n, "uint8")) for n in range(rows)]
        inputs = {"image_bytes": np.array(files, object)}
        outputs = asyncio.run(batcher.submit(inputs, [side * side] * rows))
        assert threads and len(outputs["label"]) == rows
        check_equal(outputs, signature.run(inputs))
        return threads[0]
    with (pytest.MonkeyPatch.context() as patch,
          concurrent.futures.ThreadPoolExecutor(1) as pool):
        patch.setattr(signature, "_prepare", watched)
        patch.setattr(batching, "_SLOW", 0.1)
        patch.setattr(batching, "_PAUSE", 3)
        batcher = batching.Batcher(signature, pool, 8)
        assert submit() == submit(rows=4) == submit(64) == "loop"
        assert submit(rows=5) == submit(65) == "pool", "of more than 4,096 pixels in all"
        pause = 0.2
        assert submit() == "loop"
        pause = 0.0
        assert submit() == "pool"
        time.sleep(3)
        assert submit() == "loop"


@pytest.mark.parametrize("engine", LIGHT)
def test_sentences_of_twenty_languages_give_equal_outputs(loaded, engine):
    texts = [text.encode() for text in TEXTS]
    texts += [text.encode() for text in sentences.spellings(TEXTS[0]).values()]
    texts += [b"", b" ", b"\xff film", b"a\xe2\x82", "\ufeffTHE \u212b".encode(), b"film " * 300]
    outputs, expected = (loaded[name]["reviews"].signatures["serving_default"].run(
        {"text": np.array(texts, object)}) for name in (engine, "tensorflow"))
    check_equal(outputs, expected)


@pytest.mark.parametrize("engine", LIGHT)
def test_metadata_differs_in_names_of_tensors_only(loaded, engine):
    for name in ("digits", "reviews"):
        for signature, definition in loaded[engine][name].metadata.items():
            expected = loaded["tensorflow"][name].metadata[signature]
            for side in ("inputs", "outputs"):
                for key, info in definition[side].items():
                    assert {**info, "name": ""} == {**expected[side][key], "name": ""}
                assert set(definition[side]) == set(expected[side])
            assert definition["method_name"] == expected["method_name"]


@pytest.fixture(scope="module", params=LIGHT)
def light(request, models):
    """The addresses of REST and gRPC of a server without TensorFlow, its process and its engine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--engine", request.param, "--grpc-port", str(port))
    with serving(models, *options) as (address, process):
        yield address.split(" ")[0], f"127.0.0.1:{port}", process, request.param


def test_a_light_server_answers_rest(light, loaded, test_images):
    address, _, _, engine = light
    expected = loaded["tensorflow"]["digits"].signatures["serving_default"].run(
        {"image": test_images.astype("float32")})
    labels = [label.decode() for label in expected["label"]]
    rows = predict(address, {"instances": test_images.tolist()}, "digits").json()["predictions"]
    assert [row["label"] for row in rows] == labels
    files = [b64(encoded(image)) for image in test_images]
    body = {"signature_name": "from_bytes", "instances": files}
    rows = predict(address, body, "digits").json()["predictions"]
    assert [row["label"] for row in rows] == labels and not any(row["error"] for row in rows)
    np.testing.assert_allclose([row["probabilities"] for row in rows], expected["probabilities"],
                               atol=TOLERANCE)
    assert predict(address, {"instances": ["a film"]}, "reviews").json()["predictions"]
    response = predict(address, {**body, "instances": [b64(b"hello")]}, "digits")
    assert response.status_code == 400 and "Expected a JPEG" in response.json()["error"]
    described = requests.get(f"{address}/models", timeout=60).json()["digits"]
    assert len(described.pop("samples")) == 8
    no_map = f"There is no map of the network: it needs TensorFlow, not {engine}."
    response = requests.post(f"{address}/network/digits", json=body, timeout=60)
    assert (response.status_code, response.json()) == (400, {"error": no_map})
    assert described == {"image": "from_bytes", "text": None, "stages": False, "no_map": no_map,
                         "labels": loaded["tensorflow"]["digits"].class_names}
    assert requests.get(address, timeout=60).status_code == 200


def test_a_light_server_answers_grpc(light, loaded, test_images):
    grpc = pytest.importorskip("grpc", reason="pip install '.[grpc]'")
    pytest.importorskip("tensorflow_serving", reason="pip install '.[grpc]'")
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    images = test_images.astype("float32")
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(images))
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "digits"
    with grpc.insecure_channel(light[1]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=60)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(metadata, timeout=60).metadata["signature_def"].Unpack(signatures)
    check_equal({name: tf.make_ndarray(value) for name, value in response.outputs.items()},
                loaded["tensorflow"]["digits"].signatures["serving_default"].run({"image": images}))
    output = signatures.signature_def["from_bytes"].outputs["label"]
    assert output.dtype == tf.string.as_datatype_enum


def test_tensors_are_read_and_written_as_tensorflow_does():
    pytest.importorskip("tensorflow_serving", reason="pip install '.[grpc]'")
    import tensorflow as tf

    from zoo.training.serving import messages
    for dtype in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8",
                  "uint16", "uint32", "uint64", "bool"):
        for shape in ((), (1,), (2, 3), (0, 2)):
            array = np.arange(np.prod(shape), dtype="int64").astype(dtype).reshape(shape)
            tensor = tf.make_tensor_proto(array)
            for made in (tensor, messages.to_tensor(array)):
                for read in (messages.to_array, tf.make_ndarray):
                    assert read(made).dtype == array.dtype
                    np.testing.assert_array_equal(read(made), array)
            listed = tf.make_tensor_proto(array.ravel().tolist()[:1] or [0], dtype, shape)
            np.testing.assert_array_equal(messages.to_array(listed), tf.make_ndarray(listed))
    texts = np.array([[b"a", b"\xff"]], object)
    assert tf.make_ndarray(messages.to_tensor(texts)).tolist() == texts.tolist()


def test_a_light_server_takes_little_memory(light):
    megabytes = psutil.Process(light[2].pid).memory_info().rss / 1e6
    assert megabytes < 200


def start(folder, engine, *python):
    """Start a server and stop it; return the seconds until it answered, and its stderr."""
    began = time.monotonic()
    command = [sys.executable, *python, "-m", "zoo", "serve", str(folder), "--port", "0",
               "--engine", engine]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith("Serving ")
        seconds = time.monotonic() - began
        process.kill()
        return seconds, process.communicate()[1]


@pytest.mark.slow
def test_a_light_server_starts_in_less_than_half_the_time(models):
    seconds = {engine: [] for engine in startup.FILES}
    for _, engine in itertools.product(range(2), startup.FILES):
        seconds[engine].append(start(models / "digits", engine)[0])
    for engine in LIGHT:
        assert min(seconds[engine]) < min(seconds["tensorflow"]) / 2, seconds


@pytest.mark.parametrize("engine", LIGHT)
def test_a_light_server_imports_neither_tensorflow_nor_keras(models, engine):
    _, log = start(models, engine, "-X", "importtime")
    modules = {line.rpartition("|")[2].strip() for line in log.splitlines()
               if line.startswith("import time:")}
    assert {"zoo.training.serving.server", "numpy"} <= modules
    assert not {name for name in modules
                if name.partition(".")[0] in ("tensorflow", "keras", "jax", "torch", "tf2onnx")}


def deploy(folder, **latencies):
    rows = [{"format": name.replace("_int8", "-int8"), "latency_p50_ms": value}
            for name, value in latencies.items()]
    (folder / "deploy.json").write_text(json.dumps({"formats": rows}))


def test_auto_takes_what_was_measured_fastest(tmp_path):
    from zoo.training.deployment import formats
    assert set(startup.FILES.values()) - {"saved_model.pb"} == {
        formats.FILES["onnx"], formats.FILES["litert"]}
    (tmp_path / "assets").mkdir()
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match="holds no SavedModel"):
        startup.find_models(tmp_path)  # an ONNX file without a model card says too little
    (tmp_path / "assets/card.json").write_text("{}")
    assert startup.find_models(tmp_path) == {tmp_path.name: {1: tmp_path}}
    assert startup.choose_engine(tmp_path) == "onnxruntime"
    (tmp_path / "saved_model.pb").touch()
    assert startup.choose_engine(tmp_path) == "tensorflow"  # nothing is measured
    deploy(tmp_path, saved_model=0.5, onnx=0.1, litert=0.01, onnx_int8=0.001)
    assert startup.choose_engine(tmp_path) == "onnxruntime"  # there is no LiteRT file
    (tmp_path / "model.tflite").touch()
    assert startup.choose_engine(tmp_path) == "litert"
    deploy(tmp_path, saved_model=0.005, onnx=0.1, litert=0.01)
    assert startup.choose_engine(tmp_path) == "tensorflow"
    for engine in startup.FILES:
        assert startup.choose_engine(tmp_path, engine) == engine
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(UserError, match="holds no model.onnx.*--formats saved_model,onnx"):
        startup.choose_engine(tmp_path, "onnxruntime")


def test_auto_serves_the_measured_engine_and_says_so(models, tmp_path):
    shutil.copytree(models / "digits", tmp_path / "digits")
    deploy(tmp_path / "digits", saved_model=2, onnx=1)
    with serving(tmp_path) as (address, process):
        assert not process.poll() and "tensorflow" not in mapped(process.pid)
        assert requests.get(f"{address}/v1/models/digits", timeout=60).status_code == 200


def mapped(pid):
    """Return the files that a process has mapped, where the system lists them."""
    file = Path(f"/proc/{pid}/maps")
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("arguments, words", [
    (("--engine", "onnx"), "Unknown engine 'onnx'. Did you mean 'onnxruntime'?"),
    (("--engine", "litert"), "holds no model.tflite for the engine litert")])
def test_mistakes_get_one_line(models, tmp_path, capsys, arguments, words):
    shutil.copytree(models / "digits", tmp_path / "digits")
    (tmp_path / "digits/model.tflite").unlink()
    assert main(["serve", str(tmp_path / "digits"), "--port", "0", *arguments])
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


@pytest.mark.parametrize("engine", LIGHT)
def test_a_damaged_file_gets_one_line(models, tmp_path, engine):
    shutil.copytree(models / "digits", tmp_path / "digits")
    (tmp_path / "digits" / startup.FILES[engine]).write_bytes(b"no network")
    with pytest.raises(UserError, match="is it damaged"):
        Model(tmp_path / "digits", engine)
