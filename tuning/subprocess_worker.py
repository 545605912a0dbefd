"""Starts the process of each trial, one ahead of need: it imports TensorFlow while the trial before it trains."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import zoo

_OURS = str(Path(zoo.__file__).parents[1])  # before the current folder, where another zoo may lie


class Worker:
    """Runs jobs of `zoo.tuning.job` one after another, each in a process of its own. A context manager.

    Args:
        data_dir: where TensorFlow Datasets keeps its files.
        log: whether the jobs' progress goes to standard output.
    """

    def __init__(self, data_dir=None, log=True):
        self.data_dir, self.log, self._next = data_dir, log, None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._next:
            _end(self._next)

    def run(self, job, folder, more=True, **told):
        """Do `job`, one of `zoo.tuning.job.JOBS`, in `folder`.

        Args:
            job: its name.
            folder: holds recipe.json and takes result.json.
            more: whether another job is likely to follow.
            **told: what the job wants besides.

        Returns:
            The content of result.json, a dict: status is "completed", with what the job returned, or "failed", with an
            error, one line, that says also what ended a process that could not say it itself.
        """
        process, self._next = self._next or self._start(), None
        try:
            order = {"job": job, "folder": str(folder), "data_dir": self.data_dir, "log": self.log, **told}
            try:
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            except BrokenPipeError:  # it has died already, of what its exit code says
                pass
            self._next = self._start() if more else None
            code = process.wait()
        finally:
            _end(process)
        if (folder / "result.json").exists():
            return json.loads((folder / "result.json").read_text())
        return {"status": "failed", "error": _cause(code, folder)}

    def _start(self):
        out = None if self.log else subprocess.DEVNULL
        path = os.pathsep.join(filter(None, (_OURS, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen([sys.executable, "-P", "-m", "zoo.tuning.job"], stdin=subprocess.PIPE, stdout=out,
                                stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": path})


def _end(process):
    process.kill()
    process.wait()
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass


def _cause(code, folder):
    """What ended a process that left no result."""
    if code < 0:
        memory = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
        return f"The process was ended by {signal.Signals(-code).name}{memory}."
    said = (folder / "stderr.txt").read_text(errors="replace").split("\n") if (folder / "stderr.txt").exists() else []
    last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
    return f"The process ended with the exit code {code}: {last}"
