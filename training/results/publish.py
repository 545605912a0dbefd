"""Small trained networks for saved_models/shipped, which the wheel contains and `zoo.load` opens.

`python -m zoo.training.results.publish RUN... [--to FOLDER] [--data-dir DIR]` publishes finished
runs: one network for each recipe among them, of the seed with the best validation accuracy. Its
card lists the test accuracy of all seeds.
"""
import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo import shipped
from zoo.catalog import replace_table
from zoo.errors import UserError
from zoo.startup import quiet_import
from zoo.training import files
from zoo.training.files import packed, write
from zoo.training.results import record

with quiet_import():
    import keras

    from zoo.tables import total_multiply_adds
    from zoo.training import evaluation, trained
    from zoo.training.deployment import card
    from zoo.training.engine.prepare import arguments
    from zoo.weights import normalization

LIMIT = 2_000_000   # bytes of a shipped model
_TOLERANCE = 1e-3   # largest difference of logits, and of accuracies, between run and shipped model
_PACKAGES = ("classic-zoo", "tensorflow", "keras")
# Of a checkout.
PAGES = (shipped.FOLDER.parent / "README.md", shipped.FOLDER.parents[1] / "README.md")
_MARKS = ("<!-- shipped: python -m zoo.training.results.publish -->\n",
          "<!-- end of shipped -->\n")


def ship(runs: Iterable[str | os.PathLike], folder: str | os.PathLike | None = None,
         data_dir: str | os.PathLike | None = None) -> list[dict[str, Any]]:
    """Write FOLDER/RECIPE for each recipe among the finished `runs`, in place of what is there.

    Each network is loaded again and evaluated on the whole test split before it is moved there.

    Args:
        runs: paths of run directories.
        folder: the parent of the models' folders; None for the models that the wheel contains.
        data_dir: the folder of TensorFlow Datasets; None for its default.

    Returns:
        The cards; see `zoo.card`.

    Raises:
        zoo.errors.UserError: if a run is not finished, runs of one recipe differ in more than their
            seed, a model is larger than `LIMIT`, or the shipped model predicts differently from the
            run; without `folder`, also if a run's recipe is not an unchanged one of the zoo, or the
            run was not made from a commit.
    """
    groups: dict[str, list[trained.Trained]] = {}
    for run in runs:
        source = trained.load(run)
        if source.is_shipped:
            raise UserError(f"{run} is not a run directory.")
        if folder is None:
            _check_repeatable(source)
        name = record.recipe_name(source.recipe) or source.recipe.name
        groups.setdefault(name, []).append(source)
    cards = []
    for name, sources in groups.items():
        _check_same_recipe(sources)
        to = Path(folder or shipped.FOLDER) / name
        with files.replacing(to, force=True, marks=("card.json",)) as scratch:
            cards.append(_ship(name, sources, scratch, data_dir))
    return cards


def _check_repeatable(source):
    """Raise UserError unless the run is of a recipe of the zoo and was made from a commit."""
    commit = source.metrics.get("commit")
    if not commit or commit.endswith("-dirty"):
        raise UserError(f"{source.run} was run from {commit or 'no commit'}; ship it --to a folder "
                        "of your own.")
    if not record.recipe_name(source.recipe):
        raise UserError(f"{source.run} is not a run of an unchanged recipe of the zoo; ship it "
                        "--to a folder of your own.")


def _check_same_recipe(sources):
    first, *others = sources
    seeds = {first.metrics["seed"]}
    one = {**json.loads(first.recipe.to_json()), "name": "", "seed": 0}
    for other in others:
        another = {**json.loads(other.recipe.to_json()), "name": "", "seed": 0}
        for key in one:
            if one[key] != another[key]:
                raise UserError(f"{first.run} and {other.run} differ in {key} ({one[key]!r}, "
                                f"{another[key]!r}). Runs that ship together may differ in their "
                                "seed only.")
        if other.metrics["seed"] in seeds:
            raise UserError(f"{other.run} is a second run with the seed {other.metrics['seed']}.")
        seeds.add(other.metrics["seed"])


def _ship(name, sources, scratch, data_dir):
    """Write the folder `new` of `scratch`, and return the card."""
    best = max(sources, key=_validation)
    dataset, args = arguments(best.recipe, data_dir)
    if args.pop("weights", None) is not None:  # what training started from
        args |= normalization(best.model)
    args.pop("vectors", None)
    new = scratch / "new"
    new.mkdir()
    weights = {weight.path: keras.ops.convert_to_numpy(weight) for weight in best.model.weights}
    write(new / shipped.WEIGHTS, packed(**weights))
    if best.vocabulary:
        write(new / "vocab.txt", str(best.vocabulary))
    contents = {file.name: file.read_bytes() for file in sorted(new.iterdir())}
    described = describe(name, best, args, sources, contents)
    write(new / "card.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    size = sum(file.stat().st_size for file in new.iterdir())
    if size > LIMIT:
        raise UserError(f"{name} has {size:,} bytes; a shipped model has at most {LIMIT:,}.")
    model, inputs = shipped.load("new", scratch), best.inputs(best.examples)
    logits = [network.predict(inputs, verbose=0) for network in (model, best.model)]
    difference = np.abs(logits[0] - logits[1]).max()
    accuracy = evaluation.score(model, dataset.test, dataset.class_names)["accuracy"]
    expected = best.metrics["test_accuracy"]
    if not (difference < _TOLERANCE and abs(accuracy - expected) <= _TOLERANCE):
        raise UserError(f"{best.run} reached {expected:.4f}, and what would be shipped "
                        f"{accuracy:.4f}; logits differ by up to {difference:.1g}. Is this the "
                        "data it was trained on?")
    return described


def _validation(source):
    """Return the validation scores of a run, for comparison; a run without them is the worst."""
    epoch = source.metrics["best_epoch"]
    metric = source.metrics.get("selection_metric") or "val_accuracy"
    return epoch.get(metric, 0.0), -epoch.get("val_loss", 0.0)


def describe(name: str, best: trained.Trained, args: dict[str, Any],
             sources: Sequence[trained.Trained], contents: dict[str, bytes]) -> dict[str, Any]:
    """Return the card; see zoo/shipped.py.

    Args:
        name: of the network.
        best: the run whose weights are published.
        args: the arguments that build its network.
        sources: all runs of the recipe.
        contents: {file: its bytes}.
    """
    recipe = card.portable(best.recipe)
    scores = [source.metrics["test_accuracy"] for source in sources]
    takes = {"kind": "image", "shape": list(best.model.input.shape[1:]), "range": [0, 255],
             "resize": best.recipe.resize, "eval_resize": best.recipe.eval_resize,
             "background": best.recipe.background}
    if best.vocabulary:
        takes = {"kind": "text", "max_tokens": best.recipe.max_tokens,
                 "tokens": best.vocabulary.unit, "words": len(best.vocabulary),
                 **card.tokenization(best.recipe, best.vocabulary.unit)}
    return {
        "name": name, "architecture": best.recipe.model, "arguments": args,
        "paper": zoo.spec(best.recipe.model).paper, "params": best.model.count_params(),
        "multiply_adds": total_multiply_adds(best.model), "class_names": best.class_names,
        "input": takes, "output": f"float32 logits (batch, {len(best.class_names)})",
        "metrics": card.scores(best.metrics),
        "seeds": {"seeds": [source.metrics["seed"] for source in sources], "test_accuracy": scores,
                  "mean": statistics.mean(scores),
                  "stdev": statistics.stdev(scores) if len(scores) > 1 else None,
                  "shipped": "the seed with the best validation accuracy"},
        "recipe": recipe, "data": {"name": recipe["data"], "licence": card.licence(recipe["data"]),
                                   "fingerprint": best.metrics.get("data_fingerprint")},
        "files": {file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                  for file, data in contents.items()},
        "licence": card.LICENCE,
        "versions": {package: version(package) for package in _PACKAGES},
        "trained_with": best.metrics.get("versions"),
        "shipped": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def update_table(text: str, folder: str | os.PathLike | None = None) -> str:
    """Return the page `text` with an updated table of the shipped models."""
    rows = [("name", "network", "data", "test accuracy", "seeds: mean ± deviation", "params",
             "bytes"), ["---"] * 5 + ["---:"] * 2]
    for name in shipped.names(folder):
        model = shipped.card(name, folder)
        seeds, size = model["seeds"], sum(file["bytes"] for file in model["files"].values())
        spread = "-"
        if seeds["stdev"] is not None:
            spread = f"{100 * seeds['mean']:.2f} % ± {100 * seeds['stdev']:.2f}"
        params = model.get("params", model.get("weights"))  # weights: up to version 0.1
        rows.append([f"`{name}`", f"`{model['architecture']}`", model["data"]["name"],
                     f"{100 * model['metrics']['test_accuracy']:.2f} %",
                     f"{len(seeds['seeds'])}: {spread}", f"{params:,}", f"{size:,}"])
    return replace_table(text, _MARKS, rows)


def main(args: Sequence[str] | None = None) -> int:
    """Ship the runs that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m zoo.training.results.publish",
                                     description="Ship finished runs as trained networks.")
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--to", metavar="FOLDER", help="saved_models/shipped by default")
    parser.add_argument("--data-dir", metavar="DIR", help="the folder of TensorFlow Datasets")
    options = parser.parse_args(args)
    try:
        for model in ship(options.runs, options.to, options.data_dir):
            metrics = model["metrics"]
            print(f"{model['name']}: test accuracy {metrics['test_accuracy']:.4f}, seed "
                  f"{metrics['seed']} of {model['seeds']['seeds']}")
    except UserError as error:
        print(f"ship: {error}", file=sys.stderr)
        return error.exit_code
    if not options.to:
        for page in PAGES:
            write(page, update_table(page.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
