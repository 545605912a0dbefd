"""Micro-batching: the requests that wait while the network computes are its next batch. Nobody waits for a batch to fill."""
import asyncio
import collections
import contextlib

import numpy as np
import tensorflow as tf

from zoo.training.serving.wire_format import Refused

_WAITING = 4096  # rows; beyond, the server says that it is busy instead of piling up bodies
_NUMBERS = 10_000_000  # in an answer of several rows, a tenth of a gigabyte as JSON


class _NotByRow(Exception):
    """A call answered with more or fewer rows than it was asked, so that nobody can say which are whose."""


class Batcher:
    """Answers the requests to one signature, batch after batch, in a thread of `pool`.

    Batches are padded to a power of two or to `max_batch`, as the first call at each size is slow and those have been warmed
    up. Once a signature gives other than a row for each row, every request to it is a call of its own, as it came.

    Args:
        signature: a `zoo.training.serving.wire_format.Signature`.
        pool: a concurrent.futures.ThreadPoolExecutor of one thread, shared by all signatures.
        max_batch: rows in a call; a request with more is cut or, if the signature is not mergeable, refused.
        merge: False gives each request calls of its own.
        seen: a function that is told the rows of each call.
    """

    def __init__(self, signature, pool, max_batch, merge=True, seen=lambda rows: None):
        self.signature, self.pool, self.max_batch, self.seen = signature, pool, max_batch, seen
        self.merge = merge and signature.mergeable
        self.most = min(_WAITING, max(1, _NUMBERS // max(1, signature.numbers))) if signature.mergeable else max_batch
        self.waiting = collections.deque()
        self._task = None

    @property
    def queued(self):
        """The rows that wait."""
        return sum(rows for _, rows, _ in self.waiting)

    def warm_up(self):
        """Call the signature once at each size, if it takes blank inputs: another's strings may be of any format."""
        if not self.signature.batched:
            return
        with contextlib.suppress(tf.errors.OpError, _NotByRow):
            for n in range((self.max_batch - 1).bit_length() + 1):
                self._call([self.signature.blank(min(1 << n, self.max_batch))])

    async def ask(self, inputs):
        """Return {output name: array} for {input name: array}.

        Raises:
            Refused: if the network cannot compute it, as with a damaged image, it has too many rows, or too much waits.
        """
        rows = len(next(iter(inputs.values()))) if self.signature.batched else 1
        if rows > self.most:
            raise Refused(f"Expected at most {self.most:,} rows in a request to this signature. Received: {rows:,}.", 413)
        if self.queued + rows > _WAITING:
            raise Refused("The server is busy. Ask again later.", 503)
        if self.signature.batched:
            with contextlib.suppress(_NotByRow):
                return await self._ask_by_row(inputs, rows)
        return await self._submit(inputs, 1)

    async def _ask_by_row(self, inputs, rows):
        parts = [{name: array[i:i + self.max_batch] for name, array in inputs.items()} for i in range(0, rows, self.max_batch)]
        answers = await asyncio.gather(*(self._submit(part, len(next(iter(part.values())))) for part in parts))
        if len(answers) == 1:
            return answers[0]
        if not self.signature.batched:  # which was found after these had been cut
            raise _NotByRow
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _submit(self, inputs, rows):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((inputs, rows, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_all())
        return future

    async def _answer_all(self):
        while self.waiting:
            batch = self._next()
            answers = await asyncio.get_running_loop().run_in_executor(self.pool, self._answer, [item[0] for item in batch])
            for (_, _, future), answer in zip(batch, answers, strict=True):
                if future.done():  # its client is gone
                    continue
                future.set_exception(answer) if isinstance(answer, Exception) else future.set_result(answer)

    def _next(self):
        batch = [self.waiting.popleft()]
        rows = batch[0][1]
        while self.merge and self.waiting and rows + self.waiting[0][1] <= self.max_batch:
            batch.append(self.waiting.popleft())
            rows += batch[-1][1]
        self.seen(rows)
        return batch

    def _answer(self, requests):
        """The outputs for each of the requests, or the exception; what fails together is asked one by one."""
        try:
            return self._call(requests)
        except _NotByRow as error:
            return [error] * len(requests)
        except tf.errors.InvalidArgumentError as error:
            if len(requests) == 1:
                return [Refused(f"The network refuses this input: {_reason(error)}")]
        except Exception as error:  # whatever it is belongs to these requests, and the next ones are to be answered
            if len(requests) == 1:
                return [error]
        return [self._answer([request])[0] for request in requests]

    def _call(self, requests):
        if not self.signature.batched:
            return [self.signature(requests[0])]
        sizes = [len(next(iter(request.values()))) for request in requests]
        rows = sum(sizes)
        padding = min(1 << (rows - 1).bit_length(), self.max_batch) - rows
        inputs = {}
        for name in requests[0]:
            columns = [request[name] for request in requests]
            inputs[name] = np.concatenate([*columns, np.repeat(columns[-1][-1:], padding, axis=0)])
        outputs = self.signature(inputs)
        if any(len(value) != rows + padding for value in outputs.values()):
            self.signature.batched = self.merge = False
            raise _NotByRow
        places = [slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
        return [{name: value[place] for name, value in outputs.items()} for place in places]


def _reason(error):
    """The sentence of TensorFlow's that says it, without the names of nodes around it."""
    line = error.message.strip().splitlines()[0]
    return line.split("}} ", 1)[-1][:200]
