"""Each augmentation on images made to show what it does."""
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from training import image_ops as ops
from training import randaugment
from training.augment import AUGMENTATIONS, MIXING, augment, check
from zoo.errors import UsageError

STRENGTHS = {"flip": True, "flip_vertical": True, "crop": 4, "shift": 3, "rotate": 30, "zoom": 0.3,
             "randaugment": {"n": 2, "m": 9}, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2,
             "erase": 0.8, "mixup": 0.4, "cutmix": 1.0}
CASES = [*({name: value} for name, value in STRENGTHS.items()), STRENGTHS]
each_case = pytest.mark.parametrize("settings", CASES, ids=lambda case: "-".join(case) if len(case) == 1 else "all")


def noise(count, height=16, width=12, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels)).astype("uint8")


def one_hot(count):
    return np.eye(count, dtype="float32")


def changed(images, settings, step=0, seed=0, labels=None):
    labels = one_hot(len(images)) if labels is None else labels
    images, labels = augment(tf.constant(images), tf.constant(labels), settings, tf.constant([seed, step], tf.int64))
    return images.numpy(), labels.numpy()


def in_pipeline(images, settings, steps, batches=(32,)):
    """The batches of `steps` out of a tf.data map, whose batch size is unknown while it is traced."""
    labels = tf.constant(one_hot(len(images)))

    def batch(step):
        count = tf.gather(tf.constant(batches), step % len(batches))
        return augment(tf.constant(images)[:count], labels[:count], settings, [7, step])
    return [tuple(part.numpy() for part in pair)
            for pair in tf.data.Dataset.from_tensor_slices(tf.constant(steps, tf.int64)).map(batch, tf.data.AUTOTUNE)]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_every_augmentation_is_tried_here():
    assert set(STRENGTHS) == set(AUGMENTATIONS) and MIXING < set(AUGMENTATIONS)


@each_case
def test_seed_and_step_alone_decide(settings):
    images = noise(16)
    first = changed(images, settings, step=3)
    assert same(first, changed(images, settings, step=3))
    assert not same(first, changed(images, settings, step=4))
    assert not same(first, changed(images, settings, step=3, seed=1))


@each_case
def test_the_order_of_a_pipeline_does_not_matter(settings):
    forth, back = (in_pipeline(noise(16), settings, steps) for steps in ([0, 1, 2, 3], [3, 2, 1, 0]))
    assert all(same(a, b) for a, b in zip(forth, back[::-1], strict=True))


def test_keras_layers_still_depend_on_what_came_before():
    """If this fails, Keras's augmentation layers may have become a function of the step and replace ours."""
    layer, image = keras.layers.RandomErasing(seed=1), tf.constant(noise(8), tf.float32)
    steps = tf.data.Dataset.range(2).map(lambda step: layer(image, training=True))
    first, second = ([batch.numpy() for batch in steps] for _ in range(2))
    assert not same(first, second)


@pytest.mark.parametrize("channels", [1, 3])
@each_case
def test_shapes_types_and_ranges_hold_in_a_pipeline(settings, channels):
    images = np.where(noise(9, channels=channels) > 127, 255, 0).astype("uint8")  # extremes, to leave the range easily
    for (found, labels), count in zip(in_pipeline(images, settings, [0, 1], batches=(9, 1)), (9, 1), strict=True):
        assert found.shape == (count, 16, 12, channels) and found.dtype == np.float32
        assert found.min() >= 0 and found.max() <= 255
        assert labels.shape == (count, 9) and labels.dtype == np.float32 and labels.min() >= 0
        assert labels.sum(axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_type_that_comes_in_does_not_matter(dtype):
    assert same(changed(noise(8), STRENGTHS), changed(noise(8).astype(dtype), STRENGTHS))


def test_nothing_asked_is_nothing_done():
    images = noise(4)
    found, labels = changed(images, {})
    assert found.dtype == np.uint8 and same((found, labels), (images, one_hot(4)))
    off = {name: False if value is True else 0 for name, value in STRENGTHS.items() if name != "randaugment"}
    check(off)
    assert same(changed(images, off), (images, one_hot(4)))


@pytest.mark.parametrize("name, axis", [("flip", 2), ("flip_vertical", 1)])
def test_a_flip_mirrors_every_second_image(name, axis):
    images = noise(400)
    found, _ = changed(images, {name: True})
    mirrored = (found == np.flip(images, axis)).all(axis=(1, 2, 3))
    assert ((found == images).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert 0.4 < mirrored.mean() < 0.6


def test_a_crop_moves_whole_pixels_within_the_padding():
    image = noise(1)
    found, _ = changed(np.repeat(image, 500, axis=0), {"crop": 2}, labels=np.ones((500, 1), "float32"))
    padded = np.pad(image[0], ((2, 2), (2, 2), (0, 0)), "symmetric")
    cuts = np.stack([padded[y:y + 16, x:x + 12] for y in range(5) for x in range(5)])
    matches = (found[:, None] == cuts[None]).all(axis=(2, 3, 4))
    assert (matches.sum(axis=1) == 1).all(), "some image is no cut of the padded one"
    assert matches.mean(axis=0) == pytest.approx(1 / 25, abs=0.03)


def dots(count, size=21, y=10, x=10):
    images = np.zeros((count, size, size, 1), "uint8")
    images[:, y, x] = 200
    return images


def centres(images):
    """(y, x) of the centres of mass, from the middle."""
    places = np.indices(images.shape[1:3]).reshape(2, -1)
    return (places @ images.reshape(len(images), -1).T / images.sum(axis=(1, 2, 3))).T - (images.shape[1] - 1) / 2


def test_a_shift_stays_within_its_pixels():
    found, _ = changed(dots(200), {"shift": 3})
    assert np.abs(centres(found)).max() <= 3 + 1e-4
    assert (centres(found).max(axis=0) > 2.7).all() and (centres(found).min(axis=0) < -2.7).all()


def test_a_rotation_turns_about_the_middle_by_at_most_its_degrees():
    y, x = centres(changed(dots(300, x=17), {"rotate": 90})[0]).T
    angles = np.degrees(np.arctan2(y, x))
    assert np.hypot(y, x) == pytest.approx(7, abs=0.2)
    assert np.abs(angles).max() < 91 and angles.max() > 85 and angles.min() < -85


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_right_angle_is_exact(quarters):
    turn = quarters * math.pi / 2
    matrices = ops.matrices(2, math.cos(turn), -math.sin(turn), 0, math.sin(turn), math.cos(turn), 0)
    images = noise(2, 16, 16)
    found = ops.warp(tf.constant(images, tf.float32), matrices, "BILINEAR").numpy()
    # float32 puts the outermost places a hair outside, where black is mixed in
    assert np.allclose(found, np.rot90(images, quarters, axes=(1, 2)), atol=1e-2)


def test_zoom_scales_the_area():
    images = np.zeros((200, 40, 40, 1), "uint8")
    images[:, 12:28, 12:28] = 200
    sides = np.sqrt(changed(images, {"zoom": 0.25})[0].sum(axis=(1, 2, 3)) / images[0].sum())
    assert 0.74 < sides.min() < 0.77 and 1.23 < sides.max() < 1.26


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
    assert (found @ grey).mean(axis=(1, 2)) == pytest.approx((middling() @ grey).mean(axis=(1, 2)), rel=1e-3)
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
    assert np.allclose(found.max(axis=3), 200, atol=1e-3) and np.allclose(found.min(axis=3), 0, atol=1e-3)
    hues = (tf.image.rgb_to_hsv(found / 255).numpy()[..., 0].ravel() + 0.5) % 1 - 0.5
    assert -0.2501 < hues.min() < -0.23 and 0.23 < hues.max() < 0.2501


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_grey_stays_grey(name):
    grey = np.repeat(noise(8, channels=1), 3, axis=3)
    assert np.allclose(changed(grey, {name: 0.4})[0], grey, atol=0.05)
    assert same(changed(grey[..., :1], {name: 0.4}), (grey[..., :1], one_hot(8)))


@pytest.mark.parametrize("height, width", [(64, 64), (48, 96)])
def test_erasing_takes_rectangles_of_the_papers_areas_and_aspects(height, width):
    found, _ = changed(np.full((300, height, width, 3), 128, "uint8"), {"erase": 0.5})
    gone = (found != 128).any(axis=3)
    erased = gone[gone.any(axis=(1, 2))]
    assert 0.4 < len(erased) / 300 < 0.6
    tall, wide = (erased.any(axis=axis).sum(axis=1) for axis in (2, 1))
    assert (erased.sum(axis=(1, 2)) == tall * wide).all(), "not a full rectangle"
    sides = np.array([tall, wide]) + np.array([[[-0.5]], [[0.5]]])  # before they were rounded to pixels
    (low, high), area = sides, height * width
    assert (high[0] * high[1] >= 0.02 * area).all() and (low[0] * low[1] <= 0.4 * area).all()
    assert (high[0] / low[1] >= 0.3).all() and (low[0] / high[1] <= 1 / 0.3).all()
    shares = tall * wide / area
    assert shares.min() < 0.06 and shares.max() > 0.35 and shares.mean() == pytest.approx(0.21, abs=0.03)
    aspects = tall / wide
    assert aspects.min() < 0.6 and aspects.max() > 2
    assert gone[:, 0].any() and gone[:, -1].any() and gone[:, :, 0].any() and gone[:, :, -1].any(), "an edge is never reached"


def test_erased_pixels_are_noise_over_the_whole_range():
    found, _ = changed(np.full((100, 16, 16, 3), 128, "uint8"), {"erase": 1.0})
    assert np.histogram(found[found != 128], 8, (0, 255), density=True)[0] * 255 == pytest.approx(1, abs=0.1)


def flat(count):
    """Images of one level each, and the levels."""
    levels = np.arange(count) * 8.0
    return np.broadcast_to(levels[:, None, None, None], (count, 16, 12, 1)).astype("uint8"), levels


def test_mixup_mixes_labels_as_it_mixes_pixels():
    images, levels = flat(24)
    found, labels = changed(images, {"mixup": 0.8})
    assert np.allclose(found, (labels @ levels)[:, None, None, None], atol=1e-3)
    shares = np.diag(labels)[np.diag(labels) < 1]
    assert len(shares) > 20 and np.ptp(shares) < 1e-6, "one share for the batch"


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mixups_share_is_a_draw_of_beta(alpha):
    seeds = tf.stack([tf.zeros(400, tf.int64), tf.range(400, dtype=tf.int64)], axis=1)
    shares = tf.map_fn(lambda seed: ops.beta(seed, "mixup", alpha), seeds, fn_output_signature=tf.float32).numpy()
    assert shares.min() >= 0 and shares.max() <= 1 and shares.mean() == pytest.approx(0.5, abs=0.06)
    assert shares.var() == pytest.approx(1 / (8 * alpha + 4), rel=0.15)


def test_a_tiny_alpha_mixes_nothing():
    images, _ = flat(4)
    for step in range(20):
        found, labels = changed(images, {"mixup": 1e-4}, step)
        assert np.allclose(labels, labels.round()) and labels.sum(axis=1) == pytest.approx(1)
        assert np.allclose(found, images[labels.argmax(axis=1)], atol=1e-3)


def test_cutmix_pastes_a_rectangle_and_its_share_of_the_label():
    images, levels = flat(24)
    areas = []
    for step in range(30):
        found, labels = changed(images, {"cutmix": 1.0}, step)
        pasted = found[..., 0] != levels[:, None, None]
        mixed = pasted.any(axis=(1, 2))
        kept = (~pasted[mixed]).sum(axis=(1, 2)).astype("float32") / np.float32(16 * 12)
        assert np.array_equal(np.diag(labels)[mixed], kept)
        for image, label, box, share in zip(found[mixed, ..., 0], labels[mixed], pasted[mixed], kept, strict=True):
            other, = set(image[box])
            assert label[int(other) // 8] == 1 - share and np.count_nonzero(label) == 1 + (share > 0)
            assert box.sum() == box.any(axis=1).sum() * box.any(axis=0).sum(), "not a full rectangle"
        areas.append(pasted[mixed].mean() if mixed.any() else 0)
    assert min(areas) < 0.05 and max(areas) > 0.5


def test_mixup_and_cutmix_take_turns_with_their_own_draws():
    images, _ = flat(12)
    both, mixup, cutmix = ([changed(images, {name: 1.0 for name in names}, step) for step in range(60)]
                           for names in (("mixup", "cutmix"), ("mixup",), ("cutmix",)))
    like_mixup = [same(a, b) for a, b in zip(both, mixup, strict=True)]
    like_cutmix = [same(a, b) for a, b in zip(both, cutmix, strict=True)]
    assert all(a != b for a, b in zip(like_mixup, like_cutmix, strict=True)) and 18 < sum(like_mixup) < 42


def test_another_augmentation_leaves_the_draws_alone():
    images = noise(40)
    cropped, _ = changed(images, {"crop": 3})
    both, _ = changed(images, {"crop": 3, "flip": True})
    assert all(np.array_equal(b, c) or np.array_equal(b, c[:, ::-1]) for b, c in zip(both, cropped, strict=True))
    black = np.zeros((40, 16, 12, 3), "uint8")
    others = {name: value for name, value in STRENGTHS.items() if name not in MIXING and name not in ("erase", "randaugment")}
    assert same(changed(black, {"erase": 0.5}), changed(black, others | {"erase": 0.5}))
    alone = changed(images, {"mixup": 1.0})[1]
    assert np.array_equal(alone, changed(images, others | {"mixup": 1.0, "erase": 1.0, "randaugment": {"n": 3, "m": 5}})[1])


SMOOTH = np.array(Image.fromarray(noise(1, 48, 40)[0]).filter(ImageFilter.GaussianBlur(1))) // 2 + 30  # smooth, like a photo


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
    found = operation(tf.constant(SMOOTH[None], tf.float32), tf.fill((1, 1, 1, 1), amount))[0].numpy()
    inner = (slice(1, -1), slice(1, -1))  # Pillow does not smooth edges
    assert np.abs(found[inner] - np.array(pillow(Image.fromarray(SMOOTH)), "float32")[inner]).max() <= 2
    assert np.abs(found - SMOOTH).max() > 5


def test_equalizing_levels_the_histogram():
    ramp = np.round(255 * np.linspace(0, 1, 4096).reshape(1, 64, 64, 1) ** 3)
    found = ops.equalize(tf.constant(ramp, tf.float32), None).numpy()
    assert found.min() == 0 and found.max() == pytest.approx(255, abs=1e-3)
    assert (np.diff(found.ravel()) >= 0).all() and found[found > 64].mean() == pytest.approx((64 + 255) / 2, abs=3)
    level = np.full((1, 8, 8, 3), 77.0, "float32")
    assert np.array_equal(ops.equalize(tf.constant(level), None), level)


def test_geometric_operations_reach_their_ranges():
    found = np.stack([randaugment._geometry(tf.constant([number]), tf.constant([1.0]), 32, 64)[0] for number in range(-1, 5)])
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    assert np.allclose(found, [[[a, b, c], [d, e, f], [0, 0, 1]] for a, b, c, d, e, f in (
        (1, 0, 0, 0, 1, 0), (cos, -sin, 0, sin, cos, 0), (1, 0.3, 0, 0, 1, 0), (1, 0, 0, 0.3, 1, 0), (1, 0, 20, 0, 1, 0),
        (1, 0, 0, 0, 1, 10))])


def test_randaugment_draws_for_each_image_one_of_fourteen():
    images = np.repeat(SMOOTH[None], 700, axis=0)
    found, _ = changed(images, {"randaugment": {"n": 1, "m": 10}}, labels=np.ones((700, 1), "float32"))
    kinds, counts = np.unique(found.reshape(700, -1).round().astype("uint8"), axis=0, return_counts=True)
    # rotate, both shears, both translations and the four enhancements come in two directions, the other five in one
    assert len(kinds) == 9 * 2 + 5
    assert 25 < (found == SMOOTH).all(axis=(1, 2, 3)).sum() < 80
    assert counts.min() >= 10


def test_more_magnitude_changes_more():
    images = np.repeat(SMOOTH[None], 200, axis=0)
    weak, middle, strong = (np.abs(changed(images, {"randaugment": {"n": 2, "m": m}})[0] - images).mean() for m in (1, 5, 10))
    assert weak < middle < strong


@pytest.mark.parametrize("settings, words", [
    ({"shfit": 1}, "Unknown augmentation 'shfit'. Did you mean 'shift'?"),
    ({"flip": 1}, "flip must be true or false. Received: 1."),
    ({"crop": 1.5}, "crop must be a whole number from 0 to 1000. Received: 1.5."),
    ({"zoom": 1.5}, "zoom must be a number from 0 to 1. Received: 1.5."),
    ({"rotate": -10}, "rotate must be a number from 0 to 180. Received: -10."),
    ({"hue": 0.6}, "hue must be a number from 0 to 0.5. Received: 0.6."),
    ({"erase": "often"}, "erase must be a number from 0 to 1. Received: 'often'."),
    ({"erase": True}, "erase must be a number from 0 to 1. Received: True."),
    ({"mixup": float("nan")}, "mixup must be a number from 0 to 100. Received: nan."),
    ({"randaugment": 9}, "randaugment must be {'n': operations, 'm': magnitude}. Received: 9."),
    ({"randaugment": {"n": 2}}, "randaugment must be {'n': operations, 'm': magnitude}. Received: {'n': 2}."),
    ({"randaugment": {"n": 0, "m": 9}}, "n of randaugment must be a whole number from 1 to 14. Received: 0."),
    ({"randaugment": {"n": 2, "m": 11}}, "m of randaugment must be a number from 0 to 10. Received: 11."),
    ({"randaugment": {"n": 2, "m": 9, "magnitude": 1}}, "Unknown setting of randaugment 'magnitude'. Known: m, n."),
    (["flip"], "augment must be a dictionary such as {'crop': 4, 'flip': True}. Received: ['flip']."),
])
def test_a_wrong_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(UsageError) as refusal:
        check(settings)
    assert str(refusal.value) == words


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_colour_is_refused_for_grey_images(name):
    check({name: 0.1})
    with pytest.raises(UsageError, match=f"{name} needs 3 channels"):
        check({name: 0.1}, channels=1)
    check({name: 0}, channels=1)


@each_case
def test_what_is_tested_here_is_let_pass(settings):
    check(settings)
