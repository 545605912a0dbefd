"""What the page of a network shows of its results, against the same computed another way."""
import dataclasses
import json
import re

import keras
import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.metrics import confusion_matrix

from zoo.training import trained
from zoo.training.explanation import augmented, embedding, explainer, gallery, occlusion
from zoo.training.explanation import page as explain_page
from zoo.training.explanation.saliency import saliency


@pytest.fixture(scope="module")
def explained(explained_run):
    return explained_run


@pytest.fixture(scope="module")
def page(explained):
    return explain_page.run_page(explained)


@pytest.fixture(scope="module")
def logits(finished_run):
    """The labels and logits of the test split."""
    source = trained.load(finished_run)
    test = source.dataset().test
    return test.labels, source.model.predict(test.examples.astype("float32"), verbose=0)


def results(page):
    return json.loads(re.search(r'id="results">(.*?)</script>', page, re.DOTALL)[1])


def linear(shape, classes):
    """A network whose logits are the image times random weights, and these weights."""
    image = keras.Input(shape)
    out = keras.layers.Dense(classes, use_bias=False, name="logits")(keras.layers.Flatten()(image))
    model = keras.Model(image, out)
    weights = np.random.default_rng(0).normal(0, 0.01, (int(np.prod(shape)), classes))
    model.get_layer("logits").set_weights([weights.astype("float32")])
    return model, weights


@pytest.mark.parametrize("shape", [(14, 20, 3), (6, 5, 1)])
def test_occlusion_is_the_drop_of_the_probability(shape):
    model, weights = linear(shape, 4)
    image = np.random.default_rng(1).integers(0, 256, shape).astype("uint8")
    drops = occlusion.occlusion(model, image, [2, 0])
    sizes = [max(round(0.22 * side), 1) for side in shape[:2]]
    counts = [min(11, side - size + 1) for side, size in zip(shape, sizes, strict=False)]
    assert drops.shape == (2, *counts)

    def probability(pixels):
        exponents = np.exp(pixels.ravel() @ weights)
        return (exponents / exponents.sum())[[2, 0]]
    for row, column in ((0, 0), (0, counts[1] - 1), (counts[0] - 1, 0), (1, 1)):
        covered = image.astype(float)
        top, left = (round(place * (side - size) / (count - 1)) for place, side, size, count in zip(
            (row, column), shape, sizes, counts, strict=False))
        covered[top:top + sizes[0], left:left + sizes[1]] = image.mean(axis=(0, 1))
        np.testing.assert_allclose(drops[:, row, column],
                                   probability(image.astype(float)) - probability(covered),
                                   atol=1e-5)
    heat = occlusion.heat(drops[0], shape)
    assert heat.shape == shape[:2] and heat.min() >= 0 and heat.max() <= 1 + 1e-6


def test_saliency_of_a_linear_network_is_its_weights():
    model, weights = linear((5, 4, 3), 3)
    image = np.random.default_rng(1).integers(0, 256, (2, 5, 4, 3)).astype("uint8")
    expected = np.abs(weights.reshape(5, 4, 3, 3)).max(axis=2)[:, :, [1, 2]]
    maps = saliency(model, image, [1, 2])
    np.testing.assert_allclose(maps, np.moveaxis(expected / expected.max(axis=(0, 1)), 2, 0),
                               rtol=1e-5)


def test_the_map_is_that_of_the_features(explained, finished_run):
    model = trained.load(finished_run).model
    body = keras.Model(model.input, model.get_layer("f6").output)
    count = len(explained.positions["PCA"])
    assert count == 250 <= len(explained.examples)
    images = np.stack([example.input for example in explained.examples[:count]])
    features = body.predict(images.astype("float32"), verbose=0).astype("float64")
    left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(explained.positions["PCA"]),
                               np.abs(left[:, :2] * values[:2]), atol=1e-3)
    assert trustworthiness(features, explained.positions["t-SNE"]) > 0.9


def test_features_without_two_directions_have_no_map():
    line = np.arange(20.0)[:, None] * np.ones(5)
    assert embedding.maps(line) == {} and embedding.maps(np.eye(9)) == {}
    assert set(embedding.maps(np.random.default_rng(0).normal(size=(12, 3)))) == {"PCA", "t-SNE"}


def test_the_examples_of_the_page_are_in_their_cells(page, logits):
    labels, outputs = logits
    shown, predicted = results(page), outputs.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, labels=range(10))
    assert shown["matrix"] == matrix.tolist()
    counts = np.zeros((10, 10), int)
    for example in shown["examples"]:
        counts[example["true"], example["predicted"]] += 1
        best, probability = example["top"][0]
        assert best == example["predicted"] and len(example["top"]) == 5
        assert [p for _, p in example["top"]] == sorted((p for _, p in example["top"]))[::-1]
    assert (counts <= matrix).all() and (counts >= np.minimum(matrix, 4)).all()
    wrong = matrix - np.diag(np.diag(matrix))
    assert shown["pairs"] == {f"{true},{said}": wrong[true, said]
                              for true, said in zip(*wrong.nonzero(), strict=True)}


def test_many_classes_keep_examples_of_the_largest_confusions():
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 50, (2, 4000))
    labels[:400], predicted[:400] = 7, 8
    kept, sampled = gallery.choose(labels, predicted, 50)
    assert sampled == 250 and len(set(kept.tolist())) == len(kept) <= 400
    assert np.sum((labels[kept] == 7) & (predicted[kept] == 8)) >= 4


def test_the_augmented_batch_is_of_training_images(finished_run, explained):
    source = trained.load(finished_run)
    dataset = source.dataset()
    plain = source.recipe.__class__(**{**vars(source.recipe), "augment": {}})
    batch = augmented.augmented_batch(dataset.train, plain, source.class_names)
    assert len(batch) == 16 == len(explained.augmented)
    for pixels, label in batch:
        found = np.flatnonzero((dataset.train.examples == pixels).all(axis=(1, 2, 3)))
        assert label in {source.class_names[dataset.train.labels[index]] for index in found}
    assert any(not np.array_equal(one[0], other[0])
               for one, other in zip(batch, explained.augmented, strict=True))
    assert augmented._words(np.array([0.4, 0, 0.6]), ["a", "b", "c"]) == "c 60 %, a 40 %"


def test_a_run_without_matrices_has_no_slider(explained, finished_run, page, tmp_path):
    assert 'id="epoch"' in page and list(explainer._confusions(finished_run)) == [1, 2, 3]
    before = dataclasses.replace(explained, confusions=explainer._confusions(tmp_path))
    old = explain_page.run_page(before)
    assert 'id="epoch"' not in old and not results(old)["epochs"] and 'id="matrix"' in old


def test_the_page_is_used_by_mouse_keyboard_and_touch(browser, page, tmp_path):
    (tmp_path / "page.html").write_text(page)
    shown = results(page)
    for options in ({"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
                    {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark",
                     "has_touch": True}):
        tab = browser.new_page(**options)
        faults, urls = [], []
        tab.on("pageerror", lambda fault, faults=faults: faults.append(fault))
        tab.on("console", lambda line, faults=faults: faults.append(line.text))
        tab.on("request", lambda request, urls=urls: urls.append(request.url))
        tab.goto(f"file://{tmp_path}/page.html")
        cells = tab.locator("#matrix button")
        touch = options.get("has_touch", False)

        def press(place, tab=tab, touch=touch):
            (tab.locator(place).tap if touch else tab.locator(place).click)()
        # the cells open their examples
        press('#matrix [data-true="3"][data-predicted="3"]')
        count = min(8, sum((e["true"], e["predicted"]) == (3, 3) for e in shown["examples"]))
        assert tab.locator("#cell img").count() == count > 0
        head = f"3, predicted right {shown['matrix'][3][3]} of the test split"
        assert tab.inner_text("#cell h3").startswith(head)
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        assert tab.inner_text("#cell h3").startswith("4, predicted right")
        # the slider shows the epochs
        tab.focus("#epoch")
        tab.keyboard.press("Home")
        first = shown["epochs"][0]
        assert [int(text) for text in cells.all_inner_texts()] == np.ravel(first["matrix"]).tolist()
        assert tab.inner_text("#epoch-shown").startswith("epoch 1: validation split, accuracy")
        tab.keyboard.press("End")
        assert [int(text) for text in cells.all_inner_texts()] == np.ravel(shown["matrix"]).tolist()
        assert "test split" in tab.inner_text("#epoch-shown")
        # the map shows the example at the pointer and at the arrow keys
        assert tab.locator(".point").count() == len(shown["positions"]["PCA"])
        press('[data-map="PCA"]')
        tab.wait_for_timeout(600)  # the points move
        tab.focus("#map svg")
        tab.keyboard.press("ArrowRight")
        example = shown["examples"][0]
        assert tab.locator("#tip img").get_attribute("src") == example["src"]
        assert f"predicted {shown['classes'][example['predicted']]}" in tab.inner_text("#tip")
        tab.keyboard.press("Escape")
        assert tab.locator("#tip").is_hidden()
        box = tab.locator(".point").first.bounding_box()
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        (tab.touchscreen.tap if touch else tab.mouse.move)(*middle)
        assert tab.locator("#tip img").is_visible()
        press("#classes button >> nth=0")
        assert tab.locator(".point.faded").count() == sum(
            e["true"] != 0 for e in shown["examples"][:250])
        assert tab.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"]
        assert not faults and all(url.startswith(("file:", "data:")) for url in urls)
        tab.close()
