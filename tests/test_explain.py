"""The page of a finished run, its scores checked another way, and the page in a browser."""

import dataclasses
import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import precision_recall_fscore_support

import zoo
from zoo.__main__ import main
from zoo.filters import KERNELS
from zoo.training import evaluation, recipes, trained
from zoo.training.engine.fit import train
from zoo.training.explanation import explainer, kernels
from zoo.training.explanation import page as explain_page

SECTIONS = [
    "Training curves", "Confusion matrix", "Precision and recall", "Top losses", "Map of examples"
]
HOSTILE = "<b>bad</b> & $worse$"


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """The run of a small TextCNN on sentences whose last word decides; a class name is hostile."""
    folder = tmp_path_factory.mktemp("text")
    rows = [
        f"<i>film {n % 7}</i> was {('poor', 'fine')[n % 2]},{(HOSTILE, 'good')[n % 2]}"
        for n in range(90)
    ]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    recipe = recipes.get_recipe("textcnn", str(folder / "reviews.csv"))
    small = dataclasses.replace(
        recipe, model_args={"embedding": 8, "filters": 4}, epochs=2, min_steps=0, batch_size=16
    )
    train(small, folder / "run", log=False)
    return folder / "run"


@pytest.fixture(scope="module")
def digits(explained_run):
    return explained_run


@pytest.fixture(scope="module")
def reviews(text_run):
    return explainer.explain(text_run, text="a <script>fine</script> film")


class Parts(html.parser.HTMLParser):
    """What a page consists of."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.places, self.ids, self.alts, self.heads, self.text = (
            set(),
            [],
            [],
            [],
            [],
            [],
        )
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.places += [
            value
            for key, value in attributes.items()
            if key in ("src", "href", "xlink:href", "action", "data")
        ]
        self.places += re.findall(r"url\(([^)]*)\)", " ".join(map(str, attributes.values())))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.alts += [attributes.get("alt")] if tag == "img" else []
        self.last = tag

    def handle_data(self, data):
        self.text.append(data)
        if getattr(self, "last", None) == "h2" and data.strip():
            self.heads.append(data)


def checked(page):
    """The parts of a page that needs nothing from elsewhere."""
    parts = Parts(page)
    assert "iframe" not in parts.tags and "@import" not in page
    assert all(place.startswith(("#", "data:")) for place in parts.places)
    assert {place[1:] for place in parts.places if place.startswith("#")} <= set(parts.ids)
    assert len(set(parts.ids)) == len(parts.ids) and all(parts.alts) and len(page) < 3_000_000
    return parts


def test_the_page_of_an_image_network_shows_everything(digits):
    page = explain_page.run_page(digits)
    parts = checked(page)
    assert parts.heads == ["The network", *SECTIONS, "First-layer filters", "Feature maps",
                           "Where the network looks", "Augmented batch", "Layers"]
    assert (
        list(digits.maps)
        == list(zoo.stages(digits.trained.model))
        == ["c1", "s2", "c3", "s4", "c5", "f6"]
    )
    assert len(digits.filters) == 6 and digits.heat_stage == "s4" and page.count("<svg") == 3
    pictures = (
        6 + 1 + sum(len(maps) for _, maps in digits.maps.values()) + 3 * 4
        + 2 * len(digits.top_losses) + len(digits.augmented)
    )
    assert len(parts.alts) == pictures
    assert f"{digits.trained.metrics['test_accuracy']:.4f}" in parts.text


def test_the_page_of_a_text_network_escapes_what_it_shows(reviews):
    page = explain_page.run_page(reviews)
    parts = checked(page)
    assert parts.heads == ["The network", *SECTIONS, "N-grams", "Layers"]
    assert "i" not in parts.tags
    assert "<script>fine" not in page and "<b>bad" not in page and "<i>film" not in page
    assert HOSTILE in parts.text and "a <script>fine</script> film" in parts.text


@pytest.mark.parametrize(
    "model, phrases",
    [
        ("mlp", ["no convolution.", "no convolution whose maps"]),
        ("text_mlp", ["no windows of words"]),
    ],
)
def test_what_a_perceptron_lacks_is_left_out_with_a_phrase(model, phrases, text_run, tmp_path):
    data = "digits" if model == "mlp" else str(text_run.parent / "reviews.csv")
    recipe = dataclasses.replace(
        recipes.get_recipe(model, data), model_args={"hidden": (8,)}, epochs=1, min_steps=0
    )
    train(recipe, tmp_path / "run", log=False)
    explained = explainer.explain(tmp_path / "run")
    page = explain_page.run_page(explained)
    assert checked(page).heads[1:6] == SECTIONS and all(
        f"Left out: this network has {words}" in page for words in phrases
    )
    assert page.count("Left out") == len(phrases) and set(explained.maps) == (
        {"fc1"} if model == "mlp" else set()
    )
    assert len(explained.looked_into) == (1 if model == "mlp" else 3)


def test_scores_of_the_classes_are_scikit_learns():
    labels, found = np.random.default_rng(0).integers(0, 5, (2, 60))
    labels[labels == 3] = 2  # a class without examples
    found[found == 4] = 0  # and one that is never found
    matrix = np.zeros((5, 5), int)
    np.add.at(matrix, (labels, found), 1)
    expected = precision_recall_fscore_support(labels, found, labels=range(5), zero_division=0)
    rows = evaluation.per_class(matrix, list("abcde"))
    np.testing.assert_allclose(
        [[row[key] for row in rows] for key in ("precision", "recall", "f1", "examples")], expected
    )
    pairs = evaluation.confused(matrix, list("abcde"), 3)
    off = sorted((matrix - np.diag(np.diag(matrix))).ravel())[::-1][:3]
    assert [pair["count"] for pair in pairs] == off and all(
        pair["true"] != pair["predicted"] for pair in pairs
    )


def test_the_largest_losses_come_first(digits, finished_run):
    source = trained.load(finished_run)
    test = source.dataset().test
    probabilities = source.probabilities(test.examples.astype("float32"))
    losses = -np.log(probabilities[np.arange(len(test.labels)), test.labels])
    assert len(digits.top_losses) == 12
    np.testing.assert_allclose(
        [example.loss for example in digits.top_losses], np.sort(losses)[::-1][:12], rtol=1e-4
    )
    for example in digits.top_losses:
        index = next(
            i for i, image in enumerate(test.examples) if np.array_equal(image, example.input)
        )
        assert example.true_class == source.class_names[test.labels[index]]
        assert example.predicted == source.class_names[probabilities[index].argmax()]


def test_the_classical_kernels_are_convolutions(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    shown = kernels.through(tmp_path / "noise.png")
    assert [each.name for each in shown] == [name.replace("_", " ") for name in KERNELS]
    for each, kernel in zip(shown, KERNELS.values(), strict=True):
        expected = ndimage.correlate(
            pixels.astype(float), kernel[:, :, None].astype(float), mode="constant"
        )
        grey = 0 if kernel.sum() else 128
        np.testing.assert_allclose(each.pixels, np.clip(expected + grey, 0, 255), atol=0.51)
        if each.difference is not None:
            change = np.clip(128 + 4 * (expected - pixels), 0, 255)
            np.testing.assert_allclose(each.difference, change, atol=0.51)
    changed = [each.name for each in shown if each.difference is not None]
    assert changed == ["sharpen", "box blur", "gaussian blur", "emboss"]
    page = explain_page.kernels_page("<noise>", shown)
    assert len(checked(page).alts) == len(KERNELS) + len(changed)
    assert page.count("<td>1/9</td>") == 9 and "<td>-4</td>" in page


def many_classes(digits, count):
    """The explanation of a network of `count` classes, as far as its test scores go."""
    names = [f"class {number}" for number in range(count)]
    matrix = np.random.default_rng(0).integers(0, 3, (count, count)) + 20 * np.eye(count, dtype=int)
    metrics = {**digits.trained.metrics, "class_names": names, "test_confusion": matrix.tolist()}

    def renamed(examples):
        return [
            dataclasses.replace(
                example,
                true_class=f"class {example.true_class}",
                predicted=f"class {example.predicted}",
            )
            for example in examples
        ]

    return dataclasses.replace(
        digits,
        examples=renamed(digits.examples),
        top_losses=renamed(digits.top_losses),
        trained=dataclasses.replace(digits.trained, metrics=metrics),
        per_class=evaluation.per_class(matrix, names),
        confused=evaluation.confused(matrix, names),
    )


def test_many_classes_are_a_picture_and_a_list(digits):
    explained = many_classes(digits, 120)
    page = explain_page.run_page(explained)
    parts = checked(page)
    assert (
        page.count("<svg") == 4
        and "Most confused classes" in parts.text
        and len(explained.confused) == 20
    )
    assert (
        all(pair["count"] == 2 for pair in explained.confused)
        and page.count("<td>class 7</td>")
        == len(
            [pair for pair in explained.confused if "class 7" in (pair["true"], pair["predicted"])]
        )
        + 1
    )  # and once among the scores


def test_the_command_writes_the_page_and_tells_what_is_on_it(
    digits, finished_run, text_run, tmp_path, capfd
):
    image = Image.fromarray(digits.top_losses[0].input[:, :, 0])
    image.resize((80, 60)).convert("RGB").save(tmp_path / "digit.jpg")
    page = tmp_path / "page.html"
    assert (
        main(
            [
                "explain",
                str(finished_run),
                "--image",
                str(tmp_path / "digit.jpg"),
                "--to",
                str(page),
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capfd.readouterr().out)
    assert (
        told["page"] == str(page)
        and told["bytes"] == page.stat().st_size
        and len(told["per_class"]) == 10
    )
    assert (
        told["looked_into"][0]["true"] is None
        and told["top_losses"][0]["true"] == digits.top_losses[0].true_class
    )
    shutil.copytree(text_run, tmp_path / "run")
    recipe = json.loads((tmp_path / "run/recipe.json").read_text())
    (tmp_path / "run/recipe.json").write_text(
        json.dumps({**recipe, "data": str(tmp_path / "gone.csv")})
    )
    assert main(["explain", str(tmp_path / "run")]) == 0  # the data have gone
    assert "open it in a browser" in capfd.readouterr().out
    assert "test examples that the run kept" in (tmp_path / "run/explain.html").read_text()
    assert not [file for file in tmp_path.rglob(".*.tmp")]


def test_mistakes_are_one_line(finished_run, text_run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.png").write_text("no image")
    shutil.copytree(
        finished_run, tmp_path / "unfinished", ignore=shutil.ignore_patterns("metrics.json")
    )
    run = str(finished_run)
    for args, code, words in (
        ([], 2, "Expected either a RUN"),
        ([run, "--filters", "note.png"], 2, "Expected either a RUN"),
        (["--filters", "note.png", "--text", "a"], 2, "stands alone"),
        (["gone"], 1, "gone is not a run directory"),
        (["unfinished"], 1, "is not finished"),
        ([run, "--image", "note.png"], 1, "note.png is not a JPEG, PNG, GIF"),
        ([run, "--image", "gone.png"], 1, "Cannot read gone.png"),
        ([run, "--text", "a film"], 1, "Pass an image (--image), not a text"),
        ([str(text_run), "--image", "note.png"], 1, "Pass a sentence (--text)"),
        ([run, "--to", "gone/page.html"], 1, "there is no such folder"),
        ([run, "--to", "."], 1, "it is a folder"),
        (["--filters", "note.png"], 1, "note.png is not a JPEG, PNG, GIF"),
    ):
        assert main(["explain", *args]) == code
        said = capfd.readouterr()
        assert words in said.err and len(said.err.splitlines()) == 1 and not said.out, said.err
    assert not list(tmp_path.glob("*.html"))


def test_the_page_fits_a_phone_and_a_desk_light_and_dark(browser, digits, reviews, tmp_path):
    pages = {
        "digits": explain_page.run_page(digits),
        "reviews": explain_page.run_page(reviews),
        "many": explain_page.run_page(many_classes(digits, 40)),
        "kernels": explain_page.kernels_page("digit", [kernels.Filtered(
            "box blur", KERNELS["box_blur"], *[digits.top_losses[0].input] * 2)]),
    }
    for name, content in pages.items():
        (tmp_path / f"{name}.html").write_text(content)
        for width, scheme in ((390, "dark"), (1280, "light")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            faults, asked = [], []
            page.on("pageerror", lambda fault, faults=faults: faults.append(fault))
            page.on("console", lambda line, faults=faults: faults.append(line.text))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(f"file://{tmp_path}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.evaluate(
                "[...document.images].every(image => image.complete && image.naturalWidth)"
            )
            colours = page.evaluate(
                "(style => [style.backgroundColor, style.color])(getComputedStyle(document.body))"
            )
            ground, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
            assert (ground < ink) == (scheme == "dark") and not faults
            assert all(url.startswith(("file:", "data:")) for url in asked)
            page.close()
