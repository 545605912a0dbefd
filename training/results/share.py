"""`publish`: a finished run on the Hugging Face Hub, from where `zoo.load("hf://...")` gets it.

A repository holds card.json, as of a shipped network; the weights as model.safetensors; vocab.txt
of a text network; and README.md, the model card in the Hub's own format.
"""
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import zoo
from zoo import hub
from zoo.errors import UserError
from zoo.training import trained
from zoo.training.engine.prepare import text_arguments
from zoo.training.files import write
from zoo.training.results.publish import describe
from zoo.weights import normalization

_TOLERANCE = 1e-4  # largest difference of logits between the run and what would be published
_TASKS = {"image": "image-classification", "text": "text-classification"}
DEFAULT_LICENCE = "other"


def publish(run: str | os.PathLike[str], address: str, *, licence: str = DEFAULT_LICENCE,
            private: bool = False) -> str:
    """Publish a finished run on the Hugging Face Hub, in one commit.

    The account is the one of `hf auth login`, or of the environment variable HF_TOKEN. A repository
    that does not exist is made.

    Args:
        run: the path of the run directory.
        address: "hf://owner/name".
        licence: of the weights, one of the Hub's identifiers, such as "apache-2.0" or "cc-by-4.0".
        private: whether a new repository is visible to its owner only.

    Returns:
        The address of the commit on the web.

    Raises:
        zoo.errors.UsageError: if the address or the licence is invalid.
        zoo.errors.UserError: if the run is not finished or not of a network of the zoo, its network
            cannot be rebuilt from its card, or the Hub refuses the upload.
    """
    repository = hub.check_target(address, licence)
    source = trained.load(run)
    if source.is_shipped:
        raise UserError(f"{run} is not a run directory.")
    if ":" in source.recipe.model:
        raise UserError(f"{source.recipe.model} is a network of your own, which nobody could load: "
                        "the zoo imports no code that a card names.")
    with hub.packages():
        from huggingface_hub import HfApi
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fill(folder, source, address, licence)
        api = HfApi()
        with hub.one_line(f"Cannot publish {run} at huggingface.co/{repository}"):
            api.create_repo(repository, private=private or None, exist_ok=True)
            commit = api.upload_folder(repo_id=repository, folder_path=folder,
                                       commit_message=f"Publish {source.name}")
    return str(commit.commit_url)


def fill(folder: Path, source: trained.Trained, address: str, licence: str) -> dict[str, Any]:
    """Write what is published into `folder`, and return the card.

    Raises:
        zoo.errors.UserError: if the network that the card describes computes other logits.
    """
    with hub.packages():
        from safetensors.numpy import save_file
    weights = {weight.path: np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
               for weight in source.model.weights}
    save_file(weights, folder / hub.WEIGHTS, metadata={"format": "keras"})
    if source.vocabulary:
        write(folder / "vocab.txt", str(source.vocabulary))
    contents = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    arguments = builder_arguments(source)
    card = describe(source.name, source, arguments, [source], contents)
    _check_rebuilt(source, arguments)
    write(folder / hub.CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    write(folder / "README.md", model_card(card, address, licence))
    return card


def builder_arguments(source: trained.Trained) -> dict[str, Any]:
    """Return the arguments that build the network of a run, from the run alone."""
    parameters = zoo.spec(source.recipe.model).defaults
    arguments = {name: value for name, value in source.recipe.model_args.items()
                 if name not in ("weights", "vectors")}
    arguments["classes"] = len(source.class_names)
    if source.vocabulary:
        arguments |= text_arguments(source.recipe, source.vocabulary)
        sizes = [layer.output_dim for layer in source.model.layers
                 if isinstance(layer, keras.layers.Embedding)]
        if "embedding" in parameters and sizes:  # word vectors have a size of their own
            arguments["embedding"] = sizes[0]
        return arguments
    arguments["input_shape"] = list(source.model.input.shape[1:])
    if {"mean", "std"} <= parameters.keys():
        arguments |= normalization(source.model)
    return arguments


def _check_rebuilt(source, arguments):
    """Raise UserError unless the arguments and the weights give the logits of the run."""
    model = zoo.build(source.recipe.model, **arguments)
    difference = np.inf
    if [weight.path for weight in model.weights] == [weight.path for weight in
                                                     source.model.weights]:
        model.set_weights(source.model.get_weights())
        inputs = source.inputs(source.examples)
        difference = np.abs(model.predict(inputs, verbose=0)
                            - source.model.predict(inputs, verbose=0)).max()
    if not difference < _TOLERANCE:
        raise UserError(f"{source.run} cannot be published: {source.recipe.model} with the "
                        "arguments of its recipe is not the network that was trained.")


def model_card(card: Mapping[str, Any], address: str, licence: str) -> str:
    """Return README.md, with the Hub's metadata at its head.

    Args:
        card: as `describe` returns it.
        address: "hf://owner/name".
        licence: an identifier of the Hub.
    """
    from huggingface_hub import EvalResult, ModelCardData
    data, metrics, kind = card["data"], card["metrics"], card["input"]["kind"]
    dataset = re.sub(r"[^\w.-]+", "-", data["name"])  # as the Hub writes identifiers
    results = [EvalResult(task_type=_TASKS[kind], dataset_type=dataset,
                          dataset_name=data["name"], dataset_split="test", metric_type=metric,
                          metric_value=metrics[key])
               for metric, key in (("accuracy", "test_accuracy"), ("f1", "test_macro_f1"))
               if key in metrics]
    header = ModelCardData(license=licence, library_name="keras", pipeline_tag=_TASKS[kind],
                           tags=["classic-zoo", card["architecture"]], datasets=[dataset],
                           metrics=[result.metric_type for result in results],
                           model_name=card["name"], eval_results=results)
    name = address.removeprefix(hub.SCHEME)
    example = "photo.jpg" if kind == "image" else "--text 'a sentence'"
    classes = card["class_names"]
    more = ", ..." if len(classes) > 20 else ""
    return f"""---
{header.to_yaml()}
---

# {card['name']}

{card['architecture']} ({card['paper']}): {card['params']:,} params, {card['multiply_adds']:,} \
multiply-adds. Trained on {data['name']} (licence: {data['licence']}) with the recipe \
{card['recipe']['name']}, {card['recipe']['epochs']} epochs, seed {metrics['seed']}.

Test accuracy {metrics['test_accuracy']:.4f} on {metrics['test_examples']:,} examples.

{len(classes)} classes: {', '.join(classes[:20])}{more}

## Use

    pip install "classic-zoo[hub]"

    import zoo
    model = zoo.load("hf://{name}")

or on the command line:

    zoo predict hf://{name} {example}

card.json describes the network, model.safetensors holds its weights. Loading executes no code from
these files.
"""
