"""models.json, which describes every network: to read it is quicker than to import Keras.

`python -m zoo.catalog` writes it, and the tables in docs/networks.md; tests compare both.
"""
import dataclasses
import fnmatch
import functools
import inspect
import json
import math
import operator
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo import hub_weights
from zoo.errors import UsageError, UserError, unknown
from zoo.startup import quiet_import

if TYPE_CHECKING:
    import keras

    from zoo.registry import Spec

PATH = Path(__file__).with_name("models.json")
PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
_MARKS = "<!-- networks: make models -->\n", "<!-- end of networks -->\n"
_WEIGHTS_MARKS = "<!-- weights: make models -->\n", "<!-- end of weights -->\n"


def matching(pattern: str = "*", max_params: int | None = None, sort: str = "name",
             year: int | None = None, trained: bool = False) -> list[dict[str, Any]]:
    """Return the models.json entries whose name matches a shell pattern.

    Args:
        pattern: such as "resnet*"; upper and lower case are the same.
        max_params: the largest number of parameters; None for any.
        sort: "name", "params", "flops" or "year"; the last puts those of one year by name.
        year: in which the source was published; None for any.
        trained: only networks with trained weights.

    Raises:
        zoo.errors.UsageError: if no network matches.
    """
    matches = [entry for name, entry in _by_name().items()
               if fnmatch.fnmatchcase(name, pattern.lower())]
    if not matches:
        raise unknown("model", pattern, _by_name())
    years = {entry["year"] for entry in matches if entry["year"]}
    if year is not None and year not in years:
        raise UsageError(f"No model {pattern!r} is of {year}; there are some of "
                         f"{', '.join(map(str, sorted(years))) or 'no year'}.")
    matches = [entry for entry in matches
               if year in (None, entry["year"]) and (entry["trained"] or not trained)]
    if not matches:
        raise UsageError(f"No model {pattern!r} has trained weights; `zoo list --weights` lists "
                         "those that have.")
    small = [entry for entry in matches if max_params is None or entry["params"] <= max_params]
    if not small:
        raise UsageError(f"No model {pattern!r} has at most {max_params:,} params; "
                         f"the smallest has {min(entry['params'] for entry in matches):,}.")
    if sort == "year":
        return sorted(small, key=lambda entry: entry["year"] or 0)
    return sorted(small, key=operator.itemgetter(sort))


@functools.cache
def _by_name() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(PATH.read_text(encoding="utf-8"))}


def arguments(model: str) -> dict[str, Any]:
    """Return the arguments of a network's builder, {name: default}.

    Those of the zoo's own networks are in models.json; for another network its module is imported.
    The default of an argument without one is None.

    Raises:
        zoo.errors.UsageError: if no such network is registered.
    """
    entry = _by_name().get(model)
    if entry:
        return {name: _tuples(default) for name, default in entry["arguments"].items()}
    from zoo.registry import is_registered, spec
    if ":" not in model and not is_registered(model):  # `spec` would import Keras to say the same
        error = unknown("model", model, _by_name())
        if "." in model:
            raise UsageError(f"{error} A network of your own is MODULE:NAME, as in my_nets:linear.")
        raise error
    return {**dict.fromkeys(spec(model).parameters), **spec(model).defaults}


def names() -> list[str]:
    """Return the names of the zoo's own networks."""
    return list(_by_name())


def params(model: str) -> int | None:
    """Return a network's number of parameters as in models.json; None for a network of your own."""
    return _by_name().get(model, {}).get("params")


def check_trained(name: str) -> None:
    """Raise UserError if `name` is not that of a trained network; see `zoo.shipped.is_shipped`.

    If it is a network's, the message names trained ones.
    """
    from zoo import shipped
    if name in _by_name() and not shipped.is_shipped(name):
        trained = [other for each in (name, f"{name}_v1_5", f"{name}_keras", f"{name}_torchvision",
                                      f"{name}_timm")
                   for other in _by_name().get(each, {}).get("trained", ())]
        advice = f"Train it: zoo train {name} --data DATASET."
        if trained:
            advice = f"Trained ones are {', '.join(trained)}."
        raise UserError(f"{name} is a network without weights. {advice}")
    shipped.check_name(name)


def _tuples(value: Any) -> Any:
    """Return a default with the tuples that JSON has turned into lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def cells(entry: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of an entry: name, params, multiply-adds, input, paper, trained networks."""
    size = "x".join(map(str, entry["input_shape"]))
    if entry["input_shape"] == [None]:
        size = "characters" if reads_characters(entry) else "tokens"
    trained = ", ".join(entry["trained"]) or "-"
    return entry["name"], f"{entry['params']:,}", cost(entry), size, entry["paper"], trained


def cost(entry: dict[str, Any]) -> str:
    """Return the multiply-adds of an entry: per token for text, "-" for images of any size.

    Those of a network that reads a fixed number of characters are per sentence, as for an image.
    """
    if entry["input_shape"] == [None] and not reads_characters(entry):
        return f"{entry['flops']:,} a token"
    if None in entry["input_shape"] and len(entry["input_shape"]) > 1:
        return "-"
    return f"{entry['flops']:,}"


def reads_characters(entry: dict[str, Any]) -> bool:
    """Return whether an entry is a network that reads sentences as characters of an alphabet."""
    return "alphabet" in entry["arguments"]


def describe(name: str, overrides: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return what `zoo info` shows: counts, paper, summary, arguments and layer table.

    Args:
        name: a registered name, or `package.module:model`.
        overrides: builder arguments that replace the network's own.
    """
    import zoo
    spec, model = zoo.spec(name), zoo.build(name, **overrides)
    return {**_entry(spec, model), "arguments": {"weights": None, **spec.defaults, **overrides},
            "layers": [dataclasses.asdict(row) for row in zoo.layer_table(model)]}


def entries() -> list[dict[str, Any]]:
    """Build every network and return its models.json entry, in the order of the names."""
    import zoo
    from zoo.factory import without_weights
    return [_entry(zoo.spec(name), without_weights(zoo.build, name)) for name in zoo.names()]


def _entry(spec: "Spec", model: "keras.Model") -> dict[str, Any]:
    from zoo.tables import total_multiply_adds
    return {"name": spec.name, "params": model.count_params(),
            "trainable": sum(math.prod(weight.shape) for weight in model.trainable_weights),
            "flops": total_multiply_adds(model), "input_shape": list(model.input.shape[1:]),
            "paper": spec.paper, "year": _year(spec.paper),
            "summary": (inspect.getdoc(spec.builder) or "").split("\n")[0],
            "trained": _trained(spec.name), "arguments": spec.defaults}


def _year(paper: str) -> int | None:
    """Return the year of a publication such as "He et al. 2016b"; None of a course."""
    year = re.search(r"\b(19|20)[0-9]{2}", paper)
    return int(year[0]) if year else None


def _trained(name: str) -> list[str]:
    """Return the names of trained networks of this architecture, for `zoo.load`."""
    from zoo import shipped
    from zoo.weights import trained_values
    return [*(f"{name}-{value}" for value in trained_values(name)),
            *(other for other in shipped.names() if shipped.card(other)["architecture"] == name)]


def page(text: str) -> str:
    """Return docs/networks.md, `text`, with updated tables of networks and of files on the Hub."""
    head = ("network", "params", "multiply-adds", "input", "source", "trained")
    rows = [head, ("---", "---:", "---:", "---", "---", "---"), *map(cells, matching())]
    files = [("name", "file", "licence", "resize, crop", "published top-1", "top-5"),
             ("---", "---", "---", "---", "---:", "---:"),
             *(_file_cells(name, file) for name, file in hub_weights.PUBLISHED.items())]
    return replace_table(replace_table(text, _MARKS, rows), _WEIGHTS_MARKS, files)


def _file_cells(name: tuple[str, str], file: hub_weights.Published) -> tuple[str, ...]:
    """Return the cells of a row of `zoo.hub_weights.PUBLISHED`."""
    link = f"[{file.repository}](https://huggingface.co/{file.repository})"
    return ("-".join(name), link, file.licence,
            f"{file.resize}, {file.crop}, {file.interpolation}", f"{file.top1:.2f} %",
            f"{file.top5:.2f} %")


def replace_table(text: str, marks: tuple[str, str], rows: Iterable[Iterable[str]]) -> str:
    """Return `text` with a Markdown table between two marks.

    Args:
        text: a page; without the first mark, marks and table are appended.
        marks: the lines before and after the table, such as HTML comments.
        rows: the cells, with the header and the line of dashes.
    """
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    before, _, rest = text.partition(marks[0])
    return before + marks[0] + table + marks[1] + rest.partition(marks[1])[2]


def main() -> None:
    """Write models.json and the tables in docs/networks.md."""
    with quiet_import():
        import keras  # noqa: F401
    lines = ",\n".join(json.dumps(entry) for entry in entries())
    PATH.write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
