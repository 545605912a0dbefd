"""Shipped networks: their cards are true, their files execute nothing, and a wheel holds them."""

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

import zoo
from tests.conftest import ROOT
from zoo import shipped
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training import evaluation, prediction, recipes, trained
from zoo.training.deployment import exporter
from zoo.training.engine import fit
from zoo.training.results import publish as ship

NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name.endswith(("cifar10", "mnist")) else name
    for name in shipped.names()
]


@pytest.fixture(scope="module")
def second_run(finished_run, tmp_path_factory):
    """The finished run as if it had been that of seed 1, worse on its validation part."""
    run = shutil.copytree(finished_run, tmp_path_factory.mktemp("second") / "run")
    _edit(run / "recipe.json", seed=1)
    epoch = json.loads((run / "metrics.json").read_text())["best_epoch"]
    _edit(
        run / "metrics.json", seed=1, test_accuracy=0.5, best_epoch={**epoch, "val_accuracy": 0.4}
    )
    return run


@pytest.fixture(scope="module")
def models(finished_run, second_run, tmp_path_factory):
    """A folder with one shipped model, of three epochs on the digits."""
    folder = tmp_path_factory.mktemp("shipped") / "models"
    ship.ship([second_run, finished_run], folder)
    return folder


@pytest.fixture
def folder(models, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(models, tmp_path / "models")


@pytest.fixture(scope="module")
def digit(tmp_path_factory):
    """An image file of a 0."""
    file = tmp_path_factory.mktemp("digit") / "digit.png"
    file.write_bytes(
        tf.io.encode_png(tf.cast(load_digits().images[0] * 15, tf.uint8)[..., None]).numpy()
    )
    return file


def _edit(file, **fields):
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def _replace_weights(folder, data):
    """Put other bytes in place of the weights, with a card that is true of them."""
    place = folder / "lenet5-digits"
    (place / "weights.npz").write_bytes(data)
    files = {"weights.npz": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    _edit(place / "card.json", files=files)


def _data_of(name, request, tmp_path):
    """(data set or None for the recipe's, TFDS folder) of a shipped model; skips without data."""
    data = zoo.card(name)["data"]["name"]
    if data == "digits":
        return None, None
    if data in ("cifar10", "fashion_mnist", "mnist"):
        folder = request.getfixturevalue("mnist_dir")
        if not (Path(folder) / data).is_dir():
            pytest.skip(f"{data} is not here: set TFDS_DATA_DIR to the folder that holds it")
        return None, folder
    here = Path(os.environ.get("ZOO_DATA", "nowhere")) / data
    if not here.exists() and here.with_suffix(".zip").exists():
        shutil.unpack_archive(here.with_suffix(".zip"), tmp_path)
        here = tmp_path / data
    if not here.exists():
        pytest.skip(f"{data} is not here: set ZOO_DATA to the folder that holds it")
    return str(here), None


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_the_truth(name, request, tmp_path):
    scores = evaluation.evaluate(name, *_data_of(name, request, tmp_path))
    metrics = zoo.card(name)["metrics"]
    assert scores["accuracy"] == pytest.approx(metrics["test_accuracy"], abs=1e-3)
    assert scores["examples"] == metrics["test_examples"]


@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_model_is_small_and_whole(name):
    place, card = shipped.FOLDER / name, zoo.card(name)
    assert sum(file.stat().st_size for file in place.iterdir()) <= ship.LIMIT
    assert {file.name for file in place.iterdir()} == {"card.json", *card["files"]}
    for file, expected in card["files"].items():
        assert len(shipped.read(name, file)) == expected["bytes"]
    model = zoo.load(name)
    assert (model.count_params(), model.output.shape[-1]) == (
        card.get("params", card.get("weights")),
        len(card["class_names"]),
    )
    assert not card["metrics"]["commit"].endswith("-dirty") and card["seeds"]["seeds"]


def test_every_folder_is_a_model_and_listed():
    """If the table is another: python -m zoo.training.results.publish."""
    assert {file.name for file in shipped.FOLDER.iterdir()} == set(shipped.names())
    assert "lenet5-digits" in shipped.names()
    for page in (file.read_text() for file in ship.PAGES):
        assert ship.update_table(page) == page and all(
            f"`{name}`" in page for name in shipped.names()
        )


def test_a_shipped_run_answers_as_the_run_does(folder, finished_run):
    model, kept = shipped.load("lenet5-digits", folder), trained.load(finished_run).model
    images = np.load(finished_run / "examples.npz")["examples"].astype("float32")
    np.testing.assert_allclose(
        model.predict(images, verbose=0), kept.predict(images, verbose=0), atol=1e-5
    )


def test_the_best_seed_ships_and_the_card_tells_of_all(folder, finished_run):
    card = shipped.card("lenet5-digits", folder)
    accuracy = json.loads((finished_run / "metrics.json").read_text())["test_accuracy"]
    assert card["metrics"]["seed"] == 0 and card["seeds"]["seeds"] == [1, 0]
    assert (
        card["seeds"]["test_accuracy"] == [0.5, accuracy]
        and card["seeds"]["mean"] == (0.5 + accuracy) / 2
    )
    assert (
        "lenet5-digits" in ship.update_table("", folder) and "CC BY 4.0" in card["data"]["licence"]
    )


def test_what_is_untrue_or_does_not_belong_together_is_not_shipped(
    finished_run, tmp_path, monkeypatch, capfd
):
    run = shutil.copytree(finished_run, tmp_path / "run")
    _edit(run / "metrics.json", test_accuracy=0.123)
    with pytest.raises(UserError, match="reached 0.1230, and what would be shipped 0.9"):
        ship.ship([run], tmp_path / "models")
    _edit(run / "recipe.json", epochs=4)
    assert ship.main([str(finished_run), str(run), "--to", str(tmp_path / "models")]) == 1
    assert "differ in epochs (3, 4)" in capfd.readouterr().err
    with pytest.raises(UserError, match="second run with the seed 0"):
        ship.ship([finished_run, finished_run], tmp_path / "models")
    with pytest.raises(UserError, match="lenet5-digits is not a run directory"):
        ship.ship(["lenet5-digits"], tmp_path / "models")
    assert not (tmp_path / "models").exists()
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "models")  # no --to: only what is repeatable
    for commit, words in (
        ("abcdef0-dirty", "was run from abcdef0-dirty"),
        ("abcdef0", "not a run of an unchanged recipe"),
    ):
        _edit(run / "metrics.json", commit=commit)
        with pytest.raises(UserError, match=words):
            ship.ship([run])


def test_damage_is_one_line(folder):
    weights = folder / "lenet5-digits/weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with pytest.raises(
        UserError, match="weights.npz is damaged: its SHA-256 is .* Install classic-zoo again"
    ):
        shipped.load("lenet5-digits", folder)
    weights.unlink()
    with pytest.raises(UserError, match="Cannot read .*weights.npz: No such file"):
        shipped.load("lenet5-digits", folder)
    (folder / "lenet5-digits/card.json").write_text("{")
    with pytest.raises(UserError, match="Cannot read .*card.json"):
        shipped.load("lenet5-digits", folder)


class _Planted:
    """What, unpickled, makes a directory."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_nothing_in_the_files_runs(folder, tmp_path, monkeypatch):
    place, buffer, single = tmp_path / "ran", io.BytesIO(), io.BytesIO()
    np.savez(buffer, **{"c1/kernel": np.array([_Planted(place)], object)})
    np.save(single, np.array([_Planted(place)], object), allow_pickle=True)
    for data in (buffer.getvalue(), single.getvalue(), pickle.dumps(_Planted(place))):
        _replace_weights(folder, data)
        with pytest.raises(UserError, match="holds anything but plain arrays"):
            shipped.load("lenet5-digits", folder)
    assert not place.exists()
    pickle.loads(pickle.dumps(_Planted(place)))
    assert place.exists(), "the plant itself works"
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    _edit(folder / "lenet5-digits/card.json", architecture="planted:lenet5")
    with pytest.raises(
        UserError, match="names 'planted:lenet5', which is not a network of the zoo"
    ):
        shipped.load("lenet5-digits", folder)
    assert not (tmp_path / "imported").exists()


def test_weights_of_another_network_are_refused(folder):
    held = dict(np.load(folder / "lenet5-digits/weights.npz"))
    for changed in (
        dict(list(held.items())[1:]),
        {key: array[..., :1] for key, array in held.items()},
    ):
        buffer = io.BytesIO()
        np.savez(buffer, **changed)
        _replace_weights(folder, buffer.getvalue())
        with pytest.raises(UserError, match="does not hold the weights of lenet5, or not all"):
            shipped.load("lenet5-digits", folder)


def test_the_commands_take_a_name(digit, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "lenet5-digits", str(digit), "--json"]) == 0
    (answer,) = json.loads(capfd.readouterr().out)
    (expected,) = prediction.predict("lenet5-digits", [digit])
    expected["probability"] = pytest.approx(expected["probability"], abs=1e-6)
    assert answer["label"] == "0" and answer == expected
    assert main(["evaluate", "lenet5-digits", "--json"]) == 0
    accuracy = json.loads(capfd.readouterr().out)["accuracy"]
    expected = zoo.card("lenet5-digits")["metrics"]["test_accuracy"]
    assert accuracy == pytest.approx(expected, abs=1e-3)
    for near in ("predict", "evaluate"):
        assert main([near, "lenet5-digit", *[str(digit)] * (near == "predict")]) == 1
        assert capfd.readouterr().err.count("Did you mean 'lenet5-digits'?") == 1
    (tmp_path / "lenet5-digits").mkdir()  # a path goes before a name
    assert (
        main(["evaluate", "lenet5-digits"]) == 1
        and "it has no recipe.json" in capfd.readouterr().err
    )


def test_sentences_ship_with_their_words(tmp_path, monkeypatch, capfd):
    rows = [f"the film was {('poor', 'fine')[n % 2]},{('bad', 'good')[n % 2]}" for n in range(60)]
    (tmp_path / "reviews.csv").write_text(
        "\n".join(["text,label", *(f"number {n} {row}" for n, row in enumerate(rows))])
    )
    (tmp_path / "sentences.txt").write_text("a fine film\nnever seen\n")
    recipe = recipes.override(
        recipes.get_recipe("text_mlp", str(tmp_path / "reviews.csv")), ["epochs=1", "embedding=8"]
    )
    fit.train(recipe, tmp_path / "run", log=False)
    assert ship.main([str(tmp_path / "run"), "--to", str(tmp_path / "models")]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("text_mlp-reviews: test accuracy ") and str(tmp_path) not in printed
    assert str(tmp_path) not in (tmp_path / "models/text_mlp-reviews/card.json").read_text()
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "models")
    expected = prediction.predict(tmp_path / "run", [tmp_path / "sentences.txt"])
    for one, other in zip(
        prediction.predict("text_mlp-reviews", [tmp_path / "sentences.txt"]), expected, strict=True
    ):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
    done = exporter.export("text_mlp-reviews", tmp_path / "export")
    assert done["examples_of"] == "random" and done["formats"]["saved_model"]["agreement"] == 1.0
    for one, other in zip(
        prediction.predict(tmp_path / "export", [tmp_path / "sentences.txt"]), expected, strict=True
    ):
        assert one["label"] == other["label"]
    monkeypatch.setattr(ship, "LIMIT", 1000)
    with pytest.raises(UserError, match="a shipped model has at most 1,000"):
        ship.ship([tmp_path / "run"], tmp_path / "models")
    assert zoo.card("text_mlp-reviews")["input"]["kind"] == "text", "what was there stays"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        UserError, match="Unknown shipped model 'lenet5-digit'. Did you mean 'lenet5-digits'?"
    ):
        zoo.load("lenet5-digit")
    with pytest.raises(UserError, match="Unknown shipped model '../shipped/lenet5-digits'"):
        zoo.card("../shipped/lenet5-digits")


@pytest.mark.slow
def test_a_wheel_holds_them(tmp_path, digit):
    tree, site = tmp_path / "tree", tmp_path / "site"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for file in files.stdout.splitlines():
        if (ROOT / file).is_file() and not file.startswith("tests/"):
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tree / file)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path],
        cwd=tree,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)  # what installing a wheel without extensions does
    kept = {path.parent.name for path in site.glob("zoo/saved_models/shipped/*/weights.npz")}
    assert kept == set(shipped.names())
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "predict", "lenet5-digits", digit, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["label"] == "0"
