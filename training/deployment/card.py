"""The model card of an export, for programs and people: what it is, what it learnt from, what goes in, what comes out."""
import json
import time
import urllib.parse
from importlib.metadata import version
from pathlib import Path

import zoo
from zoo.registry import spec
from zoo.tables import total_multiply_adds
from zoo.training.deployment.saved_model import BEST

LICENCE = "the code that made it: Apache-2.0; the weights: as the data allows"
_LICENCES = {  # of the data sets that recipes name, or results were recorded on
    "digits": "CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI machine learning repository)",
    "mnist": "CC BY-SA 3.0 (Y. LeCun, C. Cortes and C. Burges)",
    "fashion_mnist": "MIT (Zalando SE)",
    "cifar10": "none stated by its author (A. Krizhevsky, 2009)",
    "cifar10-jpeg": "none stated by its author (A. Krizhevsky, 2009)",
    "sign-digits": "CC BY-SA 4.0 (A. Mavi, 2020)",
    "mr.csv": "none stated by its authors (B. Pang and L. Lee, 2005)",
    "imagenet2012": "research only, for the images; the weights as their authors say, see keras.io/api/applications",
    "uit-vsfc": "none stated by its authors, who offer it for research (K. V. Nguyen et al., 2018)",
}
_SCORES = ("test_accuracy", "test_macro_f1", "test_loss", "test_examples", "best_epoch", "seed", "seconds", "precision",
           "machine", "commit", "finished")


def licence(data):
    """Return the licence of the data set `data`, in words."""
    return _LICENCES.get(data, "not recorded; ask where the data came from")


def portable(recipe):
    """Return what a card tells of a recipe, a dict: of files and folders their names, not where they lay."""
    told = json.loads(recipe.to_json())
    for held, key in ((told, "data"), (told, "vectors"), (told["model_args"], "weights")):
        if isinstance(held.get(key), str) and (Path(held[key]).is_absolute() or key == "vectors"):
            held[key] = Path(held[key]).name
    return told


def scores(metrics):
    """Return what a card tells of a metrics.json."""
    return {key: metrics[key] for key in _SCORES if key in metrics}


def describe(trained, files, name):
    """Return the card as a dict.

    Args:
        trained: a `zoo.training.trained.Trained`.
        files: {format: file name in the export}.
        name: what the export is served as.
    """
    model, metrics, recipe = trained.model, trained.metrics, portable(trained.recipe)
    best = min(BEST, len(trained.class_names))
    return {
        "name": name, "architecture": recipe["model"], "paper": spec(recipe["model"]).paper,
        "weights": model.count_params(), "multiply_adds": total_multiply_adds(model),
        "multiply_adds_of": "one token" if trained.vocabulary else "one image",
        "data": {"name": recipe["data"], "licence": licence(recipe["data"])},
        "recipe": recipe if scores(metrics) else None,  # not by a recipe, if from keras.applications
        "metrics": scores(metrics),
        "class_names": trained.class_names, "input": _text_input(trained) if trained.vocabulary else _image_input(trained),
        "outputs": {"probabilities": f"float32 (batch, {len(trained.class_names)})", "class_id": "int64 (batch,)",
                    "label": "string (batch,)", "top_k": f"string (batch, {best})",
                    "top_k_probabilities": f"float32 (batch, {best})"},
        "stages": list(zoo.stages(model)), "files": files, "licence": LICENCE,
        "versions": {package: version(package) for package in ("classic-zoo", "tensorflow", "keras")},
        "trained_with": metrics.get("versions"), "exported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _image_input(trained):
    shape = list(trained.model.input.shape[1:])
    return {"kind": "image", "shape": shape, "range": [0, 255], "resize": trained.recipe.resize,
            "serving_default": f"image: float32 (batch, {', '.join(map(str, shape))}), pixels from 0 to 255, no other scaling",
            "serving_uint8": "image: the same as uint8",
            "from_bytes": "image_bytes: string (batch,), JPEG, PNG, GIF, BMP or WebP files of any size, resized as in "
                          "training; what is no image gets class_id -1 and an error",
            "features": "image: as serving_default",
            "stages": "image_bytes: as from_bytes; the maps of each stage, and an error"}


def _text_input(trained):
    return {"kind": "text", "max_tokens": trained.recipe.max_tokens, "words": len(trained.vocabulary),
            "serving_default": "text: string (batch,), UTF-8 sentences as they come",
            "features": "text: as serving_default", "stages": "text: as serving_default; the maps of each stage",
            "token_ids": "tokens, of LiteRT and ONNX files: int32 (batch, tokens), line numbers of vocab.txt from 0; 0 pads "
                         "at the end, 1 is any other word"}


def markdown(card):
    """Return the card as a page of Markdown."""
    name = card["name"]
    inputs = {key: value for key, value in card["input"].items() if ": " in str(value)}
    return f"""# {name}

{card['architecture']} ({card['paper']}): {card['weights']:,} weights, {card['multiply_adds']:,} multiply-adds for \
{card['multiply_adds_of']}.
{_origin(card)}

{len(card['class_names'])} classes: {', '.join(card['class_names'][:20])}{', ...' if len(card['class_names']) > 20 else ''}

## What goes in

{_bullets(inputs)}

## What comes out

{_bullets(card['outputs'])}

## Files

{_bullets(card['files'])}

## Served

With TensorFlow Serving, or `zoo serve`, under the name `{name}`:

    {_curl(card)}

Versions: {', '.join(f'{package} {number}' for package, number in card['versions'].items())}. Licence: {card['licence']}.
"""


def _origin(card):
    """Where the weights are from, and how good they were."""
    data, metrics = f"{card['data']['name']} (licence: {card['data']['licence']})", card["metrics"]
    if not metrics:
        return f"Weights of keras.applications, from {data}. How good they are was not measured here."
    start = card["recipe"]["model_args"].get("weights")
    return f"""Trained on {data} by the recipe {card['recipe']['name']}, {card['recipe']['epochs']} epochs, seed \
{metrics['seed']}{f', from the weights of {start}' if start else ''}.
Test accuracy {metrics['test_accuracy']:.4f} on {metrics['test_examples']:,} examples that it was not trained on."""


def _bullets(items):
    return "\n".join(f"- `{key}`: {value}" for key, value in items.items())


def _curl(card):
    url = f"http://localhost:8501/v1/models/{urllib.parse.quote(card['name'], safe='')}:predict"
    if card["input"]["kind"] == "text":
        return f"""curl -d '{{"instances": ["a sentence"]}}' {url}"""
    return (f"""echo '{{"signature_name": "from_bytes", "instances": [{{"b64": "'$(base64 -w0 image.png)'"}}]}}' | """
            f"curl -d @- {url}")
