"""Answering over HTTP: `zoo serve`."""
import click

from zoo.cli.console import example
from zoo.errors import UserError
from zoo.startup import quiet_import


@click.command(epilog=example("zoo serve saved_models/lenet5-digits", "zoo serve saved_models --port 80 --host 0.0.0.0"))
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--max-batch", type=click.IntRange(1, 4096), default=32, show_default=True, metavar="N",
              help="Examples that the network is given at once.")
@click.option("--no-batching", is_flag=True, help="Give each request a call of its own.")
@click.option("--max-body", type=click.IntRange(1), default=16_000_000, show_default=True, metavar="BYTES",
              help="The largest request.")
@click.option("--max-pixels", type=click.IntRange(1), default=25_000_000, show_default=True, metavar="N",
              help="The largest image, width x height.")
def serve(folder, port, host, no_batching, **limits):
    """Answer over HTTP with the SavedModels of DIR, as TensorFlow Serving's REST does, and with a page to try them on.

    DIR is a SavedModel, a folder of version folders (1, 2, ...), or a folder of several of either.
    """
    from zoo.training.serving import startup
    places, bound = startup.find(folder), startup.listen(host, port)
    try:
        with quiet_import():
            from zoo.training.serving import server as work
    except ModuleNotFoundError as error:
        raise UserError(f"zoo serve needs {error.name}: pip install 'classic-zoo[serve]'") from None
    with bound:
        work.serve(places, bound, say=click.echo, merge=not no_batching, **limits)
