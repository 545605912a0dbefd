"""Small trained networks for saved_models/shipped, which the wheel contains and `zoo.load` opens.

`python -m zoo.training.results.publish RUN... [--to FOLDER] [--data-dir DIR]` ships finished runs: one network for each recipe among them,
of the seed that was best on its validation part, and tells on its card what all the seeds reached.
"""
import argparse
import hashlib
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

import zoo
from zoo import shipped
from zoo.errors import UserError
from zoo.tables import total_multiply_adds
from zoo.training import evaluation, files, trained
from zoo.training.deployment import card
from zoo.training.engine.prepare import arguments
from zoo.training.files import packed, write
from zoo.training.results import record
from zoo.weights import normalization

LIMIT = 2_000_000   # bytes of a shipped model
_ALIKE = 1e-3       # how far logits, and accuracies, of the run and of what is shipped may lie apart
_MARKS = "<!-- shipped: python -m zoo.training.results.publish -->\n", "<!-- end of shipped -->\n"


def ship(runs, folder=None, data_dir=None):
    """Write FOLDER/RECIPE for each recipe among the finished `runs`, in place of what is there.

    Each is loaded again, and scored on the whole test part, before it takes its place.

    Args:
        runs: paths of run directories.
        folder: where the models' folders are; None for those that come with the zoo.
        data_dir: where TensorFlow Datasets keeps its files.

    Returns:
        The cards, a list of dicts.

    Raises:
        zoo.errors.UserError: if a run has not finished, runs of one recipe differ in more than their seed, a model is larger
            than `LIMIT`, or what would be shipped answers otherwise than the run; without `folder`, also if a run is not by a
            recipe of ours as it stands, or from no commit.
    """
    groups = {}
    for run in runs:
        source = trained.load(run)
        if folder is None:
            _refuse_unrepeatable(source)
        groups.setdefault(record.ours(source.recipe) or source.recipe.name, []).append(source)
    cards = []
    for name, sources in groups.items():
        _refuse_different(sources)
        with files.replacing(Path(folder or shipped.FOLDER) / name, force=True, marks=("card.json",)) as scratch:
            cards.append(_ship(name, sources, scratch, data_dir))
    return cards


def _refuse_unrepeatable(source):
    """What comes with the zoo is a recipe of the zoo, run from a commit."""
    commit = source.metrics.get("commit")
    if not commit or commit.endswith("-dirty"):
        raise UserError(f"{source.run} was run from {commit or 'no commit'}; ship it --to a folder of your own.")
    if not record.ours(source.recipe):
        raise UserError(f"{source.run} is no run of a recipe of ours as it stands; ship it --to a folder of your own.")


def _refuse_different(sources):
    first, *others = sources
    for other in others:
        one, another = ({**json.loads(s.recipe.to_json()), "name": "", "seed": 0} for s in (first, other))
        changed = [key for key in one if one[key] != another[key]]
        if changed:
            raise UserError(f"{first.run} and {other.run} differ in {changed[0]} ({one[changed[0]]!r}, "
                            f"{another[changed[0]]!r}). Runs of one recipe that ship together differ in their seed alone.")
        if other.metrics["seed"] in [source.metrics["seed"] for source in sources if source is not other]:
            raise UserError(f"{other.run} is a second run with the seed {other.metrics['seed']}.")


def _ship(name, sources, scratch, data_dir):
    best = max(sources, key=_validated)
    dataset, args = arguments(best.recipe, data_dir)
    if args.pop("weights", None) is not None:  # what training began with; the trained weights take its place
        args |= normalization(best.model)
    args.pop("vectors", None)
    new = scratch / "new"
    new.mkdir()
    write(new / shipped.WEIGHTS, packed(**{weight.path: keras.ops.convert_to_numpy(weight) for weight in best.model.weights}))
    if best.vocabulary:
        write(new / "vocab.txt", str(best.vocabulary))
    told = _describe(name, best, args, sources, {file.name: file.read_bytes() for file in sorted(new.iterdir())})
    write(new / "card.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    size = sum(file.stat().st_size for file in new.iterdir())
    if size > LIMIT:
        raise UserError(f"{name} has {size:,} bytes; a shipped model has at most {LIMIT:,}.")
    model, questions = shipped.load("new", scratch), best.inputs(best.examples)
    off = np.abs(model.predict(questions, verbose=0) - best.model.predict(questions, verbose=0)).max()
    accuracy = evaluation.score(model, dataset.test, dataset.class_names)["accuracy"]
    if not (off < _ALIKE and abs(accuracy - best.metrics["test_accuracy"]) <= _ALIKE):
        raise UserError(f"{best.run} reached {best.metrics['test_accuracy']:.4f}, and what would be shipped {accuracy:.4f}, "
                        f"its logits up to {off:.1g} apart. Is this the data it was trained on?")
    return told


def _validated(source):
    """How good a run was on its validation part, for comparison; a run without one counts least."""
    epoch = source.metrics["best_epoch"]
    return epoch.get("val_accuracy", 0.0), -epoch.get("val_loss", 0.0)


def _describe(name, best, args, sources, files):
    """The card; see zoo/shipped.py."""
    recipe = card.portable(best.recipe)
    scores = [source.metrics["test_accuracy"] for source in sources]
    given = {"kind": "image", "shape": list(best.model.input.shape[1:]), "range": [0, 255], "resize": best.recipe.resize}
    if best.vocabulary:
        given = {"kind": "text", "max_tokens": best.recipe.max_tokens, "words": len(best.vocabulary),
                 "token_ids": "int32 (batch, tokens), line numbers of vocab.txt from 0; 0 pads, 1 is any other word"}
    return {
        "name": name, "architecture": best.recipe.model, "arguments": args, "paper": zoo.spec(best.recipe.model).paper,
        "params": best.model.count_params(), "multiply_adds": total_multiply_adds(best.model),
        "class_names": best.class_names, "input": given, "output": f"float32 logits (batch, {len(best.class_names)})",
        "metrics": card.scores(best.metrics),
        "seeds": {"seeds": [source.metrics["seed"] for source in sources], "test_accuracy": scores,
                  "mean": statistics.mean(scores), "stdev": statistics.stdev(scores) if len(scores) > 1 else None,
                  "shipped": "the one that was best on its validation part"},
        "recipe": recipe, "data": {"name": recipe["data"], "licence": card.licence(recipe["data"]),
                                   "fingerprint": best.metrics.get("data_fingerprint")},
        "files": {file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for file, data in files.items()},
        "licence": card.LICENCE, "versions": {package: version(package) for package in ("classic-zoo", "tensorflow", "keras")},
        "trained_with": best.metrics.get("versions"), "shipped": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def table(folder=None):
    """Return the table of the shipped models for saved_models/README.md, in Markdown."""
    head = ("name", "network", "data", "test accuracy", "seeds: mean ± deviation", "weights", "bytes")
    lines = [head, ["---"] * 5 + ["---:"] * 2]
    for name in shipped.names(folder):
        told = shipped.card(name, folder)
        seeds, size = told["seeds"], sum(file["bytes"] for file in told["files"].values())
        spread = "-" if seeds["stdev"] is None else f"{100 * seeds['mean']:.2f} % ± {100 * seeds['stdev']:.2f}"
        lines.append([f"`{name}`", f"`{told['architecture']}`", told["data"]["name"],
                      f"{100 * told['metrics']['test_accuracy']:.2f} %", f"{len(seeds['seeds'])}: {spread}",
                      f"{told.get('params', told.get('weights')):,}", f"{size:,}"])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def readme(text, folder=None):
    """Return saved_models/README.md with its table brought up to date."""
    before, _, rest = text.partition(_MARKS[0])
    _, _, after = rest.partition(_MARKS[1])
    return before + _MARKS[0] + table(folder) + _MARKS[1] + after


def main(args=None):
    """Ship the runs that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m zoo.training.results.publish", description=ship.__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--to", metavar="FOLDER", help="saved_models/shipped by default")
    parser.add_argument("--data-dir", metavar="DIR")
    given = parser.parse_args(args)
    try:
        for told in ship(given.runs, given.to, given.data_dir):
            print(f"{told['name']}: test accuracy {told['metrics']['test_accuracy']:.4f}, the seed "
                  f"{told['metrics']['seed']} of {told['seeds']['seeds']}")
    except UserError as error:
        print(f"ship: {error}", file=sys.stderr)
        return error.exit_code
    if not given.to:
        page = shipped.FOLDER.parent / "README.md"
        write(page, readme(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
