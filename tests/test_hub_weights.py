"""Weights from the Hugging Face Hub: files as torchvision and timm save them, in the Hub's cache.

No test downloads anything. The files hold random weights; the slow tests compare what torchvision
and timm compute from them.
"""
import dataclasses
import gzip
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants
from keras.src.applications import imagenet_utils
from PIL import Image

import zoo
from tests import hub_peers
from tests.conftest import ROOT
from zoo import catalog, hub_weights, weights
from zoo.errors import UsageError, UserError
from zoo.factory import without_weights
from zoo.training.deployment import card as cards
from zoo.training.preprocessing.pillow_images import prepare
from zoo.training.trained import Trained

ROWS = list(hub_weights.PUBLISHED)
TENSORS = json.loads(gzip.decompress(hub_peers.TENSORS.read_bytes()))
COMMIT = "0" * 40


def cache(home, name, value, tensors):
    """Put a file in the place where huggingface_hub keeps it; return the row with its SHA-256."""
    row = hub_weights.PUBLISHED[name, value]
    data = safetensors.numpy.save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    repository = home / f"models--{row.repository.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for place in (repository / "blobs", snapshot, repository / "refs"):
        place.mkdir(parents=True)
    (repository / "blobs" / digest).write_bytes(data)
    (snapshot / row.file).symlink_to(f"../../blobs/{digest}")
    (repository / "refs" / "main").write_text(COMMIT)
    return dataclasses.replace(row, revision=None, sha256=digest)


def random_tensors(name):
    """Numbers by which a signal neither grows nor shrinks from layer to layer."""
    generator = np.random.default_rng(0)
    return {key: np.asarray(generator.uniform(0.5, 1, shape) / np.prod(shape[1:]), "float32")
            for key, shape in TENSORS[name].items()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache of huggingface_hub, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def resnet18(home, monkeypatch):
    """resnet18's file of random numbers: its tensors."""
    tensors = random_tensors("resnet18")
    monkeypatch.setitem(hub_weights.PUBLISHED, ("resnet18", "imagenet"),
                        cache(home, "resnet18", "imagenet", tensors))
    return tensors


@pytest.mark.parametrize("name, value", ROWS)
def test_every_tensor_of_every_file_has_its_place(name, value):
    """None is missing and none is left over; shapes are those of the peers' own networks."""
    published = hub_weights.PUBLISHED[name, value]
    model = without_weights(zoo.build, name)
    pairs = hub_weights.match(model, published, {
        key: tuple(shape) for key, shape in TENSORS[name].items()})
    assert pairs.keys() == {weight.path for weight in model.weights}
    rest = set(TENSORS[name]) - set(pairs.values())
    assert len(set(pairs.values())) == len(pairs)
    assert all(key.endswith("num_batches_tracked") or key.split(".")[0] in published.unused
               for key in rest)
    assert published.crop == zoo.spec(name).defaults["input_shape"][0] <= published.resize


def test_the_list_of_networks_is_made_from_the_table():
    listed = {name for entry in catalog.matching(trained=True) for name in entry["trained"]
              if name.rpartition("-")[2].startswith("imagenet")}
    assert listed == {f"{name}-{value}" for name, value in ROWS} | {
        f"{name}-imagenet" for name in weights.KERAS_APPLICATIONS}
    assert not {(name, "imagenet") for name in weights.KERAS_APPLICATIONS} & set(ROWS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"keras.applications, and {len(ROWS)}, ResNet-18 and AlexNet among them" in readme
    assert set(TENSORS) == set(hub_peers.PEERS) == {name for name, _ in ROWS}


def test_a_file_loads_whole_and_turned(resnet18):
    model = zoo.build("resnet18", weights="imagenet", input_shape=(64, 64, 3))
    conv = model.get_layer("stage2_block1_a_conv").kernel.numpy()
    np.testing.assert_array_equal(conv[2, 0, 5, 7], resnet18["layer2.0.conv1.weight"][7, 5, 2, 0])
    logits = model.get_layer("logits")
    np.testing.assert_array_equal(logits.kernel.numpy(), resnet18["fc.weight"].T)
    np.testing.assert_array_equal(logits.bias.numpy(), resnet18["fc.bias"])
    norm = model.get_layer("stage3_block1_shortcut_bn")
    for ours, theirs in (("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"),
                         ("moving_variance", "running_var")):
        np.testing.assert_array_equal(getattr(norm, ours).numpy(),
                                      resnet18[f"layer3.0.downsample.1.{theirs}"])
    white = keras.ops.convert_to_numpy(model.get_layer("rescale")(np.full((1, 1, 1, 3), 255)))
    np.testing.assert_allclose(white.ravel(), [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224,
                                               (1 - 0.406) / 0.225], rtol=1e-5)


def test_a_new_head_stands_on_the_published_body(resnet18):
    kernel = resnet18["conv1.weight"].transpose(2, 3, 1, 0)
    for overrides, output in (({"classes": 7}, 7), ({"classes": 0}, 512),
                              ({"input_shape": (64, 64, 1)}, 1000)):
        model = zoo.build("resnet18", weights="imagenet", **overrides)
        assert model.output.shape == (None, output)
        np.testing.assert_array_equal(model.get_layer("stem_conv").kernel.numpy(), kernel)
    assert not zoo.build("resnet18", weights="imagenet", classes=7).get_layer(
        "logits").bias.numpy().any()


def test_a_matrix_after_a_map_takes_rows_before_channels():
    """PyTorch flattens (channels, height, width), Keras (height, width, channels)."""
    model = zoo.build("alexnet_torchvision", width=1 / 16, units=3, classes=2)
    layer = model.get_layer("fc1")
    theirs = np.random.default_rng(0).normal(size=(3, 16 * 6 * 6)).astype("float32")
    maps = np.random.default_rng(1).normal(size=(2, 6, 6, 16)).astype("float32")
    expected = maps.transpose(0, 3, 1, 2).reshape(2, -1) @ theirs.T
    kernel = hub_weights._transposed(theirs, model, layer.kernel)
    np.testing.assert_allclose(maps.reshape(2, -1) @ kernel, expected, rtol=1e-4, atol=1e-5)
    convolution = theirs.reshape(3, 16, 6, 6)  # as timm keeps VGG's first matrix
    np.testing.assert_array_equal(hub_weights._transposed(convolution, model, layer.kernel), kernel)


def test_vgg_without_its_matrices_takes_the_convolutions(home, monkeypatch):
    tensors = {key: np.zeros(shape, "float32") for key, shape in TENSORS["vgg11_bn"].items()
               if key.startswith("features.")}
    tensors |= {"pre_logits.fc1.weight": np.zeros(1, "float32"),
                "head.fc.bias": np.zeros(1, "float32")}
    monkeypatch.setitem(hub_weights.PUBLISHED, ("vgg11_bn", "imagenet"),
                        cache(home, "vgg11_bn", "imagenet", tensors))
    model = zoo.build("vgg11_bn", weights="imagenet", units=0, classes=0,
                      input_shape=(None, None, 3))
    assert model.output.shape == (None, 512)
    assert not model.get_layer("stage5_bn2").gamma.numpy().any()


@pytest.mark.parametrize("change, words", [
    (lambda tensors: tensors.pop("layer4.1.bn2.running_var"),
     "does not hold 'layer4.1.bn2.running_var', for 'stage4_block2_b_bn' of resnet18"),
    (lambda tensors: tensors.update({"layer5.0.conv1.weight": np.zeros(2, "float32")}),
     "holds 'layer5.0.conv1.weight' and 0 more tensors that resnet18 has no layer for"),
    (lambda tensors: tensors.update({"layer1.0.conv1.weight": np.zeros((3, 64, 3, 3), "float32")}),
     r"'layer1.0.conv1.weight' of model.safetensors of timm/resnet18.tv_in1k \(3x64x3x3\) does not "
     r"fit 'stage1_block1_a_conv' \(3x3x64x64\)"),
])
def test_a_file_of_another_network_is_refused(change, words, home, monkeypatch):
    tensors = random_tensors("resnet18")
    change(tensors)
    monkeypatch.setitem(hub_weights.PUBLISHED, ("resnet18", "imagenet"),
                        cache(home, "resnet18", "imagenet", tensors))
    with pytest.raises(UserError, match=words) as refusal:
        zoo.build("resnet18", weights="imagenet")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("overrides, words", [
    ({"depths": (1, 1, 1, 1)}, "tensors that resnet18 has no layer for. The weights are for its"),
    ({"depths": (2, 2, 2, 3)}, "does not hold 'layer4.2.conv1.weight'"),
    ({"width": 32}, "does not fit 'stem_conv'"),
    ({"stem": "small"}, r"\(64x3x7x7\) does not fit 'stem_conv' \(3x3x3x64\)"),
    ({"mean": 0.5}, r"Weights bring their own mean and std\. Received: mean=0\.5"),
    ({"input_shape": (64, 64, 4)}, r"3 channels, or of 1\. Received: 4\."),
    ({"weights": "imagenet_torchvision"}, r"Did you mean weights='imagenet'\?"),
])
def test_options_that_do_not_fit_are_refused(overrides, words, resnet18):
    with pytest.raises(UserError, match=words) as refusal:
        zoo.build("resnet18", **{"weights": "imagenet"} | overrides)
    assert "\n" not in str(refusal.value)


def test_another_file_than_the_expected_one_is_refused(home, resnet18, monkeypatch):
    """Whether the table has its SHA-256, or only the Hub states it, by the name of the blob."""
    row = hub_weights.PUBLISHED["resnet18", "imagenet"]
    monkeypatch.setitem(hub_weights.PUBLISHED, ("resnet18", "imagenet"),
                        dataclasses.replace(row, sha256="1" * 64))
    expected = rf"its SHA-256 is {row.sha256[:12]}\.\.\., not 111111111111\.\.\. Delete /"
    with pytest.raises(UserError, match=expected):
        zoo.build("resnet18", weights="imagenet")
    monkeypatch.setitem(hub_weights.PUBLISHED, ("resnet18", "imagenet"),
                        dataclasses.replace(row, sha256=None))
    zoo.build("resnet18", weights="imagenet")
    assert hub_weights.card(hub_weights.PUBLISHED["resnet18", "imagenet"])["weights_file"][
        "sha256"] == row.sha256
    (blob,) = home.glob("*/blobs/*")
    blob.write_bytes(blob.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match=rf"not {row.sha256[:12]}"):
        zoo.build("resnet18", weights="imagenet")
    (link,) = home.glob("*/snapshots/*/*")
    data = link.read_bytes()
    link.unlink()
    link.write_bytes(data)
    with pytest.raises(UserError, match="Cannot check model.safetensors of .*states no SHA-256"):
        zoo.build("resnet18", weights="imagenet")


def test_a_damaged_file_is_one_line(home, resnet18, monkeypatch):
    (blob,) = home.glob("*/blobs/*")
    blob.write_bytes(b"\xff" * 100)
    row = hub_weights.PUBLISHED["resnet18", "imagenet"]
    monkeypatch.setitem(hub_weights.PUBLISHED, ("resnet18", "imagenet"), dataclasses.replace(
        row, sha256=hashlib.sha256(b"\xff" * 100).hexdigest()))
    with pytest.raises(UserError, match="Cannot read .*model.safetensors: ") as refusal:
        zoo.build("resnet18", weights="imagenet")
    assert "\n" not in str(refusal.value)


def test_without_a_network_a_line_says_what_is_missing(home):
    with pytest.raises(UserError, match="Cannot get model.safetensors of huggingface.co/timm/"
                                        "resnet34.tv_in1k: .*HF_HOME") as refusal:
        zoo.build("resnet34", weights="imagenet")
    assert "\n" not in str(refusal.value)


def test_without_the_packages_a_line_names_the_extra(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"huggingface_hub and safetensors: run `pip .*\[hub\]"):
        zoo.build("resnet34", weights="imagenet")


def test_a_network_whose_layers_differ_names_the_one_that_fits():
    for name, others in (("resnet50", "'resnet50_v1_5' or 'resnet50_keras'"),
                         ("googlenet", "'googlenet_torchvision'"),
                         ("inception_v4", "'inception_v4_timm'")):
        with pytest.raises(UsageError, match=rf"No ImageNet weights for '{name}'\. .* {others}\?"):
            zoo.build(name, weights="imagenet")


def test_the_card_states_the_published_accuracy_as_not_measured_here(resnet18, monkeypatch):
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX",
                        {str(i): [f"n{i:08}", f"class_{i}"] for i in range(1000)})
    card = zoo.card("resnet18-imagenet")
    assert card["metrics"] == {} and card["input"]["eval_resize"] == 256
    assert card["published"] == {
        "top1": 69.758, "top5": 89.078, "measured_here": False,
        "source": "torchvision 0.29, docs.pytorch.org/vision/stable/models.html"}
    origin = card["weights_file"]
    assert origin["repository"] == "timm/resnet18.tv_in1k" and origin["licence"] == "bsd-3-clause"
    assert origin["preprocessing"]["std"] == [0.229, 0.224, 0.225]
    network = zoo.training.trained.load("resnet18-imagenet")
    assert isinstance(network, Trained) and network.recipe.eval_resize == 256
    exported = cards.describe(network, {"saved_model": "."}, "resnet18")
    assert exported["published"] == card["published"]
    page = cards.markdown(exported)
    assert ("Published accuracy on its validation images, not measured here: top-1 69.76 %, top-5 "
            "89.08 %") in page
    assert "the shorter side resized to 256 pixels, the centre of 224x224 cut out" in page


COMMANDS = """
import dataclasses, json, os, sys
import keras
from keras.src.applications import imagenet_utils
from zoo import hub_weights
from zoo.__main__ import main
imagenet_utils.CLASS_INDEX = {str(i): [f"n{i:08}", f"class_{i}"] for i in range(1000)}
for name, digest in json.loads(os.environ["DIGESTS"]).items():
    for row, published in list(hub_weights.PUBLISHED.items()):
        if row[0] == name:
            hub_weights.PUBLISHED[row] = dataclasses.replace(
                published, sha256=digest, revision=None)
"""
RUN = COMMANDS + """
for line in sys.argv[1:]:
    if main(line.split()):
        sys.exit(line)
assert "torch" not in sys.modules
"""
ANSWERS = COMMANDS + """
import numpy as np
import zoo
for row in json.loads(os.environ["ROWS"]):
    model = zoo.build(row[0], weights=row[1])
    pixels = np.load(f"{sys.argv[1]}/{row[0]}.npz")["pixels"]
    np.save(f"{sys.argv[1]}/{row[0]}.npy", keras.ops.convert_to_numpy(model(pixels)))
assert "torch" not in sys.modules
"""


def run(script, home, digests, *args, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT),
             "DIGESTS": json.dumps(digests), **environment})


@pytest.mark.slow
def test_the_commands_take_the_name(tmp_path):
    row = cache(tmp_path / "home/hub", "resnet18", "imagenet", random_tensors("resnet18"))
    generator = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(12):
            pixels = generator.integers(0, 256, (70, 90, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{n}.png")
    done = run(RUN, tmp_path / "home", {"resnet18": row.sha256},
               "predict resnet18-imagenet photos/a/0.png --json",
               "export resnet18-imagenet --to model", "predict model photos/a/0.png --json",
               "train resnet18 --data photos --epochs 1 --run run --set weights=imagenet "
               "--set input_shape=32,32,3 --set batch_size=8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    by_network, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert by_network[0]["label"] == f"class_{by_network[0]['class_id']}"
    card = json.loads((tmp_path / "model/assets/card.json").read_text(encoding="utf-8"))
    assert (card["input"]["eval_resize"], card["metrics"]) == (256, {})
    assert card["published"]["top1"] == 69.758
    assert card["weights_file"]["sha256"] == row.sha256
    assert (tmp_path / "run/metrics.json").is_file()


def check_peers():
    """Skip without the peers; importing PyTorch into a process with TensorFlow may crash it."""
    if not all(map(importlib.util.find_spec, ("torch", "torchvision", "timm"))):
        pytest.skip("pip install torch torchvision timm")


def peers(folder, rows):
    """Write the files of `rows` and the peers' answers by a process of their own."""
    args = [f"{row[0]} {published.repository} {published.file} {published.resize} {published.crop}"
            for row in rows for published in (hub_weights.PUBLISHED[tuple(row)],)]
    done = subprocess.run([sys.executable, "-W", "ignore", hub_peers.__file__, str(folder), *args],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines() if line.count(" ") == 1)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(ROWS), 8))
def test_every_row_answers_as_torchvision_or_timm(first, tmp_path):
    """On photographs prepared by their own published transforms; ours takes the cut pixels.

    Those pixels are also the zoo's own, but for one level, of the card's eval_resize.
    """
    check_peers()
    rows = ROWS[first:first + 8]
    digests = peers(tmp_path, rows)
    done = run(ANSWERS, tmp_path, digests, tmp_path, ROWS=json.dumps(rows))
    assert done.returncode == 0, done.stderr
    for name, value in rows:
        peer, published = np.load(tmp_path / f"{name}.npz"), hub_weights.PUBLISHED[name, value]
        for before, after in zip(peer["before"], peer["after"], strict=True):
            file = io.BytesIO()
            Image.fromarray(before).save(file, "PNG")
            ours = prepare(file.getvalue(), after.shape, "crop", "white", published.resize)
            assert np.abs(ours.astype(int) - after).max() <= 1
        expected = peer["logits"]
        got = np.load(tmp_path / f"{name}.npy")
        spread = expected.std(axis=0).mean()
        assert spread > 0.05 * np.abs(expected).mean(), f"{name}: the logits hardly vary"
        assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max(), name


@pytest.mark.slow
def test_the_tensors_on_file_are_those_of_the_peers():
    """If they are others: python tests/hub_peers.py --tensors."""
    check_peers()
    script = ("import json; from tests.hub_peers import *; "
              "print(json.dumps({name: tensors(name) for name in PEERS}))")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT,
                          capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == TENSORS, done.stderr
