"""Shared by the subcommands of `zoo`: help, options, tables."""
import os
from collections.abc import Collection, Iterable
from pathlib import Path

import click

from zoo.errors import UserError, unknown

json_option = click.option("--json", "as_json", is_flag=True,
                           help="Print JSON for a program to read.")
data_dir_option = click.option("--data-dir", type=click.Path(), metavar="DIR",
                               help="The folder of TensorFlow Datasets.")


class Group(click.Group):
    """A group that answers a mistyped command with the nearest one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[
            str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise unknown("command", args[0], self.commands)
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


def check_writable(file: str | os.PathLike) -> None:
    """Raise UserError if `file` is a folder, or its parent does not exist, before the work."""
    if Path(file).is_dir():
        raise UserError(f"Cannot write {file}: it is a folder.")
    if not Path(file).absolute().parent.is_dir():
        raise UserError(f"Cannot write {file}: there is no such folder.")
