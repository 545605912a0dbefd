"""Does micro-batching pay, and does the server hold?

`python benchmarks/serve.py SAVED_MODEL` needs an image network such as saved_models/lenet5-digits.
Two servers, one with micro-batching and one with --no-batching, take rounds of requests in turn:
20,000 each in all, at 32 connections that stay open, each with one image as JSON numbers. The load
comes from a process of its own on the same machine. Results go to benchmarks/serve.json.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

ROUNDS, REQUESTS, CONNECTIONS, PORTS = 5, 20_000, 32, {"batching": 8598, "no batching": 8599}
WARM = 500  # requests before the memory is read first
HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))


@contextlib.contextmanager
def server(saved_model, port, *options):
    """Run `zoo serve` and yield its process once it answers."""
    command = [sys.executable, "-m", "zoo", "serve", saved_model, "--port", str(port), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1]
    ) as process:
        try:
            if not process.stdout.readline().startswith("Serving"):
                raise SystemExit("The server did not start.")
            yield process
        finally:
            process.terminate()


async def load(url, body, requests):
    """Send `requests` of `body` to `url` over CONNECTIONS connections.

    Return the seconds of each, the errors, and the seconds of all.
    """
    import aiohttp

    seconds, errors = [], 0
    left = iter(range(requests))

    async def connection(session):
        nonlocal errors
        for _ in left:
            began = time.perf_counter()
            try:
                async with session.post(url, data=body) as answer:
                    told = await answer.json()
                    errors += answer.status != 200 or len(told["predictions"]) != 1
            except (aiohttp.ClientError, KeyError):
                errors += 1
            seconds.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(connection(session) for _ in range(CONNECTIONS)))
        return {"seconds": seconds, "errors": errors, "whole": time.perf_counter() - began}


def ask(name, port, body, requests):
    """Run `load` in a process of its own."""
    url = f"http://127.0.0.1:{port}/v1/models/{name}:predict"
    done = subprocess.run(
        [sys.executable, HERE, "--load", url, str(requests)],
        input=body,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def question():
    """Return the JSON of a predict request with one of scikit-learn's digits, at LeNet-5's size."""
    from zoo.training.data.dataset import load_data

    return json.dumps({"instances": load_data("digits", (32, 32, 1)).test.examples[:1].tolist()})


def summary(asked, before, after):
    """What the results of `load`, and the bytes held before and after them, come to."""
    cuts = quantiles([1e3 * second for one in asked for second in one["seconds"]], n=100)
    return {
        "requests/s": round(median(REQUESTS / ROUNDS / one["whole"] for one in asked)),
        "p50 ms": round(cuts[49], 2),
        "p99 ms": round(cuts[98], 2),
        "p99/p50": round(cuts[98] / cuts[49], 2),
        "errors": sum(one["errors"] for one in asked),
        "answers": sum(len(one["seconds"]) for one in asked),
        "MB before": round(before / 1e6, 1),
        "MB after": round(after / 1e6, 1),
    }


def main(saved_model):
    """Measure, print and keep the results."""
    import psutil

    from zoo.training.engine.manifest import machine

    name, body = Path(saved_model).resolve().name, question()
    rounds = {side: [] for side in PORTS}
    with (
        server(saved_model, PORTS["batching"]) as a,
        server(saved_model, PORTS["no batching"], "--no-batching") as b,
    ):
        processes = dict(zip(PORTS, map(psutil.Process, (a.pid, b.pid)), strict=True))
        for port in PORTS.values():
            ask(name, port, body, WARM)
        before = {side: process.memory_info().rss for side, process in processes.items()}
        for number in range(ROUNDS):
            for side, port in PORTS.items():
                rounds[side].append(ask(name, port, body, REQUESTS // ROUNDS))
                rate = REQUESTS / ROUNDS / rounds[side][-1]["whole"]
                print(f"round {number + 1}, {side}: {rate:.0f} a second", flush=True)
        after = {side: process.memory_info().rss for side, process in processes.items()}
    report = {
        "machine": machine(),
        "model": name,
        "requests": REQUESTS,
        "connections": CONNECTIONS,
        **{side: summary(asked, before[side], after[side]) for side, asked in rounds.items()},
    }
    report["ratio"] = round(
        report["batching"]["requests/s"] / report["no batching"]["requests/s"], 2
    )
    HERE.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    if sys.argv[1] == "--load":
        print(
            json.dumps(asyncio.run(load(sys.argv[2], sys.stdin.read().encode(), int(sys.argv[3]))))
        )
    else:
        main(sys.argv[1])
