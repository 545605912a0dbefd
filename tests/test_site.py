"""The site of `make docs`: whole, without a warning, its links right, without a network."""
import dataclasses
import json
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import unquote, urlparse

import pytest

import zoo
import zoo.shipped
import zoo.training
from docs.site import pages
from tests.conftest import ROOT
from tests.models import TINY
from tests.test_api import PACKAGES

NETWORKS = ("lenet5", "resnet50_keras", "textcnn")


def build(source, site):
    """Run Sphinx as `make docs` does: a warning is an error."""
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c",
                           ROOT / "docs/site", source, site], capture_output=True, text=True,
                          cwd=ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    pages.write(folder, NETWORKS)
    return folder


@pytest.fixture(scope="module")
def site(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build(source, folder)
    return folder


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag in ("img", "script", "iframe", "source", "video"):
            self.loaded.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") not in ("canonical",):
            self.loaded.append(attributes["href"])


def check_links(site):
    read = {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    wrong, checked = [], 0
    for file, page in read.items():
        assert not [each for each in page.loaded if urlparse(each).netloc], file
        for link in (*page.links, *page.loaded):
            where = urlparse(link)
            if where.scheme or not link:
                continue
            target = (file.parent / unquote(where.path)).resolve() if where.path else file
            checked += 1
            if not target.exists():
                wrong.append(f"{file.name}: {link}")
            elif where.fragment and target in read and file.name != "genindex.html":
                if unquote(where.fragment) not in read[target].anchors:
                    wrong.append(f"{file.name}: {link}")
    assert not wrong, "\n".join(wrong)
    return checked


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert check_links(site) > 500
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert not re.findall(r"url\([\"']?https?:|@import", styles)


def test_every_page_of_docs_is_on_the_site_and_in_the_side_bar(site):
    front = Page((site / "index.html").read_text(encoding="utf-8"))
    for file in (ROOT / "docs").glob("*.md"):
        assert (site / f"{file.stem}.html").exists(), file
        assert f"{file.stem}.html" in front.links, file


def test_every_public_name_is_documented_once(site):
    """objects.inv is the index that other sites link by: `name domain:role priority uri title`."""
    content = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()
    documented = Counter(line.split()[0] for line in lines if " py:" in line)
    for package, names in PACKAGES.items():
        assert {name: documented[f"{package}.{name}"] for name in names} == dict.fromkeys(names, 1)


def test_docstrings_are_set_as_parameters_and_links(site):
    text = (site / "api/zoo.html").read_text(encoding="utf-8")
    begin = text.index('id="zoo.build"')
    described = text[begin:text.index('id="zoo.card"', begin)]
    assert "Parameters" in described and "Raises" in described and "Args:" not in described
    assert 'href="#zoo.UsageError"' in described and 'href="#zoo.features"' in described
    assert "(batch, *input_shape)" in described


def test_the_page_of_a_network_has_its_table_results_and_weights(source):
    page = (source / "networks/lenet5.md").read_text(encoding="utf-8")
    assert "| year | 1998 |" in page and "61,706, 61,706 of them trainable" in page
    assert "| `c3` | Convolution | 16 | 10x10 | 5x5 | 1 | tanh | 2,416 | 240,000 |" in page
    assert "<http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf>" in page
    for recipe in ("lenet5-digits", "lenet5-mnist"):
        content = json.loads((ROOT / f"training/results/{recipe}.json").read_text())
        for run in content["runs"]:
            assert f"{run['seed']}: {100 * run['test_accuracy']:.2f} %" in page
    bytes_of = json.loads((zoo.shipped.FOLDER / "lenet5-mnist/card.json").read_text())["files"]
    size = f"{sum(file['bytes'] for file in bytes_of.values()):,} bytes"
    assert f'- `zoo.load("lenet5-mnist")`: ships with the zoo, {size}' in page
    assert "<svg" in (source / "networks/lenet5.svg").read_text(encoding="utf-8")


def test_a_page_says_what_was_not_measured_and_where_other_weights_are(source):
    page = (source / "networks/resnet50_keras.md").read_text(encoding="utf-8")
    assert "This project has not measured this network." in page
    assert "the ImageNet weights of keras.applications, `ResNet50`" in page
    assert "<details>\n<summary>All " in page  # a long table is folded up
    assert "| `stage4` | 7x7x2048 |" in page
    text = (source / "networks/textcnn.md").read_text(encoding="utf-8")
    assert "a token" in text and "over 10 folds" in text


def test_the_fields_of_a_recipe_have_their_comments(source):
    page = (source / "api/zoo.training.md").read_text(encoding="utf-8")
    assert "| `seed` | `0` |  |" in page
    assert "| `learning_rate` | `0.001` | the peak of the schedule |" in page
    assert page.count("\n| `") == len(dataclasses.fields(zoo.training.Recipe))


def test_every_command_is_in_the_reference(source):
    page = (source / "commands.md").read_text(encoding="utf-8")
    from zoo.__main__ import cli
    for name in cli.commands:
        assert f"## zoo {name}\n" in page and f"Usage: zoo {name} " in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_the_screen_and_need_no_network(site, browser, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page, outside = context.new_page(), []
    page.on("request", lambda request: outside.append(request.url))
    page.on("pageerror", lambda error: outside.append(str(error)))
    for name in ("index", "networks", "networks/lenet5", "api/zoo.training", "commands"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 380) == (scheme == "light"), colour
    assert not [url for url in outside if not url.startswith(("file:", "data:"))]
    context.close()


def test_the_search_finds_a_page_from_the_disk(site, browser):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto((site / "search.html").as_uri() + "?q=sub-sampling")
    page.wait_for_selector("#search-results li a")
    links = page.eval_on_selector_all("#search-results li a", "all => all.map(a => a.href)")
    assert any("networks/lenet5.html" in link for link in links), links
    context.close()


@pytest.mark.slow
def test_the_whole_site_is_built_without_a_warning(tmp_path):
    pages.write(tmp_path / "source")
    build(tmp_path / "source", tmp_path / "site")
    built = {file.stem for file in (tmp_path / "site/networks").glob("*.html")}
    assert built == set(TINY)  # tests register others
    assert check_links(tmp_path / "site") > 5000
