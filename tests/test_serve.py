"""The server, started as a person starts it, over real SavedModels, asked over HTTP."""
import asyncio
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

from tests.bad_requests import b64, bad_requests, encoded
from tests.conftest import ROOT
from zoo.__main__ import main
from zoo.errors import UserError

pytest.importorskip("fastapi", reason="the server needs its extra: pip install 'classic-zoo[serve]'")
BODY_LIMIT = 2_000_000  # as the answers to tests.bad_requests have it


@contextlib.contextmanager
def serving(folder, *options):
    """Run `zoo serve FOLDER` on a free port; yields its address and its process once it answers."""
    command = [sys.executable, "-m", "zoo", "serve", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        told = process.stdout.readline()
        try:
            assert told.startswith("Serving "), process.stderr.read()
            yield told.split(" on ")[1].strip(), process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def models(finished_run, tmp_path_factory):
    """A folder with an image network in two versions, as TensorFlow Serving has them, and a text network."""
    from zoo.training import recipes
    from zoo.training.deployment import exporter
    from zoo.training.engine.fit import train
    folder = tmp_path_factory.mktemp("models")
    exporter.export(finished_run, folder / "lenet5-digits/1")
    shutil.copytree(folder / "lenet5-digits/1", folder / "lenet5-digits/2")
    rows = [f"film {n} was {('poor', 'fine')[n % 2]},{('bad', 'good')[n % 2]}" for n in range(60)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    run = tmp_path_factory.mktemp("text") / "run"
    train(recipes.override(recipes.get_recipe("text_mlp", str(folder / "reviews.csv")), ["epochs=1"]), run, log=False)
    exporter.export(run, folder / "reviews")
    return folder


@pytest.fixture(scope="module")
def server(models):
    with serving(models, "--max-batch", "8", "--max-body", str(BODY_LIMIT)) as (address, process):
        yield address


@pytest.fixture(scope="module")
def digits(finished_run):
    """Test images of the run, uint8 (32, 32, 32, 1)."""
    return np.load(finished_run / "examples.npz")["examples"]


@pytest.fixture(scope="module")
def expected(models, digits):
    import tensorflow as tf
    loaded = tf.saved_model.load(models / "lenet5-digits/1")
    answers = loaded.signatures["serving_default"](tf.constant(digits, tf.float32))
    return answers["probabilities"].numpy(), [label.decode() for label in answers["label"].numpy()]


def predict(server, body, place="lenet5-digits"):
    return requests.post(f"{server}/v1/models/{place}:predict", json=body, timeout=60)


def test_rows_are_answered_by_rows(server, digits, expected):
    told = predict(server, {"instances": digits[:11].tolist()}).json()["predictions"]  # more than a batch
    assert [row["label"] for row in told] == expected[1][:11]
    np.testing.assert_allclose([row["probabilities"] for row in told], expected[0][:11], atol=1e-6)
    named = predict(server, {"signature_name": "serving_default", "instances": [{"image": digits[0].tolist()}]}).json()
    assert named["predictions"][0]["label"] == expected[1][0]


def test_columns_are_answered_by_columns(server, digits, expected):
    for inputs in (digits[:3].tolist(), {"image": digits[:3].tolist()}):
        told = predict(server, {"inputs": inputs}).json()["outputs"]
        assert told["label"] == expected[1][:3] and told["class_id"] == expected[0][:3].argmax(axis=1).tolist()


def test_files_are_answered_under_their_signature(server, digits, expected):
    files = [b64(encoded(image)) for image in digits[:3]]
    rows = predict(server, {"signature_name": "from_bytes", "instances": files}).json()["predictions"]
    named = predict(server, {"signature_name": "from_bytes", "instances": [{"image_bytes": file} for file in files]}).json()
    columns = predict(server, {"signature_name": "from_bytes", "inputs": {"image_bytes": files}}).json()["outputs"]
    assert [row["label"] for row in rows] == columns["label"] == expected[1][:3] and named["predictions"] == rows


def test_sentences_are_answered(server):
    told = predict(server, {"instances": ["film 3 was fine", "phim không hay"]}, "reviews").json()["predictions"]
    assert len(told) == 2 and {row["label"] for row in told} <= {"bad", "good"}
    as_bytes = predict(server, {"instances": [b64("phim không hay".encode())]}, "reviews").json()["predictions"]
    np.testing.assert_allclose(as_bytes[0]["probabilities"], told[1]["probabilities"], atol=1e-6)


def test_versions_status_and_metadata(server, models, digits, expected):
    for version in (1, 2):
        told = predict(server, {"instances": digits[:1].tolist()}, f"lenet5-digits/versions/{version}").json()
        assert told["predictions"][0]["label"] == expected[1][0]
    states = requests.get(f"{server}/v1/models/lenet5-digits").json()["model_version_status"]
    assert [(state["version"], state["state"]) for state in states] == [("2", "AVAILABLE"), ("1", "AVAILABLE")]
    told = requests.get(f"{server}/v1/models/lenet5-digits/versions/1/metadata").json()
    assert told["model_spec"] == {"name": "lenet5-digits", "signature_name": "", "version": "1"}
    image = told["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["image"]
    card = json.loads((models / "lenet5-digits/1/assets/card.json").read_text())
    assert card["name"] == "lenet5-digits", "that of the folder of versions"
    assert image["dtype"] == "DT_FLOAT" and [dim["size"] for dim in image["tensor_shape"]["dim"]] == ["-1", "32", "32", "1"]
    assert requests.get(f"{server}/healthz").status_code == requests.get(f"{server}/health").status_code == 200


@pytest.mark.parametrize("name", bad_requests(np.zeros((32, 32, 1), "uint8")))
def test_bad_input_gets_a_reason_and_the_next_request_an_answer(server, digits, expected, name):
    body, status, words = bad_requests(digits[0])[name]
    body = body if not isinstance(body, (dict, list)) else json.dumps(body).encode()
    said = requests.post(f"{server}/v1/models/lenet5-digits:predict", data=body, timeout=60)
    error = said.json()["error"]
    assert said.status_code == status and words in error and "\n" not in error and error, said.text
    good = predict(server, {"instances": digits[:1].tolist()}).json()["predictions"]
    assert good[0]["label"] == expected[1][0]


def test_what_is_not_there_is_said_so(server):
    for place, words in (("/v1/models/lenet5-digit", "Did you mean 'lenet5-digits'?"), ("/nowhere", "Not Found"),
                         ("/v1/models/lenet5-digits/versions/3", "no version 3. Known: 1, 2"),
                         ("/v1/models/lenet5-digits/versions/x/metadata", "no version x")):
        said = requests.get(server + place)
        assert said.status_code == 404 and words in said.json()["error"]
    assert requests.post(f"{server}/v1/models/lenet5-digits:classify", json={}).status_code == 405


def test_a_damaged_image_leaves_its_neighbours_alone(server, digits, expected):
    """Sixty-four requests at once, every fourth with half a JPEG; they meet in batches."""
    jpeg = encoded(np.kron(digits[0], np.ones((8, 8, 1), "uint8")), "JPEG")

    def ask(n):
        data = jpeg[:len(jpeg) // 2] if n % 4 == 0 else encoded(digits[n % 32])
        return predict(server, {"signature_name": "from_bytes", "instances": [b64(data)]})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert [answer.status_code for answer in answers] == [400, 200, 200, 200] * 16
    assert all(answer.json()["predictions"][0]["label"] == expected[1][n % 32] for n, answer in enumerate(answers) if n % 4)


def test_the_maps_of_a_damaged_image_have_an_error_and_are_not_shown(server, digits):
    damaged, good = encoded(digits[0])[:60], encoded(digits[0])
    told = predict(server, {"signature_name": "stages", "instances": [b64(damaged), b64(good)]}).json()["predictions"]
    assert [bool(row["error"]) for row in told] == [True, False] and np.shape(told[1]["s2"]) == np.shape(told[0]["s2"])
    refused = predict(server, {"signature_name": "from_bytes", "instances": [b64(damaged)]}).json()
    said = requests.post(f"{server}/maps/lenet5-digits", json={"instances": [b64(damaged)]})
    assert said.status_code == 400 and said.json() == refused


def test_maps_as_long_as_the_longest_sentence_are_those_of_one_request(server, models):
    from zoo.training.serving.batching import Batcher
    from zoo.training.serving.models import Model
    signature = Model(models / "reviews", 1).signatures["stages"]

    async def ask(*sentences):
        batcher = Batcher(signature, pool, 8)
        return await asyncio.gather(*(batcher.ask({"text": np.array([text], object)}) for text in sentences))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        told = asyncio.run(ask(b"film", b"film", b"film 3 was fine"))
    assert [answer["embedding"].shape[1] for answer in told] == [1, 1, 4]
    many = predict(server, {"signature_name": "stages", "instances": ["film"] * 8 + ["film 3 was fine"]}, "reviews")
    assert many.status_code == 413 and "at most 8 rows" in many.json()["error"]


def test_what_cannot_be_warmed_up_is_served(tmp_path):
    import tensorflow as tf

    from zoo.training.serving.batching import Batcher
    from zoo.training.serving.models import Model
    lengths = tf.function(lambda jpeg: {"pixels": tf.map_fn(lambda data: tf.size(tf.io.decode_jpeg(data)), jpeg,
                                                            fn_output_signature=tf.int32)},
                          input_signature=[tf.TensorSpec((None,), tf.string, name="jpeg")])
    tf.saved_model.save(tf.Module(), tmp_path, signatures={"serving_default": lengths})
    signature = Model(tmp_path, 1).signatures["serving_default"]
    Batcher(signature, None, 8).warm_up()
    picture = encoded(np.zeros((4, 5, 1), "uint8"), "JPEG")
    assert signature(signature.inputs([b64(picture)], True))["pixels"].tolist() == [20]


def test_of_two_that_start_on_a_port_the_later_is_told():
    from zoo.training.serving import startup
    with startup.listen("127.0.0.1", 0) as first, startup.listen(*first.getsockname()) as second:
        startup.accept(first)
        with pytest.raises(UserError, match="another process is there; choose another --port"):
            startup.accept(second)


def counted(server, name):
    """The sum of a metric over its labels."""
    told = requests.get(f"{server}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", told, re.M))


def test_metrics_count_what_was_asked(server, digits):
    names = ("zoo_requests_total", "zoo_request_seconds_count", "zoo_batch_rows_sum")
    before = [counted(server, name) for name in names]
    predict(server, {"instances": digits[:3].tolist()})
    predict(server, {"instances": [1]})
    assert [counted(server, name) - was for name, was in zip(names, before, strict=True)] == [2, 2, 3]
    assert counted(server, "zoo_queue_rows") == 0 and counted(server, "process_resident_memory_bytes") > 0
    assert 'zoo_requests_total{code="400",model="lenet5-digits"}' in requests.get(f"{server}/metrics").text


def test_a_request_broken_off_is_no_failure_of_the_server(server):
    before, failed = counted(server, "zoo_requests_total"), 'zoo_requests_total{code="500"'
    assert failed not in requests.get(f"{server}/metrics").text
    with socket.create_connection(server.removeprefix("http://").split(":")) as client:
        client.sendall(b"POST /v1/models/reviews:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    until = time.monotonic() + 60
    while counted(server, "zoo_requests_total") == before and time.monotonic() < until:
        time.sleep(0.01)
    told = requests.get(f"{server}/metrics").text
    assert 'zoo_requests_total{code="499",model="reviews"} 1.0' in told and failed not in told


@pytest.mark.parametrize("options", [(), ("--no-batching",)])
def test_sigterm_during_load_answers_what_was_accepted(models, digits, options):
    files = [b64(encoded(np.kron(image, np.ones((8, 8, 1), "uint8")))) for image in digits]
    with serving(models / "lenet5-digits", *options) as (address, process):
        few, many = ({"signature_name": "from_bytes", "inputs": files * times} for times in (1, 20))
        labels = predict(address, few).json()["outputs"]["label"] * 20
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(predict, address, many) for _ in range(6)]
            while counted(address, "zoo_queue_rows") < 5 * len(labels):
                assert not any(future.done() for future in asked), "answered before all had come in"
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert [future.result().json()["outputs"]["label"] for future in asked] == [labels] * 6
        assert process.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM) and not process.stderr.read()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{address}/healthz")


def test_mistakes_of_the_command_are_one_line(server, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "broken"):
        (tmp_path / folder).mkdir()
    (tmp_path / "broken/saved_model.pb").write_bytes(b"nothing")
    port = server.rsplit(":", 1)[1]
    for args, words in ((["gone"], "gone holds no SavedModel"), (["empty"], "`zoo export RUN` writes one"),
                        (["broken", "--port", "0"], "Cannot load the SavedModel"),
                        (["broken", "--host", "a..b"], "Cannot serve on a..b port 8501: this is no host's name"),
                        (["broken", "--port", port], "another process is there; choose another --port")):
        assert main(["serve", *args]) == 1
        said = capfd.readouterr()
        assert words in said.err and len(said.err.splitlines()) == 1 and not said.out


def test_the_page_needs_nothing_from_elsewhere(server):
    page = requests.get(server).text
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+/?|@import|<link[^>]+href=\"(?!data:)|src=\"", page)


def test_the_page_shows_probabilities_and_maps(server, browser, digits, expected, tmp_path):
    (tmp_path / "digit.png").write_bytes(encoded(digits[0]))
    (tmp_path / "note.png").write_text("no image")
    page = browser.new_page(viewport={"width": 360, "height": 640}, color_scheme="dark")
    faults, asked = [], []
    page.on("pageerror", lambda fault: faults.append(fault))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    page.set_input_files("#file", tmp_path / "digit.png")
    page.wait_for_selector("#stages img")
    assert page.inner_text("#said") == f"It is {expected[1][0]}."
    assert page.locator(".class").count() == 10
    assert page.locator(".class b").first.inner_text() == f"{100 * expected[0][0].max():.1f} %"
    assert [title.split()[0] for title in page.locator("#stages h2").all_inner_texts()][:3] == ["c1", "s2", "c3"]
    assert page.locator("#stages div").first.locator("img").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_input_files("#file", tmp_path / "note.png")
    page.wait_for_selector("#said.bad")
    assert "Expected a JPEG" in page.inner_text("#said") and not page.locator(".class").count()
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 250, steps=5)
    page.mouse.up()
    page.wait_for_selector(".class")
    page.select_option("#model", "reviews")
    page.fill("#sentence", "film 3 was fine")
    page.press("#sentence", "Enter")
    page.wait_for_selector("#stages img")
    assert page.locator(".class").count() == 2
    assert page.locator("#stages h2").all_inner_texts() == ["embedding 4 × 300", "fc1 100"]
    assert page.locator("#stages img.lines").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not faults and all(url.startswith((server, "data:")) for url in asked)
