"""The engine `tensorflow`: the signatures of a SavedModel."""
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from zoo.errors import UserError
from zoo.training.serving.signature import Arrays, Signature
from zoo.training.serving.wire_format import RequestError, TensorSpec


def load(path: Path, takes_pixels: bool = False,
         threads: int | None = None) -> tuple[dict[str, Signature], dict[str, Any]]:
    """Load a SavedModel.

    Args:
        takes_pixels: whether inputs named `image` have pixels from 0 to 255.
        threads: how many threads compute; by default TensorFlow's choice. Only the first call of
            the process decides.

    Returns:
        {name: `Signature`}, and {name: the signature as TensorFlow Serving describes it}.

    Raises:
        zoo.errors.UserError: if it cannot be loaded or has no signatures.
    """
    if threads:
        with contextlib.suppress(RuntimeError):  # TensorFlow has started
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    try:
        loaded = tf.saved_model.load(path)
        content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"Cannot load the SavedModel {path}: {reason}") from None
    signatures = {name: _signature(loaded, function, takes_pixels)
                  for name, function in loaded.signatures.items()}
    if not signatures:
        raise UserError(f"The SavedModel {path} has no signatures. `zoo export RUN` writes one "
                        "that has.")
    definitions = content.meta_graphs[0].signature_def
    return signatures, {name: MessageToDict(definitions[name], preserving_proto_field_name=True,
                                            always_print_fields_with_no_presence=True)
                        for name in definitions if name in signatures}


def _signature(loaded: Any, function: Any, takes_pixels: bool) -> Signature:
    def run(inputs: Arrays, loaded: Any = loaded) -> Arrays:  # which has to outlive its signatures
        try:
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            arrays = {name: value.numpy() for name, value in function(**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(f"The network rejects this input: {_reason(error)}") from None
        except tf.errors.OpError as error:
            raise RequestError(f"The network failed: {_reason(error)}", 500) from None
        return {name: np.array(array, object) if isinstance(array, bytes) else array
                for name, array in arrays.items()}
    return Signature(run, _specs(function.structured_input_signature[1]),
                     _specs(function.structured_outputs), takes_pixels)


def _specs(specs: Mapping[str, tf.TensorSpec]) -> dict[str, TensorSpec]:
    return {name: _spec(name, spec) for name, spec in specs.items()}


def _spec(name: str, spec: tf.TensorSpec) -> TensorSpec:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorSpec(name, np.dtype(spec.dtype.as_numpy_dtype), shape)


def _reason(error: tf.errors.OpError) -> str:
    """Return the sentence of TensorFlow's message without the names of nodes around it."""
    line = error.message.strip().splitlines()[0]
    return line.split("}} ", 1)[-1][:200]
