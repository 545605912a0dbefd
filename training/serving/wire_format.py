"""Between JSON and tensors: what a signature takes, checked before it is asked, and what it gives.

The formats are those of TensorFlow Serving's REST: https://www.tensorflow.org/tfx/serving/api_rest
"""
import base64
import io
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

from zoo.errors import UserError, unknown
from zoo.training.serving.image_headers import look_at


class Refused(UserError):
    """A request that is answered with one line and an HTTP status of 4xx or 5xx."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


async def inflated(chunks, limit):
    """The contents of a gzip file that comes in `chunks` of bytes, likewise; of each no more than `limit` + 1 bytes.

    Raises:
        Refused: if the file is damaged or incomplete.
    """
    inflater, why = zlib.decompressobj(31), "it ends too early"
    try:
        async for chunk in chunks:
            yield inflater.decompress(chunk, limit + 1)
            if inflater.unused_data:
                why = "more comes after its end"
                break
    except zlib.error as error:
        why = str(error)
    if not inflater.eof or inflater.unused_data:
        raise Refused(f"The body is not the gzip file that its Content-Encoding names: {why}.")


class Signature:
    """A function of a SavedModel.

    Attributes:
        takes, gives: {input or output name: tf.TensorSpec}.
        batched: whether all that goes in and comes out has one row per example, as far as its shapes tell; a
            `zoo.training.serving.batching.Batcher` sets it to False when a call shows otherwise.
        mergeable: whether besides no answer's shape depends on the rows beside it, as that of sentences padded to the longest
            does, so that requests can share a call, and be cut.
        numbers: in each row of a mergeable signature's answer.
    """

    def __init__(self, function, max_pixels):
        self._function, self._max_pixels = function, max_pixels
        self.takes, self.gives = function.structured_input_signature[1], function.structured_outputs
        shapes = [spec.shape for spec in (*self.takes.values(), *self.gives.values())]
        self._takes_rows = bool(self.takes) and all(spec.shape.rank != 0 for spec in self.takes.values())
        self._unsaid = [f"{name} of {spec.dtype.name}" for name, spec in (*self.takes.items(), *self.gives.items())
                        if np.dtype(spec.dtype.as_numpy_dtype).kind not in "fiubO"]
        self.batched = self._takes_rows and not self._unsaid and all(shape.rank and shape[0] is None for shape in shapes)
        rows = [spec.shape[1:] for spec in self.gives.values()] if self.batched else []
        self.mergeable = self.batched and all(row.is_fully_defined() for row in rows)
        self.numbers = sum(row.num_elements() for row in rows) if self.mergeable else None

    def __call__(self, inputs):
        """Return {output name: array} of {input name: array}."""
        outputs = self._function(**{name: tf.constant(value) for name, value in inputs.items()})
        arrays = {name: value.numpy() for name, value in outputs.items()}
        return {name: np.array(array, object) if isinstance(array, bytes) else array for name, array in arrays.items()}

    def blank(self, rows):
        """Return inputs of `rows` rows to warm up with; a dimension that is free is 1."""
        png = io.BytesIO()
        Image.new("RGB", (64, 64)).save(png, "PNG")
        return {name: np.full((rows, *(size or 1 for size in spec.shape[1:])), *_filling(spec, png.getvalue()))
                for name, spec in self.takes.items()}

    def inputs(self, given, by_row):
        """Return {input name: array} of the JSON of `instances` or `inputs`.

        Raises:
            Refused: if names, shapes or types are not what the signature takes, a number is not finite, or an image is none
                or has too many pixels, or JSON cannot hold what the signature takes or gives. Images are not decoded for that.
        """
        if self._unsaid:
            raise Refused("Expected a signature of NumPy's integers, floats, booleans and strings. "
                          f"Received: {self._unsaid[0]}.")
        if by_row and not self._takes_rows:
            raise Refused("This signature takes no rows: ask with \"inputs\" instead of \"instances\".")
        columns = self._named(self._columns(given) if by_row else given)
        arrays = {name: self._array(name, spec, columns[name]) for name, spec in self.takes.items()}
        if self.batched and len({len(array) for array in arrays.values()}) > 1:
            raise Refused(f"Expected as many rows in each of the inputs {', '.join(arrays)}.")
        return arrays

    def _named(self, columns):
        """Return {input name: JSON} of that, or of what the only input is to hold."""
        if not isinstance(columns, dict) or _is_b64(columns):
            if len(self.takes) != 1:
                raise Refused(f"Expected an object with the inputs {', '.join(self.takes)}.")
            columns = {next(iter(self.takes)): columns}
        for name in columns:
            if name not in self.takes:
                raise unknown("input", name, self.takes)
        if missing := [name for name in self.takes if name not in columns]:
            raise Refused(f"The input {missing[0]} is missing.")
        return columns

    def _columns(self, rows):
        if not isinstance(rows, list):
            raise Refused(f"Expected a list of rows in \"instances\". Received: a {type(rows).__name__}.")
        named = [isinstance(row, dict) and not _is_b64(row) for row in rows]
        if not any(named):
            return rows
        if not all(named) or any(row.keys() != rows[0].keys() for row in rows):
            raise Refused("Expected the same inputs in each row of \"instances\".")
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _array(self, name, spec, value):
        array = _strings(name, value) if spec.dtype == tf.string else _numbers(name, spec, value)
        if not spec.shape.is_compatible_with(array.shape) or (self.batched and not len(array)):
            sizes = ["batch" if i == 0 and self.batched else str(size or "any") for i, size in enumerate(spec.shape)]
            raise Refused(f"Expected {name} of shape ({', '.join(sizes)}). Received: {array.shape}.")
        if name == "image_bytes":
            for data in array.flat:
                look_at(data, self._max_pixels)
        return array


def _filling(spec, png):
    if spec.dtype != tf.string:
        return 0, spec.dtype.as_numpy_dtype
    return png if spec.name == "image_bytes" else b"a b", object  # two words: what gives a row for each word shows itself


def _is_b64(value):
    return isinstance(value, dict) and value.keys() == {"b64"}


def _leaves(name, value):
    """(array, types) of what the nested lists `value` hold, as it came: NumPy would make strings as wide as the longest."""
    array = np.array(value, dtype=object)
    types = set(map(type, array.ravel().tolist()))
    if list in types:
        raise Refused(f"Expected {name} of one shape throughout; its rows differ.")
    return array, types


def _numbers(name, spec, value):
    kind = np.dtype(spec.dtype.as_numpy_dtype)
    array, types = _leaves(name, value)
    allowed = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}.get(kind.kind, set())
    if not types <= allowed:
        raise Refused(f"Expected {name} to hold {kind.name} numbers only.")
    if kind.kind in "iu" and array.size and not np.iinfo(kind).min <= array.min() <= array.max() <= np.iinfo(kind).max:
        raise Refused(f"Expected {name} to hold {kind.name} numbers, {np.iinfo(kind).min} to {np.iinfo(kind).max}.")
    with np.errstate(over="ignore"):
        array = array.astype(kind)
    if not np.isfinite(array).all():
        raise Refused(f"Expected {name} to hold finite {kind.name} numbers.")
    return array


def _strings(name, value):
    def read(item):
        if isinstance(item, str):
            return item.encode()
        if _is_b64(item) and isinstance(item["b64"], str):
            return _bytes(name, item["b64"])
        raise Refused(f"Expected {name} to hold strings, or bytes as {{\"b64\": \"...\"}}.")
    array, _ = _leaves(name, value)
    return np.array([read(item) for item in array.ravel()], dtype=object).reshape(array.shape)


def _bytes(name, text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused(f"{name} holds \"b64\" that is not Base64: {error}.") from None


def by_row(outputs):
    """Return the answer to `instances`: a value for each row or, of several outputs, a dict of them.

    Raises:
        Refused: if the outputs differ in their number of rows, or one is a scalar.
    """
    counts = {value.shape[:1] for value in outputs.values()}
    if len(counts) > 1 or () in counts:
        raise Refused("This signature's outputs are no rows: ask with \"inputs\" instead of \"instances\".")
    readable = {name: _readable(name, value) for name, value in outputs.items()}
    if len(readable) == 1:
        return {"predictions": next(iter(readable.values()))}
    return {"predictions": [dict(zip(readable, row, strict=True)) for row in zip(*readable.values(), strict=True)]}


def by_column(outputs):
    """Return the answer to `inputs`: the whole output or, of several, a dict of them."""
    readable = {name: _readable(name, value) for name, value in outputs.items()}
    return {"outputs": readable if len(readable) > 1 else next(iter(readable.values()))}


def _readable(name, value):
    """What JSON can say of an array: text for strings, and Base64 for those whose name ends in _bytes."""
    if value.dtype != object:
        return np.asarray(value, order="C")[()]  # orjson takes scalars, and no array of rank 0
    return _texts(value.tolist(), name.endswith("_bytes"))


def _texts(value, as_bytes):
    if isinstance(value, list):
        return [_texts(item, as_bytes) for item in value]
    return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode(errors="replace")
