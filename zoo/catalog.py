"""What is known of every network without building it: models.json, made by `python -m zoo.catalog` and held true by a test."""
import dataclasses
import fnmatch
import inspect
import json
import math
import sys
from pathlib import Path

from zoo.errors import unknown

PATH = Path(__file__).with_name("models.json")


def matching(pattern):
    """Return the models.json entries, dicts, whose name matches a shell pattern.

    Raises:
        zoo.errors.UsageError: if none does.
    """
    models = json.loads(PATH.read_text())
    found = [model for model in models if fnmatch.fnmatch(model["name"], pattern)]
    if not found:
        raise unknown("model", pattern, [model["name"] for model in models])
    return found


def describe(name, settings=()):
    """Return what `zoo info` shows of a network: its counts, paper, summary and layer table, as a dict.

    Args:
        name: a name of the zoo, or `package.module:model`.
        settings: "argument=value" texts that replace arguments of its builder.
    """
    import zoo
    from zoo.layer_table import layer_table
    from zoo.settings import builder_args
    model = zoo.build(name, **builder_args(name, settings))
    return {**_entry(zoo.spec(name), model), "layers": [dataclasses.asdict(row) for row in layer_table(model)]}


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
            "paper": spec.paper, "summary": summary}


def main():
    """Write models.json anew."""
    PATH.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries()) + "\n]\n")


if __name__ == "__main__":
    sys.exit(main())
