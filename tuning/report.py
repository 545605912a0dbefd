"""What a search leaves: trials.csv, best.json and search.html."""
import base64
import html
import math

from zoo.training.figures import png
from zoo.training.files import csv_text, write
from zoo.tuning import figures

HEAD = ("trial", "status", "score", "val_loss", "weights", "multiply_adds", "epochs", "best_epoch", "seconds", "continues")


def ranked(rows):
    """Return the rows best first: highest validation accuracy, then lowest validation loss; what has no score comes last."""
    return sorted(rows, key=lambda row: (-row.get("score", -math.inf), row.get("val_loss", math.inf), row["trial"]))


def write_trials(run, rows):
    """Write trials.csv, a row a trial in their order."""
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    cells = ([*map(row.get, HEAD), *map(row["values"].get, names), row.get("error")] for row in rows)
    write(run / "trials.csv", csv_text([*HEAD, *names, "error"], cells))


def say(row, trials):
    """Print what came of a trial, in a line."""
    values = "  ".join(f"{name}={short(value)}" for name, value in row["values"].items())
    came = (f"val accuracy {row['score']:.4f}  {row['epochs']} epochs  {row['seconds']:.0f} s" if row["status"] == "completed"
            else f"{row['status']}: {row['error']}")
    print(f"trial {row['trial']} ({row['trial'] + 1} of {trials})  {came}  {values}", flush=True)


def short(value):
    """Return a hyperparameter's value as a table shows it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def page(recipe, rows):
    """Return search.html: the trials, best first, and pictures of them, with nothing to load from elsewhere."""
    done = [row for row in rows if row["status"] == "completed"]
    drawn = [("Score over the trials", figures.scores(rows))] if done else []
    if len(done) > 1 and figures.varied(done):
        drawn += [("Score against each hyperparameter", figures.slices(done)),
                  ("Parallel coordinates", figures.parallel(done))]
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    titles = ("trial", "status", "val accuracy", "epochs", *names, "error")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in titles)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row, names)) for row in ranked(rows))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    pictures = "".join(f"<h2>{title}</h2>\n<img alt=\"{title}\" src=\"data:image/png;base64,{_base64(figure)}\">\n"
                       for title, figure in drawn)
    return _PAGE.format(title=html.escape(f"Search of {recipe.name}"), pictures=pictures, head=head, body=body)


def _cells(row, names):
    score = f"{row['score']:.4f}" if "score" in row else "-"
    return [str(row["trial"]), row["status"], score, str(row.get("epochs", "-")),
            *(short(row["values"].get(name, "-")) for name in names), row.get("error") or ""]


def _base64(figure):
    return base64.b64encode(png(figure, dpi=110)).decode()


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; margin: 2em; }} img {{ max-width: 100%; }} table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid #ccc; padding: 0.3em 0.6em; text-align: right; }} th {{ background: #eee; }}
</style></head><body>
<h1>{title}</h1>
{pictures}<h2>Trials, best first</h2>
<div style="overflow-x: auto"><table><thead><tr>{head}</tr></thead><tbody>
{body}</tbody></table></div>
</body></html>
"""
