"""`zoo.draw`: the drawing of one network, or of several to compare, as SVG, PDF or PNG."""
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, UserError

if TYPE_CHECKING:
    import keras

    from zoo.diagrams import Diagram, Edge, Group, Node

FORMATS = (".svg", ".pdf", ".png")
DPI = 200  # of a PNG

# Text stays text. DejaVu Sans comes with matplotlib and is the widest: the others fit in its boxes.
SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "zoo",
            "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
            "font.family": "sans-serif"}
FILLS = {"conv": "#d3e3f6", "depthwise": "#d5efec", "pool": "#f8d9d0", "dense": "#dcecd2",
         "embedding": "#e6dcf2", "norm": "#fbf1cf", "activation": "#fbf1cf", "concat": "#e4e4e4",
         "shuffle": "#e4e4e4", "input": "#ffffff", "add": "#ffffff", "multiply": "#ffffff"}
INK, GREY, BAND, _BAR = "#222222", "#666666", "#f4f4f4", "#5b8cc4"
_MARGIN, _TITLE, _SPACE = 12.0, 30.0, 30.0  # points
_SMALL, _LARGE = 6.5, 11.0  # points of text
_COLUMN = 680.0  # the height of a drawing that is not folded, a page's


def check_path(path: str | os.PathLike) -> Path:
    """Return the file to write, or raise an error if its format or folder does not exist.

    Raises:
        zoo.errors.UsageError: if it does not end in .svg, .pdf or .png.
        zoo.errors.UserError: if it cannot be written there.
    """
    file = Path(path)
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"Expected a file that ends in {', '.join(FORMATS[:-1])} or "
                         f"{FORMATS[-1]}. Received: {file}.")
    if file.is_dir():
        raise UserError(f"Cannot write {file}: it is a folder.")
    if not file.absolute().parent.is_dir():
        raise UserError(f"Cannot write {file}: there is no such folder.")
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UserError(f"Cannot write {file}: Permission denied.")
    return file


def draw(models: "str | os.PathLike | keras.Model | Sequence[str | os.PathLike | keras.Model]",
         path: str | os.PathLike, *, style: str = "blocks") -> Path:
    """Draw a network, from the input to the logits, or several side by side to compare them.

    A drawing of several has bars of their params, multiply-adds and receptive fields. Beside each
    stage stand the shape of its output and its receptive field (RF), the pixels of the input, or
    the tokens, that one value depends on. "/2" is a stride; "x3", beside a dashed frame, says that
    the block stands for three equal ones in a row.

    Args:
        models: a registered name, the directory of a run, a .keras file, the name of a trained
            network, or a functional model of your own; or a sequence of these.
        path: the file to write, which ends in .svg, .pdf or .png. Text stays text in SVG and PDF.
        style: "blocks" draws equal blocks once; "layers" every layer, with normalisation,
            activation and output shape.

    Returns:
        The path of the file.

    Raises:
        zoo.errors.UsageError: if a name, the format or the style is unknown, or a model is not a
            graph of layers.
        zoo.errors.UserError: if the file cannot be written, or a model cannot be read.
    """
    file = check_path(path)
    several = [models] if isinstance(models, (str, os.PathLike)) or hasattr(models, "layers") else (
        list(models))
    if not several:
        raise UsageError("Expected a network to draw. Received none.")
    check_names([name for name in several if not hasattr(name, "layers")])
    from zoo.diagrams import diagram
    diagrams = [diagram(_model(each), style) for each in several]
    import matplotlib
    with matplotlib.rc_context(SETTINGS):
        figure = sheet(diagrams)
        metadata: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(
            file.suffix.lower(), {})
        try:
            figure.savefig(file, dpi=DPI, metadata=metadata)
        except OSError as error:
            raise UserError(f"Cannot write {file}: {error.strerror}.") from error
    return file


def check_names(names: Sequence[str | os.PathLike]) -> None:
    """Raise UsageError unless each is the name of a network, a run or a .keras file.

    No Keras is imported for the zoo's own names.
    """
    from zoo import catalog
    from zoo.factory import check_weights
    for name in map(str, names):
        if name not in catalog.names() and ":" not in name:
            try:
                check_weights("" if name == "imagenet" else name)
            except UsageError:
                if Path(name).name != name or name.endswith(".keras"):  # a path
                    raise
                catalog.arguments(name)  # of a builder registered here, or the error


def _model(model: Any) -> Any:
    if hasattr(model, "layers"):
        return model
    from zoo import catalog
    from zoo.factory import build, resolve, without_weights
    from zoo.registry import is_registered
    name = str(model)
    if name in catalog.names() or ":" in name or is_registered(name):
        return without_weights(build, name)
    return resolve(model)


def sheet(diagrams: "Sequence[Diagram]") -> Any:
    """Return a matplotlib Figure with the drawings side by side, and bars if there are several."""
    from matplotlib.figure import Figure
    pieces = [_Piece(each) for each in diagrams]
    width = sum(piece.width for piece in pieces) + _SPACE * (len(pieces) - 1)
    bars = (14.0 + 13.0 * len(pieces) + 16.0) if len(pieces) > 1 else 0.0
    width = max(width, 390.0 if bars else 0.0)
    height = bars + _TITLE + max(piece.height for piece in pieces)
    page = width + 2 * _MARGIN, height + 2 * _MARGIN
    figure = Figure(figsize=(page[0] / 72, page[1] / 72), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, page[0]), ylim=(page[1], 0))
    axes.axis("off")
    if bars:
        _draw_bars(axes, diagrams, _MARGIN, _MARGIN, width)
    x = _MARGIN + (width - sum(piece.width for piece in pieces)
                   - _SPACE * (len(pieces) - 1)) / 2
    for piece in pieces:
        piece.draw(axes, x, _MARGIN + bars, not bars)
        x += piece.width + _SPACE
    return figure


class _Piece:
    """A diagram with its title and the notes at its left, folded into columns of a page."""

    def __init__(self, diagram: "Diagram"):
        self.diagram = diagram
        self.notes = self._find_notes()
        self.left = max([_text(line, _SMALL) + 8 - group.x for lines, group in self.notes
                         for line in lines], default=0.0)
        self.left = max(self.left, 0.0)
        self.right = 18.0 if any(group.repeat > 1 for group in diagram.groups) else 0.0
        self.column = self.left + diagram.width + self.right
        self.breaks = self._find_breaks()
        self.tops = [0.0, *(y for y, _ in self.breaks)]
        bottoms = [*(y for y, _ in self.breaks), diagram.height]
        count = len(self.tops)
        title = max(_text(diagram.name, _LARGE), _text(self.summary, _SMALL))
        self.inner = self.column * count + _SPACE * (count - 1)
        self.width = max(self.inner, title)
        self.height = max(bottom - top for top, bottom in zip(self.tops, bottoms, strict=True)) + (
            24.0 if count > 1 else 0.0)

    @property
    def summary(self) -> str:
        """The line below the title."""
        field = self.diagram.field
        text = field is not None and len(field.size) == 1
        words = f"{short(self.diagram.params)} params, {short(self.diagram.multiply_adds)} "
        words += "multiply-adds a token" if text else "multiply-adds"
        if field:
            words += f", receptive field (RF) {field}{' tokens' if text else ''}"
        return words

    def _find_notes(self) -> "list[tuple[list[str], Group]]":
        """Return the lines beside each stage."""
        nodes = {node.id: node for node in self.diagram.nodes}
        notes = []
        stages = [group for group in self.diagram.groups if group.kind == "stage"]
        for group in stages:
            if any(other is not group and other.y < group.y + group.height
                   and group.y < other.y + other.height for other in stages):
                continue  # side by side, as the windows of a sentence
            last = nodes[group.nodes[-1]]
            shape = "x".join(str(n or "n") for n in last.output)
            lines = [group.name, shape, f"RF {last.field}" if last.field else ""]
            notes.append(([line for line in lines if line], group))
        return notes

    def _find_breaks(self) -> list[tuple[float, str]]:
        """Return (y, the node above) at which the drawing is folded into columns."""
        diagram = self.diagram
        limit = max(_COLUMN, math.sqrt(1.2 * diagram.height * (self.column + _SPACE)))
        count = math.ceil((diagram.height - 40) / limit)
        if count < 2:
            return []
        limit = diagram.height / count
        stages = [group for group in diagram.groups if group.kind == "stage"]
        possible = []  # with how bad they are: inside a stage
        for node in diagram.nodes:
            y = node.y + node.height
            crossing = {edge.source if abs(edge.points[0][1] - y) < 0.1 else ""
                        for edge in diagram.edges if edge.points[0][1] < y + 0.1 < max(
                            point[1] for point in edge.points)}
            below = [other.y for other in diagram.nodes if other.y > y]
            if crossing == {node.id} and below and not any(
                    group.y < y < group.y + group.height - 10 for group in diagram.groups
                    if group.kind == "block"):
                inside = any(group.y < y < group.y + group.height - 12 for group in stages)
                possible.append(((y + min(below)) / 2, node.id, min(60.0, 0.15 * limit) * inside))
        breaks = []
        for number in range(1, count):
            near = min(possible, default=None, key=lambda each: (  # noqa: B023 - used at once
                abs(each[0] - number * limit) + each[2]))
            if near and near[:2] not in breaks:
                breaks.append(near[:2])
        return sorted(breaks)

    def _column(self, y: float) -> int:
        return sum(y > top for top in self.tops[1:])

    def draw(self, axes: Any, x: float, y: float, summary: bool) -> None:
        """Draw it with its top left corner at x, y."""
        middle = x + self.width / 2
        write(axes, middle, y + 7, self.diagram.name, _LARGE, weight="bold")
        if summary:
            write(axes, middle, y + 20, self.summary, _SMALL, color=GREY)
        x += (self.width - self.inner) / 2
        y += _TITLE + (12.0 if self.breaks else 0.0)
        self.x = [x + number * (self.column + _SPACE) + self.left
                  for number in range(len(self.tops))]
        self.y = [y - top for top in self.tops]
        for group in self.diagram.groups:
            self._draw_group(axes, group)
        for lines, group in self.notes:
            column, top, bottom = max(self._pieces(group), key=lambda each: each[2] - each[1])
            for number, line in enumerate(lines):
                y = (top + bottom) / 2 + (number - (len(lines) - 1) / 2) * 9
                write(axes, self.x[column] + group.x - 6, y, line, _SMALL, ha="right",
                      color=GREY if number else INK, weight="normal" if number else "bold")
        for edge in self.diagram.edges:
            self._draw_edge(axes, edge)
        for number, (_, source) in enumerate(self.breaks):
            self._draw_fold(axes, number, source)
        for node in self.diagram.nodes:
            self._draw_node(axes, node)

    def _pieces(self, group: "Group") -> list[tuple[int, float, float]]:
        """Return (column, top, bottom) of the pieces of a group that columns divide."""
        pieces = []
        ends = [*self.tops[1:], math.inf]
        for column in range(self._column(group.y), self._column(group.y + group.height) + 1):
            top = max(group.y, self.tops[column] + (3 if column else 0))
            bottom = min(group.y + group.height, ends[column] - 3)
            if bottom - top > 12:
                pieces.append((column, self.y[column] + top, self.y[column] + bottom))
        return pieces

    def _draw_group(self, axes: Any, group: "Group") -> None:
        for column, top, bottom in self._pieces(group):
            x = self.x[column] + group.x
            if group.kind == "stage":
                rectangle(axes, x, top, group.width, bottom - top, BAND, None, 4)
            elif group.repeat > 1:
                rectangle(axes, x, top, group.width, bottom - top, "none", "#8a8a8a", 4,
                          dashed=True)
                stage = next((other for other in self.diagram.groups if other.kind == "stage"
                              and group.nodes[0] in other.nodes), group)
                right = group.x + group.width
                if stage.x + stage.width - right < 24:
                    right = max(right, stage.x + stage.width)
                write(axes, self.x[column] + right + 4, (top + bottom) / 2,
                      f"\N{MULTIPLICATION SIGN}{group.repeat}", 9.0, ha="left", weight="bold")

    def _draw_edge(self, axes: Any, edge: "Edge") -> None:
        points = edge.points
        column = self._column(points[-1][1])
        if self._column(points[0][1]) < column:
            points = [(points[0][0], self.tops[column]), *points[1:]]
        _line(axes, [(self.x[column] + x, self.y[column] + y) for x, y in points], arrow=True)

    def _draw_fold(self, axes: Any, number: int, source: str) -> None:
        """Draw the line from the end of a column to the top of the next."""
        node = next(node for node in self.diagram.nodes if node.id == source)
        x, y = node.x + node.width / 2, node.y + node.height
        bottom = max(self.y[number] + self.tops[number + 1] + 8, self.y[number] + y + 8)
        top = self.y[number + 1] + self.tops[number + 1]
        between = self.x[number + 1] - self.left - _SPACE / 2
        _line(axes, [(self.x[number] + x, self.y[number] + y), (self.x[number] + x, bottom),
                     (between, bottom), (between, top - 8), (self.x[number + 1] + x, top - 8),
                     (self.x[number + 1] + x, top)], arrow=False)

    def _draw_node(self, axes: Any, node: "Node") -> None:
        from matplotlib.patches import Circle

        from zoo.diagrams import FONT, lines_of
        column = self._column(node.y)
        x, y = self.x[column] + node.x, self.y[column] + node.y
        middle = x + node.width / 2, y + node.height / 2
        if node.width == node.height:
            axes.add_patch(Circle(middle, node.width / 2, facecolor="white", edgecolor=INK,
                                  linewidth=0.8, zorder=3))
            half = node.width * 0.26
            turn = math.pi / 4 if node.kind == "multiply" else 0.0
            for angle in (turn, turn + math.pi / 2):
                dx, dy = half * math.cos(angle), half * math.sin(angle)
                axes.plot([middle[0] - dx, middle[0] + dx], [middle[1] - dy, middle[1] + dy],
                          color=INK, linewidth=0.9, zorder=4)
            return
        rectangle(axes, x, y, node.width, node.height, FILLS.get(node.kind, "#ffffff"), "#555555",
                  3, zorder=3)
        lines = lines_of(node, self.diagram.style)
        top = middle[1] - 9.0 * (len(lines) - 1) / 2
        for number, line in enumerate(lines):
            write(axes, middle[0], top + 9.0 * number, line, FONT - 1.5 if number else FONT,
                  color=GREY if number else INK)


def short(number: int) -> str:
    """Return a number in three digits: 25.6 M."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit * 0.9995:
            return f"{float(f'{number / unit:.3g}'):g} {letter}"
    return str(number)


def _draw_bars(axes: Any, diagrams: "Sequence[Diagram]", x: float, y: float, width: float) -> None:
    """Draw three columns of bars, a row for each network."""
    names = max(_text(each.name, 7.5) for each in diagrams) + 8
    room = (width - names) / 3
    longest = room - 62
    columns: list[tuple[str, Sequence[float]]] = [
        ("params", [each.params for each in diagrams]),
        ("multiply-adds", [each.multiply_adds for each in diagrams]),
        ("receptive field (RF)", [_side(each) for each in diagrams])]
    for row, each in enumerate(diagrams):
        write(axes, x + names - 8, y + 20 + 13 * row, each.name, 7.5, ha="right")
    for column, (title, values) in enumerate(columns):
        left = x + names + column * room
        write(axes, left, y + 5, title, 7.5, ha="left", weight="bold")
        most = max((value for value in values if math.isfinite(value)), default=0) or 1
        for row, (value, each) in enumerate(zip(values, diagrams, strict=True)):
            known = math.isfinite(value)
            length = longest * (min(value / most, 1) if known else 1)
            label = short(int(value)) if column < 2 else str(each.field or "-")
            if column == 2 and not known:
                label = "whole input"
            rectangle(axes, left, y + 15.5 + 13 * row, max(length, 0.5), 9, _BAR if known else
                      "white", None if known else _BAR, 0)
            write(axes, left + length + 4, y + 20 + 13 * row, label, 7.0, ha="left")


def _side(diagram: "Diagram") -> float:
    """The longest side of the receptive field; infinite if it is the whole input."""
    if diagram.field is None:
        return 0.0
    return max(diagram.field.size, default=math.inf)


def _text(text: str, size: float) -> float:
    from zoo.diagrams import text_width
    return text_width(text, size)


def write(axes: Any, x: float, y: float, text: str, size: float, ha: str = "center",
          color: str = INK, weight: str = "normal") -> None:
    axes.text(x, y, text, fontsize=size, ha=ha, va="center_baseline", color=color,
              fontweight=weight, parse_math=False, zorder=5)


def rectangle(axes: Any, x: float, y: float, width: float, height: float, fill: str,
              border: str | None, radius: float, *, dashed: bool = False, zorder: float = 1
              ) -> None:
    from matplotlib.patches import FancyBboxPatch
    axes.add_patch(FancyBboxPatch(
        (x, y), width, height, boxstyle=f"round,pad=0,rounding_size={radius}", facecolor=fill,
        edgecolor=border or "none", linewidth=0.8, linestyle=(0, (3, 2)) if dashed else "-",
        zorder=zorder))


def _line(axes: Any, points: list[tuple[float, float]], *, arrow: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon
    (x0, y0), (x1, y1) = points[-2:]
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    if arrow:
        size = min(4.0, length)
        base = x1 - size * dx, y1 - size * dy
        axes.add_patch(Polygon([(x1, y1), (base[0] - 1.7 * dy, base[1] + 1.7 * dx),
                                (base[0] + 1.7 * dy, base[1] - 1.7 * dx)], facecolor="#444444",
                               edgecolor="none", zorder=2))
        points = [*points[:-1], base]
    axes.add_line(Line2D([x for x, _ in points], [y for _, y in points], color="#444444",
                         linewidth=0.8, solid_joinstyle="round", zorder=2))


def main() -> None:
    """Draw the images of docs/diagrams.md."""
    page = Path(__file__).parents[1] / "docs" / "diagrams.md"
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\(images/(\w+)\.svg\)", text):
        compared = re.search(rf"zoo draw (.*) -o {name}\.svg", text)
        models = compared[1].split() if compared else name
        draw(models, page.with_name("images") / f"{name}.svg")


if __name__ == "__main__":
    main()
