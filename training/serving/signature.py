"""The inputs and outputs of a function of a SavedModel."""
import io
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image


class Signature:
    """A function of a SavedModel.

    Attributes:
        function: takes tensors by name and returns a dict of tensors.
        inputs, outputs: {name: tf.TensorSpec}.
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
    """

    def __init__(self, function: Any, takes_pixels: bool = False):
        self.function, self.takes_pixels = function, takes_pixels
        self.inputs = function.structured_input_signature[1]
        self.outputs = function.structured_outputs
        specs = [*self.inputs.items(), *self.outputs.items()]
        self.unsupported = [f"{name} of {spec.dtype.name}" for name, spec in specs
                            if np.dtype(spec.dtype.as_numpy_dtype).kind not in "fiubO"]
        self.takes_rows = bool(self.inputs) and all(spec.shape.rank != 0
                                                    for spec in self.inputs.values())
        self.batched = self.takes_rows and not self.unsupported and all(
            spec.shape.rank and spec.shape[0] is None for _, spec in specs)
        rows = [spec.shape[1:] for spec in self.outputs.values()] if self.batched else []
        self.mergeable = self.batched and all(row.is_fully_defined() for row in rows)
        self.values_per_row = sum(row.num_elements() for row in rows) if self.mergeable else 0

    def blank(self, rows: int) -> dict[str, np.ndarray]:
        """Return `rows` rows of inputs to warm up with; dimensions of unknown size have size 1."""
        return {name: np.full((rows, *(size or 1 for size in spec.shape[1:])), *_blank(spec))
                for name, spec in self.inputs.items()}


def _blank(spec: tf.TensorSpec) -> tuple[object, type]:
    """Return the value and the dtype of a blank input."""
    if spec.dtype != tf.string:
        return 0, spec.dtype.as_numpy_dtype
    if spec.name != "image_bytes":
        return b"a b", object  # two words, to detect a signature that returns a row for each word
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    return png.getvalue(), object
