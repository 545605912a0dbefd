"""Erasing, mixup and cutmix on simple images and their labels."""
import numpy as np
import pytest
import tensorflow as tf

from tests.test_augment import changed, same
from zoo.training.data.augmentation import image_ops as ops


@pytest.mark.parametrize("height, width", [(64, 64), (48, 96)])
def test_erasing_takes_rectangles_of_the_papers_areas_and_aspects(height, width):
    found, _ = changed(np.full((300, height, width, 3), 128, "uint8"), {"erase": 0.5})
    gone = (found != 128).any(axis=3)
    erased = gone[gone.any(axis=(1, 2))]
    assert 0.4 < len(erased) / 300 < 0.6
    tall, wide = (erased.any(axis=axis).sum(axis=1) for axis in (2, 1))
    assert (erased.sum(axis=(1, 2)) == tall * wide).all(), "not a full rectangle"
    rounding = np.array([[[-0.5]], [[0.5]]])
    sides = np.array([tall, wide]) + rounding
    (low, high), area = sides, height * width
    assert (high[0] * high[1] >= 0.02 * area).all() and (low[0] * low[1] <= 0.4 * area).all()
    assert (high[0] / low[1] >= 0.3).all() and (low[0] / high[1] <= 1 / 0.3).all()
    shares = tall * wide / area
    assert (
        shares.min() < 0.06
        and shares.max() > 0.35
        and shares.mean() == pytest.approx(0.21, abs=0.03)
    )
    aspects = tall / wide
    assert aspects.min() < 0.6 and aspects.max() > 2
    assert (
        gone[:, 0].any() and gone[:, -1].any() and gone[:, :, 0].any() and gone[:, :, -1].any()
    ), "an edge is never reached"


def test_erased_pixels_are_noise_over_the_whole_range():
    found, _ = changed(np.full((100, 16, 16, 3), 128, "uint8"), {"erase": 1.0})
    assert np.histogram(found[found != 128], 8, (0, 255), density=True)[0] * 255 == pytest.approx(
        1, abs=0.1
    )


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
    shares = tf.map_fn(
        lambda seed: ops.beta(seed, "mixup", alpha), seeds, fn_output_signature=tf.float32
    ).numpy()
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
        for image, label, box, share in zip(
            found[mixed, ..., 0], labels[mixed], pasted[mixed], kept, strict=True
        ):
            other, = set(image[box])
            assert label[int(other) // 8] == np.float32(1) - share
            assert np.count_nonzero(label) == 1 + (share > 0)
            assert box.sum() == box.any(axis=1).sum() * box.any(axis=0).sum(), (
                "not a full rectangle"
            )
        areas.append(pasted[mixed].mean() if mixed.any() else 0)
    assert min(areas) < 0.05 and max(areas) > 0.5


def test_mixup_and_cutmix_take_turns_with_their_own_draws():
    images, _ = flat(12)
    both, mixup, cutmix = (
        [changed(images, {name: 1.0 for name in names}, step) for step in range(60)]
        for names in (("mixup", "cutmix"), ("mixup",), ("cutmix",))
    )
    like_mixup = [same(a, b) for a, b in zip(both, mixup, strict=True)]
    like_cutmix = [same(a, b) for a, b in zip(both, cutmix, strict=True)]
    assert (
        all(a != b for a, b in zip(like_mixup, like_cutmix, strict=True))
        and 18 < sum(like_mixup) < 42
    )
