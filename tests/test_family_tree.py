"""The family tree of docs/networks.md."""
import re

import matplotlib

from tests.conftest import ROOT
from zoo import catalog, family_tree, hub_weights
from zoo.drawing import SETTINGS
from zoo.family_tree import PAPERS, _arrange, _Item, _rows, describe, families


def test_every_paper_has_ancestors_that_are_no_younger():
    grouped = families()
    assert set(grouped) <= set(PAPERS), "add the new paper to zoo/family_tree.py"
    assert {entry["paper"] for entry in catalog.matching() if entry["year"]} == set(grouped)
    years = {paper: int(re.search(r"\d{4}", paper)[0]) for paper in PAPERS}
    for paper, (_, ancestors) in PAPERS.items():
        assert all(years[other] <= years[paper] for other in ancestors), paper
    rows = _rows(PAPERS, years)
    for paper, (_, ancestors) in PAPERS.items():
        assert all(rows[other] < rows[paper] for other in ancestors), paper


def test_a_box_says_what_the_registry_says():
    networks = families()["Simonyan and Zisserman 2015"]
    assert {"vgg11", "vgg19_bn"} <= {entry["name"] for entry in networks}
    errors = [100 - file.top5 for (name, _), file in hub_weights.PUBLISHED.items()
              if name.startswith("vgg")]
    assert describe("Simonyan and Zisserman 2015", networks) == [
        "VGG", "Simonyan and Zisserman 2015", "133–144 M params", "7.61–19.6 G mult-adds",
        f"{min(errors):.1f}–{max(errors):.1f} % top-5 error"]
    assert describe("Kim 2014", families()["Kim 2014"])[3] == "361 k mult-adds a token"
    assert describe("Zhang et al. 2015", families()["Zhang et al. 2015"])[3] == (
        "370 M–4.32 G mult-adds a sentence")
    assert describe("Of nobody 2001", [{"name": "mine", "params": 20, "flops": 10,
                                        "input_shape": [8, 8, 1]}]) == [
        "mine", "Of nobody 2001", "20 params", "10 mult-adds"]


def test_boxes_of_a_row_do_not_overlap():
    root, children = _Item(0, ["root"]), [_Item(1, ["child"]) for _ in range(5)]
    passing = _Item(1, [])
    root.below = [*children, passing]
    for child in root.below:
        child.above = [root]
    _arrange([root, *children, passing])
    row = sorted(root.below, key=lambda item: item.x)
    for one, other in zip(row, row[1:], strict=False):
        assert other.x - one.x >= (one.width + other.width) / 2
    assert row[0].x <= root.x <= row[-1].x


def test_the_picture_of_the_page_is_that_of_today(tmp_path):
    """If this fails: make models. Other versions of matplotlib write other paths."""
    drawn = tmp_path / "tree.svg"
    with matplotlib.rc_context(SETTINGS):
        family_tree.figure().savefig(drawn)
    words = [sorted(re.findall(r">([^<]+)</text>", file.read_text(encoding="utf-8")))
             for file in (drawn, family_tree.PICTURE)]
    assert words[0] == words[1]
    assert f"images/{family_tree.PICTURE.name}" in (ROOT / "docs/networks.md").read_text("utf-8")
