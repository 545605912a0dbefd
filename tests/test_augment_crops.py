"""Random crops of original images, against an independent computation in NumPy and Pillow."""
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images

from zoo.errors import UsageError
from zoo.training.data.augmentation.crops import crop_box, training_view
from zoo.training.data.augmentation.settings import check, needs_original
from zoo.training.preprocessing.images import fit_one, fit_to
from zoo.training.recipe import Recipe

RESIZED, JITTERED = {"random_resized_crop": 0.08}, {"scale_jitter": [256, 480]}
DRAWS = 1500


def boxes(height, width, settings, shape=(224, 224, 3), count=DRAWS):
    """Return `count` boxes, one for each position in a batch."""
    positions = tf.data.Dataset.range(count).map(
        lambda position: crop_box(height, width, shape, settings, [3, 7, position]))
    return next(iter(positions.batch(count))).numpy()


def reference(height, width, generator, share=0.08):
    """A random resized crop as papers and their programs describe it, in plain Python."""
    for _ in range(10):
        area = generator.uniform(share, 1) * height * width
        aspect = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            return (generator.integers(0, height - tall + 1),
                    generator.integers(0, width - wide + 1), tall, wide)
    if width / height < 3 / 4:
        wide, tall = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        wide, tall = round(height * 4 / 3), height
    else:
        wide, tall = width, height
    return (height - tall) // 2, (width - wide) // 2, tall, wide


@pytest.mark.parametrize("height, width", [(375, 500), (500, 375), (256, 256), (90, 230), (40, 31)])
def test_random_resized_crops_are_distributed_as_the_reference(height, width):
    found = boxes(height, width, RESIZED)
    generator = np.random.default_rng(1)
    expected = np.array([reference(height, width, generator) for _ in range(DRAWS)])
    top, left, tall, wide = found.T
    assert (found[:, :2] >= 0).all() and (found[:, 2:] >= 1).all()
    assert (top + tall <= height).all() and (left + wide <= width).all()
    for values in (lambda box: box[:, 2] * box[:, 3], lambda box: box[:, 3] / box[:, 2],
                   lambda box: box[:, 0] / (height - box[:, 2] + 1),
                   lambda box: box[:, 1] / (width - box[:, 3] + 1)):
        assert stats.ks_2samp(values(found), values(expected)).pvalue > 1e-3
    shares, aspects = tall * wide / (height * width), wide / tall
    assert 0.07 < shares.min() < 0.1 and aspects.min() > 0.68 and aspects.max() < 1.47


@pytest.mark.parametrize("height, width", [(10, 100), (101, 10), (1, 1), (1, 2000), (3, 2)])
def test_an_image_that_no_draw_fits_shows_its_centre(height, width):
    found = boxes(height, width, {"random_resized_crop": 1.0}, count=200)
    central = reference(height, width, np.random.default_rng(0), share=1)
    assert ((found >= 0).all() and (found[:, 2:] >= 1).all()
            and (found[:, :2] + found[:, 2:] <= (height, width)).all())
    if height * width > 6:  # the whole area never has an aspect within 3/4 to 4/3
        assert (found == central).all()


def test_all_of_a_square_fits_if_all_is_asked():
    """Half of the draws of one try are wider than high, so that only a square itself fits."""
    found = boxes(64, 64, {"random_resized_crop": 1.0}, count=50)
    assert (found[:, 2:].prod(axis=1) >= 0.95 * 64 * 64).all()


@pytest.mark.parametrize("height, width", [(375, 500), (800, 600), (120, 90)])
@pytest.mark.parametrize("shape", [(224, 224, 3), (160, 224, 3)])
def test_scale_jitter_draws_the_shorter_side_and_the_place(height, width, shape):
    found = boxes(height, width, JITTERED, shape)
    top, left, tall, wide = found.T
    assert (found >= 0).all() and (top + tall <= height).all() and (left + wide <= width).all()
    sides = min(height, width) * shape[1] / wide  # up to half a pixel of the box
    generator = np.random.default_rng(2)
    expected = generator.integers(256, 481, DRAWS)
    assert 250 < sides.min() < 262 and 465 < sides.max() < 485
    rounded = np.round(shape[1] * min(height, width) / expected)
    assert stats.ks_2samp(wide, rounded).pvalue > 1e-3
    assert np.abs(tall / wide - shape[0] / shape[1]).max() < 1 / wide.min()
    for place, free in ((top, height - tall), (left, width - wide)):
        assert stats.kstest((place + generator.uniform(size=DRAWS)) / (free + 1),
                            "uniform").pvalue > 1e-3


@pytest.mark.parametrize("size", [(375, 500), (61, 40), (1, 300), (300, 1), (48, 80), (5, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_image_is_resized_as_a_batch_of_one(size, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), "uint8")
    image = tf.constant(pixels)
    for shape in ((48, 80, channels), (224, 224, 3), (7, 3, 1)):
        expected = tf.image.resize(image, shape[:2], antialias=True)  # of TensorFlow alone
        one = tf.function(lambda image, shape=shape: fit_one(image, shape), input_signature=[
            tf.TensorSpec((None, None, channels), tf.uint8)])(image)
        assert np.array_equal(one, fit_to(image[None], shape)[0])
        if shape[2] == channels:
            assert np.array_equal(one, np.round(expected))


def test_one_scale_is_that_scale():
    """As Krizhevsky et al. 2012: 256 pixels and crops of the network's size."""
    found = boxes(512, 700, {"scale_jitter": [256, 256]}, (227, 227, 3))
    assert (found[:, 2:] == 454).all()


@pytest.mark.parametrize("settings", [RESIZED, JITTERED], ids=["resized", "jittered"])
@pytest.mark.parametrize("shape", [(64, 64, 3), (48, 80, 1)])
def test_pixels_are_pillows(settings, shape):
    settings = {name: value if name == "random_resized_crop" else [80, 150]
                for name, value in settings.items()}
    different = total = 0
    for photo in load_sample_images().images:
        for position in range(6):
            seed = tf.constant([5, position * 11, position], tf.int64)
            view = training_view(tf.constant(photo), shape, settings, seed)
            assert view.dtype == tf.uint8 and view.shape == shape
            box = crop_box(*photo.shape[:2], shape, settings, seed).numpy()
            top, left, tall, wide = map(int, box)
            part = photo[top:top + tall, left:left + wide].astype("float32")
            if shape[2] == 1:
                part = part @ np.array((0.2989, 0.587, 0.114), "float32")[:, None]
            expected = np.stack([np.asarray(Image.fromarray(part[..., channel]).resize(
                shape[1::-1], Image.Resampling.BILINEAR)) for channel in range(shape[2])], -1)
            difference = np.abs(view.numpy().astype(int) - np.round(expected).astype(int))
            assert difference.max() <= 1
            different, total = different + np.count_nonzero(difference), total + difference.size
    assert different <= 0.002 * total


@pytest.mark.parametrize("settings", [RESIZED, JITTERED], ids=["resized", "jittered"])
def test_seed_step_and_position_alone_decide(settings):
    photo, shape = tf.constant(load_sample_images().images[0]), (32, 32, 3)
    def views(seeds):
        mapped = tf.data.Dataset.from_tensor_slices(tf.constant(seeds, tf.int64)).map(
            lambda seed: training_view(photo, shape, settings, seed), tf.data.AUTOTUNE)
        return [view.numpy() for view in mapped]
    seeds = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]
    once, again = views(seeds), views(seeds[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert len({view.tobytes() for view in once}) == 4
    settings = {"random_resized_crop": 0.08} if settings is RESIZED else {"scale_jitter": [40, 60]}
    alone = training_view(photo, shape, settings, tf.constant([0, 1, 0], tf.int64))
    jpeg = tf.io.decode_jpeg(tf.io.encode_jpeg(photo, quality=100), dct_method="INTEGER_ACCURATE")
    assert not np.array_equal(alone, training_view(jpeg, shape, settings, [0, 1, 0]))


@pytest.mark.parametrize("chroma", [True, False])
def test_a_jpeg_decoded_within_the_box_gives_the_same_pixels(chroma):
    """If the two outermost columns are cut off, which TensorFlow decodes otherwise."""
    for photo in load_sample_images().images:
        data = tf.io.encode_jpeg(photo, quality=90, chroma_downsampling=chroma)
        whole = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()
        height, width = photo.shape[:2]
        for top, left, tall, wide in boxes(height, width, RESIZED, count=40):
            first, last = max(left - 2, 0), min(left + wide + 2, width)
            part = tf.io.decode_and_crop_jpeg(data, [top, first, tall, last - first],
                                              dct_method="INTEGER_ACCURATE").numpy()
            assert np.array_equal(part[:, left - first:left - first + wide],
                                  whole[top:top + tall, left:left + wide])


def test_only_these_crops_need_the_original():
    assert needs_original(RESIZED) and needs_original({"flip": True, **JITTERED})
    assert not needs_original({"crop": 4, "random_resized_crop": 0, "scale_jitter": 0})


@pytest.mark.parametrize("settings, words", [
    ({"random_resized_crop": 1.5}, "a number from 0 to 1, such as 0.08. Received: 1.5."),
    ({"random_resized_crop": True}, "a number from 0 to 1, such as 0.08. Received: True."),
    ({"random_resized_crop": [0.08, 1]}, r"Received: \[0.08, 1\]."),
    ({"random_resized_crop": float("nan")}, "Received: nan."),
    ({"scale_jitter": 256}, r"must be \[lowest, highest\], .*\[256, 480\]. Received: 256."),
    ({"scale_jitter": [480, 256]}, r"Received: \[480, 256\]."),
    ({"scale_jitter": [256.0, 480]}, r"Received: \[256.0, 480\]."),
    ({"scale_jitter": [0, 480]}, r"Received: \[0, 480\]."),
    ({"scale_jitter": []}, r"Received: \[\]."),
    ({"scale_jitter": [200, 480]}, "must be at least the network's size, 224 pixels here"),
    ({**RESIZED, **JITTERED}, "two ways to crop the original image. Choose one"),
    ({"random_resize_crop": 0.08}, "Did you mean 'random_resized_crop'?"),
])
def test_a_wrong_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        check(settings, side=224)


def test_settings_come_back_from_a_recipe_file():
    recipe = Recipe("a", "resnet18", "digits", augment={**JITTERED, "random_resized_crop": 0})
    check(json.loads(recipe.to_json())["augment"], side=224)
    check({"scale_jitter": (256, 256)}, side=224)
