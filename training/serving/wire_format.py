"""The JSON of TensorFlow Serving's REST interface: requests to arrays, and arrays to responses.

The formats: https://www.tensorflow.org/tfx/serving/api_rest. This module needs no TensorFlow.
"""
import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson

from zoo.errors import UserError, unknown
from zoo.training.preprocessing.pixels import pixel_fault
from zoo.training.serving.image_headers import checked_image

_KEYS = ("instances", "inputs", "signature_name")
# JSON's types for the kinds of NumPy numbers
_TYPES: dict[str, set[type]] = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}
_REQUEST_PIXELS = 4      # times the pixels of the largest image, in a request
_MAX_TEXT = 250_000      # bytes; Python's lock is held while one is normalized
_TEXT_PIXELS = 32        # that take as long as a byte of a text
_VALUES_AT_ONCE = 20_000  # written by one call of orjson, which holds Python's lock


class RequestError(UserError):
    """A request that the server rejects with one line and an HTTP status of 4xx or 5xx."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output: its name, its dtype and its shape.

    A dimension of any size is None, a shape of any rank is None, and strings are objects.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...] | None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of `shape` fits."""
        return self.shape is None or (len(self.shape) == len(shape) and all(
            size in (None, received) for size, received in zip(self.shape, shape, strict=True)))


class Layout(NamedTuple):
    """What decoding a request has to know of a signature; see its attributes of these names."""

    inputs: Mapping[str, TensorSpec]
    unsupported: tuple[str, ...]
    takes_rows: bool
    batched: bool
    takes_pixels: bool


class Inputs(NamedTuple):
    """A decoded request.

    Attributes:
        signature: the name of the signature.
        arrays: {input name: array}.
        by_row: whether the request has rows ("instances").
        pixels: the pixels of each encoded image, or of one that takes as long as a text; [] for
            other inputs.
    """

    signature: str
    arrays: dict[str, np.ndarray]
    by_row: bool
    pixels: list[int]

    def first(self, rows: int) -> "Inputs":
        """Return the first rows."""
        arrays = {name: array[:rows] for name, array in self.arrays.items()}
        return self._replace(arrays=arrays, pixels=self.pixels[:rows])


def decode(request: Any, signatures: Mapping[str, Layout], max_pixels: int) -> Inputs:
    """Decode the JSON of a predict request.

    Args:
        request: {"instances": a list of rows} or {"inputs": whole columns}, and optionally
            "signature_name".
        signatures: {name: `Layout`} of the model.
        max_pixels: the largest number of pixels of an encoded image; all images of a request
            together may have four times as many.

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
    chosen = request.get("signature_name") or "serving_default"
    if not isinstance(chosen, str) or chosen not in signatures:
        raise unknown("signature", chosen, signatures)
    layout, by_row = signatures[chosen], "instances" in request
    if layout.unsupported:
        raise RequestError("Expected a signature of integers, floats, booleans and strings. "
                           f"Received: {layout.unsupported[0]}.")
    if by_row and not layout.takes_rows:
        raise RequestError("This signature takes no rows: send \"inputs\" instead of "
                           "\"instances\".")
    values = _columns(request["instances"]) if by_row else request["inputs"]
    values = by_name(values, layout.inputs)
    arrays = {name: _array(name, spec, values[name]) for name, spec in layout.inputs.items()}
    return checked(Inputs(chosen, arrays, by_row, []), layout, max_pixels)


def checked(inputs: Inputs, layout: Layout, max_pixels: int) -> Inputs:
    """Check the arrays of a request, whatever protocol they came by.

    Returns:
        The inputs with their `pixels`.

    Raises:
        zoo.errors.UserError: as `decode` does for shapes, values and images.
    """
    arrays = inputs.arrays
    for name, spec in layout.inputs.items():
        check_shape(spec, arrays[name].shape, layout.batched)
        if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            raise RequestError(f"Expected {name} to hold finite {spec.dtype.name} numbers.")
    if layout.batched and len({len(array) for array in arrays.values()}) > 1:
        raise RequestError(f"Expected as many rows in each of the inputs {', '.join(arrays)}.")
    # The levels of serving_uint8 are those of a file; floats from 0 to 1 may be a scaled image.
    if layout.takes_pixels and "image" in arrays and arrays["image"].dtype.kind == "f":
        fault = pixel_fault(arrays["image"])
        if fault:
            raise RequestError(f"image has {fault[1]}.")
    if "text" in arrays and arrays["text"].dtype == object and arrays["text"].ndim == 1:
        sizes = [len(text) for text in arrays["text"]]
        if max(sizes, default=0) > _MAX_TEXT:
            raise RequestError(f"Expected texts of at most {_MAX_TEXT:,} bytes. Received: "
                               f"{max(sizes):,}.", 413)
        return inputs._replace(pixels=[_TEXT_PIXELS * size for size in sizes])
    if "image_bytes" not in arrays:
        return inputs
    files = arrays["image_bytes"]
    images = [checked_image(data, max_pixels) for data in files.ravel().tolist()]
    pixels, limit = [size for _, size in images], _REQUEST_PIXELS * max_pixels
    if sum(pixels) > limit:
        raise RequestError(f"Expected at most {limit:,} pixels in the images of a request. "
                           f"Received: {sum(pixels):,}.", 413)
    if layout.takes_pixels:  # other networks may read more of a file
        files = np.array([data for data, _ in images], object).reshape(files.shape)
    return inputs._replace(arrays={**arrays, "image_bytes": files}, pixels=pixels)


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


def by_name(values: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return {input name: value}; a value without a name belongs to the only input.

    Raises:
        zoo.errors.UserError: if an input is missing or unknown.
    """
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


def _array(name: str, spec: TensorSpec, value: Any) -> np.ndarray:
    if spec.dtype.kind == "O":
        return _strings(name, value)
    return _numbers(name, spec.dtype, value)


def check_shape(spec: TensorSpec, shape: tuple[int, ...], batched: bool = False) -> None:
    """Raise RequestError if an array of `shape` does not fit, or is empty where it is batched."""
    if not spec.fits(shape) or (batched and not shape[0]):
        sizes = ["any" if size is None else str(size) for size in spec.shape or ()]
        if batched:
            sizes[0] = "batch"
        raise RequestError(f"Expected {spec.name} of shape ({', '.join(sizes)}). "
                           f"Received: {shape}.")


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
    with np.errstate(over="ignore"):  # what is beyond the dtype becomes infinite: see `checked`
        return array.astype(dtype)


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
        text = item["b64"]
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise RequestError(f"{name} holds \"b64\" that is not Base64: {error}.") from None


def encode(outputs: Mapping[str, np.ndarray], by_row: bool) -> Iterator[bytes]:
    """Return the parts of the JSON of the response to a predict request.

    Args:
        outputs: {output name: array}.
        by_row: whether the request had "instances". The response then has "predictions", a value or
            a dict for each row; otherwise "outputs", the only output or a dict of all.

    Raises:
        RequestError: if rows are requested and an output is a scalar, the outputs differ in their
            number of rows, or one holds a number that is not finite, which JSON cannot hold.
    """
    counts = {value.shape[:1] for value in outputs.values()}
    if by_row and (len(counts) > 1 or () in counts):
        raise RequestError("The outputs of this signature are not rows: send \"inputs\" instead of "
                           "\"instances\".")
    check_finite(outputs)
    return _rows(outputs) if by_row else _columns_json(outputs)


def check_finite(outputs: Mapping[str, np.ndarray]) -> None:
    """Raise RequestError if an output has a value that is not finite."""
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise RequestError(f"The output {name} of these inputs has values that are not finite, "
                               "which JSON cannot hold. Expected inputs of a smaller magnitude.")


def _rows(outputs: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    count, values = len(next(iter(outputs.values()))), sum(map(np.size, outputs.values()))
    if values <= _VALUES_AT_ONCE:
        yield dump({"predictions": _row_values(outputs)})
        return
    start = b'{"predictions":['
    for rows in _slices(count, values):
        part = {name: array[rows] for name, array in outputs.items()}
        yield start + dump(_row_values(part))[1:-1]
        start = b","
    yield b"]}"


def _row_values(outputs: Mapping[str, np.ndarray]) -> Any:
    """Return for orjson the values of the only output, or a dict of the values of each row."""
    values = {name: _json_value(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        return next(iter(values.values()))
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _columns_json(outputs: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    yield b'{"outputs":' + b"{" * (len(outputs) > 1)
    comma = b""
    for name, value in outputs.items():
        if len(outputs) > 1:
            yield comma + dump(name) + b":"
            comma = b","
        if not value.ndim or not len(value):
            yield dump(_json_value(name, value))
            continue
        start = b"["
        for rows in _slices(len(value), value.size):
            yield start + dump(_json_value(name, value[rows]))[1:-1]
            start = b","
        yield b"]"
    yield b"}" * (1 + (len(outputs) > 1))


def _slices(rows: int, values: int) -> Iterator[slice]:
    """Split `rows` rows of `values` values in all so that each call of orjson is short."""
    step = max(1, rows * _VALUES_AT_ONCE // max(1, values))
    return (slice(start, start + step) for start in range(0, rows, step))


def dump(content: Any) -> bytes:
    """Return JSON; NumPy's arrays and numbers are written as lists and numbers."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


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
