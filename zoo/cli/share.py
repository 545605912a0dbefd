"""Sharing what was trained: `zoo publish`."""
import click

from zoo import hub
from zoo.cli.console import check_trained, command, example
from zoo.startup import quiet_import


@command(epilog=example("zoo publish runs/digits hf://ada/lenet5-digits --licence cc-by-4.0",
                        "zoo predict hf://ada/lenet5-digits digit.png"))
@click.argument("run", type=click.Path())
@click.argument("address", metavar="hf://OWNER/NAME")
@click.option("--licence", default="other", show_default=True, metavar="ID",
              help="The licence of the weights, by the Hub's identifier: apache-2.0, cc-by-4.0.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
def publish(run: str, address: str, licence: str, private: bool) -> None:
    """Publish the network of RUN on the Hugging Face Hub, with a model card.

    `hf auth login`, a command of huggingface_hub, or HF_TOKEN in the environment names the account.
    zoo.load("hf://OWNER/NAME") and all commands that take a trained network load it.
    """
    hub.check_target(address, licence)
    with hub.packages():
        import huggingface_hub  # noqa: F401
        import safetensors  # noqa: F401
    check_trained(run)
    with quiet_import():
        from zoo.training.results.share import publish as share
    click.echo(f"{address} is published: {share(run, address, licence=licence, private=private)}")
