"""Runs, exports and searches that commit 33c0fa4 made go on, evaluate and predict as they did then.

tests/data/before_rooms holds what that commit wrote, without pictures and TensorBoard events:

interrupted/image
    a run of `zoo train resnet20 --data digits --set input_shape=8,8,1 --set n=1 --set width=3
    --set dropout=0.1 --set limit=600 --set epochs=4 --set optimizer=muon --set learning_rate=0.03
    --set accumulate=2 --set ema=0.9 --set label_smoothing=0.1
    --set augment={"shift":1,"rotate":10,"mixup":0.2}`, which saved its state at every step and got
    SIGKILL after step 65 of 76, in the last epoch, between the two batches of an update
interrupted/text
    a run of `zoo TEXT`, see below, killed likewise after step 14 of 18 of fold 1; fold 0 is done
undisturbed
    the weights, history.csv and trials.csv of the same commands, not killed
finished
    a run of `zoo train mlp --data digits --set input_shape=8,8,1 --set hidden=16 --set limit=400
    --set epochs=8 --set learning_rate=0.01`
exports
    `zoo export` of finished (saved_model,litert,onnx) and of fold 0 (saved_model,onnx)
searches
    `zoo SEARCHES[...]`, see below: interrupted got SIGKILL after epoch 1 of trial 1
inputs
    the sentences of the text runs, and the files for predict
expected.json
    what evaluate and predict printed (--json), and the machine, as same_machine reads it

Machine: Intel(R) Xeon(R) Processor, 2 cores with AVX-512 and AMX; TensorFlow 2.21.0, Keras 3.15.1,
NumPy 2.4.6. Floating-point sums depend on it, so the bits are compared only on such a machine.

The tests use nothing but the command line and files: modules may move, and names of fields too.
"""
import csv
import hashlib
import json
import os
import platform
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "data/before_rooms"
EXPECTED = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
TEXT = """train textcnn --data sentences.csv --folds 2 --set embedding=8 --set filters=4
    --set windows=2,3 --set dropout=0.2 --set epochs=6 --set batch=8 --set minimum_count=2
    --set max_tokens=12 --set learning_rate=0.03 --set validation=0.2 --run text""".split()
RUNS = {"image": ("image", "train --recipe image/recipe.json --run image".split(), 4),
        "text": ("text/fold1", TEXT, 6)}
TUNE = """tune mlp --data digits --set input_shape=8,8,1 --set hidden=16 --set limit=200 --epochs 3
    --run search""".split()
SEARCHES = {"interrupted": [*TUNE, *"--fix depth=1 --fix width=16 --trials 3".split()],
            "finished": [*TUNE, "--space", DATA / "searches/space.py", "--trials", "2"]}


@pytest.fixture
def zoo(zoo_command):
    """Run the command on the CPU; return what it printed."""
    def run(*args):
        done = zoo_command(*args, CUDA_VISIBLE_DEVICES="-1")
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run


def copy(source, to):
    """Copy a directory of the data; write sentences.csv's absolute path, as `zoo train` does."""
    shutil.copytree(DATA / source, to)
    sentences = shutil.copy(DATA / "inputs/sentences.csv", to.parent)
    for file in to.rglob("*.json"):
        text = file.read_text().replace('"sentences.csv"', json.dumps(str(sentences)))
        file.write_text(text)


def same_machine():
    """Return whether this machine has the processor and the versions that made the data."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    flags = sorted(flag for flag in processor["flags"].split() if flag[:3] in ("amx", "avx", "fma"))
    return EXPECTED["machine"] == {
        "processor": processor["model name"], "instructions": " ".join(flags),
        "cores": len(os.sched_getaffinity(0)),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy")}}


def arrays(file):
    with np.load(file) as opened:
        return {name: opened[name] for name in opened if name != "meta"}


def digest(file):
    """Return the SHA-256 of all arrays of an .npz file, in the order of their names."""
    result = hashlib.sha256()
    for _, array in sorted(arrays(file).items()):
        result.update(array.tobytes())
    return result.hexdigest()


def epochs_done(checkpoint):
    with np.load(checkpoint) as opened:
        return len(json.loads(str(opened["meta"]))["history"])


def rows(file):
    """Return the rows of a CSV file below its head, whose names may change."""
    return list(csv.reader(file.read_text().splitlines()))[1:]


@pytest.mark.parametrize("kind", ["image", pytest.param("text", marks=pytest.mark.slow)])
def test_an_interrupted_run_goes_on(zoo, tmp_path, kind):
    folder, command, epochs = RUNS[kind]
    copy(f"interrupted/{kind}", tmp_path / kind)
    run, whole = tmp_path / folder, DATA / "undisturbed" / kind
    expected, recipe = EXPECTED["undisturbed"][kind], json.loads((run / "recipe.json").read_text())
    done = epochs_done(run / "checkpoint.npz")
    finished = {file: file.read_bytes() for file in tmp_path.glob("text/fold0/*")}
    printed = zoo(*command)

    assert f"epoch {epochs}/{epochs}" in printed and f"epoch 1/{epochs}" not in printed
    assert all(file.read_bytes() == before for file, before in finished.items())
    again = json.loads((run / "recipe.json").read_text())
    same = recipe.keys() & again.keys()  # some fields may have new names
    assert {"name", "model", "data", "model_args", "epochs", "seed"} <= same
    assert all(again[name] == recipe[name] for name in same)
    history, undisturbed = rows(run / "history.csv"), rows(whole / "history.csv")
    assert 0 < done < epochs == len(history) and history[:done] == undisturbed[:done]
    weights, others = arrays(run / "best.npz"), arrays(whole / "best.npz")
    assert weights.keys() == others.keys()
    tolerance = 0 if same_machine() else 1e-4
    for name, other in others.items():
        np.testing.assert_allclose(weights[name], other, rtol=tolerance,
                                   atol=tolerance * np.abs(other).max(), err_msg=name)
    if same_machine():
        assert history == undisturbed
        assert digest(run / "checkpoint.npz") == expected["checkpoint"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epochs"] == epochs
    assert abs(metrics["test_accuracy"] * metrics["test_examples"] - expected["correct"]) < 2.5


@pytest.mark.parametrize("kind, source", [
    ("image", "finished"), pytest.param("text", "interrupted/text", marks=pytest.mark.slow)])
def test_a_finished_run_evaluates_alike(zoo, tmp_path, kind, source):
    copy(source, tmp_path / "run")
    scores = json.loads(zoo("evaluate", "run/fold0" if kind == "text" else "run", "--json"))
    expected = EXPECTED["evaluate"][kind]
    assert {name: scores[name] for name in expected} == {
        name: pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
        for name, value in expected.items()}


@pytest.mark.parametrize("kind, model, package", [
    pytest.param("image", "finished", None, marks=pytest.mark.slow),
    pytest.param("image", "exports/image", None, marks=pytest.mark.slow),
    ("image", "exports/image/model.tflite", "ai_edge_litert"),
    ("image", "exports/image/model.onnx", "onnxruntime"),
    pytest.param("text", "interrupted/text/fold0", None, marks=pytest.mark.slow),
    ("text", "exports/text", None),
    pytest.param("text", "exports/text/model.onnx", "onnxruntime", marks=pytest.mark.slow),
])
def test_runs_and_exports_predict_alike(zoo, kind, model, package):
    if package:
        pytest.importorskip(package, reason="pip install '.[litert,onnx]'")
    files = sorted((DATA / "inputs").glob({"image": "*.png", "text": "lines.txt"}[kind]))
    expected = EXPECTED["predict"][kind]
    top = max(row["rank"] for row in expected)
    answers = json.loads(zoo("predict", DATA / model, *files, "--top", top, "--json"))
    if kind == "text":
        sentences = (DATA / "inputs/lines.txt").read_text(encoding="utf-8").splitlines()
        expected = [{**row, "text": sentences[row["line"] - 1]} for row in expected]
    assert [{**row, "file": Path(row["file"]).name} for row in answers] == [
        {**row, "probability": pytest.approx(row["probability"], abs=1e-6)} for row in expected]


@pytest.mark.parametrize(
    "name", ["interrupted", pytest.param("finished", marks=pytest.mark.slow)])
def test_a_search_goes_on_and_repeats_no_trial(zoo, tmp_path, name):
    copy(f"searches/{name}", tmp_path / "search")
    before = rows(tmp_path / "search/trials.csv")
    results = tmp_path.glob("search/trials/*/result.json")
    finished = {file: file.stat().st_mtime_ns for file in results}
    printed = zoo(*SEARCHES[name])

    assert len(finished) == len(before) == {"interrupted": 1, "finished": 2}[name]
    assert printed.count("epoch 1/3") == {"interrupted": 1, "finished": 0}[name]  # of trial 2
    assert all(file.stat().st_mtime_ns == time for file, time in finished.items())
    assert not any((file.parent / "best.npz").exists() for file in finished)
    trials = rows(tmp_path / "search/trials.csv")
    assert trials[:len(before)] == before
    if name == "interrupted":
        check_trials(trials[1:])
    else:
        assert len(trials) == len(before)


def check_trials(trials):
    """Compare the rows of trials 1 and 2 with those of the search that was not interrupted."""
    head, _, *undisturbed = csv.reader(
        (DATA / "undisturbed/search/trials.csv").read_text().splitlines())
    rounded = {} if same_machine() else {"score": 0.02, "val_loss": 1e-3, "best_epoch": 3}
    for trial, expected in zip(trials, undisturbed, strict=True):
        for column, value, other in zip(head, trial, expected, strict=True):
            if column in rounded:
                assert float(value) == pytest.approx(float(other), abs=rounded[column]), column
            elif column != "seconds":
                assert value == other, column
