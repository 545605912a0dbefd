"""Looking into a trained network: `zoo explain`."""
import json
from pathlib import Path

import click

from zoo.cli.console import check_writable, data_dir_option, example, json_option
from zoo.errors import UsageError, UserError
from zoo.startup import quiet_import


@click.command(epilog=example("zoo explain runs/lenet5-digits", "zoo explain runs/lenet5-digits --image digit.png",
                              "zoo explain runs/textcnn-reviews --text 'a film to forget'",
                              "zoo explain resnet20-cifar10 --image photo.jpg",
                              "zoo explain --filters photo.jpg --to kernels.html"))
@click.argument("run", type=click.Path(), required=False)
@click.option("--image", type=click.Path(), metavar="FILE", help="Look into this image; the first test image by default.")
@click.option("--text", metavar="SENTENCE", help="Look into this sentence; the first of the test part by default.")
@click.option("--filters", type=click.Path(), metavar="FILE", help="No RUN, but an image through the classical kernels.")
@click.option("--to", type=click.Path(), metavar="FILE",
              help="Where the page goes; RUN/explain.html by default, NAME.html, or filters.html with --filters.")
@data_dir_option
@json_option
def explain(run, image, text, filters, to, data_dir, as_json):
    """Write one HTML page of what the trained network of RUN has learnt: curves, errors, filters, maps, heat, n-grams.

    RUN may be a network that comes with the zoo, too, or resnet50_keras-imagenet and the like, with an --image or a --text.
    """
    if (run is None) == (filters is None):
        raise UsageError("Expected either a RUN, as in `zoo explain runs/lenet5-digits`, or --filters IMAGE.")
    if filters is not None and (image is not None or text is not None):
        raise UsageError("--filters FILE stands alone: --image and --text are for a RUN.")
    with quiet_import():
        from zoo.training.explanation import explainer as work
        from zoo.training.explanation import kernels
        from zoo.training.explanation import page as explain_page
        from zoo.training.files import write
    place = _place(run)
    to = Path(to or place)
    check_writable(to)
    if run:
        explained = work.explain(run, image, text, data_dir)
        page, told = explain_page.run_page(explained), work.summary(explained)
    else:
        page, told = explain_page.kernels_page(filters, kernels.through(filters)), {"image": filters}
    try:
        write(to, page)
    except OSError as error:
        raise UserError(f"Cannot write {to}: {error.strerror}.") from None
    if as_json:
        click.echo(json.dumps({"page": str(to), "bytes": to.stat().st_size, **told}, indent=2))
    else:
        click.echo(f"{to}: {to.stat().st_size:,} bytes, complete in itself; open it in a browser.")


def _place(run):
    """Where the page goes unless told."""
    from zoo.training.evaluation import is_run
    from zoo.training.run_dir import results
    if run and is_run(run):
        results(run)  # a missing run is told before a missing folder in it
        return f"{run}/explain.html"
    return f"{run}.html" if run else "filters.html"
