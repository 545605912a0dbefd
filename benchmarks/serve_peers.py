"""How many requests a second does `zoo serve` answer beside other servers of the same network?

`python benchmarks/serve_peers.py [ROUNDS [SECONDS]]` needs wrk, the load generator. It exports
lenet5-mnist and resnet20-cifar10, installs FastAPI, LitServe and BentoML in build/peers, and starts
one server after another: each answers for SECONDS seconds in each of ROUNDS rounds, which alternate
in order, at 32 connections that stay open, each request with one PNG file in JSON. wrk runs on the
same machine. The medians go to benchmarks/serve_peers.json. Run it while nothing else does.
"""

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))
CONNECTIONS, WARM = 32, 1  # WARM: seconds
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


def load(port, path, body, seconds):
    """Ask for `seconds` seconds by wrk; return what it counted and measured.

    Raises:
        SystemExit: if the server answers no probabilities.
    """
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        if b"probabilities" not in (told := answer.read()):
            raise SystemExit(f"{url} answered {told[:200]}")
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as script:
        script.write(f"""wrk.method, wrk.body = "POST", [==[{body.decode()}]==]
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  io.write(string.format("%d %d %f %f %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.status + summary.errors.timeout))
end""")
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script.name, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count, microseconds, p50, p99, errors = map(float, said.splitlines()[-1].split())
    return {"requests/s": count / microseconds * 1e6, "p50": p50 / 1e3, "p99": p99 / 1e3,
            "errors": errors}


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
    rate, p50, p99 = (median(one[key] for one in rounds) for key in ("requests/s", "p50", "p99"))
    return {
        "requests/s": round(rate),
        "p50 ms": round(p50, 2),
        "p99 ms": round(p99, 2),
        "p99/p50": round(p99 / p50, 2),
        "errors": round(sum(one["errors"] for one in rounds)),
    }


def main(rounds=3, seconds=6, models=tuple(MODELS)):
    """Measure, print and, after a whole run, keep the results."""
    if not shutil.which("wrk"):
        raise SystemExit("This needs wrk, which Linux distributions and Homebrew have.")
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
                    load(port, path, body, WARM)
                    results[side].append(load(port, path, body, seconds))
                rate = results[side][-1]["requests/s"]
                print(f"{name}, round {number + 1}, {side}: {rate:.0f} a second", flush=True)
        report[name] = {side: summary(asked) for side, asked in results.items()}
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    if sys.argv[1:]:
        main(*map(int, sys.argv[1:]))
    else:
        from sides import keep

        keep(HERE, {"connections": CONNECTIONS, **main()})
