"""Serving over HTTP: `zoo serve`."""
import click

from zoo.cli.console import example
from zoo.errors import missing_packages
from zoo.startup import choose_onednn, quiet_import


@click.command(epilog=example("zoo serve saved_models/lenet5-digits",
                              "zoo serve saved_models --port 80 --host 0.0.0.0"))
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True,
              help="0 selects a free port.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="The address to listen on; 0.0.0.0 for all.")
@click.option("--max-batch", type=click.IntRange(1, 4096), default=32, show_default=True,
              metavar="N", help="The largest batch of examples.")
@click.option("--no-batching", is_flag=True, help="Run each request in a call of its own.")
@click.option("--max-body", type=click.IntRange(1), default=16_000_000, show_default=True,
              metavar="BYTES", help="The largest request.")
@click.option("--max-pixels", type=click.IntRange(1), default=25_000_000, show_default=True,
              metavar="N", help="The largest image, width x height.")
def serve(folder: str, port: int, host: str, no_batching: bool, **limits: int) -> None:
    """Serve the SavedModels of DIR over TensorFlow Serving's REST interface, with a web page.

    DIR is a SavedModel, a folder of version folders (1, 2, ...), or a folder of several of either.
    """
    choose_onednn(None)  # oneDNN makes a request of one image slower
    from zoo.training.serving import startup
    models, bound = startup.find_models(folder), startup.bind(host, port)
    try:
        with quiet_import():
            from zoo.training.serving import serve as run
    except ModuleNotFoundError as error:
        raise missing_packages("zoo serve", str(error.name), "serve") from None
    with bound:
        run(models, bound, log=click.echo, merge=not no_batching, **limits)
