"""Runs jobs in processes of their own: a new one for each training, one for all checks."""
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self, TextIO

import zoo
from zoo.startup import choose_onednn

# First on the path of the processes: the current folder may hold another zoo.
_PACKAGE = str(Path(zoo.__file__).parents[1])


class Worker:
    """Runs the jobs of `zoo.tuning.job`, one after another. A context manager.

    The process of the next training starts early: it imports TensorFlow while this one trains.

    Args:
        data_dir: where TensorFlow Datasets keeps its files.
        log: whether the progress of the trainings goes to standard output.
        onednn: see `zoo.startup.choose_onednn`.
    """

    def __init__(self, data_dir: str | None = None, log: bool = True, onednn: bool | None = True):
        self.options, self.onednn = {"data_dir": data_dir, "log": log}, onednn
        self._next: subprocess.Popen | None = None
        self._checker: tuple[subprocess.Popen, TextIO] | None = None
        self._sizes: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        if self._next:
            _end(self._next)
        self._end_checker()

    def run(self, job: str, folder: Path, more: bool = True, **kwargs: Any) -> dict[str, Any]:
        """Do a job in a process of its own.

        Args:
            job: "search" or "train".
            folder: holds recipe.json and receives result.json.
            more: whether another job is likely to follow.
            **kwargs: further arguments of the job.

        Returns:
            The content of result.json: status is "completed", with what the job returned, or
            "failed", with an error, one line, which also describes a crash of the process.
        """
        process, self._next = self._next or self._start_training(), None
        try:
            _send(process, {"job": job, "folder": str(folder), **self.options, **kwargs})
            self._next = self._start_training() if more else None
            code = process.wait()
        finally:
            _end(process)
        if (folder / "result.json").exists():
            return json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return {"status": "failed", "error": _cause(code, folder)}

    def check(self, folder: Path, **kwargs: Any) -> dict[str, Any]:
        """Do the job "check" for the recipe in `folder`; see `run` for the result."""
        return self._ask({"job": "check", "folder": str(folder), **self.options, **kwargs}, folder)

    def size(self, model: str, args: dict[str, Any]) -> dict[str, Any]:
        """Do the job "size" for a network; see `run` for the result. It is kept for next time."""
        key = json.dumps([model, args], sort_keys=True)
        if key not in self._sizes:  # most hyperparameters do not change the network
            self._sizes[key] = self._ask({"job": "size", "model": model, "args": args})
        return self._sizes[key]

    def _ask(self, job, folder=None):
        """Have the process of the checks do a job; start it again once if it has died."""
        for _ in range(2):
            self._checker = self._checker or self._start_checker()
            process, answers = self._checker
            _send(process, job)
            if line := answers.readline():
                return json.loads(line)
            code = process.wait()
            self._end_checker()
        return {"status": "failed", "error": _cause(code, folder)}

    def _start_training(self):
        return self._start(stdout=None if self.options["log"] else subprocess.DEVNULL)

    def _start_checker(self):
        process = self._start("--jobs", stdout=subprocess.PIPE)
        return process, process.stdout

    def _end_checker(self):
        if self._checker:
            process, answers = self._checker
            _end(process)
            answers.close()
            self._checker = None

    def _start(self, *args, stdout=None):
        path = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        choose_onednn(self.onednn, environment)
        return subprocess.Popen([sys.executable, "-P", "-m", "zoo.tuning.job", *args],
                                stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.DEVNULL,
                                encoding="utf-8", env=environment)


def _send(process, job):
    with _died():  # its exit code tells why
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()


def _end(process):
    process.kill()
    process.wait()
    with _died():
        process.stdin.close()


@contextlib.contextmanager
def _died():
    """Suppress the error of writing to a process that has died: EPIPE, on Windows EINVAL."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise


def _cause(code, folder):
    """Return why a process ended without a result, as one line."""
    if code < 0:
        name = signal.Signals(-code).name
        if name == "SIGKILL":
            name += ", as the system does when memory runs out"
        return f"The process was ended by {name}."
    file = folder / "stderr.txt" if folder else None
    lines = []
    if file and file.exists():
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    return f"The process ended with the exit code {code}: {last}"
