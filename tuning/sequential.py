"""`search`: the trials of one recipe, and what they lead to; killed at any moment, it goes on where it stopped.

Nothing but the results of trials is kept (`zoo.tuning.trial`). A search that is started again asks its algorithm for all trials
from the first on, and those with a result are answered from it. As the algorithms depend on seed and results alone
(`zoo.tuning.oracles`), the rest is as if nothing had happened.
"""
import dataclasses
import itertools
import json
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import UserError
from zoo.training.files import write
from zoo.training.run_dir import claim
from zoo.tuning import report, spaces
from zoo.tuning.oracles import OBJECTIVE, oracle
from zoo.tuning.subprocess_worker import Worker
from zoo.tuning.trial import attempt, candidate, drop_weights, fits, folder_of, kept, rename_old_fields


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is searched, and how; all but `trials`, `keep` and `data_dir` makes another search.

    recipe: the `zoo.training.recipes.Recipe` to better; its epochs are those of a whole training.
    space: a function as in `zoo.tuning.spaces`; fixed: hyperparameters pinned, texts "name=value".
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
        The trials, a list of dicts as `zoo.tuning.report.HEAD` names them, best first.

    Raises:
        zoo.errors.UserError: if the recipe, its data, the space or the directory will not do, or no trial succeeds.
    """
    declared = spaces.declared(plan.space, plan.recipe, plan.fixed)
    with claim(run, plan.recipe) as run, Worker(plan.data_dir, log) as worker, _known_warning():
        rows = []
        args = settled(plan, run, declared, worker)
        asked = oracle(plan.algorithm, declared, _feasible(plan, declared, args, log),
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


def _feasible(plan, declared, args, log):
    """What the oracle asks of each candidate: `fits`. Every tenth that is passed over is told, as each takes its time."""
    passed = itertools.count(1)

    def feasible(values):
        fit = fits(plan, declared, args, values)
        if not fit and (number := next(passed)) % 10 == 0 and log:
            print(f"{number} candidates passed over: their networks are over the limits", flush=True)
        return fit
    return feasible


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
    if not ranked:
        raise UserError("No network of the space was found that is within --max-params and --max-flops. Raise them.")
    if ranked[0]["status"] != "completed":
        raise UserError(f"No trial in {run} succeeded. The first one: {rows[0]['error']}")
    return ranked


@contextmanager
def _known_warning():
    """keras-tuner 1.4.8 calls `threading.currentThread().getName()` whenever its oracle is asked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(currentThread|getName)\(\) is deprecated", DeprecationWarning)
        yield


def settled(plan, run, declared, worker, engine="keras-tuner"):
    """Return the builder arguments that the data settle; refuse another search's directory, and data that will not do."""
    file = run / "search.json"
    here = {"recipe": json.loads(plan.recipe.to_json()), "engine": engine, "algorithm": plan.algorithm,
            "seed": plan.seed, "max_params": plan.max_params, "max_flops": plan.max_flops,
            "space": [f"{hp['class_name']} {json.dumps(hp['config'])}" for hp in declared.get_config()["space"]]}
    rename_old_fields(run, declared)
    there = json.loads(file.read_text()) if file.exists() else None
    if there:
        _refuse_another(run, there, here)
    with tempfile.TemporaryDirectory(prefix=".check-", dir=run) as folder:
        write(Path(folder) / "recipe.json", plan.recipe.to_json())
        found = worker.run("check", Path(folder))
    if found["status"] == "failed":
        raise UserError(found["error"])
    if there:
        if there["data"] != found["data"]:
            raise UserError(f"{plan.recipe.data} has changed since the search in {run} began. Choose another --run.")
        return there["args"]
    write(run / "recipe.json", plan.recipe.to_json())
    write(file, json.dumps({**here, "args": found["args"], "data": found["data"]}, indent=2) + "\n")
    return found["args"]


def _refuse_another(run, there, here):
    """Raise UserError with the first thing in which the search `there`, in the directory `run`, differs from this one."""
    for key, now in here.items():
        if there[key] != now:
            was, now = _first_other(there[key], now) if isinstance(now, list) else (there[key], now)
            raise UserError(f"{run} holds another search ({key} is {str(was)[:200]} there, {str(now)[:200]} here). Choose "
                            "another --run, or delete it.")


def _first_other(there, here):
    return next((was, now) for was, now in itertools.zip_longest(there, here) if was != now)


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
