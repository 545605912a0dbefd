"""What the recipes reached when they were run: results/RECIPE.json, which `zoo recipes` and the README's table show.

`python -m training.results RUN...` records finished runs there, one a seed, and writes the README's table anew.
"""
import dataclasses
import json
import statistics
import sys
from pathlib import Path

from training import run_dir
from training.recipes import RECIPES, read
from zoo.errors import UserError

FOLDER = Path(__file__).with_name("results")
README = Path(__file__).parents[1] / "README.md"
_MARKS = "<!-- results: make results -->\n", "<!-- end of results -->\n"
_KEPT = ("seed", "test_accuracy", "test_loss", "best_epoch", "seconds", "images_per_second", "precision", "machine",
         "versions", "python", "commit", "finished")
PUBLISHED = {  # what the course document or the paper reports for the same network and data
    "lenet5-mnist": "99.2 % (LeCun et al. 1998, with distortions)",
    "lenet-mnist": "98.4 % (course)",
}


def rows():
    """Return a dict for each recipe: recipe, model, data, published score, and accuracy, seeds, seconds where it was run."""
    return [_row(recipe) for recipe in RECIPES.values()]


def _row(recipe):
    row = {"recipe": recipe.name, "model": recipe.model, "data": recipe.data, "accuracy": "-", "seeds": "-",
           "seconds": "-", "published": PUBLISHED.get(recipe.name, "-"), "machine": "-", "commit": "-"}
    file = FOLDER / f"{recipe.name}.json"
    if file.exists():
        runs = json.loads(file.read_text())["runs"]
        scores = [100 * run["test_accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        row |= {"accuracy": f"{statistics.mean(scores):.2f}{spread} %", "seeds": ", ".join(str(r["seed"]) for r in runs),
                "seconds": f"{statistics.median(run['seconds'] for run in runs):.0f}",
                "machine": ", ".join(sorted({run["machine"] for run in runs})),
                "commit": ", ".join(sorted({str(run["commit"]) for run in runs}))}
    return row


def record(run):
    """Keep the result of a finished `run` of a recipe of ours, in place of an earlier one with the same seed.

    Raises:
        zoo.errors.UserError: if the run has not finished, or its recipe is not the one in `RECIPES`.
    """
    metrics = run_dir.results(run)
    ours, ran = RECIPES.get(metrics["recipe"]), read(Path(run) / "recipe.json")
    if ours is None or dataclasses.replace(ours, seed=ran.seed).to_json() != ran.to_json():
        raise UserError(f"{run} is no run of a recipe of ours as it stands; only such results are kept.")
    file = FOLDER / f"{ours.name}.json"
    others = json.loads(file.read_text())["runs"] if file.exists() else []
    runs = [r for r in others if r["seed"] != metrics["seed"]] + [{key: metrics[key] for key in _KEPT}]
    FOLDER.mkdir(exist_ok=True)
    run_dir.write(file, json.dumps({"recipe": ours.name, "runs": sorted(runs, key=lambda r: r["seed"])}, indent=2) + "\n")


def table():
    """Return the README's table of results, in Markdown."""
    head = ("recipe", "network", "data", "test accuracy", "published", "seeds", "seconds", "machine", "commit")
    lines = [head, ["---"] * len(head)]
    lines += [[f"`{r['recipe']}`", f"`{r['model']}`", r["data"], r["accuracy"], r["published"], r["seeds"], r["seconds"],
               r["machine"], r["commit"]] for r in rows() if r["accuracy"] != "-"]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def readme(text):
    """Return the README `text` with the table of results brought up to date."""
    before, _, rest = text.partition(_MARKS[0])
    _, _, after = rest.partition(_MARKS[1])
    return before + _MARKS[0] + table() + _MARKS[1] + after


if __name__ == "__main__":
    for finished in sys.argv[1:]:
        record(finished)
    run_dir.write(README, readme(README.read_text()))
