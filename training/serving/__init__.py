"""`zoo serve`: exports over HTTP, with the REST interface of TensorFlow Serving.

`serve` answers requests until the process is stopped.
"""


def __getattr__(name: str):
    if name == "serve":
        from zoo.training.serving.server import serve  # imports the web server
        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
