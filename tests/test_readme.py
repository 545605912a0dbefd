"""The README and the pages in docs/ run as they stand: each page in order, from an empty folder."""

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.conftest import ROOT
from tests.imagenet_stand_in import prepare
from zoo import catalog, weights
from zoo.training.results import record

PAGES = {
    "README.md": (ROOT / "README.md").read_text(encoding="utf-8"),
    **{
        file.name: file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").glob("*.md"))
    },
}
SLOW = (
    "README.md",
    "add-a-data-set.md",
    "from-pytorch.md",
    "from-keras-applications.md",
    "large-data.md",
    "from-timm.md",
    "from-torchvision.md",
    "python.md",
    "ten-minutes.md",
)
OTHERS = ("add-a-network.md", "runtimes.md")  # which tests of their own run
# The pages that are notebooks run in test_notebook.py.
RUN = [
    page
    for page in PAGES
    if re.search(r"```(sh|python)\n", PAGES[page])
    and page not in OTHERS
    and not (ROOT / "docs" / page).with_suffix(".ipynb").exists()
]
# Several commands in one process: TensorFlow's start is paid once.
TOGETHER = """
import shlex, sys
from zoo.__main__ import main
for line in sys.argv[1:]:
    if main(shlex.split(line)[1:]):
        sys.exit(line)
"""
# A search takes a process per trial; every training without --epochs gets one epoch.
SHORTER = {
    "--trials 4 --epochs 5 --refit": "--trials 1 --set epochs=1 --refit --repeats 1",
    "--trials 3 --epochs 2 --refit": "--trials 1 --set epochs=1 --refit --repeats 1",
    "--trials 2": "--trials 1",
}
FILE = r"# ([\w/]+\.py)\n"
PRINTED = r"^print\(.*\)  +# (.*)$"  # the comment is what the line prints


def blocks(text):
    """Return [("sh", line) or ("python", code)] in the order of the page."""
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", text, re.S):
        yield from (
            ((kind, line) for line in block.splitlines()) if kind == "sh" else [(kind, block)]
        )


def steps(text, port):
    """Return what to run: shell lines, files to write, and lists of `zoo` commands or of Python.

    Commands of one list share a process, which saves TensorFlow's start.
    """
    together, shared = [], None
    for kind, code in blocks(text):
        for long, short in {**SHORTER, "8501": str(port)}.items():
            code = code.replace(long, short)
        if code.startswith("zoo train") and "--epochs" not in code:
            code += " --epochs 1"
        if kind == "python" and re.match(FILE, code):
            kind = "file"
        elif (
            kind == "sh"
            and code.startswith("zoo ")
            and not code.startswith(("zoo tune", "zoo serve"))
        ):
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


def run(command, folder, **environment):
    """Run a shell line, or a list of arguments, as a user would; return what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        capture_output=True,
        text=True,
        env={**outside, "PATH": path, **environment},
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def in_the_background(line, folder):
    """Run a server until the page ends; yields once it serves."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        shlex.split(line),
        cwd=folder,
        env={**os.environ, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as server:
        try:
            assert server.stdout.readline().startswith("Serving "), server.stderr.read()
            yield
        finally:
            server.kill()


def run_page(text, folder, skip=()):
    """Run all blocks of a page in `folder`; `skip` holds beginnings of shell lines to leave out."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    with contextlib.ExitStack() as servers:
        for kind, code in steps(text, port):
            if kind == "zoo":
                lines = [line for line in code if not line.startswith(skip)]
                run([sys.executable, "-c", TOGETHER, *lines], folder)
            elif kind == "file":
                (folder / re.match(FILE, code)[1]).write_text(code, encoding="utf-8")
            elif kind == "python":
                printed = run([sys.executable, "-c", "\n".join(code)], folder).splitlines()
                expected = re.findall(PRINTED, "\n".join(code), re.M)
                assert [line for line in printed if line in expected] == expected, printed
            elif code.startswith("zoo serve"):
                servers.enter_context(in_the_background(code, folder))
            elif not code.startswith(skip):
                run(code, folder)


# Those of the README that need MNIST, an installation, or make have tests of their own below.
ELSEWHERE = (
    "zoo train lenet5-mnist",
    "zoo train lenet_keras",
    "zoo train --recipe runs/lenet5-mnist",
    "pip ",
    "make ",
)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in RUN]
)
def test_a_page_runs_as_it_stands(page, tmp_path):
    Image.fromarray((load_digits().images[0] * 15).astype("uint8")).save(tmp_path / "digit.png")
    text = PAGES[page]
    if page == "large-data.md":  # ImageNet, in small
        pytest.importorskip("pyarrow", reason="pip install '.[parquet]'")
        text = text.replace("~/tensorflow_datasets", str(prepare(tmp_path / "imagenet")))
        text = re.sub(
            r"(zoo train resnet18-imagenet2012 .*)",
            r"\1 --set input_shape=(64,64,3) --set batch_size=8",
            text,
        )
    run_page(text, tmp_path, ELSEWHERE if page == "README.md" else ())


@pytest.mark.slow
def test_the_blocks_for_those_who_come_from_pytorch_run_without_it(tmp_path):
    """The slow tests run all blocks of the page."""
    ours = [code for _, code in blocks(PAGES["from-pytorch.md"]) if "torch" not in code]
    assert len(ours) >= 2
    run_page("".join(f"```python\n{code}```\n" for code in ours), tmp_path)


def test_the_python_of_the_readme_parses_and_its_commands_exist():
    """The slow test runs them all; this one finds a typing error in the fast suite."""
    from zoo.__main__ import cli

    for kind, code in blocks(PAGES["README.md"]):
        if kind == "python":
            compile(code, "README.md", "exec")
        elif code.startswith("zoo "):
            name, *args = shlex.split(code)[1:]
            command = cli.commands[name]
            command.make_context(name, args, resilient_parsing=False)


@pytest.mark.slow
def test_the_mnist_commands_run(mnist_dir, tmp_path):
    """On 2,000 images, for an epoch."""
    lines = [code for kind, code in blocks(PAGES["README.md"]) if kind == "sh" and "mnist" in code]
    assert len(lines) == 3
    short = " --epochs 1 --set max_train_examples=2000"
    lines = [line.replace("~/tensorflow_datasets", mnist_dir) for line in lines]
    lines = [
        line if "--recipe" in line else line.replace("--epochs 5", "") + short for line in lines
    ]
    run([sys.executable, "-c", TOGETHER, *lines], tmp_path, TFDS_DATA_DIR=mnist_dir)


@pytest.mark.slow
def test_make_train_ends_with_the_accuracy_and_the_next_command(tmp_path):
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("this environment was not set up by make")
    said = run(f"make train VENV={sys.prefix} RUN={tmp_path}/run TO={tmp_path}/model", ROOT)
    accuracy = float(re.search(r"test accuracy ([\d.]+)", said)[1])
    assert accuracy >= 0.97
    assert said.splitlines()[-1] == f"Next: zoo predict {tmp_path}/model FILE"


def test_make_has_the_targets_of_the_pages():
    lines = {
        code for text in PAGES.values() for kind, code in blocks(text) if code.startswith("make ")
    }
    lines |= {
        f"make {target}" for text in PAGES.values() for target in re.findall(r"`make (\w+)", text)
    }
    assert {"make train", "make test", "make models", "make results"} <= lines
    for line in lines:
        run(f"{line} --dry-run", ROOT)


def test_the_install_line_is_one_that_works():
    """From the checkout, as the package is on no registry; test_layout.py installs the wheel."""
    lines = [code for _, code in blocks(PAGES["README.md"]) if code.startswith("pip ")]
    lines += [
        f"pip install {what}" for what in re.findall(r"`pip install (\S+)`", PAGES["README.md"])
    ]
    extras = {
        extra for line in lines for extra in re.search(r'"\.\[([\w,]+)\]"', line)[1].split(",")
    }
    declared = set(
        re.findall(
            r"^(\w+) =", (ROOT / "setup.cfg").read_text().split("[options.extras_require]")[1], re.M
        )
    )
    assert lines and extras <= declared


@pytest.mark.slow
def test_a_builder_is_imported_beside_files_of_our_names(tmp_path):
    code = next(code for _, code in blocks(PAGES["README.md"]) if code.startswith("# my_nets.py"))
    (tmp_path / "my_nets.py").write_text(code)
    (tmp_path / "zoo").mkdir()
    for ours in ("training", "tuning"):
        (tmp_path / f"{ours}.py").write_text("raise ImportError('not this one')")
    run("zoo tune my_nets:linear --data digits --trials 1 --epochs 1 --run search", tmp_path)
    assert (tmp_path / "search/best.json").exists()


@pytest.mark.slow
def test_adding_a_network_works_to_the_letter(tmp_path):
    """docs/add-a-network.md in a copy of the project: a package of one's own, then a network."""
    for name in ("zoo", "training", "tuning", "tests", "saved_models/shipped", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "Makefile",
        "saved_models/__init__.py",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    outside, inside = PAGES["add-a-network.md"].split("## Into the zoo itself")
    user = tmp_path / "user"
    user.mkdir()
    run_page(outside, user)
    # In the copy, zoo.training and zoo.tuning are the copy's own folders.
    (tmp_path / "zoo/__init__.py").write_text(
        (tmp_path / "zoo/__init__.py").read_text() + f"\n__path__.append({str(tmp_path)!r})\n"
    )
    for kind, code in blocks(inside):
        if kind == "python":
            target, table, body = re.match(
                r"# ([\w/]+\.py)(?:, in (\w+))?[^\n]*\n(.*)", code, re.S
            ).groups()
            file = tmp_path / target
            if table:
                text, head = file.read_text(), f"\n{table} = {{\n"
                assert text.count(head) == 1
                file.write_text(text.replace(head, head + body))
            elif file.exists():
                file.write_text(file.read_text() + "\n\n" + body)
            else:
                file.write_text(body)
        else:
            run(code, tmp_path, PYTHONPATH=str(tmp_path))
    assert '"two_conv"' in (tmp_path / "zoo/models.json").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    here = ROOT if page == "README.md" else ROOT / "docs"
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.S)
    for link in re.findall(r"\]\(([^)#]+)", prose):
        assert link.startswith("http") or (here / link).exists(), link
    for path in re.findall(r"`((?:zoo|training|tuning|tests|saved_models)/[\w./]+)`", PAGES[page]):
        assert (
            path.startswith("saved_models/") or path == "zoo/two_conv.py" or (ROOT / path).exists()
        ), path


def test_the_readme_leads_to_every_page():
    assert len(PAGES) > 5
    assert all(f"(docs/{page})" in PAGES["README.md"] for page in PAGES if page != "README.md")


def test_the_results_are_the_recorded_ones():
    """If this fails: python -m zoo.training.results.record."""
    assert record.page(PAGES["results.md"]) == PAGES["results.md"]


def test_the_networks_are_those_of_the_catalogue():
    """If this fails: make models."""
    text = PAGES["networks.md"]
    assert catalog.page(text) == text and "| lenet5 | 61,706 | 416,520 | 32x32x1 |" in text


def test_every_file_named_in_the_tree_exists():
    tree = re.search(r"```\n(.*?)```", PAGES["source-tree.md"], re.S)[1]
    parent = ROOT
    for line in tree.splitlines():
        names = re.split(r" {2,}", line.strip())[0]
        if not line.startswith(" "):
            parent = ROOT / names
            assert parent.is_dir(), names
        else:
            for name in names.split():
                assert name == "..." or (parent / name).exists(), f"{parent}/{name}"


def test_the_migration_table_is_complete_and_true():
    text = PAGES["from-keras-applications.md"]
    rows = re.findall(r"\| `(\w+)\(.*?\)` \| `zoo\.build\(\"(\w+)\"", text)
    assert {ours: theirs for theirs, ours in rows} == {
        ours: theirs for ours, (theirs, _) in weights.KERAS_APPLICATIONS.items()
    }
    absent = re.search(r"without `_keras`.*?says so\.\s(.*?) are not here", text, re.S)[1]
    named = "".join(row[0] for row in rows) + absent.replace("-", "")
    for network in (name for name in dir(keras.applications) if name[0].isupper()):
        family = re.match(
            r"Xception|InceptionResNet|ResNet\d+(?=V2)|NASNet|EfficientNet|ConvNeXt|MobileNetV3|\w+",
            network,
        )[0]
        if network.startswith("ResNet") and network.endswith("V2"):
            family = "ResNetV2"
        assert family in named, network
