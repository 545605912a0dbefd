"""Shared by the subcommands of `zoo`: help, options, tables, progress."""
import contextlib
import difflib
import functools
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.errors import UsageError, UserError, unknown
from zoo.startup import check_backend

if TYPE_CHECKING:
    from zoo.training.recipe import Recipe

json_option = click.option("--json", "as_json", is_flag=True,
                           help="Print JSON for a program to read.")
data_dir_option = click.option("--data-dir", type=click.Path(), metavar="DIR",
                               help="The folder of TensorFlow Datasets.")


_PROGRESS_SECONDS = 30  # between two plain lines
_OPTIONS = ("--version", "--help")
_EXPORT = ("saved_model.pb", "assets/card.json")  # one of them is in every export
_SYNONYMS = {"version": "--version", "help": "--help", "fit": "train", "run": "train",
             "test": "evaluate", "eval": "evaluate", "score": "evaluate", "models": "list",
             "ls": "list", "networks": "list", "show": "info", "summary": "info",
             "search": "tune", "infer": "predict", "classify": "predict", "label": "predict",
             "save": "export", "convert": "export", "deploy": "serve", "check": "doctor",
             "visualize": "explain", "plot": "draw", "diagram": "draw"}


class Command(click.Command):
    """A command that answers a stray word, or an unknown option, with what may be meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True  # they are refused below
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            self._explain_setting(error.option_name)
            raise
        if ctx.args and not ctx.resilient_parsing:
            raise self._stray(ctx)
        return rest

    @property
    def _options(self):
        return {option for param in self.params for option in param.opts}

    def _explain_setting(self, option):
        """Raise UsageError if an unknown `option` is a setting's name."""
        if "--set" not in self._options:
            return
        from zoo.settings import SYNONYMS
        from zoo.training.recipe import Recipe
        name = option.lstrip("-").replace("-", "_")
        name = SYNONYMS.get(name, name)
        if name in Recipe.__dataclass_fields__ or name in SYNONYMS.values():
            raise UsageError(f"There is no option {option}: it is a setting, "
                             f"--set {name}=VALUE.")

    def _stray(self, ctx):
        """Return the error for a word behind the last argument."""
        word, options = ctx.args[0], self._options
        head = f"Unexpected argument {word!r}."
        for setting in ctx.params.get("settings", ()):  # which the shell splits at spaces
            name, _, value = setting.partition("=")
            if value.count("{") > value.count("}"):
                return UsageError(f"{head} A setting with spaces needs quotes: --set "
                                  f"\"{name}={{'shift': 2}}\".")
            if not value:
                value = next((other for other in ctx.args if other != "="), "").lstrip("=")
                return UsageError(f"{head} A setting has no spaces: --set {name}={value}.")
        if "=" in word and "--set" in options:
            return UsageError(f"{head} Settings need --set: --set {word}.")
        if "--data" in options and ctx.params.get("name") and is_trainable(word):
            return UsageError(f"{head} The network comes first: zoo {ctx.info_name} {word} --data "
                              f"{ctx.params['name']}.")
        for option in ("--data", "--image"):
            if option in options and not ctx.params.get(option[2:]):
                return UsageError(f"{head} Did you mean {option} {word}?")
        return UsageError(f"{head} `zoo {ctx.info_name} --help` shows what is expected.")


command = functools.partial(click.command, cls=Command)


class Count(click.ParamType):
    """A whole number above 0, which may end in k, M or G: 10k is 10,000."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> int:
        number, unit = str(value).replace(",", "").replace("_", ""), 1
        if number[-1:].lower() in _UNITS:
            unit, number = _UNITS[number[-1].lower()], number[:-1]
        try:
            count = Fraction(number) * unit
        except (ValueError, ZeroDivisionError):
            count = Fraction(0)
        if count < 1 or count.denominator > 1:
            self.fail(f"expected a number such as 10000, 10k or 1.5M, received {value!r}.", param,
                      ctx)
        return int(count)


_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


class Group(click.Group):
    """A group that answers a mistyped command with the nearest one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[
            str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise unknown("command", args[0], [*self.commands, *_OPTIONS], _SYNONYMS)
        return super().resolve_command(ctx, args)


def example(*lines: str) -> str:
    """Return the epilogue of a command's help: its examples, not wrapped."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def table(head: Iterable, rows: Iterable[Iterable], right: Collection[int] = (),
          width: int | None = None) -> None:
    """Print rows in aligned columns.

    Args:
        right: the indices of the columns that are right-aligned.
        width: in characters; columns of a wider table have one space between them, not two.
    """
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    gap = 2 if width is None or sum(widths) + 2 * (len(widths) - 1) <= width else 1
    for row in cells:
        line = [cell.rjust(size) if i in right else cell.ljust(size)
                for i, (cell, size) in enumerate(zip(row, widths, strict=True))]
        click.echo((" " * gap).join(line).rstrip())


@contextlib.contextmanager
def counter(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows progress on stderr.

    It shows a bar on a terminal, and a line every half minute elsewhere.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    console = Console(stderr=True, quiet=quiet, highlight=False)
    printed = time.monotonic()
    columns = BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what)
    # Up to version 14.2, rich ends a disabled bar with an empty line.
    with bar if console.is_terminal and not quiet else contextlib.nullcontext():
        def count(done, total):
            nonlocal printed
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and time.monotonic() - printed > _PROGRESS_SECONDS:
                printed = time.monotonic()
                console.print(f"  {done:,} of {total:,} {what}")
        yield count


def check_trained(name_or_path: str, or_export: bool = False) -> None:
    """Raise UserError if this can be no trained network, before TensorFlow is imported.

    Args:
        or_export: whether it may be an export, or a file of one, too.
    """
    from zoo import catalog, hub
    from zoo.training.run_dir import is_run, results
    path = Path(name_or_path)
    if hub.is_address(name_or_path):
        hub.parse(name_or_path)
    elif not is_run(name_or_path):
        catalog.check_trained(name_or_path)
    elif not path.exists():
        advice = f" `zoo train RECIPE --run {name_or_path}` trains a network there."
        raise UserError(f"{name_or_path} does not exist.{_near(path) or advice}")
    elif path.is_file() and not (or_export and path.suffix in (".tflite", ".onnx")):
        kinds = "a run directory, an export," if or_export else "a run directory"
        raise UserError(f"{name_or_path} is a file. Expected {kinds} or the name of a trained "
                        "network, such as lenet5-mnist.")
    elif path.is_dir() and not (or_export and any((path / mark).exists() for mark in _EXPORT)):
        results(path)  # raises the error for what is no finished run


def is_trainable(name: str) -> bool:
    """Return whether `name` is that of a network or a recipe."""
    from zoo import catalog
    from zoo.training.recipes import RECIPES
    return name in catalog.names() or name in RECIPES


def check_files(files: Iterable[str], advice: str = "") -> None:
    """Raise UserError if one of `files` does not exist, before TensorFlow is imported.

    Args:
        advice: what else might be meant by a name with spaces.
    """
    check_backend()
    for file in map(Path, files):
        if not file.exists():
            hint = _near(file) or (advice if " " in file.name else "")
            raise UserError(f"Cannot read {file}: No such file or directory.{hint}")


def _near(path):
    """" Did you mean 'runs/digits'?" of a path that does not exist, or ""."""
    inside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, inside, 1)
    return f" Did you mean {str(path.parent / near[0])!r}?" if near else ""


def check_run_path(run: str, recipe: "Recipe | None" = None) -> None:
    """Raise UserError if no directory `run` can be made, before TensorFlow is imported.

    Args:
        recipe: if given, what `run` may contain a training by.
    """
    for path in (Path(run), *Path(run).parents):
        if path.exists():
            reason = f"{path} is a file" if path.is_file() else "Permission denied"
            if not path.is_dir() or not os.access(path, os.W_OK):
                raise UserError(f"Cannot write the run directory {run}: {reason}.")
            break
    if recipe and Path(run).is_dir():
        from zoo.training import run_dir
        run_dir.check_run(Path(run), run_dir.as_begun(recipe, run))


def check_data(recipe: "Recipe", data_dir: str | None, named: bool) -> None:
    """Raise UserError for missing or wrong data of `recipe`, before TensorFlow is imported.

    Its weights and word vectors must exist, and its settings be for what its network takes.

    Args:
        named: whether the user named the data; otherwise the message says who did.
    """
    from zoo.factory import check_weights
    from zoo.training.data.names import check_name
    from zoo.training.recipe import check_kind
    check_kind(recipe)
    if recipe.vectors:
        check_files([recipe.vectors])
    if isinstance(recipe.model_args.get("weights"), str):
        check_weights(recipe.model_args["weights"])
    if recipe.teacher:
        check_trained(recipe.teacher)
    try:
        check_name(recipe.data, data_dir)
    except UsageError as error:
        if named:
            raise
        raise UserError(f"{recipe.name} trains on {recipe.data}, which is not here. Name the place "
                        f"where it is: --data PATH/{Path(recipe.data).name}.") from error


def check_free(export: str) -> None:
    """Raise UserError if `export` exists and is no export, which might be the same one."""
    if Path(export).exists() and not any((Path(export) / mark).exists() for mark in _EXPORT):
        raise UserError(f"{export} exists. Choose another directory.")


def check_writable(file: str | os.PathLike) -> None:
    """Raise UserError if `file` is a folder, or its parent does not exist, before the work."""
    if Path(file).is_dir():
        raise UserError(f"Cannot write {file}: it is a folder.")
    if not Path(file).absolute().parent.is_dir():
        raise UserError(f"Cannot write {file}: there is no such folder.")
