"""The parts that the page of `zoo explain` is made of; all text is escaped here."""
import base64
import io
import itertools
import re
from html import escape

import matplotlib

from zoo.training.explanation.pictures import SIDE, png

_INK = "#010203"  # a colour of no figure, which becomes that of the page's text
_STYLE = {"svg.fonttype": "none", "font.family": "sans-serif", "axes.facecolor": "none", "legend.framealpha": 0,
          **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color"),
                          _INK)}
_numbers = itertools.count()


def chart(make, label):
    """Return a matplotlib figure as a <figure> with an SVG in it, whose text has the colour of the page's.

    Args:
        make: a function without arguments that returns the figure.
        label: what it shows, for those who do not see it.
    """
    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        make().savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg"):]).replace("xlink:href", "href")
    svg = svg.replace(_INK, "currentColor")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1c{next(_numbers)}-", svg)  # several figures number their parts alike
    return "<figure>" + svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1) + "</figure>"


def figure(pixels, caption="", alt=None, more=(), side=SIDE):
    """Return a picture, see `zoo.training.explanation.pictures.png`, with others beside it and a caption, as a <figure>."""
    sources = [base64.b64encode(png(picture, side)).decode() for picture in (pixels, *more)]
    images = "".join(f'<img src="data:image/png;base64,{source}" alt="{escape(alt or caption)}">' for source in sources)
    under = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    if more:
        images = f'<div class="pair">{images}</div>'
    return f"<figure>{images}{under}</figure>"


def pictures(figures, kind=""):
    """Return <figure>s side by side, as many as fit."""
    return f'<div class="pictures {kind}">{"".join(figures)}</div>'


def table(head, rows, numbers=()):
    """Return a table in a box of its own that scrolls; the columns `numbers` are flush right."""
    def line(cells, tag):
        return "<tr>" + "".join(f'<{tag}{" class=n" if place in numbers else ""}>{escape(str(cell))}</{tag}>'
                                for place, cell in enumerate(cells)) + "</tr>"
    return (f'<div class="wide" tabindex="0"><table><thead>{line(head, "th")}</thead><tbody>'
            f'{"".join(line(row, "td") for row in rows)}</tbody></table></div>')
