"""Searching better hyperparameters: `zoo tune`."""
import json

import click

from zoo.console import data_dir_option, example, json_option, quiet_import, table

ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
_SHOWN = 10  # rows of the leaderboard


@click.command(epilog=example("zoo tune lenet5-digits --trials 20 --epochs 5 --run runs/search",
                              "zoo tune lenet5-mnist --algorithm hyperband --fix batch=128 --refit --export"))
@click.argument("name", metavar="RECIPE")
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many to run.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="random", show_default=True,
              help="keras-tuner's, seeded and resumable.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", help="Of the search; 0 by default.")
@click.option("--epochs", metavar="N", help="Of a whole training; the recipe's by default.")
@click.option("--run", type=click.Path(), metavar="DIR", help="The search's directory; runs/RECIPE-search by default.")
@click.option("--data", metavar="DATASET", help="Tune the recipe, or a network, on this data.")
@data_dir_option
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Replace a field of the recipe first.")
@click.option("--fix", multiple=True, metavar="NAME=VALUE", help="Pin a hyperparameter of the space.")
@click.option("--space", type=click.Path(), metavar="FILE", help="Search what space(hp) of this Python file declares instead.")
@click.option("--max-params", type=click.IntRange(min=1), metavar="N", help="Try no network of more weights.")
@click.option("--max-flops", type=click.IntRange(min=1), metavar="N", help="Try no network of more multiply-adds.")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, metavar="K",
              help="Keep the weights of the best K trials.")
@json_option
def tune(name, trials, algorithm, seed, epochs, run, data, data_dir, settings, fix, space, max_params, max_flops, keep,
         as_json):
    """Search hyperparameters that better RECIPE on the validation part. Run again with the same --run, it goes on.

    The end is RUN/best.json, a recipe for `zoo train --recipe`; RUN/trials.csv tells of every trial.
    """
    from training import recipes
    recipe = recipes.recipe(name, data)
    with quiet_import():
        from tuning import spaces
        from tuning.search import Plan, search
    recipe = recipes.override(recipe, [*settings, *([f"epochs={epochs}"] if epochs else [])])
    plan = Plan(recipe, algorithm, seed, spaces.load(space) if space else spaces.default, fix, max_params, max_flops, trials,
                keep, data_dir)
    run = run or f"runs/{recipe.name}-search"
    rows = search(plan, run, log=not as_json)
    if as_json:
        click.echo(json.dumps({"run": run, "trials": rows}, indent=2))
        return
    _leaderboard(rows)
    click.echo(f"Next: zoo train --recipe {run}/best.json --run {run}/refit")


def _leaderboard(rows):
    from tuning.report import short
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    table(("rank", "trial", "val accuracy", "val loss", "weights", "epochs", *names),
          [[rank, row["trial"], f"{row['score']:.4f}", f"{row['val_loss']:.4f}", f"{row['weights']:,}", row["epochs"],
            *(short(row["values"].get(name, "-")) for name in names)]
           for rank, row in enumerate(rows[:_SHOWN], start=1) if row["status"] == "completed"], right=range(6))
    failed = sum(row["status"] != "completed" for row in rows)
    without = f", {failed} of them without a score: see the column error of trials.csv" * bool(failed)
    click.echo(f"{len(rows)} trials{without}")
