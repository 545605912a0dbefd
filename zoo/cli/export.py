"""Using what was trained: `zoo predict`, `zoo export`."""
import json

import click

from zoo.cli.console import check_writable, data_dir_option, example, json_option, table
from zoo.errors import UserError
from zoo.startup import quiet_import


@click.command(epilog=example("zoo predict runs/lenet5-digits digit.png", "zoo predict saved_models/lenet5-digits *.png",
                              "zoo predict saved_models/lenet5-digits/model.tflite scans/ --csv labels.csv"))
@click.argument("model", type=click.Path(), metavar="RUN|EXPORT|NAME")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--csv", "csv_file", type=click.Path(), metavar="FILE", help="Write the answers to a CSV file.")
@click.option("--top", type=click.IntRange(min=1), default=1, metavar="N", help="Tell the N likeliest classes of each.")
@json_option
def predict(model, files, csv_file, top, as_json):
    """Label image FILES (JPEG, PNG, GIF, BMP, WebP), or each line of text FILES, or folders of them, with a trained network.

    EXPORT is an exported directory or a .tflite or .onnx file in one; NAME is a shipped model, such as lenet5-digits,
    or one with ImageNet's weights, such as resnet50_keras-imagenet. What is no image is told, and the exit code is then 1.
    """
    if csv_file:
        check_writable(csv_file)
    with quiet_import():
        from zoo.training import prediction as work
        from zoo.training.engine.progress import counter
    with counter("files", quiet=as_json) as count:
        answers = work.predict(model, files, count, top)
    bad = [answer["file"] for answer in answers if "error" in answer]
    asked = sum(answer.get("rank", 1) == 1 for answer in answers)
    if csv_file:
        work.write_csv(csv_file, answers)
    if as_json:
        click.echo(json.dumps(answers, indent=2))
    elif csv_file:
        click.echo(f"{asked - len(bad):,} answers are in {csv_file}")
    else:
        table(("file", "label", "probability"),
              [(f"{a['file']}, line {a['line']}" if "line" in a else a["file"], a.get("label", "-"),
                f"{a['probability']:.4f}" if "probability" in a else a["error"]) for a in answers])
    if bad:
        raise UserError(f"{len(bad):,} of {asked:,} files could not be labelled; the first is {bad[0]}.")


@click.command(epilog=example("zoo export runs/lenet5-digits", "zoo export runs/lenet5-digits --to /models/digits/1",
                              "zoo export runs/lenet5-digits --formats all --report --force", "zoo export resnet20-cifar10"))
@click.argument("run", type=click.Path(), metavar="RUN|NAME")
@click.option("--to", type=click.Path(), metavar="DIR", help="The export's directory; in saved_models by default.")
@click.option("--force", is_flag=True, help="Replace an export that is there.")
@click.option("--formats", default="saved_model", metavar="NAMES", show_default=True,
              help="saved_model, litert, litert-fp16, litert-int8, onnx, onnx-int8, joined by commas; or all.")
@click.option("--report", is_flag=True, help="Measure each format, and score it on the whole test part.")
@data_dir_option
@json_option
def export(run, to, force, formats, report, data_dir, as_json):
    """Write the trained network of RUN as a SavedModel, or in other formats, and check each in a process of its own.

    NAME is a shipped model, such as lenet5-digits, or one with ImageNet's weights, such as resnet50_keras-imagenet.
    """
    with quiet_import():
        from zoo.training.deployment import exporter as work
        from zoo.training.deployment import verification
        from zoo.training.engine.progress import counter
    with counter("formats measured", quiet=as_json or not report) as count:
        done = work.export(run, to, force, formats.split(","), report, data_dir, count)
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    for name, found in done["formats"].items():
        where = done["path"] if name == "saved_model" else f"{done['path']}/{found['file']}"
        alone = "TensorFlow" if name == "saved_model" else "LiteRT" if name.startswith("litert") else "ONNX Runtime"
        click.echo(f"{where}: {found['bytes']:,} bytes; opened with {alone} alone, {done['examples']} "
                   f"{done['examples_of']} examples: {found['agreement']:.0%} of the labels alike, probabilities within "
                   f"{found['difference']:.0e}")
    if report:
        table(*verification.cells(done["deploy"]), right=range(1, 9))
    if "saved_model" in done["formats"]:
        click.echo(f"Next: zoo predict {done['path']} FILE")
