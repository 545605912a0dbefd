"""Each augmentation on images made to show what it does."""
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import UsageError
from zoo.training.data.augmentation import image_ops as ops
from zoo.training.data.augmentation.augment import augment
from zoo.training.data.augmentation.settings import AUGMENTATIONS, MIXING, check

STRENGTHS = {
    "flip": True,
    "flip_vertical": True,
    "crop": 4,
    "shift": 3,
    "rotate": 30,
    "zoom": 0.3,
    "randaugment": {"n": 2, "m": 9},
    "trivial_augment": True,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.2,
    "pca_noise": 0.1,
    "erase": 0.8,
    "mixup": 0.4,
    "cutmix": 1.0,
}
CASES = [*({name: value} for name, value in STRENGTHS.items()), STRENGTHS]
each_case = pytest.mark.parametrize(
    "settings", CASES, ids=lambda case: "-".join(case) if len(case) == 1 else "all"
)


def noise(count, height=16, width=12, channels=3):
    return (
        np.random.default_rng(0).integers(0, 256, (count, height, width, channels)).astype("uint8")
    )


def one_hot(count):
    return np.eye(count, dtype="float32")


def changed(images, settings, step=0, seed=0, labels=None):
    labels = one_hot(len(images)) if labels is None else labels
    images, labels = augment(
        tf.constant(images), tf.constant(labels), settings, tf.constant([seed, step], tf.int64)
    )
    return images.numpy(), labels.numpy()


def in_pipeline(images, settings, steps, batches=(32,)):
    """Return the batches of `steps` from a tf.data map, which is traced with unknown batch size."""
    labels = tf.constant(one_hot(len(images)))

    def batch(step):
        count = tf.gather(tf.constant(batches), step % len(batches))
        return augment(tf.constant(images)[:count], labels[:count], settings, [7, step])
    return [
        tuple(part.numpy() for part in pair)
        for pair in tf.data.Dataset.from_tensor_slices(tf.constant(steps, tf.int64)).map(
            batch, tf.data.AUTOTUNE
        )
    ]


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
    forth, back = (
        in_pipeline(noise(16), settings, steps) for steps in ([0, 1, 2, 3], [3, 2, 1, 0])
    )
    assert all(same(a, b) for a, b in zip(forth, back[::-1], strict=True))


def test_keras_layers_still_depend_on_what_came_before():
    """If this fails, Keras's augmentation layers may depend on the step only, and replace ours."""
    layer, image = keras.layers.RandomErasing(seed=1), tf.constant(noise(8), tf.float32)
    steps = tf.data.Dataset.range(2).map(lambda step: layer(image, training=True))
    first, second = ([batch.numpy() for batch in steps] for _ in range(2))
    assert not same(first, second)


@pytest.mark.parametrize("channels", [1, 3])
@each_case
def test_shapes_types_and_ranges_hold_in_a_pipeline(settings, channels):
    extremes = noise(9, channels=channels) > 127  # values that easily leave the range
    images = np.where(extremes, 255, 0).astype("uint8")
    for (found, labels), count in zip(
        in_pipeline(images, settings, [0, 1], batches=(9, 1)), (9, 1), strict=True
    ):
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
    off = {
        name: False if value is True else 0
        for name, value in STRENGTHS.items()
        if name != "randaugment"
    }
    check(off)
    assert same(changed(images, off), (images, one_hot(4)))


@pytest.mark.parametrize("name, axis", [("flip", 2), ("flip_vertical", 1)])
def test_a_flip_mirrors_every_second_image(name, axis):
    images = noise(400)
    found, _ = changed(images, {name: True})
    mirrored = (found == np.flip(images, axis)).all(axis=(1, 2, 3))
    assert ((found == images).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert 0.4 < mirrored.mean() < 0.6


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape, reach", [((8, 12, 3), 4), ((7, 5, 1), 20), ((1, 6, 3), 3)])
def test_a_move_is_the_one_of_numpy(shape, reach, dtype):
    rng, height, width = np.random.default_rng(0), *shape[:2]
    images = rng.integers(0, 256, (40, *shape)).astype(dtype)
    across, down = rng.choice([-1.0, 1.0], (2, 40)).astype("float32")
    right, below = rng.integers(-reach, reach + 1, (2, 40)).astype("int32")
    moved = ops.move(tf.constant(images), across, right, down, below)
    assert moved.dtype == dtype
    for image, found, *flips, x, y in zip(images, moved.numpy(), down, across, below, right,
                                          strict=True):
        edges = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "symmetric")
        # What the flip does to the place of a crop, it does to the padding too.
        flipped = edges[:: int(flips[0]), :: int(flips[1])]
        top, left = (reach + (-step if flip < 0 else step) for step, flip in ((x, flips[0]),
                                                                             (y, flips[1])))
        assert np.array_equal(found, flipped[top : top + height, left : left + width])


def test_a_crop_moves_whole_pixels_within_the_padding():
    image = noise(1)
    found, _ = changed(
        np.repeat(image, 500, axis=0), {"crop": 2}, labels=np.ones((500, 1), "float32")
    )
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
    return (places @ images.reshape(len(images), -1).T / images.sum(axis=(1, 2, 3))).T - (
        images.shape[1] - 1
    ) / 2


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
    matrices = ops.matrices(
        2, math.cos(turn), -math.sin(turn), 0, math.sin(turn), math.cos(turn), 0
    )
    images = noise(2, 16, 16)
    found = ops.warp(tf.constant(images, tf.float32), matrices).numpy()
    # float32 puts the outermost places a hair outside, where black is mixed in
    assert np.allclose(found, np.rot90(images, quarters, axes=(1, 2)), atol=1e-2)


def test_zoom_scales_the_area():
    images = np.zeros((200, 40, 40, 1), "uint8")
    images[:, 12:28, 12:28] = 200
    sides = np.sqrt(changed(images, {"zoom": 0.25})[0].sum(axis=(1, 2, 3)) / images[0].sum())
    assert 0.74 < sides.min() < 0.77 and 1.23 < sides.max() < 1.26


def test_another_augmentation_leaves_the_draws_alone():
    images = noise(40)
    cropped, _ = changed(images, {"crop": 3})
    both, _ = changed(images, {"crop": 3, "flip": True})
    assert all(
        np.array_equal(b, c) or np.array_equal(b, c[:, ::-1])
        for b, c in zip(both, cropped, strict=True)
    )
    black = np.zeros((40, 16, 12, 3), "uint8")
    others = {
        name: value
        for name, value in STRENGTHS.items()
        if name not in MIXING
        and name not in ("erase", "randaugment", "trivial_augment", "pca_noise")
    }
    assert same(changed(black, {"erase": 0.5}), changed(black, others | {"erase": 0.5}))
    alone = changed(images, {"mixup": 1.0})[1]
    assert np.array_equal(
        alone,
        changed(images, others | {"mixup": 1.0, "erase": 1.0, "randaugment": {"n": 3, "m": 5}})[1],
    )


@pytest.mark.parametrize(
    "settings, words",
    [
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
        (
            {"randaugment": {"n": 2}},
            "randaugment must be {'n': operations, 'm': magnitude}. Received: {'n': 2}.",
        ),
        (
            {"randaugment": {"n": 0, "m": 9}},
            "n of randaugment must be a whole number from 1 to 14. Received: 0.",
        ),
        (
            {"randaugment": {"n": 2, "m": 11}},
            "m of randaugment must be a number from 0 to 10. Received: 11.",
        ),
        (
            {"randaugment": {"n": 2, "m": 9, "magnitude": 1}},
            "Unknown setting of randaugment 'magnitude'. Known: m, n.",
        ),
        (
            ["flip"],
            "augment must be a dictionary such as {'crop': 4, 'flip': True}. Received: ['flip'].",
        ),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(UsageError) as refusal:
        check(settings)
    assert str(refusal.value) == words


@pytest.mark.parametrize("name", ["saturation", "hue", "pca_noise"])
def test_colour_is_refused_for_grey_images(name):
    check({name: 0.1})
    with pytest.raises(UsageError, match=f"{name} needs 3 channels"):
        check({name: 0.1}, channels=1)
    check({name: 0}, channels=1)


@each_case
def test_what_is_tested_here_is_let_pass(settings):
    check(settings)
