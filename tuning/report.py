"""What a search reports: trials.csv, search.html and the lines that it prints."""
import math
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.training.files import csv_text, write
from zoo.training.pages.templates import environment
from zoo.training.recipe import Recipe
from zoo.tuning.importance import LEAST, importances, varied

HEAD = ("trial", "status", "score", "val_loss", "params", "multiply_adds", "epochs", "best_epoch",
        "seconds", "continues")
_DRAWN = ("trial", "status", "score", "params", "epochs", "values")


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


def page(recipe: Recipe, rows: list[dict], trials: int | None = None) -> str:
    """Return search.html: charts, and the trials, best first, in one self-contained page.

    Args:
        recipe: the one searched.
        rows: of the trials that have ended.
        trials: while the search runs, how many it will have; the page then reloads itself.
    """
    completed = [row for row in rows if row["status"] == "completed"]
    values, scores = ([row[key] for row in completed] for key in ("values", "score"))
    names = hyperparameters(rows)
    best = ranked(rows)[0] if completed else None
    return environment(Path(__file__).parent).get_template("page.html").render(
        title=f"Search of {recipe.name}", origin=f"{recipe.model} on {recipe.data}", trials=trials,
        facts=_facts(rows, best, trials), charts=bool(completed), varied=varied(values),
        importances=importances(values, scores), least=LEAST, completed=len(completed),
        data={"best": best and best["trial"], "names": varied(values),
              "trials": [{key: row.get(key) for key in _DRAWN} for row in rows]},
        head=("trial", "status", "val accuracy", "params", "epochs", *names, "error"),
        rows=[(row["trial"], _cells(row, names)) for row in ranked(rows)])


def _facts(rows, best, trials):
    facts = {"trials": f"{len(rows)} of {trials}" if trials else len(rows)}
    if best:
        facts |= {"best validation accuracy": f"{best['score']:.4f}", "best trial": best["trial"]}
    failed = sum(row["status"] != "completed" for row in rows)
    if failed:
        facts["without a score"] = failed
    seconds = sum(row.get("seconds") or 0 for row in rows)
    return {**facts, "seconds of training": f"{seconds:,.0f}",
            "written": time.strftime("%Y-%m-%d %H:%M:%S")}


def _cells(row, names):
    score = f"{row['score']:.4f}" if "score" in row else "-"
    params = f"{row['params']:,}" if row.get("params") else "-"
    return [row["trial"], row["status"], score, params, row.get("epochs", "-"),
            *(short(row["values"].get(name, "-")) for name in names), row.get("error") or ""]
