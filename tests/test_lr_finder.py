"""`zoo train --find-lr`: the losses of a growing learning rate, and the rate it prints."""
import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

from tests.test_training_options import DIGITS, options
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.training.data import pipeline
from zoo.training.engine import lr_finder
from zoo.training.engine.prepare import prepare


@pytest.fixture(scope="module")
def found():
    return lr_finder.find_lr(options(DIGITS, optimizer="sgd", batch_size=64))


def test_the_losses_are_those_of_single_batches(found):
    """At the first rates, near 0, the network is still the one that was built."""
    recipe = options(DIGITS, optimizer="sgd", batch_size=64)
    dataset, build = prepare(recipe)
    keras.utils.set_random_seed(recipe.seed)
    model = build()
    batches = pipeline.training_batches(dataset.train, recipe, 10)
    expected = []
    for images, labels in batches.take(5):
        logits = model(images, training=True).numpy().astype("float64")
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected.append(-(logs * labels.numpy()).sum(axis=1).mean())
    np.testing.assert_allclose(found.losses[:5], expected, atol=2e-3)
    ratios = np.array(found.rates[1:]) / found.rates[:-1]
    np.testing.assert_allclose(ratios, 1e7 ** (1 / 149), rtol=1e-4)
    assert found.rates[0] == pytest.approx(1e-6) and len(found.rates) == len(found.losses)


def test_the_suggested_rate_is_where_the_loss_falls(found):
    index = found.rates.index(found.suggested)
    assert 1e-4 < found.suggested < 1
    assert found.smoothed[index + 1] < found.smoothed[index] < found.smoothed[index - 1]
    assert index < int(np.argmin(found.smoothed))


def test_smoothing_is_an_average_with_falling_weights():
    losses = [3.0, 1.0, 2.0, 5.0]
    for count in range(1, 5):
        weights = 0.9 ** np.arange(count)[::-1]
        assert lr_finder.smooth(losses)[count - 1] == pytest.approx(
            np.average(losses[:count], weights=weights))


def test_the_steepest_fall_is_that_of_a_curve_by_hand():
    rates = np.geomspace(1e-4, 1, 41).tolist()
    curve = [-np.tanh(2 * (np.log10(rate) + 2.5)) if rate < 0.1 else 3 for rate in rates]
    assert lr_finder.steepest(rates, curve) == pytest.approx(10**-2.5, rel=0.3)
    with pytest.raises(UserError, match="did not fall at any learning rate from 1e-06 to 10"):
        lr_finder.steepest(rates, list(range(41)))


def test_the_command_writes_a_picture_and_touches_no_run(finished_run, tmp_path, monkeypatch,
                                                         capfd):
    monkeypatch.chdir(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in finished_run.rglob("*")}
    command = ["train", "lenet5-digits", "--find-lr", "--set", "batch_size=256"]
    assert main([*command, "--run", str(finished_run), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert before == {file: file.stat().st_mtime_ns for file in finished_run.rglob("*")}
    assert told["picture"] == f"{finished_run}-lr.png" and told["suggested"] in told["rates"]
    with Image.open(told["picture"]) as picture:
        assert picture.format == "PNG" and min(picture.size) > 400
    assert main(command) == 0
    out = capfd.readouterr().out
    words = r"falls most steeply at a learning rate of ([\d.e-]+) \(the recipe has 0.003\)"
    assert re.search(words, out)[1] == f"{told['suggested']:.2g}"
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "lenet5-digits-lr.png"]
