"""`zoo publish` and `zoo.load("hf://...")`, by huggingface_hub and a local server."""
import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import safetensors.numpy
import yaml
from PIL import Image
from sklearn.datasets import load_digits

import zoo
from tests import hub_server
from tests.conftest import ROOT
from zoo import hub
from zoo.errors import UsageError, UserError
from zoo.training import evaluation, prediction, recipes, trained
from zoo.training.engine import fit
from zoo.training.results import share

ADDRESS = "hf://ada/digits"
COMMANDS = """
import json, sys
from zoo.__main__ import main
print(json.dumps([main(line.split("|")) for line in sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def server():
    with hub_server.running() as server:
        yield server


def run(server, home, *lines, token=hub_server.TOKEN):
    """Run commands in one process that takes the server for the Hub; return it."""
    return subprocess.run(
        [sys.executable, "-c", COMMANDS, *lines], cwd=home, capture_output=True, text=True,
        env={**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(home / "hf"),
             "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
             "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def published(server, finished_run, tmp_path_factory):
    """What the commands printed: publish, predict and evaluate."""
    home = tmp_path_factory.mktemp("home")
    Image.fromarray((load_digits().images[0] * 15).astype("uint8")).save(home / "digit.png")
    done = run(server, home, f"publish|{finished_run}|{ADDRESS}|--licence|cc-by-4.0",
               f"predict|{ADDRESS}|digit.png|--json", f"evaluate|{ADDRESS}|--json",
               "predict|hf://ada/nothing|digit.png", "predict|hf://ada|digit.png",
               f"publish|{finished_run}|{ADDRESS}@v2")
    assert not done.stderr.count("Traceback"), done.stderr
    return home, done


@pytest.fixture
def local(published, server, monkeypatch):
    """What is published, changed at will, for `zoo.load` in this process without a server."""
    home, _ = published
    files = dict(server.repos["ada/digits"])

    def download(repository, file, revision=None):
        path = home / "local" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(files[file])
        return path
    monkeypatch.setattr(hub, "download", download)
    return files


def test_a_run_is_published_loaded_and_used_by_its_address(published, server, finished_run):
    home, done = published
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0, 0, 0, 1, 2, 2], done.stderr
    commit = server.commit("ada/digits")
    first, rest = done.stdout.split("\n", 1)
    assert first == f"{ADDRESS} is published: {server.url}/ada/digits/commit/{commit}"
    predicted, end = json.JSONDecoder().raw_decode(rest)
    (expected,) = prediction.predict(finished_run, [home / "digit.png"])
    assert predicted[0]["label"] == expected["label"] == "0"
    assert predicted[0]["probability"] == pytest.approx(expected["probability"], abs=1e-6)
    scores = json.JSONDecoder().raw_decode(rest[end:].lstrip())[0]
    assert scores["accuracy"] == evaluation.evaluate(finished_run)["accuracy"]
    assert f"HEAD /ada/digits/resolve/main/{hub.WEIGHTS}" in server.requests


def test_mistakes_are_one_line(published):
    _, done = published
    lines = [line for line in done.stderr.splitlines() if line.startswith("zoo: ")]
    assert len(lines) == 3
    assert lines[0].startswith("zoo: Cannot get card.json of huggingface.co/ada/nothing: ")
    assert lines[1:] == [
        "zoo: Expected an address on the Hugging Face Hub, hf://owner/name. Received: hf://ada.",
        f"zoo: A run is published on the main branch: hf://owner/name. Received: {ADDRESS}@v2."]


def test_the_repository_holds_a_model_card_in_the_format_of_the_hub(published, server,
                                                                     finished_run):
    files = server.repos["ada/digits"]
    assert set(files) == {"README.md", "card.json", "model.safetensors"}
    _, header, page = files["README.md"].decode().split("---\n", 2)
    fields, accuracy = yaml.safe_load(header), trained.load(finished_run).metrics["test_accuracy"]
    assert (fields["license"], fields["library_name"]) == ("cc-by-4.0", "keras")
    assert fields["datasets"] == ["digits"] and "accuracy" in fields["metrics"]
    assert fields["pipeline_tag"] == "image-classification"
    (result,) = fields["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "accuracy", "value": accuracy}
    assert f'zoo.load("{ADDRESS}")' in page and f"Test accuracy {accuracy:.4f}" in page
    arrays = safetensors.numpy.load(files["model.safetensors"])
    assert {key: array.shape for key, array in arrays.items()} == {
        weight.path: tuple(weight.shape) for weight in trained.load(finished_run).model.weights}


def test_a_network_of_your_own_is_not_published(finished_run, monkeypatch):
    source = trained.load(finished_run)
    own = dataclasses.replace(source, recipe=dataclasses.replace(source.recipe, model="my:net"))
    monkeypatch.setattr(share.trained, "load", lambda run: own)
    with pytest.raises(UserError, match="my:net is a network of your own, which nobody could load"):
        share.publish(finished_run, ADDRESS)


def test_without_a_token_the_hub_refuses_in_one_line(server, finished_run, tmp_path):
    done = run(server, tmp_path, f"publish|{finished_run}|hf://eve/digits", token="hf_wrong")
    assert json.loads(done.stdout) == [1]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("zoo: ")]
    assert line.startswith(f"zoo: Cannot publish {finished_run} at huggingface.co/eve/digits: ")
    assert "401" in line and "eve/digits" not in server.repos


def test_without_a_connection_publishing_fails_in_one_line(finished_run, tmp_path):
    nowhere = types.SimpleNamespace(url="http://127.0.0.1:1")
    done = run(nowhere, tmp_path, f"publish|{finished_run}|{ADDRESS}")
    assert json.loads(done.stdout) == [1] and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("zoo: ")]
    assert line.startswith(f"zoo: Cannot publish {finished_run} at huggingface.co/ada/digits: ")


def test_sentences_are_published_with_their_words(tmp_path, monkeypatch):
    rows = [f"number {n} the film was {('poor', 'fine')[n % 2]},{('bad', 'good')[n % 2]}"
            for n in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    recipe = recipes.override(recipes.get_recipe("text_mlp", str(tmp_path / "reviews.csv")),
                              ["epochs=1", "embedding=8"])
    fit.train(recipe, tmp_path / "run", log=False)
    folder = tmp_path / "hub"
    folder.mkdir()
    share.fill(folder, trained.load(tmp_path / "run"), "hf://ada/reviews", "other")
    assert "text-classification" in (folder / "README.md").read_text()
    assert str(tmp_path) not in (folder / "card.json").read_text()
    monkeypatch.setattr(hub, "download", lambda repository, file, revision=None: folder / file)
    (expected,), (got,) = (prediction.predict(network, texts=["a fine film"])
                           for network in (tmp_path / "run", "hf://ada/reviews"))
    assert got["label"] == expected["label"]
    assert got["probability"] == pytest.approx(expected["probability"], abs=1e-6)


def test_weights_may_be_an_address(local, finished_run):
    model = zoo.build("lenet5", weights=ADDRESS, classes=3)
    kernel = trained.load(finished_run).model.get_layer("c1").kernel
    np.testing.assert_array_equal(model.get_layer("c1").kernel, kernel)
    assert zoo.card(ADDRESS)["metrics"]["test_examples"] > 0


def test_nothing_in_a_downloaded_file_is_executed(local, tmp_path, monkeypatch):
    """Neither a pickle in place of the weights nor a module that the card names."""
    planted = tmp_path / "ran"
    local["model.safetensors"] = pickle.dumps(_Planted(planted))
    card = json.loads(local["card.json"])
    digest = hashlib.sha256(local["model.safetensors"]).hexdigest()
    card["files"]["model.safetensors"]["sha256"] = digest
    local["card.json"] = json.dumps(card).encode()
    with pytest.raises(UserError, match=r"Cannot read .*model\.safetensors: "):
        zoo.load(ADDRESS)
    (tmp_path / "planted.py").write_text(f"open({str(planted)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for change in ({"architecture": "planted:lenet5"},
                   {"recipe": {**card["recipe"], "model": "planted:lenet5"}}):
        local["card.json"] = json.dumps({**card, **change}).encode()
        with pytest.raises(UserError):
            trained.load(ADDRESS)
    assert not planted.exists()


class _Planted:
    """What, unpickled, makes a directory."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("change, words", [
    ({"files": {}}, r"The card of hf://ada/digits has no SHA-256 of model\.safetensors"),
    ({"files": {"model.safetensors": {"sha256": "0" * 64}}}, "is damaged: its SHA-256 is .*Delete"),
    ({"arguments": {"input_shape": [32, 32, 1], "klasses": 2}}, "has other arguments than lenet5"),
    ({"arguments": {"input_shape": [32, 32, 1], "classes": 9}}, "does not hold the weights of"),
    ({"class_names": None}, "card.json of hf://ada/digits is not that of a network of the zoo"),
    ({"recipe": {"epoch": 3}}, "has no recipe of this version"),
])
def test_a_card_that_does_not_belong_is_refused(change, words, local):
    local["card.json"] = json.dumps({**json.loads(local["card.json"]), **change}).encode()
    with pytest.raises(UserError, match=words) as refusal:
        trained.load(ADDRESS)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("address", ["hf://", "hf://ada", "hf://ada/b/c", "hf://../b", "hf://a/b@",
                                     "hf://ada/dig its"])
def test_an_address_has_an_owner_and_a_name(address):
    with pytest.raises(UsageError, match="Expected an address on the Hugging Face Hub"):
        hub.parse(address)
    assert hub.parse("hf://ada/lenet-5.x@v1.0") == ("ada/lenet-5.x", "v1.0")
