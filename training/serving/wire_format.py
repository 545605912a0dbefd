"""The JSON of TensorFlow Serving's REST interface: requests to arrays, and arrays to responses.

The formats: https://www.tensorflow.org/tfx/serving/api_rest
"""
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import UserError, unknown
from zoo.training.preprocessing.pixels import pixel_fault
from zoo.training.serving.image_headers import check_image

if TYPE_CHECKING:
    import tensorflow as tf

    from zoo.training.serving.signature import Signature

_KEYS = ("instances", "inputs", "signature_name")
# JSON's types for the kinds of NumPy numbers
_TYPES: dict[str, set[type]] = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}


class RequestError(UserError):
    """A request that the server rejects with one line and an HTTP status of 4xx or 5xx."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


def decode(request: Any, signatures: Mapping[str, "Signature"],
           max_pixels: int) -> tuple["Signature", dict[str, np.ndarray], bool]:
    """Decode the JSON of a predict request.

    Args:
        request: {"instances": a list of rows} or {"inputs": whole columns}, and optionally
            "signature_name".
        signatures: {name: `Signature`} of the model.
        max_pixels: the largest number of pixels of an encoded image.

    Returns:
        The signature, {input name: array}, and whether the request has rows ("instances").

    Raises:
        zoo.errors.UserError: if names, shapes or types do not match the signature, a number is not
            finite or no pixel, an image is not one or too large by its header, or JSON cannot hold
            the types of the signature.
    """
    if not isinstance(request, dict):
        raise RequestError("Expected a JSON object with \"instances\" or \"inputs\". "
                           f"Received: a {type(request).__name__}.")
    for key in request:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS)
    if ("instances" in request) == ("inputs" in request):
        raise RequestError("Expected either \"instances\" (a list of rows) or \"inputs\" "
                           "(whole columns).")
    name = request.get("signature_name") or "serving_default"
    if not isinstance(name, str) or name not in signatures:
        raise unknown("signature", name, signatures)
    signature, by_row = signatures[name], "instances" in request
    if signature.unsupported:
        raise RequestError("Expected a signature of integers, floats, booleans and strings. "
                           f"Received: {signature.unsupported[0]}.")
    if by_row and not signature.takes_rows:
        raise RequestError("This signature takes no rows: send \"inputs\" instead of "
                           "\"instances\".")
    values = _columns(request["instances"]) if by_row else request["inputs"]
    values = _by_name(values, signature.inputs)
    arrays = {name: _array(name, spec, values[name], signature.batched)
              for name, spec in signature.inputs.items()}
    if signature.batched and len({len(array) for array in arrays.values()}) > 1:
        raise RequestError(f"Expected as many rows in each of the inputs {', '.join(arrays)}.")
    if signature.takes_pixels and "image" in arrays:
        fault = pixel_fault(arrays["image"])
        if fault:
            raise RequestError(f"image has {fault[1]}.")
    if "image_bytes" in arrays:
        for data in arrays["image_bytes"].flat:
            check_image(data, max_pixels)
    return signature, arrays, by_row


def _columns(rows: Any) -> Any:
    """Return {input name: list} of rows that are objects, and other rows as they are."""
    if not isinstance(rows, list):
        raise RequestError("Expected a list of rows in \"instances\". "
                           f"Received: a {type(rows).__name__}.")
    named = [isinstance(row, dict) and not _is_b64(row) for row in rows]
    if not any(named):
        return rows
    if not all(named) or any(row.keys() != rows[0].keys() for row in rows):
        raise RequestError("Expected the same inputs in each row of \"instances\".")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _by_name(values: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return {input name: value}; a value without a name belongs to the only input."""
    if not isinstance(values, dict) or _is_b64(values):
        if len(inputs) != 1:
            raise RequestError(f"Expected an object with the inputs {', '.join(inputs)}.")
        values = {next(iter(inputs)): values}
    for name in values:
        if name not in inputs:
            raise unknown("input", name, inputs)
    for name in inputs:
        if name not in values:
            raise RequestError(f"The input {name} is missing.")
    return values


def _array(name: str, spec: "tf.TensorSpec", value: Any, batched: bool) -> np.ndarray:
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    array = _strings(name, value) if dtype.kind == "O" else _numbers(name, dtype, value)
    if not spec.shape.is_compatible_with(array.shape) or (batched and not len(array)):
        sizes = [str(size or "any") for size in spec.shape]
        if batched:
            sizes[0] = "batch"
        raise RequestError(f"Expected {name} of shape ({', '.join(sizes)}). "
                           f"Received: {array.shape}.")
    return array


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _objects(name: str, value: Any) -> tuple[np.ndarray, set[type]]:
    """Return nested lists as an array of objects, and the types of these objects.

    NumPy would store strings in an array of str as wide as the longest.
    """
    array = np.array(value, dtype=object)
    types = set(map(type, array.ravel().tolist()))
    if list in types:
        raise RequestError(f"Expected {name} of one shape throughout; its rows differ.")
    return array, types


def _numbers(name: str, dtype: np.dtype, value: Any) -> np.ndarray:
    array, types = _objects(name, value)
    if not types <= _TYPES[dtype.kind]:
        raise RequestError(f"Expected {name} to hold {dtype.name} numbers only.")
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if not limits.min <= array.min() <= array.max() <= limits.max:
            raise RequestError(f"Expected {name} to hold {dtype.name} numbers, {limits.min} to "
                               f"{limits.max}.")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if not np.isfinite(array).all():
        raise RequestError(f"Expected {name} to hold finite {dtype.name} numbers.")
    return array


def _strings(name: str, value: Any) -> np.ndarray:
    array, _ = _objects(name, value)
    items = [_bytes(name, item) for item in array.ravel()]
    return np.array(items, dtype=object).reshape(array.shape)


def _bytes(name: str, item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if not _is_b64(item) or not isinstance(item["b64"], str):
        raise RequestError(f"Expected {name} to hold strings, or bytes as {{\"b64\": \"...\"}}.")
    try:
        return base64.b64decode(item["b64"], validate=True)
    except ValueError as error:
        raise RequestError(f"{name} holds \"b64\" that is not Base64: {error}.") from None


def encode(outputs: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """Return the JSON content of the response to a predict request.

    Args:
        outputs: {output name: array}.
        by_row: whether the request had "instances". The response then has "predictions", a value or
            a dict for each row; otherwise "outputs", the only output or a dict of all.

    Raises:
        RequestError: if rows are requested and an output is a scalar, or the outputs differ in
            their number of rows.
    """
    counts = {value.shape[:1] for value in outputs.values()}
    if by_row and (len(counts) > 1 or () in counts):
        raise RequestError("The outputs of this signature are not rows: send \"inputs\" instead of "
                           "\"instances\".")
    values = {name: _json_value(name, value) for name, value in outputs.items()}
    content = values if len(values) > 1 else next(iter(values.values()))
    if not by_row:
        return {"outputs": content}
    if len(values) > 1:
        content = [dict(zip(values, row, strict=True))
                   for row in zip(*values.values(), strict=True)]
    return {"predictions": content}


def _json_value(name: str, value: np.ndarray) -> Any:
    """Return an array of numbers for orjson; strings as text, or Base64 if named *_bytes."""
    if value.dtype != object:
        return np.asarray(value, order="C")[()]  # orjson takes scalars but no arrays of rank 0
    return _texts(value.tolist(), name.endswith("_bytes"))


def _texts(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_texts(item, as_bytes) for item in value]
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")
