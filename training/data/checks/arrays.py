"""What is wrong with images and labels in arrays: their values, and what is wrong with any data set."""
import collections

import numpy as np

from zoo.training.data.checks.labels import Finding, class_findings, digest, errors_first, repeated
from zoo.training.data.sources import MOST_CLASSES

_IMAGE_SHAPES = "(n, height, width) or (n, height, width, 1 or 3), n from 1 up"


def examine_arrays(parts):
    """Look into arrays of images and labels.

    Args:
        parts: {split: (images, labels)}; split is "train", "validation", "test", or None where there are no parts. Images
            should be of shape (n, height, width) or (n, height, width, 1 or 3), in [0, 255]; labels integers from 0, (n,).

    Returns:
        A list of `Finding`, errors first; its files are places in the arrays, such as "train[7]".
    """
    found, named, same, top = [], [], collections.defaultdict(list), -1
    for split, (images, labels) in parts.items():
        name = split or "images"
        errors = [Finding(kind, "error", f"{name}: {words}", tuple(f"{name}[{i}]" for i in places))
                  for kind, words, places in (_wrong_labels(images, labels), _wrong_images(images)) if kind]
        found += errors
        if any(error.kind in ("wrong labels", "wrong shape") for error in errors):
            continue
        top = max(top, int(labels.max()) if labels.size else -1)
        for i, (image, label) in enumerate(zip(images, labels.ravel(), strict=True)):
            named.append((f"{name}[{i}]", str(label), split))
            same[digest(np.ascontiguousarray(image))].append(named[-1])
    return errors_first([*found, *repeated(same, "image"), *class_findings(named, [str(n) for n in range(top + 1)])])


def _wrong_labels(images, labels):
    if labels.shape not in ((len(images),), (len(images), 1)) or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        return "wrong labels", f"expected {len(images)} whole numbers from 0 up, received {labels.dtype} {labels.shape}", ()
    if labels.max(initial=0) >= MOST_CLASSES:
        return "wrong labels", f"expected labels below {MOST_CLASSES:,}, received {labels.max():,}", ()
    return None, "", ()


def _wrong_images(images):
    """(kind, words, places of the images concerned) of the first thing that is wrong; kind is None if nothing is."""
    numbers, sizes = images.dtype.kind in "buif", images.ndim in (3, 4) and images.shape[3:] in ((), (1,), (3,))
    if not (numbers and sizes and len(images)):
        return "wrong shape", f"expected numbers of shape {_IMAGE_SHAPES}, received {images.dtype} {images.shape}", ()
    low, high = images.min(initial=0), images.max(initial=0)
    if not np.isfinite([low, high]).all():
        places = [i for i, image in enumerate(images) if not np.isfinite(image).all()]
        return "not finite", f"values that are no finite numbers; such as [{places[0]}]", places
    if low < 0 or high > 255:
        places = [i for i, image in enumerate(images) if image.min() < 0 or image.max() > 255]
        return "out of range", f"values from {low:g} to {high:g}, expected 0 to 255; such as [{places[0]}]", places
    if 0 < high <= 1:
        return "scaled values", f"values from {low:g} to {high:g}, expected 0 to 255: multiply them by 255", range(len(images))
    return None, "", ()
