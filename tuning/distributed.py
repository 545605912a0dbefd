"""One search by several processes, on one machine or many, through a database: Optuna in keras-tuner's place.

Each process runs the same command. There is no chief: whoever is alive takes the next trial, and the trial of one that fell
silent is taken over by another, from its last epoch on where they share the directory. keras-tuner's own chief and workers
(KERASTUNER_TUNER_ID and so on) wait for a killed worker for ever; they are not used.
"""
import dataclasses
import hashlib
import json
import math
import shutil
import time
import warnings
from pathlib import Path

from zoo.errors import UserError
from zoo.training.files import locked
from zoo.training.run_dir import check_run
from zoo.tuning import report, spaces
from zoo.tuning import sequential as alone
from zoo.tuning import trial as attempt
from zoo.tuning.subprocess_worker import Worker

try:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    from zoo.tuning.samplers import first_of, grid, sampler, suggested
except ImportError:
    raise UserError("--storage needs Optuna and SQLAlchemy: pip install 'classic-zoo[distributed]'") from None

_HEARTBEAT = 20  # seconds; a process that was not heard of for three times as long has died
_TAKEOVERS = 5   # of one trial, before it counts as what kills the processes


class TrialFailed(Exception):
    """A trial ended without a score."""


def search(plan, run, url, log=True):
    """Take trials of `plan` from the database `url` until all are done, by this process or another.

    Writes what `zoo.tuning.sequential.search` writes, each process into its own `run`; they may share one.

    Args:
        plan: a `zoo.tuning.sequential.Plan`; hyperband is Optuna's, random trials stopped at the ends of their rounds.
        run: path of the directory.
        url: of SQLAlchemy: sqlite:///FILE for one machine, postgresql+psycopg://USER@HOST/DATABASE for many.
        log: whether to print progress.

    Returns and raises as `zoo.tuning.sequential.search` does.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    declared = spaces.declared(plan.space, plan.recipe, plan.fixed)
    if plan.algorithm == "grid":  # Optuna begins a grid that is done anew
        plan = dataclasses.replace(plan, trials=min(plan.trials, math.prod(map(len, grid(declared).values()))))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with Worker(plan.data_dir, log) as worker, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats are, to Optuna 5.0
        with _alone_in(run):
            check_run(run, plan.recipe)
            study = _study(plan, url, declared)  # first: a mistake in the address is told before the data is loaded
            args = alone.settled(plan, run, declared, worker, "optuna")

        def objective(trial):
            return _objective(plan, run, declared, args, study, trial, worker, log)
        while (left := _left(study, plan.trials)) != "none":
            if left == "others":
                time.sleep(_HEARTBEAT / 4)
            else:
                study.optimize(objective, n_trials=1, catch=(TrialFailed,))
            _keep(plan, run, declared, study)
    return alone.finished(plan, run, _keep(plan, run, declared, study))


def _keep(plan, run, declared, study):
    """Write the tables of the trials that have ended, and return their rows; one process at a time, or an older one wins."""
    with _alone_in(run):
        rows = _rows(study)
        if rows:
            alone.write_tables(plan, run, declared, rows)
            _prune(plan, run, rows)
    return rows


def _alone_in(run):
    """Let one process at a time set up the search in `run`, or write its tables."""
    return locked(run / ".setup.lock")


def _study(plan, url, declared):
    """Return the study of this very search, made by whichever process comes first."""
    settings = json.dumps([plan.recipe.to_json(), plan.algorithm, plan.seed, plan.max_params, plan.max_flops,
                           declared.get_config()["space"]], default=str)
    name = f"{plan.recipe.name}-{plan.algorithm}-{plan.seed}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    hyperband = plan.algorithm == "hyperband"
    pruner = optuna.pruners.HyperbandPruner(1, plan.recipe.epochs, 3) if hyperband else optuna.pruners.NopPruner()
    for again in range(3):  # two machines may make the tables at the same moment, and one of them fails
        try:
            storage = optuna.storages.RDBStorage(
                url, heartbeat_interval=_HEARTBEAT, grace_period=3 * _HEARTBEAT,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_TAKEOVERS))
            return optuna.create_study(study_name=name, storage=storage, sampler=sampler(plan, declared), pruner=pruner,
                                       direction="maximize", load_if_exists=True)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, ValueError) as error:
            if again == 2 or isinstance(error, (ImportError, ValueError)):
                raise UserError(f"Cannot use the storage {url}: {str(error).splitlines()[0]}") from None
            time.sleep(1)


def _alive(study):
    """Return the trials that count: not those taken over, nor those begun beyond the number asked for."""
    trials = study.get_trials(deepcopy=False)
    over = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    return [trial for trial in trials if trial.number not in over and "surplus" not in trial.user_attrs]


def _left(study, trials):
    """Return "some" if a trial waits to be run, "others" if other processes are at the last ones, "none" at the end."""
    optuna.storages.fail_stale_trials(study)
    alive = _alive(study)
    states = [trial.state for trial in alive]
    if len(alive) < trials or optuna.trial.TrialState.WAITING in states:
        return "some"
    return "others" if optuna.trial.TrialState.RUNNING in states else "none"


def _objective(plan, run, declared, args, study, trial, worker, log):
    """Run one trial, and return its score; its row is kept in the database."""
    if trial.number not in sorted(other.number for other in _alive(study))[:plan.trials]:
        trial.set_user_attr("surplus", True)  # another process took the last one at the same moment
        raise TrialFailed
    taken = next(other for other in _alive(study) if other.number == trial.number)
    number, values = first_of(taken), suggested(trial, declared)
    kept = attempt.kept(run, number)
    if kept and attempt.shown(kept["values"]) != values:  # killed before the database had them, and drawn otherwise now
        shutil.rmtree(attempt.folder_of(run, number))
    if not attempt.fits(plan, declared, args, values):
        tried = {"trial": number, "values": values, "status": "skipped",
                 "error": "Its network is over the limit of weights or multiply-adds."}
        trial.set_user_attr("row", tried)
        raise TrialFailed
    tried = _in_rounds(plan, run, declared, args, number, values, trial, worker)
    if log:
        report.say(tried, plan.trials)
    if tried["status"] != "completed":
        raise TrialFailed(tried["error"])
    return tried["score"]


def _in_rounds(plan, run, declared, args, number, values, trial, worker):
    """Train until the trial is done, fails, or Hyperband stops it; return its row."""
    for until in _rounds(plan):
        tried = attempt.attempt(plan, run, declared, args, number, {**values, "tuner/epochs": until}, worker)
        trial.set_user_attr("row", tried)
        if tried["status"] != "completed":
            break
        trial.report(tried["score"], until)
        if until < plan.recipe.epochs and trial.should_prune():
            break
    return tried


def _rounds(plan):
    """The epochs after which Hyperband compares: all, a third, a ninth..., from the shortest up."""
    rounds = [plan.recipe.epochs]
    while plan.algorithm == "hyperband" and rounds[0] >= 3:
        rounds.insert(0, rounds[0] // 3)
    return rounds


def _rows(study):
    """Return the rows of the trials that have ended, in their order."""
    ended = [trial for trial in _alive(study) if trial.state.is_finished()]
    unsaid = {"status": "failed", "values": {}, "error": f"Each process that took it was killed, {_TAKEOVERS + 1} times."}
    return sorted(({"trial": first_of(trial), **trial.user_attrs.get("row", unsaid)} for trial in ended),
                  key=lambda row: row["trial"])


def _prune(plan, run, rows):
    """Delete the weights of all trials here but the best."""
    staying = {row["trial"] for row in report.ranked(rows)[:plan.keep]}
    for row in rows:
        if row["trial"] not in staying:
            attempt.drop_weights(attempt.folder_of(run, row["trial"]))
