"""The web page of `zoo serve`: predictions of each model, and pictures of its feature maps."""
import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from zoo.training.explanation.feature_maps import feature_maps
from zoo.training.explanation.pictures import SIDE, png
from zoo.training.serving import wire_format
from zoo.training.serving.models import Model

if TYPE_CHECKING:
    from zoo.training.serving.server import Service


def add_routes(api: FastAPI, service: "Service", respond: Callable[[Any], Response]) -> None:
    """Add the page at /, and its data: /models, and /maps/NAME for pictures of feature maps.

    Args:
        respond: returns the JSON response with a content.
    """
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")

    @api.get("/")
    async def show():
        return HTMLResponse(page)

    @api.get("/models")
    async def models():
        return respond({name: describe(service.find(name)[1]) for name in service.models})

    @api.post("/maps/{name}")
    async def maps(request: Request, name: str):
        _, model = service.find(name)
        content = await service.read_json(request)
        if isinstance(content, dict):
            content = {**content, "signature_name": "stages"}
        signature, inputs, _ = wire_format.decode(content, model.signatures, service.max_pixels)
        first = {name: array[:1] for name, array in inputs.items()}
        outputs = await service.run(signature, first)
        return respond({stage: pictures(outputs[stage][0]) for stage in model.stages})


def describe(model: Model) -> dict[str, Any]:
    """Return what the page shows of a model.

    Returns:
        A dict: "image" and "text", the signatures that take image files and sentences, or None;
        "stages", whether the model has feature maps; "labels", the class names or None.
    """
    signatures = {next(iter(signature.inputs)): name
                  for name, signature in model.signatures.items()
                  if len(signature.inputs) == 1 and "probabilities" in signature.outputs}
    return {"image": signatures.get("image_bytes"), "text": signatures.get("text"),
            "stages": bool(model.stages), "labels": model.class_names}


def pictures(values: np.ndarray) -> dict[str, Any]:
    """Return the pictures of a stage's output for one example.

    Args:
        values: as for `zoo.training.explanation.feature_maps.feature_maps`.

    Returns:
        {"shape": list, "maps": PNG files in Base64}.
    """
    if not values.size:
        raise wire_format.RequestError("This stage is empty.")
    side = SIDE
    if values.ndim != 3:
        side = max(SIDE, len(values))  # one column for each token of the sentence
    return {"shape": list(values.shape),
            "maps": [base64.b64encode(png(picture, side)).decode()
                     for picture in feature_maps(values)]}
