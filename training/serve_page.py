"""The page of `zoo serve`: what each model takes, and pictures of the feature maps of its stages."""
import base64
import io
from pathlib import Path

import numpy as np
from fastapi import Request
from fastapi.responses import HTMLResponse
from PIL import Image

from training.serve_json import Refused

_MAPS = 16  # shown of a stage
_SIDE = 128  # pixels of a map's picture at most; the page enlarges smaller ones


def add(api, service, answer):
    """Add the page at / and what it asks: /models, and /maps/NAME for pictures of the stages' maps."""
    page = Path(__file__).with_suffix(".html").read_text()

    @api.get("/")
    async def show():
        return HTMLResponse(page)

    @api.get("/models")
    async def models():
        newest = {name: service.model(name)[1] for name in service.models}
        return answer({name: describe(model) for name, model in newest.items()})

    @api.post("/maps/{name}")
    async def maps(request: Request, name: str):
        _, model = service.model(name)
        asked = await service.json(request)
        signature, inputs, _ = model.parse({**asked, "signature_name": "stages"} if isinstance(asked, dict) else asked)
        outputs = await service.batchers[signature].ask(inputs)
        shrinking = sorted(outputs.items(), key=lambda item: -np.prod(item[1].shape[1:-1]) if item[1].ndim > 2 else 0)
        return answer({stage: pictures(values[0]) for stage, values in shrinking})  # a SavedModel tells them by the alphabet


def describe(model):
    """Return what the page has to know of a model: the signatures for files and sentences, labels, and if it tells stages."""
    takes = {next(iter(signature.takes)): name for name, signature in model.signatures.items()
             if len(signature.takes) == 1 and "probabilities" in signature.gives}
    return {"image": takes.get("image_bytes"), "text": takes.get("text"), "stages": "stages" in model.signatures,
            "labels": model.labels}


def pictures(values):
    """Return {shape, maps} of a stage's output for one example: PNG files in Base64 of the maps that vary most.

    Args:
        values: float array (height, width, maps), or (maps,), whose numbers are shown in one picture. Each picture's own
            range becomes black to white.
    """
    maps = values if values.ndim == 3 and values.shape[0] * values.shape[1] > 1 else values.reshape(1, -1, 1)
    if not maps.size:
        raise Refused("This stage is empty.")
    order = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:_MAPS]
    low, high = maps.min(axis=(0, 1)), maps.max(axis=(0, 1))
    grey = (255 * (maps - low) / np.maximum(high - low, 1e-12)).astype("uint8")
    return {"shape": list(values.shape), "maps": [_png(grey[:, :, channel]) for channel in sorted(order)]}


def _png(grey):
    """A row of many numbers is folded to lines of as many."""
    if grey.shape[0] == 1 and grey.shape[1] > 1:
        side = int(np.ceil(np.sqrt(grey.shape[1])))
        grey = np.pad(grey.ravel(), (0, side * -(-grey.shape[1] // side) - grey.shape[1])).reshape(-1, side)
    image = Image.fromarray(grey)
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
