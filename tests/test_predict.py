"""Labels for files: from runs and exports of every format, into tables, and what goes wrong."""

import csv
import os
import re
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

from tests.conftest import ROOT
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training import prediction
from zoo.training.deployment import exporter


def test_a_file_that_is_no_image_is_named(exported, tmp_path):
    (tmp_path / "note.jpg").write_text("not a picture")
    with pytest.raises(UserError, match="note.jpg is not a JPEG"):
        prediction.predict(exported[0], [tmp_path / "note.jpg"])
    with pytest.raises(UserError, match="Cannot read .*gone.png: No such file"):
        prediction.predict(exported[0], [tmp_path / "gone.png"])


def test_an_export_cut_short_is_told(exported, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes((exported[0] / "saved_model.pb").read_bytes()[:1_000])
    with pytest.raises(UserError, match="^Cannot open .*, is it damaged"):
        prediction.predict(tmp_path, ["digit.png"])


def test_a_table_goes_into_links_and_pipes_too(tmp_path):
    (
        (tmp_path / "real.csv").touch(),
        (tmp_path / "link.csv").symlink_to("real.csv"),
        os.mkfifo(tmp_path / "pipe"),
    )
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        for target in ("link.csv", "pipe"):
            prediction.write_csv(
                tmp_path / target,
                [{"file": "a.png", "label": "1", "class_id": 1, "probability": 1.0}],
            )
        assert (
            reader.communicate()[0]
            == (tmp_path / "real.csv").read_text()
            == ("file,label,class_id,probability\na.png,1,1,1.0\n")
        )
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "pipe").is_fifo()


def test_a_folder_is_labelled_and_one_bad_file_is_told(
    exported, finished_run, test_images, tmp_path, zoo_command
):
    (tmp_path / "scans/deep").mkdir(parents=True)
    for number, image in enumerate(test_images[:3]):
        (tmp_path / f"scans/deep/{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    (tmp_path / "scans/bad.jpg").write_text("not a picture")
    (tmp_path / "scans/readme.md").write_text("is left alone")
    (tmp_path / "scans/folder.png").mkdir(), (tmp_path / "scans/._0.png").write_text("is hidden")
    expected = [
        answer["label"] for answer in prediction.predict(finished_run, [tmp_path / "scans/deep"])
    ]
    said = zoo_command("predict", exported[0], tmp_path / "scans", "--csv", "labels.csv")
    rows = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert said.returncode == 1 and said.stderr.startswith(
        "zoo: 1 of 4 files could not be labelled; the first is"
    )
    assert [row["label"] for row in rows] == ["", *expected] and "not a JPEG" in rows[0]["error"]
    assert [float(row["probability"]) > 0.1 for row in rows[1:]] == [True] * 3


def test_an_answer_file_that_cannot_be_written_is_told_before_the_work(zoo_command, exported):
    said = zoo_command("predict", exported[0], "gone.png", "--csv", "nowhere/labels.csv")
    assert (
        said.returncode == 1
        and said.stderr == "zoo: Cannot write nowhere/labels.csv: there is no such folder.\n"
    )


@pytest.mark.parametrize(
    "file, package", [("model.tflite", "ai_edge_litert"), ("model.onnx", "onnxruntime")]
)
def test_other_formats_label_files_too(
    finished_run, test_images, tmp_path, capfd, file, package
):
    pytest.importorskip(
        package, reason=f"{package} is not here: pip install '.[litert,onnx]'"
    )
    (tmp_path / "digit.png").write_bytes(tf.io.encode_png(test_images[0]).numpy())
    exporter.export(
        finished_run, tmp_path / "model", formats=["litert" if "tflite" in file else "onnx"]
    )
    (expected,) = prediction.predict(finished_run, [tmp_path / "digit.png"])
    capfd.readouterr()
    (found,) = prediction.predict(tmp_path / "model" / file, [tmp_path / "digit.png"])
    assert capfd.readouterr().err == ""
    assert found["label"] == expected["label"] and found["probability"] == pytest.approx(
        expected["probability"], abs=1e-4
    )
    with pytest.raises(
        UserError, match="is an export without a SavedModel. Name one of its files: model"
    ):
        prediction.predict(tmp_path / "model", [tmp_path / "digit.png"])
    (tmp_path / "model" / file).write_bytes((tmp_path / "model" / file).read_bytes()[:3_000])
    with pytest.raises(UserError, match=f"^Cannot open .*/{file}, is it damaged"):
        prediction.predict(tmp_path / "model" / file, [tmp_path / "digit.png"])


def test_the_likeliest_classes_are_told_by_every_kind_of_network(
    exported, finished_run, test_images, tmp_path, zoo_command
):
    (tmp_path / "digit.png").write_bytes(tf.io.encode_png(test_images[0]).numpy())
    (tmp_path / "bad.png").write_text("not a picture")
    files = [tmp_path / "digit.png", tmp_path / "bad.png"]
    (first,), whole = (
        prediction.predict(finished_run, files[:1]),
        prediction.predict(finished_run, files[:1], top=20),
    )
    assert [answer["rank"] for answer in whole] == list(range(1, 11)) and {
        **first,
        "rank": 1,
    } == whole[0]
    assert sum(answer["probability"] for answer in whole) == pytest.approx(1)
    assert sorted(answer["label"] for answer in whole) == [str(digit) for digit in range(10)]
    said = zoo_command("predict", exported[0], *files, "--top", "3", "--csv", "labels.csv")
    rows = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [(row["rank"], row["label"]) for row in rows] == [
        *((str(answer["rank"]), answer["label"]) for answer in whole[:3]),
        ("", ""),
    ]
    assert (
        said.stdout == "1 predictions are in labels.csv\n"
        and "1 of 2 files could not be labelled" in said.stderr
    )


def test_an_export_that_does_not_name_its_classes_tells_the_likeliest(
    exported, test_images, tmp_path
):
    shutil.copytree(exported[0], tmp_path / "model", ignore=shutil.ignore_patterns("card.json"))
    (tmp_path / "digit.png").write_bytes(tf.io.encode_png(test_images[0]).numpy())
    assert prediction.predict(tmp_path / "model", [tmp_path / "digit.png"])[0]["label"]
    with pytest.raises(
        UserError, match="model has no model card, assets/card.json, that names its classes"
    ):
        prediction.predict(tmp_path / "model", [tmp_path / "digit.png"], top=2)


def test_sentences_of_the_readme_are_labelled_right(capsys):
    sentences = re.findall(r'--text "(.*?)"', next(
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("zoo predict textcnn-mr-small")))
    args = [arg for sentence in sentences for arg in ("--text", sentence)]
    assert main(["predict", "textcnn-mr-small", *args]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["sentence", "label", "probability"]
    assert [row.split()[-2] for row in rows] == ["positive", "negative"]
    assert [row.startswith(sentence) for row, sentence in zip(rows, sentences, strict=True)]


def test_sentences_stand_beside_files_and_not_before_networks_of_images(tmp_path, capsys):
    (tmp_path / "lines.txt").write_text("a dull film\n\na fine film\n", encoding="utf-8")
    mixed = prediction.predict("textcnn-mr-small", [tmp_path / "lines.txt"], texts=["a fine film"])
    assert [row.get("line") for row in mixed] == [1, 3, None] and "file" not in mixed[2]
    assert mixed[1]["probability"] == pytest.approx(mixed[2]["probability"], abs=1e-6)
    prediction.write_csv(tmp_path / "labels.csv", mixed[2:])
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8").startswith("text,label,class_id,")
    assert main(["predict", "lenet5-digits", "--text", "a film"]) == 1
    assert capsys.readouterr().err == (
        "zoo: lenet5-digits is a network for images. Pass files, not a text.\n")


def test_networks_loaded_one_after_another_say_nothing_of_retracing():
    program = ("from zoo.training import predict\n"
               "for _ in range(7): predict('textcnn-mr-small', texts=['a film'])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "retracing" not in done.stderr, done.stderr
