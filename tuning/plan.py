"""A search as its caller describes it, and the files that it writes."""
import dataclasses
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, UserError, unknown
from zoo.settings import check_type
from zoo.startup import ONEDNN
from zoo.training.files import write
from zoo.training.recipe import Recipe
from zoo.tuning import report, spaces
from zoo.tuning.oracles import ALGORITHMS
from zoo.tuning.trial import recipe_for, rename_old_fields

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

    from zoo.tuning.subprocess_worker import Worker


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is searched, and how. If any field but the last five changes, it is another search.

    recipe: the recipe to improve; its epochs are those of a whole trial.
    space: a function (hp, recipe) -> dict, see `zoo.tuning.spaces`; fixed: {name: value}.
    max_params, max_flops: limits of a network's size; None for no limit.
    trials: how many; keep: how many of them keep their weights on disk.
    callbacks: "module:function" of a function of a trial's directory that returns callbacks.
    final: fields of the recipe in best.json that a trial has others of, {name: value}.

    Raises:
        zoo.errors.UsageError: if a field has the wrong type or a value out of its range.
    """

    recipe: Recipe
    algorithm: str = "random"
    seed: int = 0
    space: Callable[..., dict[str, Any]] = spaces.default
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    max_params: int | None = None
    max_flops: int | None = None
    trials: int = 20
    keep: int = 3
    data_dir: str | None = None
    callbacks: str | None = None
    final: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.algorithm not in ALGORITHMS:
            raise unknown("algorithm", self.algorithm, ALGORITHMS)
        for name in ("seed", "trials", "keep", "max_params", "max_flops"):
            value, low = getattr(self, name), 0 if name == "seed" else 1
            if value is None and name.startswith("max_"):
                continue
            check_type(name, value, int)
            if value < low:
                raise UsageError(f"{name} must be at least {low}. Received: {value}.")


def open_search(plan: Plan, run: Path, declared: "HyperParameters", worker: "Worker",
                engine: str = "keras-tuner") -> dict[str, Any]:
    """Check that the data can be tuned on and that `run` is new or holds this search.

    Returns:
        The content of search.json: the settings of the search; args, data and weights, see
        `zoo.tuning.job.check`.

    Raises:
        zoo.errors.UserError: if the data cannot be tuned on, or `run` holds another search, or one
            that began with other data or weights.
    """
    from zoo.training.data.splits import is_of_stream  # late: it imports scikit-learn
    file = run / "search.json"
    settings = {"recipe": json.loads(plan.recipe.to_json()), "engine": engine,
                "algorithm": plan.algorithm, "seed": plan.seed, "max_params": plan.max_params,
                "max_flops": plan.max_flops,
                "space": [f"{hp['class_name']} {json.dumps(hp['config'])}"
                          for hp in declared.get_config()["space"]]}
    rename_old_fields(run, declared)
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    if before:
        # Versions without a field did as its default does, except for the background; the data
        # tell if that makes a difference.
        defaults = json.loads(Recipe("", "", "").to_json())
        before["recipe"] = {**defaults, "background": plan.recipe.background, **before["recipe"]}
        _check_same(run, before, settings)
    with tempfile.TemporaryDirectory(prefix=".check-", dir=run) as folder:
        checked = plan.recipe
        if before and checked.cache == "auto":  # the same fingerprint, however much memory is free
            cache = "none" if is_of_stream(before["data"]) else "memory"
            checked = dataclasses.replace(checked, cache=cache)
        write(Path(folder) / "recipe.json", checked.to_json())
        now = worker.check(Path(folder), callbacks=plan.callbacks)
    if now["status"] == "failed":
        raise UserError(now["error"])
    if before:
        # Version 0.1 did not record these.
        before = {"weights": now["weights"], "onednn": now["onednn"], **before}
        if before["data"] != now["data"]:
            raise UserError(f"{plan.recipe.data} has changed since the search in {run} began. "
                            "Choose another run directory.")
        if before["weights"] != now["weights"]:
            recipe = plan.recipe
            source = recipe.vectors or recipe.model_args.get("weights") or recipe.teacher
            raise UserError(f"The weights of {source} have changed since the search in {run} "
                            "began. Choose another run directory.")
        if before["onednn"] != now["onednn"]:
            print(f"{ONEDNN} has changed since the search in {run} began: its results will not be "
                  "bit-identical.", file=sys.stderr, flush=True)
        return before
    write(run / "recipe.json", plan.recipe.to_json())
    search = {**settings, **{key: now[key] for key in ("args", "data", "weights", "onednn")}}
    write(file, json.dumps(search, indent=2) + "\n")
    return search


def _check_same(run, before, now):
    """Raise UserError with the first setting in which the search in `run` differs from this one."""
    for key, value in now.items():
        old = before[key]
        if old == value:
            continue
        if isinstance(value, list):
            old, value = next(pair for pair in itertools.zip_longest(old, value)
                              if pair[0] != pair[1])
        raise UserError(f"{run} holds another search ({key} is {str(old)[:200]} there, "
                        f"{str(value)[:200]} here). Choose another run directory, or delete it.")


def write_tables(plan: Plan, run: Path, declared: "HyperParameters", rows: list[dict]) -> None:
    """Write trials.csv, search.html, and best.json, the best trial's recipe with `final`."""
    report.write_trials(run, rows)
    write(run / "search.html", report.page(plan.recipe, rows, plan.trials))
    best = report.ranked(rows)[0]
    if best["status"] == "completed":
        recipe = recipe_for(plan, declared, best["values"])
        recipe = dataclasses.replace(recipe, name=f"{plan.recipe.name}-tuned", **plan.final)
        write(run / "best.json", recipe.to_json())


def finish(plan: Plan, run: Path, rows: list[dict]) -> list[dict]:
    """Write the last search.html, and return the rows best first.

    Raises:
        zoo.errors.UserError: if no trial succeeded.
    """
    write(run / "search.html", report.page(plan.recipe, rows))
    ranked = report.ranked(rows)
    if not ranked:
        raise UserError("No network of the space is within max_params and max_flops. "
                        "Raise them.")
    if ranked[0]["status"] != "completed":
        raise UserError(f"No trial in {run} succeeded. The first one: {rows[0]['error']}")
    return ranked
