"""Looking at what there is: `zoo list`, `zoo info`, `zoo recipes`."""
import json

import click

from zoo.cli.console import Count, example, json_option, table
from zoo.settings import builder_args
from zoo.startup import quiet_import


@click.command("list", epilog=example("zoo list", "zoo list 'resnet*' --sort flops",
                                      "zoo list --max-params 1000000"))
@click.argument("pattern", default="*")
@click.option("--max-params", type=Count(), metavar="N",
              help="Only networks of at most N parameters: 100000, 100k or 1.5M.")
@click.option("--sort", type=click.Choice(["name", "params", "flops"]), default="name",
              help="The order of the list.")
@json_option
def list_models(pattern: str, max_params: int | None, sort: str, as_json: bool) -> None:
    """List the networks whose name matches PATTERN, with params, multiply-adds, input, paper and
    trained networks.
    """
    from zoo import catalog
    models = catalog.matching(pattern, max_params, sort)
    if as_json:
        click.echo(json.dumps(models, indent=2))
        return
    table(("name", "params", "FLOPs", "input", "paper", "trained"), map(catalog.cells, models),
          right=(1, 2))
    click.echo("FLOPs: multiply-adds of one forward pass, as papers count them. trained: for "
               "predict, explain, export.")


@click.command(epilog=example("zoo info lenet5", "zoo info lenet5 --set classes=2"))
@click.argument("model")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Replace an argument of the builder.")
@json_option
def info(model: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Print the layer table of MODEL as papers print it."""
    with quiet_import():
        import keras  # noqa: F401 - the builders need it

        from zoo import catalog
        overrides = builder_args(model, settings)
    described = catalog.describe(model, overrides)
    if as_json:
        # A builder of your own may take anything.
        click.echo(json.dumps(described, indent=2, default=str))
        return
    click.echo(f"{described['name']}  {described['paper']}\n{described['summary']}\n")
    table(("layer", "type", "maps", "size", "kernel", "stride", "activation", "params",
           "multiply-adds"),
          [[f"{v:,}" if isinstance(v, int) else v or "-" for v in row.values()]
           for row in described["layers"]], right=(2, 7, 8))
    click.echo(f"\n{described['params']:,} params, {described['trainable']:,} of them trainable; "
               f"multiply-adds: {catalog.cost(described)}.")
    arguments = (f"{name}={value}" for name, value in described["arguments"].items())
    click.echo(f"--set: {', '.join(arguments)}")
    click.echo("(softmax): the network answers logits; softmax is in the loss and in the export.")


@click.command(epilog=example("zoo recipes", "zoo recipes 'lenet*'", "zoo recipes lenet5-mnist"))
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
    if len(rows) == 1:
        click.echo()
        table(("setting", "value", "default"), record.settings(rows[0]))
