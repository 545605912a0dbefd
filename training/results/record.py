"""The recorded results of the recipes: results/RECIPE.json, for `zoo recipes` and docs/results.md.

`python -m zoo.training.results.record RUN...` records finished runs, one per seed, and updates the
table in docs/results.md.
"""
import dataclasses
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from zoo.catalog import replace_table
from zoo.errors import UserError, unknown
from zoo.training import files, run_dir
from zoo.training.recipe import read_run
from zoo.training.recipes import RECIPES, Recipe, list_recipes

FOLDER = Path(__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "results.md"
_MARKS = "<!-- results: make results -->\n", "<!-- end of results -->\n"
_ALWAYS = ("seed", "test_accuracy", "seconds", "precision", "machine", "versions", "python",
           "commit", "finished")
_KEYS = (*_ALWAYS, "data", "data_fingerprint", "test_loss", "test_macro_f1", "best_epoch",
         "images_per_second")
_FOLDS_KEYS = (*_ALWAYS, "folds", "stdev", "accuracies")
PUBLISHED = {  # what the course document or the paper reports for the same network and data
    "lenet5-mnist": "99.2 % (LeCun et al. 1998, with distortions)",
    "lenet-mnist": "98.4 % (course)",
    "simple_cnn-mnist": "98.46 % (course)",
    "simple_cnn-mnist-seed": "98.46 % (course)",
    "small_inception-mnist": "98.66 % (course)",
    "small_inception-mnist-seed": "98.66 % (course)",
    "textcnn-mr": "76.1 % (Kim 2014, 10 folds)",
    "textcnn-ntc_scv": "88.78 % (course)",
    "alexnet-imagenet2012": "59.3 % (Krizhevsky et al. 2012, two towers, 10 crops)",
    "vgg16-imagenet2012": "74.4 % (Simonyan and Zisserman 2015, whole images)",
    "googlenet-imagenet2012": "89.9 % top-5 (Szegedy et al. 2015)",
    "inception_v3-imagenet2012": "78.8 % (Szegedy et al. 2016)",
    "resnet18-imagenet2012": "72.1 % (He et al. 2016, 10 crops)",
    "resnet50-imagenet2012": "77.2 % (He et al. 2016, 10 crops)",
    "densenet121-imagenet2012": "75.0 % (Huang et al. 2017)",
    "mobilenet_v1-imagenet2012": "70.6 % (Howard et al. 2017)",
    "mobilenet_v2-imagenet2012": "72.0 % (Sandler et al. 2018)",
    **{f"resnet{depth}-cifar10": f"{score} % (He et al. 2016)" for depth, score in
       ((20, "91.25"), (32, "92.49"), (44, "92.83"), (56, "93.03"), (110, "93.57"))},
}


def rows(pattern: str = "*") -> list[dict[str, Any]]:
    """Return a dict for each recipe whose name matches a shell pattern, such as "lenet*".

    The keys are recipe, model, data, published, settings (all fields of the recipe), and accuracy,
    seeds, seconds, machine and commit, "-" without a recorded result.

    Raises:
        zoo.errors.UsageError: if no recipe matches.
    """
    names = list_recipes(pattern)
    if not names:
        raise unknown("recipe", pattern, RECIPES)
    return [_row(RECIPES[name]) for name in names]


def settings(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (field, value, default) of a row's recipe as texts; the default only if it differs.

    Name, model and data are left out.
    """
    defaults = dataclasses.asdict(Recipe("", "", ""))
    return [(field, _text(value), "" if value == defaults[field] else _text(defaults[field]))
            for field, value in row["settings"].items() if field not in ("name", "model", "data")]


def _text(value):
    return str(value) if value != "" else "-"


def recorded(name: str) -> list[dict[str, Any]]:
    """Return the recorded runs of the recipe `name`, by seed; an empty list if there are none."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else []


def _row(recipe):
    row = {"recipe": recipe.name, "model": recipe.model, "data": recipe.data, "accuracy": "-",
           "seeds": "-", "seconds": "-", "published": PUBLISHED.get(recipe.name, "-"),
           "machine": "-", "commit": "-", "settings": json.loads(recipe.to_json())}
    runs = recorded(recipe.name)
    if not runs:
        return row
    scores = [100 * run["test_accuracy"] for run in runs]
    spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    if "folds" in runs[0]:
        spread = f" ± {100 * runs[0]['stdev']:.2f} over {runs[0]['folds']} folds"
    return row | {"data": runs[0].get("data", recipe.data),
                  "accuracy": f"{statistics.mean(scores):.2f} %{spread}",
                  "seeds": ", ".join(str(run["seed"]) for run in runs),
                  "seconds": f"{statistics.median(run['seconds'] for run in runs):.0f}",
                  "machine": ", ".join(sorted({_machine(run) for run in runs})),
                  "commit": ", ".join(sorted({str(run["commit"]) for run in runs}))}


def _machine(run):
    precision = run["precision"]
    return run["machine"] + (f" ({precision})" if precision != "float32" else "")


def record(run: str | os.PathLike) -> None:
    """Record the result of a finished run or cross-validation; it replaces one of the same seed.

    Raises:
        zoo.errors.UserError: if the run is not finished, or its recipe is not one of `RECIPES`,
            unchanged.
    """
    if (Path(run) / "folds.json").exists():
        _write(json.loads((Path(run) / "folds.json").read_text(encoding="utf-8")), _FOLDS_KEYS)
        return
    metrics, recipe = run_dir.results(run), read_run(run)
    name = recipe_name(recipe)
    if not name:
        raise UserError(f"{run} is not a run of an unchanged recipe of the zoo; only such results "
                        "are recorded.")
    _write(metrics | {"recipe": name, "data": Path(recipe.data).name}, _KEYS)


def recipe_name(recipe: Recipe) -> str | None:
    """Return the name of the zoo's recipe that equals `recipe`, or None if there is none.

    The seed, the path of the data and the precision, which a result records, may differ.
    """
    for ours in RECIPES.values():
        same = dataclasses.replace(ours, name=recipe.name, seed=recipe.seed, data=recipe.data,
                                   precision=recipe.precision)
        if recipe.name.startswith(ours.name) and same.to_json() == recipe.to_json():
            return ours.name
    return None


def _write(metrics, keys):
    runs = [run for run in recorded(metrics["recipe"]) if run["seed"] != metrics["seed"]]
    runs.append({key: metrics[key] for key in keys if key in metrics})
    FOLDER.mkdir(exist_ok=True)
    content = {"recipe": metrics["recipe"], "runs": sorted(runs, key=lambda run: run["seed"])}
    files.write(FOLDER / f"{metrics['recipe']}.json", json.dumps(content, indent=2) + "\n")


def page(text: str) -> str:
    """Return docs/results.md, `text`, with an updated table of results."""
    head = ("recipe", "network", "data", "test accuracy", "published", "seeds", "seconds",
            "machine", "commit")
    lines = [(f"`{row['recipe']}`", f"`{row['model']}`", row["data"], row["accuracy"],
              row["published"], row["seeds"], row["seconds"], row["machine"], row["commit"])
             for row in rows() if row["accuracy"] != "-"]
    return replace_table(text, _MARKS, [head, ["---"] * len(head), *lines])


def update_page() -> None:
    """Write the table of results into docs/results.md."""
    files.write(PAGE, page(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    for finished in sys.argv[1:]:
        record(finished)
    update_page()
