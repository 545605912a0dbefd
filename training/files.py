"""Files written whole or not at all: single files, .npz archives and directories."""
import contextlib
import csv
import fcntl
import io
import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np

from zoo.errors import UserError


def write(path, data):
    """Write text or bytes to `path` so that a reader, or a kill at any instant, sees the old file or the new, whole."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:  # a full disk: what was there stays, and the space is given back
        temporary.unlink(missing_ok=True)
        raise


def csv_text(header, rows):
    """Return a CSV table as a str, with Unix line ends; None becomes an empty cell.

    Args:
        header: the names of the columns.
        rows: an iterable of sequences as long as `header`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def packed(**arrays):
    """Return the bytes of an .npz file of `arrays`."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()



def read_json(file):
    """Return what a JSON file of a run directory holds.

    Raises:
        zoo.errors.UserError: if it is damaged.
    """
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise damaged(file, error) from None


@contextlib.contextmanager
def arrays_of(file):
    """Open an .npz file of a run directory, as `np.load` does.

    Raises:
        zoo.errors.UserError: if it is damaged or missing, or lacks an array that is asked for.
    """
    try:
        with open(file, "rb") as opened, np.load(opened) as arrays:
            yield arrays
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(file, error) from None


def damaged(file, error):
    """Return the UserError for a `file` of a run directory that is not there whole."""
    return UserError(f"Cannot read {file}: {type(error).__name__}. The run directory is damaged: choose a new --run, or "
                     "delete it to train again.")



EXPORT = ("saved_model.pb", "assets/card.json")  # what an export has, one or the other


@contextlib.contextmanager
def replacing(to, force=False, marks=EXPORT):
    """Yield a directory to write in; its folder `new` becomes `to` at the end, or nothing happens if an error came.

    The directory is `.NAME.tmp` beside `to`. A kill leaves it behind, and what stood in `to` whole: in its place or, if the
    kill fell between the two renames, as .NAME.tmp/old. The next call for the same `to` puts that back and clears up.

    Args:
        to: a path. What is there is replaced only if `force`, and only if it has one of `marks`.
        marks: names of files in `to`.

    Raises:
        zoo.errors.UserError: if something is there that may not be replaced, another process is writing there, or it cannot
            be written.
    """
    to = Path(to).absolute()
    scratch, missing = to.parent / f".{to.name}.tmp", [folder for folder in to.parents if not folder.exists()]
    try:
        if not scratch.exists():
            _refuse_existing(to, force, marks)  # before a folder is made
        scratch.mkdir(parents=True, exist_ok=True)
        with _held(scratch, to):
            try:
                _clear_up(scratch, to)
                _refuse_existing(to, force, marks)
                yield scratch
                if to.exists():
                    os.rename(to, scratch / "old")
                os.rename(scratch / "new", to)
            finally:
                if to.exists() or not (scratch / "old").exists():
                    shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(f"Cannot write {to}: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):  # not empty: it was written
            for folder in missing:
                folder.rmdir()


@contextlib.contextmanager
def _held(folder, to):
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"Another process is writing {to}. Wait for it, or choose another --to.") from None
    finally:
        os.close(handle)


def _clear_up(scratch, to):
    """Undo what a kill has left."""
    if (scratch / "old").exists() and not to.exists():
        os.rename(scratch / "old", to)
    for left in scratch.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _refuse_existing(to, force, marks):
    if to.exists() and not force:
        raise UserError(f"{to} exists. Choose another --to, or replace it with --force.")
    if to.exists() and not any((to / mark).exists() for mark in marks):
        raise UserError(f"{to} is no export, and --force replaces nothing else. Choose another --to.")
