"""Clients that try to hold a server, and a good client that measures whether they succeed.

`python -m tests.hostile SECONDS [ATTACK...]` starts `zoo serve` on an export of lenet5-digits for
each attack, and prints the latencies of the good client and the memory of the server.
"""
import base64
import contextlib
import gzip
import http.client
import io
import itertools
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from tests.image_set import chunk, png_with

PREDICT = "/v1/models/lenet5-digits:predict"
_TIMEOUT = 30  # seconds until a client of either kind gives up


def post(body: bytes, *headers: str, path: str = PREDICT) -> bytes:
    """Return an HTTP request as bytes."""
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*lines, "", "")).encode() + body


def png(width: int, height: int) -> bytes:
    """Return a black PNG file of one bit per pixel; 25 megapixels take 3 kB."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def zipped_texts(size: int, *keys: bytes) -> bytes:
    """Return a request with a small PNG file that has texts of `size` bytes, compressed."""
    texts = [chunk(b"zTXt", key + b"\0\0" + zlib.compress(bytes(size), 9)) for key in keys]
    return file_request(png_with(png(32, 32), *texts))


def file_request(data: bytes) -> bytes:
    """Return a request with one image file."""
    file = {"b64": base64.b64encode(data).decode()}
    return post(json.dumps({"signature_name": "from_bytes", "instances": [file]}).encode())


def many_scans(side: int, scans: int) -> bytes:
    """Return a progressive JPEG that goes through all its pixels `scans` times more."""
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG", progressive=True)
    jpeg = file.getvalue()
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda"):-2] * scans + jpeg[-2:]


def large_screen() -> bytes:
    """Return a GIF of a few pixels on a screen of 4 gigapixels, 42 bytes."""
    file = io.BytesIO()
    Image.new("P", (4, 4), 1).save(file, "GIF")
    gif = file.getvalue()
    return gif[:6] + b"\xff" * 4 + gif[10:]


def many_pixels(count: int = 160, side: int = 5000) -> bytes:
    """Return a request with `count` images of `side` x `side` pixels."""
    file = {"b64": base64.b64encode(png(side, side)).decode()}
    body = json.dumps({"signature_name": "from_bytes", "instances": [file] * count})
    return post(gzip.compress(body.encode(), 9), "Content-Encoding: gzip")


def many_rows(rows: int) -> bytes:
    """Return a request with `rows` digits as JSON integers, 4 kB each."""
    text = json.dumps((np.eye(32, dtype=int)[:, :, None] * 99).tolist(), separators=(",", ":"))
    return post(b'{"instances":[' + ",".join([text] * rows).encode() + b"]}")


def filled(start: bytes, item: bytes, end: bytes, size: int = 15_900_000) -> bytes:
    """Return a request whose body repeats `item`, about `size` bytes in all."""
    return post(start + item * (size // len(item)) + end)


class Attack:
    """A set of clients, each in a thread of its own, that run until `stop` is set."""

    def __init__(self, address: str, client: Callable, clients: int = 2):
        host, _, port = address.removeprefix("http://").partition(":")
        self.address, self.stop = (host, int(port)), threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(client,)) for _ in range(clients)]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, _TIMEOUT)

    def _run(self, client: Callable) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                client(self)
            self.stop.wait(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def sends(*messages: bytes) -> Callable[[Attack], None]:
    """Return a client that sends each message and waits for the response."""
    turn = itertools.cycle(messages)

    def client(attack: Attack) -> None:
        with attack.connect() as connection:
            connection.sendall(next(turn))
            connection.recv(65536)
    return client


def leaves(message: bytes) -> Callable[[Attack], None]:
    """Return a client that sends a message and leaves without the response."""
    def client(attack: Attack) -> None:
        with attack.connect() as connection:
            connection.sendall(message)
    return client


def never_reads(message: bytes) -> Callable[[Attack], None]:
    """Return a client that requests much and reads nothing."""
    def client(attack: Attack) -> None:
        with attack.connect() as connection:
            connection.sendall(message)
            attack.stop.wait(_TIMEOUT)
    return client


def endless(start: bytes, chunk: bytes, size: int) -> Callable[[Attack], None]:
    """Return a client that sends `chunk` up to `size` bytes without ending a request."""
    def client(attack: Attack) -> None:
        with attack.connect() as connection:
            connection.sendall(start)
            for _ in range(size // len(chunk)):
                if attack.stop.is_set():
                    return
                connection.sendall(chunk)
            connection.recv(65536)
    return client


def half_sent(start: bytes, connections: int = 140, drip: bytes = b"") -> Callable:
    """Return a client that keeps connections open with half a request, and adds `drip` to each."""
    def client(attack: Attack) -> None:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(attack.connect()) for _ in range(connections)]
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.sendall(start)
            for _ in range(50):
                if attack.stop.wait(0.1):
                    return
                for connection in opened:
                    with contextlib.suppress(OSError):
                        connection.sendall(drip)
    return client


HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n".encode()
START = b'{"instances":['


def attacks() -> dict[str, tuple[Callable[[], Callable], int]]:
    """Return {name: (function that makes the client, number of clients)}."""
    return {
        "3,700 digits as numbers": (lambda: sends(many_rows(3700)), 2),
        "900 digits as numbers": (lambda: sends(many_rows(900)), 2),
        "empty lists": (lambda: sends(filled(START, b"[],", b"[]]}")), 2),
        "empty objects": (lambda: sends(filled(START, b"{},", b"{}]}")), 2),
        "numbers": (lambda: sends(filled(START, b"1,", b"1]}")), 2),
        "long string": (lambda: sends(filled(b'{"signature_name":"from_bytes","inputs":["', b"A",
                                             b'"]}')), 2),
        "escapes": (lambda: sends(filled(b'{"inputs":["', b"\\u0061", b'"]}')), 2),
        "duplicate keys": (lambda: sends(filled(b"{", b'"inputs":0,', b'"inputs":0}')), 2),
        "keys": (lambda: sends(post(b"{" + b",".join(b'"%d":0' % n for n in range(1_200_000))
                                    + b"}")), 2),
        "deep": (lambda: sends(post(START + b"[" * 15_000_000),
                               post(START + b"[" * 900 + b"]" * 900 + b"]}")), 4),
        "small bad bodies": (lambda: sends(*(post(body) for body in (
            b'{"inputs":NaN}', b'{"inputs":1e999}', b'{"inputs":' + b"9" * 5000 + b"}",
            b'{"inputs":[' + b"[]," * 5000 + b"[]]}", b"[" * 16_000, b"\xff" * 16_000))), 8),
        "gzip bomb": (lambda: sends(post(gzip.compress(bytes(200_000_000)),
                                         "Content-Encoding: gzip"),
                                    post(gzip.compress(b" " * 15_900_000 + b"1"),
                                         "Content-Encoding: gzip")), 4),
        "many pixels": (lambda: sends(many_pixels()), 2),
        "one large image": (lambda: sends(many_pixels(1)), 2),
        "small files, large images": (lambda: sends(
            *map(file_request, (many_scans(2000, 1000), many_scans(500, 90), large_screen(),
                                png_with(png(32, 32), *[chunk(b"eXIf", b"")] * 20_000)))), 4),
        "zipped texts": (lambda: sends(
            zipped_texts(1_000_000, *[b"a"] * 14),
            zipped_texts(1_000_000, b"Raw profile type exif"),
            zipped_texts(130_000, b"Raw profile type exif")), 8),
        "leaves": (lambda: leaves(many_rows(900)), 2),
        "never reads": (lambda: never_reads(post(json.dumps(
            {"signature_name": "stages", "instances": [
                {"b64": base64.b64encode(png(32, 32)).decode()}] * 900}).encode())), 8),
        "long header": (lambda: endless(HEAD + b"X: ", b"x" * 65536, 100_000_000), 2),
        "many headers": (lambda: endless(HEAD, b"".join(b"X%d: y\r\n" % n for n in range(8000)),
                                         300_000_000), 2),
        "long path": (lambda: endless(b"GET /", b"x" * 65536, 100_000_000), 2),
        "long trailer": (lambda: endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
                                         b"x" * 65536, 100_000_000), 2),
        "long chunk extension": (lambda: endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
                                                 b"x" * 65536, 100_000_000), 2),
        "pipelined": (lambda: endless(b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000,
                                      100_000_000), 2),
        "half-sent heads": (lambda: half_sent(b"GET / HT"), 1),
        "dripping heads": (lambda: half_sent(HEAD, drip=b"X: y\r\n"), 1),
        "half-sent bodies": (lambda: half_sent(HEAD + b"Content-Length: 9999\r\n\r\n{"), 1),
        "dripping bodies": (lambda: half_sent(HEAD + b"Content-Length: 9999\r\n\r\n", drip=b" "),
                            1),
        "silent connections": (lambda: half_sent(b""), 1),
        "idle connections": (lambda: half_sent(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 1),
    }


class GoodClient:
    """Asks 20 times a second, by turns on a connection that stays open and on a new one.

    Attributes:
        seconds: {"predict": latencies, "healthz": latencies}.
        errors: what went wrong.
    """

    def __init__(self, address: str):
        self._address = address.removeprefix("http://")
        file = {"b64": base64.b64encode(png(32, 32)).decode()}
        self._body = json.dumps({"signature_name": "from_bytes", "instances": [file]})
        self.seconds: dict[str, list[float]] = {"predict": [], "healthz": []}
        self.errors: list[str] = []

    def run(self, seconds: float) -> None:
        """Ask for `seconds` seconds."""
        kept = http.client.HTTPConnection(self._address, timeout=_TIMEOUT)
        end = time.monotonic() + seconds
        for n in itertools.count():
            began = time.monotonic()
            if began > end and n > 1:  # one of each at least
                break
            connection = kept
            if n // 2 % 2:
                connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT)
            name = ("predict", "healthz")[n % 2]
            try:
                if name == "predict":
                    connection.request("POST", PREDICT, self._body)
                else:
                    connection.request("GET", "/healthz")
                response = connection.getresponse()
                content = json.loads(response.read())
                if response.status != 200:
                    self.errors.append(f"{name}: {response.status} {content}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.errors.append(f"{name}: {error!r}")
                connection.close()
            self.seconds[name].append(time.monotonic() - began)
            if connection is not kept:
                connection.close()
            time.sleep(max(0, 0.05 - (time.monotonic() - began)))
        kept.close()


def measure(address: str, seconds: float) -> dict:
    """Return milliseconds (median, most) of a good client of each kind, and its errors."""
    client = GoodClient(address)
    client.run(seconds)
    return {"errors": client.errors, **{
        kind: [round(1000 * value, 1) for value in (statistics.median(values), max(values))]
        for kind, values in client.seconds.items()}}


def run(address: str, pid: int, name: str, seconds: float) -> dict:
    """Run an attack beside a good client.

    Returns:
        What `measure` returns, and "MB", the memory of the server before, at most, and afterwards.
    """
    make, clients = attacks()[name]
    process, stop = psutil.Process(pid), threading.Event()
    before = most = memory(process)

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.1):
            most = max(most, memory(process))
    watcher = threading.Thread(target=watch)
    watcher.start()
    with Attack(address, make(), clients):
        result = measure(address, seconds)
    stop.set()
    watcher.join()
    for _ in range(150):
        after = memory(process)
        if after < before + 20:
            break
        time.sleep(0.1)
    return {**result, "MB": [round(mb) for mb in (before, most, after)]}


def memory(process: psutil.Process) -> float:
    """Return the resident memory of a process and its children, in MB."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total / 1e6


def main(seconds: float, names: list[str]) -> None:
    """Run the attacks of these names, or all, each on a server of its own."""
    from tests.test_serve import serving
    from zoo.training.deployment.exporter import export

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lenet5-digits"
        export("lenet5-digits", path)
        for name in names or attacks():
            with serving(path) as (address, process):
                measure(address, 1)
                print(name, json.dumps({"quiet": measure(address, min(seconds, 5)),
                                        "attack": run(address, process.pid, name, seconds)}),
                      flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
