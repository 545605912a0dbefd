"""TensorFlow uses oneDNN where the zoo trains, unless the user or an interrupted run says no."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from zoo import startup
from zoo.startup import ONEDNN
from zoo.training import recipes
from zoo.training.engine.manifest import write_or_check_manifest
from zoo.training.run_dir import started_with_onednn

pytestmark = pytest.mark.skipif(
    startup.platform.machine() not in startup._ONEDNN_MACHINES, reason="chosen on x86 only"
)

# Ends a process where TensorFlow's import begins, with the setting that it would read.
PROBE = f"""
import os, sys
class Probe:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print(os.environ.get({ONEDNN!r}), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Probe())
"""
COMMAND = PROBE + "from zoo.__main__ import main\nsys.exit(main())"
COMMANDS = {
    "train": ("lenet5-digits", "1"),
    "tune": ("lenet5-digits", "1"),
    "evaluate": ("lenet5-digits", "1"),
    "predict": ("lenet5-digits digit.png", "1"),
    "explain": ("lenet5-digits", "1"),
    "doctor": ("digits", "1"),
    "export": ("lenet5-digits", ""),  # as TensorFlow Serving runs it
    "serve": (".", ""),  # one image is slower with oneDNN
    "info": ("lenet5", "None"),
    "draw": ("lenet5 -o lenet5.svg", "None"),
    "publish": (f"{ROOT}/tests/data/before_rooms/finished hf://me/net", "1"),
}
WITHOUT_TENSORFLOW = {"list", "recipes"}


def at_import(program, folder, *args, **environment):
    """Return $TF_ENABLE_ONEDNN_OPTS as `program` has it when it imports TensorFlow."""
    outside = {name: value for name, value in os.environ.items() if name != ONEDNN}
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**outside, "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n").rpartition("\n")[2]  # after what the command says


def test_each_command_chooses_before_tensorflow_is_imported(tmp_path):
    from zoo.__main__ import cli

    assert COMMANDS.keys() | WITHOUT_TENSORFLOW == cli.commands.keys()
    (tmp_path / "saved_model.pb").touch()  # for serve
    (tmp_path / "digit.png").touch()  # for predict
    for name, (args, expected) in COMMANDS.items():
        port = ["--port", "0"] if name == "serve" else []
        args = [name, *args.split(), *port]
        assert at_import(COMMAND, tmp_path, *args) == expected, name
    assert at_import(COMMAND, tmp_path, "train", "lenet5-digits", **{ONEDNN: "0"}) == "0"


@pytest.mark.parametrize("module", ["zoo.training", "zoo.tuning", "zoo.training.results.rerun"])
def test_the_packages_choose_before_tensorflow_is_imported(module, tmp_path):
    program = f"{PROBE}import {module}\nimport tensorflow"
    assert at_import(program, tmp_path) == "1"
    assert at_import(program, tmp_path, **{ONEDNN: "0"}) == "0"


@pytest.mark.parametrize("onednn, expected", [(False, "0"), (True, "1"), (None, "")])
def test_train_resumes_with_the_setting_that_the_run_began_with(onednn, expected, tmp_path):
    run = tmp_path / "runs/lenet5-digits"
    run.mkdir(parents=True)
    manifest = {} if onednn is None else {"onednn": onednn}  # version 0.1 had no entry
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "recipe.json").write_text(recipes.RECIPES["lenet5-digits"].to_json())
    assert at_import(COMMAND, tmp_path, "train", "lenet5-digits") == expected
    folds = run / "fold0"
    folds.mkdir()
    shutil.move(run / "manifest.json", folds)
    assert started_with_onednn(run) is onednn


def test_a_run_records_the_setting_and_says_that_another_one_changes_bits(
    finished_run, tmp_path, monkeypatch
):
    made = json.loads((finished_run / "manifest.json").read_text())
    assert made["onednn"] == startup.uses_onednn()
    lines = []
    write_or_check_manifest(tmp_path, made, lines.append)
    write_or_check_manifest(tmp_path, made, lines.append)
    assert not lines
    write_or_check_manifest(tmp_path, {**made, "onednn": not made["onednn"]}, lines.append)
    assert len(lines) == 1 and "onednn" in lines[0] and "not be bit-identical" in lines[0]

    old = {name: value for name, value in made.items() if name != "onednn"}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    monkeypatch.setenv(ONEDNN, "")  # TensorFlow's default, as in version 0.1
    write_or_check_manifest(tmp_path, made, lines.append)
    assert len(lines) == 1
    monkeypatch.setenv(ONEDNN, "1")
    write_or_check_manifest(tmp_path, made, lines.append)
    assert len(lines) == 2


def test_training_says_that_it_came_after_tensorflow(tmp_path):
    program = "import tensorflow as tf, zoo.startup, zoo.training\nprint(zoo.startup.uses_onednn())"
    outside = {name: value for name, value in os.environ.items() if name != ONEDNN}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env=outside
    )
    lines = [line for line in done.stderr.splitlines() if "import zoo.training first" in line]
    assert len(lines) == (done.stdout == "False\n")  # processors with VNNI use it by default


def test_another_process_is_given_the_setting_unless_the_user_has_one(monkeypatch):
    for users, on, expected in (
        (None, True, "1"),
        (None, False, "0"),
        (None, None, ""),
        ("0", True, None),
    ):
        monkeypatch.setattr(startup, "_USERS_CHOICE", users)
        environment = {}
        startup.choose_onednn(on, environment)
        assert environment.get(ONEDNN) == expected


@pytest.mark.slow
def test_a_search_keeps_the_setting_that_it_began_with(tmp_path, monkeypatch):
    from zoo.tuning.subprocess_worker import Worker

    monkeypatch.setattr(startup, "_USERS_CHOICE", None)
    (tmp_path / "search.json").write_text('{"onednn": false}')
    recipe = recipes.get_recipe("mlp", "digits")
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    with Worker(None, False, started_with_onednn(tmp_path)) as worker:
        assert worker.check(tmp_path)["onednn"] is False
