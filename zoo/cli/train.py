"""`zoo train`, `zoo doctor`, `zoo evaluate`."""
import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import click

from zoo.cli.console import (
    check_data,
    check_run_path,
    check_trained,
    command,
    counter,
    data_dir_option,
    example,
    is_trainable,
    json_option,
    table,
)
from zoo.errors import UsageError, UserError, unknown
from zoo.startup import choose_onednn, quiet_import


@command(epilog=example("zoo train lenet5-digits",
                        "zoo train lenet5-mnist --data-dir ~/tensorflow_datasets",
                        "zoo train lenet --data fashion_mnist --epochs 5 --set dropout=0.2",
                        "zoo train lenet5-digits --find-lr"))
@click.argument("name", required=False, metavar="[RECIPE|MODEL]")
@click.option("--data", metavar="DATASET", help="Train on this data.")
@click.option("--recipe", "file", type=click.Path(), metavar="FILE",
              help="Repeat the run of a recipe.json.")
@click.option("--run", type=click.Path(), metavar="DIR",
              help="The run directory; runs/RECIPE by default.")
@data_dir_option
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Replace a field of the recipe or an argument of the network.")
@click.option("--epochs", metavar="N", help="The same as --set epochs=N.")
@click.option("--precision", metavar="P", help="auto, float32, mixed_bfloat16 or mixed_float16.")
@click.option("--seed", metavar="N", help="The same as --set seed=N.")
@click.option("--folds", metavar="N",
              help="Cross-validate on sentences, with N folds in folders of the run directory.")
@click.option("--strategy", default="none", metavar="S",
              help="mirrored or multi_worker: split each batch between GPUs or machines.")
@click.option("--deterministic", is_flag=True, help="Use only deterministic GPU operations.")
@click.option("--find-lr", "finds_rate", is_flag=True,
              help="Train nothing; try growing learning rates, and draw the loss in DIR-lr.png.")
@click.option("--skip-bad", is_flag=True,
              help="Leave out, or replace, image files that cannot be decoded.")
@json_option
def train(name: str | None, data: str | None, file: str | None, run: str | None,
          data_dir: str | None, settings: tuple[str, ...], strategy: str, deterministic: bool,
          finds_rate: bool, skip_bad: bool, as_json: bool, **fields: str | None) -> None:
    """Train RECIPE, or MODEL on --data. The same command resumes an interrupted training.

    DATASET is "digits" (embedded), a folder of class folders or a .zip or .tar of them, an .npz
    file, a table of sentences or of paths of images, or a name of TensorFlow Datasets.
    """
    from zoo.training import recipes, run_dir
    from zoo.training.recipe import STRATEGIES
    if (name is None) == (file is None):
        raise click.UsageError("Name a recipe, or a model and --data, or --recipe FILE. "
                               "`zoo recipes` lists the recipes.")
    if name and data and is_trainable(data) and not is_trainable(name) and ":" not in name:
        raise UsageError(f"The network comes first: zoo train {data} --data {name}.")
    with quiet_import():  # the module of a builder of your own imports Keras
        recipe = recipes.read(file) if file else recipes.get_recipe(cast(str, name), data)
        if file and data:
            data = recipes.get_recipe(recipe.model, data).data
            recipe = dataclasses.replace(recipe, data=data)
    if skip_bad:
        fields["skip_bad"] = "true"
    replaced = [f"{key}={value}" for key, value in fields.items() if value is not None]
    recipe = recipes.override(recipe, [*settings, *replaced])
    run = run or f"runs/{recipe.name}"
    if finds_rate:
        _find_rate(recipe, Path(f"{run}-lr.png"), data_dir, data is not None, as_json)
        return
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if strategy != "multi_worker":  # of whose workers the first alone writes
        check_run_path(run, None if fields["folds"] else recipe)
    if not (Path(run) / "metrics.json").exists():  # a finished run needs no data
        check_data(recipe, data_dir, named=data is not None)
    choose_onednn(run_dir.started_with_onednn(run))  # the bits of an interrupted run depend on it
    with quiet_import():  # takes seconds: a mistake in the lines above is reported before
        from zoo.training.data.checks.sizes import wilson_interval
        from zoo.training.engine import fit
    options: dict[str, Any] = {"data_dir": data_dir, "log": not as_json, "strategy": strategy,
                               "deterministic": deterministic}
    if recipe.folds > 1 and fields["folds"]:
        _cross_validate(recipe, run, as_json, options)
        return
    metrics = fit.train(recipe, run, **options)
    if metrics is None:
        click.echo(f"{recipe.name}: this worker is done; the first one writes the results.")
        return
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
        return
    count = metrics["test_examples"]
    low, high = wilson_interval(round(metrics["test_accuracy"] * count), count)
    click.echo(f"{recipe.name}: test accuracy {metrics['test_accuracy']:.4f} on "
               f"{count:,} examples (95 % interval {low:.4f} to {high:.4f})"
               f"{_uneven(metrics)}, "
               f"{metrics['seconds']:.0f} s of training. Results, model and pictures are in {run}")
    click.echo(f"Next: zoo export {run}")


def _find_rate(recipe, picture, data_dir, named, as_json):
    """Try growing learning rates, draw the losses and print the rate where they fall fastest."""
    check_run_path(str(picture.parent))
    if picture.is_dir():
        raise UserError(f"Cannot write {picture}: it is a folder.")
    check_data(recipe, data_dir, named)
    choose_onednn(None)
    with quiet_import():
        from zoo.training import figures
        from zoo.training.engine import lr_finder
        from zoo.training.files import write
    say = (lambda line: None) if as_json else click.echo
    found = lr_finder.find_lr(recipe, data_dir, say)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write(picture, figures.png(lr_finder.draw(found, recipe.name)))
    except OSError as error:
        raise UserError(f"Cannot write {picture}: {error.strerror}.") from None
    if as_json:
        click.echo(json.dumps({"picture": str(picture), **dataclasses.asdict(found)}, indent=2))
        return
    rate = f"{found.suggested:.2g}"
    click.echo(f"{recipe.name}: the loss falls most steeply at a learning rate of {rate} "
               f"(the recipe has {recipe.learning_rate:g}). The curve is in {picture}\n"
               f"Next: zoo train {recipe.name} --set learning_rate={rate}")


def _cross_validate(recipe, run, as_json, options):
    from zoo.training.engine import folds
    if options["strategy"] == "multi_worker":
        raise UsageError("--folds trains on one machine. Several machines can train one fold "
                         "together: --set folds=10 --set fold=0.")
    result = folds.cross_validate(recipe, run, **options)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(f"{recipe.name}: test accuracy {result['test_accuracy']:.4f} ± "
               f"{result['stdev']:.4f} over {recipe.folds} folds, {result['seconds']:.0f} s of "
               f"training. Results are in {run}")


def _uneven(metrics):
    """Return a remark for the summary line if the classes differ in size by a factor of 3."""
    shares = [sum(row) / metrics["test_examples"] for row in metrics["test_confusion"]]
    if max(shares) < 3 * min(shares):
        return ""
    return (f" (uneven classes, {min(shares):.1%} to {max(shares):.1%} of the examples: macro-F1 "
            f"{metrics['test_macro_f1']:.4f}, see confusion.png)")


@command(epilog=example("zoo doctor photos/", "zoo doctor photos/ --quick",
                        "zoo doctor photos/ --move-bad photos-bad/"))
@click.argument("dataset")
@data_dir_option
@click.option("--quick", is_flag=True,
              help="Of a folder of images, examine the list of files and a random sample of them.")
@click.option("--move-bad", type=click.Path(), metavar="DIR",
              help="Move image files that cannot be used into DIR.")
@json_option
def doctor(dataset: str, data_dir: str | None, quick: bool, move_bad: str | None,
           as_json: bool) -> int:
    """Report problems of DATASET before training; exit with 1 if they would break or falsify it.

    Ctrl-C ends the look at image files with the findings so far; the same command goes on from
    there.
    """
    from zoo.training.data.names import check_name
    check_name(dataset, data_dir)
    with quiet_import():
        from zoo.training.doctor import HEAD, examine, move_bad_files, report, to_json
    with counter("files", quiet=as_json) as count:
        findings = examine(dataset, data_dir, count, quick)
    if as_json:
        click.echo(json.dumps(to_json(findings, dataset), indent=2))
    else:
        table(HEAD, report(findings), right=(2,))
    if move_bad:
        moved = move_bad_files(findings, dataset, move_bad)
        click.echo(f"{moved} files moved to {move_bad}", err=as_json)
    if any(finding.kind == "interrupted" for finding in findings):
        return 130
    return int(any(finding.severity == "error" for finding in findings))


@command(epilog=example("zoo evaluate runs/lenet5-digits",
                        "zoo evaluate runs/lenet5-mnist --data-dir DIR --json"))
@click.argument("run", type=click.Path(), metavar="RUN|NAME")
@click.option("--data", metavar="DATASET", help="Another data set with the same classes.")
@data_dir_option
@json_option
def evaluate(run: str, data: str | None, data_dir: str | None, as_json: bool) -> None:
    """Score the trained network of RUN, or the shipped model NAME, on the test split."""
    check_trained(run)
    if data:
        from zoo.training.data.names import check_name
        check_name(data, data_dir)
    with quiet_import():
        from zoo.training import evaluation
    scores = evaluation.evaluate(run, data, data_dir)
    if as_json:
        click.echo(json.dumps(scores, indent=2))
    else:
        click.echo(f"{scores['data']}: accuracy {scores['accuracy']:.4f}, loss "
                   f"{scores['loss']:.4f} on {scores['examples']:,} test examples")
