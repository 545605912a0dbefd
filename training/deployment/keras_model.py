"""The Keras model of an export: its layers from a small file, its weights from the SavedModel.

A SavedModel computes, but knows no layers. What looks into a network, as the map on the page of
`zoo serve` does, needs them. TensorFlow is imported only to load it: servers without TensorFlow
import this module.
"""
import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UserError
from zoo.training.files import write as write_file

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE = "assets/model.json.gz"


def write(model: "keras.Model", names: Mapping[str, str], export: Path) -> None:
    """Write the layers of a model into the directory of its SavedModel.

    Args:
        names: {path of a weight: name of its constant or variable in the SavedModel}.
    """
    described = {"model": json.loads(model.to_json()),
                 "weights": {weight.path: names[weight.path] for weight in model.weights}}
    (export / FILE).parent.mkdir(exist_ok=True)
    write_file(export / FILE, gzip.compress(json.dumps(described).encode(), mtime=0))


def load(export: Path) -> "keras.Model":
    """Return the model that `export` was made of, from inputs to logits.

    Raises:
        zoo.errors.UserError: if the export lacks the file, as those of version 0.1 do; or its
            layers are not those of Keras.
    """
    import keras
    import tensorflow as tf
    try:
        described = json.loads(gzip.decompress((export / FILE).read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{export} has no {FILE}: `zoo export` of version 0.2 writes it.") from None
    try:
        model = keras.models.model_from_json(json.dumps(described["model"]))
    except (TypeError, ValueError) as error:
        raise UserError(f"Cannot build the network of {export}: {str(error).splitlines()[0]}"
                        ) from None
    constants = _constants(export, set(described["weights"].values()))
    file = export / "variables/variables"
    variables = functools.cache(lambda: tf.train.load_checkpoint(str(file)))
    for weight in model.weights:
        name = described["weights"][weight.path]
        weight.assign(constants[name] if name in constants else variables().get_tensor(name))
    return model


def _constants(export: Path, names: set[str]) -> dict[str, "np.ndarray"]:
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    content = SavedModel.FromString((export / "saved_model.pb").read_bytes())
    return {node.name: tf.make_ndarray(node.attr["value"].tensor)
            for function in content.meta_graphs[0].graph_def.library.function
            for node in function.node_def if node.op == "Const" and node.name in names}
