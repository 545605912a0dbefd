"""The page of `zoo serve`: what each model takes, and pictures of the feature maps of its stages."""
import base64
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse

from zoo.training.explanation.feature_maps import feature_maps
from zoo.training.explanation.pictures import SIDE, png
from zoo.training.serving.wire_format import Refused


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
        outputs = await service.ask(signature, {name: array[:1] for name, array in inputs.items()})
        return answer({stage: pictures(outputs[stage][0]) for stage in model.stages})


def describe(model):
    """Return what the page has to know of a model: the signatures for files and sentences, labels, and if it tells stages."""
    takes = {next(iter(signature.takes)): name for name, signature in model.signatures.items()
             if len(signature.takes) == 1 and "probabilities" in signature.gives}
    return {"image": takes.get("image_bytes"), "text": takes.get("text"), "stages": bool(model.stages),
            "labels": model.labels}


def pictures(values):
    """Return {shape, maps} of a stage's output for one example: PNG files in Base64, see `zoo.training.explanation.feature_maps.feature_maps`."""
    if not values.size:
        raise Refused("This stage is empty.")
    side = SIDE if values.ndim == 3 else max(SIDE, len(values))  # a column a place of the sentence
    return {"shape": list(values.shape),
            "maps": [base64.b64encode(png(grey, side)).decode() for grey in feature_maps(values)]}
