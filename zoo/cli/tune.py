"""Searching better hyperparameters: `zoo tune`."""
import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import click

from zoo import catalog
from zoo.cli.console import (
    Count,
    check_data,
    check_files,
    check_run_path,
    command,
    data_dir_option,
    example,
    json_option,
    table,
)
from zoo.errors import unknown
from zoo.settings import SYNONYMS, split_setting
from zoo.startup import quiet_import

ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
# What the default spaces search beside arguments of the network's builder; a test compares.
SEARCHED = ("augment_strength", "batch_size", "depth", "filters_factor", "first_window",
            "frozen_stages", "label_smoothing", "learning_rate", "optimizer", "schedule",
            "weight_decay", "width", "windows_count")
_WIDTH, _WIDEST = 80, 36  # characters of the leaderboard, and of one of its columns


@command(epilog=example(
    "zoo tune lenet5-digits --trials 20 --epochs 5 --run runs/search",
    "zoo tune lenet5-mnist --algorithm hyperband --fix batch_size=128 --refit --export"))
@click.argument("name", metavar="RECIPE")
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
              help="How many to run.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS, case_sensitive=False),
              default="random", show_default=True, help="keras-tuner's, seeded and resumable.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N",
              help="Of the search; 0 by default.")
@click.option("--epochs", type=click.IntRange(min=1), metavar="N",
              help="Of a trial; the recipe's by default, which best.json and --refit keep.")
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
                                            "from to the end, and keep the one that is better on "
                                            "validation, in RUN/kept.")
@click.option("--repeats", type=click.IntRange(min=1), metavar="R",
              help="Refit with R seeds, 3 by default.")
@click.option("--export", is_flag=True, help="Refit, and export the network that is kept.")
@click.option("--storage", metavar="URL",
              help="Share the search: every `zoo tune` with this database runs trials of it.")
@json_option
def tune(name: str, data: str | None, settings: tuple[str, ...], epochs: int | None,
         fix: tuple[str, ...], run: str | None, refit: bool, repeats: int | None, export: bool,
         as_json: bool, data_dir: str | None, **options: Any) -> None:
    """Search hyperparameters that raise RECIPE's validation accuracy. The same command resumes it.

    It writes RUN/best.json, a recipe for `zoo train --recipe`, and RUN/trials.csv, a row per trial.
    """
    from zoo.training import recipes
    fixed = dict(split_setting(setting, "--fix") for setting in fix)
    with quiet_import():  # the module of a builder of your own imports Keras
        recipe = recipes.get_recipe(name, data)
    recipe = recipes.override(recipe, settings)
    check_data(recipe, data_dir, named=data is not None)
    folder = Path(run or f"runs/{recipe.name}-search")
    trial = dataclasses.replace(recipe, epochs=epochs, min_steps=0) if epochs else recipe
    check_run_path(str(folder), None if options["storage"] else trial)
    if options["space"]:
        check_files([options["space"]])
    else:
        _check_fixed(recipe, fixed)
    log = not as_json
    if log:
        _announce(recipe, folder, epochs, options["trials"], options["algorithm"],
                  options["storage"])
    with quiet_import():  # takes seconds: a mistake in the lines above is reported before
        from zoo import tuning
        search = tuning.search
    rows = search(recipe, folder, epochs=epochs, fixed=fixed, data_dir=data_dir, log=log, **options)
    if log:
        _print_leaderboard(rows, folder)
    result: dict[str, Any] = {"run": str(folder), "trials": rows}
    if refit or export or repeats:
        result["refit"] = tuning.refit(folder, repeats=repeats or 3, data_dir=data_dir, log=log)
    if export:
        from zoo.training.deployment import exporter
        result["export"] = exporter.export(folder / "kept")
    click.echo(json.dumps(result, indent=2) if as_json else _summary(folder, result))


def _check_fixed(recipe, fixed):
    """Raise UsageError for what no default space has, before TensorFlow starts."""
    from zoo.training.recipe import OLD_NAMES, override
    known = {*catalog.arguments(recipe.model), *SEARCHED}
    fields = {field.name for field in dataclasses.fields(recipe)}
    for name, value in fixed.items():
        if name not in known | OLD_NAMES.keys():
            raise unknown("hyperparameter to fix", name, known, SYNONYMS)
        if name in fields:
            override(recipe, [f"{name}={value}"])


def _announce(recipe, folder, epochs, trials, algorithm, storage):
    """Print what the command does, before the seconds that TensorFlow takes to start."""
    limit = "up to " if algorithm == "hyperband" else ""
    shared = ", shared through --storage" if storage else ""  # not the address: it may be secret
    done = len(list(folder.glob("trials/*/result.json")))
    resumed = f" {done} trials have ended." if done else ""
    click.echo(f"{recipe.name}: {algorithm} search of {trials} trials, {limit}"
               f"{epochs or recipe.epochs} epochs each, in {folder}{shared}.{resumed}")


def _summary(run, result):
    """Return the last lines: which recipe is better, and the next command."""
    if "refit" not in result:
        return (f"Next: the same command with --refit, which compares {run}/best.json with the\n"
                f"recipe, or zoo train --recipe {run}/best.json --run {run}/refit")
    refit = result["refit"]
    lines = []
    for name in ("recipe", "tuned"):
        scores = refit[name]
        spread = ""
        if scores["stdev"] is not None:
            spread = f" ± {scores['stdev']:.4f} over {len(scores['val_accuracy'])} seeds"
        lines.append(f"{name}: validation accuracy {scores['mean']:.4f}{spread}, "
                     f"{refit['epochs']} epochs")
    test = sum(refit[refit["kept"]]["test_accuracy"]) / len(refit[refit["kept"]]["test_accuracy"])
    lines += [refit["verdict"],
              f"Difference {refit['difference']:+.4f}, noise up to {refit['noise']:.4f}, on "
              f"{refit['validation_examples']:,} validation examples.",
              f"Test accuracy of the kept one: {test:.4f}. It is in {run}/kept."]
    if "export" in result:
        lines.append(f"Next: zoo predict {result['export']['path']} FILE")
    else:
        lines.append(f"Next: zoo export {run}/kept")
    return "\n".join(lines)


def _print_leaderboard(rows, run):
    """Print the best trials side by side, as many as fit the width of a terminal."""
    from zoo.tuning.report import hyperparameters, short
    names = hyperparameters(rows)
    completed = [row for row in rows if row["status"] == "completed"]
    columns: list[list[Any]] = [["rank", "trial", "val accuracy", "val loss", "params", "epochs",
                                 *names]]
    for rank, row in enumerate(completed, start=1):
        columns.append([rank, row["trial"], f"{row['score']:.4f}", f"{row['val_loss']:.4f}",
                        f"{row['params']:,}", row["epochs"],
                        *(short(row["values"].get(name, "-")) for name in names)])
    columns = [[str(cell)[:_WIDEST] for cell in column] for column in columns]
    widths = itertools.accumulate(2 + max(map(len, column)) for column in columns)
    shown = max(sum(width - 2 <= _WIDTH for width in widths), 2)
    head, *lines = zip(*columns[:shown], strict=True)
    table(head, lines, right=range(1, shown))
    failed = len(rows) - len(completed)
    note = f", {failed} of them failed: see the column error of trials.csv" if failed else ""
    click.echo(f"{len(rows)} trials{note}")
    if len(completed) > shown - 1:
        click.echo(f"All are in {run}/trials.csv and {run}/search.html.")
