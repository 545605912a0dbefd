"""One trial: its recipe, its directory and its result.

RUN/trials/NUMBER holds recipe.json, trial.json (hyperparameters and size) and, once the trial has
ended, result.json.
"""
import functools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, UserError
from zoo.training.files import replace, write
from zoo.training.recipe import OLD_NAMES, Recipe, read
from zoo.tuning import spaces
from zoo.tuning.job import one_line

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

    from zoo.tuning.plan import Plan
    from zoo.tuning.subprocess_worker import Worker

_STARTS = 5  # times that a trial may end the whole search without progress before it is failed
_WEIGHTS = ("best.npz", "checkpoint.npz")


def recipe_for(plan: "Plan", declared: "HyperParameters", values: dict[str, Any]) -> Recipe:
    """Return the recipe of the hyperparameters `values`.

    Raises:
        zoo.errors.UsageError: if the space asks for a hyperparameter that was not declared.
    """
    hp = declared.copy()
    hp.values = dict(values)
    chosen = plan.space(hp, plan.recipe)
    if len(hp.space) > len(declared.space):
        raise UsageError(f"The space asks for {hp.space[-1].name} only at these values, too seldom "
                         "to be searched: ask for it at all values, or in hp.conditional_scope.")
    return spaces.apply(plan.recipe, chosen)


def identity(plan: "Plan", declared: "HyperParameters") -> Callable[[dict[str, Any]], str]:
    """Return a function of hyperparameters: two trials with one value train the same recipe.

    A space may make one recipe of several candidates, such as those that differ in the units of a
    layer that the network does not have.
    """
    @functools.cache
    def recipe_of(items):
        try:
            return recipe_for(plan, declared, dict(items)).to_json()
        except Exception:  # any error of the user's space: the trial reports it
            return repr(items)
    return lambda values: recipe_of(tuple(sorted(searched(values).items())))


def fits(plan: "Plan", declared: "HyperParameters", args: dict[str, Any], values: dict[str, Any],
         worker: "Worker") -> bool:
    """Return whether the network of `values` is within the plan's limits, or cannot be built.

    The trial of a network that cannot be built records the error.
    """
    if plan.max_params is None and plan.max_flops is None:
        return True
    try:
        recipe = recipe_for(plan, declared, values)
        size = worker.size(recipe.model, {**args, **recipe.model_args})
    except Exception:  # any error of the user's space
        return True
    return size["status"] == "failed" or _within(plan, size)


def _within(plan, size):
    return ((plan.max_params is None or size["params"] <= plan.max_params)
            and (plan.max_flops is None or size["multiply_adds"] <= plan.max_flops))


def folder_of(run: Path, number: int) -> Path:
    """Return the directory of a trial."""
    return run / "trials" / f"{number:04}"


def read_trial(run: Path, number: int) -> dict[str, Any] | None:
    """Return the trial.json of a trial; None if the trial has not begun."""
    file = folder_of(run, number) / "trial.json"
    return current_keys(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def current_keys(trial: dict[str, Any]) -> dict[str, Any]:
    """Return a trial with the number of parameters, "weights" in version 0.1, as "params"."""
    return {"params" if key == "weights" else key: value for key, value in trial.items()}


def rename_old_fields(run: Path, declared: "HyperParameters") -> None:
    """Replace the old names of recipe fields in a search of version 0.1, to resume it."""
    used = {hp.name for hp in declared.space}
    renamed = {old: new for old, new in OLD_NAMES.items() if old not in used}

    def current(values):
        return {renamed.get(name, name): value for name, value in values.items()}
    for file in run.glob("trials/*/trial.json"):
        trial = json.loads(file.read_text(encoding="utf-8"))
        if trial["values"] != current(trial["values"]):
            write(file, json.dumps({**trial, "values": current(trial["values"])}, indent=2) + "\n")
    file = run / "search.json"
    search = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"recipe": {}}
    recipe = {OLD_NAMES.get(name, name): value for name, value in search["recipe"].items()}
    if search["recipe"] != recipe:
        space = [re.sub(r'(?<="name": ")(\w+)', lambda name: renamed.get(name[0], name[0]), hp)
                 for hp in search["space"]]
        search = {**search, "recipe": recipe, "space": space}
        write(file, json.dumps(search, indent=2) + "\n")


def run_trial(plan: "Plan", run: Path, declared: "HyperParameters", args: dict[str, Any],
              number: int, values: dict[str, Any], worker: "Worker",
              refused: list[dict] | tuple = ()) -> dict[str, Any]:
    """Run the trial `number` with the hyperparameters `values`, unless it has a result already.

    Args:
        plan: the search.
        run: its directory.
        declared: the declared hyperparameters.
        args: the builder arguments that the data determine.
        number: of the trial, from 0.
        values: the hyperparameters to try.
        worker: runs the training.
        refused: the candidates over the limits that were proposed before, kept for a resume.

    Returns:
        The trial's row; see `zoo.tuning.search`.

    Raises:
        zoo.errors.UserError: if the directory holds the trial of other hyperparameters.
    """
    folder, before = folder_of(run, number), read_trial(run, number)
    if before and (searched(before["values"]) != searched(values)
                   or _makes_another_recipe(plan, declared, values, folder)):
        raise UserError(f"{folder} holds other hyperparameters than this search proposes: "
                        "keras-tuner, the recipe or the space has changed. Choose another run "
                        "directory.")
    folder.mkdir(parents=True, exist_ok=True)
    until = values.get("tuner/epochs", plan.recipe.epochs)
    if not _ended(folder, until):
        size = _prepare(plan, declared, args, values, folder, worker)
        starts = _count_start(folder, before)
        trial = {"values": values, "refused": list(refused), **size}
        write(folder / "trial.json", json.dumps({**trial, **starts}, indent=2) + "\n")
        (folder / "result.json").unlink(missing_ok=True)
        if "tuner/trial_id" in values:
            _continue_from(folder_of(run, int(values["tuner/trial_id"])), folder)
        try:
            result = _reason_not_to_run(size, starts)
            if result is None:
                more = number + 1 < plan.trials
                result = worker.run("search", folder, more=more, until=until,
                                    callbacks=plan.callbacks)
        except KeyboardInterrupt:  # the user's decision: it does not count against the trial
            trial |= {**starts, "starts": 0}
            write(folder / "trial.json", json.dumps(trial, indent=2) + "\n")
            raise
        write(folder / "result.json", json.dumps(result, indent=2) + "\n")
    return read_row(run, number)


def _makes_another_recipe(plan, declared, values, folder):
    """Return whether the space makes another recipe of `values` than when the trial began."""
    file = folder / "recipe.json"
    return (file.exists()
            and read(file).to_json() != recipe_for(plan, declared, values).to_json())


def read_row(run: Path, number: int) -> dict[str, Any]:
    """Return the row of a trial that has ended: `zoo.tuning.report.HEAD`, values and error."""
    trial = read_trial(run, number) or {}
    return {"trial": number, "values": searched(trial["values"]),
            "continues": trial["values"].get("tuner/trial_id"),
            "params": trial.get("params"), "multiply_adds": trial.get("multiply_adds"),
            **json.loads((folder_of(run, number) / "result.json").read_text(encoding="utf-8"))}


def searched(values: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters without those that Hyperband adds."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def _ended(folder, until):
    """Return whether a trial has ended, and not before the epoch `until`."""
    file = folder / "result.json"
    if not file.exists():
        return False
    return json.loads(file.read_text(encoding="utf-8")).get("until", until) >= until


def _reason_not_to_run(size, starts):
    """Return the result of a trial that must not be run; None if it may."""
    if "error" in size:
        return {"status": size.get("status", "failed"), "error": size["error"]}
    if starts["starts"] > _STARTS:
        return {"status": "failed", "error": f"It ended the whole search {_STARTS} times, with no "
                                             "epoch completed between."}
    return None


def _prepare(plan, declared, args, values, folder, worker):
    """Write the trial's recipe; return its network's size, or the error that prevents it."""
    try:
        recipe = recipe_for(plan, declared, values)
        size = worker.size(recipe.model, {**args, **recipe.model_args})
    except Exception as error:  # any error of the user's space
        return {"error": one_line(error)}
    if size["status"] == "failed":
        return {"error": size["error"]}
    write(folder / "recipe.json", recipe.to_json())
    counts = {"params": size["params"], "multiply_adds": size["multiply_adds"]}
    if _within(plan, counts):
        return counts
    return {**counts, "status": "skipped",
            "error": "{params:,} params and {multiply_adds:,} multiply-adds are over the limit."
                     .format(**counts)}


def _count_start(folder, before):
    """Count the starts of a trial since its checkpoint last changed."""
    checkpoint = folder / "checkpoint.npz"
    changed = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    same = before is not None and before["checkpoint"] == changed
    return {"starts": before["starts"] + 1 if same else 1, "checkpoint": changed}


def _continue_from(before, folder):
    """Copy the state of the trial to continue; without it the same epochs are trained again."""
    for name in _WEIGHTS:  # the checkpoint last: it marks the copy as complete
        if (before / name).exists() and not (folder / "checkpoint.npz").exists():
            shutil.copyfile(before / name, folder / f".{name}.tmp")
            replace(folder / f".{name}.tmp", folder / name)


def drop_weights(folder: Path) -> None:
    """Delete the weights of a trial."""
    for name in _WEIGHTS:
        (folder / name).unlink(missing_ok=True)
