"""The inputs and outputs of a function of a served model, whichever engine runs it."""
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from zoo.training.serving.wire_format import Layout, TensorSpec

Arrays = dict[str, np.ndarray]

# TensorFlow's names of NumPy's types; objects are strings.
DTYPES = {"float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "int8": "DT_INT8",
          "int16": "DT_INT16", "int32": "DT_INT32", "int64": "DT_INT64", "uint8": "DT_UINT8",
          "uint16": "DT_UINT16", "uint32": "DT_UINT32", "uint64": "DT_UINT64", "bool": "DT_BOOL",
          "object": "DT_STRING"}


class Signature:
    """A function of a served model.

    Args:
        run: takes {input name: array} and returns {output name: array}; strings are bytes. It
            raises RequestError for inputs that it cannot compute.
        prepare: what is done with the inputs before `run`, row by row; by default nothing. It
            returns other names than those of the inputs.

    Attributes:
        inputs, outputs: {name: `zoo.training.serving.wire_format.TensorSpec`}.
        unsupported: the inputs and outputs that JSON cannot hold, such as "y of complex64".
        takes_rows: whether every input has a dimension for the rows of "instances".
        batched: whether every input and output has one row for each example, according to its
            shape. A `zoo.training.serving.batching.Batcher` sets it to False if a call shows
            otherwise.
        mergeable: whether it is batched and the shape of an output row does not depend on other
            rows. Requests can then share a call or be split. The feature maps of sentences, padded
            to the longest one in the call, are not mergeable.
        values_per_row: the number of values in an output row; 0 unless mergeable.
        takes_pixels: whether the input `image` has pixels from 0 to 255; of exports of the zoo.
        prepared_pixels: the pixels of the image that `prepare` makes of a row.
        padded: whether a batch is padded to one of few sizes, as the first call at each is slow.
    """

    def __init__(self, run: Callable[[Arrays], Arrays], inputs: Mapping[str, TensorSpec],
                 outputs: Mapping[str, TensorSpec], takes_pixels: bool = False,
                 prepare: Callable[[Arrays], Arrays] | None = None, prepared_pixels: int = 0,
                 padded: bool = True):
        self._run, self._prepare, self.takes_pixels = run, prepare, takes_pixels
        self.prepared_pixels, self.padded = prepared_pixels, padded
        self.inputs, self.outputs = inputs, outputs
        specs = [*self.inputs.values(), *self.outputs.values()]
        self.unsupported = tuple(f"{spec.name} of {spec.dtype.name}" for spec in specs
                                 if spec.dtype.kind not in "fiubO")
        self.takes_rows = bool(self.inputs) and all(spec.shape != ()
                                                    for spec in self.inputs.values())
        self.batched = self.takes_rows and not self.unsupported and all(
            spec.shape and spec.shape[0] is None for spec in specs)
        rows = [spec.shape[1:] for spec in self.outputs.values() if spec.shape]
        self.mergeable = self.batched and all(None not in row for row in rows)
        self.values_per_row = 0
        if self.mergeable:
            self.values_per_row = sum(math.prod(size or 0 for size in row) for row in rows)

    def prepared(self, inputs: Arrays) -> Arrays:
        """Return what `run` makes of its inputs first; of such inputs, the inputs."""
        if self._prepare and inputs.keys() == self.inputs.keys():
            return self._prepare(inputs)
        return inputs

    def run(self, inputs: Arrays) -> Arrays:
        """Return {output name: array} for {input name: array}, which may be `prepared`.

        Raises:
            RequestError: if it cannot compute the inputs.
        """
        return self._run(self.prepared(inputs))

    def layout(self) -> Layout:
        """Return what decoding a request has to know."""
        return Layout(self.inputs, self.unsupported, self.takes_rows, self.batched,
                      self.takes_pixels)

    def blank(self, rows: int) -> Arrays:
        """Return `rows` rows of inputs to warm up with; dimensions of unknown size have size 1."""
        return {name: np.full((rows, *(size or 1 for size in (spec.shape or ())[1:])),
                              _blank(spec), spec.dtype)
                for name, spec in self.inputs.items()}

    def definition(self) -> dict[str, Any]:
        """Return it as TensorFlow Serving's metadata describes a signature, a dict."""
        return {"inputs": {name: _tensor_info(spec) for name, spec in self.inputs.items()},
                "outputs": {name: _tensor_info(spec) for name, spec in self.outputs.items()},
                "method_name": "tensorflow/serving/predict", "defaults": {}}


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape or ()]
    return {"name": f"{spec.name}:0", "dtype": DTYPES[spec.dtype.name],
            "tensor_shape": {"dim": sizes, "unknown_rank": spec.shape is None}}


def _blank(spec: TensorSpec) -> object:
    """Return the value of a blank input."""
    if spec.dtype != object:
        return 0
    if spec.name != "image_bytes":
        return b"a b"  # two words, to detect a signature that returns a row for each word
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    return png.getvalue()
