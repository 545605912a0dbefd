"""Sentences all the way: from a table to a SavedModel that takes raw sentences."""

import dataclasses
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training import doctor, evaluation, prediction, recipes
from zoo.training import trained as trained_networks
from zoo.training.data import opening
from zoo.training.data.dataset import load_dataset
from zoo.training.data.opening import open_source
from zoo.training.data.sentences import SentenceTable
from zoo.training.deployment import exporter
from zoo.training.engine import fit, folds
from zoo.training.preprocessing.tokens import Vocabulary

GOOD, BAD = ("good", "lovely", "fine", "quán rất ngon"), ("poor", "awful", "dull", "quán rất dở")
STRANGER = """
import sys
sys.modules["keras"] = sys.modules["zoo"] = None
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
answer = model.signatures["serving_default"](text=tf.constant(sys.argv[2:]))
print(*[label.decode() for label in answer["label"].numpy()])
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of 240 sentences that one word gives away."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    rows = [
        f'"the film, number {n}, was {(BAD, GOOD)[n % 2][n % 4]} .",{("bad", "good")[n % 2]}'
        for n in range(240)
    ]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recipe(table):
    small = {"embedding": 16, "windows": [2, 3], "filters": 8}
    return dataclasses.replace(
        recipes.get_recipe("textcnn", str(table)),
        model_args=small,
        epochs=8,
        min_steps=0,
        batch_size=16,
        learning_rate=1e-2,
    )


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    run = tmp_path_factory.mktemp("text") / "run"
    fit.train(recipe, run, log=False)
    return run


def test_the_vocabulary_is_of_the_training_part_alone(recipe):
    dataset = load_dataset(recipe)
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [
        172,
        20,
        48,
    ]
    numbers = {text.decode().split()[3] for text in dataset.test.raw(np.arange(48))}
    assert numbers and not numbers & set(dataset.vocabulary.words)


def test_a_batch_is_as_wide_as_its_longest_sentence(recipe, tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text(
        "text,label\n" + "".join(f"{'word ' * (1 + n % 20)},{'ab'[n % 2]}\n" for n in range(100))
    )
    dataset = load_dataset(dataclasses.replace(recipe, data=str(path)))
    short = np.flatnonzero((dataset.train.examples != 0).sum(axis=1) == 3)
    assert dataset.train.examples.shape[1] == 20
    assert dataset.train.take(short).shape == (len(short), 3)


def test_folds_cover_every_sentence_once(recipe):
    tested = [load_dataset(dataclasses.replace(recipe, folds=4, fold=fold)) for fold in range(4)]
    assert sorted(np.concatenate([dataset.test.indices for dataset in tested])) == list(range(240))
    for dataset in tested:
        assert not set(dataset.test.indices) & {*dataset.train.indices, *dataset.validation.indices}
        assert np.bincount(dataset.test.labels).tolist() == [30, 30]


@pytest.mark.slow
def test_cross_validation_trains_each_fold_once(recipe, tmp_path):
    short = dataclasses.replace(recipe, folds=3, epochs=1)
    result = folds.cross_validate(short, tmp_path, log=False)
    scores = [
        json.loads((tmp_path / f"fold{n}/metrics.json").read_text())["test_accuracy"]
        for n in range(3)
    ]
    assert result["accuracies"] == scores and result["test_accuracy"] == pytest.approx(
        np.mean(scores)
    )
    before = (tmp_path / "fold0/model.keras").stat().st_mtime_ns
    assert folds.cross_validate(short, tmp_path, log=False)["accuracies"] == scores
    assert (tmp_path / "fold0/model.keras").stat().st_mtime_ns == before


def test_folds_that_cannot_be_are_told(recipe, table, tmp_path, monkeypatch, capfd):
    with pytest.raises(
        UserError, match="folds must be at most 120, as many as its smallest class has .*: 121"
    ):
        load_dataset(dataclasses.replace(recipe, folds=121))
    monkeypatch.chdir(tmp_path)
    for args, words in (
        (
            ["textcnn", "--data", str(table), "--strategy", "multi_worker"],
            "--folds trains on one machine",
        ),
        (
            ["lenet5-digits"],
            "folds is for sentences, and lenet5 takes images. Received: 3.",
        ),
    ):
        assert main(["train", *args, "--folds", "3"]) and words in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_one_class_is_too_few(tmp_path):
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"{n} films,good\n" for n in range(20))
    )
    with pytest.raises(UserError, match="t.csv: expected at least 2 classes, received 1"):
        fit.train(
            recipes.get_recipe("textcnn", str(tmp_path / "t.csv")), tmp_path / "run", log=False
        )


def test_labels_of_sentences_are_checked_as_those_of_images(recipe, tmp_path):
    rows = [(f"film {n}", n % 2) for n in range(40)]
    for name, form in (("train", "{}"), ("test", "{}.0")):
        lines = [f"{text},{form.format(label)}" for text, label in rows]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]))
    recipe = dataclasses.replace(recipe, data=str(tmp_path))
    with pytest.raises(UserError, match="labels that differ in .*a decimal point only: '0.0', '0'"):
        load_dataset(recipe)
    lines = [f"{text},{label + 2}" for text, label in rows]
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *lines]))
    with pytest.raises(UserError, match="train has no example of '2', '3'. `zoo doctor"):
        load_dataset(recipe)
    images, labels = np.zeros((4, 6, 6), "uint8"), np.arange(4) % 2
    np.savez(tmp_path / "set.npz", images=images, labels=labels, x_test=images, y_test=labels + 1)
    with pytest.raises(UserError, match="set.npz: train has no example of '2'"):
        load_dataset(dataclasses.replace(recipe, data=str(tmp_path / "set.npz")))
    for name in ("good/1.txt", "bad/2.txt", "empty/.keep"):
        (tmp_path / "texts" / name).parent.mkdir(parents=True)
        (tmp_path / "texts" / name).write_text("a film")
    with pytest.raises(UserError, match="no example of the class 'empty'"):
        load_dataset(dataclasses.replace(recipe, data=str(tmp_path / "texts")))


@pytest.mark.parametrize("names, ordered", [
    (["11", "2", "0", "10", "1"], ["0", "1", "2", "10", "11"]),
    (["1", "0", "-1"], ["-1", "0", "1"]),
    (["0.5", "10.0", "0.25"], ["0.25", "0.5", "10.0"]),
    (["type 10", "type 9", "other"], ["other", "type 9", "type 10"]),
])
def test_classes_of_every_kind_of_data_have_one_order(tmp_path, names, ordered):
    rows, images = ["text,label"], np.zeros((4, 4, 3), "uint8")
    for name, n in itertools.product(names, range(5)):
        image, text = tmp_path / f"images/{name}/{n}.png", tmp_path / f"texts/{name}/{n}.txt"
        for file in (image, text):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images + n).save(image)
        text.write_text(f"film {n}")
        rows.append(f"film {n},{name}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    for kind in ("images", "texts", "table.csv"):
        assert open_source(str(tmp_path / kind)).class_names == ordered


@pytest.mark.parametrize("names", [("Co", "CO"), ("type 1 1", "type 11")])
def test_labels_that_look_alike_are_classes_if_the_user_says_so(recipe, tmp_path, names):
    rows = ["text,label"]
    for name, n in itertools.product((*names, "other"), range(5)):
        image, text = tmp_path / f"images/{name}/{n}.png", tmp_path / f"texts/{name}/{n}.txt"
        for file in (image, text):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), n, "uint8")).save(image)
        text.write_text(f"film {n}")
        rows.append(f"film {n},{name}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    for data, folder in (("images", "images"), ("texts", "texts"), ("table.csv", "")):
        said = tmp_path / folder / "classes.txt"
        changed = dataclasses.replace(recipe, data=str(tmp_path / data), validation_split=0)
        shape = (4, 4, 3) if data == "images" else None
        for text in (None, names[0], f"other\n{names[1]}\n{names[0]}x"):
            if text:
                said.write_text(text)
            with pytest.raises(UserError, match=f"differ in .*write them into {said}, one a line"):
                load_dataset(changed, shape)
            assert "label spelling" in {f.kind for f in doctor.examine(changed.data)}
        said.write_text("\ufeff" + "\r\n".join(names) + "\r\n", encoding="utf-8")
        assert load_dataset(changed, shape).class_names == sorted([*names, "other"])
        assert "label spelling" not in {f.kind for f in doctor.examine(changed.data)}
        said.write_bytes(b"\xff")
        with pytest.raises(UserError, match="classes.txt, line 1: byte 0xff is not UTF-8"):
            load_dataset(changed, shape)
        said.unlink()


def test_a_network_keeps_the_order_of_classes_it_was_trained_with(recipe, tmp_path):
    words = {str(n): word for n, word in enumerate("zero one two three four five six seven eight "
                                                   "nine ten eleven".split())}
    rows = [f"{words[label]} films {n},{label}" for n in range(20) for label in words]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    recipe = dataclasses.replace(recipe, data=str(tmp_path / "t.csv"), epochs=6)

    class Old(SentenceTable):  # as tables were ordered before
        class_names = sorted(words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "SentenceTable", Old)
        fit.train(recipe, tmp_path / "run", log=False)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["class_names"] == sorted(words) != list(words)
    scores = evaluation.evaluate(tmp_path / "run")  # the fingerprint of the test split is the same
    assert scores["accuracy"] == metrics["test_accuracy"] > 0.9
    assert scores["confusion"] == metrics["test_confusion"]


def test_a_test_part_alone_is_for_scoring(recipe, tmp_path):
    for n in range(6):
        path = tmp_path / "test" / ("bad", "good")[n % 2] / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"film {n}")
    recipe = dataclasses.replace(recipe, data=str(tmp_path))
    with pytest.raises(UserError, match="has no training split"):
        load_dataset(recipe)
    dataset = load_dataset(recipe, vocabulary=Vocabulary.build(["a film"], 10, 1))
    assert (len(dataset.train), dataset.validation, len(dataset.test)) == (0, None, 6)


def test_it_learns_and_is_scored(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] >= 0.95 and metrics["test_macro_f1"] >= 0.95
    assert metrics["class_names"] == ["bad", "good"]
    assert evaluation.evaluate(run)["accuracy"] == metrics["test_accuracy"]


def test_a_stranger_asks_the_saved_model_in_sentences(run, tmp_path):
    report = exporter.export(run, tmp_path / "model")
    assert report["examples"] == 32
    sentences = ["The film was LOVELY!", "dull", "Quán rất ngon", ""]
    asked = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, tmp_path / "model", *sentences],
        capture_output=True,
        text=True,
    )
    (tmp_path / "lines.txt").write_bytes(
        "\r\n".join(["The film was\u2028LOVELY!", *sentences[1:]]).encode()
    )
    told = prediction.predict(run, [tmp_path / "lines.txt"])
    assert (
        asked.stdout.split()[:3] == [answer["label"] for answer in told] == ["good", "bad", "good"]
    ), asked.stderr
    assert [answer["line"] for answer in told] == [1, 2, 3]
    assert prediction.predict(tmp_path / "model", [tmp_path / "lines.txt"]) == [
        {**answer, "probability": pytest.approx(answer["probability"], abs=1e-5)} for answer in told
    ]


@pytest.fixture(scope="module")
def loaded(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    exporter.export(run, folder)
    return tf.saved_model.load(folder)


@pytest.mark.slow
def test_stages_are_the_maps_of_each_window_and_their_maxima(loaded):
    text = tf.constant(["a fine film"])
    maps = {
        stage: values.numpy() for stage, values in loaded.signatures["stages"](text=text).items()
    }
    assert {stage: values.shape for stage, values in maps.items()} == {
        "embedding": (1, 3, 16),
        "window2": (1, 3 + 1, 8),
        "window3": (1, 3 + 2, 8),
        "max": (1, 16),
    }
    best = [maps[stage][0].max(axis=0) for stage in ("window2", "window3")]
    np.testing.assert_allclose(maps["max"][0], np.concatenate(best), atol=1e-6)
    np.testing.assert_allclose(
        maps["max"], loaded.signatures["features"](text=text)["features"], atol=1e-6
    )


def test_the_same_sentence_alone_or_in_a_long_batch_gets_the_same_answer(loaded):
    def ask(*texts):
        return loaded.signatures["serving_default"](text=tf.constant(texts))[
            "probabilities"
        ].numpy()[0]

    np.testing.assert_allclose(ask("a fine film"), ask("a fine film", "word " * 300), atol=1e-6)


def test_what_a_folder_holds_is_seen_by_its_parts_and_classes(tmp_path):
    for n in range(3):
        (tmp_path / "photos/cat").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / f"photos/cat/{n}.png")
    (tmp_path / "photos/labels.csv").write_text("file,label\n0.png,cat\n")
    (tmp_path / "photos/cat/a.txt").write_text("of the photographer")
    assert open_source(str(tmp_path / "photos")).kind == "image"
    (tmp_path / "tables").mkdir()
    for number, name in enumerate(("Train.CSV", "dev.csv", "test.csv"), start=2):
        (tmp_path / "tables" / name).write_text("text,label\n" + "a film,good\n" * number)
    tables = open_source(str(tmp_path / "tables"))
    assert tables.kind == "text" and {
        split: len(indices) for split, indices in tables.splits.items()
    } == {"train": 2, "validation": 3, "test": 4}
    (tmp_path / "tables/extra.csv").write_text("text,label\na,b\n")
    with pytest.raises(
        UserError, match="extra.csv belongs to no split; expected tables named train"
    ):
        open_source(str(tmp_path / "tables"))


@pytest.mark.parametrize("setting", ["augment={'flip': True}", "normalize=true", "resize=crop"])
def test_what_is_for_images_alone_is_refused(recipe, setting, tmp_path):
    with pytest.raises(
        UserError,
        match=f"{setting.split('=')[0]} is for images, and textcnn takes sentences",
    ):
        fit.train(recipes.override(recipe, [setting]), tmp_path / "run")


def test_images_and_sentences_are_not_mixed_up(table, tmp_path):
    with pytest.raises(UserError, match="lenet5 does not take sentences"):
        fit.train(recipes.get_recipe("lenet5", str(table)), tmp_path / "run")
    with pytest.raises(UserError, match="textcnn does not take images"):
        fit.train(recipes.get_recipe("textcnn", "digits"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_doctor_names_the_lines_of_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nnice film,good\ndull,bad\nNice  film,bad\n")
    found = {finding.kind: finding for finding in doctor.examine(str(tmp_path / "t.csv"))}
    assert found["conflicting labels"].files == ("line 2", "line 4")


@pytest.fixture
def vector_file(tmp_path):
    """Vectors of 8 numbers for two of the table's words, and one that it lacks."""
    path = tmp_path / "glove.txt"
    words = enumerate(("film", "lovely", "zebra"))
    path.write_text(
        "".join(f"{word} {' '.join(map(str, np.arange(8) + n))}\n" for n, word in words)
    )
    return path


@pytest.mark.parametrize("model, trained", [("textcnn_static", False), ("textcnn_nonstatic", True)])
def test_word_vectors_come_from_a_file(recipe, vector_file, tmp_path, capsys, model, trained):
    recipe = dataclasses.replace(
        recipe,
        model=model,
        vectors=str(vector_file),
        epochs=1,
        model_args={"windows": [2], "filters": 4},
    )
    assert fit.train(recipe, tmp_path / "run")["test_examples"] == 48
    words = trained_networks.load(tmp_path / "run").vocabulary.words
    assert f"vectors of 8 numbers for 2 of the {len(words) - 2:,} words" in capsys.readouterr().out
    (table,) = [
        v for v in trained_networks.load(tmp_path / "run").model.variables if "embeddings" in v.path
    ]
    assert np.array_equal(table.numpy()[words.index("film")], np.arange(8)) != trained


def test_what_cannot_be_done_with_word_vectors_is_told(recipe, tmp_path, capsys):
    with pytest.raises(UserError, match="Cannot read .*gone.bin"):
        fit.train(dataclasses.replace(recipe, vectors=str(tmp_path / "gone.bin")), tmp_path / "run")
    fit.prepare(dataclasses.replace(recipe, model="textcnn_static"), say=print)
    assert "stay random: vectors=FILE" in capsys.readouterr().out
