"""What the zoo command's subcommands share: help, tables, and a quiet TensorFlow."""
import contextlib
import gc
import importlib
import os
import signal
import sys
from pathlib import Path

import click

from zoo.errors import UserError, unknown


INTERRUPTED = "Interrupted. The same command goes on where this one stopped."


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
data_dir_option = click.option("--data-dir", type=click.Path(), metavar="DIR",
                               help="Where TensorFlow Datasets keeps its files.")


class Group(click.Group):
    """A group that answers a mistyped command with the nearest one."""

    def resolve_command(self, ctx, args):
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def example(*lines):
    """Return the epilogue of a command's help: its examples, unwrapped."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def table(head, rows, right=()):
    """Print rows in columns as wide as they need, the columns `right` flush right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = (cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        click.echo("  ".join(line).rstrip())


def refuse_unwritable(file):
    """Raise UserError if `file` is a folder or would lie in none; a command tells it before the work, not after it."""
    if Path(file).is_dir() or not Path(file).absolute().parent.is_dir():
        raise UserError(f"Cannot write {file}: {'it is a folder' if Path(file).is_dir() else 'there is no such folder'}.")


def look_here():
    """Have a builder of the user's own, `module:model`, looked for in the current folder, whatever else lies there.

    A folder called training would else be taken for the package that an editable install finds last.
    """
    for package in ("training", "tuning"):
        importlib.import_module(package)
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
