"""How a process of the zoo starts: quiet imports, the user's own modules, interrupts."""
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator

from zoo.errors import UserError

INTERRUPTED = "Interrupted. Run the same command again to resume."


def add_current_folder() -> None:
    """Put the current folder first on Python's path, for the user's own builders, module:model."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Import TensorFlow without its start-up messages, and without garbage collection.

    Garbage collection during the import would take a quarter of its time and free nothing.

    Raises:
        zoo.errors.UserError: if KERAS_BACKEND selects another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError("The zoo command needs Keras on TensorFlow. Received: "
                        f"KERAS_BACKEND={backend}.")
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


def record_interrupts() -> list[int]:
    """Return a list to which each keyboard interrupt is added; it is raised as usual."""
    interrupts = []

    def handle(number, frame):
        interrupts.append(number)
        signal.default_int_handler(number, frame)
    signal.signal(signal.SIGINT, handle)
    return interrupts
