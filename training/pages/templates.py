"""Jinja templates of the pages, which may use the files of this folder beside their own."""
import base64
from pathlib import Path

import jinja2

_SHARED = Path(__file__).parent


def environment(folder: Path) -> jinja2.Environment:
    """Return an environment for the templates in `folder`.

    In a template, `{{ text("style.css")|safe }}` is the content of a file in `folder` or among the
    shared ones: style.css, charts.js, d3.min.js and dagre.min.js. D3 7 (https://d3js.org) stands
    there module by module, without those that no page uses; dagre (https://github.com/dagrejs)
    lays out graphs. Their licences are d3.LICENSE and dagre.LICENSE.
    """
    loader = jinja2.FileSystemLoader([folder, _SHARED])
    made = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.globals["text"] = lambda name: loader.get_source(made, name)[0]
    return made


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Return a file as a URI that contains it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
