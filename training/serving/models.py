"""The models that `zoo serve` loads."""
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.startup import quiet_import
from zoo.training.deployment import keras_model
from zoo.training.serving import startup
from zoo.training.serving.batching import Batcher
from zoo.training.serving.wire_format import Layout

if TYPE_CHECKING:
    import keras


class Model:
    """One version of a model.

    Args:
        path: an export, or any SavedModel.
        engine: a name of `zoo.training.serving.startup.FILES`, or "auto", see `choose_engine`.
        workers: how many processes share the machine's processors.

    Attributes:
        path: see above.
        engine: the name of the engine that runs it.
        signatures: {name: `zoo.training.serving.signature.Signature`}.
        metadata: the signatures as TensorFlow Serving describes them, a dict.
        class_names: the names of the classes on the model card; None without a card.
        input: how files or sentences become inputs, from the model card; {} without a card.
        samples: what the export brings to try it with, from assets/samples.json: "images", a list
            of data URIs, or "texts"; {} without the file.
        stages: the names of the network's stages, in the order of the model card, or sorted if the
            card does not list them; [] without a signature "stages".
        batchers: {(signature name, whether it takes large images): `Batcher`}, of the server.

    Raises:
        zoo.errors.UserError: if the model cannot be loaded or has no signatures.
    """

    def __init__(self, path: Path, engine: str = "auto", workers: int = 1):
        self.path, self.engine = path, startup.choose_engine(path, engine)
        card = startup.read_card(path)
        threads = max(1, (os.cpu_count() or 1) // workers)
        if self.engine == "tensorflow":
            # oneDNN's allocator keeps what a large image took, up to 512 MB, for later tensors.
            os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
            with quiet_import():
                from zoo.training.serving import saved_models
            takes_pixels = card.get("input", {}).get("range") == [0, 255]
            self.signatures, self.metadata = saved_models.load(path, takes_pixels,
                                                              threads if workers > 1 else None)
        else:
            from zoo.training.serving import light_models
            self.signatures = light_models.load(path / startup.FILES[self.engine], card, threads)
            self.metadata = {name: signature.definition()
                             for name, signature in self.signatures.items()}
        self.batchers: dict[tuple[str, bool], Batcher] = {}
        self.class_names, self.input = card.get("class_names"), card.get("input", {})
        self.samples = startup.read_samples(path)
        maps = self.signatures["stages"].outputs if "stages" in self.signatures else {}
        self.stages = [stage for stage in card.get("stages", sorted(maps))
                       if stage in maps and stage != "error"]

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The Keras model that the export was made of; only with the engine `tensorflow`.

        Raises:
            zoo.errors.UserError: see `zoo.training.deployment.keras_model.load`.
        """
        with quiet_import():
            return keras_model.load(self.path)

    def layouts(self) -> dict[str, Layout]:
        """Return {signature name: what decoding a request has to know of it}."""
        return {name: signature.layout() for name, signature in self.signatures.items()}
