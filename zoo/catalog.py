"""models.json, which describes every network: to read it is quicker than to import Keras.

`python -m zoo.catalog` writes it, and the table in docs/networks.md; tests compare both.
"""
import dataclasses
import fnmatch
import functools
import inspect
import json
import math
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, unknown

if TYPE_CHECKING:
    import keras

    from zoo.registry import Spec

PATH = Path(__file__).with_name("models.json")
PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
_MARKS = "<!-- networks: make models -->\n", "<!-- end of networks -->\n"


def matching(pattern: str = "*", max_params: int | None = None,
             sort: str = "name") -> list[dict[str, Any]]:
    """Return the models.json entries whose name matches a shell pattern.

    Args:
        pattern: such as "resnet*"; upper and lower case are the same.
        max_params: the largest number of parameters; None for any.
        sort: "name", "params" or "flops".

    Raises:
        zoo.errors.UsageError: if no network matches.
    """
    matches = [entry for name, entry in _by_name().items()
               if fnmatch.fnmatchcase(name, pattern.lower())]
    if not matches:
        raise unknown("model", pattern, _by_name())
    small = [entry for entry in matches if max_params is None or entry["params"] <= max_params]
    if not small:
        raise UsageError(f"No model {pattern!r} has at most {max_params:,} params; "
                         f"the smallest has {min(entry['params'] for entry in matches):,}.")
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
        raise unknown("model", model, _by_name())
    return {**dict.fromkeys(spec(model).parameters), **spec(model).defaults}


def names() -> list[str]:
    """Return the names of the zoo's own networks."""
    return list(_by_name())


def params(model: str) -> int | None:
    """Return a network's number of parameters as in models.json; None for a network of your own."""
    return _by_name().get(model, {}).get("params")


def _tuples(value: Any) -> Any:
    """Return a default with the tuples that JSON has turned into lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def cells(entry: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of an entry: name, params, multiply-adds, input, paper, trained networks."""
    size = "x".join(map(str, entry["input_shape"]))
    if entry["input_shape"] == [None]:
        size = "tokens"
    trained = ", ".join(entry["trained"]) or "-"
    return entry["name"], f"{entry['params']:,}", cost(entry), size, entry["paper"], trained


def cost(entry: dict[str, Any]) -> str:
    """Return the multiply-adds of an entry: per token for text, "-" for images of any size."""
    if entry["input_shape"] == [None]:
        return f"{entry['flops']:,} a token"
    if None in entry["input_shape"]:
        return "-"
    return f"{entry['flops']:,}"


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
    return [_entry(zoo.spec(name), zoo.build(name)) for name in zoo.names()]


def _entry(spec: "Spec", model: "keras.Model") -> dict[str, Any]:
    from zoo.tables import total_multiply_adds
    return {"name": spec.name, "params": model.count_params(),
            "trainable": sum(math.prod(weight.shape) for weight in model.trainable_weights),
            "flops": total_multiply_adds(model), "input_shape": list(model.input.shape[1:]),
            "paper": spec.paper, "summary": (inspect.getdoc(spec.builder) or "").split("\n")[0],
            "trained": _trained(spec.name), "arguments": spec.defaults}


def _trained(name: str) -> list[str]:
    """Return the names of trained networks of this architecture, for `zoo.load`."""
    from zoo import shipped
    from zoo.weights import KERAS_APPLICATIONS
    trained = [other for other in shipped.names() if shipped.card(other)["architecture"] == name]
    if name in KERAS_APPLICATIONS:
        trained.insert(0, f"{name}{shipped.IMAGENET}")
    return trained


def page(text: str) -> str:
    """Return docs/networks.md, `text`, with an updated table of networks."""
    head = ("network", "params", "multiply-adds", "input", "source", "trained")
    rows = [head, ("---", "---:", "---:", "---", "---", "---"), *map(cells, matching())]
    return replace_table(text, _MARKS, rows)


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
    """Write models.json and the table in docs/networks.md."""
    lines = ",\n".join(json.dumps(entry) for entry in entries())
    PATH.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
