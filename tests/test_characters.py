"""Characters as tokens: in Python, in the graph and in JavaScript; and the networks that read them.

Every road of a sentence: training, prediction, evaluation, exports, servers, the page, folds.
"""
import csv
import functools
import json
import re
import shutil
import subprocess
import sys
import textwrap
import unicodedata

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.sentences import LABELS, SENTENCES, spellings
from tests.test_serve import serving
from tests.test_tokens import node
from zoo import catalog
from zoo.char_cnn import ALPHABET, backward
from zoo.errors import UsageError, UserError
from zoo.factory import without_weights
from zoo.training import evaluation, explanation, prediction, recipes, trained
from zoo.training.data import growing, token_cache
from zoo.training.data.dataset import load_data
from zoo.training.data.token_cache import TokenCache
from zoo.training.deployment import card, exporter, runtimes
from zoo.training.engine import fit, folds
from zoo.training.preprocessing import tokens
from zoo.training.preprocessing.text import lookup_table, token_ids
from zoo.training.preprocessing.tokens import (
    PADDING,
    UNKNOWN_CHARACTER,
    Vocabulary,
    split_characters,
)
from zoo.vdcnn import ALPHABET as VDCNN_ALPHABET
from zoo.vdcnn import k_max

ALL = [sentence for sentences in SENTENCES.values() for sentence in sentences]
LETTERS = "".join(sorted(set("".join(split_characters(ALL)))))  # the first one is a space
SMALL = {"char_cnn": ["filters=16", "units=32", "deviation=0.3"],
         "vdcnn9": ["filters=8,16", "depths=1,1", "units=32", "k=4"]}


@pytest.mark.parametrize("alphabet, count, missing", [(ALPHABET, 70, 2), (VDCNN_ALPHABET, 67, 0),
                                                      (LETTERS, len(LETTERS), 0)])
def test_a_vocabulary_of_characters_says_so_in_its_file(tmp_path, alphabet, count, missing):
    vocabulary = Vocabulary.of_characters(alphabet)
    words = vocabulary.words
    assert len(alphabet) == count and words[:2] == (PADDING, UNKNOWN_CHARACTER)
    assert len(words) == count + 2 == len(set(words)) and vocabulary.unit == "characters"
    # in Zhang's alphabet the second hyphen and the line end
    assert sum(re.fullmatch(r"<\d+>", word) is not None for word in words) == missing
    assert [words.index(c) - 2 for c in alphabet if c in words] == [
        alphabet.index(c) for c in alphabet if c in words]
    file = tmp_path / "vocab.txt"
    file.write_text(str(vocabulary), encoding="utf-8")
    assert Vocabulary.parse(file.read_text(encoding="utf-8")) == vocabulary
    lookup = lookup_table(vocabulary, file)
    texts = [*ALL, "", "  A\tb ", "x" * 50, "a-b\r\n(c)"]
    for most in (None, 20):
        expected = vocabulary.encode(texts, most)
        assert expected.dtype == np.int32 and expected.shape[1] == (most or 50)
        ids = token_ids(tf.constant(texts), lookup, most, "characters").numpy()
        assert np.array_equal(ids, expected)
    assert np.array_equal(vocabulary.encode([""]), [[0]])


def test_ids_follow_the_alphabet():
    vocabulary = Vocabulary.of_characters("ab C\n b")
    assert vocabulary.words[2:] == ("a", "b", " ", "<5>", "<6>", "<7>", "<8>")
    assert vocabulary.encode(["  B a\ncé"]).tolist() == [[3, 4, 2, 4, 1, 1]]
    assert Vocabulary(("<pad>", "<unk>", "a")).unit == "words"
    assert Vocabulary.parse("<pad>\n<unk>\na\n").unit == "words"


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("most", [None, 9])
def test_the_cache_has_the_ids_of_the_vocabulary(monkeypatch, tmp_path, where, most):
    monkeypatch.setattr(token_cache, "_BLOCK", 70)
    monkeypatch.setattr(token_cache, "SECONDS", 0)
    if where == "disk":
        monkeypatch.setattr(growing, "MEMORY_SHARE", 0)
    texts, lines = ["", *ALL], []
    vocabulary = Vocabulary.of_characters(VDCNN_ALPHABET)
    cache = TokenCache(lambda indices: [texts[index].encode() for index in indices],
                       np.zeros(len(texts), "int32"), vocabulary, most, cache_dir=tmp_path,
                       say=lines.append)
    for indices in (np.arange(len(texts)), np.array([0]), np.array([7, 3, 0, 299])):
        expected = vocabulary.encode([texts[index] for index in indices], most)
        assert np.array_equal(cache.read(indices), expected)
    assert cache.vocabulary == vocabulary and "  70 of 301 sentences split into characters" in lines
    assert isinstance(cache.tokens, np.memmap) == (where == "disk")


def test_the_code_of_the_card_gives_the_ids_of_the_network(tmp_path):
    vocabulary = Vocabulary.of_characters(VDCNN_ALPHABET)
    page = card._token_ids({"input": {"kind": "text", "max_tokens": 6},
                            "files": {"onnx": "model.onnx"}})
    python, javascript = re.findall(r"In \w+:\n\n((?:    .*\n|\n)+)", page)
    (tmp_path / "vocab.txt").write_text(str(vocabulary), encoding="utf-8")
    shutil.copy(tokens.__file__, tmp_path)
    (tmp_path / "script.py").write_text(textwrap.dedent(python))
    printed = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True,
                             text=True).stdout
    expected = vocabulary.encode(["A fine film!"], 6).tolist()
    assert json.loads(printed) == expected and len(expected[0]) == 6 and min(expected[0]) > 1
    assert json.loads(node(tmp_path, textwrap.dedent(javascript))) == expected


# The networks.


def test_char_cnn_has_the_sizes_of_tables_1_and_2():
    for name, filters, units in (("char_cnn", 256, 1024), ("char_cnn_large", 1024, 2048)):
        model = without_weights(zoo.build, name)
        rows = {row.layer: row for row in zoo.layer_table(model)}
        sizes = {"conv1": 1008, "conv1_pool": 336, "conv2": 330, "conv2_pool": 110, "conv3": 108,
                 "conv4": 106, "conv5": 104, "conv6": 102, "conv6_pool": 34}
        assert {name: int(rows[name].size) for name in sizes} == sizes
        assert all(rows[name].maps == filters for name in sizes)
        assert model.get_layer("flatten").output.shape == (None, 34 * filters)  # 8704 and 34816
        assert model.get_layer("conv1").kernel.shape == (7, 70, filters)
        assert [model.get_layer(name).units for name in ("fc7", "fc8")] == [units] * 2


@pytest.mark.parametrize("name, counts, millions", [
    ("vdcnn9", (2, 2, 2, 2), 2.2), ("vdcnn17", (4, 4, 4, 4), 4.3), ("vdcnn29", (10, 10, 4, 4), 4.6),
    ("vdcnn49", (16, 16, 10, 6), 7.8)])
def test_vdcnn_has_the_layers_of_table_2(name, counts, millions):
    model = without_weights(zoo.build, name)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv1D)]
    assert len(convolutions) == int(name[5:]) == sum(counts) + 1
    assert [sum(layer.filters == maps for layer in convolutions[1:])
            for maps in (64, 128, 256, 512)] == list(counts)
    lengths = {layer.filters: layer.output.shape[1] for layer in convolutions}
    assert lengths == {64: 1014, 128: 507, 256: 254, 512: 127}
    assert model.get_layer("embedding_characters").count_params() == 69 * 16
    assert [model.get_layer(name).kernel.shape for name in ("fc1", "fc2")] == [
        (4096, 2048), (2048, 2048)]
    dense = (keras.layers.Dense, keras.layers.Embedding)
    others = sum(layer.count_params() for layer in model.layers if not isinstance(layer, dense))
    # see zoo/vdcnn.py on what the table has more
    assert 0.5 < millions - others / 1e6 < 0.65


def test_a_frame_is_read_backward():
    frame = np.array([[5, 6, 7, 1, 0, 0], [0] * 6, [1, 2, 3, 4, 5, 6]], "int32")
    ids = keras.Input((6,), dtype="int32")
    reversed_ids = np.asarray(keras.Model(ids, backward(ids))(frame))
    assert reversed_ids.tolist() == [[1, 7, 6, 5, 0, 0], [0] * 6, [6, 5, 4, 3, 2, 1]]


def test_the_largest_values_keep_their_order():
    x = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    maps = keras.Input((9, 3))
    ours = np.asarray(keras.Model(maps, k_max(maps, 4))(x))
    for row, chosen in zip(np.swapaxes(x, 1, 2).reshape(-1, 9),
                           np.swapaxes(ours, 1, 2).reshape(-1, 4), strict=True):
        assert chosen.tolist() == [value for value in row if value in np.sort(row)[-4:]]


def test_spaces_and_unknown_characters_have_no_vector_in_char_cnn():
    model = zoo.build("char_cnn", alphabet="abc", length=123, filters=4, units=8, deviation=0.5)
    ids = np.random.default_rng(0).integers(2, 5, (1, 40)).astype("int32")
    padded, unknown = ids.copy(), ids.copy()
    padded[0, 20:], unknown[0, 20:] = 0, 1
    assert np.abs(model(padded) - model(ids)).max() > 1e-3
    # at the beginning of the text, at the end of the frame, they are as if they were not there
    np.testing.assert_array_equal(model(padded), model(np.pad(padded, ((0, 0), (0, 9)))))
    first = np.concatenate([np.ones((1, 9), "int32"), padded[:, :20]], axis=1)
    np.testing.assert_allclose(model(first), model(padded), atol=1e-6)


@pytest.mark.parametrize("name, options", [
    ("char_cnn", {"length": 130, "filters": 4, "units": 8}),
    ("vdcnn9", {"length": 40, "filters": (4, 8), "depths": (1, 1), "units": 8}),
    ("vdcnn9", {"length": 40, "filters": (4, 8), "depths": (1, 1), "units": 8, "pooling": "kmax"})])
def test_padding_does_not_change_the_logits_and_longer_texts_are_cut_off(name, options):
    model = zoo.build(name, alphabet="abcdefgh", **options)
    ids = np.random.default_rng(0).integers(1, 10, (3, 160)).astype("int32")
    ids[1, 14:], ids[2, 1:] = 0, 0
    logits = np.asarray(model(ids))
    np.testing.assert_allclose(model(ids[:, :options["length"]]), logits, atol=1e-6)
    np.testing.assert_allclose(model(ids[1:, :20]), logits[1:], atol=1e-6)


@pytest.mark.parametrize("name, options, message", [
    ("char_cnn", {"length": 122}, "length, or max_tokens of a recipe, must be at least 123 char"),
    ("vdcnn9", {"length": 56}, "must be at least 57 characters here. Received: 56"),
    ("vdcnn9", {"pooling": "kmx"}, "Unknown pooling 'kmx'. Did you mean 'kmax'"),
    ("vdcnn9", {"depths": (1,)}, "one number for each group of blocks"),
    ("char_cnn", {"alphabet": ""}, "alphabet must be a string"),
    ("vdcnn9", {"alphabet": 69}, "alphabet must be a string .*Received: 69"),
    ("char_cnn", {"deviation": 0}, "deviation must be above 0")])
def test_a_wrong_option_is_explained_in_one_line(name, options, message):
    with pytest.raises(UsageError, match=message):
        zoo.build(name, **options)
    if name == "vdcnn9" and "length" in options:
        without_weights(zoo.build, name, length=57)


# The roads.


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder of tables, each with all sentences in NFD."""
    folder = tmp_path_factory.mktemp("characters") / "tables"
    folder.mkdir()
    rows = [(unicodedata.normalize("NFD", text), label)
            for text, label in zip(ALL, LABELS, strict=True)]
    for split in ("train", "validation", "test"):
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return folder


def small(name, data, *settings):
    return recipes.override(recipes.get_recipe(name, str(data)),
                            [*SMALL[name], "max_tokens=130", f"alphabet={LETTERS}", "epochs=1",
                             *settings])


@functools.cache
def exported(name, folder):
    """The folder of a run and its export."""
    run, export = folder.parent / name, folder.parent / f"{name}-export"
    fit.train(small(name, folder), run, log=False)
    exporter.export(run, export,
                    formats=("saved_model", "litert", "litert-batch1", "onnx", "onnx-int8"))
    return run, export


def test_a_network_for_characters_gets_as_many_as_its_paper_by_default(tmp_path):
    recipe = recipes.get_recipe("char_cnn", "reviews.csv")
    assert recipe.max_tokens == 1014 and recipe.model_args == {}
    assert recipes.get_recipe("textcnn", "reviews.csv").max_tokens == 400
    assert recipes.get_recipe("dpcnn", "reviews.csv").max_tokens == 400


def test_load_data_gives_words_or_characters(table):
    words, letters = load_data(str(table)), load_data(str(table), alphabet=LETTERS, max_tokens=9)
    assert words.vocabulary.unit == "words" and letters.vocabulary.unit == "characters"
    expected = Vocabulary.of_characters(LETTERS).encode(ALL, 9)
    assert np.array_equal(letters.train.examples, expected)
    assert 1 not in expected  # NFD as NFC


ROADS = [pytest.param("char_cnn", marks=pytest.mark.slow), "vdcnn9"]


@pytest.mark.parametrize("name", ROADS)
def test_every_road_has_the_same_answer(name, table, tmp_path):
    run, export = exported(name, table)
    source = trained.load(run)
    assert source.vocabulary.unit == "characters" and source.model.input.shape == (None, None)
    assert source.recipe.max_tokens == 130
    expected = source.probabilities(source.inputs([text.encode() for text in ALL]))
    assert np.ptp(expected[:, 0]) > 1e-3, "it answers the same to all"
    scores = evaluation.evaluate(run)
    labels = np.array(source.class_names)[expected.argmax(axis=1)]
    assert scores["accuracy"] == pytest.approx(np.mean(labels == np.array(LABELS)))
    texts = [text for sentence in ALL[::7] for text in spellings(sentence).values()]
    lines = [re.sub("\\s", " ", text) for text in texts]
    (tmp_path / "lines.txt").write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    for road in (run, export, export / "model.tflite", export / "model.onnx"):
        rows = prediction.predict(road, [tmp_path / "lines.txt"], top=2)
        found = np.array([[row["probability"] for row in sorted(pair, key=lambda r: r["class_id"])]
                          for pair in zip(rows[::2], rows[1::2], strict=True)])
        difference = found.reshape(len(expected[::7]), -1, 2) - expected[::7, None]
        assert np.abs(difference).max() < 1e-4, road
    batch1 = runtimes.load(export / "model-batch1.tflite")["serving_default"]
    ids = source.vocabulary.encode(ALL[:1], 130)
    one = batch1.run(np.pad(ids, ((0, 0), (0, 130 - ids.shape[1]))))["probabilities"]
    np.testing.assert_allclose(one, expected[:1], atol=1e-4)


def test_cards_say_that_tokens_are_characters(table):
    _, export = exported("vdcnn9", table)
    described = json.loads((export / "assets/card.json").read_text(encoding="utf-8"))
    takes = described["input"]
    assert takes["tokens"] == "characters" and takes["words"] == len(LETTERS) + 2
    assert takes["truncation"] == "the first 130 characters count"
    assert takes["splitting"].startswith("into code points") and "any other char" in takes[
        "token_ids"]
    assert described["multiply_adds_of"] == "one sentence"
    assert "for one sentence" in (export / "assets/README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "onnxruntime", "litert"])
def test_every_engine_serves_raw_sentences(engine, table):
    import urllib.request
    run, export = exported("vdcnn9", table)
    source = trained.load(run)
    texts = list(spellings(ALL[0]).values())
    with serving(export, "--engine", engine) as (address, _):
        body = json.dumps({"instances": texts}).encode()
        url = f"{address}/v1/models/{export.name}:predict"
        with urllib.request.urlopen(url, body) as response:
            rows = json.load(response)["predictions"]
        if engine == "tensorflow":
            body = json.dumps({"instances": texts[:1]}).encode()
            with urllib.request.urlopen(f"{address}/maps/{export.name}", body) as response:
                seen = json.load(response)["tokens"]
            assert seen["unit"] == "characters"
            assert "".join(seen["words"]) == "quán phở này rất tuyệt vời!"
            with urllib.request.urlopen(f"{address}/models") as response:
                described = json.load(response)[export.name]
            assert described["no_map"] == "There is no map of a network that reads characters."
    expected = source.probabilities(source.inputs([ALL[0].encode()]))
    for row in rows:
        np.testing.assert_allclose(row["probabilities"], expected[0], atol=1e-4)


@pytest.mark.parametrize("name", ROADS)
def test_the_page_explains_a_network_for_characters(name, table, tmp_path):
    from zoo.training.explanation.page import run_page
    run, _ = exported(name, table)
    explained = explanation.explain(run, text="A naïve café!")
    assert explained.looked_into[0].input == "A naïve café!" and not explained.ngrams
    text = run_page(explained)
    assert "multiply-adds of one sentence" in text
    assert "There is no map of a network that reads characters." in text


@pytest.mark.slow
def test_folds_and_a_resumed_training_read_characters(table, tmp_path):
    recipe = small("vdcnn9", table / "train.csv", "folds=2", "epochs=2")
    result = folds.cross_validate(recipe, tmp_path / "folds")
    assert len(result["accuracies"]) == 2
    whole = fit.train(small("vdcnn9", table, "epochs=2"), tmp_path / "whole", log=False)
    half = small("vdcnn9", table, "epochs=2")

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        fit.train(half, tmp_path / "half", log=False, callbacks=[Stop()])
    again = fit.train(half, tmp_path / "half", log=False)
    assert again["test_loss"] == whole["test_loss"]


@pytest.mark.parametrize("settings, message", [
    (["min_count=2"], "min_count is for networks that read words, and vdcnn9 reads the characters"),
    (["vocabulary=50"], "vocabulary is for networks that read words"),
    (["vectors=glove.txt"], "vdcnn9 takes no word vectors"),
    (["max_tokens=6"], "length, or max_tokens of a recipe, must be at least")])
def test_settings_for_words_are_refused(settings, message, table, tmp_path):
    with pytest.raises(UserError, match=message):
        fit.train(small("vdcnn9", table, *settings), tmp_path / "run", log=False)


def test_the_length_of_a_recipe_may_differ_from_its_tokens(table):
    recipe = small("vdcnn9", table, "length=60")
    dataset, build = fit.prepare(recipe)
    assert build().get_layer("embedding_characters").output.shape[1] == 60
    assert dataset.train.examples.shape[1] <= 130


def test_the_catalogue_counts_a_sentence():
    entry = catalog.matching("char_cnn")[0]
    assert catalog.cells(entry)[2:4] == ("370,370,560", "characters")
    assert catalog.cells(catalog.matching("textcnn")[0])[2:4] == ("360,600 a token", "tokens")
