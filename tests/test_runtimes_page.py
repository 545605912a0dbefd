"""docs/runtimes.md: each block labels the same digit, in its own runtime."""
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.test_serve import serving

PAGE = (ROOT / "docs/runtimes.md").read_text(encoding="utf-8")
BLOCKS = {title.strip(): (kind, code) for title, kind, code in re.findall(
    r"^## (.*?)$.*?^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with digit.png and the export that the page begins with."""
    pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")
    pytest.importorskip("ai_edge_litert", reason="pip install '.[litert]'")
    from zoo.training.data.dataset import load_data
    folder = tmp_path_factory.mktemp("page")
    test = load_data("digits", (32, 32, 1)).test
    number = int(np.flatnonzero(test.labels == 7)[0])
    Image.fromarray(test.examples[number, :, :, 0]).save(folder / "digit.png")
    command = re.search("^zoo (export .*)$", PAGE, re.M)[1].split()
    subprocess.run([sys.executable, "-m", "zoo", *command], cwd=folder, check=True,
                   env=environment(), capture_output=True)
    return folder


def environment():
    import os
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def output(folder, *command):
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("title", [title for title, (kind, _) in BLOCKS.items()
                                   if kind == "python"])
def test_python(folder, title):
    assert output(folder, sys.executable, "-c", BLOCKS[title][1]) == "7"


@pytest.fixture(scope="module")
def node(folder):
    """The folder, with the packages that the page installs; their scripts fetch GPU libraries."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    names = sorted(set(" ".join(re.findall("`npm install (.*?)`", PAGE)).split()))
    done = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", *names], cwd=folder,
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot install {names}")
    return folder


@pytest.mark.parametrize("title", [title for title, (kind, _) in BLOCKS.items() if kind == "js"])
def test_javascript(node, title):
    (node / "block.mjs").write_text(BLOCKS[title][1], encoding="utf-8")
    assert output(node, "node", "block.mjs") == "7"


def test_c(folder):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    (folder / "digit.c").write_text(BLOCKS["C, TensorFlow"][1], encoding="utf-8")
    commands = re.search(r"^    tf=.*?^    \./digit.*?$", PAGE, re.M | re.S)[0]
    commands = commands.replace("(python ", f"({sys.executable} ")
    assert output(folder, "bash", "-ec", commands) == "7"


def test_curl(folder):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    with serving(folder / "digits") as (address, _):
        code = BLOCKS["curl"][1].replace("http://127.0.0.1:8501", address)
        (row,) = json.loads(output(folder, "bash", "-c", code))["predictions"]
    assert row["label"] == "7"


def test_every_block_is_run():
    assert {kind for kind, _ in BLOCKS.values()} == {"python", "js", "c", "sh"} and len(BLOCKS) == 9
