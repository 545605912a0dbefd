"""The `zoo` command."""
import sys

import click

from zoo import __version__
from zoo.commands import explain, look, serve, ship, train, tune
from zoo.console import INTERRUPTED, Group, example, interrupts_seen, look_here
from zoo.errors import UserError


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
             epilog=example("zoo train lenet5-digits --run runs/digits", "zoo export runs/digits"))
@click.version_option(__version__, prog_name="zoo")
def cli():
    """The classic networks: exact to their papers, trained on real data, exported with one command."""


for _command in (look.list_models, look.info, look.recipes, train.train, train.doctor, train.evaluate, tune.tune,
                 ship.predict, ship.export, serve.serve, explain.explain):
    cli.add_command(_command)


def main(args=None):
    """Run the command; a user's mistake is one line on stderr and the exit code 1 (failure) or 2 (usage)."""
    look_here()
    interrupts = interrupts_seen()
    try:
        return cli.main(args, prog_name="zoo", standalone_mode=False) or 0
    except UserError as error:
        code, message = error.exit_code, str(error)
    except click.ClickException as error:
        code, message = error.exit_code, error.format_message()
    except (KeyboardInterrupt, click.Abort):
        code, message = 130, INTERRUPTED
    except Exception:  # TensorFlow turns an interrupt while it traces a graph into errors of its own
        if not interrupts:
            raise
        code, message = 130, INTERRUPTED
    click.echo("zoo: " + " ".join(message.split()), err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
