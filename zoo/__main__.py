"""The `zoo` command: parses what was typed, then hands over to the package that does the work, imported only then."""
import json
import os
import sys
from pathlib import Path

import click

from zoo import __version__
from zoo.console import INTERRUPTED, Group, example, interrupts_seen, quiet_import, table
from zoo.errors import UserError


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
data_dir_option = click.option("--data-dir", type=click.Path(), metavar="DIR",
                               help="Where TensorFlow Datasets keeps its files.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
             epilog=example("zoo train lenet5-digits --run runs/digits", "zoo export runs/digits"))
@click.version_option(__version__, prog_name="zoo")
def cli():
    """The classic networks: exact to their papers, trained on real data, exported with one command."""


@cli.command("list", epilog=example("zoo list", "zoo list 'resnet*' --sort flops", "zoo list --max-params 1000000"))
@click.argument("pattern", default="*")
@click.option("--max-params", type=click.IntRange(min=1), metavar="N", help="Only networks of at most N weights.")
@click.option("--sort", type=click.Choice(["name", "params", "flops"]), default="name", help="The order of the list.")
@json_option
def list_models(pattern, max_params, sort, as_json):
    """List the networks whose name matches PATTERN, with weights, multiply-adds, input and paper."""
    from zoo import catalog
    models = catalog.matching(pattern, max_params, sort)
    if as_json:
        click.echo(json.dumps(models, indent=2))
        return
    table(("name", "weights", "FLOPs", "input", "paper"), map(catalog.cells, models), right=(1, 2))
    click.echo("FLOPs: multiply-adds of one forward pass, as papers count them.")


@cli.command(epilog=example("zoo info lenet5", "zoo info lenet5 --set classes=2"))
@click.argument("model")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Replace an argument of the builder.")
@json_option
def info(model, settings, as_json):
    """Print the layer table of MODEL as papers print it."""
    with quiet_import():
        import keras  # noqa: F401 - the builders need it
        from zoo import catalog
    described = catalog.describe(model, settings)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    click.echo(f"{described['name']}  {described['paper']}\n{described['summary']}\n")
    table(("layer", "type", "maps", "size", "kernel", "stride", "activation", "weights", "multiply-adds"),
          [[f"{v:,}" if isinstance(v, int) else v or "-" for v in row.values()] for row in described["layers"]],
          right=(2, 7, 8))
    click.echo(f"\n{described['weights']:,} weights, {described['trainable']:,} of them trainable; "
               f"{described['flops']:,} multiply-adds.")
    click.echo("(softmax): the network answers logits; softmax is in the loss and in the export.")


@cli.command(epilog=example("zoo recipes"))
@json_option
def recipes(as_json):
    """List the recipes with the results measured for them."""
    from training import results
    rows = results.rows()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = ("recipe", "model", "data", "accuracy", "seeds", "seconds", "published")
    table(("recipe", "network", "data", "test accuracy", "seeds", "seconds", "published"),
          [[row[column] for column in columns] for row in rows])


@cli.command(epilog=example("zoo train lenet5-digits", "zoo train lenet5-mnist --data-dir ~/tensorflow_datasets",
                            "zoo train lenet --data fashion_mnist --epochs 5 --set dropout=0.2"))
@click.argument("name", required=False, metavar="[RECIPE|MODEL]")
@click.option("--data", metavar="DATASET", help="Train MODEL on this data.")
@click.option("--recipe", "file", type=click.Path(), metavar="FILE", help="Repeat the run of a recipe.json.")
@click.option("--run", type=click.Path(), metavar="DIR", help="The run directory; runs/RECIPE by default.")
@data_dir_option
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Replace a field of the recipe or an argument of the network.")
@click.option("--epochs", metavar="N", help="The same as --set epochs=N.")
@click.option("--precision", metavar="P", help="auto, float32, mixed_bfloat16 or mixed_float16.")
@click.option("--seed", metavar="N", help="The same as --set seed=N.")
@click.option("--folds", metavar="N", help="Cross-validate sentences in N folds, each in a folder of the run.")
@click.option("--skip-bad", is_flag=True, help="Leave out image files that cannot be decoded.")
@json_option
def train(name, data, file, run, data_dir, settings, skip_bad, as_json, **fields):
    """Train by RECIPE, or MODEL on --data. Run again with the same --run, it goes on where it stopped.

    DATASET is "digits" (embedded), the path of a folder of class folders or of an .npz file, or a name of TensorFlow Datasets.
    """
    from training import recipes as known
    if (name is None) == (file is None):
        raise click.UsageError("Name a recipe, or a model and --data, or --recipe FILE. `zoo recipes` lists the recipes.")
    recipe = known.read(file) if file else known.recipe(name, data)
    with quiet_import():
        from training import fit
    given = [f"{key}={value}" for key, value in fields.items() if value is not None]
    recipe = known.override(recipe, [*settings, *given, *["skip_bad=true"] * skip_bad])
    run = run or f"runs/{recipe.name}"
    if recipe.folds > 1 and fields["folds"]:
        from training import folds
        result = folds.cross_validate(recipe, run, data_dir, log=not as_json)
        click.echo(json.dumps(result, indent=2) if as_json else
                   f"{recipe.name}: test accuracy {result['test_accuracy']:.4f} ± {result['stdev']:.4f} over {recipe.folds} "
                   f"folds, {result['seconds']:.0f} s of training. Results are in {run}")
        return
    metrics = fit.train(recipe, run, data_dir, log=not as_json)
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
        return
    click.echo(f"{recipe.name}: test accuracy {metrics['test_accuracy']:.4f} on {metrics['test_examples']:,} examples, "
               f"{metrics['seconds']:.0f} s of training. Results, model and pictures are in {run}")
    click.echo(f"Next: zoo export {run}")


@cli.command(epilog=example("zoo doctor photos/", "zoo doctor photos/ --move-bad photos-bad/"))
@click.argument("dataset")
@data_dir_option
@click.option("--move-bad", type=click.Path(), metavar="DIR", help="Move image files that cannot be used into DIR.")
@json_option
def doctor(dataset, data_dir, move_bad, as_json):
    """Say what is wrong with DATASET before it is trained on; the exit code is 1 if that would break or falsify training."""
    with quiet_import():
        from training import doctor as work
        from training.progress import counter
    with counter("files", quiet=as_json) as count:
        findings = work.examine(dataset, data_dir, count)
    if as_json:
        click.echo(json.dumps(work.to_json(findings, dataset), indent=2))
    else:
        table(work.HEAD, work.report(findings), right=(2,))
    if move_bad:
        click.echo(f"{work.move_bad(findings, move_bad)} files moved to {move_bad}", err=as_json)
    return int(any(found.severity == "error" for found in findings))


@cli.command(epilog=example("zoo evaluate runs/lenet5-digits", "zoo evaluate runs/lenet5-mnist --data-dir DIR --json"))
@click.argument("run", type=click.Path())
@click.option("--data", metavar="DATASET", help="Another data set with the same classes.")
@data_dir_option
@json_option
def evaluate(run, data, data_dir, as_json):
    """Score the trained network of RUN on the test images."""
    with quiet_import():
        from training import evaluate as work
    scores = work.evaluate(run, data, data_dir)
    click.echo(json.dumps(scores, indent=2) if as_json else
               f"{scores['data']}: accuracy {scores['accuracy']:.4f}, loss {scores['loss']:.4f} "
               f"on {scores['examples']:,} test examples")


@cli.command(epilog=example("zoo predict runs/lenet5-digits digit.png", "zoo predict saved_models/lenet5-digits *.png"))
@click.argument("model", type=click.Path(), metavar="RUN|SAVEDMODEL")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@json_option
def predict(model, files, as_json):
    """Label image FILES (JPEG, PNG, GIF, BMP, WebP), or each line of text FILES, with a trained network."""
    with quiet_import():
        from training import predict as work
    answers = work.predict(model, files)
    if as_json:
        click.echo(json.dumps(answers, indent=2))
        return
    table(("file", "label", "probability"),
          [(f"{a['file']}, line {a['line']}" if "line" in a else a["file"], a["label"], f"{a['probability']:.4f}")
           for a in answers])


@cli.command(epilog=example("zoo export runs/lenet5-digits", "zoo export runs/lenet5-digits --to /models/digits/1"))
@click.argument("run", type=click.Path())
@click.option("--to", type=click.Path(), metavar="DIR", help="The SavedModel's directory; saved_models/RECIPE by default.")
@click.option("--force", is_flag=True, help="Replace a SavedModel that is there.")
@json_option
def export(run, to, force, as_json):
    """Write the trained network of RUN as a SavedModel, and check it in a process of its own."""
    with quiet_import():
        from training import export as work
    report = work.export(run, to, force=force)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    click.echo(f"{report['path']}: {report['bytes']:,} bytes; reloaded with TensorFlow alone, {report['examples']} test "
               f"examples answered alike, probabilities within {report['difference']:.0e}")
    click.echo(f"Next: zoo predict {report['path']} IMAGE")


def main(args=None):
    """Run the command; a user's mistake is one line on stderr and the exit code 1 (failure) or 2 (usage)."""
    if (Path.cwd() / "zoo").is_dir() is False and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # a builder of the user's own, `module:model`, is looked for here
    interrupts = interrupts_seen()
    try:
        return cli.main(args, prog_name="zoo", standalone_mode=False) or 0
    except UserError as error:
        code, message = error.exit_code, str(error)
    except click.ClickException as error:
        code, message = error.exit_code, error.format_message()
    except (KeyboardInterrupt, click.Abort):
        code, message = 130, INTERRUPTED
    except Exception:  # TensorFlow turns an interrupt while it traces a graph into errors of its own
        if not interrupts:
            raise
        code, message = 130, INTERRUPTED
    click.echo("zoo: " + " ".join(message.split()), err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
