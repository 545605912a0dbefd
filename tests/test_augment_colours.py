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
            randaugment._geometry(tf.constant([number]), tf.constant([1.0]), 32, 64)[0]
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
