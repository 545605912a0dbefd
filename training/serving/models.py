"""The SavedModels that `zoo serve` loads."""
import json
from pathlib import Path

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from zoo.errors import UserError
from zoo.training.serving.signature import Signature


class Model:
    """One version of a SavedModel.

    Attributes:
        signatures: {name: `Signature`}.
        metadata: the signatures as TensorFlow Serving describes them, a dict.
        class_names: the names of the classes on the model card; None without a card.
        stages: the names of the network's stages, in the order of the model card, or sorted if the
            card does not list them; [] without a signature "stages".

    Raises:
        zoo.errors.UserError: if the SavedModel cannot be loaded or has no signatures.
    """

    def __init__(self, path: Path):
        try:
            self._loaded = tf.saved_model.load(path)  # has to outlive its signatures
            content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
            card = path / "assets" / "card.json"
            card = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"Cannot load the SavedModel {path}: {reason}") from None
        takes_pixels = card.get("input", {}).get("range") == [0, 255]
        self.signatures = {name: Signature(function, takes_pixels)
                           for name, function in self._loaded.signatures.items()}
        if not self.signatures:
            raise UserError(f"The SavedModel {path} has no signatures. `zoo export RUN` writes one "
                            "that has.")
        self.metadata = {
            name: MessageToDict(definition, preserving_proto_field_name=True,
                                always_print_fields_with_no_presence=True)
            for name, definition in content.meta_graphs[0].signature_def.items()
            if name in self.signatures}
        self.class_names = card.get("class_names")
        maps = self.signatures["stages"].outputs if "stages" in self.signatures else {}
        self.stages = [stage for stage in card.get("stages", sorted(maps))
                       if stage in maps and stage != "error"]
