"""A search by several processes, on one or many machines, through a database: Optuna's algorithms.

Each process runs the same command. There is no chief: any process that is alive takes the next
trial. If a process dies, another takes over its trial, from its last epoch on if they share the
directory. keras-tuner's own chief and workers (KERASTUNER_TUNER_ID) hang when a worker dies.
"""
import dataclasses
import hashlib
import json
import shutil
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import UserError, missing_packages
from zoo.training.files import locked
from zoo.training.run_dir import check_run, started_with_onednn
from zoo.tuning import report, spaces
from zoo.tuning.plan import Plan, finish, open_search, write_tables
from zoo.tuning.subprocess_worker import Worker
from zoo.tuning.trial import (
    current_keys,
    drop_weights,
    fits,
    folder_of,
    identity,
    read_trial,
    run_trial,
    searched,
)

try:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    from zoo.tuning import samplers
except ImportError:
    raise missing_packages("A shared search", "Optuna and SQLAlchemy", "distributed") from None

_HEARTBEAT = 20    # seconds; a process that is silent for three times as long has died
_TAKEOVERS = 5     # of one trial, before it fails because it kills its processes
_COLLISIONS = 100  # repeated draws in a row before the space counts as exhausted


class TrialFailed(Exception):
    """A trial ended without a score."""


def run_search(plan: Plan, run: Path, url: str, log: bool = True) -> list[dict]:
    """Run trials of `plan` from a database until all are done, by this process or another.

    Each process writes the same files as `zoo.tuning.search` into its own `run`; they may share
    one. Hyperband is Optuna's: random trials, stopped at the ends of their rounds.

    Args:
        plan: the search.
        run: the directory.
        url: of SQLAlchemy: sqlite:///FILE for one machine, postgresql+psycopg://USER@HOST/DATABASE
            for many.
        log: whether to print progress.
    """
    run.mkdir(parents=True, exist_ok=True)
    declared = spaces.declare(plan.space, plan.recipe, plan.fixed)
    plan = dataclasses.replace(plan, trials=samplers.limit(plan, declared))
    with Worker(plan.data_dir, log, started_with_onednn(run)) as worker, _quiet_optuna():
        with _lock(run):
            check_run(run, plan.recipe)
            # First, so that a mistake in the address is reported before the data is loaded.
            storage = _storage(url)
            search = open_search(plan, run, declared, worker, "optuna")
            args, study = search["args"], _study(plan, url, storage, declared, search)
        collisions, same = 0, identity(plan, declared)

        def objective(trial):
            nonlocal collisions
            collisions = collisions + 1 if _repeats(study, trial, declared, same) else 0
            if collisions:
                trial.set_user_attr("surplus", True)
                raise TrialFailed
            return _objective(plan, run, declared, args, study, trial, worker, log)
        while (left := _left(study, plan.trials)) != "none" and collisions < _COLLISIONS:
            if left == "others":
                time.sleep(_HEARTBEAT / 4)
            else:
                study.optimize(objective, n_trials=1, catch=(TrialFailed,))
            if not collisions:
                _write(plan, run, declared, study)
    return finish(plan, run, _write(plan, run, declared, study))


@contextmanager
def _quiet_optuna():
    """Silence Optuna's log, and its warning that heartbeats are experimental until version 5.0."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _write(plan, run, declared, study):
    """Write the tables of the trials that have ended, and return their rows.

    One process at a time, or the tables of a slower process would replace newer ones.
    """
    with _lock(run):
        rows = _rows(study)
        if rows:
            write_tables(plan, run, declared, rows)
            _prune(plan, run, rows)
    return rows


def _lock(run):
    """Let one process at a time set up the search in `run`, or write its tables."""
    return locked(run / ".setup.lock")


def _storage(url):
    """Return the database of the searches."""
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_TAKEOVERS)
    return _connected(url, lambda: optuna.storages.RDBStorage(
        url, heartbeat_interval=_HEARTBEAT, grace_period=3 * _HEARTBEAT,
        heartbeat_stale_trial_callback=retry))


def _study(plan, url, storage, declared, search):
    """Return this search's study, which the first process creates.

    Its name contains a hash of all that its scores depend on, so that a search with other data,
    starting weights, settings or another space is another study.
    """
    settings = json.dumps([plan.recipe.to_json(), plan.algorithm, plan.seed, plan.max_params,
                           plan.max_flops, declared.get_config()["space"], search["data"],
                           search["weights"],
                           spaces.sample_recipes(plan.space, plan.recipe, declared)], default=str)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    name = f"{plan.recipe.name}-{plan.algorithm}-{plan.seed}-{digest}"
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if plan.algorithm == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(1, plan.recipe.epochs, 3)
    return _connected(url, lambda: optuna.create_study(
        study_name=name, storage=storage, sampler=samplers.sampler(plan, declared), pruner=pruner,
        direction="maximize", load_if_exists=True))


def _connected(url, connect):
    """Return what `connect` does with the database, at the third attempt at the latest."""
    for attempts_left in (2, 1, 0):  # two machines may create the tables at once, and one fails
        try:
            return connect()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError,
                ValueError) as error:
            if not attempts_left or isinstance(error, (ImportError, ValueError)):
                raise UserError(f"Cannot use the storage {url}: "
                                f"{str(error).splitlines()[0]}") from None
            time.sleep(1)


def _counted(study):
    """Return the trials that count, by number: none that was taken over, repeated or surplus."""
    trials = study.get_trials(deepcopy=False)
    retried = {number for trial in trials
               for number in trial.system_attrs.get("retry_history", [])}
    return [trial for trial in sorted(trials, key=lambda trial: trial.number)
            if trial.number not in retried and "surplus" not in trial.user_attrs]


def _left(study, trials):
    """Return "some" if a trial waits, "others" if others run the last ones, "none" at the end."""
    optuna.storages.fail_stale_trials(study)
    counted = _counted(study)
    states = [trial.state for trial in counted]
    if len(counted) < trials or optuna.trial.TrialState.WAITING in states:
        return "some"
    return "others" if optuna.trial.TrialState.RUNNING in states else "none"


def _repeats(study, trial, declared, same):
    """Draw the trial's values; return whether an earlier trial trains the same recipe."""
    drawn = same(samplers.suggest(trial, declared))
    return any(same(other.params) == drawn for other in _counted(study)
               if other.number < trial.number)


def _objective(plan, run, declared, args, study, trial, worker, log):
    """Run one trial and return its score; its row is kept in the database."""
    numbers = [each.number for each in _counted(study)][:plan.trials]
    if trial.number not in numbers:
        trial.set_user_attr("surplus", True)  # another process took the last one at the same time
        raise TrialFailed
    frozen = next(each for each in _counted(study) if each.number == trial.number)
    number, values = samplers.first_number(frozen), samplers.suggest(trial, declared)
    before = read_trial(run, number)
    # A process was killed before the database had the values, and others are drawn now.
    if before and searched(before["values"]) != values:
        shutil.rmtree(folder_of(run, number))
    if not fits(plan, declared, args, values, worker):
        error = "Its network is over the limit of params or multiply-adds."
        trial.set_user_attr("row", {"trial": number, "values": values, "status": "skipped",
                                    "error": error})
        raise TrialFailed
    row = _run_rounds(plan, run, declared, args, number, values, trial, worker)
    if log:
        report.print_trial(row, numbers.index(trial.number) + 1, plan.trials)
    if row["status"] != "completed":
        raise TrialFailed(row["error"])
    return row["score"]


def _run_rounds(plan, run, declared, args, number, values, trial, worker):
    """Train until the trial is done, fails, or Hyperband stops it; return its row."""
    for until in _rounds(plan):
        row = run_trial(plan, run, declared, args, number, {**values, "tuner/epochs": until},
                        worker)
        trial.set_user_attr("row", row)
        if row["status"] != "completed":
            break
        trial.report(row["score"], until)
        if until < plan.recipe.epochs and trial.should_prune():
            break
    return row


def _rounds(plan):
    """Return the epochs after which Hyperband compares, ascending: ..., a ninth, a third, all."""
    rounds = [plan.recipe.epochs]
    while plan.algorithm == "hyperband" and rounds[0] >= 3:
        rounds.insert(0, rounds[0] // 3)
    return rounds


def _rows(study):
    """Return the rows of the trials that have ended, by number."""
    lost = {"status": "failed", "values": {},
            "error": f"Each of the {_TAKEOVERS + 1} processes that ran it was killed."}
    rows = [current_keys({"trial": samplers.first_number(trial),
                          **trial.user_attrs.get("row", lost)})
            for trial in _counted(study) if trial.state.is_finished()]
    return sorted(rows, key=lambda row: row["trial"])


def _prune(plan, run, rows):
    """Delete the weights of all trials here but the best."""
    kept = {row["trial"] for row in report.ranked(rows)[:plan.keep]}
    for row in rows:
        if row["trial"] not in kept:
            drop_weights(folder_of(run, row["trial"]))
