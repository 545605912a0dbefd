"""What `zoo serve` does before it imports an engine: find models, choose engines, bind a socket."""
import errno
import importlib.util
import json
import os
import socket
from pathlib import Path
from typing import Any

from zoo.errors import UserError
from zoo.shipped import is_shipped

# The engines, the file that each opens, its format in an export and its package.
FILES = {"tensorflow": "saved_model.pb", "onnxruntime": "model.onnx", "litert": "model.tflite"}
_FORMATS = {"tensorflow": "saved_model", "onnxruntime": "onnx", "litert": "litert"}
_PACKAGES = {"tensorflow": "tensorflow", "onnxruntime": "onnxruntime", "litert": "ai_edge_litert"}


def choose_engine(path: Path, engine: str = "auto") -> str:
    """Return the engine that serves an export.

    Args:
        path: an export, or any SavedModel.
        engine: a name of `FILES`; or "auto" for the engine with the shortest latency in the
            export's deploy.json, of those whose package is installed; without deploy.json, for the
            first of `FILES` whose file there is.

    Raises:
        zoo.errors.UserError: if the export lacks the engine's file.
    """
    there = [name for name in FILES if _holds(path, name)]
    if engine != "auto":
        if engine not in there:
            raise UserError(f"{path} holds no {FILES[engine]} for the engine {engine}. "
                            f"`zoo export RUN --formats saved_model,{_FORMATS[engine]}` writes one."
                            if engine != "tensorflow" else
                            f"{path} holds no SavedModel for the engine tensorflow.")
        return engine
    usable = [name for name in there if importlib.util.find_spec(_PACKAGES[name])] or there
    latencies = {row["format"]: row["latency_p50_ms"]
                 for row in _read_json(path / "deploy.json").get("formats", ())}
    measured = [name for name in usable if _FORMATS[name] in latencies]
    return min(measured or usable[:1], key=lambda name: latencies.get(_FORMATS[name], 0))


def read_card(path: Path) -> dict[str, Any]:
    """Return the model card of an export; {} if there is none."""
    return _read_json(path / "assets" / "card.json")


def read_samples(path: Path) -> dict[str, Any]:
    """Return the examples that an export brings to try it with; {} if there are none."""
    return _read_json(path / "assets" / "samples.json")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {file}: {error}") from None
    return content if isinstance(content, dict) else {}


def _holds(folder: Path, engine: str) -> bool:
    """Return whether a folder has what an engine needs: ONNX and LiteRT files need the card."""
    return (folder / FILES[engine]).exists() and (
        engine == "tensorflow" or (folder / "assets" / "card.json").exists())


def find_models(folder: str | os.PathLike[str]) -> dict[str, dict[int, Path]]:
    """Find the models in a folder.

    Args:
        folder: a SavedModel or an export with a LiteRT or ONNX file, with the folder's name and
            version 1; a folder of these named by version numbers, as for TensorFlow Serving; or a
            folder of any of these, in which folders named by numbers are versions of a model of the
            folder's name.

    Returns:
        {model name: {version: path of the model}}.

    Raises:
        zoo.errors.UserError: if there is no model.
    """
    name, folder = str(folder), Path(folder).resolve()
    if _is_model(folder):
        if folder.name.isdecimal():
            return {folder.parent.name: {int(folder.name): folder}}
        return {folder.name: {1: folder}}
    folders = sorted(path for path in folder.glob("*/") if not path.name.startswith("."))
    versions = _versions(folder)
    models = {path.name: {1: path} if _is_model(path) else _versions(path)
              for path in folders if path not in versions.values()}
    if versions and models.get(folder.name):
        raise UserError(f"{folder} holds version {min(versions)} of a model {folder.name}, and "
                        "another model of this name. Move one of them.")
    if versions:
        models[folder.name] = versions
    if not any(models.values()):
        if (folder / "metrics.json").is_file() or is_shipped(name):
            raise UserError(f"{name} is a trained network, not an export. Export it first: "
                            f"zoo export {name} --to saved_models/{folder.name}, then zoo serve "
                            f"saved_models/{folder.name}.")
        if not folder.exists():
            raise UserError(f"{name} does not exist. `zoo export RUN` writes a SavedModel.")
        raise UserError(f"{folder} holds no SavedModel: expected saved_model.pb in it, in "
                        f"{folder}/VERSION/ or in {folder}/MODEL/. `zoo export RUN` writes one.")
    return {name: versions for name, versions in models.items() if versions}


def _is_model(folder: Path) -> bool:
    return any(_holds(folder, engine) for engine in FILES)


def _versions(folder: Path) -> dict[int, Path]:
    return {int(path.name): path for path in folder.glob("*/")
            if path.name.isdecimal() and _is_model(path)}


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a socket bound to `host` and `port`; port 0 selects a free one.

    Args:
        option: of the command, that names the port.

    Raises:
        zoo.errors.UserError: if the host is unknown or the port is not available.
    """
    bound = None
    try:
        bound = socket.socket(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0])
        # On POSIX: a port that a server has just left. On Windows that option would let two servers
        # share a port.
        sharing = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        bound.setsockopt(socket.SOL_SOCKET, sharing, 1)
        bound.bind((host, port))
    except (OSError, UnicodeError) as error:
        if bound:
            bound.close()
        raise _cannot_serve(host, port, error, option) from None
    return bound


def listen(bound: socket.socket, waiting: int = 128) -> None:
    """Let clients connect to a bound socket.

    Args:
        waiting: how many connections may wait to be accepted.

    Raises:
        zoo.errors.UserError: if another process bound the same address and listens already.
    """
    try:
        bound.listen(waiting)
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise _cannot_serve(host, port, error) from None


def _cannot_serve(host: str, port: int, error: Exception, option: str = "--port") -> UserError:
    reason = getattr(error, "strerror", "this is not a host name")
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        reason = f"another process uses it; choose another {option}"
    return UserError(f"Cannot serve on {host} port {port}: {reason}.")
