"""One trial: its recipe, its directory, and what came of it.

RUN/trials/NUMBER holds recipe.json, trial.json (what was tried) and, once the trial has ended, result.json.
"""
import functools
import json
import os
import re
import shutil

import keras

import zoo
from zoo.errors import UsageError, UserError
from zoo.tables import total_multiply_adds
from zoo.training.files import write
from zoo.training.recipe import OLD_NAMES, read
from zoo.tuning import spaces
from zoo.tuning.job import told

_STARTS = 5  # times that a trial may end the search, without getting on, before it counts as failed
_WEIGHTS = ("best.npz", "checkpoint.npz")


def candidate(plan, declared, values):
    """Return the recipe of the hyperparameters `values`.

    Raises:
        zoo.errors.UsageError: if the space asks for a hyperparameter here that it did not ask for anywhere before.
    """
    hp = declared.copy()
    hp.values = dict(values)
    found = plan.space(hp, plan.recipe)
    if len(hp.space) > len(declared.space):
        raise UsageError(f"The space asks for {hp.space[-1].name} at these values, and too seldom to be searched: ask for it "
                         "at all values, or in hp.conditional_scope.")
    return spaces.apply(plan.recipe, found)


def size(recipe, args):
    """Return (weights, multiply-adds) of a recipe's network, counted without making the weights."""
    return _size(recipe.model, json.dumps({**args, **recipe.model_args}, sort_keys=True))


@functools.cache  # most of what is searched does not change the network
def _size(model, args):
    with keras.StatelessScope(initialize_variables=False):
        model = zoo.build(model, **json.loads(args))
        counts = model.count_params(), total_multiply_adds(model)
    keras.utils.clear_session()  # forgets the weights that were not made
    return counts


def fits(plan, declared, args, values):
    """Return whether the network of the hyperparameters `values` is within the plan's limits, or cannot be built at all."""
    if plan.max_params is None and plan.max_flops is None:
        return True
    try:
        return within(plan, *size(candidate(plan, declared, values), args))
    except Exception:  # a trial of it records what is wrong
        return True


def within(plan, weights, flops):
    """Return whether a network of that size may be tried."""
    return (plan.max_params is None or weights <= plan.max_params) and (plan.max_flops is None or flops <= plan.max_flops)


def folder_of(run, number):
    return run / "trials" / f"{number:04}"


def kept(run, number):
    file = folder_of(run, number) / "trial.json"
    return json.loads(file.read_text()) if file.exists() else None


def rename_old_fields(run, declared):
    """Replace the old names of recipe fields in a search of version 0.1, so that it can be resumed."""
    used = {hp.name for hp in declared.space}
    renamed = {old: new for old, new in OLD_NAMES.items() if old not in used}

    def current(values):
        return {renamed.get(name, name): value for name, value in values.items()}
    for file in run.glob("trials/*/trial.json"):
        trial = json.loads(file.read_text())
        if trial["values"] != current(trial["values"]):
            write(file, json.dumps({**trial, "values": current(trial["values"])}, indent=2) + "\n")
    file = run / "search.json"
    search = json.loads(file.read_text()) if file.exists() else {"recipe": {}}
    recipe = {OLD_NAMES.get(name, name): value for name, value in search["recipe"].items()}
    if search["recipe"] != recipe:
        space = [re.sub(r'(?<="name": ")(\w+)', lambda name: renamed.get(name[0], name[0]), hp)
                 for hp in search["space"]]
        write(file, json.dumps({**search, "recipe": recipe, "space": space}, indent=2) + "\n")


def attempt(plan, run, declared, args, number, values, worker, refused=()):
    """Return the row of the trial `number` of the hyperparameters `values`, run now unless it has a result."""
    folder, before = folder_of(run, number), kept(run, number)
    if before and (shown(before["values"]) != shown(values) or _leads_elsewhere(plan, declared, values, folder)):
        raise UserError(f"{folder} holds other hyperparameters than this search proposes: keras-tuner, the recipe or the "
                        "space has changed. Choose another --run.")
    folder.mkdir(parents=True, exist_ok=True)
    until = values.get("tuner/epochs", plan.recipe.epochs)
    if not _done(folder, until):
        sizes = _prepared(plan, declared, args, values, folder)
        starts = _start(folder, before)
        noted = {"values": values, "refused": list(refused), **sizes}
        write(folder / "trial.json", json.dumps({**noted, **starts}, indent=2) + "\n")
        (folder / "result.json").unlink(missing_ok=True)
        if "tuner/trial_id" in values:
            _go_on_from(folder_of(run, int(values["tuner/trial_id"])), folder)
        try:
            answer = _refusal(sizes, starts) or worker.run("search", folder, more=number + 1 < plan.trials, until=until)
        except KeyboardInterrupt:  # of the user's will, and no fault of the trial
            write(folder / "trial.json", json.dumps({**noted, **starts, "starts": 0}, indent=2) + "\n")
            raise
        write(folder / "result.json", json.dumps(answer, indent=2) + "\n")
    return row(run, number)


def _leads_elsewhere(plan, declared, values, folder):
    """Return whether the space makes another recipe of the same values than it did when the trial began."""
    file = folder / "recipe.json"
    return file.exists() and read(file).to_json() != candidate(plan, declared, values).to_json()


def row(run, number):
    """Return what is known of a trial that has ended, a dict with the keys of `zoo.tuning.report.HEAD`, values and error."""
    folder, before = folder_of(run, number), kept(run, number)
    return {"trial": number, "values": shown(before["values"]), "continues": before["values"].get("tuner/trial_id"),
            "weights": before.get("weights"), "multiply_adds": before.get("multiply_adds"),
            **json.loads((folder / "result.json").read_text())}


def shown(values):
    """Return the hyperparameters without those that Hyperband adds."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def _done(folder, until):
    """Return whether a trial has ended, and not before the epoch `until`."""
    file = folder / "result.json"
    return file.exists() and json.loads(file.read_text()).get("until", until) >= until


def _refusal(sizes, starts):
    """The result of a trial that is not to be run, None if it is."""
    if "error" in sizes:
        return {"status": sizes.get("status", "failed"), "error": sizes["error"]}
    if starts["starts"] > _STARTS:
        return {"status": "failed", "error": f"It ended the search itself {_STARTS} times, with no epoch done between."}
    return None


def _prepared(plan, declared, args, values, folder):
    """Write the trial's recipe and return its network's size; or the error that keeps it from being one."""
    try:
        recipe = candidate(plan, declared, values)
        weights, flops = size(recipe, args)
    except Exception as error:  # of the space or the builder, at these hyperparameters
        return {"error": told(error)}
    write(folder / "recipe.json", recipe.to_json())
    sizes = {"weights": weights, "multiply_adds": flops}
    if within(plan, weights, flops):
        return sizes
    return {**sizes, "status": "skipped", "error": f"{weights:,} weights and {flops:,} multiply-adds are over the limit."}


def _start(folder, before):
    """Count the starts of a trial since its checkpoint last changed."""
    checkpoint = folder / "checkpoint.npz"
    mark = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    same = before is not None and before["checkpoint"] == mark
    return {"starts": before["starts"] + 1 if same else 1, "checkpoint": mark}


def _go_on_from(before, folder):
    """Copy the state of the trial that is gone on with. Without it, the same epochs are trained again."""
    for name in _WEIGHTS:  # the checkpoint last: it says that the rest is there
        if (before / name).exists() and not (folder / "checkpoint.npz").exists():
            shutil.copyfile(before / name, folder / f".{name}.tmp")
            os.replace(folder / f".{name}.tmp", folder / name)


def drop_weights(folder):
    """Delete the weights of a trial."""
    for name in _WEIGHTS:
        (folder / name).unlink(missing_ok=True)
