"""The SavedModels that `zoo serve` answers from, and what each one's signatures are."""
import json

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from zoo.errors import UserError, unknown
from zoo.training.serving.wire_format import Refused, Signature

_KEYS = ("instances", "inputs", "signature_name")


class Model:
    """One version of a SavedModel; `max_pixels` bounds the images it is sent.

    Attributes:
        signatures: {name: `Signature`}.
        metadata: its signatures as TensorFlow Serving tells them, a dict.
        labels: the classes' names, where the model card tells them; None elsewhere.
        stages: the names of its stages, in the order of the model card, or of the alphabet; [] if it tells none.
    """

    def __init__(self, path, max_pixels):
        try:
            self._loaded = tf.saved_model.load(path)  # has to outlive its signatures
            graph = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
            card = path / "assets" / "card.json"
            card = json.loads(card.read_text()) if card.exists() else {}
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise UserError(f"Cannot load the SavedModel {path}: {str(error).splitlines()[0]}") from None
        self.signatures = {name: Signature(function, max_pixels) for name, function in self._loaded.signatures.items()}
        if not self.signatures:
            raise UserError(f"The SavedModel {path} has no signatures. `zoo export RUN` writes one that has.")
        self.metadata = {name: MessageToDict(told, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
                         for name, told in graph.signature_def.items() if name in self.signatures}
        self.labels = card.get("class_names")
        told = self.signatures["stages"].gives if "stages" in self.signatures else {}
        self.stages = [stage for stage in card.get("stages", sorted(told)) if stage in told and stage != "error"]

    def parse(self, request):
        """Return (signature, inputs, whether in row format) of the JSON of a predict request; see `Signature.inputs`."""
        if not isinstance(request, dict):
            raise Refused("Expected a JSON object with \"instances\" or \"inputs\". "
                          f"Received: a {type(request).__name__}.")
        for key in request:
            if key not in _KEYS:
                raise unknown("key", key, _KEYS)
        if ("instances" in request) == ("inputs" in request):
            raise Refused("Expected either \"instances\" (a list of rows) or \"inputs\" (whole columns).")
        name = request.get("signature_name") or "serving_default"
        if not isinstance(name, str) or name not in self.signatures:
            raise unknown("signature", name, self.signatures)
        by_row = "instances" in request
        signature = self.signatures[name]
        return signature, signature.inputs(request["instances" if by_row else "inputs"], by_row), by_row
