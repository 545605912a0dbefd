"""The server as a separate process, over exports of the zoo, called over HTTP."""
import asyncio
import base64
import concurrent.futures
import contextlib
import http.client
import io
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import requests
from PIL import Image

from tests.bad_requests import b64, bad_requests, encoded
from tests.conftest import ROOT
from zoo.__main__ import main
from zoo.errors import UserError

pytest.importorskip("starlette", reason="the server needs its extra: "
                                      "pip install '.[serve]'")
BODY_LIMIT = 2_000_000  # as in the messages of tests.bad_requests


@contextlib.contextmanager
def serving(folder, *options):
    """Run `zoo serve FOLDER` on a free port; yield its address and its process once it is ready.

    The process's `stderr` is a file: a pipe that nobody reads holds a server once it is full, and
    libjpeg writes a line for each damaged image.
    """
    command = [sys.executable, "-m", "zoo", "serve", str(folder), "--port", "0", *options]
    with (tempfile.NamedTemporaryFile("w") as log,
          subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                           text=True, stdout=subprocess.PIPE, stderr=log) as process,
          open(log.name) as process.stderr):
        line = process.stdout.readline()
        try:
            assert line.startswith("Serving "), process.stderr.read()
            yield line.split(" on ")[1].strip(), process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def models(finished_run, tmp_path_factory):
    """A folder with two versions of an image network, as for TensorFlow Serving, and a text one."""
    from zoo.training import recipes
    from zoo.training.deployment import exporter
    from zoo.training.engine.fit import train
    folder = tmp_path_factory.mktemp("models")
    exporter.export(finished_run, folder / "lenet5-digits/1")
    shutil.copytree(folder / "lenet5-digits/1", folder / "lenet5-digits/2")
    rows = [f"film {n} was {('poor', 'fine')[n % 2]},{('bad', 'good')[n % 2]}" for n in range(60)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    run = tmp_path_factory.mktemp("text") / "run"
    recipe = recipes.get_recipe("text_mlp", str(folder / "reviews.csv"))
    train(recipes.override(recipe, ["epochs=1"]), run, log=False)
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
    """The probabilities and the labels of `digits`."""
    import tensorflow as tf
    loaded = tf.saved_model.load(models / "lenet5-digits/1")
    outputs = loaded.signatures["serving_default"](tf.constant(digits, tf.float32))
    labels = [label.decode() for label in outputs["label"].numpy()]
    return outputs["probabilities"].numpy(), labels


def predict(server, body, model="lenet5-digits"):
    return requests.post(f"{server}/v1/models/{model}:predict", json=body, timeout=60)


def test_rows_return_predictions_by_row(server, digits, expected):
    images = digits[:11].tolist()  # more than a batch
    rows = predict(server, {"instances": images}).json()["predictions"]
    assert [row["label"] for row in rows] == expected[1][:11]
    np.testing.assert_allclose([row["probabilities"] for row in rows], expected[0][:11], atol=1e-6)
    named = predict(server, {"signature_name": "serving_default",
                             "instances": [{"image": images[0]}]}).json()
    assert named["predictions"][0]["label"] == expected[1][0]


def test_dark_levels_get_the_answer_of_the_same_file(server, digits):
    dark = (digits[0] > 100).astype("uint8")
    levels = predict(server, {"signature_name": "serving_uint8", "instances": [dark.tolist()]})
    file = predict(server, {"signature_name": "from_bytes", "instances": [b64(encoded(dark))]})
    assert dark.max() == 1
    assert levels.json()["predictions"][0]["probabilities"] == pytest.approx(
        file.json()["predictions"][0]["probabilities"], abs=1e-6)
    scaled = predict(server, {"instances": [dark.tolist()]})  # floats: may be 0 to 1
    assert scaled.status_code == 400 and "multiply them by 255" in scaled.json()["error"]


def test_columns_return_outputs_by_column(server, digits, expected):
    for inputs in (digits[:3].tolist(), {"image": digits[:3].tolist()}):
        outputs = predict(server, {"inputs": inputs}).json()["outputs"]
        assert outputs["label"] == expected[1][:3]
        assert outputs["class_id"] == expected[0][:3].argmax(axis=1).tolist()


def test_image_files_are_inputs_of_from_bytes(server, digits, expected):
    files = [b64(encoded(image)) for image in digits[:3]]

    def run(**request):
        return predict(server, {"signature_name": "from_bytes", **request}).json()
    rows = run(instances=files)["predictions"]
    named = run(instances=[{"image_bytes": file} for file in files])["predictions"]
    columns = run(inputs={"image_bytes": files})["outputs"]
    assert [row["label"] for row in rows] == columns["label"] == expected[1][:3] and named == rows


def test_long_texts_are_classified_up_to_a_limit(server):
    for size, status in ((250_000, 200), (250_001, 413)):
        texts = ["film", "film " * (size // 5) + "s" * (size % 5)]
        response = predict(server, {"instances": texts}, "reviews")
        assert response.status_code == status, response.text[:200]
    assert "at most 250,000 bytes. Received: 250,001." in response.json()["error"]


def test_sentences_are_classified(server):
    body = {"instances": ["film 3 was fine", "phim không hay"]}
    rows = predict(server, body, "reviews").json()["predictions"]
    assert len(rows) == 2 and {row["label"] for row in rows} <= {"bad", "good"}
    body = {"instances": [b64("phim không hay".encode())]}
    as_bytes = predict(server, body, "reviews").json()["predictions"]
    np.testing.assert_allclose(as_bytes[0]["probabilities"], rows[1]["probabilities"], atol=1e-6)


def test_versions_status_and_metadata(server, models, digits, expected):
    for version in (1, 2):
        response = predict(server, {"instances": digits[:1].tolist()},
                           f"lenet5-digits/versions/{version}").json()
        assert response["predictions"][0]["label"] == expected[1][0]
    url = f"{server}/v1/models/lenet5-digits"
    states = requests.get(url).json()["model_version_status"]
    assert [(state["version"], state["state"]) for state in states] == [
        ("2", "AVAILABLE"), ("1", "AVAILABLE")]
    (state,) = requests.get(f"{url}/versions/1").json()["model_version_status"]
    assert state == states[1]
    response = requests.get(f"{url}/versions/1/metadata").json()
    assert response["model_spec"] == {"name": "lenet5-digits", "signature_name": "", "version": "1"}
    signatures = response["metadata"]["signature_def"]["signature_def"]
    image = signatures["serving_default"]["inputs"]["image"]
    card = json.loads((models / "lenet5-digits/1/assets/card.json").read_text())
    assert card["name"] == "lenet5-digits", "the name of the folder of versions"
    assert image["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in image["tensor_shape"]["dim"]] == ["-1", "32", "32", "1"]
    for path in ("healthz", "health"):
        assert requests.get(f"{server}/{path}").status_code == 200


@pytest.mark.parametrize("name", bad_requests(np.zeros((32, 32, 1), "uint8")))
def test_a_bad_request_gets_a_reason_and_the_next_one_a_prediction(server, digits, expected, name):
    body, status, words = bad_requests(digits[0])[name]
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    response = requests.post(f"{server}/v1/models/lenet5-digits:predict", data=body, timeout=60)
    error = response.json()["error"]
    assert response.status_code == status, response.text
    assert words in error and "\n" not in error and error
    good = predict(server, {"instances": digits[:1].tolist()}).json()["predictions"]
    assert good[0]["label"] == expected[1][0]


def test_unknown_models_versions_and_paths_are_404(server):
    for path, words in (("/v1/models/lenet5-digit", "Did you mean 'lenet5-digits'?"),
                        ("/nowhere", "Not Found"),
                        ("/v1/models/lenet5-digits/versions/3", "no version 3. Known: 1, 2"),
                        ("/v1/models/lenet5-digits/versions/x/metadata", "no version x")):
        response = requests.get(server + path)
        assert response.status_code == 404 and words in response.json()["error"]
    response = requests.post(f"{server}/v1/models/lenet5-digits:classify", json={})
    assert response.status_code == 404 and ":predict" in response.json()["error"]


def test_a_damaged_image_does_not_affect_other_requests(server, digits, expected):
    """Sixty-four concurrent requests share batches; every fourth holds half a JPEG."""
    jpeg = encoded(np.kron(digits[0], np.ones((8, 8, 1), "uint8")), "JPEG")

    def run(n):
        data = jpeg[:len(jpeg) // 2] if n % 4 == 0 else encoded(digits[n % 32])
        return predict(server, {"signature_name": "from_bytes", "instances": [b64(data)]})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(run, range(64)))
    assert [response.status_code for response in responses] == [400, 200, 200, 200] * 16
    for n, response in enumerate(responses):
        if n % 4:
            assert response.json()["predictions"][0]["label"] == expected[1][n % 32]


def test_the_maps_of_a_damaged_image_have_an_error_and_are_not_shown(server, digits):
    damaged, good = encoded(digits[0])[:60], encoded(digits[0])
    body = {"signature_name": "stages", "instances": [b64(damaged), b64(good)]}
    rows = predict(server, body).json()["predictions"]
    assert [bool(row["error"]) for row in rows] == [True, False]
    assert np.shape(rows[1]["s2"]) == np.shape(rows[0]["s2"])
    body = {"signature_name": "from_bytes", "instances": [b64(damaged)]}
    rejected = predict(server, body).json()
    response = requests.post(f"{server}/maps/lenet5-digits", json={"instances": [b64(damaged)]})
    assert response.status_code == 400 and response.json() == rejected


def test_requests_with_maps_of_variable_length_do_not_share_a_call(server, models):
    from zoo.training.serving.batching import Batcher
    from zoo.training.serving.models import Model
    signature = Model(models / "reviews").signatures["stages"]

    async def run(*sentences):
        batcher = Batcher(signature, pool, 8)
        return await asyncio.gather(*(
            batcher.submit({"text": np.array([text], object)}) for text in sentences))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        outputs = asyncio.run(run(b"film", b"film", b"film 3 was fine"))
    assert [output["embedding"].shape[1] for output in outputs] == [1, 1, 4]
    many = predict(server, {"signature_name": "stages",
                            "instances": ["film"] * 8 + ["film 3 was fine"]}, "reviews")
    assert many.status_code == 413 and "at most 8 rows" in many.json()["error"]


def test_a_signature_that_rejects_blank_inputs_is_served(tmp_path):
    import tensorflow as tf

    from zoo.training.serving import wire_format
    from zoo.training.serving.batching import Batcher
    from zoo.training.serving.models import Model

    def size(data):
        return tf.size(tf.io.decode_jpeg(data))
    sizes = tf.function(
        lambda jpeg: {"pixels": tf.map_fn(size, jpeg, fn_output_signature=tf.int32)},
        input_signature=[tf.TensorSpec((None,), tf.string, name="jpeg")])
    tf.saved_model.save(tf.Module(), tmp_path, signatures={"serving_default": sizes})
    model = Model(tmp_path)
    batcher = Batcher(model.signatures["serving_default"], None, 8)
    batcher.warm_up()
    picture = encoded(np.zeros((4, 5, 1), "uint8"), "JPEG")
    inputs = wire_format.decode({"instances": [b64(picture)]}, model.layouts(), 1)
    (outputs,) = batcher._call([inputs.arrays])
    assert outputs["pixels"].tolist() == [20]


def test_the_second_process_on_a_port_gets_an_error():
    from zoo.training.serving import startup
    with (startup.bind("127.0.0.1", 0) as first,
          startup.bind(*first.getsockname()) as second):
        startup.listen(first)
        with pytest.raises(UserError, match="another process uses it; choose another --port"):
            startup.listen(second)


def metric(server, name):
    """Return the sum of a metric over its labels."""
    text = requests.get(f"{server}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def test_metrics_count_requests_and_rows(server, digits):
    names = ("zoo_requests_total", "zoo_request_seconds_count", "zoo_batch_rows_sum")
    before = [metric(server, name) for name in names]
    predict(server, {"instances": digits[:3].tolist()})
    predict(server, {"instances": [1]})
    after = [metric(server, name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 2, 3]
    assert metric(server, "zoo_queue_rows") == 0
    assert metric(server, "process_resident_memory_bytes") > 0
    text = requests.get(f"{server}/metrics").text
    assert 'zoo_requests_total{code="400",model="lenet5-digits"}' in text


def test_an_aborted_request_is_not_an_error_of_the_server(server):
    before, failed = metric(server, "zoo_requests_total"), 'zoo_requests_total{code="500"'
    assert failed not in requests.get(f"{server}/metrics").text
    with socket.create_connection(server.removeprefix("http://").split(":")) as client:
        client.sendall(b"POST /v1/models/reviews:predict HTTP/1.1\r\nHost: x\r\n"
                       b"Content-Length: 9\r\n\r\n{")
    deadline = time.monotonic() + 60
    while metric(server, "zoo_requests_total") == before and time.monotonic() < deadline:
        time.sleep(0.01)
    text = requests.get(f"{server}/metrics").text
    assert 'zoo_requests_total{code="499",model="reviews"} 1.0' in text and failed not in text


def test_a_fault_of_the_server_is_json_and_goes_on_to_the_log(monkeypatch):
    from zoo.training.serving import server

    async def fail(*_):
        raise ZeroDivisionError
    monkeypatch.setattr(server.Service, "answer", fail)
    sent = []

    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "POST", "path": "/v1/models/m:predict", "headers": []}
    with pytest.raises(ZeroDivisionError):  # uvicorn writes its traceback
        asyncio.run(server.app(server.Service.__new__(server.Service))(scope, None, send))
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"]) == {"error": "The server failed: ZeroDivisionError."}


@pytest.mark.parametrize("options", [
    (), pytest.param(("--no-batching",), marks=pytest.mark.slow)])
def test_sigterm_during_load_finishes_accepted_requests(models, digits, options):
    files = [b64(encoded(np.kron(image, np.ones((8, 8, 1), "uint8")))) for image in digits]
    with serving(models / "lenet5-digits", *options) as (address, process):
        few, many = ({"signature_name": "from_bytes", "inputs": files * n} for n in (1, 20))
        labels = predict(address, few).json()["outputs"]["label"] * 20
        clients = [http.client.HTTPConnection(address.split("//")[1]) for _ in range(6)]
        for client in clients:  # whole, so that the metrics, asked for later, are answered later
            client.request("POST", "/v1/models/lenet5-digits:predict", json.dumps(many),
                           {"Content-Type": "application/json"})
        while metric(address, "zoo_queue_rows") < len(labels):  # others are being decoded
            answered, _, _ = select.select([client.sock for client in clients], [], [], 0)
            assert not answered, "before they were seen"
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        responses = [json.load(client.getresponse()) for client in clients]
        for client in clients:
            client.close()
        assert [response["outputs"]["label"] for response in responses] == [labels] * 6
        assert process.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert not process.stderr.read()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{address}/healthz")


def test_mistakes_of_the_command_are_one_line(server, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "broken"):
        (tmp_path / folder).mkdir()
    (tmp_path / "broken/saved_model.pb").write_bytes(b"nothing")
    port = server.rsplit(":", 1)[1]
    for args, words in ((["gone"], "gone does not exist"),
                        (["empty"], "`zoo export RUN` writes one"),
                        (["broken", "--port", "0"], "Cannot load the SavedModel"),
                        (["broken", "--host", "a..b"],
                         "Cannot serve on a..b port 8501: this is not a host name"),
                        (["broken", "--port", port],
                         "another process uses it; choose another --port")):
        assert main(["serve", *args]) == 1
        output = capfd.readouterr()
        assert words in output.err and len(output.err.splitlines()) == 1 and not output.out


def test_the_page_loads_nothing_from_other_hosts(server):
    page = requests.get(server).text
    other = r"(?:https?:)?//[\w.-]+\.\w+/?|@import|<link[^>]+href=\"(?!data:)|src=\""
    assert not re.findall(other, page)


def test_the_page_shows_probabilities_and_maps(server, browser, digits, expected, tmp_path):
    (tmp_path / "digit.png").write_bytes(encoded(digits[0]))
    (tmp_path / "note.png").write_text("no image")
    page = browser.new_page(viewport={"width": 360, "height": 640}, color_scheme="dark")
    errors, urls = [], []
    page.on("pageerror", lambda error: errors.append(error))
    page.on("request", lambda request: urls.append(request.url))
    page.goto(server)
    page.set_input_files("#file", tmp_path / "digit.png")
    page.wait_for_selector("#stages img")
    assert page.inner_text("#answer b") == expected[1][0]
    assert page.locator(".class").count() == 10
    best = page.locator(".class b").first.inner_text()
    assert best == f"{100 * expected[0][0].max():.1f} %"
    titles = page.locator("#stages h2").all_inner_texts()
    assert [title.split()[0] for title in titles][:3] == ["c1", "s2", "c3"]
    assert page.locator("#stages div").first.locator("img").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_input_files("#file", tmp_path / "note.png")
    page.wait_for_selector("#status.bad")
    assert "Expected a JPEG" in page.inner_text("#status")
    assert not page.locator(".class").count()
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
    titles = page.locator("#stages h2").all_inner_texts()
    assert titles == ["embedding 4 × 300", "mean 300", "fc1 100"]
    assert page.locator("#stages img.lines").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not errors and all(url.startswith((server, "data:")) for url in urls)


def seen_errors(page):
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    return errors


def test_examples_what_the_network_sees_and_the_shell_line_are_shown(
        server, browser, models, digits, expected, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    errors = seen_errors(page)
    page.goto(server)
    samples = page.locator("#sample-list button")
    assert samples.count() == 8
    samples.nth(3).click()
    page.wait_for_selector("#sees img")
    assert page.inner_text("#answer b") == expected[1][3]
    assert page.inner_text("#answer span") == f"{100 * expected[0][3].max():.1f} %"
    data = page.locator("#sees img").get_attribute("src").partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), digits[3][:, :, 0])
    (tmp_path / "image.png").write_bytes(encoded(digits[3]))
    line = page.inner_text("#curl")
    if shutil.which("curl"):
        told = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, check=True)
        assert json.loads(told.stdout)["predictions"][0]["label"] == expected[1][3]
    page.select_option("#model", "reviews")
    assert samples.count() == 8
    page.fill("#sentence", "film 3 wasn't 'fine'")
    page.press("#sentence", "Enter")
    page.wait_for_selector("#sees .word")
    words = ["film", "3", "was", "n't", "'", "fine", "'"]
    assert page.locator("#sees .word").all_inner_texts() == words
    assert page.locator(".axis-of-words span").all_inner_texts() == words
    if shutil.which("curl"):
        told = subprocess.run(page.inner_text("#curl"), shell=True, capture_output=True, check=True)
        row, = json.loads(told.stdout)["predictions"]
        assert row["label"] == page.inner_text("#answer b")
    assert not errors


def test_occlusion_is_that_of_single_requests(server, browser, digits):
    page = browser.new_page(viewport={"width": 390, "height": 800}, has_touch=True)
    errors = seen_errors(page)
    page.goto(server)
    page.select_option("#model", "reviews")
    page.fill("#sentence", "film 3 was fine")
    page.tap("#predict")
    page.wait_for_selector("#occlude:visible")
    page.tap("#occlude")
    page.wait_for_selector("#words .word")
    sentences = ["film 3 was fine", "3 was fine", "film was fine", "film 3 fine", "film 3 was"]
    rows = predict(server, {"instances": sentences}, "reviews").json()["predictions"]
    whole, *others = (row["probabilities"][rows[0]["class_id"]] for row in rows)
    changes = page.locator("#words .word small").all_inner_texts()
    for text, other in zip(changes, others, strict=True):
        assert float(text.split()[0].replace("\u2212", "-")) == pytest.approx(
            100 * (other - whole), abs=0.06)
    page.select_option("#model", "lenet5-digits")
    page.locator("#sample-list button").first.tap()
    page.wait_for_selector("#occlude:visible")
    page.tap("#occlude")
    page.wait_for_selector("#heat", state="visible", timeout=60_000)
    assert "lowers the probability" in page.inner_text("#without")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390 and not errors


def softmax_of(frame):
    """{class: probability} of the last step of a map."""
    frame.locator('.node[data-name="softmax"]').dispatch_event("click")
    rows = frame.locator(".softmax tbody tr").all_inner_texts()
    return {row.split("\t")[0]: float(row.split("\t")[-1].replace("\u2212", "-")) for row in rows}


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_the_network_as_a_map(server, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    errors, urls = seen_errors(page), []
    page.on("console", lambda line: errors.append(line.text))
    page.on("request", lambda request: urls.append(request.url))
    page.goto(server)
    for name in ("lenet5-digits", "reviews"):
        page.select_option("#model", name)
        assert not page.is_visible("#network")
        page.locator("#sample-list button").first.click()
        page.wait_for_selector("#answer b:visible")
        page.click("#map")
        frame = page.frame_locator("#network iframe")
        frame.locator("#network-map[data-ready]").wait_for()
        label, share = page.inner_text("#answer b"), page.inner_text("#answer span")
        assert 100 * softmax_of(frame)[label] == pytest.approx(float(share.split()[0]), abs=0.051)
        page.wait_for_function("""() => {
            const frame = document.querySelector("#network iframe"), {body} = frame.contentDocument;
            return Math.abs(frame.clientHeight - body.scrollHeight) <= 1;  // no bar to scroll
        }""")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert frame.locator("html").evaluate(
            "node => node.scrollWidth <= innerWidth && node.scrollHeight <= innerHeight")
        page.locator("#sample-list button").nth(1).click()
        page.wait_for_selector("#map:visible")
        assert not page.locator("#network iframe").count()
    assert not errors
    assert all(url.startswith((server, "data:", "about:", "blob:")) for url in urls)


def test_a_map_is_that_of_the_input_and_what_has_none_is_one_line(server, digits, models):
    def ask(value, **more):
        response = requests.post(f"{server}/network/lenet5-digits", timeout=60,
                                 json={"instances": [value], **more})
        return response.status_code, response.json()
    status, content = ask(b64(encoded(digits[0])), signature_name="from_bytes")
    assert status == 200 and "network-map-data" in content["page"]
    assert content["page"].startswith("<!doctype html>")
    status, content = ask(digits[0].tolist())
    assert (status, content["error"]) == (
        400, "Expected an image file or a sentence. Received: image.")
    status, content = ask(b64(b"hello"), signature_name="from_bytes")
    assert status == 400 and "Expected a JPEG" in content["error"]
    response = requests.post(f"{server}/network/reviews", json={"instances": [" "]}, timeout=60)
    assert response.json() == {"error": "There is no map: the sentence has no words."}
    assert requests.get(f"{server}/models", timeout=60).json()["reviews"]["no_map"] == ""


def test_a_model_that_no_export_made_has_no_map(models, tmp_path):
    from zoo.training.serving import page
    from zoo.training.serving.models import Model
    shutil.copytree(models / "reviews", tmp_path / "reviews")
    (tmp_path / "reviews/assets/model.json.gz").unlink()
    model = Model(tmp_path / "reviews")
    assert page.why_no_map(model) == (
        "There is no map of the network: the model is no export of zoo 0.2 or later.")


@pytest.mark.slow
def test_the_camera_is_predicted(server, browser):
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
    chromium = browser.browser_type.launch(
        executable_path=next(filter(None, map(shutil.which, ("chromium", "google-chrome")))),
        args=fake)
    page = chromium.new_page()
    errors = seen_errors(page)
    page.goto(server)
    page.click("#camera")
    page.wait_for_selector("#answer b")
    assert page.locator("#camera").get_attribute("aria-pressed") == "true"
    page.click("#camera")
    assert page.locator("#camera").get_attribute("aria-pressed") == "false" and not errors
    chromium.close()
