"""Networks with ImageNet weights by name: random weights in Keras's cache stand for a download."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.conftest import ROOT
from zoo.errors import UsageError

COMMANDS = """
import sys
import keras
from keras.src.applications import imagenet_utils
from zoo.__main__ import main
imagenet_utils.CLASS_INDEX = {
    str(i): [f"n{i:08}", "crane" if i in (134, 517) else f"class_{i}"] for i in range(1000)}
for line in sys.argv[1:]:
    if main(line.split()):
        sys.exit(line)
"""
DOWNLOADED = """
import sys
import keras
keras.utils.set_random_seed(0)
model = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
for weight in model.weights:
    if weight.name == "beta":  # else all classes are alike
        weight.assign(keras.random.normal(weight.shape))
model.layers[-1].kernel.assign(10 * model.layers[-1].kernel)
model.save(sys.argv[1] + "/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder as KERAS_HOME, with the weights of one network, and an image."""
    home = tmp_path_factory.mktemp("keras")
    (home / "models").mkdir()
    assert run(home, DOWNLOADED, home).returncode == 0
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), "uint8")).save(
        home / "photo.jpg"
    )
    return home


def run(home, script, *args):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        cwd=home,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "KERAS_HOME": str(home),
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "",
            "PYTHONPATH": str(ROOT),
        },
    )


@pytest.mark.slow
def test_a_classic_answers_and_is_exported_by_its_name(home):
    name = "mobilenet_v2-imagenet"
    commands = (
        f"predict {name} photo.jpg --json",
        f"export {name} --to model",
        f"explain {name} --image photo.jpg",
        "predict model photo.jpg --json",
    )
    done = run(home, COMMANDS, *commands)
    assert done.returncode == 0, done.stderr
    by_network, rest = json.JSONDecoder().raw_decode(done.stdout)
    by_export = json.loads(done.stdout[done.stdout.rindex("\n[") + 1:])
    assert "32 random examples: 100% of the labels agree" in done.stdout[rest:]
    assert by_network[0]["label"] == f"class_{by_network[0]['class_id']}" == by_export[0]["label"]
    assert (
        0.01 < by_network[0]["probability"] == pytest.approx(by_export[0]["probability"], abs=1e-3)
    )
    assert "trained on imagenet2012" in (home / f"{name}.html").read_text()
    card = json.loads((home / "model/assets/card.json").read_text())
    assert len(set(card["class_names"])) == 1000 and card["class_names"][134] == "crane (n00000134)"
    assert card["metrics"] == {} and card["recipe"] is None and card["input"]["resize"] == "crop"
    page = (home / "model/assets/README.md").read_text()
    assert (
        "from imagenet2012 (licence: research only" in page
        and "not measured here" in page
        and "accuracy" not in page
    )


@pytest.mark.slow
def test_without_a_network_a_line_says_what_is_missing(home):
    script = COMMANDS.replace("imagenet_utils.CLASS_INDEX", "_")
    done = run(home, script, "predict mobilenet_v2-imagenet photo.jpg --json")
    assert done.returncode and not done.stdout, "download messages go to standard error"
    assert (
        "zoo: Cannot get the names of ImageNet's classes: URL fetch failure on https://"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("use", [zoo.load, zoo.card])
@pytest.mark.parametrize(
    "name, words",
    [
        (
            "resnet50-imagenet",
            r"'resnet50'\. .* Did you mean 'resnet50_v1_5' or 'resnet50_keras'\?",
        ),
        ("lenet5-imagenet", r"There are for: alexnet_torchvision, densenet121, "),
        ("mobilnet_v2-imagenet", r"Did you mean 'mobilenet_v2'\?"),
    ],
)
def test_a_network_without_published_weights_is_refused(use, name, words):
    with pytest.raises(UsageError, match=words):
        use(name)
