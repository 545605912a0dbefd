"""What is known of every network without building it: models.json, made by `python -m zoo.catalog` and held true by a test."""
import dataclasses
import fnmatch
import inspect
import json
import math
import operator
import sys
from pathlib import Path

from zoo.errors import UsageError, unknown

PATH = Path(__file__).with_name("models.json")
README = Path(__file__).parents[1] / "README.md"
_MARKS = "<!-- networks: make models -->\n", "<!-- end of networks -->\n"


def matching(pattern="*", max_params=None, sort="name"):
    """Return the models.json entries, dicts, whose name matches a shell pattern.

    Args:
        pattern: such as "resnet*", in whatever case.
        max_params: the most weights a network may have; None for any number.
        sort: "name", "params" or "flops".

    Raises:
        zoo.errors.UsageError: if there is none.
    """
    models = json.loads(PATH.read_text())
    found = [model for model in models if fnmatch.fnmatchcase(model["name"], pattern.lower())]
    if not found:
        raise unknown("model", pattern, [model["name"] for model in models])
    small = [model for model in found if max_params is None or model["weights"] <= max_params]
    if not small:
        raise UsageError(f"No model {pattern!r} has at most {max_params:,} weights; "
                         f"the smallest has {min(model['weights'] for model in found):,}.")
    return sorted(small, key=operator.itemgetter({"params": "weights"}.get(sort, sort)))


def cells(entry):
    """Return what a table shows of an entry: name, weights, multiply-adds, input, paper and trained networks, as texts."""
    size = "tokens" if entry["input_shape"] == [None] else "x".join(map(str, entry["input_shape"]))
    return entry["name"], f"{entry['weights']:,}", cost(entry), size, entry["paper"], ", ".join(entry["trained"]) or "-"


def cost(entry):
    """Return an entry's multiply-adds as a text: of a token where it takes sentences, "-" if images may have any size."""
    if entry["input_shape"] == [None]:
        return f"{entry['flops']:,} a token"
    return "-" if None in entry["input_shape"] else f"{entry['flops']:,}"


def describe(name, settings=()):
    """Return what `zoo info` shows of a network: its counts, paper, summary, arguments and layer table, as a dict.

    Args:
        name: a name of the zoo, or `package.module:model`.
        settings: "argument=value" texts that replace arguments of its builder.
    """
    import zoo
    from zoo.layer_table import layer_table
    from zoo.settings import builder_args
    spec, given = zoo.spec(name), builder_args(name, settings)
    model = zoo.build(name, **given)
    return {**_entry(spec, model), "arguments": {"weights": None, **spec.defaults, **given},
            "layers": [dataclasses.asdict(row) for row in layer_table(model)]}


def entries():
    """Build every network and return what models.json should say of each, in the order of the names."""
    import zoo
    return [_entry(zoo.spec(name), zoo.build(name)) for name in zoo.names()]


def _entry(spec, model):
    from zoo.layer_table import total_multiply_adds
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    summary = (inspect.getdoc(spec.builder) or "").split("\n")[0]
    return {"name": spec.name, "weights": model.count_params(), "trainable": trainable,
            "flops": total_multiply_adds(model), "input_shape": list(model.input.shape[1:]),
            "paper": spec.paper, "summary": summary, "trained": _trained(spec.name)}


def _trained(name):
    """What `zoo.load` takes of the network `name`."""
    from zoo import imagenet, shipped
    from zoo.weights import ORIGINS
    return [f"{name}{imagenet.SUFFIX}"] * (name in ORIGINS) + [
        trained for trained in shipped.names() if shipped.card(trained)["architecture"] == name]


def readme(text):
    """Return the README `text` with the table of networks brought up to date."""
    head = ("network", "weights", "multiply-adds", "input", "source", "trained")
    rows = [head, ("---", "---:", "---:", "---", "---", "---"), *map(cells, matching())]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    (before, _, rest), after = text.partition(_MARKS[0]), text.partition(_MARKS[1])[2]
    return before + _MARKS[0] + table + _MARKS[1] + after if rest else text


def main():
    """Write models.json anew, and with it the README's table."""
    PATH.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries()) + "\n]\n")
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    sys.exit(main())
