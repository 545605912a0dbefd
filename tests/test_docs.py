"""The pages in docs/ tell the truth: their commands and Python run in the order they stand in, from an empty folder."""
import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys

import keras
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.conftest import ROOT
from tests.test_readme import TOGETHER, run
from zoo import weights

PAGES = {file.name: file.read_text() for file in sorted((ROOT / "docs").glob("*.md"))}
SLOW = ("ten-minutes.md",)
# A search takes a process a trial; every training without --epochs gets one epoch.
SHORTER = {"--trials 4 --epochs 5": "--trials 1 --epochs 1", "--trials 2": "--trials 1"}
FILE = r"# (\w+\.py)\n"
TOLD = r"^print\(.*\)  # (.*)$"  # what a line of Python prints stands beside it


def blocks(text):
    """[("sh", line) or ("python", code)] in the order of the page."""
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", text, re.S):
        yield from ((kind, line) for line in block.splitlines()) if kind == "sh" else [(kind, block)]


def steps(text, port):
    """What to run: shell lines, files to write, and lists of `zoo` commands or of Python that share a process.

    Sharing saves TensorFlow's start.
    """
    together, shared = [], None
    for kind, code in blocks(text):
        for long, short in {**SHORTER, "8501": str(port)}.items():
            code = code.replace(long, short)
        code += " --epochs 1" * (code.startswith("zoo train") and "--epochs" not in code)
        if kind == "python" and re.match(FILE, code):
            kind = "file"
        elif kind == "sh" and code.startswith("zoo ") and not code.startswith(("zoo tune", "zoo serve")):
            kind = "zoo"
        if kind != shared and together:
            yield shared, together
            together = []
        shared = kind
        if kind in ("zoo", "python"):
            together.append(code)
        else:
            yield kind, code
    if together:
        yield shared, together


@contextlib.contextmanager
def in_the_background(line, folder):
    """Run a server until the page ends; yields once it has said that it serves."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(shlex.split(line), cwd=folder, env={**os.environ, "PATH": path}, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline().startswith("Serving "), server.stderr.read()
            yield
        finally:
            server.kill()


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in PAGES])
def test_a_page_runs_as_it_stands(page, tmp_path):
    Image.fromarray((load_digits().images[0] * 15).astype("uint8")).save(tmp_path / "digit.png")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    with contextlib.ExitStack() as servers:
        for kind, code in steps(PAGES[page], port):
            if kind == "zoo":
                run(shlex.join([sys.executable, "-c", TOGETHER, *code]), tmp_path)
            elif kind == "file":
                (tmp_path / re.match(FILE, code)[1]).write_text(code)
            elif kind == "python":
                said = run(shlex.join([sys.executable, "-c", "\n".join(code)]), tmp_path)
                assert said.splitlines() == re.findall(TOLD, "\n".join(code), re.M)
            elif code.startswith("zoo serve"):
                servers.enter_context(in_the_background(code, tmp_path))
            else:
                run(code, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)", PAGES[page]):
        assert link.startswith("http") or (ROOT / "docs" / link).exists(), link
    for path in re.findall(r"`((?:zoo|training|tests|saved_models)/[\w./]+)`", PAGES[page]):
        assert path.startswith("saved_models/") or (ROOT / path).exists(), path


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert PAGES and all(f"(docs/{page})" in text for page in PAGES)


def test_the_migration_table_is_complete_and_true():
    rows = re.findall(r"\| `(\w+)\(.*?\)` \| `zoo\.build\(\"(\w+)\"", PAGES["from-keras-applications.md"])
    assert {ours: theirs for theirs, ours in rows} == {
        ours: theirs for ours, (theirs, _) in weights.KERAS_APPLICATIONS.items()}
    absent = re.search(r"without `_keras`.*?says so\. (.*?) are not here", PAGES["from-keras-applications.md"], re.S)[1]
    known = "".join(rows[0] for rows in rows) + absent.replace("-", "")
    for network in (name for name in dir(keras.applications) if name[0].isupper()):
        family = re.match(r"Xception|InceptionResNet|ResNet\d+(?=V2)|NASNet|EfficientNet|ConvNeXt|MobileNetV3|\w+", network)[0]
        family = "ResNetV2" if network.startswith("ResNet") and network.endswith("V2") else family
        assert family in known, network
