"""The embedded data set "digits"."""
import numpy as np
from sklearn.datasets import load_digits

from zoo.training.data.cache import ImageArrays


class Digits(ImageArrays):
    """1,797 scans of handwritten digits, 8x8 pixels with 17 grey levels.

    E. Alpaydin and C. Kaynak 1998, UCI machine learning repository; CC BY 4.0.
    """

    def __init__(self):
        scans = load_digits()
        images = np.round(scans.images * (255 / 16)).astype("uint8")[..., None]
        labels = scans.target.astype("int32")
        super().__init__(images, labels, "digits", [str(n) for n in range(10)])
