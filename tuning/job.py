"""One job in a process of its own, which frees all its memory and contains any crash.

`python -m zoo.tuning.job` imports TensorFlow, reads a job, a line of JSON, from standard input,
writes FOLDER/result.json and ends. `python -m zoo.tuning.job --jobs` does job after job, each
answered by a line of JSON on standard output. Both end when standard input does, so that no trial
outlives its search.
"""
import contextlib
import json
import os
import pkgutil
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.errors import UserError
from zoo.factory import without_weights
from zoo.startup import add_current_folder, escape_unencodable, quiet_import, uses_onednn
from zoo.training.files import write
from zoo.training.recipe import read
from zoo.training.run_dir import claim

if TYPE_CHECKING:
    from zoo.training.data.splits import Split

def check(folder: Path, data_dir: str | None, log: bool,
          callbacks: str | None = None) -> dict[str, Any]:
    """Load the data of the recipe in `folder` and build its network.

    Returns:
        args, the builder arguments that the data determine; data, a fingerprint of the training
        and validation splits; weights, one of the weights or word vectors that training starts
        from, or None; and onednn, whether TensorFlow uses oneDNN.
    """
    import keras

    from zoo.training.data.splits import fingerprint
    from zoo.training.engine import fit, manifest
    from zoo.training.engine.distillation import teacher_of
    from zoo.training.engine.prepare import text_arguments
    recipe = read(folder / "recipe.json")
    _make_callbacks(callbacks, folder)
    dataset, build = fit.prepare(recipe, data_dir, cache_dir=folder)
    if dataset.validation is None:
        raise UserError("Tuning needs a validation split to select by. Set validation_split to a "
                        "share of the training split, such as 0.1.")
    model = without_weights(build)
    args: dict[str, Any]
    if dataset.vocabulary:
        args = text_arguments(recipe, dataset.vocabulary)
    else:
        args = {"input_shape": list(model.input.shape[1:])}
    if recipe.vectors:
        args["embedding"] = model.get_layer("embedding_masked").output.shape[-1]
    weights = None
    if recipe.model_args.get("weights") is not None or recipe.vectors:
        keras.utils.set_random_seed(recipe.seed)  # for the layers that start without weights
        weights = manifest.weights_fingerprint(build())
    if recipe.teacher:
        teacher = teacher_of(recipe, dataset.class_names, model.input.shape[1:])
        weights = (weights or "") + manifest.weights_fingerprint(teacher.model)
    return {"args": {**args, "classes": len(dataset.class_names)},
            "data": fingerprint([dataset.train, dataset.validation]), "weights": weights,
            "onednn": uses_onednn()}


def size(model: str, args: dict[str, Any]) -> dict[str, int]:
    """Return a network's params and multiply_adds, counted without making its weights."""
    import zoo
    from zoo.tables import total_multiply_adds
    network = without_weights(zoo.build, model, **args)
    return {"params": network.count_params(), "multiply_adds": total_multiply_adds(network)}


def search(folder: Path, data_dir: str | None, log: bool, until: int,
           callbacks: str | None = None) -> dict[str, Any]:
    """Train the recipe in `folder` up to the epoch `until`.

    Returns:
        The best epoch's accuracy on the validation split as score, its val_loss, and more.
    """
    from zoo.training import evaluation
    from zoo.training.engine import fit
    recipe = read(folder / "recipe.json")
    with claim(folder, recipe):
        dataset, build = fit.prepare(recipe, data_dir, cache_dir=folder)
        state = fit.train_until(recipe, folder, dataset, build, log, until,
                                _make_callbacks(callbacks, folder))
    # The losses in the history include label smoothing.
    validation = cast("Split", dataset.validation)  # see `check`
    scores = evaluation.score(state.best_model(build), validation, dataset.class_names)
    return {"score": scores["accuracy"], "val_loss": scores["loss"],
            "best_epoch": state.best_epoch()["epoch"], "epochs": len(state.history), "until": until,
            "seconds": round(state.seconds, 2)}


def _make_callbacks(reference, folder):
    """Return the callbacks that the function "module:function" makes for a trial."""
    if reference is None:
        return []
    try:
        function = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError("callbacks must be the \"module:function\" of a function that another "
                        f"process can import. Received: {reference!r} ({error}).") from None
    return list(function(folder))


def train(folder: Path, data_dir: str | None, log: bool) -> dict[str, Any]:
    """Train the recipe in `folder`, a run directory, and evaluate it on the test split.

    Returns:
        Entries of metrics.json; val_accuracy, of the best epoch, and validation_examples.
    """
    from zoo.training.engine import fit
    metrics = fit.train(read(folder / "recipe.json"), folder, data_dir=data_dir, log=log) or {}
    return {"val_accuracy": metrics["best_epoch"]["val_accuracy"],
            "validation_examples": metrics["examples"]["validation"],
            **{key: metrics[key] for key in
               ("test_accuracy", "test_loss", "test_examples", "best_epoch", "seconds", "seed")}}


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "check": check, "size": size, "search": search, "train": train}


def main() -> None:
    """Do the job, or the jobs, that standard input names."""
    escape_unencodable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search ends this process at an interrupt
    answers = None
    if sys.argv[1:]:
        answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what a builder prints is not an answer
    # Windows would block libraries that look at standard input while a thread reads it.
    lines = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    add_current_folder()
    with quiet_import():  # while the trial before this one still trains
        import tensorflow as tf

        from zoo.training.engine import fit  # noqa: F401
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=[lines, jobs], daemon=True).start()
    if answers is None:
        job = jobs.get()
        write(Path(job["folder"]) / "result.json", json.dumps(_result(job), indent=2) + "\n")
        return
    tf.config.set_visible_devices([], "GPU")  # their memory is for the trials
    while True:
        print(json.dumps(_result(jobs.get())), file=answers, flush=True)


def _read_jobs(lines, jobs):
    """Put the jobs in `lines` into a queue; end the process at their end."""
    for line in lines:
        jobs.put(json.loads(line))
    os._exit(1)


def _result(job):
    """Do a job and return its result: what it returned, or the error as one line."""
    kwargs = {key: value for key, value in job.items() if key != "job"}
    with contextlib.ExitStack() as stack:
        if "folder" in kwargs:
            kwargs["folder"] = Path(kwargs["folder"])
            stack.enter_context(_stderr_in(kwargs["folder"] / "stderr.txt"))
        try:
            return {"status": "completed", **JOBS[job["job"]](**kwargs)}
        except Exception as error:  # an error of any kind is the result of the trial
            return {"status": "failed", "error": one_line(error)}


@contextlib.contextmanager
def _stderr_in(path):
    """Write stderr to a file. It is closed at the end: Windows deletes no folder of open files."""
    before = os.dup(2)
    with open(path, "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


def one_line(error: Exception) -> str:
    """Return an exception as one line: its class, unless it is a UserError, and its message."""
    message = " ".join(str(error).split())
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}"


if __name__ == "__main__":
    main()
