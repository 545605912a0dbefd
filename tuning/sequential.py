"""A search by one process, with keras-tuner's algorithms; it can be killed and resumed.

Only the results of trials are kept (`zoo.tuning.trial`). A resumed search asks its algorithm for
all trials from the first on and answers those that have a result from it. As the algorithms depend
on the seed and the results alone (`zoo.tuning.oracles`), the rest is the same as without the break.
"""
import itertools
import warnings
from contextlib import contextmanager
from pathlib import Path

from zoo.training.run_dir import claim, started_with_onednn
from zoo.tuning import report, spaces
from zoo.tuning.oracles import OBJECTIVE, make_oracle
from zoo.tuning.plan import Plan, finish, open_search, write_tables
from zoo.tuning.subprocess_worker import Worker
from zoo.tuning.trial import drop_weights, fits, folder_of, identity, read_trial, run_trial


def run_search(plan: Plan, run: Path, log: bool = True) -> list[dict]:
    """Run or resume the search `plan` in the directory `run`; see `zoo.tuning.search`."""
    declared = spaces.declare(plan.space, plan.recipe, plan.fixed)
    onednn = started_with_onednn(run)
    with (claim(run, plan.recipe) as run, Worker(plan.data_dir, log, onednn) as worker,
          _no_deprecations()):
        rows: list[dict] = []
        args = open_search(plan, run, declared, worker)["args"]
        oracle = make_oracle(plan.algorithm, declared, _feasible(plan, declared, args, worker, log),
                             identity(plan, declared), lambda number: read_trial(run, number),
                             trials=plan.trials, seed=plan.seed, epochs=plan.recipe.epochs)
        while (trial := oracle.create_trial("search")).status == "RUNNING":
            row = run_trial(plan, run, declared, args, int(trial.trial_id),
                            trial.hyperparameters.values, worker, oracle.refused)
            rows.append(row)
            _end_trial(oracle, trial, row)
            _prune(run, rows, plan.keep, oracle)
            write_tables(plan, run, declared, rows)
            if log:
                report.print_trial(row, len(rows), plan.trials)
    return finish(plan, run, rows)


def _feasible(plan, declared, args, worker, log):
    """Return `fits` as a function of values alone, which reports every tenth rejected candidate."""
    rejected = itertools.count(1)

    def feasible(values):
        fit = fits(plan, declared, args, values, worker)
        if not fit and (number := next(rejected)) % 10 == 0 and log:
            print(f"{number} candidates rejected: their networks are over the limits", flush=True)
        return fit
    return feasible


@contextmanager
def _no_deprecations():
    """keras-tuner 1.4.8 calls `threading.currentThread().getName()` at each step of an oracle."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(currentThread|getName)\(\) is deprecated",
                                DeprecationWarning)
        yield


def _end_trial(oracle, trial, row):
    trial.status, trial.message = "FAILED", row.get("error")
    if row["status"] == "completed":
        oracle.update_trial(trial.trial_id, {OBJECTIVE: row["score"]})
        trial.status = "COMPLETED"
    oracle.end_trial(trial)


def _prune(run, rows, keep, oracle):
    """Delete the weights of all trials but the best and those that Hyperband may continue."""
    kept = {row["trial"] for row in report.ranked(rows)[:keep]}
    if hasattr(oracle, "unfinished") and len(rows) < oracle.max_trials:
        kept |= {int(number) for number in oracle.unfinished()}
    for row in rows:
        if row["trial"] not in kept:
            drop_weights(folder_of(run, row["trial"]))
