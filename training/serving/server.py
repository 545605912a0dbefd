"""`zoo serve`: SavedModels over HTTP, in the words of TensorFlow Serving's REST, with metrics and a page to try them on."""
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from PIL import Image
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from zoo.errors import UserError, unknown
from zoo.training.serving import models, page, startup, wire_format
from zoo.training.serving.batching import Batcher
from zoo.training.serving.wire_format import Refused

_DRAIN = 30  # seconds that a stopping server gives the requests it has accepted
_SECONDS = (.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10)


class Service:
    """The models of a folder, warmed up, and the counts of what they were asked.

    Args:
        places: of `zoo.training.serving.startup.find`.
        max_batch: rows in a call of a network; merge: whether requests share calls.
        max_body: bytes of a request's body.
        max_pixels: pixels of an image.

    Raises:
        zoo.errors.UserError: if a SavedModel cannot be loaded.
    """

    def __init__(self, places, max_batch=32, merge=True, max_body=16_000_000, max_pixels=25_000_000):
        self.max_body = max_body
        self.models = {name: {version: models.Model(path, max_pixels) for version, path in versions.items()}
                       for name, versions in places.items()}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("zoo_requests", "Answered requests.", ["model", "code"], registry=self.registry)
        self.seconds = Histogram("zoo_request_seconds", "From the whole body to the answer.", ["model"], buckets=_SECONDS,
                                 registry=self.registry)
        rows = Histogram("zoo_batch_rows", "Rows in a call of the network.", ["model"], registry=self.registry,
                         buckets=[1 << n for n in range(max_batch.bit_length())])
        pool = ThreadPoolExecutor(1)  # inference lets go of Python's lock, and two calls at once would share the same cores
        self.batchers = {signature: Batcher(signature, pool, max_batch, merge, rows.labels(name).observe)
                         for name, versions in self.models.items() for model in versions.values()
                         for signature in model.signatures.values()}
        waiting = Gauge("zoo_queue_rows", "Rows that wait for the network.", registry=self.registry)
        waiting.set_function(lambda: sum(batcher.queued for batcher in self.batchers.values()))
        for batcher in self.batchers.values():
            batcher.warm_up()

    def model(self, name, version=None):
        """Return the (version, Model) of that name, by default its newest."""
        if name not in self.models:
            raise Refused(str(unknown("model", name, self.models)), 404)
        versions = self.models[name]
        try:
            version = max(versions) if version is None else int(version)
            return version, versions[version]
        except (KeyError, ValueError):
            raise Refused(f"{name} has no version {version}. Known: {', '.join(map(str, sorted(versions)))}.", 404) from None

    async def json(self, request):
        """Return the JSON of a request's body, inflated if it is gzip, of which no more is kept than may be."""
        body, limit = bytearray(), f"Expected a body of at most {self.max_body:,} bytes."
        if int(request.headers.get("content-length", 0)) > self.max_body:
            raise Refused(limit, 413)
        chunks, encoding = request.stream(), request.headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip"):
            chunks = wire_format.inflated(chunks, self.max_body)
        elif encoding != "identity":
            raise Refused(f"Expected the Content-Encoding gzip, or none. Received: {encoding}.", 415)
        async for chunk in chunks:
            body += chunk
            if len(body) > self.max_body:
                raise Refused(limit, 413)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(f"The body is not JSON, which knows neither NaN nor Infinity: {error}.") from None

    async def ask(self, signature, inputs):
        """Return {output name: array} for {input name: array}.

        Raises:
            Refused: as `Batcher.ask` does, or if the signature tells an error for each of the rows.
        """
        outputs = await self.batchers[signature].ask(inputs)
        errors = outputs.get("error", np.zeros(1))
        if errors.dtype == object and errors.size and all(errors.ravel()):
            raise Refused(errors.ravel()[0].decode(errors="replace"))
        return outputs

    async def predict(self, request, name, version=None):
        """Answer a predict request in its own format, row or column."""
        code, began = 500, time.monotonic()
        _, model = self.model(name, version)
        try:
            signature, inputs, by_row = model.parse(await self.json(request))
            began = time.monotonic()
            outputs = await self.ask(signature, inputs)
            answer = _json(wire_format.by_row(outputs) if by_row else wire_format.by_column(outputs))
            code = 200
            return answer
        except UserError as error:
            code = getattr(error, "status", 400)
            raise
        except ClientDisconnect:
            code = 499
            raise
        finally:
            self.requests.labels(name, code).inc()
            self.seconds.labels(name).observe(time.monotonic() - began)


def _json(content, status=200):
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


def app(service):
    """Return the FastAPI application of a `Service`."""
    api = FastAPI(title="zoo serve", docs_url=None, redoc_url=None, openapi_url=None)  # its documentation is TF Serving's
    _errors(api)

    @api.get("/healthz")
    @api.get("/health")
    async def health():
        return _json({"status": "ok"})

    @api.get("/metrics")
    async def metrics():
        return Response(generate_latest(service.registry), media_type="text/plain; version=0.0.4")

    _tensorflow_serving(api, service)
    page.add(api, service, _json)
    return api


def _errors(api):
    """Answer every error as TensorFlow Serving does."""
    @api.exception_handler(UserError)
    async def refuse(request, error):
        return _json({"error": " ".join(str(error).split())}, getattr(error, "status", 400))

    @api.exception_handler(HTTPException)
    async def no_such_place(request, error):
        return _json({"error": f"{error.detail}: {request.method} {request.url.path}"}, error.status_code)

    @api.exception_handler(ClientDisconnect)
    async def gone(request, error):
        return Response(status_code=499)

    @api.exception_handler(Exception)
    async def broken(request, error):  # uvicorn writes the traceback to stderr
        return _json({"error": f"The server failed: {type(error).__name__}."}, 500)


def _tensorflow_serving(api, service):
    async def predict(request: Request, name: str, version: str | None = None):
        return await service.predict(request, name, version)

    async def metadata(name: str, version: str | None = None):
        version, model = service.model(name, version)
        return _json({"model_spec": {"name": name, "signature_name": "", "version": str(version)},
                      "metadata": {"signature_def": {"signature_def": model.metadata}}})

    async def status(name: str, version: str | None = None):
        known = service.models[name] if version is None and name in service.models else [service.model(name, version)[0]]
        return _json({"model_version_status": [{"version": str(number), "state": "AVAILABLE", "status": {
            "error_code": "OK", "error_message": ""}} for number in sorted(known, reverse=True)]})

    for place in ("/v1/models/{name}/versions/{version}", "/v1/models/{name}"):
        api.post(place + ":predict")(predict)
        api.get(place + "/metadata")(metadata)
        api.get(place)(status)


class _Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.config.ready()


def serve(places, bound, say=print, **limits):
    """Serve the SavedModels in `places` on the socket `bound` until SIGTERM or SIGINT; what was accepted is answered then.

    Args:
        places, limits: see `Service`.
        bound: of `zoo.training.serving.startup.listen`.
        say: is told a line once requests are answered.

    Raises:
        zoo.errors.UserError: if a SavedModel cannot be loaded, or another process listens there by then.
    """
    Image.MAX_IMAGE_PIXELS = None  # the limit here is lower, and told as every other one
    service = Service(places, **limits)
    gc.freeze()  # what is loaded by now stays: a search through all of TensorFlow's objects holds every request up
    host, port = bound.getsockname()[:2]
    config = uvicorn.Config(app(service), log_level="warning", access_log=False, timeout_keep_alive=75,
                            timeout_graceful_shutdown=_DRAIN, server_header=False)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    config.ready = lambda: say(f"Serving {', '.join(service.models)} on http://{place}")
    startup.accept(bound)
    try:
        _Server(config).run(sockets=[bound])
    except KeyboardInterrupt:
        pass  # the way to end it at a terminal; all is answered
