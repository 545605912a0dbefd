"""Using what was trained: `zoo predict`, `zoo export`."""
import json
import textwrap
from pathlib import Path

import click

from zoo import catalog
from zoo.cli.console import (
    check_files,
    check_free,
    check_trained,
    check_writable,
    command,
    counter,
    data_dir_option,
    example,
    json_option,
    table,
)
from zoo.errors import UsageError, UserError
from zoo.startup import choose_onednn, quiet_import

_SENTENCE = 40  # characters of a sentence in the table of predictions


@command(epilog=example(
    "zoo predict runs/lenet5-digits digit.png", "zoo predict saved_models/lenet5-digits *.png",
    "zoo predict saved_models/lenet5-digits/model.tflite scans/ --csv labels.csv",
    "zoo predict textcnn-mr-small --text 'a fine film'"))
@click.argument("model", type=click.Path(), metavar="RUN|EXPORT|NAME")
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--text", "texts", multiple=True, metavar="SENTENCE",
              help="Label this sentence; may be repeated.")
@click.option("--csv", "csv_file", type=click.Path(), metavar="FILE",
              help="Write the predictions to a CSV file.")
@click.option("--top", type=click.IntRange(min=1), default=1, metavar="N",
              help="Show the N most probable classes of each.")
@json_option
def predict(model: str, files: tuple[str, ...], texts: tuple[str, ...], csv_file: str | None,
            top: int, as_json: bool) -> None:
    """Label image or text FILES, or folders of them, with a trained network.

    FILES are images (JPEG, PNG, GIF, BMP, WebP), or text, each line of which is labelled. EXPORT is
    an exported directory or a .tflite or .onnx file in one; NAME is a shipped model, such as
    lenet5-digits, or one with ImageNet weights, such as resnet50_keras-imagenet. A file that is not
    an image is reported, and the exit code is then 1.
    """
    if csv_file:
        check_writable(csv_file)
    _check_order(model, files)
    check_trained(model, or_export=True)
    if not files and not texts:
        raise UsageError(f"Expected files: zoo predict {model} FILES, or a sentence, --text.")
    check_files(files, " A sentence stands after --text.")
    with quiet_import():
        from zoo.training import prediction
    with counter("files", quiet=as_json) as count:
        predictions = prediction.predict(model, files, texts=texts, top=top, progress=count)
    bad = [row["file"] for row in predictions if "error" in row]
    inputs = sum(row.get("rank", 1) == 1 for row in predictions)
    if csv_file:
        prediction.write_csv(csv_file, predictions)
    if as_json:
        click.echo(json.dumps(predictions, indent=2))
    elif csv_file:
        click.echo(f"{inputs - len(bad):,} predictions are in {csv_file}")
    else:
        head = ["file"] if files else []
        if "text" in predictions[0]:
            head.append("sentence")
        rows = [_cells(row)[0 if files else 1:] for row in predictions]
        table((*head, "label", "probability"), rows)
    if bad:
        raise UserError(f"{len(bad):,} of {inputs:,} files could not be labelled; "
                        f"the first is {bad[0]}.")


def _check_order(model, files):
    """Raise UsageError if the network stands last, after the files, or is missing."""
    from zoo import shipped
    if not files or (len(files) == 1 and files[0] in catalog.names()):
        if Path(model).is_file():
            raise UsageError(f"Name the network before the files: zoo predict NETWORK {model}.")
        return
    last = Path(files[-1])
    is_network = shipped.is_shipped(files[-1]) or any(
        (last / name).is_file() for name in ("recipe.json", "saved_model.pb"))
    if is_network and not Path(model).is_dir() and not shipped.is_shipped(model):
        raise UsageError("The network comes before the files: zoo predict "
                         f"{files[-1]} {' '.join([model, *files[:-1]])}.")


def _cells(row):
    """The cells of a row of the table of predictions."""
    if "error" in row:
        return row["file"], "-", row["error"]
    cells = row["label"], f"{row['probability']:.4f}"
    if "text" not in row:
        return row["file"], *cells
    return (f"{row['file']}, line {row['line']}" if "file" in row else "",
            textwrap.shorten(row["text"], _SENTENCE, placeholder="..."), *cells)


@command(epilog=example("zoo export runs/lenet5-digits",
                        "zoo export runs/lenet5-digits --to /models/digits/1",
                        "zoo export runs/lenet5-digits --formats all --report --force",
                        "zoo export resnet20-cifar10"))
@click.argument("run", type=click.Path(), metavar="RUN|NAME")
@click.option("--to", type=click.Path(), metavar="DIR",
              help="The directory of the export; saved_models/NAME by default.")
@click.option("--force", is_flag=True, help="Replace an existing export.")
@click.option("--formats", default="saved_model", metavar="NAMES", show_default=True,
              help="saved_model, litert, litert-fp16, litert-int8, litert-batch1, onnx, "
                   "onnx-int8, joined by commas; or all.")
@click.option("--report", is_flag=True,
              help="Measure each format, and score it on the whole test split.")
@data_dir_option
@json_option
def export(run: str, to: str | None, force: bool, formats: str, report: bool,
           data_dir: str | None, as_json: bool) -> None:
    """Export the trained network of RUN as a SavedModel or in other formats, and verify each.

    Each format runs in a separate process and is compared with the network. NAME is a shipped
    model, such as lenet5-digits, or one with ImageNet weights, such as resnet50_keras-imagenet.
    """
    check_trained(run)
    if to and not force:
        check_free(to)
    from zoo.training.deployment.formats import check_packages, expand
    names = expand(formats.split(","))
    check_packages(names)
    choose_onednn(None)  # --report measures what TensorFlow Serving would do
    with quiet_import():
        from zoo.training.deployment import exporter, verification
    with counter("formats measured", quiet=as_json or not report) as count:
        result = exporter.export(run, to, force, names, report, data_dir, count)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    if result["exists"]:
        click.echo(f"{result['path']} already holds this export; --force writes it again")
    for name, entry in result["formats"].items():
        path, runtime = f"{result['path']}/{entry['file']}", "ONNX Runtime"
        if name == "saved_model":
            path, runtime = result["path"], "TensorFlow"
        elif name.startswith("litert"):
            runtime = "LiteRT"
        click.echo(f"{path}: {entry['bytes']:,} bytes; verified with {runtime} alone on "
                   f"{result['examples']} {result['examples_of']} examples: "
                   f"{entry['agreement']:.0%} of the labels agree, probabilities within "
                   f"{entry['difference']:.0e}")
    if report:
        table(*verification.cells(result["deploy"]), right=range(1, 9))
    if "saved_model" in result["formats"]:
        click.echo(f"Next: zoo predict {result['path']} FILE")
