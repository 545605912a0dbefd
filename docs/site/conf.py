"""Settings of Sphinx for `make docs`; docs/site/pages.py writes the pages."""
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import zoo  # noqa: E402
import zoo.training  # noqa: E402, F401 - before TensorFlow

project = "classic-zoo"
version = release = zoo.__version__
copyright = "the authors of classic-zoo. Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 3

default_role = "py:obj"  # `name` in a docstring is code, and a link if the site documents it
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"classic-zoo {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style, pygments_dark_style = "friendly", "monokai"


def _to_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: lists get the blank lines and stars the backslash that RST needs.

    Errors are linked under their public names.
    """
    written, bullet = [], None  # the indentation of the list that a line is in
    for line in lines:
        indentation = len(line) - len(line.lstrip())
        starts = line.lstrip().startswith("- ")
        if line.strip() and (starts if bullet is None else indentation <= bullet and not starts):
            written.append("")
            bullet = indentation if starts else None
        written.append(re.sub(r"(?<=[ (])\*(?=\w)", r"\\*", line).replace("zoo.errors.U", "zoo.U"))
    lines[:] = written


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _to_rst, priority=400)  # before napoleon
