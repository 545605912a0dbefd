"""The pages that the site adds to docs/: one per network, the API, the commands, and the front.

`python -m docs.site.pages FOLDER` writes them to FOLDER with copies of README.md and docs/*.md, as
Sphinx reads them. All of it is made of the registry, the docstrings and the recorded results;
nothing is checked in.
"""
import dataclasses
import importlib
import inspect
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

import zoo
from zoo import catalog, shipped, weights
from zoo.__main__ import cli
from zoo.factory import without_weights
from zoo.training.recipe import Recipe
from zoo.training.results import record

ROOT = Path(__file__).parents[2]
PACKAGES = ("zoo", "zoo.training", "zoo.tuning")
# What else the pages import, by its module.
ALSO = ("zoo.blocks.image_input", "zoo.blocks.head", "zoo.stage.features", "zoo.tables.Row",
        "zoo.weights.copy_weights", "zoo.training.trained.load", "zoo.training.trained.Trained",
        "zoo.training.data.dataset.Dataset", "zoo.training.explanation.page.run_page",
        "zoo.training.preprocessing.pillow_images.prepare")
# The pages in the order of the side bar, if docs/ has them; others are under "More".
PARTS = {
    "Tutorials": ("ten-minutes", "python", "reading-a-paper", "your-photographs", "tuning",
                  "deploying"),
    "How-to guides": ("add-a-network", "add-a-data-set", "from-keras-applications",
                      "from-torchvision", "from-timm", "from-pytorch", "diagrams", "runtimes",
                      "serving"),
    "Reference": ("networks", "results", "commands", "api/zoo", "api/zoo.training",
                  "api/zoo.tuning", "api/modules"),
}
MORE = ("saved-models", "systems", "source-tree", "benchmarks")
LONG = 30  # layers; a longer table is folded up
MOVED = {"docs/": "", "../saved_models/README.md": "saved-models.md",
         "saved_models/README.md": "saved-models.md", "../benchmarks/README.md": "benchmarks.md",
         "benchmarks/README.md": "benchmarks.md", "../README.md": "index.md"}


def write(folder: Path, networks: Sequence[str] | None = None) -> None:
    """Write all pages of the site to `folder`, which is emptied first.

    Args:
        folder: the source folder for Sphinx.
        networks: the networks that get pages; by default all of the zoo's own.
    """
    names = catalog.names() if networks is None else networks
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", folder / "images")
    for file in (ROOT / "docs").glob("*.ipynb"):
        shutil.copy(file, folder)
    pages = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / "docs").glob("*.md")}
    for name, file in (("index", "README.md"), ("saved-models", "saved_models/README.md"),
                       ("benchmarks", "benchmarks/README.md")):
        pages[name] = (ROOT / file).read_text(encoding="utf-8")
    pages = {name: relink(text) for name, text in pages.items()}
    pages["networks"] = linked_names(pages["networks"], names) + toctree(
        [f"networks/{name}" for name in names])
    pages["commands"] = commands()
    pages |= {f"api/{package}": public_names(package) for package in PACKAGES}
    pages["api/modules"] = other_names()
    (folder / "networks").mkdir()
    for name in names:
        zoo.draw(name, folder / "networks" / f"{name}.svg")
        pages[f"networks/{name}"] = network(name)
    pages["index"] += side_bar(pages)
    for name, text in pages.items():
        file = folder / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def relink(text: str) -> str:
    """Return a page of the checkout with its links as on the site."""
    def moved(match: re.Match) -> str:
        target = match[1]
        for old, new in MOVED.items():
            if target.startswith(old):
                target = new + target.removeprefix(old)
                break
        return f"]({target}"
    return re.sub(r"\]\(([^)#]+)", moved, text)


def toctree(pages: Iterable[str], caption: str = "") -> str:
    """Return a hidden table of contents, which puts pages into the side bar."""
    lines = [":hidden:", *([f":caption: {caption}"] if caption else []), "", *pages]
    return "\n```{toctree}\n" + "\n".join(lines) + "\n```\n"


def side_bar(pages: Collection[str]) -> str:
    """Return the tables of contents of the front page, one per part."""
    placed = {"index", *MORE}.union(*PARTS.values())
    more = [*MORE, *sorted(page for page in pages if "/" not in page and page not in placed)]
    return "".join(toctree([page for page in part if page in pages], caption)
                   for caption, part in {**PARTS, "More": more}.items())


def linked_names(text: str, names: Iterable[str]) -> str:
    """Return the page of all networks with the names linked to their pages."""
    for name in names:
        text = text.replace(f"\n| {name} |", f"\n| [{name}](networks/{name}.md) |")
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """Return a Markdown table; `right` has the numbers of the columns that are right-aligned."""
    dashes = ["---:" if number in right else "---" for number in range(len(head))]
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row]
             for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, dashes, *cells])


def network(name: str) -> str:
    """Return the page of a registered network."""
    model = without_weights(zoo.build, name)
    layers, stages = zoo.layer_table(model), zoo.stages(model)
    maps = {stage: model.get_layer(layer).output.shape[1:] for stage, layer in stages.items()}
    entry = next(entry for entry in catalog.matching(name))
    facts = [("paper", entry["paper"] or "-"), ("year", entry["year"] or "-"),
             ("parameters", f"{entry['params']:,}, {entry['trainable']:,} of them trainable"),
             ("multiply-adds", catalog.cost(entry)), ("input", catalog.cells(entry)[3]),
             ("trained", ", ".join(f"`{each}`" for each in entry["trained"]) or "-")]
    facts = [(key, str(value)) for key, value in facts]  # a year has no thousands
    parts = [f"# {name}\n\n{entry['summary']}\n", table(("", ""), facts),
             f'```python\nimport zoo\n\nmodel = zoo.build("{name}")\n```\n',
             "## Paper\n\n" + prose(module_docstring(name)),
             f"## Drawing\n\n![The layers of {name} from input to output]({name}.svg)\n\n"
             "Beside each stage stand the shape of its output and its receptive field (RF).\n",
             "## Layers\n\n" + stage_table(layers, maps) + "\n" + layer_rows(layers),
             "## Results\n\n" + results(name), "## Weights\n\n" + trained(entry),
             "## Arguments\n\n" + builder(name)]
    return "\n".join(parts)


def module_docstring(name: str) -> str:
    """Return what the module of a network says about its paper."""
    module = sys.modules[zoo.spec(name).builder.__module__]
    return inspect.getdoc(module) or ""


def prose(text: str) -> str:
    """Return a docstring as Markdown: addresses become links."""
    return re.sub(r"https?://[^\s;,)]*[^\s;,).]", r"<\g<0>>", text) + "\n"


def stage_table(layers: Sequence[Any], maps: dict[str, Any]) -> str:
    """Return a table of the stages with the sizes of their outputs and their costs."""
    rows = []
    for stage, shape in maps.items():
        inside = [row for row in layers if row.layer.split("_")[0] == stage]
        rows.append((f"`{stage}`", "x".join(str(n or "n") for n in shape),
                     sum(row.params for row in inside), sum(row.multiply_adds for row in inside)))
    return table(("stage", "output", "params", "multiply-adds"), rows, right=(2, 3))


def layer_rows(layers: Sequence[Any]) -> str:
    """Return the layer table as the paper prints it, folded up if it is long."""
    head = ("layer", "type", "maps", "size", "kernel", "stride", "activation", "params",
            "multiply-adds")
    rows = [[f"`{row.layer}`", row.kind, row.maps or "-", row.size, row.kernel, row.stride,
             row.activation, row.params, row.multiply_adds] for row in layers]
    text = table(head, rows, right=(2, 7, 8))
    opened = "" if len(rows) > LONG else " open"
    return (f"<details{opened}>\n<summary>All {len(rows)} layers</summary>\n\n{text}\n</details>\n")


def results(name: str) -> str:
    """Return the measured results of the recipes of a network, every seed."""
    rows = [row for row in record.rows() if row["model"] == name]
    measured = [row for row in rows if row["accuracy"] != "-"]
    lines = []
    for row in measured:
        seeds = [f"{run['seed']}: {100 * run['test_accuracy']:.2f} %"
                 for run in record.recorded(row["recipe"])]
        lines.append((f"`{row['recipe']}`", row["data"], row["accuracy"], ", ".join(seeds),
                      row["published"], row["seconds"], row["machine"]))
    head = ("recipe", "data", "test accuracy", "seeds", "published", "seconds", "machine")
    text = table(head, lines) if measured else "This project has not measured this network.\n"
    others = [f"`{row['recipe']}`" for row in rows if row["accuracy"] == "-"]
    if others:
        text += f"\nRecipes that were not measured: {', '.join(others)}.\n"
    return text


def trained(entry: dict[str, Any]) -> str:
    """Return where trained weights of a network are, from its entry in models.json."""
    if not entry["trained"]:
        return ("There are no trained weights. "
                f"`zoo train {entry['name']} --data DATASET` trains the network.\n")
    lines = []
    for name in entry["trained"]:
        if name in shipped.names():
            card = shipped.card(name)
            size = sum(file["bytes"] for file in card["files"].values())
            where = (f"ships with the zoo, {size:,} bytes; test accuracy "
                     f"{100 * card['metrics']['test_accuracy']:.2f} %")
        elif name == f"{entry['name']}-imagenet" and entry["name"] in weights.KERAS_APPLICATIONS:
            theirs = weights.KERAS_APPLICATIONS[entry["name"]][0]
            where = (f"the ImageNet weights of keras.applications, `{theirs}`; downloaded once to "
                     "`~/.keras`. This project has not measured their accuracy")
        else:
            where = "downloaded once; [All networks](../networks.md) says from where"
        lines.append(f"- `zoo.load(\"{name}\")`: {where}.\n")
    return "".join(lines)


def builder(name: str) -> str:
    """Return the documentation of a network's builder and of this variant's options."""
    spec = zoo.spec(name)
    function = f"{spec.builder.__module__}.{spec.builder.__qualname__}"
    options = ", ".join(f"`{key}={value!r}`" for key, value in spec.options.items())
    chosen = f"`{name}` is `{spec.builder.__name__}` with {options}.\n\n" if options else ""
    return chosen + directive(f".. autofunction:: {function}\n   :no-index:")


def directive(text: str) -> str:
    """Return reStructuredText, which autodoc writes, inside a Markdown page."""
    return f"```{{eval-rst}}\n{text}\n```\n"


def public_names(package: str) -> str:
    """Return the API page of a package: every name of its `__all__`, once."""
    module = importlib.import_module(package)
    summary, _, rest = (module.__doc__ or "").partition("\n\n")  # getdoc would dedent the block
    block = re.match(r"((?: {4}.*\n?)+)", rest)
    text = f"# {package}\n\n{summary}\n\n"
    if block:
        lines = "\n".join(line[4:] for line in block[1].splitlines())
        text += f"```text\n{lines}\n```\n\n{rest[block.end():].strip()}\n\n"
    return text + "\n".join(documented(f"{package}.{name}") for name in module.__all__)


def fields(cls: type) -> str:
    """Return a table of a dataclass's fields, with the comments above and beside them."""
    rows: list[tuple[str, str, str]] = []
    above: list[str] = []
    defaults = {field.name: field for field in dataclasses.fields(cls)}
    for line in inspect.getsource(cls).splitlines():
        if line.strip().startswith("#"):
            above.append(line.strip(" #"))
            continue
        match = re.match(r"    (\w+): [^#]*(?:# (.*))?$", line)
        if match and match[1] in defaults:
            field = defaults[match[1]]
            value = field.default
            if field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            default = "" if value is dataclasses.MISSING else f"`{value!r}`"
            rows.append((f"`{field.name}`", default, " ".join([*above, match[2] or ""]).strip()))
        above = []
    return table(("field", "default", "meaning"), rows)


def other_names() -> str:
    """Return the API page of what the pages import from modules."""
    return ("# Other modules\n\nWhat the tutorials and guides import besides the public names.\n\n"
            + "\n".join(map(documented, ALSO)))


def documented(name: str) -> str:
    """Return the directive that documents `name`, under a heading for the table of contents."""
    module, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    kind = "function"
    options = ""
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        options = "\n   :members:"
    text = f"## {attribute}\n\n" + directive(f".. auto{kind}:: {name}{options}")
    return text + "\n" + fields(value) if value is Recipe else text


def commands() -> str:
    """Return the help of every subcommand of `zoo`."""
    parts = ["# Commands\n\nThe help of each command, `zoo COMMAND --help`.\n"]
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"zoo {name}", max_content_width=96)
        context.terminal_width = 96
        parts.append(f"## zoo {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
