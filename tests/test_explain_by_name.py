"""`zoo explain` of networks that come without their data, for one image or sentence."""

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training.explanation import explainer
from zoo.training.explanation import page as explain_page

OF_THE_DATA = ("Training curves", "Confusion matrix", "Precision and recall", "Top losses")


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), "uint8")).save(
        tmp_path / "photo.png"
    )
    return tmp_path / "photo.png"


def test_an_image_is_looked_into(photo):
    found = explainer.explain("resnet20-cifar10", image=photo)
    page = explain_page.run_page(found)
    assert list(found.maps) == ["stem", "stage1", "stage2", "stage3", "pool"]
    assert found.heat_stage == "stage3" and len(found.heats) == 3 and len(found.filters) == 16
    assert all(
        f">{title}</h2>" in page
        for title in ("First-layer filters", "Feature maps", "Where the network looks", "Layers")
    )
    assert (
        not any(title in page for title in OF_THE_DATA)
        and "resnet20 (He et al. 2016) trained on cifar10" in page
    )
    answer = found.looked_into[0]
    assert (
        f"predicted {answer.predicted}, {answer.probability:.1%}" in page
        and answer.true_class is None
    )
    told = explainer.summary(found)
    assert (
        told["recipe"] == "resnet20-cifar10"
        and told["looked_into"][0]["predicted"] == answer.predicted
        and not told["top_losses"]
    )
    assert told["test_accuracy"] == zoo.card("resnet20-cifar10")["metrics"]["test_accuracy"]


def test_a_sentence_is_looked_into():
    found = explainer.explain("textcnn-uit_vsfc", text="thầy dạy rất hay")
    page = explain_page.run_page(found)
    assert "In single sentences" in page and "single filters" not in page and "Left out" not in page
    assert (
        found.looked_into[0].predicted == "positive"
        and found.looked_into[0].ngrams[0].words in page
    )


def test_something_has_to_be_given(capsys, monkeypatch, tmp_path, photo):
    monkeypatch.chdir(tmp_path)
    for name, option in (
        ("lenet5-mnist", r"an image \(--image\)"),
        ("textcnn-uit_vsfc", r"a sentence \(--text\)"),
    ):
        with pytest.raises(
            UserError, match=f"^{name} comes without its data. Pass {option} to look into.$"
        ):
            explainer.explain(name)
    assert main(["explain", "lenet5-mnst", "--image", str(photo)]) == 1
    assert "Did you mean 'lenet5-mnist'?" in capsys.readouterr().err
    assert main(["explain", "lenet5-mnist", "--image", str(photo)]) == 0
    assert (tmp_path / "lenet5-mnist.html").exists() and capsys.readouterr().out.startswith(
        "lenet5-mnist.html: "
    )
