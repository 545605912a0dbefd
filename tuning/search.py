"""`search`: the trials of one recipe, and what they lead to; killed at any moment, it goes on where it stopped.

Nothing but the results of trials is kept: RUN/trials/NUMBER holds recipe.json, trial.json (what was tried) and, once the trial
has ended, result.json. A search that is started again asks its algorithm for all trials from the first on, and those with a
result are answered from it. As the algorithms depend on seed and results alone (`tuning.oracles`), the rest is as if nothing
had happened.
"""
import dataclasses
import json
import os
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import keras

import zoo
from training.run_dir import claim, write
from tuning import report, spaces
from tuning.oracles import OBJECTIVE, oracle
from tuning.trial import told
from tuning.worker import Worker
from zoo.errors import UserError
from zoo.layer_table import total_multiply_adds

_STARTS = 5  # times that a trial may end the search, without getting on, before it counts as failed
_WEIGHTS = ("best.npz", "checkpoint.npz")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is searched, and how; all but `trials`, `keep` and `data_dir` makes another search.

    recipe: the `training.recipes.Recipe` to better; its epochs are those of a whole training.
    space: a function as in `tuning.spaces`; fixed: hyperparameters pinned, texts "name=value".
    max_params, max_flops: the most weights and multiply-adds of a network to try; None for any number.
    trials: how many; keep: the trials whose weights stay on disk.
    """

    recipe: object
    algorithm: str = "random"
    seed: int = 0
    space: object = spaces.default
    fixed: tuple = ()
    max_params: int | None = None
    max_flops: int | None = None
    trials: int = 20
    keep: int = 3
    data_dir: str | None = None


def search(plan, run, log=True):
    """Carry out `plan` in the directory `run`; what of it is there already is not done again.

    Writes into `run`, after each trial: trials.csv, and best.json, a recipe; at the end search.html. The test part of the
    data is not looked at.

    Returns:
        The trials, a list of dicts as `tuning.report.HEAD` names them, best first.

    Raises:
        zoo.errors.UserError: if the recipe, its data, the space or the directory will not do, or no trial succeeds.
    """
    declared = spaces.declared(plan.space, plan.recipe, plan.fixed)
    with claim(run, plan.recipe) as run, Worker(plan.data_dir, log) as worker, _known_warning():
        rows = []
        args = settled(plan, run, declared, worker)
        asked = oracle(plan.algorithm, declared, lambda values: fits(plan, declared, args, values),
                       lambda number: kept(run, number), trials=plan.trials, seed=plan.seed, epochs=plan.recipe.epochs)
        while (trial := asked.create_trial("search")).status == "RUNNING":
            tried = attempt(plan, run, declared, args, int(trial.trial_id), trial.hyperparameters.values, worker,
                            asked.refused)
            rows.append(tried)
            _tell(asked, trial, tried)
            _prune(run, rows, plan.keep, asked)
            write_tables(plan, run, declared, rows)
            if log:
                report.say(tried, plan.trials)
    return finished(plan, run, rows)


def write_tables(plan, run, declared, rows):
    """Write trials.csv, and best.json, the recipe of the best trial with all its epochs."""
    report.write_trials(run, rows)
    best = report.ranked(rows)[0]
    if best["status"] == "completed":
        recipe = candidate(plan, declared, best["values"])
        write(run / "best.json", dataclasses.replace(recipe, name=f"{plan.recipe.name}-tuned").to_json())


def finished(plan, run, rows):
    """Write search.html; return the rows best first, or raise UserError if none succeeded."""
    ranked = report.ranked(rows)
    write(run / "search.html", report.page(plan.recipe, rows))
    if not ranked or ranked[0]["status"] != "completed":
        raise UserError(f"No trial in {run} succeeded. The first one: {rows[0]['error'] if rows else 'there was none'}")
    return ranked


@contextmanager
def _known_warning():
    """keras-tuner 1.4.8 calls `threading.currentThread().getName()` whenever its oracle is asked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(currentThread|getName)\(\) is deprecated", DeprecationWarning)
        yield


def settled(plan, run, declared, worker):
    """Return the builder arguments that the data settle; refuse another search's directory, and data that will not do."""
    file = run / "search.json"
    here = {"recipe": json.loads(plan.recipe.to_json()), "algorithm": plan.algorithm, "seed": plan.seed,
            "max_params": plan.max_params, "max_flops": plan.max_flops,
            "space": [f"{hp['class_name']} {json.dumps(hp['config'])}" for hp in declared.get_config()["space"]]}
    if file.exists():
        there = json.loads(file.read_text())
        changed = [f"{key} is {there[key]} there, {here[key]} here" for key in here if there[key] != here[key]]
        if changed:
            raise UserError(f"{run} holds another search ({changed[0][:200]}). Choose another --run, or delete it.")
        return there["args"]
    with tempfile.TemporaryDirectory(prefix=".check-", dir=run) as folder:
        write(Path(folder) / "recipe.json", plan.recipe.to_json())
        found = worker.run("check", Path(folder))
    if found["status"] == "failed":
        raise UserError(found["error"])
    write(run / "recipe.json", plan.recipe.to_json())
    write(file, json.dumps({**here, "args": found["args"]}, indent=2) + "\n")
    return found["args"]


def candidate(plan, declared, values):
    """Return the recipe of the hyperparameters `values`."""
    hp = declared.copy()
    hp.values = dict(values)
    return spaces.apply(plan.recipe, plan.space(hp, plan.recipe))


def size(recipe, args):
    """Return (weights, multiply-adds) of a recipe's network, counted without making the weights."""
    with keras.StatelessScope(initialize_variables=False):
        model = zoo.build(recipe.model, **{**args, **recipe.model_args})
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


def attempt(plan, run, declared, args, number, values, worker, refused=()):
    """Return the row of the trial `number` of the hyperparameters `values`, run now unless it has a result."""
    folder, before = folder_of(run, number), kept(run, number)
    if before and shown(before["values"]) != shown(values):
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


def row(run, number):
    """Return what is known of a trial that has ended, a dict with the keys of `tuning.report.HEAD`, values and error."""
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


def _tell(asked, trial, tried):
    trial.status, trial.message = "FAILED", tried.get("error")
    if tried["status"] == "completed":
        asked.update_trial(trial.trial_id, {OBJECTIVE: tried["score"]})
        trial.status = "COMPLETED"
    asked.end_trial(trial)


def _prune(run, rows, keep, asked):
    """Delete the weights of all trials but the best, and those that Hyperband may go on with."""
    staying = {tried["trial"] for tried in report.ranked(rows)[:keep]}
    if hasattr(asked, "unfinished") and len(rows) < asked.max_trials:
        staying |= {int(number) for number in asked.unfinished()}
    for tried in rows:
        if tried["trial"] not in staying:
            drop_weights(folder_of(run, tried["trial"]))


def drop_weights(folder):
    """Delete the weights of a trial."""
    for name in _WEIGHTS:
        (folder / name).unlink(missing_ok=True)
