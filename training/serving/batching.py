"""Micro-batching: requests that arrive while the network computes form its next batch.

No batch waits for more requests. A request of many rows is computed in pieces, and between two
pieces others have their turn.
"""
import asyncio
import collections
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from zoo.training.serving.signature import Arrays, Signature
from zoo.training.serving.wire_format import RequestError

_MAX_QUEUED = 4096        # rows; beyond it the server reports that it is busy
_MAX_VALUES = 2_000_000   # in a response of several rows; as JSON about 20 MB
_LONGEST = 0.25           # seconds of a call
_AS_FAST = 1.1            # times the time of a row for which a larger batch is preferred
_SMALL = 4096             # pixels, and a quarter of the bytes, of images that are decoded at once
_SLOW, _PAUSE = 0.005, 1  # seconds of decoding after which the pool decodes, and for how long
MAX_PIXELS = 4_000_000    # of the encoded images in a call, unless it has only one


class _Item(NamedTuple):
    inputs: Arrays
    rows: int
    pixels: int  # of its encoded images
    outputs: asyncio.Future


class _RowMismatch(Exception):
    """A call returned more or fewer rows than its inputs have: they match no requests."""


class Batcher:
    """Runs the requests to one signature in batches, in a thread of `pool`.

    Batches of a signature that is `padded` are padded to a power of two or to `max_batch`: the
    first call at each size is slow, and `warm_up` makes it for these sizes. Where a smaller batch
    takes less time for each of its rows, the other requests wait for the next one. Small images are
    decoded by `submit` itself: where two threads take turns at Python's lock, both are slower. Once
    a signature returns other than one row for each input row, every later request to it is a call
    of its own, without padding.

    Args:
        signature: the signature to run.
        pool: an executor of one thread, shared by all signatures.
        max_batch: rows in a call, or fewer if `warm_up` finds that these take long. A request with
            more rows is split or, if the signature is not mergeable, rejected.
        merge: False runs each request in calls of its own.
        observe: called with the number of rows of each call.
        count: called with the change of the number of rows that wait, once in a turn of the event
            loop.
    """

    def __init__(self, signature: Signature, pool: Executor, max_batch: int, merge: bool = True,
                 observe: Callable[[int], object] = lambda rows: None,
                 count: Callable[[int], object] = lambda rows: None):
        self.signature, self.observe, self._count = signature, observe, count
        self._pool, self._max_batch = pool, max_batch
        self._merge = merge and signature.mergeable
        self._max_rows = max_batch
        if signature.mergeable:
            limit = _MAX_VALUES // max(1, signature.values_per_row)
            self._max_rows = min(_MAX_QUEUED, max(1, limit))
        self._queue: collections.deque[_Item] = collections.deque()
        self._seconds: dict[int, float] = {}  # of a call, by its rows
        self._decodes_from = 0.0  # the time from which on `submit` decodes small images
        self._task: asyncio.Task | None = None
        self.queued_rows = 0  # of all requests whose outputs are not yet there
        self._counted_rows = 0  # of these, what `count` knows

    def warm_up(self) -> None:
        """Call a batched signature at each batch size, unless it rejects blank inputs.

        Batches become smaller than `max_batch` if larger ones take more than a quarter of a second:
        every other request waits for as long.
        """
        if not self.signature.batched:
            return
        with contextlib.suppress(RequestError, _RowMismatch):
            for n in range((self._max_batch - 1).bit_length() + 1):
                rows = min(1 << n, self._max_batch)
                inputs = self.signature.blank(rows)
                self._call([inputs])  # the first one is slow
                if not self.signature.mergeable:
                    continue
                seconds = min(self._measure(inputs) for _ in range(2))
                if rows > 1 and seconds > _LONGEST:
                    self._max_batch = max(self._seconds)
                    break
                self._seconds[rows] = seconds

    def _measure(self, inputs: Arrays) -> float:
        prepared, start = self.signature.prepared(inputs), time.perf_counter()
        self._call([prepared])
        return time.perf_counter() - start

    async def submit(self, inputs: Arrays, pixels: Sequence[int] = ()) -> Arrays:
        """Return {output name: array} for {input name: array}.

        A request that is cancelled is not computed further.

        Args:
            pixels: the pixels of each row's encoded image.

        Raises:
            RequestError: if the network cannot compute it, as for a damaged image (400), it has too
                many rows (413), or too many rows wait (503).
        """
        rows = len(next(iter(inputs.values()))) if self.signature.batched else 1
        if rows > self._max_rows:
            raise RequestError(f"Expected at most {self._max_rows:,} rows in a request to this "
                               f"signature. Received: {rows:,}.", 413)
        if self.queued_rows + rows > _MAX_QUEUED:
            raise RequestError("The server is busy. Try again later.", 503)
        self._wait(rows)
        try:
            if self.signature.batched:
                with contextlib.suppress(_RowMismatch):
                    return await self._submit_rows(self._decoded(inputs, pixels), rows, pixels)
            return await self._enqueue(inputs, 1, sum(pixels))
        finally:
            self._wait(-rows)

    def _wait(self, rows: int) -> None:
        self.queued_rows += rows
        asyncio.get_running_loop().call_soon(self._count_rows)

    def _count_rows(self) -> None:
        change = self.queued_rows - self._counted_rows
        if change:
            self._counted_rows = self.queued_rows
            self._count(change)

    def _decoded(self, inputs: Arrays, pixels: Sequence[int]) -> Arrays:
        """Decode small images, unless one took long a moment ago: some hostile files do."""
        if (not pixels or not self.signature.prepared_pixels
                or time.monotonic() < self._decodes_from
                or sum(max(size, self.signature.prepared_pixels) for size in pixels) > _SMALL
                or sum(map(len, inputs["image_bytes"].ravel().tolist())) > 4 * _SMALL):
            return inputs
        start = time.thread_time()  # in which other processes have no part
        prepared = self.signature.prepared(inputs)
        if time.thread_time() - start > _SLOW:
            self._decodes_from = time.monotonic() + _PAUSE
        return prepared

    async def _submit_rows(self, inputs: Arrays, rows: int, pixels: Sequence[int]) -> Arrays:
        """Run a request in pieces of at most `max_batch` rows, one after another."""
        results = []
        for piece in self._pieces(rows, pixels):
            arrays = {name: array[piece] for name, array in inputs.items()}
            results.append(await self._enqueue(arrays, piece.stop - piece.start,
                                               sum(pixels[piece])))
        if len(results) == 1:
            return results[0]
        if not self.signature.batched:  # another request showed it after this one was split
            raise _RowMismatch
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    def _pieces(self, rows: int, pixels: Sequence[int]) -> Iterator[slice]:
        start = total = 0
        for row in range(rows if self.signature.mergeable else 0):
            size = pixels[row] if pixels else 0
            if row > start and (row - start == self._max_batch or total + size > MAX_PIXELS):
                yield slice(start, row)
                start, total = row, 0
            total += size
        yield slice(start, rows)

    def _enqueue(self, inputs: Arrays, rows: int, pixels: int) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        self._queue.append(_Item(inputs, rows, pixels, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run_queue())
        return future

    async def _run_queue(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            requests = [item.inputs for item in batch]
            results = await loop.run_in_executor(self._pool, self._run, requests)
            for item, result in zip(batch, results, strict=True):
                if item.outputs.done():  # the client has disconnected
                    continue
                if isinstance(result, Exception):
                    item.outputs.set_exception(result)
                else:
                    item.outputs.set_result(result)

    def _next_batch(self) -> list[_Item]:
        batch: list[_Item] = []
        rows = pixels = count = chosen = 0
        lowest = math.inf
        while self._queue:
            item = self._queue[0]
            if item.outputs.done():  # the client has disconnected
                self._queue.popleft()
                continue
            if batch and (not self._merge or rows + item.rows > self._max_batch
                          or pixels + item.pixels > MAX_PIXELS):
                break
            batch.append(self._queue.popleft())
            rows, pixels = rows + item.rows, pixels + item.pixels
            seconds = 0.0  # without padding a row takes as long in any batch
            if self.signature.padded:
                seconds = self._seconds.get(self._padded(rows), 0) / rows
            if seconds <= _AS_FAST * lowest:
                lowest, count, chosen = min(lowest, seconds), len(batch), rows
        self._queue.extendleft(reversed(batch[count:]))
        if chosen:
            self.observe(chosen)
        return batch[:count]

    def _padded(self, rows: int) -> int:
        if not self.signature.padded:
            return rows
        return min(1 << (rows - 1).bit_length(), self._max_batch)

    def _run(self, requests: list[Arrays]) -> Sequence[Arrays | Exception]:
        """Return the outputs or the exception of each request; a failed batch is run one by one."""
        try:
            return self._call(requests)
        except _RowMismatch as error:
            return [error] * len(requests)
        except Exception as error:  # of any kind: later requests must still be answered
            if len(requests) == 1:
                return [error]
        return [self._run([request])[0] for request in requests]

    def _call(self, requests: list[Arrays]) -> list[Arrays]:
        """Run the requests in one call, padded."""
        if not self.signature.batched:
            return [self.signature.run(requests[0])]
        requests = [self.signature.prepared(request) for request in requests]
        sizes = [len(next(iter(request.values()))) for request in requests]
        rows = sum(sizes)
        padding = self._padded(rows) - rows
        inputs = {}
        for name in requests[0]:
            arrays = [request[name] for request in requests]
            inputs[name] = np.concatenate([*arrays, np.repeat(arrays[-1][-1:], padding, axis=0)])
        outputs = self.signature.run(inputs)
        if any(len(value) != rows + padding for value in outputs.values()):
            self.signature.batched = self._merge = False
            raise _RowMismatch
        slices = [slice(end - size, end)
                  for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
        return [{name: value[rows] for name, value in outputs.items()} for rows in slices]
