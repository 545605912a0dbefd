"""The server over SavedModels that the zoo did not write, called by clients other than its page."""
import asyncio
import concurrent.futures
import gzip
import json
import re
import shutil
import subprocess
import threading
import time
import types

import numpy as np
import pytest
import requests
import tensorflow as tf

from tests.bad_requests import encoded
from tests.test_serve import predict, serving

BODY_LIMIT = 200_000
MAX_BATCH = 48  # not a power of two


def signature(*specs):
    return tf.function(input_signature=[tf.TensorSpec(shape, dtype, name)
                                        for name, shape, dtype in specs])


class Foreign(tf.Module):
    """Functions with undeclared row counts, or with outputs that no network of the zoo has."""

    def __init__(self):
        super().__init__()
        self.most = tf.Variable(0)

    @signature(("x", (None, 3), tf.float32))
    def twice(self, x):
        return {"rows": tf.repeat(x, 2, axis=0)}

    @signature(("x", (None,), tf.float32))
    def positive(self, x):
        return {"kept": tf.boolean_mask(x, x >= 0)}  # keeps all rows of zeros

    @signature(("text", (None,), tf.string))
    def words(self, text):
        return {"words": tf.strings.split(text).values}

    @signature(("x", (None,), tf.float32))
    def sizes(self, x):
        """Return for each row the most rows of any call so far, padding included."""
        rows = tf.size(x)
        return {"most": tf.fill([rows], self.most.assign(tf.maximum(self.most, rows)))}

    @signature(("x", (None, None), tf.float32), ("k", (None,), tf.int64))
    def sums(self, x, k):
        return {"sum": tf.reduce_sum(x, 1) + tf.cast(k, tf.float32), "k": k}

    @signature(("x", (None,), tf.float32))
    def scalars(self, x):
        return {"sum": tf.reduce_sum(x), "any": tf.reduce_any(x > 0), "name": tf.constant("x")}

    @signature(("x", (), tf.float32))
    def half(self, x):
        return {"half": x / 2}

    @signature(("x", (1, 2), tf.float32))
    def fixed(self, x):
        return {"y": x * 2}

    @signature(("x", (None,), tf.float32))
    def complex(self, x):
        return {"y": tf.complex(x, x)}

    @signature(("x", (None,), tf.bfloat16))
    def brain(self, x):
        return {"y": tf.cast(x, tf.float32)}


@pytest.fixture(scope="module")
def models(finished_run, tmp_path_factory):
    from zoo.training.deployment import exporter
    folder, module = tmp_path_factory.mktemp("models"), Foreign()
    names = ("twice", "positive", "words", "sizes", "sums", "scalars", "half", "fixed", "complex",
             "brain")
    tf.saved_model.save(module, folder / "foreign", {name: getattr(module, name) for name in names})
    exporter.export(finished_run, folder / "my digits")
    return folder


@pytest.fixture(scope="module")
def server(models):
    options = ("--max-batch", str(MAX_BATCH), "--max-body", str(BODY_LIMIT))
    with serving(models, *options) as (address, process):
        yield address


def run(server, name, **request):
    return predict(server, {"signature_name": name, **request}, "foreign")


@pytest.mark.slow
def test_the_largest_call_is_max_batch_and_was_warmed_up(server):
    for rows in (1, 40, MAX_BATCH, 100):
        response = run(server, "sizes", instances=[0.0] * rows).json()
        assert response == {"predictions": [MAX_BATCH] * rows}


@pytest.mark.parametrize("name, inputs, expected", [
    ("twice", lambda n: [[n, n, n]], lambda n: [[n, n, n]] * 2),
    ("positive", lambda n: [-n, n], lambda n: [n]),
    ("words", lambda n: ["" if n % 2 else f"{n} {n}"], lambda n: [] if n % 2 else [str(n)] * 2)])
def test_clients_do_not_get_rows_of_another(server, name, inputs, expected):
    """Sixteen concurrent clients: outputs with other than one row for each row must not mix."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        responses = pool.map(lambda n: run(server, name, instances=inputs(n)), range(1, 101))
        predictions = [response.json() for response in responses]
    assert predictions == [{"predictions": expected(n)} for n in range(1, 101)]
    many = run(server, name, inputs=inputs(2) * 60)  # more than a batch
    rows = expected(2) * 60
    if name == "twice":
        rows = np.repeat(inputs(2) * 60, 2, 0).tolist()
    assert many.json() == {"outputs": rows}


def test_split_requests_run_again_whole_once_rows_do_not_match(models):
    from zoo.training.serving.batching import Batcher
    from zoo.training.serving.models import Model
    positive = Model(models / "foreign").signatures["positive"]

    async def submit(*requests):
        batcher = Batcher(positive, pool, 4)
        batcher.warm_up()
        assert positive.batched, "the zeros of the warm-up all stay"
        return await asyncio.gather(*(
            batcher.submit({"x": np.array(request, "float32")}) for request in requests))
    requests = [[1, 2], [3, 4, 5, 6, 7, 8, 9, 10, 11], [12, -1], [*range(13, 20), -1, -2, -3], [20]]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        outputs = asyncio.run(submit(*requests))
    assert [output["kept"].tolist() for output in outputs] == [
        [x for x in request if x >= 0] for request in requests]
    assert not positive.batched


def test_batches_are_smaller_where_a_call_takes_long(models):
    """With 0.08 s a row, two rows take less than a quarter of a second and four do not."""
    from zoo.training.serving.batching import Batcher
    from zoo.training.serving.models import Model
    signature = Model(models / "foreign").signatures["sums"]
    compute = signature.run

    def slow(inputs):
        time.sleep(0.08 * len(inputs["k"]))
        return compute(inputs)
    signature.run = slow
    batcher = Batcher(signature, None, MAX_BATCH)
    batcher.warm_up()
    assert [piece.stop - piece.start for piece in batcher._pieces(5, [])] == [2, 2, 1]


@pytest.mark.parametrize("for_a_row, for_a_call, sizes", [
    pytest.param(0.01, 0, [1, 4, 1], id="every row takes as long"),
    pytest.param(0.0001, 0.02, [1, 8], id="a call takes as long, whatever its rows")])
def test_a_batch_has_the_rows_that_take_the_least_time_each(monkeypatch, for_a_row, for_a_call,
                                                            sizes):
    """Five requests come while the first is computed: as eight padded rows, or as four and one."""
    from zoo.training.serving import batching
    from zoo.training.serving.signature import Signature
    from zoo.training.serving.wire_format import TensorSpec
    spec, called, now, all_wait = (TensorSpec("x", np.dtype("float32"), (None,)), [], [0.0],
                                   threading.Event())

    def double(inputs):
        called.append(len(inputs["x"]))
        now[0] += for_a_call + for_a_row * len(inputs["x"])
        all_wait.wait(60)
        return {"y": 2 * inputs["x"]}
    clock = types.SimpleNamespace(perf_counter=lambda: now[0])  # this machine's is not exact
    monkeypatch.setattr(batching, "time", clock)

    async def submit(batcher):
        first = asyncio.ensure_future(batcher.submit({"x": np.array([9], "float32")}))
        while not called:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(batcher.submit({"x": np.array([n], "float32")}))
                  for n in range(5)]
        while batcher.queued_rows < 6:
            await asyncio.sleep(0)
        all_wait.set()
        return await asyncio.gather(first, *others)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        batcher = batching.Batcher(Signature(double, {"x": spec}, {"y": spec}), pool, 16)
        all_wait.set()
        batcher.warm_up()
        all_wait.clear()
        called.clear()
        outputs = asyncio.run(submit(batcher))
    assert [output["y"].tolist() for output in outputs] == [[18], [0], [2], [4], [6], [8]]
    assert called == sizes


@pytest.mark.parametrize(("padded", "rows"), [(True, 4), (False, 3)])
def test_only_a_signature_that_asks_for_it_is_padded(padded, rows):
    from zoo.training.serving import batching
    from zoo.training.serving.signature import Signature
    from zoo.training.serving.wire_format import TensorSpec
    spec, called = TensorSpec("x", np.dtype("float32"), (None,)), []

    def double(inputs):
        called.append(len(inputs["x"]))
        return {"x": 2 * inputs["x"]}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        signature = Signature(double, {"x": spec}, {"x": spec}, padded=padded)
        batcher = batching.Batcher(signature, pool, 16)
        batcher.warm_up()
        called.clear()
        outputs = asyncio.run(batcher.submit({"x": np.arange(3, dtype="float32")}))
    assert outputs["x"].tolist() == [0, 2, 4] and called == [rows]


def test_several_inputs_and_outputs_keep_their_rows(server):
    rows = [{"x": [n, 1], "k": n} for n in range(100)]
    predictions = run(server, "sums", instances=rows).json()["predictions"]
    assert predictions == [{"sum": 2.0 * n + 1, "k": n} for n in range(100)]
    columns = {"x": [row["x"] for row in rows], "k": [row["k"] for row in rows]}
    assert run(server, "sums", inputs=columns).json() == {
        "outputs": {name: [row[name] for row in predictions] for name in ("sum", "k")}}


def test_scalars_are_returned_as_scalars(server):
    assert run(server, "scalars", inputs=[0.5, 2]).json() == {
        "outputs": {"sum": 2.5, "any": True, "name": "x"}}
    assert run(server, "half", inputs=3).json() == {"outputs": 1.5}
    for name, words in (("scalars", "outputs of this signature are not rows: send"),
                        ("half", "takes no rows: send")):
        response = run(server, name, instances=[1.0])
        assert response.status_code == 400 and words in response.json()["error"]


def test_rows_fill_a_batch_of_fixed_size(server):
    for row in ([1, 2], {"x": [1, 2]}):
        assert run(server, "fixed", instances=[row]).json() == {"predictions": [[2, 4]]}
    response = run(server, "fixed", instances=[[1, 2]] * 2)
    assert response.status_code == 400
    assert response.json()["error"] == "Expected x of shape (1, 2). Received: (2, 2)."


@pytest.mark.parametrize("name, what", [("complex", "y of complex64"), ("brain", "x of bfloat16")])
def test_types_that_json_cannot_hold_are_rejected_in_one_line(server, name, what):
    response = run(server, name, instances=[1.0])
    assert response.status_code == 400 and response.json()["error"].endswith(f"Received: {what}.")


def post(server, body, encoding="gzip"):
    return requests.post(f"{server}/v1/models/foreign:predict", data=body,
                         headers={"Content-Encoding": encoding}, timeout=60)


def test_a_gzip_body_is_inflated(server):
    inputs = np.random.default_rng(1).random(3_000).round(5).tolist()
    body = json.dumps({"signature_name": "positive", "inputs": inputs}).encode()
    packed = gzip.compress(body)
    chunks = (packed[i:i + 1000] for i in range(0, len(packed), 1000))
    for response in (post(server, packed), post(server, packed, "X-GZIP"), post(server, chunks),
                     post(server, body, "identity")):
        np.testing.assert_allclose(response.json()["outputs"], inputs, atol=1e-6)


@pytest.mark.parametrize("change, status, words", [
    (lambda packed: packed[:-9], 400, "ends too early"),
    (lambda packed: packed[:-8] + b"12345678", 400, "incorrect data check"),
    (lambda packed: packed + b"{}", 400, "more comes after its end"),
    (lambda packed: b'{"instances": [1]}', 400,
     "is not the gzip file that its Content-Encoding names"),
    (lambda packed: b"", 400, "ends too early"),
    (lambda packed: gzip.compress(b" " * BODY_LIMIT + b"1"), 413, "at most 200,000 bytes"),
    (lambda packed: iter([gzip.compress(bytes(100_000_000))]), 413, "at most 200,000 bytes")])
def test_a_bad_gzip_body_is_rejected_in_one_line(server, change, status, words):
    response = post(server, change(gzip.compress(b'{"signature_name": "half", "inputs": 3}')))
    error = response.json()["error"]
    assert response.status_code == status and words in error and "\n" not in error


def test_the_error_names_an_unsupported_encoding(server):
    response = post(server, b"{}", "br")
    assert response.status_code == 415
    assert response.json()["error"] == "Expected the Content-Encoding gzip, or none. Received: br."


def test_the_command_on_the_card_works_for_a_name_with_blanks(server, models, finished_run,
                                                              tmp_path):
    if not all(map(shutil.which, ("curl", "base64", "sh"))):
        pytest.skip("curl or base64 is not installed")
    digit = np.load(finished_run / "examples.npz")["examples"][0]
    (tmp_path / "image.png").write_bytes(encoded(digit))
    page = (models / "my digits/assets/README.md").read_text()
    line = re.search(r"^ +(echo .*curl .*)$", page, re.M)[1]
    line = line.replace("http://localhost:8501", server)
    process = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    expected = predict(server, {"instances": [digit.tolist()]}, "my digits").json()
    label = json.loads(process.stdout)["predictions"][0]["label"]
    assert label == expected["predictions"][0]["label"]
