"""The README tells the truth: its commands run, its Python runs, its numbers are the recorded ones."""
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from tests.conftest import ROOT
from zoo import catalog
from zoo.training.results import record

TEXT = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
# Several commands in one process: TensorFlow's start is paid once.
TOGETHER = """
import shlex, sys
from zoo.__main__ import main
for line in sys.argv[1:]:
    if main(shlex.split(line)[1:]):
        sys.exit(line)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder with what the README supposes: a digit, the example's module, and `zoo` on the path."""
    folder = tmp_path_factory.mktemp("newcomer")
    digit = tf.cast(load_digits().images[0] * 15, tf.uint8)[..., None]
    (folder / "digit.png").write_bytes(tf.io.encode_png(digit).numpy())
    for n in range(24):
        picture = tf.cast(tf.random.stateless_uniform((28, 28, 3), (n, 0), 0, 255), tf.uint8)
        photo = folder / "photos" / ("cat", "dog")[n % 2] / f"{n}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(tf.io.encode_jpeg(picture).numpy())
    rows = [f"the film was {('poor', 'fine')[n % 2]},{('bad', 'good')[n % 2]}" for n in range(60)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *(f"number {n} {row}" for n, row in enumerate(rows))]))
    (folder / "sentences.txt").write_text("a fine film\na poor film\n")
    (folder / "my_nets.py").write_text(next(block for block in PYTHON if "my_nets.py" in block))
    return folder


def run(line, folder, **environment):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs this
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True,
                          env={**outside, "PATH": path, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def together(lines, folder, **environment):
    run(shlex.join([sys.executable, "-c", TOGETHER, *lines]), folder, **environment)


def test_the_zoo_commands_run_in_the_order_they_are_told(folder):
    """With one trial of one epoch for a search, whose trials are processes of their own."""
    assert shutil.which("zoo", path=Path(sys.executable).parent), "install the project first: make test does"
    lines = [line.replace("--trials 3 --epochs 2", "--trials 1 --epochs 1") for line in COMMANDS
             if line.startswith("zoo ") and "mnist" not in line]  # those are below
    together(lines, folder)
    assert "label" in run("zoo predict saved_models/lenet5-digits digit.png", folder)


def test_the_mnist_commands_run(folder, mnist_dir):
    """On 2,000 images, for an epoch."""
    short = " --epochs 1 --set max_train_examples=2000"
    lines = [line.replace("~/tensorflow_datasets", mnist_dir) for line in COMMANDS if "mnist" in line]
    together([line if "--recipe" in line else line.replace("--epochs 5", "") + short for line in lines], folder,
             TFDS_DATA_DIR=mnist_dir)


def test_a_builder_is_found_beside_files_of_our_names(tmp_path):
    (tmp_path / "my_nets.py").write_text(next(block for block in PYTHON if "my_nets.py" in block))
    (tmp_path / "zoo").mkdir()
    for ours in ("training", "tuning"):
        (tmp_path / f"{ours}.py").write_text("raise ImportError('not this one')")
    run("zoo tune my_nets:linear --data digits --trials 1 --epochs 1 --run search", tmp_path)
    assert (tmp_path / "search/best.json").exists()


@pytest.mark.parametrize("number", [i for i, block in enumerate(PYTHON) if "my_nets.py" not in block])
def test_the_python_runs(folder, number):
    if "saved_models/lenet5-digits" in PYTHON[number] and not (folder / "saved_models/lenet5-digits").exists():
        run("zoo train lenet5-digits --epochs 1 --run runs/short && zoo export runs/short --to saved_models/lenet5-digits",
            folder)
    run(f"{sys.executable} -c '{PYTHON[number]}'", folder)


def test_make_train_ends_with_the_accuracy_and_the_next_command(tmp_path):
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("this environment was not set up by make")
    said = run(f"make train VENV={sys.prefix} RUN={tmp_path}/run TO={tmp_path}/model", ROOT)
    accuracy = float(re.search(r"test accuracy ([\d.]+)", said)[1])
    assert accuracy >= 0.97
    assert said.splitlines()[-1] == f"Next: zoo predict {tmp_path}/model FILE"


def test_make_knows_what_is_told_of_it():
    for line in (line for line in COMMANDS if line.startswith("make ")):
        run(f"{line} --dry-run", ROOT)


def test_the_results_are_the_recorded_ones():
    """If this fails: python -m zoo.training.results.record."""
    assert record.readme(TEXT) == TEXT


def test_the_networks_are_those_of_the_catalogue():
    """If this fails: make models."""
    assert catalog.readme(TEXT) == TEXT and "| lenet5 | 61,706 | 416,520 | 32x32x1 |" in TEXT


def test_every_file_named_in_the_tree_exists():
    tree = re.search(r"## What is where\n\n```\n(.*?)```", TEXT, re.S)[1]
    parent = ROOT
    for line in tree.splitlines():
        names = re.split(r" {2,}", line.strip())[0]
        if not line.startswith(" "):
            parent = ROOT / names
            assert parent.is_dir(), names
        else:
            for name in re.split(r",? ", names):
                assert name == "..." or (parent / name).exists(), f"{parent}/{name}"
