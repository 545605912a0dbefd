"""Micro-batching: requests that arrive while the network computes form its next batch.

No request waits for a batch to fill.
"""
import asyncio
import collections
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import tensorflow as tf

from zoo.training.serving.signature import Signature
from zoo.training.serving.wire_format import RequestError

_MAX_QUEUED = 4096        # rows; beyond it the server reports that it is busy
_MAX_VALUES = 10_000_000  # in a response of several rows; as JSON a tenth of a gigabyte

Arrays = dict[str, np.ndarray]
Item = tuple[Arrays, int, asyncio.Future]  # inputs, their rows, and the future outputs


class _RowMismatch(Exception):
    """A call returned more or fewer rows than its inputs have: they match no requests."""


class Batcher:
    """Runs the requests to one signature in batches, in a thread of `pool`.

    Batches are padded to a power of two or to `max_batch`: the first call at each size is slow, and
    `warm_up` makes it for these sizes. Once a signature returns other than one row for each input
    row, every later request to it is a call of its own, without padding.

    Args:
        signature: the signature to run.
        pool: an executor of one thread, shared by all signatures.
        max_batch: rows in a call. A request with more rows is split or, if the signature is not
            mergeable, rejected.
        merge: False runs each request in calls of its own.
        observe: called with the number of rows of each call.
    """

    def __init__(self, signature: Signature, pool: Executor, max_batch: int, merge: bool = True,
                 observe: Callable[[int], object] = lambda rows: None):
        self.signature, self.observe = signature, observe
        self._pool, self._max_batch = pool, max_batch
        self._merge = merge and signature.mergeable
        self._max_rows = max_batch
        if signature.mergeable:
            limit = _MAX_VALUES // max(1, signature.values_per_row)
            self._max_rows = min(_MAX_QUEUED, max(1, limit))
        self._queue: collections.deque[Item] = collections.deque()
        self._task: asyncio.Task | None = None

    @property
    def queued_rows(self) -> int:
        """The number of rows that wait."""
        return sum(rows for _, rows, _ in self._queue)

    def warm_up(self) -> None:
        """Call a batched signature once at each batch size, unless it rejects blank inputs."""
        if not self.signature.batched:
            return
        with contextlib.suppress(tf.errors.OpError, _RowMismatch):
            for n in range((self._max_batch - 1).bit_length() + 1):
                self._call([self.signature.blank(min(1 << n, self._max_batch))])

    async def submit(self, inputs: Arrays) -> Arrays:
        """Return {output name: array} for {input name: array}.

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
        if self.signature.batched:
            with contextlib.suppress(_RowMismatch):
                return await self._submit_rows(inputs, rows)
        return await self._enqueue(inputs, 1)

    async def _submit_rows(self, inputs: Arrays, rows: int) -> Arrays:
        """Run a request in pieces of at most `max_batch` rows."""
        pieces = [{name: array[start:start + self._max_batch] for name, array in inputs.items()}
                  for start in range(0, rows, self._max_batch)]
        results = await asyncio.gather(*(
            self._enqueue(piece, len(next(iter(piece.values())))) for piece in pieces))
        if len(results) == 1:
            return results[0]
        if not self.signature.batched:  # another request showed it after this one was split
            raise _RowMismatch
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    def _enqueue(self, inputs: Arrays, rows: int) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        self._queue.append((inputs, rows, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run_queue())
        return future

    async def _run_queue(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = self._next_batch()
            requests = [inputs for inputs, _, _ in batch]
            results = await loop.run_in_executor(self._pool, self._run, requests)
            for (_, _, future), result in zip(batch, results, strict=True):
                if future.done():  # the client has disconnected
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next_batch(self) -> list[Item]:
        batch = [self._queue.popleft()]
        rows = batch[0][1]
        while self._merge and self._queue and rows + self._queue[0][1] <= self._max_batch:
            batch.append(self._queue.popleft())
            rows += batch[-1][1]
        self.observe(rows)
        return batch

    def _run(self, requests: list[Arrays]) -> Sequence[Arrays | Exception]:
        """Return the outputs or the exception of each request; a failed batch is run one by one."""
        try:
            return self._call(requests)
        except _RowMismatch as error:
            return [error] * len(requests)
        except tf.errors.InvalidArgumentError as error:
            if len(requests) == 1:
                return [RequestError(f"The network rejects this input: {_reason(error)}")]
        except Exception as error:  # of any kind: later requests must still be answered
            if len(requests) == 1:
                return [error]
        return [self._run([request])[0] for request in requests]

    def _call(self, requests: list[Arrays]) -> list[Arrays]:
        """Run the requests in one call, padded."""
        if not self.signature.batched:
            return [self._call_function(requests[0])]
        sizes = [len(next(iter(request.values()))) for request in requests]
        rows = sum(sizes)
        padding = min(1 << (rows - 1).bit_length(), self._max_batch) - rows
        inputs = {}
        for name in requests[0]:
            arrays = [request[name] for request in requests]
            inputs[name] = np.concatenate([*arrays, np.repeat(arrays[-1][-1:], padding, axis=0)])
        outputs = self._call_function(inputs)
        if any(len(value) != rows + padding for value in outputs.values()):
            self.signature.batched = self._merge = False
            raise _RowMismatch
        slices = [slice(end - size, end)
                  for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
        return [{name: value[rows] for name, value in outputs.items()} for rows in slices]

    def _call_function(self, inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        arrays = {name: value.numpy() for name, value in self.signature.function(**tensors).items()}
        return {name: np.array(array, object) if isinstance(array, bytes) else array
                for name, array in arrays.items()}


def _reason(error: tf.errors.OpError) -> str:
    """Return the sentence of TensorFlow's message without the names of nodes around it."""
    line = error.message.strip().splitlines()[0]
    return line.split("}} ", 1)[-1][:200]
