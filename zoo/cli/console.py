"""Shared by the subcommands of `zoo`: help, options, tables."""
import os
from collections.abc import Collection, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from zoo.errors import UserError, unknown

json_option = click.option("--json", "as_json", is_flag=True,
                           help="Print JSON for a program to read.")
data_dir_option = click.option("--data-dir", type=click.Path(), metavar="DIR",
                               help="The folder of TensorFlow Datasets.")


_OPTIONS = ("--version", "--help")
_SYNONYMS = {"version": "--version", "help": "--help", "fit": "train", "run": "train",
             "test": "evaluate", "eval": "evaluate", "score": "evaluate", "models": "list",
             "ls": "list", "networks": "list", "show": "info", "summary": "info",
             "search": "tune", "infer": "predict", "classify": "predict", "label": "predict",
             "save": "export", "convert": "export", "deploy": "serve", "check": "doctor",
             "visualize": "explain"}


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


def table(head: Iterable, rows: Iterable[Iterable], right: Collection[int] = ()) -> None:
    """Print rows in aligned columns; the columns with an index in `right` are right-aligned."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = [cell.rjust(width) if i in right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        click.echo("  ".join(line).rstrip())


def check_trained(name_or_path: str) -> None:
    """Raise UserError if this is no path and no trained network, before TensorFlow is imported."""
    from zoo import shipped
    from zoo.training.run_dir import is_run
    if not is_run(name_or_path):
        shipped.check_name(name_or_path)
    elif not Path(name_or_path).exists():
        raise UserError(f"{name_or_path} does not exist. `zoo train RECIPE --run {name_or_path}` "
                        "trains a network there.")


def check_writable(file: str | os.PathLike) -> None:
    """Raise UserError if `file` is a folder, or its parent does not exist, before the work."""
    if Path(file).is_dir():
        raise UserError(f"Cannot write {file}: it is a folder.")
    if not Path(file).absolute().parent.is_dir():
        raise UserError(f"Cannot write {file}: there is no such folder.")
