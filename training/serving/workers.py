"""`zoo serve --workers`: several processes that accept connections from one socket.

This module imports no engine and no web server: the processes are forked before either starts.
"""
import collections
import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from zoo.errors import UserError

Serve = Callable[[Callable[[str], object], int], object]


def run(count: int, serve: Serve, log: Callable[[str], object]) -> None:
    """Serve in `count` processes until SIGTERM or SIGINT; one that dies is started again.

    Args:
        serve: called in each process with (log, a file descriptor that ends with this process). It
            logs once it is ready, and returns after SIGTERM or SIGINT.
        log: called with each line once every process has logged it.

    Raises:
        zoo.errors.UserError: if a process cannot start.
    """
    if not hasattr(os, "fork"):
        raise UserError("This system cannot fork processes. Expected --workers 1.")
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(_Workers(serve)) as workers:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            _watch(workers, count, log)


def _watch(workers: "_Workers", count: int, log: Callable[[str], object]) -> None:
    lines: collections.Counter[str] = collections.Counter()
    ready = set()
    for _ in range(count):
        workers.start()
    while True:
        ended: list[Any] = wait(list(workers.processes))
        for pipe in ended:
            try:
                line, is_error = pipe.recv()
            except EOFError:
                process = workers.end(pipe)
                if process.pid not in ready:
                    raise UserError("A worker ended before it was ready, with exit code "
                                    f"{process.exitcode}.") from None
                log(f"A worker ended with exit code {process.exitcode}. It is started again.")
                workers.start()
                continue
            if is_error:
                raise UserError(line)
            ready.add(workers.processes[pipe].pid)
            lines[line] += 1
            if lines[line] == count:
                log(line)
                del lines[line]


class _Workers:
    """The processes by the pipes that they log to."""

    def __init__(self, serve: Serve):
        self._serve, self._alive = serve, os.pipe()
        self.processes: dict[Any, Any] = {}

    def start(self) -> None:
        """Start a process."""
        context: Any = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=self._work, args=(sender,))
        process.start()
        sender.close()  # so that the pipe ends with the process
        self.processes[receiver] = process

    def _work(self, sender: Connection) -> None:
        os.close(self._alive[1])  # which only the parent keeps open
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            self._serve(lambda line: sender.send((line, False)), self._alive[0])
        except UserError as error:
            sender.send((str(error), True))
        except KeyboardInterrupt:
            pass  # while it started

    def end(self, pipe: Connection) -> Any:
        """Wait for the process of a pipe that has ended; return it."""
        process = self.processes.pop(pipe)
        process.join()
        pipe.close()
        from prometheus_client.multiprocess import mark_process_dead
        mark_process_dead(process.pid)  # what waited in it waits no longer
        return process

    def close(self) -> None:
        """Stop all processes; they finish the accepted requests."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join()
        for descriptor in self._alive:
            os.close(descriptor)
