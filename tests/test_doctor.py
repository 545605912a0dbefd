"""What `zoo doctor` finds in real files with real defects."""
import collections
import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.bad_images import ENDINGS, defects, encoded, picture, put, turned
from tests.image_set import reading
from zoo.training import doctor
from zoo.training.data.checks.image_files import examine_files, look
from zoo.training.data.checks.sizes import few_examples, wilson_interval
from zoo.training.data.image_folder import class_folder_names, list_class_folders
from zoo.training.engine import prepare
from zoo.training.preprocessing.images import WEBP, decode_or_explain
from zoo.training.preprocessing.pillow_images import BAD_IMAGE
from zoo.training.recipe import Recipe


@pytest.fixture(scope="module")
def sick(tmp_path_factory):
    """A folder with every defect, images in both splits and under two labels; the findings."""
    root, expected = tmp_path_factory.mktemp("sick"), {}
    for split, label in ((s, c) for s in ("train", "test") for c in ("cat", "dog", "Käse 🧀")):
        for n in range(5):
            put(root / split / label / f"sound {n}.jpg", encoded(picture(), "JPEG"))
    for name, (kind, severity, content) in defects().items():
        expected.setdefault((kind, severity), set()).add(str(put(root / name, content)))
    first = (root / "train/cat/sound 0.jpg").read_bytes()
    expected["leakage", "error"] = {
        str(root / "train/cat/sound 0.jpg"),
        str(put(root / "test/cat/mañana.jpg", first)),
    }
    both = picture()
    expected["conflicting labels", "error"] = {
        str(put(root / "train/cat/both.png", encoded(both, "PNG"))),
        str(put(root / "train/dog/both.bmp", encoded(both, "BMP"))),
    }
    twice = encoded(picture(), "JPEG")
    expected["duplicates", "note"] = {
        str(put(root / f"train/dog/twice {n}.jpg", twice)) for n in "ab"
    }
    (root / "train/zebra").mkdir()
    expected["empty class", "error"] = set()
    expected["palette", "note"].add(str(root / "test/cat/moving.gif"))
    return root, expected


@pytest.fixture(scope="module")
def findings(sick):
    root, _ = sick
    return examine_files(list_class_folders(root), classes=class_folder_names(root))


def test_every_defect_is_found_and_every_file_named(sick, findings):
    found = collections.defaultdict(set)
    for finding in findings:
        if finding.kind != "counts":
            found[finding.kind, finding.severity].update(finding.files)
    assert found == sick[1]


@pytest.mark.parametrize(
    "kind, words",
    [
        (
            "truncated",
            "error 1 cut short or damaged, cannot be decoded; "
            "such as {root}/train/cat/cut short.jpg",
        ),
        ("empty file", "error 1 holds no bytes; such as {root}/train/cat/empty.jpg"),
        (
            "not an image",
            "error 3 holds no JPEG, PNG, GIF, BMP or WebP image; "
            "such as {root}/train/cat/nulls.jpg",
        ),
        (
            "unsupported",
            "error 1 TensorFlow does not decode this kind of image; save it as PNG; "
            "such as {root}/test/dog/scan.tiff\n"
            "error 1 a 16-bit PNG whose values stay below 4096 of 65535: save it with the full "
            "range or as 8 bits; such as {root}/train/cat/twelve bits.png\n"
            "error 1 an RLE-compressed BMP: save it as PNG; such as {root}/test/dog/squeezed.bmp\n"
            "error 1 an animated WebP: save its first frame as PNG; "
            "such as {root}/test/dog/moving.webp",
        ),
        (
            "leakage",
            "error 2 the same image in more than one split, 1 in all; "
            "such as {root}/test/cat/mañana.jpg (test) and "
            "{root}/train/cat/sound 0.jpg (train)",
        ),
        (
            "conflicting labels",
            "error 2 the same image under different labels, 1 in all; "
            "such as {root}/train/cat/both.png (cat) "
            "and {root}/train/dog/both.bmp (dog)",
        ),
        ("empty class", "error - no example of the class 'zebra'"),
        (
            "duplicates",
            "note 2 the same image more than once in a split, 1 in all; "
            "such as {root}/train/dog/twice a.jpg and "
            "{root}/train/dog/twice b.jpg",
        ),
        (
            "wrong suffix",
            "note 1 JPEG by content, otherwise by suffix; read by content; "
            "such as {root}/train/cat/really a.png",
        ),
        (
            "transparent",
            "note 1 blended over the recipe's background, which is white by default; "
            "such as {root}/train/dog/rgba.png",
        ),
        ("palette", "note 3 palettes become colours; such as {root}/test/cat/moving.gif"),
        ("CMYK", "note 1 converted to RGB; such as {root}/train/cat/print.jpg"),
        ("16-bit", "note 2 the higher 8 bits are kept; such as {root}/test/cat/deep grey.png"),
        ("animated", "note 1 the first picture is taken; such as {root}/test/cat/moving.gif"),
        (
            "EXIF-rotated",
            "note 1 turned upright as their EXIF data asks; "
            "such as {root}/train/Käse 🧀/auf der Seite.jpg",
        ),
        (
            "mixed sizes",
            "note 1 2 sizes, 24x16 to 48x32, mostly 24x16; all are resized; "
            "such as {root}/train/Käse 🧀/large.jpg",
        ),
    ],
)
def test_each_defect_has_its_line_in_the_report(sick, findings, kind, words):
    rows = doctor.report(findings)
    lines = [
        f"{severity} {count} {message}" for severity, what, count, message in rows if what == kind
    ]
    assert lines == words.format(root=sick[0]).split("\n")


def test_errors_come_first_and_json_names_every_file(sick, findings):
    told = json.loads(json.dumps(doctor.to_json(findings, sick[0])))
    severities = [found["severity"] for found in told["findings"]]
    assert (
        severities == ["error"] * told["errors"] + ["note"] * told["notes"] and told["errors"] == 10
    )
    named = {name for found in told["findings"] for name in found["files"]}
    assert named == set.union(*sick[1].values()) and all(Path(name).is_file() for name in named)


def test_pillow_sees_in_a_sample_what_the_decoder_of_training_sees(sick):
    for path, *_ in list_class_folders(sick[0]):
        assert look(path, sample=True) == look(path), path


def test_the_quick_form_reads_first_bytes_only(sick):
    root, expected = sick
    found = examine_files(list_class_folders(root), quick=True, classes=class_folder_names(root))
    kinds = {f.kind: set(f.files) for f in found if f.kind != "counts"}
    assert set(kinds) == {"empty file", "not an image", "wrong suffix", "empty class"}
    assert (
        kinds["empty file"] == expected["empty file", "error"]
        and kinds["wrong suffix"] == expected["wrong suffix", "note"]
    )
    assert kinds["not an image"] == expected["not an image", "error"] | {
        str(root / "test/dog/scan.tiff")
    }


def test_sound_files_are_only_counted_and_progress_is_told(tmp_path):
    items = [(put(tmp_path / label / f"{n}.jpg", encoded(picture((8, 8)), "JPEG")), label, None)
             for label in "ab" for n in range(300)]
    told = []
    found = examine_files(items, progress=lambda done, total: told.append((done, total)))
    assert [(f.kind, f.message) for f in found] == [
        ("counts", "all: 600 of 2 classes: a 300, b 300")
    ]
    assert told == sorted(told) and told[-1] == (600, 600) and len(told) > 1


def is_unread_webp(error, format):
    """Return whether this is the error for WebP images, which TensorFlow 2.19 does not read."""
    return error == WEBP and format == "WEBP" and tf.__version__ < "2.20"


@pytest.mark.parametrize("format", [*ENDINGS, "progressive"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_anywhere_is_refused_by_tensorflow_and_called_truncated(tmp_path, format, share):
    """If TensorFlow decodes the first half of such a file one day, Pillow must check each."""
    options = {"progressive": True} if format == "progressive" else {}
    whole = encoded(picture((64, 48)), "JPEG" if options else format, **options)
    path = put(tmp_path / f"cut.{ENDINGS.get(format, 'jpg')}", whole[:int(len(whole) * share)])
    error = decode_or_explain(path.read_bytes())[1]
    assert error == BAD_IMAGE or is_unread_webp(error, format)
    kind = "truncated" if error == BAD_IMAGE else "unsupported"
    assert (kind, (str(path),)) in [
        (f.kind, f.files) for f in examine_files([(path, "a", None)])
    ]


@pytest.mark.parametrize(
    "format, mode",
    [
        (format, mode)
        for format, modes in {
            "PNG": ("RGB", "RGBA", "LA", "P", "1", "L"),
            "GIF": ("P", "L"),
            "BMP": ("RGB", "RGBA", "L", "P", "1"),
            "WEBP": ("RGB", "RGBA"),
            "JPEG": ("CMYK", "L", "RGB"),
        }.items()
        for mode in modes
    ],
)
def test_what_passes_is_decoded_in_its_colours(tmp_path, format, mode):
    path = put(tmp_path / f"a.{ENDINGS[format]}", encoded(picture(mode=mode), format))
    errors = [f.kind for f in examine_files([(path, "a", "test")]) if f.severity == "error"]
    image, error = decode_or_explain(path.read_bytes())
    if is_unread_webp(error, format):
        assert "unsupported" in errors
        return
    assert errors == ["one class"]
    darker = reading(path.read_bytes()).astype(int) - image
    assert not error and darker.min() >= 0 and darker.max() <= (mode == "CMYK")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_are_counted_and_training_sees_them_upright(tmp_path, orientation):
    path = put(tmp_path / "a.jpg", encoded(picture(), "JPEG", exif=turned(orientation)))
    found = [f.files for f in examine_files([(path, "a", None)]) if f.kind == "EXIF-rotated"]
    assert found == ([(str(path),)] if orientation > 1 else [])
    assert np.array_equal(decode_or_explain(path.read_bytes())[0], reading(path.read_bytes()))


def test_an_upright_photo_with_broken_metadata_is_sound(tmp_path):
    items = []
    for n, exif in enumerate(
        (turned(1).tobytes(), b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    ):
        items.append(
            (put(tmp_path / f"{n}.jpg", encoded(picture(), "JPEG", exif=exif)), "ab"[n % 2], "test")
        )
    assert {f.kind for f in examine_files(items)} == {"counts"}


def test_an_unreadable_file_is_an_error(tmp_path):
    found = examine_files([(tmp_path / "gone.jpg", "a", "test")])
    assert ("unreadable", "error") in [(f.kind, f.severity) for f in found]


@pytest.fixture(scope="module")
def sign_digits(tmp_path_factory):
    """The photos of signed digits, unpacked from sign-digits.zip in $ZOO_DATA."""
    packed = Path(os.environ.get("ZOO_DATA", "")) / "sign-digits.zip"
    if not packed.is_file():
        pytest.skip("sign-digits.zip is not here: set ZOO_DATA to the folder that holds it")
    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    return folder / "sign-digits"


def test_real_photos_are_sound_and_those_that_lie_on_their_side_are_named(sign_digits):
    found = examine_files(list_class_folders(sign_digits), classes=class_folder_names(sign_digits))
    assert {f.severity for f in found} == {"note"}
    photos = {
        str(path): Image.open(io.BytesIO(path.read_bytes())) for path in sign_digits.glob("*/*/*")
    }
    on_their_side = {name for name, photo in photos.items() if photo.getexif().get(0x0112, 1) != 1}
    assert {f.kind: set(f.files) for f in found}["EXIF-rotated"] == on_their_side and on_their_side
    assert sum(
        int(f.message.split()[1].replace(",", "")) for f in found if f.kind == "counts"
    ) == len(photos)


def test_splits_too_small_to_measure_an_accuracy_by_are_noted(tmp_path, capfd):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype("uint8")
    data = str(tmp_path / "few.npz")
    np.savez(data, images=images, labels=np.arange(60) % 2)
    test, validation = [f for f in doctor.examine(data) if f.kind == "small split"]
    assert test.severity == "note" and test.message == (
        "the test split has 12 examples: 11 right ones would mean an accuracy of 65% to 99% "
        "(95 % interval)")  # 0.646 to 0.985, Newcombe 1998
    assert "validation split has 5 examples: 4 right" in validation.message
    few, = [f.message for f in doctor.examine(data) if f.kind == "few images"]
    assert few == ("43 training images are few for random weights: start from trained ones, as zoo "
                   f"train resnet20 --data {data} --set weights=resnet20-cifar10 does")
    lines = []
    recipe = Recipe("few", "lenet5", data)
    prepare.arguments(recipe, say=lines.append)
    assert [line.partition(":")[0] for line in lines if line.startswith("Note")] == ["Note"] * 3
    assert "43 training images are few for random weights. weights=lenet5-" in lines[-1]


@pytest.mark.parametrize("shape", [(60, 8, 8), (60, 8, 8, 3)])
@pytest.mark.parametrize("model", ["lenet5", "resnet20", "simple_cnn", "small_inception", "mlp"])
def test_the_weights_that_are_advised_for_few_images_fit(tmp_path, model, shape):
    """Colours do not go into a network for grey images."""
    images = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    data = str(tmp_path / "few.npz")
    np.savez(data, images=images, labels=np.arange(60) % 2)
    lines = []
    prepare.arguments(Recipe("few", model, data), say=lines.append)
    other, weights = re.search(r"few for random weights\. (?:(\w+) with )?weights=(\S+) starts",
                               lines[-1]).groups()
    assert (other is None) == (model == "resnet20" or (model != "mlp" and len(shape) == 3))
    recipe = Recipe("few", other or model, data, {"weights": weights})
    assert prepare.prepare(recipe)[1]().output.shape == (None, 2)


def test_the_interval_of_an_accuracy_is_wilsons():
    # E. B. Wilson's formula by hand: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)
    z2, n, p = 1.959964**2, 10, 0.9
    half = (z2 * (p * (1 - p) / n + z2 / (4 * n**2))) ** 0.5
    expected = [(p + z2 / (2 * n) + sign * half) / (1 + z2 / n) for sign in (-1, 1)]
    assert wilson_interval(9, 10) == pytest.approx(expected, abs=1e-6)
    assert wilson_interval(0, 5)[0] == 0 and wilson_interval(5, 5)[1] == pytest.approx(1)
    assert few_examples("test", 100) is few_examples("test", 0) is None
