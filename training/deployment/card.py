"""The model card of an export, for programs and people: origin, accuracy, inputs and outputs."""
import json
import time
import urllib.parse
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zoo
from zoo.registry import spec
from zoo.tables import total_multiply_adds
from zoo.training.deployment.saved_model import TOP_K
from zoo.training.preprocessing.pillow_images import DROPPED
from zoo.training.preprocessing.tokens import Vocabulary
from zoo.training.recipes import Recipe
from zoo.training.trained import Trained

LICENCE = "the code that made it: Apache-2.0; the weights: as the data allows"
_LICENCES = {  # of the data sets of recipes and of recorded results
    "digits": "CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI machine learning repository)",
    "mnist": "CC BY-SA 3.0 (Y. LeCun, C. Cortes and C. Burges)",
    "fashion_mnist": "MIT (Zalando SE)",
    "cifar10": "none stated by its author (A. Krizhevsky, 2009)",
    "sign-digits": "CC BY-SA 4.0 (A. Mavi, 2020)",
    "mr.csv": "none stated by its authors (B. Pang and L. Lee, 2005)",
    "imagenet2012": "research only, for the images; the weights as their authors say, see "
                    "keras.io/api/applications",
    "uit-vsfc": "none stated by its authors, who offer it for research (K. V. Nguyen et al., 2018)",
}
_SCORES = ("test_accuracy", "test_macro_f1", "test_loss", "test_examples", "best_epoch", "seed",
           "seconds", "precision", "machine", "commit", "finished")


def licence(data: str) -> str:
    """Return the licence of the data set `data`, in words."""
    return _LICENCES.get(data, "not recorded; ask where the data came from")


def portable(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe for a card, a dict: paths of files and folders are reduced to their names."""
    fields = json.loads(recipe.to_json())
    for holder, key in ((fields, "data"), (fields, "vectors"), (fields, "teacher"),
                        (fields["model_args"], "weights")):
        value = holder.get(key)
        if isinstance(value, str) and (Path(value).is_absolute() or key == "vectors"):
            holder[key] = Path(value).name
    return fields


def scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a metrics.json that a card shows."""
    return {key: metrics[key] for key in _SCORES if key in metrics}


def describe(trained: Trained, files: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the card as a dict.

    Args:
        trained: the network.
        files: {format: file name in the export}.
        name: the name in TensorFlow Serving and `zoo serve`.
    """
    model, metrics, recipe = trained.model, trained.metrics, portable(trained.recipe)
    classes = len(trained.class_names)
    best = min(TOP_K, classes)
    return {
        "name": name, "architecture": recipe["model"], "paper": spec(recipe["model"]).paper,
        "params": model.count_params(), "multiply_adds": total_multiply_adds(model),
        "multiply_adds_of": f"one {trained.counted_of}",
        "data": {"name": recipe["data"], "licence": licence(recipe["data"])},
        "recipe": recipe if scores(metrics) else None,  # keras.applications has none
        "metrics": scores(metrics),
        **{key: metrics[key] for key in ("weights_file", "published") if key in metrics},
        "class_names": trained.class_names,
        "input": (_text_input(trained, trained.vocabulary) if trained.vocabulary
                  else _image_input(trained)),
        "outputs": {"probabilities": f"float32 (batch, {classes})", "class_id": "int64 (batch,)",
                    "label": "string (batch,)", "top_k": f"string (batch, {best})",
                    "top_k_probabilities": f"float32 (batch, {best})"},
        "stages": list(zoo.stages(model)), "files": files, "licence": LICENCE,
        "versions": {package: version(package)
                     for package in ("classic-zoo", "tensorflow", "keras")},
        "trained_with": metrics.get("versions"),
        "exported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _image_input(trained: Trained) -> dict[str, Any]:
    shape = list(trained.model.input.shape[1:])
    sizes, recipe = ", ".join(map(str, shape)), trained.recipe
    resized = "resized as in training"
    if recipe.eval_resize:
        resized = (f"the shorter side resized to {recipe.eval_resize} pixels, the centre of "
                   f"{shape[0]}x{shape[1]} cut out")
    return {"kind": "image", "shape": shape, "range": [0, 255], "resize": recipe.resize,
            "eval_resize": recipe.eval_resize, "background": recipe.background,
            "serving_default": f"image: float32 (batch, {sizes}), pixels from 0 to 255, no other "
                               "scaling",
            "serving_uint8": "image: the same as uint8",
            "from_bytes": "image_bytes: string (batch,), JPEG, PNG, GIF, BMP or WebP files of any "
                          f"size, turned upright, {resized}, transparency "
                          f"{_over(recipe.background)}; a file that cannot be used gets "
                          "class_id -1 and an error. WebP needs TensorFlow 2.20 or later: 2.12 to "
                          "2.19 report WebP files as damaged",
            "features": "image: as serving_default",
            "pixels": "image, of LiteRT and ONNX files: as serving_default. "
                      "zoo.training.preprocessing.pillow_images.prepare makes the pixels of a file "
                      "as from_bytes does, with Pillow and NumPy alone; call it, or copy the "
                      f"module, with the arguments {_arguments(shape, recipe)}",
            "stages": "image_bytes: as from_bytes; the maps of each stage, and an error"}


def _arguments(shape: list[int], recipe: Recipe) -> str:
    """Return the arguments of `prepare` after the bytes of a file, as Python writes them."""
    cut = f", {recipe.eval_resize}" if recipe.eval_resize else ""
    return f"{shape}, \"{recipe.resize}\", \"{recipe.background}\"{cut}"


def _over(background: str) -> str:
    return "dropped" if background == DROPPED else f"over {background}"


def _text_input(trained: Trained, vocabulary: Vocabulary) -> dict[str, Any]:
    return {"kind": "text", "max_tokens": trained.recipe.max_tokens, "tokens": vocabulary.unit,
            "words": len(vocabulary),
            "serving_default": "text: string (batch,), UTF-8 sentences, raw",
            "features": "text: as serving_default",
            "stages": "text: as serving_default; the maps of each stage",
            **tokenization(trained.recipe, vocabulary.unit)}


def tokenization(recipe: Recipe, unit: str) -> dict[str, str]:
    """Return in words how sentences become token ids, see `zoo.training.preprocessing.tokens`.

    Args:
        unit: what the tokens are, "words" or "characters".
    """
    splitting = ("at the end of a word n't, 's, 've, 're, 'd, 'll and 'm are words of their own, "
                 "and so is each other character that is not a letter, mark, digit or _; marks "
                 "after a space too; the rest is split at spaces")
    if unit == "characters":
        splitting = ("into code points, after spaces at both ends are removed and of several "
                     "spaces all but one")
    return {"standardization": "in this order: format characters (category Cf, such as zero-width "
                               "spaces, joiners, byte-order marks and soft hyphens), variation "
                               "selectors and U+034F are removed; each white space and control "
                               "character becomes a space; Unicode's NFKC; lower case; NFKC again; "
                               "\u2019 and \u02bc become '",
            "splitting": splitting,
            "truncation": f"the first {recipe.max_tokens} {unit} count",
            "token_ids": "tokens, of LiteRT and ONNX files: int32 (batch, tokens), line numbers of "
                         f"vocab.txt from 0; 0 pads at the end, 1 is any other {unit[:-1]}. "
                         "tokens.py and tokens.mjs make them"}


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as a page of Markdown."""
    name, classes = card["name"], card["class_names"]
    inputs = {key: value for key, value in card["input"].items()
              if isinstance(value, str) and " " in value}
    more = ", ..." if len(classes) > 20 else ""
    versions = ", ".join(f"{package} {number}" for package, number in card["versions"].items())
    return f"""# {name}

{card['architecture']} ({card['paper']}): {card['params']:,} params, {card['multiply_adds']:,} \
multiply-adds for {card['multiply_adds_of']}.
{_origin(card)}

{len(classes)} classes: {', '.join(classes[:20])}{more}

## Inputs

{_bullets(inputs)}

## Outputs

{_bullets(card['outputs'])}

## Files

{_bullets(card['files'])}
{_token_ids(card)}
## Serving

With TensorFlow Serving, or `zoo serve`, under the name `{name}`:

    {_curl(card)}

On x86 processors without AVX512-VNNI, TF_ENABLE_ONEDNN_OPTS=1 in the server's environment makes
batches faster, and a single small input slower.

Versions: {versions}. Licence: {card['licence']}.
"""


def _origin(card: Mapping[str, Any]) -> str:
    """Return the origin of the weights, and their accuracy."""
    data = f"{card['data']['name']} (licence: {card['data']['licence']})"
    recipe, metrics = card["recipe"], card["metrics"]
    if not metrics and "published" in card:
        weights, published = card["weights_file"], card["published"]
        return (f"Weights of huggingface.co/{weights['repository']} (licence: "
                f"{weights['licence']}), from {data}. Published accuracy on its validation images, "
                f"not measured here: top-1 {published['top1']:.2f} %, top-5 "
                f"{published['top5']:.2f} % ({published['source']}).")
    if not metrics:
        return (f"Weights of keras.applications, from {data}. How well they classify was not "
                "measured here.")
    start = recipe["model_args"].get("weights")
    start = f", from the weights of {start}" if start else ""
    return f"""Trained on {data} by the recipe {recipe['name']}, {recipe['epochs']} epochs, seed \
{metrics['seed']}{start}.
Test accuracy {metrics['test_accuracy']:.4f} on {metrics['test_examples']:,} examples that it was \
not trained on."""


def _token_ids(card: Mapping[str, Any]) -> str:
    """Return the section on what LiteRT and ONNX files of a text network take."""
    files = [file for file in card["files"].values() if file != "."]
    if card["input"]["kind"] != "text" or not files:
        return ""
    arguments = f"{card['input']['max_tokens']})"
    return f"""
## Token ids

{', '.join(files)} take token ids. tokens.py (NumPy) and tokens.mjs, in the same folder, make them
as in training; they follow the rules above. In Python:

    from tokens import Vocabulary

    vocabulary = Vocabulary.parse(open("vocab.txt", encoding="utf-8").read())
    ids = vocabulary.encode(["A fine film!"], {arguments}
    print(ids.tolist())

In JavaScript:

    import {{ readFileSync }} from "node:fs";
    import {{ encode }} from "./tokens.mjs";

    const ids = encode(["A fine film!"], readFileSync("vocab.txt", "utf8"), {arguments};
    console.log(JSON.stringify(ids));
"""


def _bullets(items: Mapping[str, Any]) -> str:
    return "\n".join(f"- `{key}`: {value}" for key, value in items.items())


def _curl(card: Mapping[str, Any]) -> str:
    name = urllib.parse.quote(card["name"], safe="")
    url = f"http://localhost:8501/v1/models/{name}:predict"
    if card["input"]["kind"] == "text":
        return f"""curl -d '{{"instances": ["a sentence"]}}' {url}"""
    return ("""echo '{"signature_name": "from_bytes", "instances": [{"b64": "'"""
            f"""$(base64 -w0 image.png)'"}}]}}' | curl -d @- {url}""")
