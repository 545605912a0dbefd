"""Data sets and the batches made of them."""
import numpy as np
import pytest
import tensorflow as tf

from training import data, pipeline
from training.images import decode, fit_to
from training.recipes import Recipe, recipe
from zoo.errors import UserError


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", (8, 8, 1), validation=0.1, seed=0)


def first_batches(split, recipe, count, first=0):
    return [tuple(part.numpy() for part in batch)
            for batch in pipeline.training_batches(split, recipe, 10, first).take(count)]


def same(left, right):
    return all(np.array_equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


def test_digits_are_split_without_overlap_and_by_class(digits):
    parts = [digits.train, digits.validation, digits.test]
    assert [len(part.labels) for part in parts] == [1293, 144, 360]
    assert digits.train.images.dtype == np.uint8 and digits.train.images.max() == 255
    seen = np.concatenate([part.images.reshape(len(part.labels), -1) for part in parts])
    whole = data.load_digits().images.reshape(1797, -1)
    assert sorted(map(bytes, seen)) == sorted(map(bytes, np.round(whole * 255 / 16).astype("uint8")))
    assert all(np.bincount(part.labels).min() >= 0.09 * len(part.labels) for part in parts)


def test_the_seed_draws_the_validation_part_and_leaves_the_test_part(digits):
    other = data.load("digits", (8, 8, 1), validation=0.1, seed=1)
    assert np.array_equal(other.test.images, digits.test.images)
    assert not np.array_equal(other.validation.images, digits.validation.images)


def test_statistics_are_those_of_the_training_part_alone(digits):
    (mean,), (std,) = digits.statistics
    assert mean == pytest.approx(digits.train.images.mean() / 255) and std == pytest.approx(digits.train.images.std() / 255)


def test_mnist_has_the_published_counts_and_statistics(mnist_dir):
    mnist = data.load("mnist", (28, 28, 1), validation=0.1, seed=0, data_dir=mnist_dir)
    assert [len(part.labels) for part in (mnist.train, mnist.validation, mnist.test)] == [54_000, 6_000, 10_000]
    (mean,), (std,) = mnist.statistics
    assert (mean, std) == (pytest.approx(0.1307, abs=2e-4), pytest.approx(0.3081, abs=2e-4))
    assert mnist.class_names == [str(n) for n in range(10)]


def test_a_misspelt_data_set_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="Unknown data set 'mnistt'. Did you mean 'mnist'?"):
        data.load("mnistt", (8, 8, 1), data_dir=tmp_path)


def test_a_data_set_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="'imdb_reviews' has no images.*text, label"):
        data.load("imdb_reviews", (8, 8, 1), data_dir=tmp_path)


def test_a_batch_depends_on_seed_and_step_alone(digits):
    augmented = recipe("lenet5-digits")
    whole = first_batches(digits.train, augmented, 60)
    assert same(whole[41:], first_batches(digits.train, augmented, 19, first=41))
    assert not same(whole[:5], first_batches(digits.train, Recipe("r", "lenet5", "digits", seed=1, batch=32), 5))


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(digits):
    plain = Recipe("plain", "lenet5", "digits", batch=100)
    steps = pipeline.steps_per_epoch(digits.train, 100)
    assert steps == 13
    epochs = np.concatenate([images for images, _ in first_batches(digits.train, plain, 2 * steps)])
    first, second = epochs[:1293], epochs[1293:]
    whole = sorted(map(bytes, digits.train.images))
    assert sorted(map(bytes, first)) == whole and sorted(map(bytes, second)) == whole
    assert not np.array_equal(first, second)


def test_labels_stay_with_their_images(digits):
    known = {image.tobytes(): label for image, label in zip(digits.train.images, digits.train.labels, strict=True)}
    for images, labels in first_batches(digits.train, Recipe("plain", "lenet5", "digits", batch=50), 30):
        assert [known[image.tobytes()] for image in images] == list(labels.argmax(axis=1))


def test_validation_comes_in_its_own_order(digits):
    images = np.concatenate([images for images, _ in pipeline.batches(digits.validation, 32, 10)])
    assert np.array_equal(images, digits.validation.images)


@pytest.mark.parametrize("augment", [{"shift": 2}, {"rotate": 15}, {"zoom": 0.2}])
def test_augmentation_changes_images_and_stays_within_bounds(digits, augment):
    (plain, _), = first_batches(digits.train, Recipe("p", "lenet5", "digits", batch=64), 1)
    (changed, _), = first_batches(digits.train, Recipe("a", "lenet5", "digits", batch=64, augment=augment), 1)
    assert np.mean(np.abs(changed - plain).max(axis=(1, 2, 3)) > 1) > 0.9, "images were left as they were"
    assert changed.min() >= 0 and changed.max() <= 255


def test_a_shift_by_whole_pixels_moves_the_image():
    image = np.zeros((1, 9, 9, 1), "uint8")
    image[0, 4, 4] = 200
    seeds = [pipeline._affine(tf.constant(image), {"shift": 3}, [0, step]).numpy() for step in range(40)]
    centres = np.array([np.average(np.indices((9, 9)).reshape(2, -1), weights=moved.ravel(), axis=1) for moved in seeds]) - 4
    assert np.abs(centres).max() <= 3 + 1e-4 and np.abs(centres).max(axis=0).min() > 1.5
    assert all(moved.sum() == pytest.approx(200, rel=1e-3) for moved in seeds)


def test_an_unknown_augmentation_is_named(digits):
    with pytest.raises(UserError, match="Unknown augmentation 'shfit'. Did you mean 'shift'?"):
        first_batches(digits.train, Recipe("r", "lenet5", "digits", augment={"shfit": 1}), 1)


def test_grey_values_survive_the_way_to_colour_and_back():
    grey = tf.reshape(tf.range(256), (1, 16, 16, 1))
    colour = fit_to(grey, (16, 16, 3))
    assert np.array_equal(fit_to(colour, (16, 16, 1)), grey)


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_a_file_decodes_to_three_channels(encode):
    grey = tf.cast(tf.fill((6, 5, 1), 90), tf.uint8)
    assert np.array_equal(decode(encode(grey)), np.full((6, 5, 3), 90))
