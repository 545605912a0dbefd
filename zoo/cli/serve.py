"""Serving over HTTP: `zoo serve`."""
from collections.abc import Callable

import click

from zoo.cli.console import command, example
from zoo.errors import UsageError, missing_packages, unknown
from zoo.startup import choose_onednn


@command(epilog=example("zoo serve saved_models/lenet5-digits",
                              "zoo serve saved_models --port 80 --host 0.0.0.0"))
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True,
              help="0 selects a free port.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="The address to listen on; 0.0.0.0 for all.")
@click.option("--engine", default="auto", show_default=True, metavar="NAME",
              help="What runs the models: tensorflow, onnxruntime, litert, or the one that "
                   "`zoo export --report` measured as the fastest.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), metavar="PORT",
              help="Also answer TensorFlow Serving's gRPC interface, on this port.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N",
              help="Processes that share the port; each loads the models.")
@click.option("--max-batch", type=click.IntRange(1, 4096), default=32, show_default=True,
              metavar="N", help="The largest batch of examples.")
@click.option("--no-batching", is_flag=True, help="Run each request in a call of its own.")
@click.option("--max-body", type=click.IntRange(1), default=16_000_000, show_default=True,
              metavar="BYTES", help="The largest request.")
@click.option("--max-pixels", type=click.IntRange(1), default=25_000_000, show_default=True,
              metavar="N", help="The largest image, width x height; the images of a request "
                               "together may have four times as many.")
def serve(folder: str, port: int, host: str, engine: str, grpc_port: int | None,
          workers: int, no_batching: bool, **limits: int) -> None:
    """Serve the exports of DIR over TensorFlow Serving's REST interface, with a web page.

    DIR is an export, a folder of version folders (1, 2, ...), or a folder of several of either.
    """
    choose_onednn(None)  # oneDNN makes a request of one image slower
    from zoo.training.serving import startup
    if engine not in ("auto", *startup.FILES):
        raise unknown("engine", engine, ("auto", *startup.FILES),
                      {"tf": "tensorflow", "onnx": "onnxruntime", "tflite": "litert"})
    if grpc_port == port:
        raise UsageError(f"--port and --grpc-port must differ. Received: {port} for both.")
    models = startup.find_models(folder)
    if grpc_port is not None:  # gRPC would report it late and, with several workers, share it
        startup.bind(host, grpc_port, "--grpc-port").close()
    bound = startup.bind(host, port)

    def start(log: Callable[[str], object], parent: int | None = None) -> None:
        try:
            from zoo.training.serving import serve as run
            if grpc_port is not None:
                import tensorflow_serving  # noqa: F401
        except ModuleNotFoundError as error:
            extra = "serve,grpc" if grpc_port is not None else "serve"
            raise missing_packages("zoo serve", str(error.name), extra) from None
        run(models, bound, log, lambda: startup.find_models(folder), grpc_port, parent,
            engine=engine, merge=not no_batching, workers=workers, **limits)
    with bound:
        if workers == 1:
            start(click.echo)
        else:
            from zoo.training.serving import workers as several
            several.run(workers, start, click.echo)
