"""One job in a process of its own: memory that TensorFlow does not give back ends with it, and so does what kills it.

`python -m zoo.tuning.job` imports TensorFlow, reads its job, a line of JSON, from standard input, writes FOLDER/result.json and
ends. It ends as well when standard input does, so that no trial outlives the search that started it.
"""
import json
import os
import signal
import sys
import threading
from pathlib import Path

from zoo.errors import UserError
from zoo.startup import add_current_folder, quiet_import
from zoo.training.files import write
from zoo.training.recipes import read
from zoo.training.run_dir import claim


def check(folder, data_dir, **_):
    """Load the data of the recipe in `folder`, build its network, and return what both have settled.

    These are args, the builder's arguments, and data, a fingerprint of all but the test part.
    """
    import keras

    from zoo.training.data.splits import fingerprint
    from zoo.training.engine import fit
    recipe = read(folder / "recipe.json")
    dataset, build = fit.prepare(recipe, data_dir, cache_dir=folder)
    if dataset.validation is None:
        raise UserError("Tuning needs a validation part to choose by. Set validation to a share of the training part, "
                        "such as 0.1.")
    with keras.StatelessScope(initialize_variables=False):  # shapes, no weights
        model = build()
    shape = {"vocab_size": len(dataset.vocabulary)} if dataset.vocabulary else {"input_shape": list(model.input.shape[1:])}
    if recipe.vectors:
        shape["embedding"] = model.get_layer("embedding_masked").output.shape[-1]
    return {"args": {**shape, "classes": len(dataset.class_names)}, "data": fingerprint([dataset.train, dataset.validation])}


def search(folder, data_dir, log, until):
    """Train the recipe in `folder` up to the epoch `until`; its best epoch's accuracy on the validation part is the score."""
    from zoo.training import evaluation
    from zoo.training.engine import fit
    recipe = read(folder / "recipe.json")
    with claim(folder, recipe):
        dataset, build = fit.prepare(recipe, data_dir, cache_dir=folder)
        state = fit.train_until(recipe, folder, dataset, build, log, until)
    scores = evaluation.score(state.best_model(build), dataset.validation, dataset.class_names)  # the history's losses are with label smoothing
    return {"score": scores["accuracy"], "val_loss": scores["loss"], "best_epoch": state.best_epoch()["epoch"],
            "epochs": len(state.history), "until": until, "seconds": round(state.seconds, 2)}


def train(folder, data_dir, log):
    """Train the recipe in `folder`, a run directory, to its score on the test part."""
    from zoo.training.engine import fit
    metrics = fit.train(read(folder / "recipe.json"), folder, data_dir, log=log)
    return {key: metrics[key] for key in ("test_accuracy", "test_loss", "test_examples", "best_epoch", "seconds", "seed")}


JOBS = {"check": check, "search": search, "train": train}


def main():
    """Do the job that standard input names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the search, which ends this process
    add_current_folder()
    with quiet_import():
        from zoo.training.engine import fit  # noqa: F401 - while the trial before this one still trains
    line = sys.stdin.readline()
    if not line:
        return
    threading.Thread(target=_end_with_the_search, daemon=True).start()
    job = json.loads(line)
    folder = Path(job.pop("folder"))
    with open(folder / "stderr.txt", "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        answer = {"status": "completed", **JOBS[job.pop("job")](folder, **job)}
    except Exception as error:  # whatever ends a trial is its result
        answer = {"status": "failed", "error": told(error)}
    write(folder / "result.json", json.dumps(answer, indent=2) + "\n")


def told(error):
    """Return an exception as one line: its kind, unless it is a sentence for the user, and its message."""
    message = " ".join(str(error).split())
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}"


def _end_with_the_search():
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
