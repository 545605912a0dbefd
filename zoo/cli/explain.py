"""`zoo explain`: what a trained network has learnt, as a page."""
import json
from pathlib import Path
from typing import cast

import click

from zoo.cli.console import (
    check_files,
    check_trained,
    check_writable,
    command,
    data_dir_option,
    example,
    json_option,
)
from zoo.errors import UsageError, UserError
from zoo.startup import quiet_import


@command(epilog=example("zoo explain runs/lenet5-digits",
                        "zoo explain runs/lenet5-digits --image digit.png",
                        "zoo explain runs/textcnn-reviews --text 'a film to forget'",
                        "zoo explain resnet20-cifar10 --image photo.jpg",
                        "zoo explain --filters photo.jpg --to kernels.html"))
@click.argument("run", type=click.Path(), required=False)
@click.option("--image", type=click.Path(), metavar="FILE",
              help="Look into this image; the first test image by default.")
@click.option("--text", metavar="SENTENCE",
              help="Look into this sentence; the first three of the test split by default.")
@click.option("--filters", type=click.Path(), metavar="FILE",
              help="Instead of RUN: show this image through the classical kernels.")
@click.option("--to", type=click.Path(), metavar="FILE",
              help="The page; RUN/explain.html by default, NAME.html for a name, filters.html "
                   "with --filters.")
@data_dir_option
@json_option
def explain(run: str | None, image: str | None, text: str | None, filters: str | None,
            to: str | None, data_dir: str | None, as_json: bool) -> None:
    """Write a self-contained HTML page of what the trained network of RUN has learnt.

    The page shows training curves, the confusion matrix at each epoch, the largest losses, a map of
    test examples, filters, feature maps, where the network looks, and n-grams. RUN may also be a
    network that ships with the zoo, or resnet50_keras-imagenet and the like, with an --image or a
    --text.
    """
    if (run is None) == (filters is None):
        raise UsageError("Expected either a RUN, as in `zoo explain runs/lenet5-digits`, "
                         "or --filters IMAGE.")
    if filters is not None and (image is not None or text is not None):
        raise UsageError("--filters FILE stands alone: --image and --text are for a RUN.")
    if run:
        check_trained(run)
    check_files(file for file in (image, filters) if file)
    page_file = Path(to or _default_page(run))
    check_writable(page_file)
    with quiet_import():
        from zoo.training.explanation import explainer, kernels
        from zoo.training.explanation import page as pages
        from zoo.training.files import write
    if run:
        explained = explainer.explain(run, image, text, data_dir)
        page, report = pages.run_page(explained), explainer.summary(explained)
    else:
        picture = cast(str, filters)
        page, report = pages.kernels_page(picture, kernels.through(picture)), {"image": picture}
    try:
        write(page_file, page)
    except OSError as error:
        raise UserError(f"Cannot write {page_file}: {error.strerror}.") from None
    if as_json:
        report = {"page": str(page_file), "bytes": page_file.stat().st_size, **report}
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"{page_file}: {page_file.stat().st_size:,} bytes, self-contained; open it in a "
                   "browser.")


def _default_page(run):
    from zoo.training.run_dir import is_run, results
    if run and is_run(run):
        results(run)  # reports a missing run before a missing folder
        return f"{run}/explain.html"
    return f"{Path(run).name}.html" if run else "filters.html"
