"""Bad files are moved; training raises for the classes that `zoo doctor` calls too small."""
import contextlib

import pytest

from tests.bad_images import encoded, picture, put
from zoo.errors import UserError
from zoo.training import doctor
from zoo.training.data.checks.image_files import examine_files
from zoo.training.data.dataset import load_data
from zoo.training.data.image_folder import list_class_folders
from zoo.training.recipes import Recipe


@pytest.fixture
def broken(tmp_path):
    """An undivided folder: two classes with a sound file and two bad ones of the same names."""
    root = tmp_path / "data set"
    for label in "ab":
        put(root / label / "1.jpg", b"")
        put(root / label / "2.jpg", b"no image")
        put(root / label / "3.jpg", encoded(picture(), "JPEG"))
    return root


def test_bad_files_are_set_aside_and_nothing_is_overwritten(broken, tmp_path):
    aside = tmp_path / "aside"
    for taken in ("1.jpg", "1-1.jpg"):
        put(aside / "a" / taken, b"kept")
    assert doctor.move_bad_files(examine_files(list_class_folders(broken)), broken, aside) == 4
    kept = {str(path.relative_to(aside)): path.read_bytes() for path in aside.rglob("*.jpg")}
    assert kept == {
        "a/1.jpg": b"kept",
        "a/1-1.jpg": b"kept",
        "a/1-2.jpg": b"",
        "a/2.jpg": b"no image",
        "b/1.jpg": b"",
        "b/2.jpg": b"no image",
    }
    assert [path.name for path, _, _ in list_class_folders(broken)] == ["3.jpg", "3.jpg"]
    assert doctor.move_bad_files(examine_files(list_class_folders(broken)), broken, aside) == 0


def test_bad_files_keep_their_split(tmp_path):
    (
        put(tmp_path / "set/train/a/1.jpg", b""),
        put(tmp_path / "set/test/b/1.jpg", encoded(picture(), "JPEG")),
    )
    put(tmp_path / "set/train/a/deep/2.jpg", b""), put(tmp_path / "set/train/a/.deep/3.jpg", b"")
    doctor.move_bad_files(
        examine_files(list_class_folders(tmp_path / "set")), tmp_path / "set", tmp_path / "aside"
    )
    assert (tmp_path / "aside/train/a/1.jpg").is_file() and (
        tmp_path / "set/test/b/1.jpg"
    ).is_file()
    assert (tmp_path / "aside/train/a/deep/2.jpg").is_file() and (
        tmp_path / "set/train/a/.deep/3.jpg"
    ).is_file()


def test_bad_files_do_not_become_a_class(broken, tmp_path):
    found = examine_files(list_class_folders(broken))
    with pytest.raises(UserError, match="is inside the data set"):
        doctor.move_bad_files(found, broken, broken / "bad")
    blocked = put(tmp_path / "file", b"")
    with pytest.raises(UserError, match="Cannot move .*1.jpg to"):
        doctor.move_bad_files(found, broken, blocked)
    assert len(list_class_folders(broken)) == 6 and not (broken / "bad").exists()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("part", [None, "test"])
def test_classes_too_small_to_divide_are_those_that_training_refuses(tmp_path, count, part):
    root = tmp_path / ("train" if part else "")
    for label, n in (("many", 40), ("few", count)):
        for i in range(n):
            put(root / label / f"{i}.png", encoded(picture((4, 4)), "PNG"))
            if part and i < 2:
                put(tmp_path / part / label / f"{i}.png", encoded(picture((4, 4)), "PNG"))
    small = [f for f in examine_files(list_class_folders(tmp_path)) if f.kind == "class too small"]
    assert [f.severity for f in small] == ([] if count > 1 else ["note" if part else "error"])
    try:
        load_data(str(tmp_path), (4, 4, 3), validation_split=Recipe.validation_split)
    except UserError:
        assert small
    else:
        assert not small


@pytest.mark.parametrize(
    "each, severities, words",
    [
        (
            4,
            ["error", "note"],
            "10 examples, one of each class, for the test split that is drawn, "
            "received 20% of 40.*zoo doctor",
        ),
        (5, ["note"], "Cannot set 10% of 40 examples aside by class"),
        (12, [], None),
    ],
)
def test_parts_too_small_for_every_class_are_those_that_training_refuses(
    tmp_path, each, severities, words
):
    for n in range(10 * each):
        put(tmp_path / str(n % 10) / f"{n}.png", encoded(picture((4, 4)), "PNG"))
    found = examine_files(list_class_folders(tmp_path))
    assert [f.severity for f in found if f.kind == "too few examples"] == severities
    with pytest.raises(UserError, match=words) if words else contextlib.nullcontext():
        load_data(str(tmp_path), (4, 4, 3), validation_split=Recipe.validation_split)
