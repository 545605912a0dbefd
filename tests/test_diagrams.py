"""Drawings of networks: what they hold, how they are laid out, and the files."""
import dataclasses
import itertools
import json
import re

import keras
import pytest
from keras import layers

import zoo
from tests.conftest import ROOT
from zoo.diagrams import FONT, STYLES, diagram, lines_of
from zoo.drawing import FORMATS, draw
from zoo.errors import UsageError, UserError
from zoo.factory import without_weights
from zoo.tables import total_multiply_adds

BUILDERS = sorted({zoo.spec(name).builder: name for name in zoo.names()}.values())
FEW = ("alexnet_2tower", "densenet40_k12", "googlenet", "lenet5", "mobilenet_v2", "resnet20",
       "textcnn")


def shapes(name, **overrides):
    return without_weights(zoo.build, name, **overrides)


def overlap(one, other):
    return (one.x < other.x + other.width and other.x < one.x + one.width
            and one.y < other.y + other.height and other.y < one.y + one.height)


def touches(point, node):
    x, y = point
    inside = (node.x - 0.02 <= x <= node.x + node.width + 0.02
              and node.y - 0.02 <= y <= node.y + node.height + 0.02)
    border = min(abs(x - node.x), abs(x - node.x - node.width), abs(y - node.y),
                 abs(y - node.y - node.height))
    return inside and border < 0.02


def crosses(start, end, node):
    """Whether a horizontal or vertical line runs through a node."""
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(start, end, strict=True))
    return (left < node.x + node.width - 0.1 and right > node.x + 0.1
            and top < node.y + node.height - 0.1 and bottom > node.y + 0.1)


def check(model, drawn):
    """Every layer in one node, nothing on top of another, and lines between borders."""
    held = [layer for node in drawn.nodes for layer in node.layers]
    assert sorted(held) == sorted(layer.name for layer in model.layers)
    assert drawn.params == model.count_params()
    assert drawn.multiply_adds == total_multiply_adds(model)
    for one, other in itertools.combinations(drawn.nodes, 2):
        assert not overlap(one, other), (one.id, other.id)
    nodes = {node.id: node for node in drawn.nodes}
    for edge in drawn.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        assert touches(edge.points[0], source) and touches(edge.points[-1], target), edge
        for start, end in itertools.pairwise(edge.points):
            assert not [node.id for node in drawn.nodes if crosses(start, end, node)], edge
    reached = {edge.target for edge in drawn.edges}
    assert {node.id for node in drawn.nodes if node.id not in reached} == {
        node.id for node in drawn.nodes if node.kind == "input"}
    for group in drawn.groups:
        for node in drawn.nodes:
            assert overlap(group, node) == (node.id in group.nodes), (group.name, node.id)
    assert all(0 <= box.x and box.x + box.width <= drawn.width + 0.02 and 0 <= box.y
               and box.y + box.height <= drawn.height + 0.02
               for box in [*drawn.nodes, *drawn.groups])


def check_labels(drawn):
    """As wide as matplotlib draws them."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    font = FontProperties(family="DejaVu Sans")
    for line, size, width in {(line, FONT - 1.5 if number else FONT, node.width)
                              for node in drawn.nodes if node.width > 20
                              for number, line in enumerate(lines_of(node, drawn.style))}:
        assert TextPath((0, 0), line, size=size, prop=font).get_extents().width < width - 4, line


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow)
                                          for name in BUILDERS if name not in FEW)])
def test_every_architecture_is_drawn(name):
    model = shapes(name)
    for style in STYLES if len(model.layers) < 200 else ["blocks"]:  # a slow test draws the rest
        drawn = diagram(model, style)
        check(model, drawn)
        check_labels(drawn)
        json.dumps(dataclasses.asdict(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_every_network_is_drawn(name, tmp_path):
    model = shapes(name)
    for style in STYLES:
        check(model, diagram(model, style))
        assert draw(name, tmp_path / f"{style}.svg", style=style).stat().st_size > 5000


def labels(drawn, stage):
    return [node.label for node in drawn.nodes if node.stage == stage]


def test_resnet34_is_that_of_figure_3():
    """He et al. 2016: 7x7, pool, blocks of two 3x3 in 3, 4, 6 and 3; a projection where /2."""
    drawn = diagram(shapes("resnet34"))
    assert labels(drawn, "stem") == ["7x7 conv, 64, /2", "3x3 max pool, /2"]
    assert labels(drawn, "stage1") == ["3x3 conv, 64", "3x3 conv, 64", "+"]
    first = ["3x3 conv, 128, /2", "3x3 conv, 128", "1x1 conv, 128, /2", "+"]
    assert sorted(labels(drawn, "stage2")) == sorted([*first, "3x3 conv, 128", "3x3 conv, 128",
                                                      "+"])
    repeats = {group.name: group.repeat for group in drawn.groups if group.kind == "block"}
    assert repeats == {"stage1_block1": 3, "stage2_block1": 1, "stage2_block2": 3,
                       "stage3_block1": 1, "stage3_block2": 5, "stage4_block1": 1,
                       "stage4_block2": 2}
    shortcut = next(edge for edge in drawn.edges if edge.shortcut)
    assert (shortcut.source, shortcut.target) == ("stem_pool", "stage1_block1_add")


def test_googlenet_is_that_of_figure_3():
    """Szegedy et al. 2015: nine modules of four branches, in the figure's order."""
    drawn = diagram(shapes("googlenet"))
    nodes = {node.id: node for node in drawn.nodes}
    assert labels(drawn, "stem") == [
        "7x7 conv, 64, /2", "3x3 max pool, /2", "LRN", "1x1 conv, 64", "3x3 conv, 192", "LRN",
        "3x3 max pool, /2"]
    joins = [node for node in drawn.nodes if node.kind == "concat"]
    assert [node.label for node in joins] == [f"concat, {n}" for n in (
        256, 480, 512, 512, 512, 528, 832, 832, 1024)]
    for join in joins:
        ends = sorted((nodes[edge.source] for edge in drawn.edges if edge.target == join.id),
                      key=lambda node: node.x)
        assert [node.label.split(",")[0] for node in ends] == [
            "1x1 conv", "3x3 conv", "5x5 conv", "1x1 conv"]
        before = [[nodes[edge.source].label.split(",")[0] for edge in drawn.edges
                   if edge.target == node.id][0] for node in ends[1:]]
        assert before == ["1x1 conv", "1x1 conv", "3x3 max pool"]


def test_vgg16_and_alexnet_are_chains():
    """Simonyan and Zisserman 2015, table 1, column D; Krizhevsky et al. 2012, figure 2."""
    vgg = diagram(shapes("vgg16"))
    assert [node.label for node in vgg.nodes if node.kind == "conv"] == [
        f"3x3 conv, {n}" for n in (64, 64, 128, 128, *[256] * 3, *[512] * 6)]
    alexnet = diagram(shapes("alexnet_2tower"))
    assert [node.label for node in alexnet.nodes][1:] == [
        "11x11 conv, 96, /4", "LRN", "3x3 max pool, /2", "5x5 conv, 256, 2 groups", "LRN",
        "3x3 max pool, /2", "3x3 conv, 384", "3x3 conv, 384, 2 groups", "3x3 conv, 256, 2 groups",
        "3x3 max pool, /2", "fc, 4096", "fc, 4096", "fc, 1000"]
    for drawn in (vgg, alexnet):
        assert [(edge.source, edge.target) for edge in drawn.edges] == [
            (one.id, other.id) for one, other in itertools.pairwise(drawn.nodes)]


def test_a_repeated_block_counts_all_its_layers():
    """DenseNet-121, table 1: 6, 12, 24 and 16 layers of 1x1 and 3x3."""
    model = shapes("densenet121")
    drawn = diagram(model)
    blocks = {group.name: group for group in drawn.groups if group.kind == "block"}
    assert [group.repeat for group in blocks.values()] == [6, 12, 24, 16]
    node = next(node for node in drawn.nodes if node.id == "stage2_layer1_b_conv")
    kernels = [layer for layer in node.layers if layer.endswith("_b_conv")]
    assert kernels == [f"stage2_layer{number}_b_conv" for number in range(1, 13)]
    assert node.multiply_adds == 12 * 28 * 28 * 9 * 128 * 32
    every = diagram(model, "layers")
    assert len([node for node in every.nodes if node.kind == "conv"]) == 120


def test_textcnn_is_that_of_figure_1():
    """Kim 2014: the windows side by side, each with its maximum over time; masks are not drawn."""
    drawn = diagram(shapes("textcnn"))
    assert sorted(node.label for node in drawn.nodes) == sorted([
        "tokens", "embedding, 300", "3-wide conv, 100", "4-wide conv, 100", "5-wide conv, 100",
        *["max over time"] * 3, "concat, 300", "fc, 2"])
    assert drawn.field.size == (5,)


def own():
    """A model of a user's: a shortcut of operations, several outputs, and a part in no order."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    x = keras.ops.relu(layers.Conv2D(8, 3, padding="same")(x) + x)
    a, b = layers.Conv2D(4, 3, padding="same")(x), layers.Conv2D(4, 5, padding="same")(x)
    c = layers.Conv2D(4, 1)(layers.Concatenate()([a, b]))
    d = layers.Conv2D(4, 1)(layers.Concatenate()([b, x]))
    x = layers.Concatenate()([a, c, d])
    early = layers.Dense(3)(layers.GlobalAveragePooling2D()(c))
    return keras.Model(image, [layers.Dense(2)(layers.Flatten()(x)), early])


def test_a_model_of_ones_own_is_drawn(tmp_path):
    model = own()
    for style in STYLES:
        drawn = diagram(model, style)
        held = [layer for node in drawn.nodes for layer in node.layers]
        assert sorted(held) == sorted(layer.name for layer in model.layers)
        assert not [1 for one, other in itertools.combinations(drawn.nodes, 2)
                    if overlap(one, other)]
    wrapped = keras.Sequential([keras.Input((32, 32, 1)), zoo.build("lenet5", classes=0),
                                layers.Dense(3)])
    assert [node.label for node in diagram(wrapped).nodes][-2:] == ["fc, 84", "fc, 3"]
    assert draw([model, "lenet5", wrapped], tmp_path / "own.svg").exists()


def test_a_layer_that_is_called_twice_belongs_to_its_first_node():
    image = keras.Input((16, 16, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    model = keras.Model(image, layers.Concatenate()([shared(image), shared(shared(image))]))
    drawn = diagram(model)
    check(model, drawn)
    assert [node.layers for node in drawn.nodes if node.kind == "conv"] == [["shared"], [], []]


def test_auxiliary_heads_stand_beside_the_trunk():
    model = shapes("googlenet", aux=True)
    drawn = diagram(model)
    check(model, drawn)
    nodes = {node.id: node for node in drawn.nodes}
    assert all(nodes["aux1_fc"].x > node.x + node.width for node in drawn.nodes
               if node.stage == "stage4")


@pytest.mark.slow
def test_the_files_hold_text(tmp_path):
    svg = draw(["lenet5", "alexnet"], tmp_path / "two.svg").read_text()
    for text in ("lenet5", "alexnet", "5x5 conv, 16", "11x11 conv, 96, /4", "receptive field (RF)",
                 "62.4 M", "61.7 k", "1.14 G", "195x195", "32x32"):
        assert f">{text}</text>" in svg, text
    assert svg == draw(["lenet5", "alexnet"], tmp_path / "again.svg").read_text()
    assert draw("lenet5", tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    assert draw("lenet5", tmp_path / "one.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_trained_network_and_a_run_are_drawn(finished_run, tmp_path):
    for model in ("lenet5-digits", finished_run, finished_run / "model.keras"):
        svg = draw(model, tmp_path / "trained.svg").read_text()
        assert ">5x5 conv, 16</text>" in svg


def test_the_session_that_draws_stays_as_it_is(tmp_path):
    with keras.StatelessScope(initialize_variables=False):  # whose weights are made later
        dense = layers.Dense(1)
        dense.build((None, 2))
    name = layers.Dense(1).name
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        draw("lenet5", tmp_path / "lenet5.svg")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert layers.Dense(1).name.rpartition("_")[2] == str(int(name.rpartition("_")[2] or 0) + 1)
    with keras.StatelessScope():
        pass
    assert dense.kernel.numpy().shape == (2, 1)


@pytest.mark.parametrize("arguments, words", [
    (["googlenett", "-o", "x.svg"], "Unknown model 'googlenett'. Did you mean 'googlenet'?"),
    (["runs/no", "-o", "x.svg"], "Unknown weights 'runs/no'. Known: "),
    (["lenet5", "-o", "x.bmp"],
     "Expected a file that ends in .svg, .pdf or .png. Received: x.bmp."),
    (["lenet5", "-o", "no/x.svg"], "Cannot write no/x.svg: there is no such folder."),
    (["lenet5"], "Missing option '-o' / '--output'."),
    (["-o", "x.svg"], "Missing argument 'MODEL...'."),
])
def test_a_mistake_is_one_line(zoo_command, arguments, words):
    answer = zoo_command("draw", *arguments)
    assert answer.returncode == 2 or "Cannot write" in words
    assert answer.stderr.startswith(f"zoo: {words}") and answer.stderr.count("\n") == 1
    assert not answer.stdout


def test_mistakes_of_an_importer(tmp_path):
    with pytest.raises(UsageError, match="Unknown style 'block'. Did you mean 'blocks'?"):
        draw("lenet5", tmp_path / "x.svg", style="block")
    with pytest.raises(UsageError, match="Expected a network to draw. Received none."):
        draw([], tmp_path / "x.svg")
    with pytest.raises(UserError, match="it is a folder"):
        (tmp_path / "y.svg").mkdir()
        draw("lenet5", tmp_path / "y.svg")
    assert set(FORMATS) == {".svg", ".pdf", ".png"}


def test_the_images_of_the_page_are_those_of_today(tmp_path):
    """`python -m zoo.drawing` writes them; other versions of matplotlib write other paths."""
    page = (ROOT / "docs/diagrams.md").read_text(encoding="utf-8")
    names = re.findall(r"\(images/(\w+)\.svg\)", page)
    assert len(names) == 12
    for name in names:
        compared = re.search(rf"zoo draw (.*) -o {name}\.svg", page)
        drawn = draw(compared[1].split() if compared else name, tmp_path / f"{name}.svg")
        stored = ROOT / f"docs/images/{name}.svg"
        words = [re.findall(r">([^<]+)</text>", file.read_text(encoding="utf-8"))
                 for file in (drawn, stored)]
        assert words[0] == words[1], f"{name}: run python -m zoo.drawing"
        assert stored.stat().st_size < 300_000


def test_the_command_draws(zoo_command, tmp_path):
    answer = zoo_command("draw", "lenet5", "resnet20", "-o", "two.svg", "--style", "layers")
    assert (answer.stdout, answer.stderr, answer.returncode) == ("two.svg\n", "", 0)
    assert ">BN, ReLU</text>" in (tmp_path / "two.svg").read_text()
