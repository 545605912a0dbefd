"""Looking at what there is: `zoo list`, `zoo info`, `zoo draw`, `zoo recipes`."""
import itertools
import json
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from zoo.cli.console import Count, command, example, json_option, table
from zoo.settings import builder_args
from zoo.startup import quiet_import

_WIDTH = 80  # characters of a terminal
_HEAD = ("layer", "type", "output", "kernel", "field", "params", "mult-adds")
_NOTES = (
    "type: with its activation. DWConv: depthwise, SepConv: separable convolution.",
    "output: height x width x feature maps, or the length of a vector.",
    "kernel: height x width / stride, of a convolution or a pool.",
    "field: receptive field, the pixels or tokens of the input that one value sees: the side of a "
    "square, or height x width.",
    "logits: softmax is in the loss and in the export.")
_SHORT = {"Average pooling": "Avg pool", "Batch normalisation": "BatchNorm",
          "Concatenation": "Concat", "Convolution": "Conv", "Depthwise convolution": "DWConv",
          "Fully connected": "Dense", "Global average pooling": "Global avg",
          "Max pooling": "Max pool", "SeparableConv2D": "SepConv", "Zero padding": "Padding"}


@command("list", epilog=example("zoo list", "zoo list 'resnet*' --sort flops",
                                "zoo list --max-params 1000000", "zoo list --year 2017 --weights"))
@click.argument("pattern", default="*")
@click.option("--max-params", type=Count(), metavar="N",
              help="Only networks of at most N parameters: 100000, 100k or 1.5M.")
@click.option("--year", type=int, metavar="YEAR", help="Only networks published in YEAR.")
@click.option("--weights", is_flag=True, help="Only networks with trained weights.")
@click.option("--sort", type=click.Choice(["name", "params", "flops", "year"]), default="name",
              help="The order of the list.")
@json_option
def list_models(pattern: str, max_params: int | None, year: int | None, weights: bool, sort: str,
                as_json: bool) -> None:
    """List the networks whose name matches PATTERN, with params, multiply-adds, input, paper and
    trained networks.
    """
    from zoo import catalog
    models = catalog.matching(pattern, max_params, sort, year, weights)
    if as_json:
        click.echo(json.dumps(models, indent=2))
        return
    table(("name", "params", "FLOPs", "input", "paper", "trained"), map(catalog.cells, models),
          right=(1, 2))
    click.echo("FLOPs: multiply-adds of one forward pass, as papers count them. trained: for "
               "predict, explain, export.")


@command(epilog=example("zoo info lenet5", "zoo info lenet5 --set classes=2"))
@click.argument("model")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Replace an argument of the builder.")
@json_option
def info(model: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Print the layer table of MODEL as papers print it."""
    from zoo import catalog
    if ":" not in model:
        builder_args(model, settings)  # a mistake is reported before
    with quiet_import():
        import keras  # noqa: F401 - the builders need it

        overrides = builder_args(model, settings)
    described = catalog.describe(model, overrides)
    if as_json:
        # A builder of your own may take anything.
        click.echo(json.dumps(described, indent=2, default=str))
        return
    click.echo(f"{described['name']}  {described['paper']}")
    click.echo(f"{textwrap.fill(described['summary'], _WIDTH)}\n")
    table(_HEAD, _layer_lines(described["layers"]), right=(5, 6), width=_WIDTH)
    arguments = ", ".join(f"{name}={_shown(value)}"
                          for name, value in described["arguments"].items())
    click.echo()
    for line in (f"{described['params']:,} params, {described['trainable']:,} of them trainable; "
                 f"multiply-adds: {catalog.cost(described)}.", f"--set: {arguments}", *_NOTES):
        click.echo(textwrap.fill(line, _WIDTH, subsequent_indent="  "))


def _layer_lines(layers: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, and a heading before the layers of a block.

    Args:
        layers: dicts with the fields of `zoo.tables.Row`.
    """
    for block, members in itertools.groupby(layers, lambda row: _block_of(row["layer"])):
        rows = list(members)
        indented = block is not None and len(rows) > 1
        if indented:
            yield block, *[""] * (len(_HEAD) - 1)
        for row in rows:
            name = f"  {row['layer'].removeprefix(block)[1:]}" if indented else row["layer"]
            yield name, *_cells(row)


def _block_of(layer):
    """Return "stage1_block1" of "stage1_block1_a_conv"; None of a layer that is in no block."""
    names = layer.split("_")
    return "_".join(names[:2]) if len(names) > 2 else None


def _cells(row):
    """The cells of a layer behind its name."""
    kind = _SHORT.get(row["kind"], row["kind"])
    if row["activation"] not in ("-", "(softmax)"):
        kind = f"{kind} {row['activation']}"
    output = row["size"] if row["maps"] is None else f"{row['size']}x{row['maps']}"
    kernel = "-" if row["kernel"] == "-" else f"{row['kernel']}/{row['stride']}"
    sides = set(row["receptive_field"].split("x"))
    field = sides.pop() if len(sides) == 1 else row["receptive_field"]
    return kind, output, kernel, field, f"{row['params']:,}", f"{row['multiply_adds']:,}"


def _shown(value: object) -> str:
    """Return a default as text; characters that cannot be printed as Python writes them."""
    return str(value) if str(value).isprintable() else repr(value)


@command(epilog=example("zoo draw resnet50 -o resnet50.svg",
                        "zoo draw alexnet vgg16 resnet34 -o compared.pdf",
                        "zoo draw lenet5 -o lenet5.png --style layers"))
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("-o", "--output", required=True, type=click.Path(), metavar="FILE",
              help="The drawing: a file that ends in .svg, .pdf or .png.")
@click.option("--style", type=click.Choice(["blocks", "layers"]), default="blocks",
              help="Draw equal blocks once, or every layer.")
def draw(models: tuple[str, ...], output: str, style: str) -> None:
    """Draw networks from the input to the logits, several side by side to compare.

    MODEL is the name of a network or of a trained one, a run directory or a .keras file. Beside
    each stage stand the shape of its output and its receptive field (RF); several networks get bars
    of params, multiply-adds and receptive fields.
    """
    from zoo import drawing
    drawing.check_path(output)
    drawing.check_names(models)
    with quiet_import():
        import keras  # noqa: F401 - the builders need it
    drawing.draw(models, output, style=style)
    click.echo(output)


@command(epilog=example("zoo recipes", "zoo recipes 'lenet*'", "zoo recipes lenet5-mnist"))
@click.argument("pattern", default="*")
@json_option
def recipes(pattern: str, as_json: bool) -> None:
    """List the recipes whose name matches PATTERN, with measured results.

    A single recipe is listed with its settings.
    """
    from zoo.training.results import record
    rows = record.rows(pattern)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = ("recipe", "model", "data", "accuracy", "seeds", "seconds", "published")
    table(("recipe", "network", "data", "test accuracy", "seeds", "seconds", "published"),
          [[row[column] for column in columns] for row in rows])
    if any(row["accuracy"] == "-" for row in rows):
        click.echo("-: not measured by this project. published: as the paper or course reports.")
    if len(rows) == 1:
        click.echo()
        table(("setting", "value", "default"), record.settings(rows[0]))
