"""How a process of the zoo starts: quiet imports, the user's own modules, interrupts."""
import contextlib
import gc
import io
import logging
import os
import platform
import signal
import sys
from collections.abc import Iterator, MutableMapping

from zoo.errors import UserError

INTERRUPTED = "Interrupted. Run the same command again to resume."
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # "1": use oneDNN, "0": do not, "": TensorFlow's default
_ONEDNN_MACHINES = ("x86_64", "AMD64")  # where it was measured
_USERS_CHOICE = os.environ.get(ONEDNN)


def add_current_folder() -> None:
    """Put the current folder first on Python's path, for the user's own builders, module:model."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def choose_onednn(on: bool | None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose whether TensorFlow uses oneDNN's kernels: before its import, which reads $ONEDNN.

    TensorFlow's default on x86 is to use them only on Linux and on processors with AVX512-VNNI or
    later instructions. Elsewhere they make a training step and a batch up to twice as fast, but
    one small image slower (benchmarks/onednn.json). Results differ in their last bits. The user's
    own $TF_ENABLE_ONEDNN_OPTS is kept.

    Args:
        on: None for TensorFlow's default.
        environment: of this process, or of one to be started.
    """
    if _USERS_CHOICE is None and platform.machine() in _ONEDNN_MACHINES:
        environment[ONEDNN] = "" if on is None else str(int(on))


def prefer_onednn() -> None:
    """Have TensorFlow use oneDNN, unless this process has chosen already.

    If TensorFlow was imported before without it, print a line on stderr.
    """
    if ONEDNN in os.environ:
        return
    if "tensorflow" not in sys.modules:
        choose_onednn(True)
    elif platform.machine() in _ONEDNN_MACHINES and not uses_onednn():
        print("TensorFlow was imported before zoo.training and does not use oneDNN, with which "
              f"training is faster: import zoo.training first, or set {ONEDNN}=1.",
              file=sys.stderr, flush=True)


def uses_onednn() -> bool:
    """Return whether the imported TensorFlow uses oneDNN's kernels."""
    from tensorflow.python.util import _pywrap_util_port  # TensorFlow has no public function
    return _pywrap_util_port.IsMklEnabled()


def check_backend() -> None:
    """Raise UserError if KERAS_BACKEND selects another backend than TensorFlow."""
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError("The zoo command needs Keras on TensorFlow. Received: "
                        f"KERAS_BACKEND={backend}.")


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Import TensorFlow without its start-up messages, and without garbage collection.

    Garbage collection during the import would take a quarter of its time and free nothing.

    Raises:
        zoo.errors.UserError: if KERAS_BACKEND selects another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    check_backend()
    if "tensorflow" in sys.modules:
        yield
        return
    gc.disable()
    try:
        with quiet():
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard stderr, including what TensorFlow's C++ code writes regardless of its log level."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def quiet_retracing() -> Iterator[None]:
    """Discard TensorFlow's warnings that a function is traced again: each network has its own."""
    def other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()
    logger = logging.getLogger("tensorflow")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def escape_unencodable() -> None:
    """Let stdout write characters that its encoding lacks as escapes, such as \\u1ead.

    On Windows, what goes to a file or a pipe is encoded in the code page, which has few characters.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def record_interrupts() -> list[int]:
    """Return a list to which each keyboard interrupt is added; it is raised as usual."""
    interrupts = []

    def handle(number, frame):
        interrupts.append(number)
        signal.default_int_handler(number, frame)
    signal.signal(signal.SIGINT, handle)
    return interrupts
