"""Who came from whom: the papers of the zoo's networks by year, as a picture.

`python -m zoo.family_tree` draws docs/images/family_tree.svg. Networks, years, params and
multiply-adds come from models.json; errors on ImageNet, those that torchvision or timm publish for
their weights, from `zoo.hub_weights.PUBLISHED`. `PAPERS` adds from whom each took over its design.
"""
import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from zoo import catalog, hub_weights

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "family_tree.svg"

# {paper: (what it is known for, the papers whose networks' design it took over)}
PAPERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Rumelhart et al. 1986": ("Multilayer perceptron", ()),
    "LeCun et al. 1998": ("LeNet-5", ("Rumelhart et al. 1986",)),
    "Krizhevsky et al. 2012": ("AlexNet", ("LeCun et al. 1998",)),
    "Krizhevsky 2014": ("AlexNet, one tower", ("Krizhevsky et al. 2012",)),
    "Zeiler and Fergus 2014": ("ZFNet", ("Krizhevsky et al. 2012",)),
    "Lin et al. 2014": ("Network in network", ("Krizhevsky et al. 2012",)),
    "Kim 2014": ("TextCNN", ("LeCun et al. 1998",)),
    "Simonyan and Zisserman 2015": ("VGG", ("Krizhevsky et al. 2012",)),
    "Szegedy et al. 2015": ("GoogLeNet", ("Krizhevsky et al. 2012", "Lin et al. 2014")),
    "Iyyer et al. 2015": ("Deep averaging network", ("Rumelhart et al. 1986",)),
    "Zhang et al. 2015": ("Character CNN", ("LeCun et al. 1998",)),
    "He et al. 2016": ("ResNet", ("Simonyan and Zisserman 2015",)),
    "He et al. 2016b": ("ResNet v2", ("He et al. 2016",)),
    "Zagoruyko and Komodakis 2016": ("Wide ResNet", ("He et al. 2016b",)),
    "Iandola et al. 2016": ("SqueezeNet", ("Krizhevsky et al. 2012", "Szegedy et al. 2015")),
    "Szegedy et al. 2016": ("Inception v3", ("Szegedy et al. 2015",)),
    "Szegedy et al. 2017": ("Inception v4, Inception-ResNet",
                            ("Szegedy et al. 2016", "He et al. 2016")),
    "Chollet 2017": ("Xception", ("Szegedy et al. 2016",)),
    "Xie et al. 2017": ("ResNeXt", ("He et al. 2016", "Szegedy et al. 2016")),
    "Huang et al. 2017": ("DenseNet", ("He et al. 2016b",)),
    "Howard et al. 2017": ("MobileNet", ("Chollet 2017",)),
    "Johnson and Zhang 2017": ("DPCNN", ("Kim 2014", "He et al. 2016b")),
    "Joulin et al. 2017": ("fastText", ("Iyyer et al. 2015",)),
    "Conneau et al. 2017": ("VDCNN", ("Zhang et al. 2015", "Simonyan and Zisserman 2015",
                                      "He et al. 2016")),
    "Hu et al. 2018": ("SENet", ("He et al. 2016",)),
    "Sandler et al. 2018": ("MobileNet v2", ("Howard et al. 2017", "He et al. 2016")),
    "Ma et al. 2018": ("ShuffleNet v2", ("Howard et al. 2017",)),
    "Howard et al. 2019": ("MobileNet v3", ("Sandler et al. 2018", "Hu et al. 2018")),
    "Tan and Le 2019": ("EfficientNet", ("Sandler et al. 2018", "Hu et al. 2018")),
}

_WIDTH, _LINE, _GAP, _ROW, _PASS = 134.0, 9.6, 10.0, 30.0, 8.0  # points; _PASS: a line in a row
_LEFT, _MARGIN = 34.0, 8.0


@dataclasses.dataclass(eq=False)
class _Item:
    """A box of the picture; without lines, the place where an arrow passes a row."""

    row: int
    lines: list[str]
    x: float = 0.0
    above: list["_Item"] = dataclasses.field(default_factory=list)
    below: list["_Item"] = dataclasses.field(default_factory=list)

    @property
    def width(self) -> float:
        return _WIDTH if self.lines else _PASS


def families() -> dict[str, list[dict[str, Any]]]:
    """Return {paper: the models.json entries of its networks} by year; without those of courses."""
    entries = sorted(catalog.matching(), key=lambda entry: entry["year"] or 0)
    grouped = collections.defaultdict(list)
    for entry in entries:
        if entry["year"]:
            grouped[entry["paper"]].append(entry)
    return dict(grouped)


def describe(paper: str, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a paper's box: name, paper, params, multiply-adds and ImageNet error."""
    from zoo.drawing import short
    names = {entry["name"] for entry in entries}
    errors = [100 - file.top5 for (name, _), file in hub_weights.PUBLISHED.items() if name in names]
    text = entries[0]["input_shape"] == [None]
    costs = [entry["flops"] for entry in entries if text or None not in entry["input_shape"]]
    lines = [PAPERS[paper][0] if paper in PAPERS else entries[0]["name"], paper,
             f"{_range((entry['params'] for entry in entries), short)} params"]
    if costs:
        unit = ""
        if text:
            unit = " a sentence" if catalog.reads_characters(entries[0]) else " a token"
        lines.append(f"{_range(costs, short)} mult-adds{unit}")
    if errors:
        lines.append(f"{_range(errors, '{:.1f}'.format)} % top-5 error")
    return lines


def _range(values: Iterable[float], text: Callable[[Any], str]) -> str:
    values = sorted(values)
    low, high = text(values[0]), text(values[-1])
    if low == high:
        return low
    return f"{low.removesuffix(high[-2:]) if high[-2] == ' ' else low}–{high}"


def _rows(papers: Iterable[str], years: dict[str, int]) -> dict[str, int]:
    """Return the row of each paper: later years are lower, and what is built on is above."""
    papers, depths = list(papers), {}

    def depth(paper):  # among the papers of its year
        return 1 + max((depth(other) for other in PAPERS.get(paper, ("", ()))[1]
                        if years.get(other) == years[paper]), default=-1)
    for paper in papers:
        depths[paper] = years[paper], depth(paper)
    order = {key: row for row, key in enumerate(sorted(set(depths.values())))}
    return {paper: order[key] for paper, key in depths.items()}


def _arrange(items: Sequence[_Item]) -> None:
    """Set x of the items, left to right in each row: near what they are joined with."""
    rows: dict[int, list[_Item]] = collections.defaultdict(list)
    for item in items:
        rows[item.row].append(item)
    for row in rows.values():
        for number, item in enumerate(row):
            item.x = number * _WIDTH
    for sweep in range(24):  # orders by the mean of the neighbours above, then below
        down = sweep % 2 == 0
        for number in sorted(rows, reverse=not down):
            def wanted(item, down=down):
                near = item.above if down else item.below
                return sum(other.x for other in near) / len(near) if near else item.x
            rows[number].sort(key=wanted)
            _spread(rows[number], [wanted(item) for item in rows[number]])
    for _ in range(60):
        for row in rows.values():
            _spread(row, [sum(other.x for other in (*item.above, *item.below)) / max(
                len(item.above) + len(item.below), 1) if item.above or item.below else item.x
                for item in row])


def _spread(row: Sequence[_Item], wanted: Sequence[float]) -> None:
    """Set the centres of a row as near to those that are wanted as its widths allow."""
    blocks: list[list[Any]] = []  # [centre of the first, members, their offsets]
    for item, x in zip(row, wanted, strict=True):
        blocks.append([x, [item], [0.0]])
        while len(blocks) > 1:
            (start, members, offsets), (other, more, shifts) = blocks[-2:]
            room = offsets[-1] + (members[-1].width + more[0].width) / 2 + _GAP
            if start + room <= other:
                break
            joined = [*offsets, *(room + shift for shift in shifts)]
            start = (start * len(members) + (other - room) * len(more)) / len(joined)
            blocks[-2:] = [[start, members + more, joined]]
    for start, members, offsets in blocks:
        for item, offset in zip(members, offsets, strict=True):
            item.x = start + offset


def figure() -> Any:
    """Return the matplotlib Figure of the tree."""
    from matplotlib.figure import Figure
    grouped = families()
    years = {paper: entries[0]["year"] for paper, entries in grouped.items()}
    rows = _rows(grouped, years)
    boxes = {paper: _Item(rows[paper], describe(paper, grouped[paper])) for paper in grouped}
    items, arrows = list(boxes.values()), []
    for paper, box in boxes.items():
        for parent in PAPERS.get(paper, ("", ()))[1]:
            if parent not in boxes:
                continue
            chain = [boxes[parent], *(_Item(row, []) for row in
                                      range(rows[parent] + 1, rows[paper])), box]
            for upper, lower in zip(chain, chain[1:], strict=False):
                upper.below.append(lower)
                lower.above.append(upper)
            items += chain[1:-1]
            arrows.append(chain)
    _arrange(items)
    left = min(item.x - item.width / 2 for item in items) - _LEFT - _MARGIN
    heights = [max(len(item.lines) for item in items if item.row == row) * _LINE + 8
               for row in range(max(rows.values()) + 1)]
    tops = [_MARGIN + sum(heights[:row]) + _ROW * row for row in range(len(heights))]
    width = max(item.x + item.width / 2 for item in items) - left + _MARGIN
    height = tops[-1] + heights[-1] + _MARGIN
    drawn = Figure(figsize=(width / 72, height / 72), facecolor="white")
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    _draw_years(axes, {rows[paper]: year for paper, year in years.items()}, tops, heights, width)
    for chain in arrows:
        _draw_arrow(axes, [(item.x - left, tops[item.row], heights[item.row], item)
                           for item in chain])
    for item in boxes.values():
        _draw_box(axes, item.x - left, tops[item.row], item.lines)
    return drawn


def _draw_years(axes, years, tops, heights, width):
    from zoo.drawing import BAND, GREY, rectangle, write
    for number, year in enumerate(sorted(set(years.values()))):
        of_year = [row for row in years if years[row] == year]
        top = tops[min(of_year)] - _ROW / 2 + 2
        bottom = tops[max(of_year)] + heights[max(of_year)] + _ROW / 2 - 2
        if number % 2 == 0:
            rectangle(axes, 0, max(top, 0), width, bottom - max(top, 0), BAND, None, 0, zorder=0)
        write(axes, _MARGIN, (max(top, 0) + bottom) / 2, str(year), 9, ha="left", color=GREY,
              weight="bold")


def _draw_arrow(axes, places):
    """A line from the bottom of a box to the top of another, which passes the rows between."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Curve
    x, top, _, item = places[0]
    y = top + len(item.lines) * _LINE + 8
    points, codes = [(x, y)], [Curve.MOVETO]
    for number, (end, top, height, _) in enumerate(places[1:], 1):
        last = number == len(places) - 1
        goal = top - 4 if last else top
        bend = min((goal - y) / 2, 30)
        points += [(x, y + bend), (end, goal - bend), (end, goal)]
        codes += [Curve.CURVE4] * 3
        x, y = end, goal
        if not last:
            y = top + height
            points.append((x, y))
            codes.append(Curve.LINETO)
    axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor="#6f7f92",
                             linewidth=1.0, zorder=2))
    axes.add_patch(Polygon([(x, y + 4), (x - 2.4, y - 1.5), (x + 2.4, y - 1.5)],
                           facecolor="#6f7f92", edgecolor="none", zorder=2))


def _draw_box(axes, x, top, lines):
    from zoo.drawing import FILLS, GREY, INK, rectangle, write
    height = len(lines) * _LINE + 8
    text = any(line.endswith((" a token", " a sentence")) for line in lines)
    fill = FILLS["embedding" if text else "conv"]
    rectangle(axes, x - _WIDTH / 2, top, _WIDTH, height, fill, "#555555", 3, zorder=3)
    for number, line in enumerate(lines):
        write(axes, x, top + 4 + _LINE * (number + 0.5), line, 7.0 if number else 7.4,
              color=GREY if number == 1 else INK, weight="normal" if number else "bold")


def main() -> None:
    """Draw the picture of docs/networks.md."""
    import matplotlib

    from zoo.drawing import SETTINGS
    with matplotlib.rc_context(SETTINGS):
        figure().savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
