"""The messages of TensorFlow Serving, from the package tensorflow-serving-api, and their arrays.

They stand on messages in the package tensorflow, whose own import takes seconds and hundreds of MB.
This module imports the messages alone.
"""
import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.training.serving.signature import DTYPES


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
    """Let modules in the package tensorflow be imported without the package's own code."""
    spec = importlib.util.find_spec("tensorflow") if "tensorflow" not in sys.modules else None
    if spec is None:
        yield
        return
    folder = types.ModuleType("tensorflow")
    folder.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["tensorflow"] = folder
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


with _without_tensorflow():
    from tensorflow.core.framework import tensor_pb2, types_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

__all__ = ["get_model_metadata_pb2", "get_model_status_pb2", "model_service_pb2_grpc",
           "predict_pb2", "prediction_service_pb2_grpc"]

_NUMBERS = {types_pb2.DataType.Value(name): np.dtype(dtype) for dtype, name in DTYPES.items()}
_VALUES = {"float32": "float_val", "float64": "double_val", "int64": "int64_val",
           "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val"}  # others: int_val


def to_dtype(number: int) -> np.dtype | None:
    """Return the NumPy type of a DataType; None if it has none."""
    return _NUMBERS.get(number)


def to_array(tensor: Any) -> np.ndarray:
    """Return a TensorProto of numbers as an array, as `tf.make_ndarray` does.

    Raises:
        ValueError: if it has another number of values than its shape.
    """
    dtype, shape = _NUMBERS[tensor.dtype], tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    if dtype == np.float16:
        values = np.array(tensor.half_val, "uint16").view(dtype)
    else:
        values = np.array(getattr(tensor, _VALUES.get(dtype.name, "int_val")), dtype)
    missing = int(np.prod(shape)) - len(values)
    if missing < 0:
        raise ValueError(f"{len(values):,} values for the shape {shape}")
    # the last value stands for all that follow, and no values for zeros
    return np.pad(values, (0, missing), "edge" if len(values) else "constant").reshape(shape)


def to_tensor(array: np.ndarray) -> Any:
    """Return an array as a TensorProto."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(DTYPES[array.dtype.name]))
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.tobytes()
    return tensor
