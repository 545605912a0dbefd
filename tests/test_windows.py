"""The zoo as it runs on Windows, by the stand-in tests/as_windows, and the lines for PowerShell."""
import collections
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.conftest import ROOT
from zoo import catalog

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stands in for Windows on Linux")
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/as_windows"), str(ROOT)]),
    "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C",
    "PYTHONIOENCODING": "cp1252", "PYTHONWARNDEFAULTENCODING": "1",
}
# Several commands in one process, which saves TensorFlow's start. The images go to disk.
COMMANDS = """
import json, sys
from zoo.__main__ import main
from zoo.training.data import cache
cache._MEMORY_SHARE = 0
for command in json.loads(sys.argv[1]):
    if main(command):
        sys.exit(f"{command} failed")
"""
RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)),
            *(f"lpt{n}" for n in range(10))}


def start(folder, *args):
    return subprocess.Popen([sys.executable, *map(str, args)], cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, encoding="cp1252",
                            env={**os.environ, **ENVIRONMENT})


def said(folder, *args):
    process = start(folder, *args)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def zoo(folder, *commands):
    return said(folder, "-c", COMMANDS, json.dumps([list(map(str, each)) for each in commands]))


def check_names(folder):
    """Windows has such names, and none that differ in case alone."""
    for path in folder.rglob("*"):
        name = path.name
        assert not re.search(r'[<>:"|?*\\\x00-\x1f]|[ .]$', name), path
        assert name.partition(".")[0].lower() not in RESERVED, path
    lower = collections.Counter(str(path).lower() for path in folder.rglob("*"))
    assert not [path for path, count in lower.items() if count > 1]


PROBE = """
import os, signal
assert os.name == "nt" and not hasattr(os, "fork") and not hasattr(signal, "SIGKILL")
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    try:
        __import__(name, globals())
    except ModuleNotFoundError:
        pass
    else:
        raise AssertionError(name)
from pathlib import Path
assert Path("folder\\\\file").parent.name == "folder"
Path("folder").mkdir()
for act in (lambda: open("folder/file"), lambda: Path("folder/file").read_text()):
    Path("folder/file").write_bytes(b"")
    try:
        act()
    except EncodingWarning:
        pass
    else:
        raise AssertionError("opened without an encoding")
for name in ("folder/file", "folder"):
    with open("folder/file", "rb"):
        try:
            os.replace(name, "moved")
        except PermissionError:
            pass
        else:
            raise AssertionError("moved while it was open")
os.replace("folder", "moved")
try:
    print("\\u1ead")
except UnicodeEncodeError:
    pass
else:
    raise AssertionError("wrote what cp1252 does not have")
"""


def test_the_stand_in_lacks_what_windows_lacks(tmp_path):
    as_ours = "import sys; exec(sys.argv[1], {'__name__': 'zoo.probe'})"
    said(tmp_path, "-c", as_ours, PROBE)


FILES = """
import os, sys, threading, time
from pathlib import Path
from zoo.errors import UserError
from zoo.training import files, recipes, run_dir

recipe = recipes.get_recipe("lenet5-digits")
for number in range(2):  # a training that wrote no recipe.json leaves nothing
    with run_dir.claim("runs/first", recipe):
        assert os.listdir("runs/first") == [".lock"]
    assert not os.path.exists("runs")
for number in range(2):
    with files.replacing("models/one", force=True) as scratch:
        (scratch / "new/assets").mkdir(parents=True)
        (scratch / "new/assets/card.json").write_bytes(b"%d" % number)
assert os.listdir("models") == ["one"] and os.listdir("models/one/assets") == ["card.json"]
try:
    with files.replacing("models/two"):
        raise UserError("cannot be exported")
except UserError:
    assert os.listdir("models") == ["one"]

from zoo.tuning.subprocess_worker import _cause
assert _cause(-9, None).startswith("The process was ended by SIGKILL, as the system does when ")

files.write("state", "old")
def read_slowly(seconds, reads):
    with open("state", "rb") as file:
        reads.set()
        time.sleep(seconds)
for patience, held, content in ((30, 0.5, b"new"), (0.2, 2, b"new")):
    files._PATIENCE, reads = patience, threading.Event()
    reader = threading.Thread(target=read_slowly, args=[held, reads])
    reader.start()
    reads.wait()
    try:
        files.write("state", "new" if held < patience else "newer")
    except PermissionError:
        assert held > patience
    else:
        assert held < patience
    reader.join()
    assert Path("state").read_bytes() == content and not os.path.exists(".state.tmp")
"""


def test_files_are_locked_replaced_and_deleted(tmp_path):
    said(tmp_path, "-c", FILES)


def test_what_is_printed_without_tensorflow_can_be_encoded(tmp_path):
    catalog.PATH.read_text(encoding="utf-8").encode("cp1252")
    program = ("from zoo.__main__ import cli, main\n"
               "for name in cli.commands: assert main([name, '--help']) == 0\n"
               "assert main(['list']) == main(['recipes']) == 0\n"
               "assert main(['train', 'lenet5-m\\u1ead']) == 2\n")
    out = said(tmp_path, "-c", program)
    assert "resnet50_keras" in out and "\\u" not in out


@pytest.mark.slow
def test_a_killed_training_is_resumed_used_and_exported(tmp_path):
    train = ["train", "lenet5-digits", "--set", "epochs=3", "--run", "runs\\digits"]
    training = start(tmp_path, "-m", "zoo", *train)
    best, checkpoint = (tmp_path / "runs/digits" / name for name in ("best.npz", "checkpoint.npz"))
    while not checkpoint.exists() or not best.exists() or (
            checkpoint.stat().st_mtime < best.stat().st_mtime):  # the first epoch
        assert training.poll() is None, training.communicate()
        time.sleep(0.05)
    training.kill()
    training.communicate()
    out = zoo(tmp_path, train, ["predict", "runs\\digits", "runs\\digits\\curves.png"],
              *[["export", "runs\\digits", "--to", "models\\digits", "--force"]] * 2)
    assert "MB on disk" in out and "epoch 1/3" not in out and "epoch 3/3" in out
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("tmp*"))
    assert (tmp_path / "models/digits/saved_model.pb").exists()
    check_names(tmp_path)


@pytest.mark.slow
def test_labels_that_are_no_file_names(tmp_path):
    labels = ["con", "aux", "a:b", "t\u1ed1t", "<|>"]
    rows = [(f"film {n} was {label} {n % 7}", label) for n in range(20) for label in labels]
    with open(tmp_path / "reviews.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    (tmp_path / "one.txt").write_text("film was t\u1ed1t\n", encoding="utf-8")
    out = zoo(tmp_path, ["doctor", "reviews.csv"],
              ["train", "text_mlp", "--data", "reviews.csv", "--run", "runs\\text", "--epochs",
               "9"],
              ["predict", "runs\\text", "one.txt"], ["evaluate", "runs\\text"],
              ["explain", "runs\\text", "--text", "film was t\u1ed1t"],
              ["export", "runs\\text", "--to", "text", "--formats", "all"],
              ["predict", "text", "one.txt"])
    assert "t\\u1ed1t" in out
    check_names(tmp_path)


@pytest.mark.slow
def test_a_killed_search_is_resumed(tmp_path):
    tune = ["tune", "lenet5-digits", "--trials", "2", "--set", "epochs=1", "--run", "search",
            "--refit", "--repeats", "1"]
    search = start(tmp_path, "-m", "zoo", *tune)
    while not (tmp_path / "search/trials/0000/result.json").exists():
        assert search.poll() is None, search.communicate()
        time.sleep(0.05)
    search.kill()
    search.communicate()
    out = said(tmp_path, "-m", "zoo", *tune)
    assert "trial 1 (2 of 2)  val accuracy" in out
    assert (tmp_path / "search/kept/metrics.json").exists()
    check_names(tmp_path)


@pytest.mark.slow
def test_serve_answers_and_ends_at_an_interrupt(tmp_path):
    zoo(tmp_path, ["export", "lenet5-digits", "--to", "models\\digits"])
    server = start(tmp_path, "-m", "zoo", "serve", "models", "--port", "0")
    address = server.stdout.readline().split(" on ")[1].strip()
    second = start(tmp_path, "-m", "zoo", "serve", "models", "--port", address.rsplit(":")[-1])
    assert "another process uses it" in second.communicate()[1] and second.returncode == 1
    with urllib.request.urlopen(f"{address}/v1/models/digits") as answer:
        assert json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE"
    server.send_signal(signal.SIGINT)
    out, err = server.communicate()
    assert server.returncode == 0 and not err


def test_the_lines_for_powershell_do_what_make_does():
    block = re.search(r"```powershell\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"),
                      re.S)[1]
    made = subprocess.run(["make", "--dry-run", "--always-make", "train", "test", "VENV=.venv",
                           "PYTHON=py"], cwd=ROOT, capture_output=True, check=True,
                          encoding="utf-8").stdout
    lines = [line.replace(".venv/bin/", ".venv\\Scripts\\").replace(
             " --disable-pip-version-check", "") for line in made.splitlines()
             if not line.startswith(("touch", "echo", "make"))]
    assert block.splitlines() == lines and len(lines) == 5
