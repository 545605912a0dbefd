"""Using what was trained: `zoo predict`, `zoo export`."""
import json

import click

from zoo.console import example, json_option, quiet_import, table


@click.command(epilog=example("zoo predict runs/lenet5-digits digit.png", "zoo predict saved_models/lenet5-digits *.png"))
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


@click.command(epilog=example("zoo export runs/lenet5-digits", "zoo export runs/lenet5-digits --to /models/digits/1"))
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
