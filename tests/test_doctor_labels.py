"""What `zoo doctor` finds in labels, splits, sentences and arrays."""
import numpy as np
import pytest

from zoo.training import doctor
from zoo.training.data.checks.arrays import examine_arrays
from zoo.training.data.checks.sentences import examine_rows
from zoo.training.data.source import VALIDATION_SHARE
from zoo.training.recipe import Recipe

_numbers = np.random.default_rng(0)


def kinds_of(rows):
    return {f.kind: f for f in examine_rows(rows) if f.kind != "counts"}


def test_the_same_sentence_is_found_whatever_its_case_space_and_unicode_form():
    rows = [
        (2, "Giáo trình  đầy đủ .", "good", "train"),
        (3, "too fast", "bad", "train"),
        (4, "clear", "good", "train"),
        (2, "gia\u0301o tri\u0300nh đầy đủ .", "good", "test"),
        (3, "Too fast", "good", "test"),
        (8, "", "bad", "train"),
        (5, "clear ", "good", "train"),
        (6, "quiet", "bad", "test"),
        (7, "fine", "good", "train"),
    ]
    found = kinds_of(
        [*rows, *((n, f"sentence {n}", ("bad", "good")[n % 2], "train") for n in range(9, 20))]
    )
    assert {kind: f.severity for kind, f in found.items()} == {
        "leakage": "error",
        "conflicting labels": "error",
        "duplicates": "note",
        "empty text": "note",
    }
    assert found["leakage"].files == (
        "train, line 2",
        "test, line 2",
        "train, line 3",
        "test, line 3",
    )
    assert found["conflicting labels"].message == (
        "the same sentence under different labels, 1 in all; such as "
        "train, line 3 (bad) and test, line 3 (good)"
    )
    assert found["duplicates"].files == ("train, line 4", "train, line 5") and found[
        "empty text"
    ].files == ("train, line 8",)


def test_repeated_sentences_of_an_undivided_table_may_part():
    found = kinds_of(
        [(n, "same" if n < 4 else f"other {n}", "ab"[n > 9], None) for n in range(2, 20)]
    )
    assert list(found) == ["duplicates"] and found["duplicates"].files == ("line 2", "line 3")
    assert "which may be divided between training and test" in found["duplicates"].message


@pytest.mark.parametrize(
    "pair, alike",
    [
        (("Cat", "cat"), True),
        (("cat", "cat "), True),
        (("Käse", "Ka\u0308se"), True),
        (("hot dog", "hotdog"), True),
        (("cat", "cut"), False),
        (("1", "10"), False),
        (("1", "1.0"), True),
        (("-1", "-1.00"), True),
        (("1", "1.5"), False),
        (("1", "01"), False),
        (("A", "a"), False),
    ],
)
def test_labels_that_differ_in_spelling_only_are_an_error(pair, alike):
    found = kinds_of([(n, f"sentence {n}", (*pair, "dog")[n % 3], None) for n in range(30)])
    assert list(found) == (["label spelling"] if alike else [])
    if alike:
        assert (
            found["label spelling"].severity == "error" and len(found["label spelling"].files) == 20
        )
        assert (
            repr(pair[0]) in found["label spelling"].message
            and repr(pair[1]) in found["label spelling"].message
        )


def labelled(**counts):
    rows = [
        (label, split)
        for split, labels in counts.items()
        for label, count in labels.items()
        for _ in range(count)
    ]
    return [(n, f"sentence {n}", label, split) for n, (label, split) in enumerate(rows)]


@pytest.mark.parametrize(
    "counts, expected",
    [
        (
            {"train": {"a": 9, "b": 9}, "validation": {"a": 3, "b": 3}, "test": {"a": 3, "b": 3}},
            set(),
        ),
        (
            {"train": {"a": 9, "b": 9}, "test": {"a": 3}},
            {("split without a class", "note", "test has no example of 'b'")},
        ),
        (
            {"train": {"a": 9, "b": 9}, "test": {"a": 3, "b": 3, "c": 1}},
            {("split without a class", "error", "train has no example of 'c'")},
        ),
        (
            {"train": {"a": 9}, "test": {"a": 3}},
            {("one class", "error", "expected at least 2 classes, received 1")},
        ),
        (
            {"train": {"a": 30, "b": 10}, "test": {"a": 3, "b": 3}},
            {
                (
                    "uneven classes",
                    "note",
                    "30 of 'a', 10 of 'b'; balance=weights or balance=sampling makes them "
                    "count alike",
                )
            },
        ),
        ({"train": {"a": 29, "b": 10}, "test": {"a": 3, "b": 3}}, set()),
    ],
)
def test_classes_are_compared_with_the_splits(counts, expected):
    assert {
        (f.kind, f.severity, f.message) for f in kinds_of(labelled(**counts)).values()
    } == expected


def test_many_classes_are_counted_in_one_line():
    found = examine_rows(labelled(train={f"c{n}": 100 + n for n in range(40)}))
    assert [f.message for f in found] == ["train: 4,780 of 40 classes: from 100 (c0) to 139 (c39)"]


def test_the_doctor_draws_the_validation_split_that_recipes_draw():
    assert VALIDATION_SHARE == Recipe.validation_split


def arrays(**parts):
    return {
        f.kind: f
        for f in examine_arrays(parts)
        if f.kind not in ("counts", "class too small", "too few examples")
    }


def images(count=6, **options):
    return _numbers.integers(0, 256, (count, 4, 4, 3), **options)


def test_sound_arrays_have_nothing_wrong():
    labels = np.arange(6) % 2
    for kind in ("int64", "uint8", "uint64"):
        part = images().astype("uint8"), labels.astype(kind)
        assert not arrays(train=part, test=(images().astype("float32"), labels[:, None]))


@pytest.mark.parametrize(
    "values, kind, files",
    [
        (images() / 255, "scaled values", 6),
        (images() > 99, "scaled values", 6),
        (images() - 100.0, "out of range", 6),
        (np.concatenate([images(5), np.full((1, 4, 4, 3), 300)]), "out of range", 1),
        (np.concatenate([images(4), np.full((2, 4, 4, 3), np.nan)]), "not finite", 2),
        (images()[..., :2], "wrong shape", 0),
        (images(0), "wrong shape", 0),
        (images().astype(str), "wrong shape", 0),
    ],
)
def test_values_that_training_would_misread_are_errors(values, kind, files):
    found = arrays(train=(values, np.arange(6) % 2))[kind]
    assert (
        found.severity == "error"
        and len(found.files) == files
        and found.message.startswith("train: ")
    )
    assert not files or found.files[-1] == "train[5]"


@pytest.mark.parametrize(
    "labels",
    [np.arange(5), np.arange(6) / 2, np.arange(6) - 1, np.eye(6, dtype=int), np.arange(6) + 2**40],
)
def test_labels_that_are_no_numbers_of_classes_are_errors(labels):
    assert arrays(train=(images(), labels))["wrong labels"].severity == "error"


def test_strings_are_no_images():
    for images in (np.array("dogs"), np.full((4, 6, 6), "dog"), np.full(4, "dog")):
        findings = examine_arrays({"train": (images, np.arange(4) % 2)})
        assert findings[0].severity == "error"
        assert {"wrong labels", "wrong shape"} & {finding.kind for finding in findings}


def test_what_comes_in_one_part_is_looked_at_in_one():
    (counts,) = doctor.examine("digits")
    assert counts.message.startswith("all: 1,797 of 10 classes")


def test_the_same_array_in_two_splits_and_a_gap_in_the_labels_are_found():
    train, test = images(), images(3)
    test[1] = train[4]
    found = arrays(train=(train, np.array([0, 0, 1, 1, 3, 3])), test=(test, np.array([0, 1, 3])))
    assert found["leakage"].files == ("train[4]", "test[1]") and found[
        "conflicting labels"
    ].files == ("train[4]", "test[1]")
    assert found["empty class"].message == "no example of the class '2'"
