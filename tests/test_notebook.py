"""docs/notebook.ipynb: the code of docs/python.md, executed by Jupyter, every cell twice."""
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs/notebook.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_the_page():
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell.source.strip() for cell in code_cells(notebook)] == [
        block.strip() for block in re.findall(r"```python\n(.*?)```", page, re.S)
    ]
    assert not any(cell.outputs for cell in code_cells(notebook))


@pytest.mark.slow
def test_every_cell_runs_twice(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    expected = []
    for cell in code_cells(notebook):
        expected += 2 * re.findall(r"^print\(.*\)  +# (.*)$", cell.source, re.M)
    notebook.cells = [
        nbformat.v4.new_code_cell(cell.source) for cell in code_cells(notebook) for _ in range(2)
    ]
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}})
    client.execute()
    printed = "".join(
        output.text for cell in notebook.cells for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )
    assert [line for line in printed.splitlines() if line in expected] == expected
    assert (tmp_path / "page.html").stat().st_size > 10_000
