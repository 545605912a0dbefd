"""TextCNN as Kim 2014 describes it; padding never changes its logits."""
import keras
import numpy as np
import pytest

import zoo
from tests.models import TINY
from zoo.errors import UsageError
from zoo.tables import layer_table

NAMES = sorted(name for name in TINY if name.startswith("text"))
LENGTHS = (0, 1, 2, 3, 4, 6, 9)
SMALL = {"vocab_size": 50, "embedding": 6, "filters": 5, "windows": (2, 4)}


def small(name, **overrides):
    keras.utils.set_random_seed(1)
    return zoo.build(name, **TINY[name] | overrides)


def sentences(width):
    """One sentence of each of LENGTHS, padded to `width`."""
    tokens = np.random.default_rng(0).integers(1, 50, (len(LENGTHS), width)).astype("int32")
    return np.where(np.arange(width) < np.array(LENGTHS)[:, None], tokens, 0)


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_change_the_logits(name):
    model = small(name)
    together = model(sentences(9)).numpy()
    assert np.isfinite(together).all(), "the empty sentence too"
    differences = np.abs(together[1:] - together[:-1]).max(axis=1)
    assert differences.min() > 1e-4, "the sentences have the same logits"
    alone = [model(row[None, :max(length, 1)]).numpy()[0]
             for row, length in zip(sentences(9), LENGTHS, strict=True)]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    long = np.pad(sentences(9), ((0, 0), (0, 200)))
    np.testing.assert_allclose(model(long).numpy(), together, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_change_a_gradient(name):
    rates = [option for option in zoo.spec(name).defaults if "dropout" in option]
    model = small(name, **dict.fromkeys(rates, 0.0))
    compile_sgd(model, 1.0)
    start, after = model.get_weights(), []
    for padding in (0, 21):
        model.set_weights(start)
        padded = np.pad(sentences(9), ((0, 0), (0, padding)))
        model.fit(padded, np.arange(7) % 2, verbose=0)
        after.append(model.get_weights())
    for one, other in zip(*after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def compile_sgd(model, learning_rate):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate), loss)


def by_hand(model, tokens, windows):
    """The logits of one sentence, window by window.

    `windows(n, width)` gives the positions where they start, also before the sentence.
    """
    vectors = model.get_layer("embedding_nonstatic").get_weights()[0][tokens]
    features = []
    for width in SMALL["windows"]:
        kernel, bias = model.get_layer(f"window{width}_conv").get_weights()
        padded = np.pad(vectors, ((width, width), (0, 0)))
        matches = [np.tensordot(padded[width + start:2 * width + start], kernel, 2) + bias
                   for start in windows(len(tokens), width)]
        features.append(np.maximum(matches, 0).max(axis=0))
    kernel, bias = model.get_layer("logits").get_weights()
    return np.concatenate(features) @ kernel + bias


@pytest.mark.parametrize("length", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name, windows", [
    ("textcnn", lambda n, width: range(1 - width, n)),
    ("textcnn_course", lambda n, width: range(max(n - width, 0) + 1))])
def test_a_sentence_has_the_documented_windows(name, windows, length):
    keras.utils.set_random_seed(0)
    model = zoo.build(name, **SMALL)
    for layer in model.layers:
        if layer.name.endswith("_conv"):  # a bias that lets a window of padding win
            layer.bias.assign(np.random.default_rng(1).uniform(0, 1, 5))
    tokens = np.random.default_rng(length).integers(2, 50, length)
    logits = model(np.pad(tokens, (0, 7))[None]).numpy()[0]
    np.testing.assert_allclose(logits, by_hand(model, tokens, windows), atol=1e-5)


def test_convolutions_and_output_have_the_published_params():
    model = zoo.build("textcnn", vocab_size=10)
    after_embedding = [x for x in model.layers if x.name.endswith(("_conv", "logits"))]
    assert sum(layer.count_params() for layer in after_embedding) == 360_902
    assert {name: zoo.spec(name).params for name in NAMES if zoo.spec(name).params} == {
        "textcnn": 6_360_902, "textcnn_course": 6_360_902, "textcnn_multichannel": 12_360_902,
        "textcnn_nonstatic": 6_360_902, "textcnn_static": 6_360_902}


def test_the_layer_table_reads_like_the_paper():
    rows = {row.layer: row for row in layer_table(zoo.build("textcnn"))}
    conv, best = rows["window5_conv"], rows["max_window5"]
    assert (conv.kind, conv.maps, conv.size, conv.kernel, conv.activation, conv.params) == (
        "Convolution", 100, "n", "5", "relu", 150_100)
    assert conv.multiply_adds == 150_000, "for one position"
    assert (best.kind, best.size, rows["tokens"].size) == ("Max over time", "100", "n")


@pytest.mark.parametrize("name, trainable", [
    ("nonstatic", {"embedding_nonstatic"}), ("static", set()),
    ("multichannel", {"embedding_nonstatic"})])
def test_static_tables_stay_and_the_others_learn(name, trainable):
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    model = small(f"textcnn_{name}", vectors=vectors)
    tables = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    for layer in tables:
        assert np.array_equal(layer.get_weights()[0], vectors.astype("float32"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(sentences(9), np.arange(7) % 2, verbose=0)
    moved = {x.name for x in tables if not np.allclose(x.get_weights()[0], vectors)}
    assert moved == trainable
    assert "vectors" not in model.to_json(), "the configuration must not hold the vectors"
    assert len(model.to_json()) < 20_000


def test_both_channels_start_alike_and_add_up():
    model = small("textcnn_multichannel")
    static, nonstatic = (model.get_layer(f"embedding_{table}").get_weights()[0]
                         for table in ("static", "nonstatic"))
    assert np.array_equal(static, nonstatic) and 0.2 < np.abs(static).max() <= 0.25
    table = small("textcnn", scale=0.05).get_layer("embedding_nonstatic").get_weights()[0]
    assert np.abs(table).max() <= 0.05
    masked = keras.Model(model.input, model.get_layer("embedding_masked").output)
    masked = masked(np.array([[3, 0]])).numpy()[0]
    np.testing.assert_allclose(masked, [2 * static[3], 0 * static[3]], rtol=1e-6)


def test_the_output_units_keep_their_norm():
    model = small("textcnn", max_norm=0.1)
    compile_sgd(model, 10.0)
    model.fit(sentences(9), np.arange(7) % 2, verbose=0)
    norms = np.linalg.norm(model.get_layer("logits").get_weights()[0], axis=0)
    assert norms.shape == (2,) and norms.max() <= 0.1 + 1e-5
    assert zoo.build("textcnn").get_layer("logits").kernel_constraint.max_value == 3.0
    assert zoo.build("textcnn_course").get_layer("logits").kernel_constraint is None


@pytest.mark.parametrize("options, message", [
    ({"windows": (3, 0)}, "windows must be positive whole numbers"),
    ({"padding": "same"}, "Unknown padding 'same'"),
    ({"tables": ("frozen",)}, "Unknown table 'frozen'. Known: nonstatic, static"),
    ({"vectors": np.zeros((9, 7)), "vocab_size": 9, "embedding": 8},
     r"\(vocab_size, embedding\), \(9, 8\). Received: \(9,")])
def test_an_invalid_option_is_explained(options, message):
    with pytest.raises(UsageError, match=message):
        zoo.build("textcnn", **options)
