"""The map of a network on the explain page: its arithmetic and receptive fields, clicked through.

The expected numbers come from Keras sub-models and from gradients, never from the exporter.
"""

import base64
import math
import re
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from zoo.errors import UserError
from zoo.training import trained
from zoo.training.explanation import arithmetic, network_map, page
from zoo.training.pages import templates
from zoo.training.preprocessing.tokens import split_words

SENTENCE = "thầy dạy rất hay và nhiệt tình nhưng phòng học còn nóng"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>map</title>
<link rel="icon" href="data:,"><style>:root { color-scheme: light dark; --ground: #fff;
--ink: #1a1c1f; --soft: #5c636b; --line: #d5d9de; --panel: #f5f6f8; --bar: #2463c4 }
body { margin: 1rem } * { box-sizing: border-box }</style>
<script>""" + (Path(templates.__file__).parent / "d3.min.js").read_text("utf-8") + """</script>
</head><body>"""


def picture(shape, seed=0):
    """A random uint8 image with large patches, in which maps differ from place to place."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, shape[2]))
    return np.round(tf.image.resize(rough, shape[:2]).numpy()).astype("uint8")


def randomize(model):
    """Move the statistics and offsets of a network off their initial 0 and 1."""
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(generator.normal(size=layer.bias.shape) / 10)
    return model


def output_of(model, names, example):
    """{name: the network's own output of that layer}, by a Keras sub-model."""
    tapped = keras.Model(model.input, {name: model.get_layer(name).output for name in names})
    outputs = tapped(np.asarray(example)[None], training=False)
    return {name: np.asarray(value)[0] for name, value in outputs.items()}


def as_map(values):
    shape = {1: (1, 1, -1), 2: (len(values), 1, -1), 3: values.shape}[values.ndim]
    return values.reshape(shape)


def computed(step, channel, row, column):
    """A number by `terms_at` and the step's parameters, as the page's script computes it."""
    terms = arithmetic.terms_at(step, channel, row, column)
    value = {"max": lambda: terms.inputs.max(), "multiply": lambda: terms.inputs.prod(),
             "lrn": lambda: step.values[row, column, channel]}.get(
        step.kind, lambda: (terms.inputs * terms.weights).sum())()
    for name, options in step.after:
        option = {key: np.broadcast_to(value, step.shape[2])[channel] if isinstance(
            value, np.ndarray | float) else value for key, value in options.items()}
        if name == "bias":
            value += option["by"]
        elif name == "scale":
            value = value * option["by"] + option["offset"]
        elif name == "bn":
            value = (value - option["mean"]) / np.sqrt(
                option["variance"] + option["epsilon"]) * option["gamma"] + option["beta"]
        elif name == "relu":
            value = min(max(value, 0), option["max"] or np.inf)
        else:
            value = float(getattr(keras.activations, name)(np.float64(value)))
    return value


NETWORKS = {
    "lenet5": {}, "small_inception": {}, "resnet20": {}, "nin_cifar10": {},
    "googlenet": {"input_shape": (64, 64, 3)}, "densenet40_k12": {},
    "mobilenet_v2": {"input_shape": (64, 64, 3)}, "se_resnet50": {"input_shape": (64, 64, 3)},
    "mobilenet_v3_small": {"input_shape": (64, 64, 3)}, "resnext50_32x4d":
    {"input_shape": (64, 64, 3)}, "shufflenet_v2_x0_5": {"input_shape": (64, 64, 3)},
    "xception": {"input_shape": (96, 96, 3)}}


@pytest.mark.parametrize("name", [
    *("lenet5", "small_inception", "resnet20"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in list(NETWORKS)[3:])])
def test_the_terms_of_a_number_add_up_to_the_networks_own(name):
    model = randomize(zoo.build(name, **NETWORKS[name]))
    image = picture(model.input.shape[1:])
    steps = arithmetic.steps_of(model, image.astype("float32"))
    generator = np.random.default_rng(0)
    last = {step: step.nodes[-1].operation.name for step in steps}
    named = {layer.name for layer in model.layers}
    own = output_of(model, [each for each in last.values() if each in named], image)
    assert not [step.layers for step in steps if step.kind == "other"]
    for step in steps[1:]:
        if last[step] not in own:  # an operation, which no layer's name leads to
            continue
        expected = as_map(own[last[step]])
        for _ in range(4):
            place = tuple(int(generator.integers(n)) for n in expected.shape)
            value = computed(step, place[2], *place[:2])
            assert value == pytest.approx(expected[place], rel=1e-4, abs=1e-4), step.layers


def positive(model):
    """The same graph with weights above 0 and means for maxima, so that no gradient is lost."""
    def swap(layer):
        if isinstance(layer, layers.MaxPooling2D):
            return layers.AveragePooling2D(layer.pool_size, layer.strides, layer.padding,
                                           name=layer.name)
        if isinstance(layer, layers.Activation | layers.ReLU):
            return layers.Activation("linear", name=layer.name)
        return layer.__class__.from_config(layer.get_config())
    clone = keras.models.clone_model(model, clone_function=swap)
    for weight in clone.weights:
        weight.assign(np.full(weight.shape, 0.1))
    for layer in clone.layers:
        if hasattr(layer, "activation"):
            layer.activation = keras.activations.linear
    return clone


def measured_fields(model, name, places):
    """[(first row, last row, first column, last column)] of the pixels with a gradient."""
    tapped = keras.Model(model.input, model.get_layer(name).output)
    images, fields = tf.ones((len(places), *model.input.shape[1:])), []  # one for each place
    with tf.GradientTape() as tape:
        tape.watch(images)
        values = tapped(images, training=False)
        chosen = tf.gather_nd(values, [(n, *place) for n, place in enumerate(places)])
        total = tf.reduce_sum(chosen)
    for gradient in tape.gradient(total, images).numpy():
        seen = np.abs(gradient).sum(axis=2) > 0
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        fields.append((rows[0], rows[-1], columns[0], columns[-1]))
    return fields


def borders(height, width, generator):
    """The corners of a map, the middles of its edges, and a position inside."""
    rows, columns = {0, height // 2, height - 1}, {0, width // 2, width - 1}
    inside = tuple(int(generator.integers(side)) for side in (height, width))
    return sorted({(row, column) for row in rows for column in columns} | {inside})


def check_fields(model, most=None):
    """Compare the fields of up to `most` steps, evenly spread, with gradients, at all borders."""
    steps = arithmetic.steps_of(model, np.zeros(model.input.shape[1:], "float32"))
    clone, generator = positive(model), np.random.default_rng(0)
    named = {layer.name: layer for layer in clone.layers}
    last = {step: step.nodes[-1].operation.name for step in steps[1:]}
    chosen = [step for step in steps[1:] if last[step] in named and step.kind != "move"
              and len(named[last[step]].output.shape) == 4]
    if most:
        chosen = chosen[::-1][::math.ceil(len(chosen) / most)]
    for step in chosen:
        places = borders(*step.shape[:2], generator)
        shown = [(*step.fields[0][row], *step.fields[1][column]) for row, column in places]
        assert shown == measured_fields(clone, last[step], places), last[step]
    assert len(chosen) >= 4


# AlexNet and SqueezeNet pad nothing at first: the last pixels of these sides reach no value.
@pytest.mark.parametrize("name, sides", [
    ("lenet5", (32, 32)), ("small_inception", (28, 28)), *(
        pytest.param(*case, marks=pytest.mark.slow) for case in (
            ("small_inception", (27, 30)), ("resnet20", (32, 32)), ("resnet20", (33, 30)),
            ("resnet18", (70, 65)), ("googlenet", (64, 64)), ("googlenet", (70, 65)),
            ("mobilenet_v2", (64, 64)), ("mobilenet_v2", (65, 70)), ("alexnet", (100, 130)),
            ("shufflenet_v2_x0_5", (65, 66)), ("squeezenet1_1", (64, 65)),
            ("xception", (97, 90)), ("densenet40_k12", (32, 32))))])
def test_receptive_fields_are_where_the_gradients_are(name, sides):
    channels = zoo.spec(name).defaults["input_shape"][-1]
    check_fields(zoo.build(name, input_shape=(*sides, channels)), 12)


@pytest.mark.parametrize("kernel", [2, 3, 4, (2, 5)])
@pytest.mark.parametrize("sides", [(16, 16), (17, 22)])
def test_receptive_fields_of_even_kernels_end_where_the_gradients_do(kernel, sides):
    """"same" pads such a kernel with stride 2 by more pixels after the last than before the first.
    """
    image = layers.Input((*sides, 1))
    x = layers.Conv2D(2, kernel, strides=2, padding="same")(image)
    x = layers.MaxPooling2D(kernel, 2, "same")(x)
    x = layers.Conv2D(2, kernel, padding="same", dilation_rate=2)(x)
    y = layers.Conv2D(2, 1, strides=2, padding="same")(x)
    x = layers.AveragePooling2D(kernel, 2, "same")(x)
    check_fields(keras.Model(image, layers.Add()([x, y])))


def test_what_is_moved_sees_pixels_though_other_numbers_beside_it_see_only_padding():
    image = layers.Input((4, 4, 1))
    padded = layers.ZeroPadding2D(1)(image)
    x = layers.Add()([layers.Conv2D(2, 1)(padded), layers.Conv2D(2, 1)(padded)])
    x = layers.Reshape((3, 12, 2))(x)
    *_, moved = arithmetic.steps_of(keras.Model(image, x), np.zeros((4, 4, 1), "float32"))
    assert moved.kind == "move"  # its first row is a row of padding and the image's first row
    assert moved.fields[0].tolist() == [[0, 0], [1, 2], [3, 3]]
    row = [[-1, -1], *([n, n] for n in range(4)), [-1, -1]]
    assert moved.fields[1].tolist() == [*row, *row]


def test_a_model_of_ones_own_has_a_map():
    image = layers.Input((12, 12, 3))
    x = layers.SeparableConv2D(4, 3, padding="same", activation="gelu")(image)
    y = layers.Conv2D(4, 3, strides=2, padding="same", dilation_rate=1)(x)
    y = layers.LeakyReLU(negative_slope=0.1)(y)
    x = layers.Average()([layers.AveragePooling2D(3, 2, "same")(x), y])
    x = layers.Lambda(lambda x: x * 2)(x)
    x = layers.Dense(5, activation="softmax")(layers.Flatten()(x))
    model = keras.Model(image, x)
    data = network_map.map_data(model, picture((12, 12, 3)), list("abcde"))
    kinds = [step["kind"] for step in data["steps"]]
    assert kinds == ["input", "conv", "avg", "conv", "average", "other", "conv"] and data["exact"]
    logits = np.frombuffer(base64.b64decode(data["logits"]), "<f4")
    own = model(picture((12, 12, 3))[None].astype("float32"), training=False)[0]
    assert keras.ops.softmax(logits).numpy() == pytest.approx(own.numpy(), abs=1e-5)
    assert "network-map-data" in page.model_page(model, picture((12, 12, 3)), list("abcde"))
    two_channels = np.random.default_rng(0).normal(size=(12, 12, 2))
    other = keras.Sequential([layers.Input((12, 12, 2)), layers.Conv2D(3, 3)])
    assert network_map.map_data(other, two_channels, [])["steps"][0]["cell"] == [12, 12]
    nested = keras.Sequential([layers.Input((12, 12, 3)), model])
    kinds = [step["kind"] for step in network_map.map_data(
        nested, picture((12, 12, 3)), list("abcde"))["steps"]]
    assert kinds == ["input", "other"]


def test_a_model_that_is_no_graph_is_one_line():
    class Own(keras.Model):
        def call(self, x):
            return x
    with pytest.raises(UserError, match="^There is no map of this network: own is not a graph"):
        network_map.fragment(Own(name="own"), picture((8, 8, 1)), ["a"])


@pytest.mark.parametrize("name", ["textcnn_course", "textcnn_multichannel", "dpcnn", "text_mlp",
                                  "fasttext"])
def test_networks_for_sentences_have_a_map(name):
    model = randomize(zoo.build(name, vocab_size=30, embedding=8))
    ids, words = np.arange(3, 12), list("stuvwxyza")
    steps = arithmetic.steps_of(model, ids.astype("int32"))
    last = [step for step in steps if not step.hidden][-1]
    own = output_of(model, ["logits"], ids.astype("int32"))["logits"]
    assert last.layers[-1] == "logits"
    assert [computed(last, unit, 0, 0) for unit in (0, 1)] == pytest.approx(list(own), abs=1e-4)
    data = network_map.map_data(model, ids, ["bad", "good"], words)
    shown = [step for step in data["steps"] if not step["hidden"]]
    opaque = [step["name"] for step in shown if step["kind"] == "other"]
    assert opaque == {"text_mlp": ["mean"], "fasttext": ["embedding_ngrams", "mean"]}.get(name, [])
    assert not any("mask" in step["name"] and step["kind"] != "multiply" for step in shown)


# In a browser.


class Clicked:
    """A page with a map, opened and clicked in a browser."""

    def __init__(self, browser, fragment, folder, width=1280, scheme="light"):
        file = folder / "map.html"
        file.write_text(f"{PAGE}{fragment}</body></html>", encoding="utf-8")
        self.bytes = file.stat().st_size
        self.faults, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900},
                                     color_scheme=scheme, has_touch=width < 600)
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.page.on("console", lambda line: self.faults.append(line.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        begin = time.monotonic()
        self.page.goto(f"file://{file}")
        self.page.wait_for_selector("#network-map[data-ready]")
        self.seconds = time.monotonic() - begin

    def open_all(self):
        self.page.click("[data-do=open]")

    def choose(self, name, channel=None):
        """Click a layer, and one of its maps."""
        self.page.locator(f'.node[data-name="{name}"]').dispatch_event("click")
        if channel is not None:
            self.page.click(f'.maps [data-channel="{channel}"]')

    def click_pixel(self, row, column, shape):
        """Click the middle of a pixel of the large map."""
        plane = self.page.locator(".plane[tabindex]")
        plane.scroll_into_view_if_needed()
        box = plane.bounding_box()
        plane.click(position={"x": (column + 0.5) * box["width"] / shape[1],
                              "y": (row + 0.5) * box["height"] / shape[0]})

    def lines(self):
        """[(text, number)] of the arithmetic that is shown."""
        rows = self.page.evaluate(
            "[...document.querySelectorAll('.arithmetic > .sum:last-child tr')]"
            ".map(row => [row.className, ...[...row.cells].map(cell => cell.textContent)])")
        return [(kind, text, number(value)) for kind, text, value in rows]

    def field(self):
        field = self.page.locator(".plane .field")
        rows, columns = field.get_attribute("data-rows"), field.get_attribute("data-columns")
        return tuple(map(int, f"{rows},{columns}".split(",")))

    def check(self):
        assert not self.faults
        assert all(url.startswith(("file:", "data:", "blob:")) for url in self.requests)


def number(text):
    return float(text.replace("−", "-").replace("=", ""))


def check_sum(lines, step, expected):
    """The shown products add up to the shown sum, and the last line is the network's number."""
    if step["kind"] == "conv":
        products = sum(value for kind, _, value in lines if re.match("product|others", kind))
        total = next(value for kind, _, value in lines if kind.startswith("total"))
        assert products == pytest.approx(total, rel=1e-4, abs=1e-4)
    assert lines[-1][2] == pytest.approx(expected, rel=1e-4, abs=1e-4), (step["name"], lines)


def click_through(clicked, model, image, data, pixels, fields_of=None):
    """Click random pixels of random maps; compare with the network's own numbers."""
    clicked.open_all()
    named = {layer.name for layer in model.layers}
    generator = np.random.default_rng(0)
    steps = [step for step in data["steps"][1:] if step["shape"][0] > 1 and step["kind"] != "move"
             and step["layers"][-1] in named]
    own = output_of(model, {step["layers"][-1] for step in steps}, image)
    for _ in range(pixels):
        step = steps[generator.integers(len(steps))]
        channel = int(generator.choice(step["channels"]))
        row, column = (int(generator.choice(step.get(key) or range(length))) for key, length in
                       zip(("rows", "columns"), step["shape"][:2], strict=True))
        clicked.choose(step["name"], channel)
        clicked.click_pixel(row, column, step["shape"])
        assert f"map {channel}, row {row}, column {column}" in clicked.page.inner_text(".look h3")
        check_sum(clicked.lines(), step, own[step["layers"][-1]][row, column, channel])
        if fields_of:
            (field,) = measured_fields(fields_of, step["layers"][-1], [(row, column)])
            assert clicked.field() == field, step["name"]
    clicked.check()


def shipped(name, image):
    source = trained.load(name)
    example = image(source.model.input.shape[1:])
    return source.model, example, source.class_names


def check_softmax(clicked, model, image, names):
    clicked.choose("softmax")
    expected = keras.ops.softmax(model(np.asarray(image, "float32")[None], training=False))[0]
    rows = clicked.page.evaluate("[...document.querySelectorAll('.softmax tbody tr')]"
                                 ".map(row => [...row.cells].map(cell => cell.textContent))")
    for text, _, _, probability in rows:
        assert number(probability) == pytest.approx(float(expected[names.index(text)]), abs=1e-4)


@pytest.mark.parametrize("pixels", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_clicks_on_lenet_show_the_networks_own_numbers(pixels, browser, tmp_path):
    model, image, names = shipped("lenet5-mnist", picture)
    fragment = network_map.fragment(model, image, names)
    data = network_map.map_data(model, image, names)
    clicked = Clicked(browser, fragment, tmp_path)
    click_through(clicked, model, image, data, pixels, positive(model))
    units = as_map(output_of(model, ["f6"], image)["f6"])[0, 0]
    clicked.choose("f6", 83)
    assert clicked.lines()[-1][2] == pytest.approx(units[83], abs=1e-4)
    check_softmax(clicked, model, image, names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small_inception-mnist", "resnet20-cifar10"])
def test_clicks_on_larger_networks_show_their_own_numbers(name, browser, tmp_path):
    model, image, names = shipped(name, picture)
    fragment = network_map.fragment(model, image, names)
    data = network_map.map_data(model, image, names)
    clicked = Clicked(browser, fragment, tmp_path)
    assert clicked.bytes < 3_000_000
    click_through(clicked, model, image, data, 100, positive(model))
    check_softmax(clicked, model, image, names)


@pytest.mark.slow
@pytest.mark.parametrize("name, side", [("googlenet", 64), ("googlenet", 224), ("resnet50", 224)])
def test_clicks_on_networks_of_imagenet_show_their_own_numbers(name, side, browser, tmp_path):
    model = randomize(zoo.build(name, input_shape=(side, side, 3), classes=20))
    image, names = picture((side, side, 3)), [f"class {number}" for number in range(20)]
    fragment = network_map.fragment(model, image, names)
    data = network_map.map_data(model, image, names)
    clicked = Clicked(browser, fragment, tmp_path)
    assert clicked.bytes < 3_000_000 and clicked.seconds < 2
    check_softmax(clicked, model, image, names)
    click_through(clicked, model, image, data, 100)


def test_the_words_under_the_winning_window_light_up(browser, tmp_path):
    source = trained.load("textcnn-uit_vsfc")
    words = split_words([SENTENCE], source.recipe.max_tokens)[0]
    ids = source.inputs([SENTENCE.encode()])[0]
    clicked = Clicked(browser, network_map.fragment(
        source.model, ids, source.class_names, words), tmp_path)
    clicked.open_all()
    model, shown = source.model, clicked.page
    own = output_of(model, ["window3_masked", "max_window3", "window3_conv"], ids)
    for button in range(4):
        clicked.choose("max_window3")
        shown.locator(".maps button").nth(button).click()
        channel = int(shown.locator(".maps button").nth(button).get_attribute("data-channel"))
        assert clicked.lines()[-1][2] == pytest.approx(own["max_window3"][channel], abs=1e-4)
        start = own["window3_masked"][:, channel].argmax() - 2  # two words of padding
        expected = [words[i] for i in range(start, start + 3) if 0 <= i < len(words)]
        assert shown.locator(".sentence .lit").all_inner_texts() == expected
    clicked.choose("window3_conv", channel)
    for row in (0, 4, 7):
        shown.click(f'.windows [data-row="{row}"]')
        lines = clicked.lines()
        assert lines[-1][2] == pytest.approx(own["window3_conv"][row, channel], abs=1e-4)
        each = shown.locator(".perword td:last-child").all_inner_texts()
        total = next(value for kind, _, value in lines if kind.startswith("total"))
        assert sum(map(number, each)) == pytest.approx(total, abs=1e-4)
    clicked.check()


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_the_map_works_by_keyboard_mouse_and_touch_and_fits(width, scheme, browser, tmp_path):
    model, image, names = shipped("resnet20-cifar10", picture)
    clicked = Clicked(browser, network_map.fragment(model, image, names), tmp_path, width, scheme)
    shown = clicked.page
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    stage = shown.locator('.node[data-id="stage3"] .shape')
    if width < 600:
        stage.tap()
    else:
        stage.click()
    shown.locator('.group[data-path="stage3"] text').click()
    assert shown.locator('.node[data-id="stage3"]').count() == 1
    shown.locator('.node[data-id="stage2"]').focus()
    assert "multiply-adds" in shown.inner_text(".tip") and "params" in shown.inner_text(".tip")
    shown.keyboard.press("Enter")
    shown.locator('.node[data-id="stage2_block1"]').focus()
    shown.keyboard.press("Enter")
    shown.locator('.node[data-name="stage2_block1_b_conv"]').focus()
    shown.keyboard.press(" ")
    assert "stage2 › block1 › b conv" in shown.inner_text(".look h3").replace("\n", " ")
    shown.locator(".plane[tabindex]").focus()
    before = shown.inner_text(".look h3")
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("ArrowUp")
    assert shown.inner_text(".look h3") != before
    shown.locator('.group[data-path="stage2"]').focus()
    shown.keyboard.press("Enter")
    assert shown.locator('.node[data-id="stage2"]').count() == 1
    shown.emulate_media(media="print")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    view, last = (shown.locator(selector).bounding_box() for selector in
                  (".view", '.node[data-name="softmax"]'))
    assert last["x"] + last["width"] <= view["x"] + view["width"] + 1
    assert last["y"] + last["height"] <= view["y"] + view["height"] + 1
    clicked.check()
