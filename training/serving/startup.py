"""What `zoo serve` does before it imports TensorFlow: find SavedModels and bind a socket."""
import errno
import os
import socket
from pathlib import Path

from zoo.errors import UserError
from zoo.shipped import is_shipped


def find_models(folder: str | os.PathLike[str]) -> dict[str, dict[int, Path]]:
    """Find the SavedModels in a folder.

    Args:
        folder: a SavedModel, with the folder's name and version 1; a folder of SavedModels named by
            version numbers, as for TensorFlow Serving; or a folder of any of these.

    Returns:
        {model name: {version: path of the SavedModel}}.

    Raises:
        zoo.errors.UserError: if there is no SavedModel.
    """
    name, folder = str(folder), Path(folder).resolve()
    if _is_saved_model(folder):
        if folder.name.isdecimal():
            return {folder.parent.name: {int(folder.name): folder}}
        return {folder.name: {1: folder}}
    if versions := _versions(folder):
        return {folder.name: versions}
    folders = sorted(path for path in folder.glob("*/") if not path.name.startswith("."))
    models = {path.name: {1: path} if _is_saved_model(path) else _versions(path)
              for path in folders}
    if not any(models.values()):
        if (folder / "metrics.json").is_file() or is_shipped(name):
            raise UserError(f"{name} is a trained network, not an export. Export it first: "
                            f"zoo export {name} --to saved_models/{folder.name}, then zoo serve "
                            f"saved_models/{folder.name}.")
        raise UserError(f"{folder} holds no SavedModel: expected saved_model.pb in it, in "
                        f"{folder}/VERSION/ or in {folder}/MODEL/. `zoo export RUN` writes one.")
    return {name: versions for name, versions in models.items() if versions}


def _is_saved_model(folder: Path) -> bool:
    return (folder / "saved_model.pb").exists()


def _versions(folder: Path) -> dict[int, Path]:
    return {int(path.name): path for path in folder.glob("*/")
            if path.name.isdecimal() and _is_saved_model(path)}


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port`; port 0 selects a free one.

    Raises:
        zoo.errors.UserError: if the host is unknown or the port is not available.
    """
    bound = None
    try:
        bound = socket.socket(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0])
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, UnicodeError) as error:
        if bound:
            bound.close()
        raise _cannot_serve(host, port, error) from None
    return bound


def listen(bound: socket.socket) -> None:
    """Let clients connect to a bound socket.

    Raises:
        zoo.errors.UserError: if another process bound the same address and listens already.
    """
    try:
        bound.listen()
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise _cannot_serve(host, port, error) from None


def _cannot_serve(host: str, port: int, error: Exception) -> UserError:
    reason = getattr(error, "strerror", "this is not a host name")
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        reason = "another process uses it; choose another --port"
    return UserError(f"Cannot serve on {host} port {port}: {reason}.")
