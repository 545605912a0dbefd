"""The web page of `zoo serve`: predictions, what the network sees, and its feature maps.

The map of the network needs its layers, and so TensorFlow; servers of other engines say so.
The graph that is served has no gradients, so there is no Grad-CAM. The page computes occlusion
instead (M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
2014, section 4.2, https://arxiv.org/abs/1311.2901), by predictions of images with covered patches
and of sentences without one of their words.
"""
import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from zoo.errors import UserError
from zoo.training.deployment import keras_model
from zoo.training.explanation.feature_maps import feature_maps
from zoo.training.explanation.pictures import SIDE, png
from zoo.training.pages.templates import environment
from zoo.training.preprocessing.pillow_images import prepare
from zoo.training.preprocessing.tokens import Vocabulary, split_characters, split_words
from zoo.training.serving.models import Model
from zoo.training.serving.wire_format import Inputs, RequestError, dump

_HOW = ("shape", "resize", "background", "eval_resize")  # of the card's input: how files are read

if TYPE_CHECKING:
    from markupsafe import Markup

    from zoo.training.serving.server import Service


def routes(service: "Service", respond: Callable[[Any], Response]) -> list[Route]:
    """Return the page at /, and its data.

    /models describes the models. /maps/NAME returns pictures of feature maps, and what the network
    sees of the input: as "image" the picture of the resized pixels, or as "tokens" the words or
    characters; no stage has one of these names. /network/NAME returns the map of the network for an
    input, as {"page": HTML}.

    Args:
        respond: returns the JSON response with a content.
    """
    templates = environment(Path(__file__).parent)
    page = templates.get_template("page.html").render()

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def models(request: Request) -> Response:
        return respond({name: describe(service.find(name)[1]) for name in service.models})

    async def pictures_json(model: Model, inputs: Inputs, outputs: dict[str, np.ndarray]) -> bytes:
        def content():
            return {**seen(model, inputs), **{stage: pictures(outputs[stage][0])
                                              for stage in model.stages}}
        return dump(await service.in_thread(content))

    async def maps(request: Request) -> Response:
        return await service.answer(request, pictures_json, "stages", rows=1)

    async def map_json(model: Model, inputs: Inputs, outputs: dict[str, np.ndarray]) -> bytes:
        def content():
            drawn = network_map(model, inputs)
            return {"page": templates.get_template("network.html").render(network=drawn)}
        return dump(await service.in_thread(content, service.map_threads))

    async def network(request: Request) -> Response:
        return await service.answer(request, map_json, rows=1)

    return [Route("/", show), Route("/models", models),
            Route("/maps/{name:name}", maps, methods=["POST"]),
            Route("/network/{name:name}", network, methods=["POST"])]


def describe(model: Model) -> dict[str, Any]:
    """Return what the page shows of a model.

    Returns:
        A dict: "image" and "text", the signatures that take image files and sentences, or None;
        "stages", whether the model has feature maps; "no_map", why there is no map of the network,
        "" if there is one; "labels", the class names or None; "samples", a list of data URIs of
        images, or of sentences, to try.
    """
    signatures = {next(iter(signature.inputs)): name
                  for name, signature in model.signatures.items()
                  if len(signature.inputs) == 1 and "probabilities" in signature.outputs}
    return {"image": signatures.get("image_bytes"), "text": signatures.get("text"),
            "stages": bool(model.stages), "no_map": why_no_map(model), "labels": model.class_names,
            "samples": model.samples.get("images") or model.samples.get("texts") or []}


def why_no_map(model: Model) -> str:
    """Return why there is no map of a model's network; "" if there is one."""
    if model.engine != "tensorflow":
        return f"There is no map of the network: it needs TensorFlow, not {model.engine}."
    if model.input.get("tokens") == "characters":
        return "There is no map of a network that reads characters."
    if not (model.path / keras_model.FILE).exists():
        return "There is no map of the network: the model is no export of zoo 0.2 or later."
    return ""


def network_map(model: Model, inputs: Inputs) -> "Markup":
    """Return the map of the network for the first input, an encoded image or a sentence.

    Raises:
        RequestError: if the input is neither.
        zoo.errors.UserError: if there is no map.
    """
    if reason := why_no_map(model):
        raise UserError(reason)
    from zoo.training.explanation.network_map import fragment, of_sentence  # imports Keras
    names = model.class_names or []
    if "text" in inputs.arrays:
        text = bytes(inputs.arrays["text"][0]).decode(errors="replace")
        words = Vocabulary.parse((model.path / "assets/vocab.txt").read_text(encoding="utf-8"))
        return of_sentence(model.network, text, words, model.input["max_tokens"], names)
    if "image_bytes" not in inputs.arrays:
        raise RequestError("Expected an image file or a sentence. Received: "
                           f"{', '.join(inputs.arrays)}.")
    return fragment(model.network, _pixels(model, inputs), names)


def _pixels(model, inputs):
    """The first image, as the network takes it."""
    return prepare(bytes(inputs.arrays["image_bytes"][0]), *(model.input[key] for key in _HOW))


def seen(model: Model, inputs: Inputs) -> dict[str, Any]:
    """Return what the network sees of the first input, by the rules of the model card.

    Returns:
        {"image": {"shape": list, "maps": [a PNG file in Base64]}} or {"tokens": {"unit": "words" or
        "characters", "words": list}}; {} if the card does not tell.
    """
    if "text" in inputs.arrays and "max_tokens" in model.input:
        text = bytes(inputs.arrays["text"][0]).decode(errors="replace")
        unit = model.input.get("tokens", "words")  # up to version 0.1 all were words
        split = split_characters if unit == "characters" else split_words
        words = list(split([text], model.input["max_tokens"])[0])
        return {"tokens": {"unit": unit, "words": words}}
    if "image_bytes" not in inputs.arrays or not set(_HOW) <= model.input.keys():
        return {}  # version 0.1 did not write all of them
    pixels = _pixels(model, inputs)
    return {"image": {"shape": list(pixels.shape),
                      "maps": [base64.b64encode(png(pixels, max(pixels.shape))).decode()]}}


def pictures(values: np.ndarray) -> dict[str, Any]:
    """Return the pictures of a stage's output for one example.

    Args:
        values: as for `zoo.training.explanation.feature_maps.feature_maps`.

    Returns:
        {"shape": list, "maps": PNG files in Base64}.
    """
    if not values.size:
        raise RequestError("This stage is empty.")
    side = SIDE
    if values.ndim != 3:
        side = max(SIDE, len(values))  # one column for each token of the sentence
    return {"shape": list(values.shape),
            "maps": [base64.b64encode(png(picture, side)).decode()
                     for picture in feature_maps(values)]}
