"""What a search leaves: trials.csv, best.json and search.html."""
import csv
import dataclasses
import io
import math

from training.recipes import read
from training.run_dir import write

HEAD = ("trial", "status", "score", "val_loss", "weights", "multiply_adds", "epochs", "best_epoch", "seconds", "continues")


def ranked(rows):
    """Return the rows best first: highest validation accuracy, then lowest validation loss; what has no score comes last."""
    return sorted(rows, key=lambda row: (-row.get("score", -math.inf), row.get("val_loss", math.inf), row["trial"]))


def write_tables(run, recipe, rows):
    """Write trials.csv, a row a trial in their order, and best.json, the recipe of the best one, its epochs all there."""
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*HEAD, *names, "error"])
    for row in rows:
        writer.writerow([row.get(key) for key in HEAD] + [row["values"].get(name) for name in names] + [row.get("error")])
    write(run / "trials.csv", text.getvalue())
    best = ranked(rows)[0]
    if best["status"] == "completed":
        found = read(run / "trials" / f"{best['trial']:04}" / "recipe.json")
        write(run / "best.json", dataclasses.replace(found, name=f"{recipe.name}-tuned").to_json())


def say(row, trials):
    """Print what came of a trial, in a line."""
    values = "  ".join(f"{name}={short(value)}" for name, value in row["values"].items())
    came = (f"val accuracy {row['score']:.4f}  {row['epochs']} epochs  {row['seconds']:.0f} s" if row["status"] == "completed"
            else f"{row['status']}: {row['error']}")
    print(f"trial {row['trial']} ({row['trial'] + 1} of {trials})  {came}  {values}", flush=True)


def short(value):
    """Return a hyperparameter's value as a table shows it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
