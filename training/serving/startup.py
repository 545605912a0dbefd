"""Where the models of `zoo serve` lie and where it listens: known before anything heavy is imported."""
import errno
import socket
from pathlib import Path

from zoo.errors import UserError


def find(folder):
    """Return {model name: {version: path of its SavedModel}} of what lies in `folder`.

    It is one SavedModel, whose name is the folder's and whose version is 1; TensorFlow Serving's layout, a folder of
    SavedModels named by version numbers; or a folder of any of these.

    Raises:
        zoo.errors.UserError: if there is none.
    """
    folder = Path(folder).resolve()
    if (folder / "saved_model.pb").exists():
        if folder.name.isdecimal():
            return {folder.parent.name: {int(folder.name): folder}}
        return {folder.name: {1: folder}}
    if versions := _versions(folder):
        return {folder.name: versions}
    inside = sorted(path for path in folder.glob("*/") if not path.name.startswith("."))
    found = {path.name: {1: path} if (path / "saved_model.pb").exists() else _versions(path) for path in inside}
    if not any(found.values()):
        raise UserError(f"{folder} holds no SavedModel: expected saved_model.pb in it, in {folder}/VERSION/ or in "
                        f"{folder}/MODEL/. `zoo export RUN` writes one.")
    return {name: versions for name, versions in found.items() if versions}


def _versions(folder):
    return {int(path.name): path for path in folder.glob("*/")
            if path.name.isdecimal() and (path / "saved_model.pb").exists()}


def listen(host, port):
    """Return a socket bound to `host` and `port`, or to any free port if that is 0; a UserError says why there is none."""
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


def accept(bound):
    """Let clients connect to the socket `bound`; a UserError says that another process, bound there too, was first."""
    try:
        bound.listen()
    except OSError as error:
        raise _cannot_serve(*bound.getsockname()[:2], error) from None


def _cannot_serve(host, port, error):
    why = getattr(error, "strerror", "this is no host's name")
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        why = "another process is there; choose another --port"
    return UserError(f"Cannot serve on {host} port {port}: {why}.")
