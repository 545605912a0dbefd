"""Searching better hyperparameters: `zoo tune`."""
import json
from pathlib import Path
from typing import Any

import click

from zoo.cli.console import Count, data_dir_option, example, json_option, table
from zoo.settings import split_setting
from zoo.startup import quiet_import

ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
_SHOWN = 10  # rows of the leaderboard


@click.command(epilog=example(
    "zoo tune lenet5-digits --trials 20 --epochs 5 --run runs/search",
    "zoo tune lenet5-mnist --algorithm hyperband --fix batch_size=128 --refit --export"))
@click.argument("name", metavar="RECIPE")
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
              help="How many to run.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="random", show_default=True,
              help="keras-tuner's, seeded and resumable.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N",
              help="Of the search; 0 by default.")
@click.option("--epochs", metavar="N", help="Of a whole training; the recipe's by default.")
@click.option("--run", type=click.Path(), metavar="DIR",
              help="The search's directory; runs/RECIPE-search by default.")
@click.option("--data", metavar="DATASET", help="Tune the recipe, or a network, on this data.")
@data_dir_option
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Replace a field of the recipe first.")
@click.option("--fix", multiple=True, metavar="NAME=VALUE",
              help="Do not search this hyperparameter; use the value.")
@click.option("--space", type=click.Path(), metavar="FILE",
              help="Search what space(hp) in this Python file declares instead.")
@click.option("--max-params", type=Count(), metavar="N",
              help="Do not try networks with more parameters.")
@click.option("--max-flops", type=Count(), metavar="N",
              help="Do not try networks with more multiply-adds.")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, metavar="K",
              help="Keep the weights of the best K trials.")
@click.option("--refit", is_flag=True, help="Train the best recipe and the one the search started "
                                            "from, and compare them on the test split.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, metavar="R",
              help="Refit with R seeds, to measure the spread.")
@click.option("--export", is_flag=True, help="Export the refitted network.")
@click.option("--storage", metavar="URL",
              help="Share the search: every `zoo tune` with this database runs trials of it.")
@json_option
def tune(name: str, data: str | None, settings: tuple[str, ...], epochs: str | None,
         fix: tuple[str, ...], run: str | None, refit: bool, repeats: int, export: bool,
         as_json: bool, data_dir: str | None, **options: Any) -> None:
    """Search hyperparameters that raise RECIPE's validation accuracy. The same command resumes it.

    It writes RUN/best.json, a recipe for `zoo train --recipe`, and RUN/trials.csv, a row per trial.
    """
    from zoo.training import recipes
    if epochs:
        settings = (*settings, f"epochs={epochs}")
    fixed = dict(split_setting(setting, "--fix") for setting in fix)
    with quiet_import():  # a network of one's own imports Keras
        recipe = recipes.get_recipe(name, data)
    recipe = recipes.override(recipe, settings)
    with quiet_import():  # takes seconds: a mistake in the lines above is reported before
        from zoo import tuning
        search = tuning.search
    folder = Path(run or f"runs/{recipe.name}-search")
    log = not as_json
    rows = search(recipe, folder, fixed=fixed, data_dir=data_dir, log=log, **options)
    if log:
        _print_leaderboard(rows)
    result: dict[str, Any] = {"run": str(folder), "trials": rows}
    if refit or export or repeats > 1:
        result["refit"] = tuning.refit(folder, repeats=repeats, data_dir=data_dir, log=log)
    if export:
        from zoo.training.deployment import exporter
        result["export"] = exporter.export(folder / "refit")
    click.echo(json.dumps(result, indent=2) if as_json else _summary(folder, result))


def _summary(run, result):
    """Return the last lines: which recipe is better, and the next command."""
    if "refit" not in result:
        return f"Next: zoo train --recipe {run}/best.json --run {run}/refit"
    refit = result["refit"]
    lines = []
    for name in ("tuned", "recipe"):
        runs = refit[name]
        spread = ""
        if runs["stdev"] is not None:
            spread = f" ± {runs['stdev']:.4f} over {len(runs['test_accuracy'])} seeds"
        lines.append(f"{name}: test accuracy {runs['mean']:.4f}{spread}")
    lines.append(f"{refit['verdict']} Difference {refit['difference']:+.4f}; noise up to "
                 f"{refit['noise']:.4f}, on {refit['test_examples']:,} test examples.")
    if "export" in result:
        lines.append(f"Next: zoo predict {result['export']['path']} FILE")
    else:
        lines.append(f"Next: zoo export {run}/refit")
    return "\n".join(lines)


def _print_leaderboard(rows):
    from zoo.tuning.report import hyperparameters, short
    names = hyperparameters(rows)
    best = [[rank, row["trial"], f"{row['score']:.4f}", f"{row['val_loss']:.4f}",
             f"{row['params']:,}", row["epochs"],
             *(short(row["values"].get(name, "-")) for name in names)]
            for rank, row in enumerate(rows[:_SHOWN], start=1) if row["status"] == "completed"]
    table(("rank", "trial", "val accuracy", "val loss", "params", "epochs", *names), best,
          right=range(6))
    failed = sum(row["status"] != "completed" for row in rows)
    note = f", {failed} of them failed: see the column error of trials.csv" if failed else ""
    click.echo(f"{len(rows)} trials{note}")
