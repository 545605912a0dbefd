"""How many requests a second does `zoo serve` answer beside other servers of the same network?

`python benchmarks/serve_peers.py [ROUNDS [REQUESTS]]` exports lenet5-mnist and resnet20-cifar10,
installs FastAPI, LitServe and BentoML in build/peers, and starts one server after another: each
answers REQUESTS requests in each of ROUNDS rounds, which alternate in order, at 32 connections that
stay open, each with one PNG file in JSON. The load comes from a process of its own on the same
machine. The medians go to benchmarks/serve_peers.json. Run it while nothing else does.
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median, quantiles

HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))
CONNECTIONS, WARM = 32, 500
PEERS = ("fastapi", "litserve", "bentoml")
PACKAGES = ("fastapi", "uvicorn", "litserve", "bentoml", "onnxruntime", "pillow", "numpy")
OURS = {
    "zoo serve, tensorflow": ("--engine", "tensorflow"),
    "zoo serve, onnxruntime": ("--engine", "onnxruntime"),
    "zoo serve, litert": ("--engine", "litert"),
    "zoo serve, onnxruntime, 2 workers": ("--engine", "onnxruntime", "--workers", "2"),
    "zoo serve, litert, 2 workers": ("--engine", "litert", "--workers", "2"),
}
MODELS = {"lenet5-mnist": ("L", 28), "resnet20-cifar10": ("RGB", 32)}  # mode and side of images


class Client(asyncio.Protocol):
    """A connection that sends the same request until none is left, and times each response."""

    def __init__(self, message, left, seconds, errors, done):
        self._message, self._left, self._done = message, left, done
        self._seconds, self._errors, self._data = seconds, errors, b""

    def connection_made(self, transport):
        self._transport = transport
        self._send()

    def _send(self):
        if next(self._left, None) is None:
            self._transport.close()
        else:
            self._began = time.perf_counter()
            self._transport.write(self._message)

    def data_received(self, data):
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if len(body) >= int(length):
            self._seconds.append(time.perf_counter() - self._began)
            if not head.startswith(b"HTTP/1.1 200") or b"probabilities" not in body:
                self._errors.append(self._data[:300].decode(errors="replace"))
            self._data = b""
            self._send()

    def connection_lost(self, error):
        self._done.set_result(None)


async def load(port, path, body, requests):
    """Return the seconds of each of `requests` requests, the errors, and the seconds of all."""
    loop, left, seconds, errors = asyncio.get_running_loop(), iter(range(requests)), [], []
    message = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    began, finished = time.perf_counter(), [loop.create_future() for _ in range(CONNECTIONS)]
    for done in finished:
        await loop.create_connection(
            lambda done=done: Client(message, left, seconds, errors, done), "127.0.0.1", port
        )
    await asyncio.gather(*finished)
    whole = time.perf_counter() - began
    lost = requests - len(seconds)
    return {"seconds": seconds, "errors": len(errors) + lost, "first": errors[:1], "whole": whole}


def ask(port, path, body, requests):
    """Run `load` in a process of its own."""
    command = [sys.executable, HERE, "--load", str(port), path, str(requests)]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    return json.loads(done.stdout)


@contextlib.contextmanager
def running(command, **environment):
    """Run a server on a free port, in place of PORT in `command`; yield the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(port) if part == "PORT" else str(part) for part in command]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=HERE.parents[1],
    )
    try:
        wait(port, process)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(port, process, seconds=120):
    """Return once a server answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"{process.args} did not start.")


def servers(name, export, peers):
    """Return {server: (command, environment, path, body)} for a model."""
    from PIL import Image

    mode, side = MODELS[name]
    file = io.BytesIO()
    noise = Image.effect_noise((side, side), 60)  # as hard to compress as a photograph
    noise.convert(mode).save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    row = {"signature_name": "from_bytes", "instances": [{"b64": image}]}
    path = f"/v1/models/{name}:predict"
    zoo = [sys.executable, "-m", "zoo", "serve", export, "--port", "PORT"]
    return {
        **{
            side: ([*zoo, *options], {}, path, json.dumps(row).encode())
            for side, options in OURS.items()
        },
        **{
            peer: (
                [peers, HERE.with_name("peer_servers.py"), peer, "PORT"],
                {"MODEL": str(Path(export, "model.onnx")), "PEER": peer},
                "/predict",
                json.dumps({"image": image}).encode(),
            )
            for peer in PEERS
        },
    }


def summary(rounds):
    """What the results of `load` come to."""
    cuts = [quantiles([1e3 * second for second in one["seconds"]], n=100) for one in rounds]
    p50, p99 = median(cut[49] for cut in cuts), median(cut[98] for cut in cuts)
    return {
        "requests/s": round(median(len(one["seconds"]) / one["whole"] for one in rounds)),
        "p50 ms": round(p50, 2),
        "p99 ms": round(p99, 2),
        "p99/p50": round(p99 / p50, 2),
        "errors": sum(one["errors"] for one in rounds),
    }


def main(rounds=3, requests=5_000, models=tuple(MODELS)):
    """Measure, print and, after a whole run, keep the results."""
    root = HERE.parents[1] / "build"
    peers = root / "peers/bin/python"
    if not peers.exists():
        subprocess.run([sys.executable, "-m", "venv", root / "peers"], check=True)
        subprocess.run([peers, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    report = {}
    for name in models:
        export = root / "exports" / name
        command = [sys.executable, "-m", "zoo", "export", name, "--to", export]
        subprocess.run(
            [*command, "--formats", "saved_model,onnx,litert"], cwd=HERE.parents[1], check=True
        )
        sides = servers(name, export, peers)
        results = {side: [] for side in sides}
        for number in range(rounds):
            for side in list(sides)[:: -1 if number % 2 else 1]:
                command, environment, path, body = sides[side]
                with running(command, **environment) as port:
                    ask(port, path, body, WARM)
                    results[side].append(ask(port, path, body, requests))
                one = results[side][-1]
                print(
                    f"{name}, round {number + 1}, {side}: {requests / one['whole']:.0f} a second",
                    *one["first"],
                    flush=True,
                )
        report[name] = {side: summary(asked) for side, asked in results.items()}
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"]:
        port, path, requests = sys.argv[2:]
        body = sys.stdin.buffer.read()
        print(json.dumps(asyncio.run(load(int(port), path, body, int(requests)))))
    elif sys.argv[1:]:
        main(*map(int, sys.argv[1:]))
    else:
        from sides import keep

        keep(HERE, {"connections": CONNECTIONS, **main()})
