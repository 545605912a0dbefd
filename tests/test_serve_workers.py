"""`zoo serve --workers`: several processes on one port, which look like one server."""
import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
import requests

from tests.conftest import ROOT
from tests.test_serve import metric, predict, serving

pytest.importorskip("starlette", reason="the server needs its extra: pip install '.[serve]'")
if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork processes", allow_module_level=True)

WORKERS = 2


@pytest.fixture
def folder(converted, tmp_path):
    shutil.copytree(converted, tmp_path / "digits/1")
    return tmp_path / "digits"


@contextlib.contextmanager
def server(folder, *options):
    options = ("--engine", "litert", "--workers", str(WORKERS), *options)
    with serving(folder, *options) as (address, process):
        yield address, process, psutil.Process(process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()  # `serving` kills the parent alone


def ended(processes, seconds=20):
    _, alive = psutil.wait_procs(processes, seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_workers_share_the_port_and_their_metrics_add_up(folder, test_images):
    images = test_images[:2].tolist()
    with server(folder) as (address, _, parent), \
            concurrent.futures.ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(
            lambda n: predict(address, {"instances": images}, "digits"), range(60)))
        assert {response.status_code for response in responses} == {200}
        assert len({response.text for response in responses}) == 1
        for _ in range(6):  # whichever worker answers
            assert metric(address, "zoo_requests_total") == 60
            assert metric(address, "zoo_request_seconds_count") == 60
            assert metric(address, "zoo_batch_rows_sum") == 120
            assert metric(address, "zoo_queue_rows") == 0
        workers = parent.children()
        assert len(workers) == WORKERS
        assert all(worker.cpu_times().user > 0 for worker in workers)
        memory = sum(worker.memory_info().rss for worker in workers)
        assert 0.8 * memory < metric(address, "process_resident_memory_bytes") < 1.2 * memory


def test_a_new_version_is_served_by_all_without_a_failed_request(folder, test_images):
    body = {"instances": test_images[:1].tolist()}
    with server(folder) as (address, process, _):
        shutil.copytree(folder / "1", folder / "new")
        (folder / "new").rename(folder / "2")
        began, status = time.monotonic(), set()
        while time.monotonic() - began < 5:
            status.add(predict(address, body, "digits").status_code)
        assert status == {200}
        for _ in range(20):
            assert predict(address, body, "digits/versions/2").status_code == 200
        assert process.stdout.readline() == "Serving digits, version 2\n"


def test_a_worker_that_dies_is_started_again(folder, test_images):
    body = {"instances": test_images[:1].tolist()}
    with server(folder) as (address, process, parent):
        first = parent.children()
        first[0].kill()
        assert process.stdout.readline() == (
            "A worker ended with exit code -9. It is started again.\n")
        deadline = time.monotonic() + 30
        while len(set(parent.children()) - set(first)) < 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(parent.children()) == WORKERS
        for _ in range(20):
            assert predict(address, body, "digits").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_all_processes_end_with_the_first(folder, number):
    with server(folder) as (_, process, parent):
        processes = parent.children(recursive=True)
        assert len(processes) == 2 * WORKERS  # each has one that decodes
        process.send_signal(number)
        assert process.wait(30) == (-9 if number == signal.SIGKILL else 0)
        assert ended(processes)
        assert not process.stderr.read()


def test_a_model_that_cannot_be_loaded_gets_one_line(folder):
    (folder / "1/model.tflite").write_bytes(b"no network")
    command = [sys.executable, "-m", "zoo", "serve", str(folder), "--port", "0", "--engine",
               "litert", "--workers", str(WORKERS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and "is it damaged" in done.stderr


def test_workers_share_the_grpc_port(folder):
    pytest.importorskip("tensorflow_serving", reason="pip install '.[grpc]'")
    import grpc
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    from zoo.training.serving.startup import bind
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "digits"
    with server(folder, "--grpc-port", str(port)) as (address, _, _):
        for _ in range(6):  # a connection each
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = model_service_pb2_grpc.ModelServiceStub(channel)
                assert stub.GetModelStatus(request, timeout=60).model_version_status
        url = address.split(" ")[0]
        assert requests.get(f"{url}/healthz", timeout=60).status_code == 200
