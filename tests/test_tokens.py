"""The tokens of a sentence: in Python, in the graph and in JavaScript, however it is written."""
import csv
import functools
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import textwrap
import time
import unicodedata
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.sentences import LABELS, SENTENCES, spellings
from tests.test_serve import serving
from zoo.training import prediction, recipes, trained
from zoo.training.data.opening import open_source
from zoo.training.deployment import card, exporter, runtimes
from zoo.training.engine import fit
from zoo.training.preprocessing import tokens
from zoo.training.preprocessing.text import characters, standardize, tokenize
from zoo.training.preprocessing.tokens import (
    PADDING,
    UNKNOWN,
    Vocabulary,
    split_characters,
    split_words,
)

ALL = [sentence for sentences in SENTENCES.values() for sentence in sentences]
ASSIGNED = [chr(point) for point in range(0x2FA20) if unicodedata.category(chr(point)) != "Cs"]


class Kind(NamedTuple):
    """Tokens of one kind: words, or characters."""

    split: Callable  # texts to the tokens of each, in Python
    ragged: Callable  # the same in a graph
    script: str  # the same in JavaScript, for one `text`


KINDS = {"words": Kind(split_words, tokenize, "splitWords(text)"),
         "characters": Kind(lambda texts: [list(text) for text in split_characters(texts)],
                            characters, "splitCharacters(text)")}
of_each_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def graph(kind):
    """A function from texts to (standardized texts, tokens), in a graph as the export's."""
    with tf.Graph().as_default() as built:
        text = tf.compat.v1.placeholder(tf.string, (None,))
        split = KINDS[kind].ragged(text)
        outputs = standardize(text), split.flat_values, split.row_splits
    session = tf.compat.v1.Session(graph=built)
    return lambda texts: session.run(outputs, {text: texts})


def in_graph(texts, kind="words"):
    _, found, ends = graph(kind)(texts)
    found = [token.decode() for token in found]
    return [found[start:end] for start, end in itertools.pairwise(ends)]


def node(folder, script):
    """What a module of JavaScript in `folder` prints."""
    if not shutil.which("node"):
        pytest.skip("no Node.js here: install nodejs")
    (folder / "script.mjs").write_text(script, encoding="utf-8")
    shutil.copy(Path(tokens.__file__).with_suffix(".mjs"), folder)
    done = subprocess.run(["node", "script.mjs"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_javascript(texts, folder, kind):
    (folder / "texts.json").write_text(json.dumps(texts))
    return json.loads(node(folder, f"""
        import {{ readFileSync }} from "node:fs";
        import {{ splitCharacters, splitWords }} from "./tokens.mjs";
        const texts = JSON.parse(readFileSync("texts.json", "utf8"));
        console.log(JSON.stringify(texts.map(text => [...{KINDS[kind].script}])));"""))


def random_texts(seed, count, letters):
    generator = random.Random(seed)
    others = "aeo ._'’nst\u200b\u00ad ΑΣσςİIé´\u0301\u0323\u0302\u0345\u3099각\u1100\u1161\u11a8"
    return ["".join(generator.choice(letters if generator.random() < 0.5 else others)
                    for _ in range(generator.randrange(12))) for _ in range(count)]


@of_each_kind
def test_300_sentences_have_the_tokens_of_their_nfc_form_in_every_spelling(kind):
    assert len(ALL) == len(LABELS) == 300 and len(SENTENCES) == 20
    expected = KINDS[kind].split([unicodedata.normalize("NFC", sentence) for sentence in ALL])
    first = "quán phở này rất tuyệt vời !".split() if kind == "words" else list(
        "quán phở này rất tuyệt vời!")
    assert expected[0] == first and in_graph(ALL, kind) == expected
    assert all(len(found) > 1 for found in expected[:90])
    written = [spellings(sentence) for sentence in ALL]
    for spelling in written[0]:
        texts = [each[spelling] for each in written]
        assert KINDS[kind].split(texts) == expected, spelling
        assert in_graph(texts, kind) == expected, spelling


@of_each_kind
def test_javascript_has_the_same_tokens(kind, tmp_path):
    texts = [text for sentence in ALL for text in spellings(sentence).values()]
    # Letters that every version of Unicode in use has.
    old = [letter for letter in ASSIGNED if unicodedata.ucd_3_2_0.category(letter) != "Cn"]
    texts += [*random_texts(0, 5000, old), "\ud800a", "", " "]
    assert in_javascript(texts, tmp_path, kind) == KINDS[kind].split(texts)


@pytest.mark.parametrize("sentence, expected", [
    ("ﬁne ＡＢＣ１２ №7 x² ½", "fine abc12 no7 x2 1 ⁄ 2"),
    ("don´t … 25℃", "don \u0301 t . . . 25 ° c"),
    ("ΟΔΟΣ οδοσ ΑΣ.", "οδος οδοσ ας ."), ("İSTANBUL IŞIK", "i\u0307stanbul işik"),
    ("می\u200cخواهم 👩\u200d🎓", "میخواهم 👩 🎓"), ("ﾊﾟﾝ は\u3099 パ", "パン ば パ"),
    ("\u1112\u1161\u11ab글", "한글"), ("a\u0301\u0323 ậ", "ạ\u0301 ậ"),
    ("\u212b \u1e9b\u0323 \u0344", "å ṩ \u0308\u0301")])
def test_words_are_those_of_nfkc_in_lower_case(sentence, expected):
    # of which one is the example of UAX #15, figure 6
    assert split_words([sentence]) == in_graph([sentence]) == [expected.split(" ")]


@of_each_kind
def test_both_faces_agree_on_letters_and_marks_in_any_order(kind):
    composed = [letter for letter in ASSIGNED
                if unicodedata.decomposition(letter) or unicodedata.combining(letter)]
    texts = [*composed, *(f"a{letter}\u0301b" for letter in composed[::3]),
             *random_texts(1, 3000, composed)]
    texts += [unicodedata.normalize("NFD", text) for text in random_texts(2, 1000, composed)]
    standardized = [line.decode() for line in graph(kind)(texts)[0]]
    assert standardized == list(map(tokens.standardize, texts))
    assert in_graph(texts, kind) == KINDS[kind].split(texts)


@pytest.mark.slow
@of_each_kind
def test_both_faces_agree_on_every_code_point(kind):
    for text in "{}", "a{}b", "{}\u0323\u0301", "e\u0301{}":
        texts = [text.format(letter) for letter in map(chr, tokens.CODE_POINTS)]
        assert in_graph(texts, kind) == KINDS[kind].split(texts)


@of_each_kind
def test_broken_utf8_is_replaced_as_python_does(kind):
    generator = random.Random(0)
    texts = [bytes(generator.choices(b"a \xe1\xbb\x87\xff\xc3\xf0\x9f\x98\xed\xa0\x80", k=8))
             for _ in range(2000)]
    assert in_graph(texts, kind) == KINDS[kind].split(
        [text.decode("utf-8", "replace") for text in texts])


def test_long_runs_of_marks_are_read_alike_in_linear_time():
    generator = np.random.default_rng(0)
    marks = "\u0301\u0323\u0327\u0f73\u0f75\u0344\u3099\u0345"
    runs = ["".join(generator.choice([*marks], size)) for size in (63, 64, 65, 999, 3000)]
    texts = [f"a{run}b e\u0323\u0302{run[:70]} {'x' * 1000}" for run in runs]
    assert in_graph(texts, "words") == KINDS["words"].split(texts)
    assert [tokens.normalize(text) for text in texts] == [
        unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
        for text in texts]
    start = time.process_time()
    tokens.normalize("a" + "\u0301\u0323" * 200_000)  # otherwise minutes
    assert time.process_time() - start < 10


def test_a_vocabulary_of_an_older_version_is_normalized():
    old = "<pad>\n<unk>\nm²\nfilm\n…\nﬁlm\nﬁlm\u0301\n'\nn't\n's\n´\nοδος\nọ\n"
    words = Vocabulary.parse(old).words
    assert words == (PADDING, UNKNOWN, "m2", "film", "...", "<5>", "fil\u1e3f", "'", "n't", "'s",
                     "\u0301", "οδος", "ọ")
    assert Vocabulary.parse(str(Vocabulary(words))).words == words
    assert Vocabulary.parse(old).encode(["M² ﬁlm o\u0323 ´"]).tolist() == [[2, 3, 12, 10]]
    built = Vocabulary.build(ALL)
    assert Vocabulary.parse(str(built)) == built, "a word changes when it is read again"


def test_the_code_of_the_card_gives_the_ids_of_the_network(tmp_path):
    vocabulary = Vocabulary.build(["A fine film!"])
    page = card._token_ids({"input": {"kind": "text", "max_tokens": 3},
                            "files": {"onnx": "model.onnx"}})
    python, javascript = re.findall(r"In \w+:\n\n((?:    .*\n|\n)+)", page)
    (tmp_path / "vocab.txt").write_text(str(vocabulary), encoding="utf-8")
    shutil.copy(tokens.__file__, tmp_path)
    (tmp_path / "script.py").write_text(textwrap.dedent(python))
    printed = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True,
                             text=True).stdout
    expected = vocabulary.encode(["A fine film!"], 3).tolist()
    assert json.loads(printed) == expected and min(expected[0]) > 1
    assert json.loads(node(tmp_path, textwrap.dedent(javascript))) == expected


def test_labels_in_nfc_and_nfd_are_one_class(tmp_path):
    names = [unicodedata.normalize(form, name) for name in ("Tích cực", "Tiêu cực")
             for form in ("NFC", "NFD")]
    rows = [["text", "label"], *([f"câu {n}", names[n % 4]] for n in range(20))]
    with open(tmp_path / "a.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    for name, number in itertools.product(names, range(2)):
        (tmp_path / "folder" / name).mkdir(parents=True, exist_ok=True)
        file = tmp_path / "folder" / name / f"{number} {len(name)}.txt"
        file.write_text(f"câu {number} {name}", encoding="utf-8")
    for source in (open_source(str(tmp_path / "a.csv")), open_source(str(tmp_path / "folder"))):
        assert source.class_names == ["Tiêu cực", "Tích cực"]
        assert set(np.bincount(source.labels)) in ({10}, {4})
        source.check()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A folder with the run and the export of a network that learned the sentences, in NFD."""
    folder = tmp_path_factory.mktemp("languages")
    rows = [(unicodedata.normalize("NFD", text), label)
            for text, label in zip(ALL, LABELS, strict=True)]
    for split in ("train", "validation", "test"):
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    recipe = recipes.override(recipes.get_recipe("text_mlp", str(folder)), [
        "embedding=16", "hidden=16", "epochs=12", "learning_rate=0.03", "max_tokens=16"])
    assert fit.train(recipe, folder / "run", log=False)["test_accuracy"] > 0.98
    exporter.export(folder / "run", folder / "export", formats=("saved_model", "litert", "onnx"))
    return folder


def post(address, sentences):
    """The probabilities that `zoo serve` answers."""
    body = json.dumps({"instances": sentences}).encode()
    with urllib.request.urlopen(f"{address}/v1/models/export:predict", body) as response:
        rows = json.load(response)["predictions"]
    return np.array([row["probabilities"] for row in rows])


@pytest.mark.slow
def test_every_spelling_has_the_same_answer_on_every_road(network, tmp_path):
    run, export = network / "run", network / "export"
    source = trained.load(run)
    expected = source.probabilities(source.inputs([text.encode() for text in ALL]))
    labels = np.array(source.class_names)[expected.argmax(axis=1)]
    assert np.mean(labels == np.array(LABELS)) > 0.98, "not what it was trained on"
    signature = runtimes.load(export)["serving_default"]
    texts = [text for sentence in ALL for text in spellings(sentence).values()]
    asked = {"SavedModel": signature.run(np.array(texts, object))["probabilities"]}
    with serving(export) as (address, _):
        asked["serve"] = np.concatenate([post(address, texts[first:first + 100])
                                         for first in range(0, len(texts), 100)])
    lines = [re.sub("\\s", " ", text) for text in texts]  # one sentence a line
    (tmp_path / "lines.txt").write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    for road in (run, export, export / "model.tflite", export / "model.onnx"):
        rows = prediction.predict(road, [tmp_path / "lines.txt"], top=2)
        pairs = zip(rows[::2], rows[1::2], strict=True)
        asked[road] = np.array([[row["probability"] for row in sorted(
            pair, key=lambda row: row["class_id"])] for pair in pairs])
    for road, probabilities in asked.items():
        difference = probabilities.reshape(len(ALL), -1, 2) - expected[:, None]
        assert np.abs(difference).max() < 1e-4, road


@pytest.mark.slow
def test_a_run_and_an_export_agree_in_javascript_too(network, tmp_path):
    export = network / "export"
    (tmp_path / "texts.json").write_text(json.dumps(ALL))
    shutil.copy(export / "vocab.txt", tmp_path)
    ids = json.loads(node(tmp_path, """
        import { readFileSync } from "node:fs";
        import { encode } from "./tokens.mjs";
        const texts = JSON.parse(readFileSync("texts.json", "utf8"));
        console.log(JSON.stringify(encode(texts, readFileSync("vocab.txt", "utf8"), 16)));"""))
    assert np.array_equal(ids, trained.load(network / "run").vocabulary.encode(ALL, 16))
