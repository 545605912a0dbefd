"""What a search reports: trials.csv, search.html and the lines that it prints."""
import base64
import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from zoo.training.figures import png
from zoo.training.files import csv_text, write
from zoo.training.recipe import Recipe
from zoo.tuning import figures

HEAD = ("trial", "status", "score", "val_loss", "params", "multiply_adds", "epochs", "best_epoch",
        "seconds", "continues")


def ranked(rows: Iterable[dict]) -> list[dict]:
    """Return the rows best first: highest accuracy, then lowest loss; those without score last."""
    return sorted(rows, key=lambda row: (-row.get("score", -math.inf),
                                         row.get("val_loss", math.inf), row["trial"]))


def hyperparameters(rows: Iterable[dict]) -> list[str]:
    """Return the names of all hyperparameters in `rows`."""
    return list(dict.fromkeys(name for row in rows for name in row["values"]))


def write_trials(run: Path, rows: list[dict]) -> None:
    """Write trials.csv, a row per trial in their order."""
    names = hyperparameters(rows)
    cells = ([*map(row.get, HEAD), *map(row["values"].get, names), row.get("error")]
             for row in rows)
    write(run / "trials.csv", csv_text([*HEAD, *names, "error"], cells))


def print_trial(row: dict, count: int, trials: int) -> None:
    """Print the result of a trial, the `count`-th of `trials`, and its values below."""
    if row["status"] == "completed":
        result = (f"val accuracy {row['score']:.4f}  {row['epochs']} epochs  "
                  f"{row['seconds']:.0f} s")
    else:
        result = f"{row['status']}: {row['error']}"
    values = " ".join(f"{name}={short(value)}" for name, value in row["values"].items())
    print(f"trial {row['trial']} ({count} of {trials})  {result}",
          *textwrap.wrap(values, 80, initial_indent="  ", subsequent_indent="  ",
                         break_long_words=False, break_on_hyphens=False), sep="\n", flush=True)


def short(value: Any) -> str:
    """Return a hyperparameter's value as tables show it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def page(recipe: Recipe, rows: list[dict]) -> str:
    """Return search.html: figures and the trials, best first, in one self-contained page."""
    completed = [row for row in rows if row["status"] == "completed"]
    drawn = {}
    if completed:
        drawn["Score over the trials"] = figures.scores(rows)
    if len(completed) > 1 and figures.varied(completed):
        drawn["Score against each hyperparameter"] = figures.slices(completed)
        drawn["Parallel coordinates"] = figures.parallel(completed)
    names = hyperparameters(rows)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent),
                                     autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html").render(
        title=f"Search of {recipe.name}",
        figures={title: _base64(figure) for title, figure in drawn.items()},
        head=("trial", "status", "val accuracy", "epochs", *names, "error"),
        rows=[_cells(row, names) for row in ranked(rows)])


def _cells(row, names):
    score = f"{row['score']:.4f}" if "score" in row else "-"
    return [row["trial"], row["status"], score, row.get("epochs", "-"),
            *(short(row["values"].get(name, "-")) for name in names), row.get("error") or ""]


def _base64(figure):
    return base64.b64encode(png(figure, dpi=110)).decode()
