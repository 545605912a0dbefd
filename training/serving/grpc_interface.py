"""The gRPC interface of TensorFlow Serving: Predict, GetModelMetadata and GetModelStatus.

Its messages come from the package tensorflow-serving-api. What a request means, its limits and its
errors are those of the REST interface.
"""
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from google.protobuf.json_format import ParseDict

from zoo.errors import UserError, unknown
from zoo.training.serving import wire_format
from zoo.training.serving.connections import KEEP_ALIVE
from zoo.training.serving.messages import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    to_array,
    to_dtype,
    to_tensor,
)
from zoo.training.serving.models import Model
from zoo.training.serving.wire_format import Inputs, RequestError, TensorSpec

if TYPE_CHECKING:
    from zoo.training.serving.server import Service

_CALLS = 1024      # at a time; others get RESOURCE_EXHAUSTED
_STREAMS = 128     # calls of one connection
_METADATA = 32_768  # bytes of a call's headers
_HANDSHAKE = 10    # seconds until a new connection speaks HTTP/2
_LISTED = 100_000  # values of a tensor that may be listed one by one; others are tensor_content
_CODES = {404: grpc.StatusCode.NOT_FOUND, 413: grpc.StatusCode.RESOURCE_EXHAUSTED,
          503: grpc.StatusCode.UNAVAILABLE}


async def start(service: "Service", address: str, max_body: int,
                shared: bool = False) -> grpc.aio.Server:
    """Start to answer gRPC requests in the running event loop.

    Args:
        address: "HOST:PORT".
        max_body: bytes of a request.
        shared: whether several processes share the address.

    Raises:
        zoo.errors.UserError: if the address is not available.
    """
    server = grpc.aio.server(maximum_concurrent_rpcs=_CALLS, options=[
        ("grpc.max_receive_message_length", max_body), ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _METADATA), ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.server_handshake_timeout_ms", 1000 * _HANDSHAKE),
        ("grpc.max_connection_idle_ms", 1000 * KEEP_ALIVE), ("grpc.so_reuseport", int(shared))])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(service, max_body), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(service), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise UserError(f"Cannot serve gRPC on {address}: another process uses it, or it is no "
                        "address of this machine; choose another --grpc-port.") from None
    await server.start()
    return server


async def _answer(context: Any, answer: Callable[[], Awaitable[Any]]) -> Any:
    """Return what `answer` returns; a UserError becomes a status."""
    try:
        return await answer()
    except UserError as error:
        code = _CODES.get(getattr(error, "status", 400), grpc.StatusCode.INVALID_ARGUMENT)
        await context.abort(code, " ".join(str(error).split()))


def _find(service: "Service", spec: Any) -> tuple[int, Model]:
    if spec.version_label:
        raise RequestError("This server knows no version labels: name a version by its number, or "
                           "none for the newest.")
    version = str(spec.version.value) if spec.HasField("version") else None
    return service.find(spec.name, version)


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: "Service", max_body: int):
        self._service, self._max_body = service, max_body

    async def Predict(self, request: Any, context: Any) -> Any:
        """Return the outputs of a signature, or those that the request's output_filter names."""
        return await _answer(context, lambda: self._predict(request))

    async def _predict(self, request: Any) -> Any:
        number, model = _find(self._service, request.model_spec)
        with self._service.counted(request.model_spec.name):
            name = request.model_spec.signature_name or "serving_default"
            layouts = model.layouts()
            if name not in layouts:
                raise unknown("signature", name, layouts)
            for output in request.output_filter:
                if output not in model.signatures[name].outputs:
                    raise unknown("output", output, model.signatures[name].outputs)
            values = wire_format.by_name(dict(request.inputs), layouts[name].inputs)
            arrays = {key: _array(spec, values[key], layouts[name].batched, self._max_body)
                      for key, spec in layouts[name].inputs.items()}
            if model.signatures[name].unsupported:
                raise RequestError("Expected a signature of integers, floats, booleans and "
                                   f"strings. Received: {model.signatures[name].unsupported[0]}.")
            inputs = wire_format.checked(Inputs(name, arrays, False, []), layouts[name],
                                         self._service.max_pixels)
            outputs = await self._service.run(model, inputs)
            wire_format.check_finite(outputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.signature_name = name
        response.model_spec.version.value = number
        for key in request.output_filter or outputs:
            response.outputs[key].CopyFrom(to_tensor(outputs[key]))
        return response

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Return the signatures of a model."""
        async def answer() -> Any:
            number, model = _find(self._service, request.model_spec)
            for field in request.metadata_field:
                if field != "signature_def":
                    raise unknown("metadata_field", field, ["signature_def"])
            if not request.metadata_field:
                raise RequestError('Expected the metadata_field "signature_def". Received: none.')
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = number
            content = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in model.metadata.items():
                ParseDict(definition, content.signature_def[name])
            response.metadata["signature_def"].Pack(content)
            return response
        return await _answer(context, answer)


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service: "Service"):
        self._service = service

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Return the state of one version of a model, or of all, the newest first."""
        async def answer() -> Any:
            spec = request.model_spec
            number, _ = _find(self._service, spec)
            numbers = [number] if spec.HasField("version") else sorted(
                self._service.models[spec.name], reverse=True)
            status = get_model_status_pb2.ModelVersionStatus
            return get_model_status_pb2.GetModelStatusResponse(model_version_status=[
                status(version=number, state=status.AVAILABLE) for number in numbers])
        return await _answer(context, answer)


def _array(spec: TensorSpec, tensor: Any, batched: bool, max_body: int) -> np.ndarray:
    """Return a TensorProto as an array; its sizes are checked before memory is taken for it."""
    received = to_dtype(tensor.dtype)
    if received is None or received != spec.dtype:
        raise RequestError(f"Expected {spec.name} to hold {_words(spec.dtype)}. "
                           f"Received: {_words(received)}.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    count = math.prod(shape)
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise RequestError(f"Expected a shape of {spec.name} without unknown dimensions.")
    wire_format.check_shape(spec, shape, batched)
    if spec.dtype == object:
        if len(tensor.string_val) != count:
            raise RequestError(f"Expected {count:,} strings in {spec.name}. Received: "
                               f"{len(tensor.string_val):,}.")
        return np.array(list(tensor.string_val), object).reshape(shape)
    if count * spec.dtype.itemsize > max_body or (
            count > _LISTED and not tensor.tensor_content):
        raise RequestError(f"Expected {spec.name} as the bytes tensor_content, of at most "
                           f"{max_body:,} bytes. Received: {count:,} values.", 413)
    try:
        return to_array(tensor)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{spec.name} is no tensor: {error}") from None


def _words(dtype: np.dtype | None) -> str:
    if dtype is None:
        return "another type"
    return "strings" if dtype.kind == "O" else dtype.name
