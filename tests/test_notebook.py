"""The notebooks in docs/: their pages, executed by Jupyter, every cell twice."""
import os
import re
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from docs.site import notebooks
from tests.conftest import ROOT
from tests.test_layout import wheel  # noqa: F401 - a fixture

PRINTED = re.compile(r"^print\(.*\)  +# (.*)$", re.M)  # the comment is what the line prints
# Of slow steps, what makes them shorter.
SHORTER = {"--epochs 3": "--epochs 1", "epochs=2)": "epochs=1)"}
MADE = {"python": "page.html", "reading-a-paper": "maps.png", "your-photographs": "photos.html",
        "tuning": "runs/own-space/best.json", "deploying": "saved_models/digits/model.onnx"}


def cells(page, kind="code"):
    notebook = nbformat.read(ROOT / f"docs/{page}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_there_are_five_and_each_page_links_to_its_own():
    assert {file.stem for file in (ROOT / "docs").glob("*.ipynb")} == set(notebooks.PAGES)
    assert len(notebooks.PAGES) == 5
    for page in notebooks.PAGES:
        assert f"({page}.ipynb)" in (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", notebooks.PAGES)
def test_a_notebook_is_its_page_without_outputs(page):
    """If this fails: python -m docs.site.notebooks."""
    file = ROOT / f"docs/{page}.ipynb"
    assert file.read_text(encoding="utf-8") == notebooks.notebook(page)
    nbformat.validate(nbformat.read(file, as_version=4))
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.S)
    assert len(blocks) > 3
    written = ["".join(f"!{line}\n" for line in block.splitlines()) if kind == "sh" else block
               for kind, block in blocks]
    assert [cell.source.strip() for cell in cells(page)[1:]] == [b.strip() for b in written]
    assert not any(cell.outputs for cell in cells(page))
    prose = "".join(cell.source for cell in cells(page, "markdown"))
    assert "```" not in prose and prose.startswith(text.partition("\n")[0])


@pytest.mark.parametrize("page", notebooks.PAGES)
def test_the_python_of_a_notebook_compiles(page):
    for cell in cells(page)[1:]:
        if not cell.source.startswith("!"):
            compile(cell.source, page, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("page", notebooks.PAGES)
def test_every_cell_runs_twice(page, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent),
                                                os.environ["PATH"]]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        shorter = {**SHORTER, "8501": str(free.getsockname()[1])}
    sources, expected = [], []
    for cell in cells(page):
        source = cell.source
        for long, short in shorter.items():
            source = source.replace(long, short)
        # A failure of a shell line is no error of its cell.
        source = re.sub(r"^!.*$", "\\g<0>\nassert _exit_code == 0, _exit_code", source, flags=re.M)
        sources += 2 * [source]
        expected += 2 * PRINTED.findall(source)
    assert expected
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    printed = "".join(output.text for cell in notebook.cells for output in cell.outputs
                      if output.output_type == "stream" and output.name == "stdout")
    assert [line for line in printed.splitlines() if line in expected] == expected
    assert (tmp_path / MADE[page]).stat().st_size > 500


@pytest.mark.slow
def test_the_first_cell_installs_the_wheel_beside_it(wheel, tmp_path):  # noqa: F811
    """As in Colab: an environment that has the zoo's dependencies, but not the zoo."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = next(file for file in (tmp_path / "venv").glob("*/python*") if file.is_file())
    packages = next((tmp_path / "venv").rglob("site-packages"))
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(others))
    shutil.copy(wheel, tmp_path)
    (tmp_path / "cell.py").write_text(
        "import importlib.util, sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "assert importlib.util.find_spec('zoo') is None\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_cell(sys.stdin.read()).raise_error()\n"
        "import zoo\n"
        "print(zoo.__file__)\n")
    done = subprocess.run([python, "cell.py"], input=cells("python")[0].source, cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(packages))
