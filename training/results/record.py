"""What the recipes reached when they were run: results/RECIPE.json, which `zoo recipes` and the README's table show.

`python -m zoo.training.results.record RUN...` records finished runs there, one a seed, and writes the README's table anew.
"""
import dataclasses
import fnmatch
import json
import statistics
import sys
from pathlib import Path

from zoo.errors import UserError, unknown
from zoo.training import files, run_dir
from zoo.training.recipes import RECIPES, Recipe, read

FOLDER = Path(__file__).parent
README = Path(__file__).parents[2] / "README.md"
_MARKS = "<!-- results: make results -->\n", "<!-- end of results -->\n"
_ALWAYS = ("seed", "test_accuracy", "seconds", "precision", "machine", "versions", "python", "commit", "finished")
_KEPT = (*_ALWAYS, "data", "data_fingerprint", "test_loss", "test_macro_f1", "best_epoch", "images_per_second")
_FOLDS_KEPT = (*_ALWAYS, "folds", "stdev", "accuracies")
PUBLISHED = {  # what the course document or the paper reports for the same network and data
    "lenet5-mnist": "99.2 % (LeCun et al. 1998, with distortions)",
    "lenet-mnist": "98.4 % (course)",
    "simple_cnn-mnist": "98.46 % (course)",
    "simple_cnn-mnist-seed": "98.46 % (course)",
    "small_inception-mnist": "98.66 % (course)",
    "small_inception-mnist-seed": "98.66 % (course)",
    "textcnn-mr": "76.1 % (Kim 2014, 10 folds)",
    "textcnn-ntc_scv": "88.78 % (course)",
    **{f"resnet{depth}-cifar10": f"{score} % (He et al. 2016)" for depth, score in
       ((20, "91.25"), (32, "92.49"), (44, "92.83"), (56, "93.03"), (110, "93.57"))},
}


def rows(pattern="*"):
    """Return a dict for each recipe whose name matches a shell pattern, such as "lenet*", in whatever case.

    They hold recipe, model, data, published score, settings, all fields of the recipe; and accuracy, seeds, seconds where it
    was run.

    Raises:
        zoo.errors.UsageError: if there is none.
    """
    found = [_row(recipe) for name, recipe in RECIPES.items() if fnmatch.fnmatchcase(name.lower(), pattern.lower())]
    if not found:
        raise unknown("recipe", pattern, RECIPES)
    return found


def settings(row):
    """Return (field, value, value by default where that is another) of a row's recipe, as texts, but its name and network."""
    plain = dataclasses.asdict(Recipe("", "", ""))
    return [(field, _shown(value), "" if value == plain[field] else _shown(plain[field]))
            for field, value in row["settings"].items() if field not in ("name", "model", "data")]


def _shown(value):
    return str(value) if value != "" else "-"


def _row(recipe):
    row = {"recipe": recipe.name, "model": recipe.model, "data": recipe.data, "accuracy": "-", "seeds": "-",
           "seconds": "-", "published": PUBLISHED.get(recipe.name, "-"), "machine": "-", "commit": "-",
           "settings": json.loads(recipe.to_json())}
    file = FOLDER / f"{recipe.name}.json"
    if file.exists():
        runs = json.loads(file.read_text())["runs"]
        scores = [100 * run["test_accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        if "folds" in runs[0]:
            spread = f" ± {100 * runs[0]['stdev']:.2f} over {runs[0]['folds']} folds"
        row |= {"data": runs[0].get("data", recipe.data),
                "accuracy": f"{statistics.mean(scores):.2f} %{spread}", "seeds": ", ".join(str(r["seed"]) for r in runs),
                "seconds": f"{statistics.median(run['seconds'] for run in runs):.0f}",
                "machine": ", ".join(sorted({run["machine"] for run in runs})),
                "commit": ", ".join(sorted({str(run["commit"]) for run in runs}))}
    return row


def record(run):
    """Keep the result of a finished `run` of a recipe of ours, or of its folds, in place of one with the same seed.

    Raises:
        zoo.errors.UserError: if the run has not finished, or its recipe is not the one in `RECIPES`.
    """
    if (Path(run) / "folds.json").exists():
        _keep(json.loads((Path(run) / "folds.json").read_text()), _FOLDS_KEPT)
        return
    metrics, ran = run_dir.results(run), read(Path(run) / "recipe.json")
    name = ours(ran)
    if not name:
        raise UserError(f"{run} is no run of a recipe of ours as it stands; only such results are kept.")
    _keep(metrics | {"recipe": name, "data": Path(ran.data).name}, _KEPT)


def ours(ran):
    """Return the name of the recipe of ours that `ran` is, but for its seed and where its data lie; None if it is none."""
    for recipe in RECIPES.values():
        same = dataclasses.replace(recipe, name=ran.name, seed=ran.seed, data=ran.data)
        if ran.name.startswith(recipe.name) and same.to_json() == ran.to_json():
            return recipe.name
    return None


def _keep(metrics, keys):
    file = FOLDER / f"{metrics['recipe']}.json"
    others = json.loads(file.read_text())["runs"] if file.exists() else []
    runs = [r for r in others if r["seed"] != metrics["seed"]] + [{key: metrics[key] for key in keys if key in metrics}]
    FOLDER.mkdir(exist_ok=True)
    whole = {"recipe": metrics["recipe"], "runs": sorted(runs, key=lambda r: r["seed"])}
    files.write(file, json.dumps(whole, indent=2) + "\n")


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
    files.write(README, readme(README.read_text()))
