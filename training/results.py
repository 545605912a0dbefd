"""What the recipes reached when they were run: results/RECIPE.json, which the README's table is generated from."""
import json
import statistics
from pathlib import Path

from training.recipes import RECIPES

FOLDER = Path(__file__).with_name("results")


def rows():
    """Return a dict for each recipe: its name, model, data and, where it was run, what it reached."""
    return [_row(recipe) for recipe in RECIPES.values()]


def _row(recipe):
    row = {"recipe": recipe.name, "model": recipe.model, "data": recipe.data, "accuracy": "-", "seeds": "-", "seconds": "-"}
    file = FOLDER / f"{recipe.name}.json"
    if file.exists():
        runs = json.loads(file.read_text())["runs"]
        scores = [run["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(scores):.2%}" if len(scores) > 1 else ""
        row |= {"accuracy": f"{statistics.mean(scores):.2%}{spread}", "seeds": ", ".join(str(run["seed"]) for run in runs),
                "seconds": f"{statistics.median(run['seconds'] for run in runs):.0f}", "machine": runs[0]["machine"]}
    return row
