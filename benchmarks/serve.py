"""Does micro-batching pay, and does the server hold?

`python benchmarks/serve.py SAVED_MODEL` needs an image network such as saved_models/lenet5-digits.
Two servers, one with micro-batching and one with --no-batching, take rounds of requests in turn:
20,000 each in all, at 32 connections that stay open, each with one image as JSON numbers. The load
comes from a process of its own on the same machine. Results go to benchmarks/serve.json.

`python benchmarks/serve.py SAVED_MODEL --soak N [OPTION...]` sends N requests of mixed sizes in
ten rounds to `zoo serve SAVED_MODEL OPTION...`, 5 % of them bad. Every status and label is checked.
Memory and open descriptors of the server after each round go to benchmarks/serve_soak.json.
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

ROUNDS, REQUESTS, CONNECTIONS, PORTS = 5, 20_000, 32, {"batching": 8598, "no batching": 8599}
WARM = 500  # requests before the memory is read first
SOAK_ROUNDS, BAD = 10, 0.05  # rounds of a soak; the share of bad requests
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


async def load(url, cases, requests):
    """Send `requests` of `cases`, drawn at random, to `url` over CONNECTIONS connections.

    A case has a "body"; the "status" and, where it is 200, the "labels" of its answer; and a
    "weight", how often it is drawn.

    Return the seconds of each request; how many were lost, and answered wrongly; the seconds of
    all.
    """
    import aiohttp

    seconds, counts, wrong = [], {"lost": 0, "wrong": 0}, {}
    left = iter(
        random.Random(requests).choices(
            range(len(cases)), [case.get("weight", 1) for case in cases], k=requests
        )
    )

    async def connection(session):
        for number in left:
            case = cases[number]
            began = time.perf_counter()
            try:
                async with session.post(url, data=case["body"].encode()) as answer:
                    told = await answer.json()
                labels = [row["label"] for row in told.get("predictions", ())]
                if answer.status != case["status"] or labels != case.get("labels", []):
                    counts["wrong"] += 1
                    wrong[number] = f"{answer.status} {told}"[:200]
            except (aiohttp.ClientError, KeyError, ValueError) as error:
                counts["lost"] += 1
                wrong[number] = repr(error)
            seconds.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(connection(session) for _ in range(CONNECTIONS)))
        whole = time.perf_counter() - began
    return {"seconds": seconds, **counts, "examples of wrong": wrong, "whole": whole}


def ask(name, port, cases, requests):
    """Run `load` in a process of its own."""
    url = f"http://127.0.0.1:{port}/v1/models/{name}:predict"
    done = subprocess.run(
        [sys.executable, HERE, "--load", url, str(requests)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def digits(count):
    """Return scikit-learn's digits at LeNet-5's size, uint8."""
    from zoo.training.data.dataset import load_data

    return load_data("digits", (32, 32, 1)).test.examples[:count]


def labels_of(saved_model, inputs):
    """Return the labels of images, or of the bytes of image files, without a server."""
    from zoo.training.deployment import runtimes

    name = "from_bytes" if inputs.dtype == object else "serving_uint8"
    return [label.decode() for label in runtimes.load(saved_model)[name].run(inputs)["label"]]


def question(saved_model):
    """Return a case of `load` with one digit as JSON numbers."""
    images = digits(1)
    labels = labels_of(saved_model, images)
    return {"body": json.dumps({"instances": images.tolist()}), "status": 200, "labels": labels}


def mixed_cases(saved_model):
    """Return cases of `load`: 1 to 100 digits as numbers or files, and bad requests."""
    import numpy as np
    from PIL import Image

    images = digits(100)

    def file(image, scale=1):
        png = io.BytesIO()
        Image.fromarray(image[:, :, 0]).resize((32 * scale, 32 * scale)).save(png, "PNG")
        return png.getvalue()

    def case(weight, labels, instances, **more):
        body = json.dumps({"instances": instances, **more})
        return {"body": body, "status": 200, "labels": labels, "weight": weight}

    def base_64(data):
        return {"b64": base64.b64encode(data).decode()}

    large = file(images[0], 70)  # 5 megapixels
    labels = labels_of(saved_model, images)
    files = [base_64(file(image)) for image in images]
    damaged, from_bytes = base_64(file(images[0])[:60]), {"signature_name": "from_bytes"}
    good = [
        *(case(2, labels[n : n + 1], images[n : n + 1].tolist()) for n in range(20)),
        *(case(2, labels[n : n + 1], files[n : n + 1], **from_bytes) for n in range(20)),
        *(case(1, labels[n : n + 8], files[n : n + 8], **from_bytes) for n in range(0, 64, 8)),
        case(1, ["", labels[0]], [damaged, files[0]], **from_bytes),
        case(0.3, labels, images.tolist()),  # a large body
        case(0.3, labels, files, **from_bytes),
        case(
            0.1, labels_of(saved_model, np.array([large], object)), [base_64(large)], **from_bytes
        ),
    ]
    bodies = (
        "{",
        '{"instances": [1, 2]}',
        '{"instances": []}',
        '{"instances": [[[[1e39]]]]}',
        json.dumps({**from_bytes, "instances": [damaged]}),
        json.dumps({"signature_name": "none", "instances": [1]}),
        '{"instances": [' + "[]," * 20_000 + "[]]}",
    )
    weight = sum(case["weight"] for case in good) * BAD / (1 - BAD) / len(bodies)
    return good + [{"body": body, "status": 400, "weight": weight} for body in bodies]


def summary(asked, before, after):
    """What the results of `load`, and the bytes held before and after them, come to."""
    cuts = quantiles([1e3 * second for one in asked for second in one["seconds"]], n=100)
    return {
        "requests/s": round(median(REQUESTS / ROUNDS / one["whole"] for one in asked)),
        "p50 ms": round(cuts[49], 2),
        "p99 ms": round(cuts[98], 2),
        "p99/p50": round(cuts[98] / cuts[49], 2),
        "errors": sum(one["lost"] + one["wrong"] for one in asked),
        "answers": sum(len(one["seconds"]) for one in asked),
        "MB before": round(before / 1e6, 1),
        "MB after": round(after / 1e6, 1),
    }


def main(saved_model):
    """Measure, print and keep the results."""
    import psutil
    from sides import keep

    name, cases = Path(saved_model).resolve().name, [question(saved_model)]
    rounds = {side: [] for side in PORTS}
    with (
        server(saved_model, PORTS["batching"]) as a,
        server(saved_model, PORTS["no batching"], "--no-batching") as b,
    ):
        processes = dict(zip(PORTS, map(psutil.Process, (a.pid, b.pid)), strict=True))
        for port in PORTS.values():
            ask(name, port, cases, WARM)
        before = {side: process.memory_info().rss for side, process in processes.items()}
        for number in range(ROUNDS):
            for side, port in PORTS.items():
                rounds[side].append(ask(name, port, cases, REQUESTS // ROUNDS))
                rate = REQUESTS / ROUNDS / rounds[side][-1]["whole"]
                print(f"round {number + 1}, {side}: {rate:.0f} a second", flush=True)
        after = {side: process.memory_info().rss for side, process in processes.items()}
    report = {
        "model": name,
        "requests": REQUESTS,
        "connections": CONNECTIONS,
        **{side: summary(asked, before[side], after[side]) for side, asked in rounds.items()},
    }
    report["ratio"] = round(
        report["batching"]["requests/s"] / report["no batching"]["requests/s"], 2
    )
    keep(HERE, report)
    print(json.dumps(report, indent=2))


def held(process):
    """Return the megabytes and the open descriptors of a server with its processes."""
    every = [process, *process.children(recursive=True)]
    return (
        round(sum(one.memory_info().rss for one in every) / 1e6, 1),
        sum(one.num_fds() for one in every),
    )


def soak(saved_model, requests, options):
    """Send requests of mixed sizes, print and keep what was lost, wrong and held."""
    import psutil
    from sides import keep

    name, cases = Path(saved_model).resolve().name, mixed_cases(saved_model)
    rounds, memory, descriptors = [], [], []
    port = PORTS["batching"]
    with server(saved_model, port, *options) as process:
        for number in range(SOAK_ROUNDS):
            rounds.append(ask(name, port, cases, requests // SOAK_ROUNDS))
            time.sleep(3)  # the server returns freed memory once a second
            megabytes, files = held(psutil.Process(process.pid))
            memory.append(megabytes)
            descriptors.append(files)
            print(f"round {number + 1}: {megabytes} MB, {files} descriptors", flush=True)
    cuts = quantiles([1e3 * second for one in rounds for second in one["seconds"]], n=100)
    report = {
        "load average": round(os.getloadavg()[1], 1),
        "model": name,
        "options": list(options),
        "connections": CONNECTIONS,
        "requests": sum(len(one["seconds"]) for one in rounds),
        "lost": sum(one["lost"] for one in rounds),
        "wrong": sum(one["wrong"] for one in rounds),
        "p50 ms": round(cuts[49], 1),
        "p99 ms": round(cuts[98], 1),
        "MB after each round": memory,
        "descriptors after each round": descriptors,
    }
    keep(HERE.with_name("serve_soak"), report)
    print(json.dumps(report, indent=2))
    for one in rounds:
        for case, told in one["examples of wrong"].items():
            print(cases[int(case)]["body"][:80], told, file=sys.stderr)
    return report["lost"] + report["wrong"]


if __name__ == "__main__":
    if sys.argv[1] == "--load":
        result = load(sys.argv[2], json.loads(sys.stdin.read()), int(sys.argv[3]))
        print(json.dumps(asyncio.run(result)))
    elif sys.argv[2:3] == ["--soak"]:
        sys.exit(bool(soak(sys.argv[1], int(sys.argv[3]), sys.argv[4:])))
    else:
        main(sys.argv[1])
