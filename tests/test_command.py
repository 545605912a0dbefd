"""The zoo command as a person types it."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from zoo.__main__ import cli, main
from zoo.startup import INTERRUPTED


@pytest.mark.parametrize("args", [["--help"], ["list"]])
def test_it_answers_at_once(zoo_command, args):
    """In 0.3 s; of processor time, as other tests share the machine."""
    def seconds():
        before = os.times()
        assert zoo_command(*args).returncode == 0
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # of child processes
    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("name", ["", *cli.commands])
def test_every_command_has_help_with_an_example(zoo_command, name):
    help_text = zoo_command(*name.split(), "--help").stdout
    assert "Example:" in help_text and f"zoo {name}".strip() in help_text


MISTAKES = [
    (["recipes", "lenet6-mnist"], 2, "Unknown recipe 'lenet6-mnist'. Did you mean 'lenet-mnist'?"),
    (["trian"], 2, "Unknown command 'trian'. Did you mean 'train'?"),
    (["train", "nosuch"], 2, "Unknown recipe 'nosuch'. Known: "),
    (["train", "lenet-mnits"], 2, "Did you mean 'lenet-mnist'?"),
    (["train"], 2, "Name a recipe"),
    (
        ["train", "lenet5-digits", "--set", "epochs=abc"],
        2,
        "epochs must be a whole number. Received: 'abc'.",
    ),
    (
        ["train", "lenet5-digits", "--epochs", "many"],
        2,
        "epochs must be a whole number. Received: 'many'.",
    ),
    (
        ["train", "lenet5-digits", "--precision", "float16"],
        2,
        "Unknown precision 'float16'. Did you mean 'mixed_float16'?",
    ),
    (["train", "nosuch", "--data", "digits"], 2, "Unknown model 'nosuch'."),
    (
        ["train", "lenet5-digits", "--run", "/proc/self/run"],
        1,
        "Cannot write the run directory /proc/self/run: ",
    ),
    (["train", "lenet5-mnist", "--data-dir", "empty"], 1, "could not be downloaded"),
    (
        ["train", "--recipe", "gone.json"],
        2,
        "Cannot read the recipe gone.json: No such file or directory.",
    ),
    (
        ["train", "lenet5-digits", "--set", "input_shape=32"],
        2,
        "input_shape must be height, width and 1 or 3 channels.",
    ),
    (
        ["train", "lenet5-digits", "--set", "input_shape=(-32, 32, 1)"],
        2,
        "input_shape must be positive whole numbers.",
    ),
    (
        ["tune", "lenet5-digits", "--fix", "batch"],
        2,
        "--fix must be name=value, such as batch_size=64. Received: 'batch'.",
    ),
    (["info", "lenet5", "--set", "classes=-1"], 2, "lenet5 cannot be built with {'classes': -1}: "),
    (["info", "lenet9"], 2, "Unknown model 'lenet9'."),
    (["info", "lenet5", "--set", "clases=2"], 2, "Did you mean 'classes'?"),
    (["list", "zzz*"], 2, "Unknown model 'zzz*'."),
    (
        ["list", "vgg*", "--max-params", "1000"],
        2,
        "No model 'vgg*' has at most 1,000 params; the smallest has 132,863,336.",
    ),
    (["evaluate", "nowhere"], 1, "nowhere is not a run directory"),
    (["predict", "nowhere", "digit.png"], 1, "nowhere is not a run directory"),
    (["export", "nowhere"], 1, "nowhere is not a run directory"),
    (["export"], 2, "Missing argument 'RUN|NAME'"),
]


@pytest.mark.parametrize(
    "args, code, words", MISTAKES, ids=[" ".join(mistake[0]) for mistake in MISTAKES]
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    args, code, words, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # no network
    assert main(args) == code
    out, err = capfd.readouterr()
    assert words in err and len(err.splitlines()) == 1, err
    assert not out and not list(tmp_path.iterdir())


def test_tensorflows_start_up_lines_stay_out_of_the_answer(zoo_command):
    answer = zoo_command("train", "lenet5-digits", "--set", "epochs=abc")
    assert (
        answer.stderr == "zoo: epochs must be a whole number. Received: 'abc'.\n"
        and answer.returncode == 2
    )


@pytest.mark.parametrize(
    "command",
    [
        "train lenet5-digits",
        "evaluate lenet5-digits",
        "predict lenet5-digits digit.png",
        "export lenet5-digits",
        "explain lenet5-digits",
        "tune lenet5-digits",
        "doctor .",
        "info lenet5",
    ],
)
def test_another_backend_is_refused_before_anything_is_done(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert main(command.split()) == 1
    assert (
        capfd.readouterr().err
        == "zoo: The zoo command needs Keras on TensorFlow. Received: KERAS_BACKEND=torch.\n"
    )
    assert not list(tmp_path.iterdir())


def test_an_answer_that_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        said = subprocess.run(
            [sys.executable, "-m", "zoo", "list"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (said.returncode, said.stderr) == (
        1,
        "zoo: Cannot write the output: No space left on device.\n",
    )


def test_tensorflow_still_needs_to_be_kept_quiet():
    """If this fails, `quiet` is no longer needed."""
    loud = subprocess.run(
        [sys.executable, "-c", "import tensorflow"],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert loud.stderr


def test_tensorflow_is_imported_quietly_and_garbage_is_collected_afterwards():
    program = (
        "import gc\nfrom zoo.startup import quiet_import\n"
        "with quiet_import():\n    import tensorflow\n"
        "print(gc.isenabled(), gc.get_freeze_count())"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    enabled, frozen = said.stdout.split()
    assert enabled == "True" and int(frozen) > 100_000 and not said.stderr


def test_train_evaluate_predict_and_export_from_an_empty_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def said(*args):
        assert main(list(args)) == 0
        out, err = capfd.readouterr()
        assert not err
        return out
    trained = said("train", "lenet5-digits", "--epochs", "1", "--set", "batch_size=128")
    assert trained.splitlines()[0] == "1,797 images of 32x32x1: 1.8 MB in memory"
    assert trained.splitlines()[1].startswith("epoch 1/1  accuracy ")
    assert trained.splitlines()[-1] == "Next: zoo export runs/lenet5-digits"
    scores = json.loads(said("evaluate", "runs/lenet5-digits", "--json"))
    assert f"test accuracy {scores['accuracy']:.4f} on 360 examples" in trained
    assert (
        said("export", "runs/lenet5-digits").splitlines()[-1]
        == "Next: zoo predict saved_models/lenet5-digits FILE"
    )
    told = [json.loads(said("predict", model, "runs/lenet5-digits/curves.png", "--json"))[0]
            for model in ("runs/lenet5-digits", "saved_models/lenet5-digits")]
    assert (
        told[0]["label"] == told[1]["label"]
        and abs(told[0]["probability"] - told[1]["probability"]) < 1e-5
    )


@pytest.mark.parametrize("seconds", [0.0, pytest.param(1.5, marks=pytest.mark.slow)])
def test_an_interrupt_is_one_line_and_the_same_command_goes_on(tmp_path, seconds):
    command = [sys.executable, "-m", "zoo", "train", "lenet5-digits", "--epochs", "10"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        training.stdout.readline()  # the data is read; the graph is traced next
        time.sleep(seconds)
        training.send_signal(signal.SIGINT)
        error = training.stderr.read()
    assert (training.returncode, error.strip()) == (130, f"zoo: {INTERRUPTED}")
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and "epoch 10/10" in again.stdout


@pytest.mark.slow
def test_a_run_is_repeated_from_its_recipe_file(zoo_command, finished_run, tmp_path):
    again = zoo_command(
        "train", "--recipe", finished_run / "recipe.json", "--run", tmp_path / "again", "--json"
    )
    first = json.loads((finished_run / "metrics.json").read_text())
    second = json.loads(again.stdout)
    assert (second["test_loss"], second["test_confusion"]) == (
        first["test_loss"],
        first["test_confusion"],
    )


def test_doctor_tells_of_a_broken_file_and_sets_it_aside(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for n in range(12):
        photo = tmp_path / "photos" / ("cat", "dog")[n % 2] / f"{n}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), 10 * n, "uint8")).save(photo)
    photo.write_bytes(photo.read_bytes()[:50])
    assert main(["doctor", "photos", "--json"]) == 1
    told = json.loads(capfd.readouterr().out)
    assert told["errors"] == 1 and told["findings"][0]["files"] == ["photos/dog/11.png"]
    assert main(["doctor", "photos", "--move-bad", "bad"]) == 1
    assert (tmp_path / "bad/dog/11.png").exists() and not photo.exists()
    assert main(["doctor", "photos"]) == 0


def test_a_broken_file_stops_a_training_before_it_starts(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for n in range(40):
        photo = tmp_path / "photos" / ("cat", "dog")[n % 2] / f"{n}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28, 3), 5 * n, "uint8")).save(photo)
    photo.write_bytes(photo.read_bytes()[:50])
    assert main(["train", "simple_cnn", "--data", "photos", "--epochs", "1"]) == 1
    assert "39.png cannot be decoded" in capfd.readouterr().err and not (tmp_path / "runs").exists()
    assert main(["train", "simple_cnn", "--data", "photos", "--epochs", "1", "--skip-bad"]) == 0
    assert "1 files that cannot be decoded are left out" in capfd.readouterr().out
