"""`zoo serve`: SavedModels over the REST interface of TensorFlow Serving, with metrics and a page.

A predict request passes `Service.predict`, `wire_format.decode`, `Batcher.submit` and
`wire_format.encode`, in this order.
"""
import gc
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import prometheus_client as prometheus
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from zoo.errors import UserError, unknown
from zoo.training.serving import page, startup, wire_format
from zoo.training.serving.batching import Batcher
from zoo.training.serving.models import Model
from zoo.training.serving.signature import Signature
from zoo.training.serving.wire_format import RequestError

_DRAIN = 30  # seconds in which a stopping server finishes the requests it has accepted
_SECONDS = (.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10)


class Service:
    """The models of a server, warmed up, with their batchers and metrics.

    Args:
        models: {model name: {version: path}} of `zoo.training.serving.startup.find_models`.
        max_batch: rows in a call of a network.
        merge: whether requests share calls.
        max_body: bytes of a request's body, inflated.
        max_pixels: pixels of an encoded image.

    Raises:
        zoo.errors.UserError: if a SavedModel cannot be loaded.
    """

    def __init__(self, models: Mapping[str, Mapping[int, Path]], max_batch: int = 32,
                 merge: bool = True, max_body: int = 16_000_000, max_pixels: int = 25_000_000):
        self.max_body, self.max_pixels = max_body, max_pixels
        self.models = {name: {version: Model(path) for version, path in versions.items()}
                       for name, versions in models.items()}
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "zoo_requests", "Answered requests.", ["model", "code"], registry=registry)
        self.seconds = prometheus.Histogram(
            "zoo_request_seconds", "From the whole body to the response.", ["model"],
            buckets=_SECONDS, registry=registry)
        rows = prometheus.Histogram(
            "zoo_batch_rows", "Rows in a call of the network.", ["model"],
            buckets=[1 << n for n in range(max_batch.bit_length())], registry=registry)
        pool = ThreadPoolExecutor(1)  # two calls at once would compete for the same cores
        self.batchers = {
            signature: Batcher(signature, pool, max_batch, merge, rows.labels(name).observe)
            for name, versions in self.models.items() for model in versions.values()
            for signature in model.signatures.values()}
        queued = prometheus.Gauge(
            "zoo_queue_rows", "Rows that wait for the network.", registry=registry)
        queued.set_function(lambda: sum(b.queued_rows for b in self.batchers.values()))
        for batcher in self.batchers.values():
            batcher.warm_up()

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
            raise RequestError(f"{name} has no version {version}. Known: {numbers}.",
                               404) from None

    async def read_json(self, request: Request) -> Any:
        """Return the JSON of a request's body, which may be compressed with gzip.

        Raises:
            RequestError: if the body is too large (413), has another encoding (415), or is not
                JSON.
        """
        body, limit = bytearray(), f"Expected a body of at most {self.max_body:,} bytes."
        if int(request.headers.get("content-length", 0)) > self.max_body:
            raise RequestError(limit, 413)
        chunks: AsyncIterator[bytes] = request.stream()
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip"):
            chunks = _inflate(chunks, self.max_body)
        elif encoding != "identity":
            raise RequestError("Expected the Content-Encoding gzip, or none. "
                               f"Received: {encoding}.", 415)
        async for chunk in chunks:
            body += chunk
            if len(body) > self.max_body:
                raise RequestError(limit, 413)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise RequestError("The body is not JSON, which has neither NaN nor Infinity: "
                               f"{error}.") from None

    async def run(self, signature: Signature,
                  inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return {output name: array} for {input name: array}.

        Raises:
            RequestError: as `Batcher.submit` does, or if the signature's output "error" reports an
                error for each row.
        """
        outputs = await self.batchers[signature].submit(inputs)
        errors = outputs.get("error", np.zeros(1))
        if errors.dtype == object and errors.size and all(errors.ravel()):
            raise RequestError(errors.ravel()[0].decode(errors="replace"))
        return outputs

    async def predict(self, request: Request, name: str, version: str | None = None) -> Response:
        """Answer a predict request in its own format, by row or by column."""
        code, start = 500, time.monotonic()
        _, model = self.find(name, version)
        try:
            content = await self.read_json(request)
            start = time.monotonic()
            signature, inputs, by_row = wire_format.decode(content, model.signatures,
                                                           self.max_pixels)
            outputs = await self.run(signature, inputs)
            response = _json(wire_format.encode(outputs, by_row))
            code = 200
            return response
        except UserError as error:
            code = getattr(error, "status", 400)
            raise
        except ClientDisconnect:
            code = 499
            raise
        finally:
            self.requests.labels(name, code).inc()
            self.seconds.labels(name).observe(time.monotonic() - start)


async def _inflate(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Yield the contents of a gzip file, at most `limit` + 1 bytes for each chunk of it.

    Raises:
        RequestError: if the file is damaged or incomplete.
    """
    inflater, reason = zlib.decompressobj(31), "it ends too early"
    try:
        async for chunk in chunks:
            yield inflater.decompress(chunk, limit + 1)
            if inflater.unused_data:
                reason = "more comes after its end"
                break
    except zlib.error as error:
        reason = str(error)
    if not inflater.eof or inflater.unused_data:
        raise RequestError("The body is not the gzip file that its Content-Encoding names: "
                           f"{reason}.")


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status,
                    media_type="application/json")


def app(service: Service) -> FastAPI:
    """Return the FastAPI application of a `Service`."""
    # The interface is documented by TensorFlow Serving.
    api = FastAPI(title="zoo serve", docs_url=None, redoc_url=None, openapi_url=None)
    _add_error_handlers(api)

    @api.get("/healthz")
    @api.get("/health")
    async def health():
        return _json({"status": "ok"})

    @api.get("/metrics")
    async def metrics():
        return Response(prometheus.generate_latest(service.registry),
                        media_type="text/plain; version=0.0.4")

    _add_tensorflow_serving(api, service)
    page.add_routes(api, service, _json)
    return api


def _add_error_handlers(api: FastAPI) -> None:
    """Report every error in the format of TensorFlow Serving."""
    @api.exception_handler(UserError)
    async def user_error(request, error):
        return _json({"error": " ".join(str(error).split())}, getattr(error, "status", 400))

    @api.exception_handler(HTTPException)
    async def http_error(request, error):
        return _json({"error": f"{error.detail}: {request.method} {request.url.path}"},
                     error.status_code)

    @api.exception_handler(ClientDisconnect)
    async def disconnected(request, error):
        return Response(status_code=499)

    @api.exception_handler(Exception)
    async def failed(request, error):  # uvicorn writes the traceback to stderr
        return _json({"error": f"The server failed: {type(error).__name__}."}, 500)


def _add_tensorflow_serving(api: FastAPI, service: Service) -> None:
    async def predict(request: Request, name: str, version: str | None = None):
        return await service.predict(request, name, version)

    async def metadata(name: str, version: str | None = None):
        number, model = service.find(name, version)
        return _json({"model_spec": {"name": name, "signature_name": "", "version": str(number)},
                      "metadata": {"signature_def": {"signature_def": model.metadata}}})

    async def status(name: str, version: str | None = None):
        number, _ = service.find(name, version)
        numbers = [number] if version is not None else sorted(service.models[name], reverse=True)
        return _json({"model_version_status": [
            {"version": str(number), "state": "AVAILABLE",
             "status": {"error_code": "OK", "error_message": ""}} for number in numbers]})

    for path in ("/v1/models/{name}/versions/{version}", "/v1/models/{name}"):
        api.post(path + ":predict")(predict)
        api.get(path + "/metadata")(metadata)
        api.get(path)(status)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(models: Mapping[str, Mapping[int, Path]], bound: socket.socket,
          log: Callable[[str], object] = print, **limits: Any) -> None:
    """Serve SavedModels until SIGTERM or SIGINT, and then finish the accepted requests.

    Args:
        models: {model name: {version: path}} of `zoo.training.serving.startup.find_models`.
        bound: the socket of `zoo.training.serving.startup.bind`.
        log: called with one line once the server answers requests.
        limits: max_batch, merge, max_body and max_pixels of `Service`.

    Raises:
        zoo.errors.UserError: if a SavedModel cannot be loaded, or another process listens on the
            same address by then.
    """
    Image.MAX_IMAGE_PIXELS = None  # max_pixels takes the place of Pillow's limit
    service = Service(models, **limits)
    gc.freeze()  # a garbage collection through all of TensorFlow's objects would delay requests
    host, port = bound.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    config = uvicorn.Config(app(service), log_level="warning", access_log=False,
                            timeout_keep_alive=75, timeout_graceful_shutdown=_DRAIN,
                            server_header=False)
    startup.listen(bound)
    try:
        _Server(config, lambda: log(f"Serving {', '.join(service.models)} on http://{address}")
                ).run(sockets=[bound])
    except KeyboardInterrupt:
        pass  # the usual way to stop it in a terminal; all requests are answered
