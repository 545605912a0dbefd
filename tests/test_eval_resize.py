"""eval_resize: the shorter side resized, the centre cut out, on every road the same pixels."""
import base64
import io
import json

import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.test_serve import serving
from zoo.__main__ import main
from zoo.errors import UsageError
from zoo.training import recipes
from zoo.training.data.cache import ImageCache
from zoo.training.data.dataset import load_data
from zoo.training.data.image_folder import ImageFolder
from zoo.training.deployment import exporter, runtimes
from zoo.training.deployment.saved_model import _uncut
from zoo.training.engine import fit, prepare
from zoo.training.explanation.explainer import _fitted
from zoo.training.prediction import predict
from zoo.training.preprocessing import pillow_images
from zoo.training.preprocessing.images import fit_to
from zoo.training.recipe import Recipe

SHAPE, SHORTER = (32, 24, 3), 40
SIZES = [(64, 48), (48, 64), (40, 40), (33, 200), (20, 15), (150, 31), (301, 77)]


def expected(image, shape=SHAPE, shorter=SHORTER):
    """What Pillow makes of uint8 pixels: the whole image resized, its centre cut out, rounded."""
    height, width = image.shape[:2]
    factor = shorter / min(height, width)
    size = max(round(width * factor), shorter), max(round(height * factor), shorter)
    if shape[2] == 1:
        image = image @ np.array((0.2989, 0.587, 0.114))[:, None]
    whole = np.stack([np.asarray(Image.fromarray(image[..., channel].astype("float32")).resize(
        size, Image.Resampling.BILINEAR)) for channel in range(shape[2])], -1)
    top, left = (size[1] - shape[0]) // 2, (size[0] - shape[1]) // 2
    return np.round(whole[top:top + shape[0], left:left + shape[1]]).astype(int)


def photos():
    """Pieces of two photographs, of many sizes."""
    generator = np.random.default_rng(0)
    for height, width in SIZES:
        for photo in load_sample_images().images:
            top = generator.integers(0, photo.shape[0] - height + 1)
            left = generator.integers(0, photo.shape[1] - width + 1)
            yield photo[top:top + height, left:left + width]


def check_alike(pairs):
    """Check that the pixels differ by at most one level, in 0.2 % of them."""
    differences = [np.abs(np.asarray(found).astype(int) - wanted) for found, wanted in pairs]
    assert max(difference.max() for difference in differences) <= 1
    wrong = sum(np.count_nonzero(difference) for difference in differences)
    assert wrong <= 0.002 * sum(difference.size for difference in differences)


@pytest.mark.parametrize("shape, shorter", [(SHAPE, SHORTER), ((32, 32, 1), 36), ((24, 24, 3), 24),
                                            ((56, 56, 3), 64)])
def test_both_faces_give_the_pixels_of_pillow(shape, shorter):
    images = list(photos())
    wanted = [expected(image, shape, shorter) for image in images]
    for fitted in (lambda image: fit_to(image[None], shape, "crop", shorter)[0],
                   lambda image: pillow_images.fit_to(image, shape, "crop", shorter)):
        check_alike(zip(map(fitted, images), wanted, strict=True))


@pytest.mark.parametrize("shape, shorter", [((32, 24, 3), 40), ((31, 24, 1), 40), ((9, 9, 3), 9)])
def test_an_export_is_verified_on_files_of_which_the_examples_are_the_centre(shape, shorter):
    image = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    recipe = Recipe("cut", "lenet", "digits", resize="crop", eval_resize=shorter)
    whole = _uncut(image, recipe)
    assert whole.shape == (shorter, shorter, shape[2])
    assert np.array_equal(fit_to(whole[None], shape, "crop", shorter)[0], image)


def test_the_least_that_the_cut_needs_is_resize_crop():
    for image in photos():
        square = fit_to(image[None], (32, 32, 3), "crop", 32)
        assert np.array_equal(square, fit_to(image[None], (32, 32, 3), "crop"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pieces of the photograph of a temple and of that of a flower, 24 of each, as PNG."""
    root, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(1)
    for name, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (root / name).mkdir()
        for n in range(24):
            height, width = generator.integers(30, 120, 2)
            top = generator.integers(0, photo.shape[0] - height)
            left = generator.integers(0, photo.shape[1] - width)
            Image.fromarray(photo[top:top + height, left:left + width]).save(root / name /
                                                                             f"{n}.png")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    recipe = Recipe("cut", "lenet", str(folder), {"input_shape": SHAPE}, resize="crop",
                    eval_resize=SHORTER, epochs=3, batch_size=8, learning_rate=2e-3,
                    augment={"flip": True})
    run = tmp_path_factory.mktemp("runs") / "cut"
    fit.train(recipe, run, log=False)
    return run


def test_training_and_load_data_see_these_pixels(folder):
    source = ImageFolder(str(folder))
    cache = ImageCache(source, SHAPE, "crop", eval_resize=SHORTER)
    wanted = [expected(np.asarray(Image.open(path))) for path in source.paths]
    check_alike(zip(cache.images, wanted, strict=True))
    dataset = load_data(str(folder), SHAPE, resize="crop", eval_resize=SHORTER)
    taken = dataset.test.examples
    check_alike(zip(taken, [wanted[index] for index in dataset.test.indices], strict=True))


@pytest.mark.slow
def test_every_road_sees_the_pixels_of_pillow(run, folder, tmp_path):
    """predict on a run, SavedModel, ONNX, LiteRT; the server, the card's own words, explain."""
    for package in ("ai_edge_litert", "onnxruntime", "tf2onnx", "fastapi"):
        pytest.importorskip(package, reason="pip install '.[litert,onnx,serve]'")
    export = tmp_path / "export"
    exporter.export(run, export, formats=["all"])
    card = json.loads((export / "assets/card.json").read_text(encoding="utf-8"))
    described = card["input"]
    assert (described["resize"], described["eval_resize"]) == ("crop", SHORTER)
    assert "shorter side resized to 40 pixels, the centre of 32x24 cut out" in (
        described["from_bytes"])
    paths = sorted(folder.glob("*/*.png"))[::3]
    pixels = np.stack([expected(np.asarray(Image.open(path))) for path in paths])
    serve = runtimes.load(export)["serving_default"].run
    probabilities = serve(pixels.astype("float32"))["probabilities"]
    best = probabilities.max(axis=1)
    # A level in a few pixels moves a probability by less; another cut by far more.
    stretched = np.stack([pillow_images.prepare(path.read_bytes(), SHAPE) for path in paths])
    tolerance = 5e-4
    assert np.abs(serve(stretched.astype("float32"))["probabilities"]
                  - probabilities).max() > 20 * tolerance
    for model in (run, export, export / "model.onnx", export / "model.tflite"):
        rows = predict(model, paths)
        assert [row["class_id"] for row in rows] == probabilities.argmax(axis=1).tolist()
        assert np.abs([row["probability"] for row in rows] - best).max() < tolerance, model
    # The arguments that the card names.
    prepare_arguments = described["pixels"].rpartition("with the arguments ")[2]
    shape, resize, background, shorter = json.loads(f"[{prepare_arguments}]")
    check_alike((pillow_images.prepare(path.read_bytes(), shape, resize, background, shorter), cut)
                for path, cut in zip(paths, pixels, strict=True))
    recipe = recipes.read(run / "recipe.json")
    check_alike((_fitted(path, SHAPE, recipe), cut) for path, cut in zip(paths, pixels,
                                                                         strict=True))
    with serving(export) as (server, _):
        body = {"signature_name": "from_bytes", "instances": [
            {"b64": base64.b64encode(path.read_bytes()).decode()} for path in paths]}
        answer = requests.post(f"{server}/v1/models/export:predict", json=body, timeout=60).json()
        found = np.array([row["probabilities"] for row in answer["predictions"]])
        assert np.abs(found - probabilities).max() < tolerance


def test_an_image_file_takes_the_road_of_the_export(run, folder):
    """The fast half of the test above: a run, by the command."""
    path = next(folder.glob("temple/*.png"))
    (row,) = predict(run, [path])
    model = tf.keras.models.load_model(run / "model.keras", compile=False)
    logits = model(expected(np.asarray(Image.open(path)))[None].astype("float32"))
    assert row["probability"] == pytest.approx(float(tf.reduce_max(tf.nn.softmax(logits))),
                                               abs=2e-3)


@pytest.mark.parametrize("settings, words", [
    (["eval_resize=256"], r"which is resize='crop'. Received: eval_resize=256, resize='stretch'."),
    (["eval_resize=-1"], "eval_resize must be at least 0. Received: -1."),
    (["eval_resize=2.5"], "eval_resize must be a whole number"),
])
def test_a_wrong_setting_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        recipes.override(recipes.get_recipe("lenet5-digits"), settings)


def test_two_settings_go_together_in_any_order():
    for settings in (["resize=crop", "eval_resize=40"], ["eval_resize=40", "resize=crop"]):
        recipe = recipes.override(recipes.get_recipe("lenet5-digits"), settings)
        assert (recipe.resize, recipe.eval_resize) == ("crop", 40)


def test_the_network_must_fit_into_it():
    recipe = recipes.override(recipes.get_recipe("lenet5", "digits"),
                              ["resize=crop", "eval_resize=31"])
    with pytest.raises(UsageError, match="at least the network's size, 32 pixels here"):
        prepare.arguments(recipe)
    lines = []
    large = recipes.override(recipe, ["eval_resize=100", "augment={'scale_jitter': [90, 120]}"])
    prepare._check_view(large, (32, 32, 1), lines.append)
    assert lines == [
        "Note: eval_resize resizes images to 100 pixels, of which the network sees 32. Usual are "
        "37.",
        "Note: scale_jitter resizes images to 90 pixels, of which the network sees 32. Usual are "
        "37."]


def test_sentences_have_no_centre(tmp_path, capfd):
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\n" + "a fine film,good\na poor film,bad\n" * 20, encoding="utf-8")
    assert main(["train", "textcnn", "--data", str(table), "--run", str(tmp_path / "run"), "--set",
                 "resize=crop", "--set", "eval_resize=9"]) == 2
    assert "is for images" in capfd.readouterr().err


def test_runs_of_versions_without_it_resize_as_before(run, tmp_path):
    text = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    del text["eval_resize"]
    (tmp_path / "recipe.json").write_text(json.dumps(text), encoding="utf-8")
    assert recipes.read(tmp_path / "recipe.json").eval_resize == 0
    buffer = io.BytesIO()
    image = next(photos())
    Image.fromarray(image).save(buffer, "PNG")
    old = pillow_images.prepare(buffer.getvalue(), SHAPE, "crop")
    assert np.array_equal(old, pillow_images.prepare(buffer.getvalue(), SHAPE, "crop", "white", 0))
