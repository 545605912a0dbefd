"""The run directory: the recipe, checkpoint, results and pictures of one training."""
import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

from zoo import hub
from zoo.errors import UserError
from zoo.training.files import locked, read_json
from zoo.training.recipe import Recipe, has_background, read


@contextlib.contextmanager
def claim(path: str | os.PathLike, recipe: Recipe) -> Iterator[Path]:
    """Lock the run directory `path` for a training by `recipe`; create it if it does not exist.

    A new directory is removed again if the training could not start and wrote no recipe.json.

    Raises:
        zoo.errors.UserError: if it cannot be written, contains anything but a run of this recipe,
            or another process is training in it.
    """
    path = Path(path)
    created = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    busy = f"Another process is training in {path}. Choose another run directory, or wait for it."
    try:
        with contextlib.ExitStack() as stack:
            try:
                path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(path / ".lock", busy))
            except OSError as error:
                raise UserError(f"Cannot write the run directory {path}: {error.strerror}."
                                ) from None
            try:
                check_run(path, recipe)
                yield path
            finally:
                if not (path / "recipe.json").exists():
                    with contextlib.suppress(OSError):  # Windows deletes it when it is released
                        (path / ".lock").unlink()
    finally:
        if not os.path.exists(path / "recipe.json"):
            with contextlib.suppress(OSError):  # not empty: it contains other files
                for folder in created:
                    folder.rmdir()


def check_run(path: Path, recipe: Recipe) -> None:
    """Raise UserError if `path` contains anything but a run of `recipe`, or hidden files."""
    if not (path / "recipe.json").exists():
        others = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if others:
            raise UserError(f"{path} is not a run directory: it contains {others[0]!r} and no "
                            "recipe.json. Choose a new run directory (--run; in Python run=).")
        return
    there, here = (json.loads(each.to_json()) for each in (read(path / "recipe.json"), recipe))
    if not has_background(path / "recipe.json"):  # manifest.json tells if it makes a difference
        del here["background"]
    for key in here:
        if there[key] != here[key]:
            raise UserError(f"{path} contains a run of another recipe ({key} is {there[key]!r} "
                            f"there, {here[key]!r} here). Choose another run directory (--run; in "
                            "Python run=), or delete it.")


def as_begun(recipe: Recipe, path: str | os.PathLike[str]) -> Recipe:
    """Return `recipe` as the version understood it that began the run or search in `path`.

    Versions before 0.2 had no min_steps.
    """
    file = Path(path) / "recipe.json"
    if recipe.min_steps and file.is_file() and "min_steps" not in read_json(file):
        return dataclasses.replace(recipe, min_steps=0)
    return recipe


def is_run(name_or_path: str | os.PathLike[str]) -> bool:
    """Return whether this is a path, not a name: it exists, or has several parts."""
    path = Path(name_or_path)
    return path.exists() or (path.name != str(name_or_path) and not hub.is_address(name_or_path))


def started_with_onednn(run: str | os.PathLike) -> bool | None:
    """Return whether the training, the first fold or the search in `run` began with oneDNN.

    True if none has begun; None, for TensorFlow's default, if version 0.1 began it.
    """
    for name in ("manifest.json", "search.json", "fold0/manifest.json"):
        file = Path(run) / name
        if os.path.exists(file):  # False, not an error, for a path that cannot be read
            return read_json(file).get("onednn")
    return True


def results(path: str | os.PathLike) -> dict:
    """Return the content of metrics.json of a finished run.

    Raises:
        zoo.errors.UserError: if `path` is not a run directory, or its training is not finished.
    """
    path = Path(path)
    if (path / "search.json").is_file():
        raise UserError(f"{path} is a search. `zoo tune` with --refit trains its best network, in "
                        f"{path / 'kept'}.")
    if any((path / mark).is_file() for mark in ("saved_model.pb", "assets/card.json")):
        raise UserError(f"{path} is an export. Name the run that was exported.")
    if not (path / "recipe.json").is_file():
        raise UserError(f"{path} is not a run directory: it has no recipe.json. "
                        f"`zoo train RECIPE --run {path}` creates one.")
    if not (path / "metrics.json").is_file():
        raise UserError(f"The training in {path} is not finished. Run its `zoo train` command "
                        "again to resume it.")
    return read_json(path / "metrics.json")
