"""Data sets and the batches made of them."""
import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from zoo.errors import UserError
from zoo.training.data import cache, pipeline
from zoo.training.data.dataset import load_data
from zoo.training.data.source import Source
from zoo.training.preprocessing.images import decode_or_explain, fit_to
from zoo.training.recipes import Recipe, get_recipe


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", (8, 8, 1), validation_split=0.1, seed=0)


def first_batches(split, recipe, count, first=0):
    return [tuple(part.numpy() for part in batch)
            for batch in pipeline.training_batches(split, recipe, 10, first).take(count)]


def same(left, right):
    return all(
        np.array_equal(a, b)
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_digits_are_split_without_overlap_and_by_class(digits):
    parts = [digits.train, digits.validation, digits.test]
    assert [len(part.labels) for part in parts] == [1293, 144, 360]
    assert digits.train.examples.dtype == np.uint8 and digits.train.examples.max() == 255
    seen = np.concatenate([part.examples.reshape(len(part.labels), -1) for part in parts])
    whole = load_digits().images.reshape(1797, -1)
    assert sorted(map(bytes, seen)) == sorted(
        map(bytes, np.round(whole * 255 / 16).astype("uint8"))
    )
    assert all(np.bincount(part.labels).min() >= 0.09 * len(part.labels) for part in parts)


def test_the_seed_draws_the_validation_part_and_leaves_the_test_part(digits):
    other = load_data("digits", (8, 8, 1), validation_split=0.1, seed=1)
    assert np.array_equal(other.test.examples, digits.test.examples)
    assert not np.array_equal(other.validation.examples, digits.validation.examples)


def test_statistics_are_those_of_the_training_part_alone(digits):
    (mean,), (std,) = digits.statistics
    assert mean == pytest.approx(digits.train.examples.mean() / 255) and std == pytest.approx(
        digits.train.examples.std() / 255
    )


def test_a_batch_depends_on_seed_and_step_alone(digits):
    augmented = get_recipe("lenet5-digits")
    whole = first_batches(digits.train, augmented, 60)
    assert same(whole[41:], first_batches(digits.train, augmented, 19, first=41))
    assert not same(
        whole[:5],
        first_batches(digits.train, Recipe("r", "lenet5", "digits", seed=1, batch_size=32), 5),
    )


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(digits):
    plain = Recipe("plain", "lenet5", "digits", batch_size=100)
    steps = pipeline.steps_per_epoch(digits.train, 100)
    assert steps == 13
    epochs = np.concatenate([images for images, _ in first_batches(digits.train, plain, 2 * steps)])
    first, second = epochs[:1293], epochs[1293:]
    whole = sorted(map(bytes, digits.train.examples))
    assert sorted(map(bytes, first)) == whole and sorted(map(bytes, second)) == whole
    assert not np.array_equal(first, second)


def test_labels_stay_with_their_images(digits):
    known = {
        image.tobytes(): label
        for image, label in zip(digits.train.examples, digits.train.labels, strict=True)
    }
    for images, labels in first_batches(
        digits.train, Recipe("plain", "lenet5", "digits", batch_size=50), 30
    ):
        assert [known[image.tobytes()] for image in images] == list(labels.argmax(axis=1))


def test_validation_comes_in_its_own_order(digits):
    images = np.concatenate([images for images, _ in pipeline.batches(digits.validation, 32, 10)])
    assert np.array_equal(images, digits.validation.examples)


def test_the_recipes_augmentation_reaches_the_batches(digits):
    (plain, _), = first_batches(digits.train, Recipe("p", "lenet5", "digits", batch_size=64), 1)
    ((changed, _),) = first_batches(
        digits.train, Recipe("a", "lenet5", "digits", batch_size=64, augment={"zoom": 0.3}), 1
    )
    assert np.mean(np.abs(changed - plain).max(axis=(1, 2, 3)) > 1) > 0.9, (
        "images were left as they were"
    )
    assert changed.min() >= 0 and changed.max() <= 255


def test_mixed_labels_reach_the_batches_whole(digits):
    ((_, labels),) = first_batches(
        digits.train, Recipe("m", "lenet5", "digits", batch_size=64, augment={"mixup": 1.0}), 1
    )
    assert labels.sum(axis=1) == pytest.approx(1) and (labels.max(axis=1) < 0.999).any()


def test_grey_values_survive_the_way_to_colour_and_back():
    grey = tf.reshape(tf.range(256), (1, 16, 16, 1))
    colour = fit_to(grey, (16, 16, 3))
    assert np.array_equal(fit_to(colour, (16, 16, 1)), grey)


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_a_file_decodes_to_three_channels(encode):
    grey = tf.cast(tf.fill((6, 5, 1), 90), tf.uint8)
    assert np.array_equal(decode_or_explain(encode(grey).numpy())[0], np.full((6, 5, 3), 90))


@pytest.fixture(scope="module")
def uneven(digits):
    """All zeros of the training part, ten of each other digit."""
    labels = digits.train.labels
    kept = np.concatenate([np.flatnonzero(labels == n)[:None if n == 0 else 10] for n in range(10)])
    return dataclasses.replace(digits.train, indices=digits.train.indices[np.sort(kept)])


def test_class_weights_make_all_classes_count_alike(uneven):
    weights = pipeline.class_weights(uneven, 10)
    totals = weights * np.bincount(uneven.labels)
    assert totals == pytest.approx([len(uneven) / 10] * 10)
    weighted = Recipe("w", "lenet5", "digits", batch_size=64, balance="weights")
    for _, labels, weight in first_batches(uneven, weighted, 3):
        assert weight == pytest.approx(weights[labels.argmax(axis=1)])


def test_balanced_sampling_draws_each_class_as_often(uneven):
    sampled = Recipe("s", "lenet5", "digits", batch_size=64, balance="sampling")
    labels = np.concatenate(
        [labels.argmax(axis=1) for _, labels in first_batches(uneven, sampled, 60)]
    )
    counts = np.bincount(labels, minlength=10)
    assert np.abs(counts / len(labels) - 0.1).max() < 4 * np.sqrt(0.1 * 0.9 / len(labels))
    assert same(first_batches(uneven, sampled, 8)[5:], first_batches(uneven, sampled, 3, first=5))


class Encoded(Source):
    """Six PNG images, of which number 4 is cut short; reading from `broken` on fails."""

    kind, name, encoded, native_shape, broken = "image", "mine", True, (None, None, 3), 6
    class_names, labels, splits = ["a"], np.zeros(6, "int32"), {}

    def read(self, indices):
        if indices[-1] >= self.broken:
            raise UserError("the disk is gone")
        whole = tf.io.encode_png(tf.zeros((2, 2, 3), tf.uint8)).numpy()
        return [whole[:20] if index == 4 else whole for index in indices]


def test_a_damaged_data_set_is_not_cut_short_in_silence(monkeypatch):
    images = cache.ImageCache(Encoded(), (2, 2, 3), skip_bad=True)
    assert images.splits["train"].tolist() == [0, 1, 2, 3, 5] and len(images) == 6
    with pytest.raises(UserError, match=r"^mine\[4\] cannot be decoded. `zoo doctor mine` says"):
        cache.ImageCache(Encoded(), (2, 2, 3))
    monkeypatch.setattr(Encoded, "broken", 5)
    with pytest.raises(UserError, match="^the disk is gone$"):
        cache.ImageCache(Encoded(), (2, 2, 3), skip_bad=True)


def test_images_go_to_disk_where_they_are_sent(tmp_path):
    told = []
    dataset = load_data("digits", (8, 8, 1), cache="disk", cache_dir=tmp_path, say=told.append)
    assert f"on disk, in {tmp_path}" in told[0] and not list(tmp_path.iterdir()), (
        "the file should have no name"
    )
    assert np.array_equal(dataset.train.examples, load_data("digits", (8, 8, 1)).train.examples)


@pytest.mark.parametrize(
    "resize, corner, centre", [("stretch", 200, 200), ("crop", 200, 200), ("pad", 0, 200)]
)
def test_the_aspect_is_treated_as_asked(resize, corner, centre):
    wide = tf.fill((1, 10, 20, 3), tf.cast(200, tf.uint8))
    fitted = fit_to(wide, (8, 8, 3), resize).numpy()
    assert fitted.shape == (1, 8, 8, 3)
    assert (fitted[0, 0, 0, 0], fitted[0, 4, 4, 0]) == (corner, centre)


def test_cropping_keeps_the_middle():
    wide = np.zeros((1, 10, 30, 1), "uint8")
    wide[:, :, 10:20] = 100
    assert (fit_to(tf.constant(wide), (10, 10, 1), "crop").numpy() == 100).all()


def test_padding_leaves_the_thinnest_image_a_row():
    numbers = np.random.default_rng(0)
    for height, width in numbers.integers(1, 300, (40, 2)):
        if max(height, width) < 20 * min(height, width):
            image = numbers.integers(0, 256, (1, height, width, 3)).astype("uint8")
            expected = np.round(tf.image.resize_with_pad(image, 21, 30, antialias=True))
            assert np.array_equal(fit_to(image, (21, 30, 3), "pad"), expected)
    thin = ((10, 2000), (1, 29), (1, 999))
    for turned, (height, width) in itertools.product((False, True), thin):
        image = numbers.integers(0, 256, (height, width)).astype("uint8")
        row = Image.fromarray(image.astype("float32")).resize((28, 1), Image.Resampling.BILINEAR)
        expected = np.zeros((28, 28))
        expected[int((28 - 28 * height / width) // 2)] = np.asarray(row)
        if turned:
            image, expected = image.T, expected.T
        padded = fit_to(image[None, ..., None], (28, 28, 1), "pad")[0, ..., 0].numpy()
        assert np.abs(padded - expected).max() < 0.51
        assert np.array_equal(padded == 0, np.round(expected) == 0)
