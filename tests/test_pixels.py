"""Arrays of images are numbers from 0 to 255 of any dtype, or are refused, on every road."""
import re

import numpy as np
import pytest

from tests.test_data_sources import tfds_set
from zoo.errors import UserError
from zoo.training import doctor
from zoo.training.data.dataset import load_data
from zoo.training.prediction import predict
from zoo.training.preprocessing.pixels import pixel_fault, to_uint8

LEVELS = np.arange(240).reshape(20, 4, 3, 1)  # 20 images
REFUSED = {
    "0 to 1": (LEVELS / 255, "values from 0 to 0.937255, expected 0 to 255: multiply them by 255"),
    "sharpened": (LEVELS / 224, "values from 0 to 1.06696, expected 0 to 255: multiply"),
    "booleans": (LEVELS > 99, "values from 0 to 1, expected 0 to 255: multiply them by 255"),
    "a mask": ((LEVELS > 99).astype("uint8"), "values from 0 to 1, expected 0 to 255: multiply"),
    "-1 to 1": (LEVELS / 120 - 1, r"expected 0 to 255: compute (x + 1) * 127.5"),
    "standardized": ((LEVELS - 120) / 60, "values from -2 to 1.98333, expected 0 to 255: undo"),
    "negative": ((LEVELS - 100).astype("int16"), "values from -100 to 139, expected 0 to 255"),
    "16 bits": ((LEVELS * 257).astype("uint16"), "values from 0 to 61423, expected 0 to 255: "
                "divide 16-bit values by 257"),
    "12 bits": ((LEVELS * 16).astype("int32"), "values from 0 to 3824, expected 0 to 255"),
    "not a number": (np.where(LEVELS == 7, np.nan, LEVELS), "values that are not finite"),
    "infinite": (np.where(LEVELS == 7, np.inf, LEVELS).astype("float16"), "that are not finite"),
}
PIXELS = ("uint8", "int16", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_0_to_255_is_refused_alike(tmp_path, name):
    images, words = REFUSED[name]
    assert words in pixel_fault(images)[1]
    data = str(tmp_path / "set.npz")
    np.savez(data, images=images, labels=np.arange(20) % 2)
    with pytest.raises(UserError, match="images in .*" + re.escape(words)):
        load_data(data)
    assert any(f.severity == "error" and words in f.message for f in doctor.examine(data))


@pytest.mark.parametrize("dtype", PIXELS)
def test_0_to_255_is_read_from_every_dtype(tmp_path, dtype):
    assert pixel_fault(LEVELS.astype(dtype)) is None
    data = str(tmp_path / "set.npz")
    np.savez(data, x_train=LEVELS.astype(dtype), y_train=np.arange(20) % 2,
             x_test=np.zeros_like(LEVELS, dtype), y_test=np.arange(20) % 2)
    dataset = load_data(data, validation_split=0)
    assert np.array_equal(dataset.train.examples, LEVELS.astype("uint8"))
    assert not dataset.test.examples.any()  # black images


def test_fractions_are_rounded():
    assert to_uint8(np.array([0.49, 1.51, 254.6])).tolist() == [0, 2, 255]
    assert pixel_fault(np.zeros(0)) is None and pixel_fault(np.array([255.2]))[0] == "out of range"


@pytest.mark.parametrize("values, words", [
    (LEVELS.astype("float32"), None), (LEVELS.astype("uint16"), None),
    *(REFUSED[name] for name in ("0 to 1", "16 bits", "negative"))])
def test_images_of_tensorflow_datasets_that_are_not_uint8(tmp_path, values, words):
    tfds = pytest.importorskip("tensorflow_datasets")
    values = values.astype("float32" if values.dtype == "float64" else values.dtype)
    kind = tfds.features.Tensor(shape=values.shape[1:], dtype=values.dtype)
    labels = np.arange(20) % 2
    tfds_set(tmp_path, {"image": kind, "label": tfds.features.ClassLabel(names=["a", "b"])},
             train={"image": LEVELS.astype(values.dtype), "label": labels},
             test={"image": values, "label": labels})
    if words is None:
        dataset = load_data("made", validation_split=0, data_dir=tmp_path)
        assert np.array_equal(dataset.test.examples, LEVELS.astype("uint8"))
        return
    with pytest.raises(UserError, match="made, images of the split test: " + re.escape(words)):
        load_data("made", data_dir=tmp_path)
    (error,) = doctor.examine("made", tmp_path)
    assert error.severity == "error" and f"test: {words}" in error.message


def test_arrays_are_no_files_to_predict(finished_run):
    with pytest.raises(UserError, match="Expected paths of files. Received: ndarray"):
        predict(finished_run, LEVELS)
