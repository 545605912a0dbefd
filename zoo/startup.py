"""How a process of the zoo starts: quiet imports, the user's own modules, interrupts."""
import contextlib
import gc
import os
import signal
import sys

from zoo.errors import UserError

INTERRUPTED = "Interrupted. The same command goes on where this one stopped."


def add_current_folder():
    """Put the current folder first on Python's path, for builders of the user's own, `module:model`."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


@contextlib.contextmanager
def quiet_import():
    """Import TensorFlow without its start-up lines, and a quarter sooner: without looking for garbage among what stays.

    Raises:
        zoo.errors.UserError: if Keras is told to run on something else.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError(f"The zoo command needs Keras on TensorFlow. Received: KERAS_BACKEND={backend}.")
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
def quiet():
    """Keep what TensorFlow writes from C++, past every setting, off the terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def interrupts_seen():
    """Return a list that grows with every interrupt from the keyboard, which is raised as ever."""
    seen = []

    def handle(number, frame):
        seen.append(number)
        signal.default_int_handler(number, frame)
    signal.signal(signal.SIGINT, handle)
    return seen
