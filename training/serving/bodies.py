"""The bodies of requests: read within limits, and decoded where they delay no other request.

Small bodies are decoded at once. Others are decoded in a process of its own, one at a time: parsing
JSON holds Python's lock, so that a thread would stop the event loop too.

`python -m zoo.training.serving.bodies` is that process. It needs no TensorFlow.
"""
import asyncio
import contextlib
import ctypes
import functools
import gc
import os
import pickle
import subprocess
import sys
import threading
import zlib
from collections.abc import Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson
from PIL import Image
from starlette.requests import ClientDisconnect

from zoo.errors import UserError
from zoo.training.serving import wire_format
from zoo.training.serving.wire_format import Inputs, Layout, RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

_SMALL = 65_536          # bytes of a body that is decoded at once, in about a millisecond
_SMALL_VALUES = 8_000    # the values in it; an object counts as a hundred, as it may be an image
_MAX_VALUES = 2_000_000  # numbers, strings, lists and objects in a body
_SECONDS = 30            # in which a body is decoded
_READ = 8                # large bodies that are read at a time: each costs the event loop time
_TURN = 0.1              # seconds for which one of them waits for its client before others do
_HELD = 16               # bodies of the largest size that are in memory at a time
_NICE = 5                # of the process: small requests are computed first


class Bodies:
    """Reads and decodes the bodies of requests.

    Args:
        max_body: bytes of a body, inflated.
        max_pixels: pixels of an encoded image; a request may have four times as many.

    Attributes:
        had_large: whether a large body was freed since this was set to False.
    """

    def __init__(self, max_body: int, max_pixels: int):
        self._max_body, self._max_pixels = max_body, max_pixels
        self._held = 0
        self.had_large = False
        self._turns = asyncio.Semaphore(_READ)
        self._process = _Process()
        self._thread = ThreadPoolExecutor(1, "bodies")

    async def read(self, request: "Request") -> bytes:
        """Read the body of a request, its first part at once, others in turn with other requests.

        The body counts as held in memory until it is released.

        Raises:
            RequestError: if the body is too large (413), has an unknown encoding (415), or the
                large bodies of all requests take too much memory (503).
        """
        encoding = _encoding(request)
        if encoding not in ("gzip", "x-gzip", "identity"):
            raise RequestError("Expected the Content-Encoding gzip, or none. "
                               f"Received: {encoding[:100]}.", 415)
        if int(request.headers.get("content-length", 0)) > self._max_body:
            raise _too_long(self._max_body)
        parts, size = [], 0
        try:
            message = await request.receive()
            while message["type"] != "http.disconnect":
                parts.append(message["body"])
                self._held += len(parts[-1])
                size += len(parts[-1])
                if size > self._max_body:
                    raise _too_long(self._max_body)
                if self._held > _HELD * self._max_body and size > _SMALL:
                    raise RequestError("The server is busy. Try again later.", 503)
                if not message["more_body"]:
                    return b"".join(parts)
                message = await self._next_message(request)
            raise ClientDisconnect
        except BaseException:
            self.release(size)
            raise

    def release(self, size: int) -> None:
        """Count a body of `size` bytes as held no longer."""
        self._held -= size
        self.had_large |= size > _SMALL

    async def _next_message(self, request: "Request") -> MutableMapping[str, Any]:
        while True:
            await self._take_turn(request.scope["gone"])
            try:
                async with asyncio.timeout(_TURN):
                    return await request.receive()
            except TimeoutError:
                pass
            finally:
                self._turns.release()

    async def _take_turn(self, gone: asyncio.Future) -> None:
        """Wait for a turn; clients that leave meanwhile do not, as many may do so."""
        turn = asyncio.ensure_future(self._turns.acquire())
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not turn.cancel():  # it is taken
                self._turns.release()
            raise
        if turn.cancel():
            raise ClientDisconnect

    async def decode(self, request: "Request", body: bytes, layouts: Mapping[str, Layout],
                     signature: str | None = None) -> Inputs:
        """Decode the body of a predict request.

        Args:
            layouts: {name: `Layout`} of the model's signatures.
            signature: a name that replaces the request's "signature_name".

        Raises:
            zoo.errors.UserError: if the body inflated is too large (413), is not JSON, or as
                `zoo.training.serving.wire_format.decode` does.
        """
        packed = _encoding(request) != "identity"
        job = (body, packed, layouts, signature, self._max_body, self._max_pixels)
        if not packed and _is_small(body):
            return decode(*job)
        return await asyncio.wrap_future(self._thread.submit(self._process.run, job))

    def close(self) -> None:
        """End the process that decodes."""
        self._process.close()
        self._thread.shutdown(cancel_futures=True)


def _encoding(request: "Request") -> str:
    return request.headers.get("content-encoding", "identity").lower()


def decode(body: bytes, packed: bool, layouts: Mapping[str, Layout], signature: str | None,
           max_body: int, max_pixels: int) -> Inputs:
    """Decode a body; see `Bodies.decode`.

    Args:
        packed: whether the body is a gzip file.
    """
    if packed:
        body = _inflate(body, max_body)
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > _MAX_VALUES:
        raise RequestError(f"Expected at most {_MAX_VALUES:,} values in a body. Received: "
                           f"{values:,}. Send fewer rows, or image files instead of numbers.", 413)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError("The body is not JSON, which has neither NaN nor Infinity: "
                           f"{error}.") from None
    if signature and isinstance(content, dict):
        content["signature_name"] = signature
    return wire_format.decode(content, layouts, max_pixels)


def _is_small(body: bytes) -> bool:
    return len(body) <= _SMALL and (body.count(b",") + body.count(b"[")
                                    + 100 * body.count(b"{")) <= _SMALL_VALUES


def _inflate(body: bytes, limit: int) -> bytes:
    inflater, reason = zlib.decompressobj(31), "it ends too early"
    try:
        content = inflater.decompress(body, limit + 1)
        if len(content) > limit:
            raise _too_long(limit)
        if inflater.unused_data:
            reason = "more comes after its end"
    except zlib.error as error:
        reason = str(error)
    if not inflater.eof or inflater.unused_data:
        raise RequestError("The body is not the gzip file that its Content-Encoding names: "
                           f"{reason}.")
    return content


def _too_long(limit: int) -> RequestError:
    return RequestError(f"Expected a body of at most {limit:,} bytes.", 413)


def _too_much() -> RequestError:
    return RequestError("The body takes too long or too much memory to decode.", 413)


def return_memory() -> None:
    """Return freed memory to the system, which the C library of Linux keeps otherwise."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            _c_library().malloc_trim(0)


@functools.cache  # each one is a class, whose 4 kB are freed by garbage collection alone
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class _Process:
    """The process that decodes; it is started again if it has ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None
        self._start()

    def _start(self) -> subprocess.Popen:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "zoo.training.serving.bodies"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                # Python's own allocator would keep 256 kB for each short key that orjson remembers.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path),
                     "PYTHONMALLOC": "malloc"},
                start_new_session=True)  # an interrupt in the terminal is for the server
        return self._child

    def run(self, job: tuple) -> Inputs:
        """Return what `decode` returns, or raise what it raises."""
        child = self._start()
        assert child.stdin and child.stdout
        timer = threading.Timer(_SECONDS, child.kill)
        timer.start()
        try:
            pickle.dump(job, child.stdin, pickle.HIGHEST_PROTOCOL)
            child.stdin.flush()
            result = pickle.load(child.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.close()
            raise _too_much() from None
        finally:
            timer.cancel()
        try:
            if isinstance(result, Exception):
                raise result
            return result
        finally:
            del result  # an exception's traceback leads here, and to the body

    def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child:
            child.kill()
            with contextlib.suppress(BrokenPipeError), child:  # closes its pipes and waits for it
                pass


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Decode jobs until there are no more."""
    gc.disable()  # what JSON becomes has no cycles; looking for them takes most of the time
    Image.MAX_IMAGE_PIXELS = None  # max_pixels takes the place of Pillow's limit
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            job: Any = pickle.load(source)
            try:
                result: Any = decode(*job)
            except UserError as error:
                result = error
            except MemoryError:
                result = _too_much()
            pickle.dump(result, sink, pickle.HIGHEST_PROTOCOL)
            sink.flush()
            del job, result
            return_memory()


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(_NICE)
    _serve(sys.stdin.buffer, sys.stdout.buffer)
