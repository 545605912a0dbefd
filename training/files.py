"""Files and folders that are complete or absent: atomic writes, .npz archives, locks, CSV."""
import contextlib
import csv
import io
import json
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from zoo.errors import UserError

EXPORT = ("saved_model.pb", "assets/card.json")  # an exported folder contains one of these
_LOCK = ".lock"
_PATIENCE = 5  # seconds to wait for a file that another process has open, on Windows


def write(path: str | os.PathLike, data: str | bytes) -> None:
    """Write `data` to `path` atomically: after a kill, the old or the new file is there, complete.

    Raises:
        OSError: if the disk is full or `path` cannot be written; the old file stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def replace(path: str | os.PathLike, to: str | os.PathLike) -> None:
    """Rename `path` to `to`; a file `to` is replaced.

    Windows refuses this while a process has either open, such as a virus scanner that reads new
    files or TensorBoard: then try again for a few seconds.

    Raises:
        OSError: if `path` cannot be renamed.
    """
    last = time.monotonic() + _PATIENCE
    while True:
        try:
            os.replace(path, to)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > last:
                raise
            time.sleep(0.05)


def packed(**arrays: Any) -> bytes:
    """Return the bytes of an .npz file of `arrays`."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def csv_text(header: Iterable, rows: Iterable[Iterable]) -> str:
    """Return a CSV table; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def read_utf8(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        zoo.errors.UserError: if the file cannot be read, or naming its first line with other bytes.
    """
    try:
        return decode_utf8(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None


def decode_utf8(data: bytes, path: Path) -> str:
    """Return the text in the bytes of `path`, without a byte-order mark; see `read_utf8`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save "
                        "the file as UTF-8.") from None


def read_json(file: Path) -> Any:
    """Return the content of a JSON file of a run directory.

    Raises:
        zoo.errors.UserError: if it is damaged.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(file, error) from None


@contextlib.contextmanager
def arrays_of(file: str | os.PathLike) -> Iterator:
    """Open an .npz file of a run directory, as `np.load` does.

    Raises:
        zoo.errors.UserError: if it is damaged or missing, or the caller reads an array that it
            does not contain.
    """
    try:
        with open(file, "rb") as opened, np.load(opened) as arrays:
            yield arrays
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(file, error) from None


def damaged(file: str | os.PathLike, error: Exception) -> UserError:
    """Return the UserError for a damaged or missing `file` of a run directory."""
    return UserError(f"Cannot read {file}: {type(error).__name__}. The run directory is damaged: "
                     "choose a new run directory, or delete it to train again.")


@contextlib.contextmanager
def locked(path: str | os.PathLike, busy: str = "") -> Iterator[None]:
    """Hold the lock file `path`. The operating system releases the lock of a killed process.

    Args:
        path: the lock file, created if it does not exist.
        busy: the message if another process holds the lock; "" waits for it.

    Raises:
        zoo.errors.UserError: if another process holds the lock and there is a message.
        OSError: if the file cannot be created.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0 if busy else -1)
    except filelock.Timeout:
        raise UserError(busy) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def replacing(to: str | os.PathLike, force: bool = False,
              marks: Sequence[str] = EXPORT) -> Iterator[Path]:
    """Yield a scratch directory whose folder `new` becomes `to` when the block ends without error.

    The scratch directory is `.NAME.tmp` beside `to`. If the process is killed, the scratch
    directory stays, and the old content of `to` is complete: in `to` or, after a kill between the
    two renames, in .NAME.tmp/old. The next call for the same `to` restores it and cleans up.

    Args:
        to: a path. Existing content is replaced only if `force`, and only if it has one of `marks`.
        force: whether to replace existing content.
        marks: names of files in `to`.

    Raises:
        zoo.errors.UserError: if existing content must not be replaced, another process is writing
            to `to`, or it cannot be written.
    """
    to = Path(to).absolute()
    scratch = to.parent / f".{to.name}.tmp"
    missing = [folder for folder in to.parents if not folder.exists()]
    busy = f"Another process is writing {to}. Wait for it, or choose another directory."
    try:
        if not scratch.exists():
            _check_replaceable(to, force, marks)  # before a folder is made
        scratch.mkdir(parents=True, exist_ok=True)
        try:
            with locked(scratch / _LOCK, busy):
                try:
                    _clean_up(scratch, to)
                    _check_replaceable(to, force, marks)
                    yield scratch
                    if to.exists():
                        replace(to, scratch / "old")
                    replace(scratch / "new", to)
                finally:
                    if to.exists() or not (scratch / "old").exists():
                        shutil.rmtree(scratch, ignore_errors=True)
        finally:
            with contextlib.suppress(OSError):  # on Windows a lock file stays until its release
                scratch.rmdir()
    except OSError as error:
        raise UserError(f"Cannot write {to}: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):  # not empty: `to` was written
            for folder in missing:
                folder.rmdir()


def _clean_up(scratch, to):
    """Restore `to` after a kill between the renames, and empty `scratch` but for the lock."""
    if (scratch / "old").exists() and not to.exists():
        replace(scratch / "old", to)
    for left in scratch.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != _LOCK:
            left.unlink()


def _check_replaceable(to, force, marks):
    if to.exists() and not force:
        raise UserError(f"{to} exists. Choose another directory, or replace it (--force; in Python "
                        "force=True).")
    if to.exists() and not any((to / mark).exists() for mark in marks):
        raise UserError(f"{to} is not an export, and nothing else is replaced. Choose another "
                        "directory.")
