"""The notebooks in docs/: each is the page of its name, and a first cell that installs the zoo.

`python -m docs.site.notebooks` writes them; a test compares them with their pages.
"""
import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
# The pages that are notebooks, and the extras of the package that they need.
PAGES = {"python": "litert", "reading-a-paper": "", "your-photographs": "", "tuning": "",
         "deploying": "litert,onnx,serve"}
INSTALL = '''\
import glob
import importlib.util

if importlib.util.find_spec("zoo") is None:
    source = (glob.glob("classic_zoo-*.whl") or [".."])[0]
    %pip install --quiet {{source}}{extras}
'''
HOW = """\
This notebook is the page [{page}.md]({page}.md). It needs the zoo. In Jupyter, open it from a \
checkout, and the cell below installs the checkout. In Colab, build the wheel in a checkout, \
`pip wheel --no-deps .`, and upload it to the notebook's folder first."""
BLOCK = re.compile(r"```(python|sh)\n(.*?)```\n?", re.S)


def notebook(page: str) -> str:
    """Return the notebook of a page of docs/ as JSON, without outputs."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    title, _, text = text.partition("\n\n")
    extras = f"[{PAGES[page]}]" if PAGES[page] else ""
    sources = [("markdown", f"{title}\n\n{HOW.format(page=page)}"),
               ("code", INSTALL.format(extras=extras))]
    end = 0
    for block in BLOCK.finditer(text):
        sources += [("markdown", text[end:block.start()]), ("code", code(block[1], block[2]))]
        end = block.end()
    sources.append(("markdown", text[end:]))
    cells = [cell(number, kind, source.strip())
             for number, (kind, source) in enumerate(sources) if source.strip()]
    content = {"cells": cells, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def code(language: str, block: str) -> str:
    """Return a block of a page as a cell runs it: a shell line after an exclamation mark."""
    if language == "python":
        return block
    return "".join(f"!{line}\n" for line in block.splitlines())


def cell(number: int, kind: str, source: str) -> dict[str, Any]:
    """Return a cell, without outputs."""
    own = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {},
            "source": source.splitlines(keepends=True), **own}


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8", newline="\n")
