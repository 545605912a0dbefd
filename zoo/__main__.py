"""The `zoo` command."""
import errno
import os
import sys
from collections.abc import Sequence

import click

from zoo import __version__
from zoo.cli import explain, export, list, serve, share, train, tune
from zoo.cli.console import Group, example
from zoo.errors import UserError
from zoo.startup import (
    INTERRUPTED,
    add_current_folder,
    escape_unencodable,
    record_interrupts,
)


@click.group(cls=Group, invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...",
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
             epilog=example("zoo train lenet5-digits --run runs/digits",
                            "zoo export runs/digits"))
@click.version_option(__version__, prog_name="zoo")
@click.pass_context
def cli(context: click.Context) -> None:
    """The classic networks: exact to their papers, trained on real data, exported with one command.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (list.list_models, list.info, list.draw, list.recipes, train.train, train.doctor,
                 train.evaluate, tune.tune, export.predict, export.export, serve.serve,
                 explain.explain, share.publish):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    A user's mistake is one line on stderr and the exit code 1 (failure) or 2 (usage).
    """
    add_current_folder()
    escape_unencodable()
    interrupts = record_interrupts()
    try:
        code = cli.main(args, prog_name="zoo", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        explained = _explain(error, interrupts, sys.argv[1:] if args is None else args)
        if not explained:
            raise
    code, message = explained
    click.echo("zoo: " + " ".join(message.split()), err=True)
    return code


def _explain(error, interrupts, args):
    """Return the exit code and message for an error; None for an error of the program itself."""
    if isinstance(error, UserError):
        return error.exit_code, str(error)
    if isinstance(error, click.ClickException):
        return error.exit_code, error.format_message()
    # TensorFlow turns an interrupt during tracing into errors of its own.
    if interrupts or isinstance(error, (KeyboardInterrupt, click.Abort)):
        return 130, INTERRUPTED if args[:1] in (["train"], ["tune"]) else "Interrupted."
    if isinstance(error, OSError) and _is_of_output(error):
        # Otherwise Python fails once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.__stdout__ or sys.stdout).fileno())
        return 1, f"Cannot write the output: {error.strerror}."
    return None


def _is_of_output(error):
    """Whether the disk is full or nobody reads the output any more, which Windows calls EINVAL."""
    return error.errno in (errno.ENOSPC, errno.EPIPE) or (
        os.name == "nt" and error.errno == errno.EINVAL and error.filename is None)


if __name__ == "__main__":
    sys.exit(main())
