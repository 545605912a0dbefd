"""What the subcommands of `zoo` share: help, options, tables."""
from pathlib import Path

import click

from zoo.errors import UserError, unknown

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
