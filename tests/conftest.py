"""What the tests share: quiet TensorFlow, one small finished run, and MNIST if it is prepared."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

gc.disable()  # until the tests are collected: what they import stays

import zoo.training  # noqa: F401, I001, E402 - before TensorFlow, whose settings it chooses
import keras  # noqa: E402
import pytest  # noqa: E402

from zoo.startup import ONEDNN  # noqa: E402

ROOT = Path(__file__).parents[1]

# A shell has its background jobs ignore interrupts, and processes pass that on: those that tests
# interrupt would not notice.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Never look for garbage in TensorFlow's modules, which stay."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Draw the same numbers in every run and in any order: an unlucky draw fails no test."""
    keras.utils.set_random_seed(0)  # of random, NumPy and Keras; before the fixtures


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    keras.utils.set_random_seed(0)  # again, as the test may be the first that needs a fixture


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The directory of a short but real training on the embedded digits."""
    from zoo.training import recipes
    from zoo.training.engine.fit import train

    run = tmp_path_factory.mktemp("digits") / "run"
    train(recipes.override(recipes.get_recipe("lenet5-digits"), ["epochs=3"]), run, log=False)
    return run


@pytest.fixture(scope="session")
def explained_run(finished_run):
    """What `explain` returns for `finished_run`."""
    from zoo.training.explanation import explainer

    return explainer.explain(finished_run)


@pytest.fixture(scope="session")
def exported(finished_run, tmp_path_factory):
    """Where the SavedModel of `finished_run` is, and what `export` answered."""
    from zoo.training.deployment.exporter import export

    to = tmp_path_factory.mktemp("export") / "model"
    return to, export(finished_run, to)


@pytest.fixture(scope="session")
def converted(finished_run, tmp_path_factory):
    """The export of `finished_run` as SavedModel, ONNX and LiteRT file."""
    pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")
    pytest.importorskip("ai_edge_litert", reason="pip install '.[litert]'")
    from zoo.training.deployment.exporter import export

    to = tmp_path_factory.mktemp("converted") / "digits"
    export(finished_run, to, formats=("saved_model", "onnx", "litert"))
    return to


@pytest.fixture(scope="session")
def test_images():
    """50 digits of the test part, uint8 of shape (50, 32, 32, 1)."""
    from zoo.training.data.dataset import load_data

    return load_data("digits", (32, 32, 1)).test.examples[:50]


@pytest.fixture(scope="session")
def mnist_dir():
    """The TFDS folder that holds the prepared MNIST; $TFDS_DATA_DIR names it."""
    folder = os.environ.get("TFDS_DATA_DIR", "")
    if not (Path(folder) / "mnist").is_dir() or not folder:
        pytest.skip(
            "MNIST is not here: set TFDS_DATA_DIR to a TensorFlow Datasets folder that holds it"
        )
    return folder


@pytest.fixture
def zoo_command(tmp_path):
    """Run `zoo ARGS...` in an empty folder, as a shell would; returns the finished process."""

    def run(*args, cwd=tmp_path, **environment):
        outside = {name: value for name, value in os.environ.items() if name != ONEDNN}
        return subprocess.run(
            [sys.executable, "-m", "zoo", *map(str, args)],
            cwd=cwd,
            capture_output=True,
            text=True,
            env={**outside, "PYTHONPATH": str(ROOT), **environment},
        )

    return run


@pytest.fixture
def browser():
    """A headless Chromium of this machine."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page's test needs playwright"
    )
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
    )
    if not chromium:
        pytest.skip("no Chromium here: install chromium or google-chrome")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
