"""What changes the colours of images, and RandAugment, on images made to show what it does."""
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from tests.test_augment import changed, noise, one_hot, same
from zoo.training.data.augmentation import image_ops as ops
from zoo.training.data.augmentation import randaugment


def middling():
    return noise(64) // 4 + 96


def test_brightness_multiplies():
    found, _ = changed(middling(), {"brightness": 0.3})
    factors = found / middling()
    assert np.ptp(factors, axis=(1, 2, 3)).max() < 1e-5
    assert 0.7 <= factors.min() < 0.75 and 1.25 < factors.max() <= 1.3


def test_contrast_spreads_about_the_mean_grey():
    grey = [0.2989, 0.587, 0.114]
    found, _ = changed(middling(), {"contrast": 0.3})
    assert (found @ grey).mean(axis=(1, 2)) == pytest.approx(
        (middling() @ grey).mean(axis=(1, 2)), rel=1e-3
    )
    factors = found.std(axis=(1, 2, 3)) / middling().std(axis=(1, 2, 3))
    assert 0.69 < factors.min() < 0.75 and 1.25 < factors.max() < 1.31


def test_saturation_keeps_the_grey_and_scales_the_colour():
    grey = [0.2989, 0.587, 0.114]
    found, _ = changed(middling(), {"saturation": 0.3})
    assert np.allclose(found @ grey, middling() @ grey, rtol=1e-3)
    factors = np.ptp(found, axis=3).sum(axis=(1, 2)) / np.ptp(middling(), axis=3).sum(axis=(1, 2))
    assert 0.7 <= factors.min() < 0.75 and 1.25 < factors.max() <= 1.3 + 1e-5


def test_hue_turns_the_circle_and_keeps_value_and_saturation():
    red = np.zeros((300, 1, 1, 3), "uint8")
    red[..., 0] = 200
    found, _ = changed(red, {"hue": 0.25})
    assert np.allclose(found.max(axis=3), 200, atol=1e-3) and np.allclose(
        found.min(axis=3), 0, atol=1e-3
    )
    hues = (tf.image.rgb_to_hsv(found / 255).numpy()[..., 0].ravel() + 0.5) % 1 - 0.5
    assert -0.2501 < hues.min() < -0.23 and 0.23 < hues.max() < 0.2501


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_grey_stays_grey(name):
    grey = np.repeat(noise(8, channels=1), 3, axis=3)
    assert np.allclose(changed(grey, {name: 0.4})[0], grey, atol=0.05)
    assert same(changed(grey[..., :1], {name: 0.4}), (grey[..., :1], one_hot(8)))


BLURRED = Image.fromarray(noise(1, 48, 40)[0]).filter(ImageFilter.GaussianBlur(1))
SMOOTH = np.array(BLURRED) // 2 + 30  # like a photo


@pytest.mark.parametrize("operation, amount, pillow", [
    (ops.saturation, 0.81, lambda image: ImageEnhance.Color(image).enhance(1.81)),
    (ops.contrast, -0.81, lambda image: ImageEnhance.Contrast(image).enhance(0.19)),
    (ops.brightness, 0.81, lambda image: ImageEnhance.Brightness(image).enhance(1.81)),
    (ops.sharpness, 0.81, lambda image: ImageEnhance.Sharpness(image).enhance(1.81)),
    (ops.auto_contrast, 0.0, ImageOps.autocontrast),
    (ops.solarize, -156.0, lambda image: ImageOps.solarize(image, 100)),
    (ops.posterize, 4.0, lambda image: ImageOps.posterize(image, 4)),
])
def test_colour_operations_are_pillows(operation, amount, pillow):
    found = operation(tf.constant(SMOOTH[None], tf.float32), tf.fill((1, 1, 1, 1), amount))[
        0
    ].numpy()
    inner = (slice(1, -1), slice(1, -1))  # Pillow does not smooth edges
    assert (
        np.abs(found[inner] - np.array(pillow(Image.fromarray(SMOOTH)), "float32")[inner]).max()
        <= 2
    )
    assert np.abs(found - SMOOTH).max() > 5


def test_equalizing_levels_the_histogram():
    ramp = np.round(255 * np.linspace(0, 1, 4096).reshape(1, 64, 64, 1) ** 3)
    found = ops.equalize(tf.constant(ramp, tf.float32), None).numpy()
    assert found.min() == 0 and found.max() == pytest.approx(255, abs=1e-3)
    assert (np.diff(found.ravel()) >= 0).all() and found[found > 64].mean() == pytest.approx(
        (64 + 255) / 2, abs=3
    )
    level = np.full((1, 8, 8, 3), 77.0, "float32")
    assert np.array_equal(ops.equalize(tf.constant(level), None), level)


def test_geometric_operations_reach_their_ranges():
    found = np.stack(
        [
            randaugment._geometry(
                tf.constant([number]), tf.constant([1.0]), (math.radians(30), 0.3, 0.3, 20, 10))[0]
            for number in range(-1, 5)
        ]
    )
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    assert np.allclose(
        found,
        [
            [[a, b, c], [d, e, f], [0, 0, 1]]
            for a, b, c, d, e, f in (
                (1, 0, 0, 0, 1, 0),
                (cos, -sin, 0, sin, cos, 0),
                (1, 0.3, 0, 0, 1, 0),
                (1, 0, 0, 0.3, 1, 0),
                (1, 0, 20, 0, 1, 0),
                (1, 0, 0, 0, 1, 10),
            )
        ],
    )


def test_randaugment_draws_for_each_image_one_of_fourteen():
    images = np.repeat(SMOOTH[None], 700, axis=0)
    found, _ = changed(
        images, {"randaugment": {"n": 1, "m": 10}}, labels=np.ones((700, 1), "float32")
    )
    kinds, counts = np.unique(
        found.reshape(700, -1).round().astype("uint8"), axis=0, return_counts=True
    )
    # The five geometric operations and the four enhancements have two signs, the other five one.
    assert len(kinds) == 9 * 2 + 5
    assert 25 < (found == SMOOTH).all(axis=(1, 2, 3)).sum() < 80
    assert counts.min() >= 10


def test_more_magnitude_changes_more():
    images = np.repeat(SMOOTH[None], 200, axis=0)
    weak, middle, strong = (
        np.abs(changed(images, {"randaugment": {"n": 2, "m": m}})[0] - images).mean()
        for m in (1, 5, 10)
    )
    assert weak < middle < strong


def test_trivial_augment_draws_one_of_fourteen_and_one_of_31_strengths():
    images = np.repeat(SMOOTH[None], 1500, axis=0)
    found, _ = changed(images, {"trivial_augment": True}, labels=np.ones((1500, 1), "float32"))
    kinds, counts = np.unique(
        found.reshape(1500, -1).round().astype("uint8"), axis=0, return_counts=True)
    # Those with a sign have at most 61 strengths; solarize 31, posterize 7 numbers of bits; the
    # other two one. All start with the image as it is.
    assert 250 < len(kinds) <= 9 * 60 + 30 + 6 + 2 + 1
    unchanged = counts[(kinds == SMOOTH.reshape(-1)).all(axis=1)].sum() / 1500
    # 1 of 14 operations, 10 of 14 at the lowest of 31 strengths, posterize at three of them,
    # solarize where only levels above the brightest are inverted.
    spared = math.ceil((256 - int(SMOOTH.max())) * 30 / 256)
    expected = (1 + 9 / 31 + 3 / 31 + spared / 31) / 14
    assert unchanged == pytest.approx(expected, abs=0.02)


def pillow_trivial(image):
    """Every result of the colour operations of the wide space by Pillow, {operation: images}."""
    enhance = {"saturation": ImageEnhance.Color, "contrast": ImageEnhance.Contrast,
               "brightness": ImageEnhance.Brightness, "sharpness": ImageEnhance.Sharpness}
    strengths = np.arange(31) / 30
    results = {name: [kind(image).enhance(1 + sign * 0.99 * strength)
                      for strength in strengths for sign in (-1, 1)]
               for name, kind in enhance.items()}
    results["posterize"] = [ImageOps.posterize(image, bits) for bits in range(2, 9)]
    results["solarize"] = [ImageOps.solarize(image, 256 * (1 - strength))
                           for strength in strengths]
    results["auto_contrast"] = [ImageOps.autocontrast(image)]
    return {name: np.stack(list(map(np.asarray, images)))[:, 1:-1, 1:-1].astype("float32")
            for name, images in results.items()}  # Pillow does not smooth edges


def test_trivial_augments_colours_are_pillows():
    """Each changed image is one of Pillow's, within the two levels by which Pillow rounds."""
    found, _ = changed(np.repeat(SMOOTH[None], 600, axis=0), {"trivial_augment": True},
                       labels=np.ones((600, 1), "float32"))
    found = found[:, 1:-1, 1:-1]
    alike = {name: np.array([np.abs(image - images).max(axis=(1, 2, 3)).min() for image in found])
             for name, images in pillow_trivial(Image.fromarray(SMOOTH)).items()}
    shares = {name: (distances <= 2).mean() for name, distances in alike.items()}
    # Weak changes look like those of other operations, and the image itself like all of them.
    assert all(1 / 14 - 0.04 < share < 0.3 for share in shares.values()), shares
    # Seven of 14 operations, and no change.
    assert 8 / 14 - 0.07 < (np.min(list(alike.values()), axis=0) <= 2).mean() < 8 / 14 + 0.12


def test_trivial_augments_geometry_reaches_the_wide_ranges():
    assert randaugment._WIDE_GEOMETRY == (math.radians(135), 0.99, 0.99, 32.0, 32.0)
    dots = np.zeros((2000, 101, 101, 1), "uint8")
    dots[:, 49:52, 49:52] = 200
    found, _ = changed(dots, {"trivial_augment": True}, labels=np.ones((2000, 1), "float32"))
    where = np.indices((101, 101)).reshape(2, -1) - 50
    mass = found.reshape(2000, -1)
    moved = np.abs((where @ mass.T / mass.sum(axis=1)).T)
    # Only translations move a dot in the middle: by 32/30 pixels and its multiples.
    assert moved.max() == pytest.approx(32, abs=0.1)
    pixels = moved[(moved.max(axis=1) > 0.5)].max(axis=1)
    assert np.abs(pixels - np.round(pixels * 30 / 32) * 32 / 30).max() < 0.1
    assert len(pixels) / 2000 == pytest.approx(2 / 14 * 30 / 31, abs=0.03)


def test_pca_noise_is_numpys():
    """Krizhevsky et al. 2012, section 4.1: [p1, p2, p3][a1 l1, a2 l2, a3 l3] for each image."""
    grey = np.full((4000, 2, 2, 3), 128, "uint8")
    found, _ = changed(grey, {"pca_noise": 0.1}, labels=np.ones((4000, 1), "float32"))
    noise = found - grey
    assert np.ptp(noise, axis=(1, 2)).max() < 1e-4  # one colour for the whole image
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140],
                        [-0.5836, -0.6948, 0.4203]])
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)
    values = np.array([0.2175, 0.0188, 0.0045]) * 255
    expected = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
    covariance = np.cov(noise[:, 0, 0].T)
    assert np.abs(covariance - expected).max() < 0.05 * expected.max()
    amounts = noise[:, 0, 0] @ vectors / values  # the draws, of each component
    assert amounts.std(axis=0) == pytest.approx([0.1, 0.1, 0.1], rel=0.05)
    assert np.abs(amounts.mean(axis=0)).max() < 0.01
    assert np.abs(np.corrcoef(amounts.T) - np.eye(3)).max() < 0.06
