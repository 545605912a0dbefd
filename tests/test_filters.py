"""The classical kernels against scipy's correlations."""
import keras
import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_sample_image

from zoo.errors import UsageError
from zoo.filters import KERNELS, filters


@pytest.mark.parametrize("name", KERNELS)
def test_filters_are_the_correlations_of_scipy_on_a_photograph(name):
    photo = load_sample_image("flower.jpg")[100:260, 200:400]
    got = filters(photo.shape, kernels=[name])(photo[None])[name][0]
    for channel in range(3):
        expected = ndimage.correlate(photo[..., channel].astype("float64"), KERNELS[name],
                                     mode="constant")
        np.testing.assert_allclose(got[..., channel], expected, atol=1e-3)


def test_filters_are_fixed_and_keep_brightness():
    sums = {name: float(kernel.sum()) for name, kernel in KERNELS.items()}
    derivatives = dict.fromkeys(("laplacian", "sobel_x", "sobel_y"), 0.0)
    assert sums == pytest.approx({**dict.fromkeys(KERNELS, 1.0), **derivatives})
    model = filters()
    assert not model.trainable_weights
    assert set(model.output) == {"sharpen", "box_blur", "gaussian_blur"}
    photo = load_sample_image("flower.jpg")[None, 100:260, 200:400]
    images = {name: keras.ops.convert_to_numpy(image)[:, 1:-1, 1:-1]
              for name, image in model(photo).items()}
    assert images["sharpen"].max() > 255 and images["sharpen"].min() < 0
    assert images["box_blur"].std() < images["gaussian_blur"].std() < photo.std()
    assert photo.std() < images["sharpen"].std()


def test_filters_survive_saving(tmp_path):
    model = filters((8, 8, 3))
    model.save(tmp_path / "filters.keras")
    photo = load_sample_image("china.jpg")[None, :8, :8]
    again = keras.models.load_model(tmp_path / "filters.keras")(photo)
    np.testing.assert_array_equal(again["sharpen"], model(photo)["sharpen"])


def test_unknown_kernel_names_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'gaussian_blur'"):
        filters(kernels=["gaussian"])
