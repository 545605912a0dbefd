"""Searching better hyperparameters: `zoo tune`."""
import json
from pathlib import Path

import click

from zoo.cli.console import data_dir_option, example, json_option, table
from zoo.startup import quiet_import

ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
_SHOWN = 10  # rows of the leaderboard


@click.command(epilog=example("zoo tune lenet5-digits --trials 20 --epochs 5 --run runs/search",
                              "zoo tune lenet5-mnist --algorithm hyperband --fix batch_size=128 --refit --export"))
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
@click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Pin a hyperparameter of the space.")
@click.option("--space", type=click.Path(), metavar="FILE", help="Search what space(hp) of this Python file declares instead.")
@click.option("--max-params", type=click.IntRange(min=1), metavar="N", help="Try no network of more weights.")
@click.option("--max-flops", type=click.IntRange(min=1), metavar="N", help="Try no network of more multiply-adds.")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, metavar="K",
              help="Keep the weights of the best K trials.")
@click.option("--refit", is_flag=True,
              help="Train the best recipe and the one it began with, and compare them on the test part.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, metavar="R", help="Refit over R seeds, to see the spread.")
@click.option("--export", is_flag=True, help="Export the refitted network.")
@click.option("--storage", metavar="URL", help="Share the search: every `zoo tune` with this database takes trials from it.")
@json_option
def tune(name, data, settings, epochs, space, run, refit, repeats, export, storage, as_json, **plan):
    """Search hyperparameters that better RECIPE on the validation part. Run again with the same --run, it goes on.

    The end is RUN/best.json, a recipe for `zoo train --recipe`; RUN/trials.csv tells of every trial.
    """
    from zoo.training import recipes
    with quiet_import():
        recipe = recipes.get_recipe(name, data)
        import tensorflow as tf

        from zoo.tuning import spaces
        from zoo.tuning.sequential import Plan, search
    tf.config.set_visible_devices([], "GPU")  # the trials, each a process of its own, want all of its memory
    recipe = recipes.override(recipe, [*settings, *([f"epochs={epochs}"] if epochs else [])])
    plan = Plan(recipe, space=spaces.load(space) if space else spaces.default, **plan)
    run = Path(run or f"runs/{recipe.name}-search")
    if storage:
        from zoo.tuning import distributed
        rows = distributed.search(plan, run, storage, log=not as_json)
    else:
        rows = search(plan, run, log=not as_json)
    if not as_json:
        _leaderboard(rows)
    answer = {"run": str(run), "trials": rows}
    if refit or export or repeats > 1:
        from zoo.tuning import refitting as work
        answer["refit"] = work.refit(plan, run, repeats, log=not as_json)
    if export:
        from zoo.training.deployment.exporter import export as write_out
        answer["export"] = write_out(run / "refit")
    click.echo(json.dumps(answer, indent=2) if as_json else _end(run, answer))


def _end(run, answer):
    """What is told last: which recipe is better, and what to do next."""
    if "refit" not in answer:
        return f"Next: zoo train --recipe {run}/best.json --run {run}/refit"
    told = answer["refit"]
    lines = []
    for name in ("tuned", "recipe"):
        runs = told[name]
        spread = f" ± {runs['stdev']:.4f} over {len(runs['test_accuracy'])} seeds" if runs["stdev"] is not None else ""
        lines.append(f"{name}: test accuracy {runs['mean']:.4f}{spread}")
    lines.append(f"{told['verdict']} Difference {told['difference']:+.4f}; {told['noise']:.4f} would be chance, on "
                 f"{told['test_examples']:,} test examples.")
    lines.append(f"Next: zoo predict {answer['export']['path']} FILE" if "export" in answer else
                 f"Next: zoo export {run}/refit")
    return "\n".join(lines)


def _leaderboard(rows):
    from zoo.tuning.report import short
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    table(("rank", "trial", "val accuracy", "val loss", "weights", "epochs", *names),
          [[rank, row["trial"], f"{row['score']:.4f}", f"{row['val_loss']:.4f}", f"{row['weights']:,}", row["epochs"],
            *(short(row["values"].get(name, "-")) for name in names)]
           for rank, row in enumerate(rows[:_SHOWN], start=1) if row["status"] == "completed"], right=range(6))
    failed = sum(row["status"] != "completed" for row in rows)
    without = f", {failed} of them without a score: see the column error of trials.csv" * bool(failed)
    click.echo(f"{len(rows)} trials{without}")
