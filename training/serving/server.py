"""`zoo serve`: models over the REST interface of TensorFlow Serving, with metrics and a page.

A predict request passes `connections.Connection`, `Service.answer`, `bodies.Bodies`,
`wire_format.decode`, `Batcher.submit` and `wire_format.encode`, in this order.
"""
import asyncio
import contextlib
import gc
import socket
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from zoo.errors import UserError, unknown
from zoo.training.serving import page, startup, wire_format
from zoo.training.serving.batching import MAX_PIXELS, Batcher
from zoo.training.serving.bodies import Bodies, return_memory
from zoo.training.serving.connections import (
    KEEP_ALIVE,
    Connection,
    close_oldest,
    connection_limits,
)
from zoo.training.serving.metrics import Metrics
from zoo.training.serving.models import Model
from zoo.training.serving.wire_format import Inputs, RequestError

_DRAIN = 30  # seconds in which a stopping server finishes the requests it has accepted
_SWITCH = 0.0002  # seconds for which a thread that decodes keeps Python from the event loop
_LOOK = 2    # seconds between two looks at the folder of the models
_SHARED = 4  # connections that one of several workers accepts before others have their turn
_AT_ONCE = 20_000  # values of a response that are written as JSON without a thread


class Service:
    """The models of a server, warmed up, with their batchers and metrics.

    Args:
        models: {model name: {version: path}} of `zoo.training.serving.startup.find_models`.
        engine: what runs them, see `zoo.training.serving.startup.choose_engine`.
        max_batch: rows in a call of a network.
        merge: whether requests share calls.
        max_body: bytes of a request's body, inflated.
        max_pixels: pixels of an encoded image; the images of a request may have four times as many.
        workers: how many processes share the machine, see `zoo.training.serving.metrics.Metrics`.

    Raises:
        zoo.errors.UserError: if a model cannot be loaded.
    """

    def __init__(self, models: Mapping[str, Mapping[int, Path]], engine: str = "auto",
                 max_batch: int = 32, merge: bool = True, max_body: int = 16_000_000,
                 max_pixels: int = 25_000_000, workers: int = 1):
        self.engine, self.max_body, self.max_pixels = engine, max_body, max_pixels
        self.metrics = metrics = Metrics(max_batch, workers)
        self._workers = workers
        # Two calls at once would compete for the same cores. But a large image must not delay the
        # others: it is decoded beside them.
        pools = {False: ThreadPoolExecutor(1), True: ThreadPoolExecutor(1)}
        self.threads = ThreadPoolExecutor(1)
        self.map_threads = ThreadPoolExecutor(1)  # maps of networks take seconds: one at a time
        self._batchers = lambda name, model: {
            (signature, large): Batcher(model.signatures[signature], pool, max_batch, merge,
                                        metrics.rows.labels(name).observe, metrics.queued.inc)
            for signature in model.signatures for large, pool in pools.items()}
        self.models: dict[str, dict[int, Model]] = {}
        for name, versions in models.items():
            for version, path in versions.items():
                self.load(name, version, path)
        self.bodies = Bodies(max_body, max_pixels)

    def close(self) -> None:
        """End the process that decodes bodies."""
        self.bodies.close()

    def load(self, name: str, version: int, path: Path) -> None:
        """Load and warm up a version of a model, and serve it.

        Raises:
            zoo.errors.UserError: if it cannot be loaded.
        """
        model = Model(path, self.engine, self._workers)
        model.batchers = self._batchers(name, model)
        for (_, large), batcher in model.batchers.items():
            if not large:
                batcher.warm_up()
        self.models = {**self.models, name: {**self.models.get(name, {}), version: model}}

    def unload(self, name: str, version: int) -> None:
        """Serve a version no longer; its accepted requests are still computed."""
        versions = {number: model for number, model in self.models[name].items()
                    if number != version}
        models = {**self.models, name: versions}
        self.models = {name: versions for name, versions in models.items() if versions}

    def describe(self, name: str) -> str:
        """Return the name of a model, with the engines of its versions other than TensorFlow."""
        engines = sorted({model.engine for model in self.models[name].values()})
        return name if engines == ["tensorflow"] else f"{name} ({', '.join(engines)})"

    def find(self, name: str, version: str | None = None) -> tuple[int, Model]:
        """Return the version number and the model, by default the newest version.

        Raises:
            RequestError: with status 404 if there is no such model or version.
        """
        if name not in self.models:
            raise RequestError(str(unknown("model", name, self.models)), 404)
        versions = self.models[name]
        try:
            number = max(versions) if version is None else int(version)
            return number, versions[number]
        except (KeyError, ValueError):
            numbers = ", ".join(map(str, sorted(versions)))
            raise RequestError(f"{name} has no version {str(version)[:100]}. Known: {numbers}.",
                               404) from None

    async def run(self, model: Model, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return {output name: array}.

        Raises:
            RequestError: as `Batcher.submit` does, or if the signature's output "error" reports an
                error for each row.
        """
        large = max(inputs.pixels, default=0) > MAX_PIXELS
        batcher = model.batchers[inputs.signature, large]
        try:
            outputs = await batcher.submit(inputs.arrays, inputs.pixels)
        finally:
            self.bodies.had_large |= large
        errors = outputs.get("error", np.zeros(1))
        if errors.dtype == object and errors.size and all(errors.ravel()):
            raise RequestError(errors.ravel()[0].decode(errors="replace"))
        return outputs

    @contextlib.contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count a request to a model and its time, by the status of what is raised."""
        code, start = 500, time.monotonic()
        try:
            yield
            code = 200
        except UserError as error:
            code = getattr(error, "status", 400)
            raise
        except ClientDisconnect:
            code = 499
            raise
        except asyncio.CancelledError:
            code = 499
            raise
        finally:
            self.metrics.requests.labels(name, code).inc()
            self.metrics.seconds.labels(name).observe(time.monotonic() - start)

    async def answer(self, request: Request, content: Callable[..., Awaitable[bytes]],
                     signature: str | None = None, rows: int | None = None) -> Response:
        """Answer a request that predicts; once its client has disconnected, drop it.

        Args:
            request: has a path with "name", and perhaps "version".
            content: returns the JSON of the response to (model, inputs, outputs).
            signature: the name of the signature; by default the request names it.
            rows: how many rows are computed; by default all.
        """
        name = request.path_params["name"]
        _, model = self.find(name, request.path_params.get("version"))
        with self.counted(name):
            body = await self.bodies.read(request)
            try:
                with _cancelled_if_disconnected(request.scope["gone"]):
                    inputs = await self.bodies.decode(request, body, model.layouts(), signature)
                    if rows is not None:
                        inputs = inputs.first(rows)
                    outputs = await self.run(model, inputs)
                    return Response(await content(model, inputs, outputs),
                                    media_type="application/json")
            finally:
                self.bodies.release(len(body))

    async def predictions(self, model: Model, inputs: Inputs,
                          outputs: Mapping[str, np.ndarray]) -> bytes:
        """Return the JSON of the response, by row or by column as in the request."""
        parts = wire_format.encode(outputs, inputs.by_row)
        if sum(value.size for value in outputs.values()) <= _AT_ONCE:
            return b"".join(parts)
        return await self.in_thread(lambda: b"".join(parts))

    async def in_thread(self, function: Callable[[], Any],
                        threads: ThreadPoolExecutor | None = None) -> Any:
        """Return what a function returns that would delay other requests."""
        return await asyncio.get_running_loop().run_in_executor(threads or self.threads, function)


@contextlib.contextmanager
def _cancelled_if_disconnected(gone: asyncio.Future) -> Iterator[None]:
    """Cancel what is done in this context once the client of a request has disconnected.

    Args:
        gone: done once it has.

    Raises:
        ClientDisconnect: in this case.
        RequestError: if the task is cancelled because the server stops (503).
    """
    task, watching = asyncio.current_task(), True

    def cancel(_: object) -> None:
        if watching and task:
            task.cancel()
    gone.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError:
        if not gone.done() or not task:
            raise RequestError("The server stops.", 503) from None
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        watching = False
        gone.remove_done_callback(cancel)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(wire_format.dump(content), status, headers, media_type="application/json")


class _NameConvertor(Convertor):
    """A part of a path up to a colon, as in MODEL:predict."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _NameConvertor())


def app(service: Service) -> ASGIApp:
    """Return the ASGI application of a `Service`."""
    async def health(request: Request) -> Response:
        return _json({"status": "ok"})

    async def metrics(request: Request) -> Response:
        return Response(await service.in_thread(service.metrics.text),
                        media_type="text/plain; version=0.0.4")

    routes = [*_tensorflow_serving(service),
              Route("/healthz", health), Route("/health", health), Route("/metrics", metrics),
              *page.routes(service, _json)]
    handlers = _error_handlers()
    api = Starlette(routes=routes, exception_handlers=handlers)
    api.router.redirect_slashes = False  # a redirect would lose the prefix of a proxy
    predict_paths = [route.path_regex for route in routes if route.path.endswith(":predict")]

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        found = [path.match(scope["path"]) for path in predict_paths if is_post]
        predict = next(filter(None, found), None)
        if predict is None:
            await api(scope, receive, send)
            return
        # As the route of :predict does; Starlette's layers would take a tenth of the time.
        request = Request({**scope, "path_params": predict.groupdict()}, receive)
        try:
            response = await service.answer(request, service.predictions)
        except Exception as error:
            kind = next(kind for kind in handlers if isinstance(error, kind))
            response = await handlers[kind](request, error)
            if kind is Exception:
                await response(scope, receive, send)
                raise
        await response(scope, receive, send)
    return application


def _error_handlers() -> dict[Any, Callable]:
    """Report every error in the format of TensorFlow Serving."""
    async def user_error(request: Request, error: UserError) -> Response:
        return _json({"error": " ".join(str(error).split())}, getattr(error, "status", 400))

    async def http_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:100]
        return _json({"error": f"{error.detail}: {request.method} {path}"},
                     error.status_code, error.headers)

    async def disconnected(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    async def failed(request: Request, error: Exception) -> Response:
        # uvicorn writes the traceback to stderr.
        return _json({"error": f"The server failed: {type(error).__name__}."}, 500)

    return {UserError: user_error, HTTPException: http_error, ClientDisconnect: disconnected,
            Exception: failed}


def _tensorflow_serving(service: Service) -> list[Route]:
    async def predict(request: Request) -> Response:
        return await service.answer(request, service.predictions)

    async def absent(request: Request) -> Response:
        raise RequestError("This server has no :classify and no :regress, which take tf.Examples. "
                           "Send the request to :predict.", 404)

    async def metadata(request: Request) -> Response:
        name, version = request.path_params["name"], request.path_params.get("version")
        number, model = service.find(name, version)
        return _json({"model_spec": {"name": name, "signature_name": "", "version": str(number)},
                      "metadata": {"signature_def": {"signature_def": model.metadata}}})

    async def status(request: Request) -> Response:
        name, version = request.path_params["name"], request.path_params.get("version")
        number, _ = service.find(name, version)
        numbers = [number] if version is not None else sorted(service.models[name], reverse=True)
        return _json({"model_version_status": [
            {"version": str(number), "state": "AVAILABLE",
             "status": {"error_code": "OK", "error_message": ""}} for number in numbers]})

    routes = []
    for path in ("/v1/models/{name:name}", "/v1/models/{name:name}/versions/{version:name}"):
        routes += [Route(path + ":predict", predict, methods=["POST"]),
                   Route(path + "/metadata", metadata), Route(path, status),
                   *(Route(path + verb, absent, methods=["POST"])
                     for verb in (":classify", ":regress"))]
    return routes


class _Server(uvicorn.Server):
    """uvicorn's server; it accepts all connections that wait, and enforces their deadlines.

    uvloop accepts one connection in each turn of its loop, so that clients who connect and send
    much would delay all others.

    Args:
        ready: called once the server answers requests.
        start_grpc: starts a gRPC server beside it.
        parent: a file descriptor; the server stops once it ends. None for a server that has the
            port for itself.
        beside: coroutines that run while the server does.
    """

    def __init__(self, config: uvicorn.Config, bound: socket.socket, ready: Callable[[], object],
                 start_grpc: Callable[[], Awaitable[Any]] | None, parent: int | None,
                 *beside: Coroutine):
        super().__init__(config)
        self._bound, self._ready, self._beside, self._parent = bound, ready, beside, parent
        self._start_grpc, self._grpc = start_grpc, None
        self._tasks: set[asyncio.Task] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._start_grpc:
            self._grpc = await self._start_grpc()
        await super().startup([])
        self._bound.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._bound, self._accept)
        if self._parent is not None:
            loop.add_reader(self._parent, self._stop, self._parent)
        for coroutine in (self._enforce_deadlines(), *self._beside):
            self._keep(coroutine)
        self._ready()

    def _keep(self, coroutine: Coroutine) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, parent: int) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        self.should_exit = True

    def _accept(self) -> None:
        for _ in range(self.config.backlog if self._parent is None else _SHARED):
            try:
                client, _ = self._bound.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left, or the client has disconnected
                close_oldest(self.server_state.connections)
                return
            self._keep(self._connect(client))

    async def _connect(self, client: socket.socket) -> None:
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self.config, self.server_state, {}), client)
        except OSError:  # the client has disconnected
            client.close()

    async def _enforce_deadlines(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.close_if_late(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().remove_reader(self._bound)
        stopping = self._grpc.stop(_DRAIN) if self._grpc else asyncio.sleep(0)
        await asyncio.gather(stopping, super().shutdown([self._bound]))


async def _return_memory(service: Service) -> None:
    """Return the memory of large bodies and images to the system, at most once a second."""
    while True:
        await asyncio.sleep(1)
        if service.bodies.had_large:
            service.bodies.had_large = False
            await asyncio.to_thread(return_memory)


async def _follow(service: Service, find: Callable[[], Mapping[str, Mapping[int, Path]]],
                  log: Callable[[str], object]) -> None:
    """Load the versions that are added to the folder, and unload those that are removed.

    A version that cannot be loaded is tried again once its files have changed: it may be half
    copied.
    """
    failed: dict[Path, object] = {}
    while True:
        await asyncio.sleep(_LOOK)
        try:
            models = await asyncio.to_thread(find)
        except UserError:  # nothing is there; what is loaded is served
            continue
        served = {(name, version) for name in service.models for version in service.models[name]}
        there = {(name, version) for name in models for version in models[name]}
        for name, version in sorted(there - served):
            path = models[name][version]
            files = await asyncio.to_thread(_files, path)
            if failed.get(path) == files:
                continue
            try:
                await asyncio.to_thread(service.load, name, version, path)
                log(f"Serving {name}, version {version}")
            except UserError as error:
                failed[path] = files
                log(f"{error} It is tried again once its files change.")
        for name, version in sorted(served - there):
            service.unload(name, version)
            log(f"{name}, version {version}, is no longer served")


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Return what changes when a file in a folder does."""
    with contextlib.suppress(OSError):
        return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns)
                      for path in folder.rglob("*"))
    return []


def serve(models: Mapping[str, Mapping[int, Path]], bound: socket.socket,
          log: Callable[[str], object] = print,
          find: Callable[[], Mapping[str, Mapping[int, Path]]] | None = None,
          grpc_port: int | None = None, parent: int | None = None, **limits: Any) -> None:
    """Serve models until SIGTERM or SIGINT, and then finish the accepted requests.

    Args:
        models: {model name: {version: path}} of `zoo.training.serving.startup.find_models`.
        bound: the socket of `zoo.training.serving.startup.bind`.
        log: called with one line once the server answers requests, and with one for each version
            that is loaded or removed later.
        find: returns `models` anew; called every two seconds, so that versions can be added and
            removed. None serves `models` only.
        grpc_port: the port of the gRPC interface; by default there is none.
        parent: of a server that is one of several workers, a file descriptor that ends with their
            parent.
        limits: engine, max_batch, merge, max_body, max_pixels and workers of `Service`.

    Raises:
        zoo.errors.UserError: if a model cannot be loaded, or another process listens on the
            same address by then.
    """
    Image.MAX_IMAGE_PIXELS = None  # max_pixels takes the place of Pillow's limit
    warnings.filterwarnings("ignore", module="PIL")  # of clients' files
    sys.setswitchinterval(_SWITCH)
    service = Service(models, **limits)
    gc.freeze()  # a garbage collection through all of an engine's objects would delay requests
    host, port = bound.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    ready = f"Serving {', '.join(map(service.describe, service.models))} on http://{address}"
    most, waiting = connection_limits()
    config = uvicorn.Config(app(service), http=Connection, ws="none", lifespan="off",
                            log_level="error", access_log=False, server_header=False,
                            proxy_headers=False,
                            limit_concurrency=most, backlog=waiting,
                            timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=_DRAIN)
    start_grpc = None
    if grpc_port is not None:
        from zoo.training.serving import grpc_interface
        ready += f" and gRPC on port {grpc_port}"
        grpc_address = address.rsplit(":", 1)[0] + f":{grpc_port}"

        def start_grpc():
            return grpc_interface.start(service, grpc_address, service.max_body,
                                        shared=parent is not None)
    try:
        startup.listen(bound, waiting)
        beside = [_return_memory(service), *([_follow(service, find, log)] if find else [])]
        _Server(config, bound, lambda: log(ready), start_grpc, parent, *beside).run()
    except KeyboardInterrupt:
        pass  # the usual way to stop it in a terminal; all requests are answered
    finally:
        service.close()
