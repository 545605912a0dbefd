"""The run directory: one training's recipe, checkpoint, results and pictures, each file whole or absent."""
import contextlib
import fcntl
import json
from pathlib import Path

from zoo.errors import UserError
from zoo.training import recipes
from zoo.training.files import read_json


@contextlib.contextmanager
def claim(path, recipe):
    """Hold the run directory `path` for `recipe` against a second process; create it if it is not there.

    A directory that was created and got no recipe.json, because the training could not start, is removed again.

    Raises:
        zoo.errors.UserError: if it cannot be written, holds anything but this recipe's run, or another process is in it.
    """
    path = Path(path)
    created = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / ".lock", "w")
    except OSError as error:
        raise UserError(f"Cannot write the run directory {path}: {error.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"Another process is training in {path}. Choose another --run, or wait for it.") from None
        try:
            refuse_foreign(path, recipe)
            yield path
        finally:
            if not (path / "recipe.json").exists():
                (path / ".lock").unlink()
                with contextlib.suppress(OSError):  # not empty: something else was put there meanwhile
                    for folder in created:
                        folder.rmdir()


def refuse_foreign(path, recipe):
    """Raise UserError if the directory `path` holds anything but a run of `recipe`; hidden files do not count."""
    if not (path / "recipe.json").exists():
        foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if foreign:
            raise UserError(f"{path} is no run directory: it holds {foreign[0]!r} and no recipe.json. Choose a new --run.")
        return
    there, here = (json.loads(text) for text in (recipes.read(path / "recipe.json").to_json(), recipe.to_json()))
    changed = [f"{key} is {there[key]!r} there, {here[key]!r} here" for key in here if there[key] != here[key]]
    if changed:
        raise UserError(f"{path} holds a run of another recipe ({changed[0]}). Choose another --run, or delete it.")


def results(path):
    """Return the metrics.json of a finished run as a dict.

    Raises:
        zoo.errors.UserError: if `path` is no run directory, or its training has not finished.
    """
    path = Path(path)
    if not (path / "recipe.json").is_file():
        raise UserError(f"{path} is no run directory: it has no recipe.json. `zoo train RECIPE --run {path}` makes one.")
    if not (path / "metrics.json").is_file():
        raise UserError(f"The training in {path} has not finished. Run its `zoo train` command again to go on.")
    return read_json(path / "metrics.json")
