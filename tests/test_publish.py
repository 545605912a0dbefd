"""An export that is killed, interrupted or short of disk space leaves no incomplete folder."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from zoo.errors import UserError
from zoo.training import files
from zoo.training.deployment import exporter

EXPORT = """
import sys
from zoo.training.deployment import exporter
exporter.export(sys.argv[1], sys.argv[2], force=True)
"""


def started(run, to, **options):
    return subprocess.Popen(
        [sys.executable, "-c", EXPORT, run, to],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_kills_leave_the_old_export_whole(finished_run, tmp_path):
    to = tmp_path / "model"
    exporter.export(finished_run, to)
    before = contents(to)
    for moment in (
        ".model.tmp/new",
        ".model.tmp/new/saved_model.pb",
        ".model.tmp/saved_model-checked",
    ):
        process = started(finished_run, to)
        wait_for(tmp_path / moment, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert contents(to) == before, moment
    exporter.export(finished_run, to, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(finished_run, tmp_path):
    process = started(finished_run, tmp_path / "model")
    wait_for(tmp_path / ".model.tmp/saved_model-checked", process)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate()[1]
    assert process.returncode == -signal.SIGINT and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "limit", "where"),
    [
        ("lenet5-digits", 100_000, "saved_model.pb"),
        pytest.param(
            "textcnn-uit_vsfc", 300_000, "variables.data.*", marks=pytest.mark.slow
        ),
    ],
)
def test_a_full_disk_leaves_nothing_and_is_told(tmp_path, name, limit, where):
    """A limit on the size of a file stands for a full disk."""
    resource = pytest.importorskip("resource", reason="no limit of file sizes here")
    process = started(name, tmp_path / "sub/model",
                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    said = process.communicate()[1].splitlines()[-1]
    assert re.fullmatch(
        f".*UserError: Cannot write [^ ]*/sub/model: [^ ]*{where}; File too large.", said
    )
    assert not list(tmp_path.iterdir())


SWAP = """
import os, signal, sys
from pathlib import Path
from zoo.training import files
rename = os.replace
def dying(*args):
    rename(*args)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = dying
with files.replacing(sys.argv[1], force=True) as scratch:
    (scratch / "new").mkdir()
"""


def test_a_kill_between_the_two_renames_is_mended(tmp_path):
    to = tmp_path / "model"
    (to / "assets").mkdir(parents=True)
    (to / "assets/card.json").write_text("old")
    killed = subprocess.run(
        [sys.executable, "-c", SWAP, to], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert killed.returncode == -signal.SIGKILL and not to.exists()
    with pytest.raises(UserError, match="exists. Choose another directory"), files.replacing(to):
        pass
    assert (to / "assets/card.json").read_text() == "old" and [
        path.name for path in tmp_path.iterdir()
    ] == ["model"]


def test_only_an_export_is_replaced_and_by_one_process(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("mine")
    with pytest.raises(UserError, match="home is not an export, and nothing else is replaced"):
        with files.replacing(tmp_path / "home", force=True):
            pass
    with pytest.raises(UserError, match="^/ exists. Choose another"), files.replacing("/"):
        pass
    with files.replacing(tmp_path / "model") as scratch:
        (scratch / "new").mkdir()
        with (
            pytest.raises(UserError, match="Another process is writing"),
            files.replacing(tmp_path / "model"),
        ):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "model"]
