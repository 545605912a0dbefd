"""Image files of every kind: both decoders read what Pillow reads, or refuse with one sentence."""
import base64
import collections
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image

from tests.image_set import image_set, reading
from tests.test_serve import serving
from zoo.errors import UserError
from zoo.training.data.cache import ImageCache
from zoo.training.data.image_folder import ImageFolder
from zoo.training.deployment import exporter, runtimes
from zoo.training.prediction import predict
from zoo.training.preprocessing import pillow_images
from zoo.training.preprocessing.images import WEBP, decode, decode_or_explain, fit_to

REFUSED = {  # {reason: the names of the files that are refused for it}
    pillow_images.BAD_IMAGE: r"other (?!BM)|\w+ cut (short|by)|.*wrong checksum$|GIF no frame|"
                             r"PNG .*, damaged",
    pillow_images.KEY: r"PNG (grey key of [24] bits|16 bits key|key of 16 bits)",
    pillow_images.LOW_RANGE: r"PNG 12 bits",
    pillow_images.ANIMATED_WEBP: r"WebP animated",
    pillow_images.RLE_BMP: r"BMP RLE",
    pillow_images.ODD_BMP: r"BMP (fields unknown|fields of 16 bits.*3840|a PNG inside|unknown h|"
                           r"4 4 4|fields (40|52) \(255, 65280)|other BM",
}
# Pillow refuses them: for their EXIF data, for the checksum of a chunk that does not matter, and
# for texts of a name that means something to it.
READ_ALL_THE_SAME = re.compile(r".*exif (nonsense|short)$|PNG chunk with a wrong checksum|"
                               r"PNG (zipped )?text of |PNG exif with a checksum|.*, cut short")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of broken EXIF data


@pytest.fixture(scope="module")
def files():
    return image_set()


def read(data, background="white"):
    """Return what the second face reads, and why it refuses the file."""
    try:
        return pillow_images.decode(data, background), ""
    except UserError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def exported():
    """What an export computes: from the bytes of a file to pixels, and why it is refused."""
    with tf.Graph().as_default() as graph:  # without objects, as the SavedModel is written
        placeholder = tf.compat.v1.placeholder(tf.string, ())
        outputs = decode(placeholder)
    session = tf.compat.v1.Session(graph=graph)

    def run(data):
        try:
            image, error = session.run(outputs, {placeholder: data})
        except tf.errors.OpError:
            return None, pillow_images.BAD_IMAGE
        return image, error.decode()
    return run


def test_both_faces_read_what_pillow_reads_or_refuse_alike(files, exported):
    assert len(files) > 500
    refused = collections.defaultdict(set)
    for name, data in files.items():
        image, error = exported(data)
        other, reason = read(data)
        if error == WEBP:
            assert tf.__version__ < "2.20" and name.startswith("WebP"), name
            continue
        assert error == reason, name
        if error:
            refused[error].add(name)
            continue
        np.testing.assert_array_equal(image, other, name)
        if "CMYK" in name:  # TensorFlow cuts off a fraction
            assert np.isin(reading(data).astype(int) - image, (0, 1)).all(), name
        elif not READ_ALL_THE_SAME.match(name):
            np.testing.assert_array_equal(image, reading(data), name)
    for reason, pattern in REFUSED.items():
        expected = {name for name in files if re.match(pattern, name)
                    and not READ_ALL_THE_SAME.match(name) and exported(files[name])[1] != WEBP}
        assert refused.pop(reason) == expected, reason
    assert not refused


def test_a_png_without_what_does_not_matter_is_read_alike(files, exported):
    """What the server hands to its engine."""
    shorter = 0
    for name, data in files.items():
        image, error = read(data)
        if not name.startswith("PNG") or error == pillow_images.BAD_IMAGE:
            continue
        short = pillow_images.short_png(data, 140_000) if "no profile" not in name else data
        other, reason = exported(short)
        assert reason == error, name
        assert error or np.array_equal(image, other), name
        assert error or np.array_equal(image, read(short)[0]), name
        shorter += len(short) < len(data)
    assert shorter > 5
    with pytest.raises(UserError, match="too much EXIF data or XMP"):
        pillow_images.short_png(files["PNG zipped text of no profile"], 140_000)


def test_training_reads_a_file_as_an_export_does(files):
    """By the part of the graph that is for its format."""
    for name, data in [*files.items()][::7]:
        image, error = decode_or_explain(data)
        other, reason = read(data)
        assert error in (reason, WEBP), name
        assert error or np.array_equal(image, other), name


def test_transparency_lies_over_the_background(files):
    clear = {name: data for name, data in files.items()
             if not READ_ALL_THE_SAME.match(name) and not read(data)[1]
             and not np.array_equal(read(data)[0], read(data, "black")[0])}
    assert len(clear) > 90 and {name.split()[0] for name in clear} == {"PNG", "GIF", "BMP", "WebP"}
    for name, data in [*clear.items()][::5]:
        image, error = decode_or_explain(data, "#20C040")
        if error == WEBP:
            assert tf.__version__ < "2.20" and name.startswith("WebP"), name
            continue
        np.testing.assert_array_equal(image, read(data, "#20C040")[0], name)
        np.testing.assert_array_equal(image, reading(data, "#20C040"), name)
        if name.startswith("PNG"):
            image, _ = decode_or_explain(data, pillow_images.DROPPED)
            np.testing.assert_array_equal(image, read(data, pillow_images.DROPPED)[0], name)


def test_both_faces_resize_alike():
    generator = np.random.default_rng(0)
    pixels = different = 0
    for n in range(60):
        height, width, *shape = generator.integers(1, 90, 4)
        image = np.asarray(Image.fromarray(
            generator.integers(0, 256, (9, 12, 3), "uint8")).resize((width, height)))
        shape, resize = (*shape, (1, 3)[n % 2]), ("stretch", "crop", "pad")[n % 3]
        fitted = fit_to(image[None], shape, resize)[0].numpy().astype(int)
        other = pillow_images.fit_to(image, shape, resize)
        assert other.dtype == "uint8" and other.shape == shape
        assert np.abs(fitted - other).max() <= 1, (image.shape, shape, resize)
        pixels, different = pixels + other.size, different + np.count_nonzero(fitted != other)
    assert different <= 0.002 * pixels


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_both_faces_keep_an_image_of_the_right_size(mode):
    png, shape = io.BytesIO(), (16, 16, 3 if mode == "RGB" else 1)
    levels = Image.fromarray(np.arange(256, dtype="uint8").reshape(16, 16)).convert(mode)
    levels.save(png, "PNG")
    expected = np.asarray(levels.convert("L" if mode == "1" else mode)).reshape(shape)
    np.testing.assert_array_equal(pillow_images.prepare(png.getvalue(), shape), expected)
    decoded, _ = decode_or_explain(png.getvalue(), pillow_images.DROPPED)
    np.testing.assert_array_equal(fit_to(decoded[None], shape, "stretch")[0], expected)
    # On its way to three channels and back, a grey image stays the same.
    np.testing.assert_array_equal(
        pillow_images.fit_to(pillow_images.decode(png.getvalue()), shape), expected)


def test_the_second_face_needs_no_tensorflow():
    script = ("import sys, zoo.training.preprocessing.pillow_images\n"
              "assert not {'tensorflow', 'keras'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_every_road_sees_the_same_pixels(files, finished_run, tmp_path):
    """Training, predict, the SavedModel, LiteRT, ONNX and the server: one label, or one reason."""
    for package in ("ai_edge_litert", "onnxruntime", "tf2onnx", "starlette"):
        pytest.importorskip(package, reason="pip install '.[litert,onnx,serve]'")
    export, folder = tmp_path / "export", tmp_path / "photos"
    exporter.export(finished_run, export, formats=["all"])
    shape, paths, expected = (32, 32, 1), {}, {}
    for n, (name, data) in enumerate(files.items()):
        path = folder / "ab"[n % 2] / f"{n:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths[str(path)] = name
        try:
            expected[name] = pillow_images.prepare(data, shape)
        except UserError as error:
            expected[name] = str(error)
    good = [name for name, pixels in expected.items() if not isinstance(pixels, str)]
    pixels = np.stack([expected[name] for name in good]).astype("float32")
    run = runtimes.load(export / "model.onnx")["serving_default"].run
    classes = run(pixels)["probabilities"].argmax(axis=1)
    labels = dict(zip(good, map(str, classes), strict=True))

    for model in (finished_run, export, export / "model.onnx", export / "model.tflite"):
        for row in predict(model, paths):
            name = paths[row["file"]]
            assert row.get("label") == labels.get(name), (model, name)
            if "error" in row:
                assert row["error"] == expected[name], (model, name)
    with serving(export) as (server, _):
        for name, data in files.items():
            body = {"signature_name": "from_bytes", "instances": [
                {"b64": base64.b64encode(data).decode()}]}
            answer = requests.post(f"{server}/v1/models/export:predict", json=body, timeout=60)
            if name in labels:
                assert answer.status_code == 200, (name, answer.text)
                assert answer.json()["predictions"][0]["label"] == labels[name], name
            else:
                assert answer.status_code == 400 and expected[name] in answer.json()["error"], name
    for path, name in paths.items():
        if name not in labels:
            Path(path).unlink()
    source = ImageFolder(str(folder))
    cache = ImageCache(source, shape)
    names = [paths[source.example_name(index)] for index in range(len(source))]
    wanted = np.stack([expected[name] for name in names]).astype(int)
    difference = np.abs(cache.images - wanted)
    assert sorted(names) == sorted(good) and difference.max() <= 1
    assert np.count_nonzero(difference) <= 0.002 * difference.size


def test_a_colour_that_is_none_is_refused():
    with pytest.raises(UserError, match=r'such as "#ffe0c0".* Received: \'whit\''):
        pillow_images.decode(b"", "whit")
