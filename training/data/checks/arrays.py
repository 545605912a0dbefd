"""What is wrong with images and labels in arrays."""
import collections

import numpy as np

from zoo.training.data.checks.labels import Finding, class_findings, digest, errors_first, repeated
from zoo.training.preprocessing.pixels import pixel_fault

MOST_CLASSES = 1_000_000  # a larger label is not a class but an identifier or a mark
_IMAGE_SHAPES = "(n, height, width) or (n, height, width, 1 or 3), n at least 1"


def examine_arrays(splits: dict) -> list[Finding]:
    """Examine arrays of images and labels.

    Args:
        splits: {split: (images, labels)}; split is "train", "validation" or "test", or None where
            the data set comes undivided. Images should be of shape (n, height, width) or (n,
            height, width, 1 or 3), in [0, 255]; labels integers from 0 up, of shape (n,).

    Returns:
        A list of `Finding`, errors first; its files are indices, such as "train[7]".
    """
    findings, named, same, top = [], [], collections.defaultdict(list), -1
    for split, (images, labels) in splits.items():
        name = split or "images"
        errors = [Finding(kind, "error", f"{name}: {words}", tuple(f"{name}[{i}]" for i in indices))
                  for kind, words, indices in (_wrong_labels(images, labels), _wrong_images(images))
                  if kind]
        findings += errors
        if any(error.kind in ("wrong labels", "wrong shape") for error in errors):
            continue
        top = max(top, int(labels.max()) if labels.size else -1)
        for i, (image, label) in enumerate(zip(images, labels.ravel(), strict=True)):
            named.append((f"{name}[{i}]", str(label), split))
            same[digest(np.ascontiguousarray(image))].append(named[-1])
    classes = [str(n) for n in range(top + 1)]
    return errors_first([*findings, *repeated(same, "image"), *class_findings(named, classes)])


def _wrong_labels(images, labels):
    count = images.shape[0] if images.ndim else 0
    if (labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iu"
            or labels.min(initial=0) < 0):
        return "wrong labels", (f"expected {count} integers from 0 up, received "
                                f"{labels.dtype} {labels.shape}"), ()
    if labels.max(initial=0) >= MOST_CLASSES:
        return "wrong labels", (f"expected labels below {MOST_CLASSES:,}, received "
                                f"{labels.max():,}"), ()
    return None, "", ()


def _wrong_images(images):
    """(kind, words, indices of the images) of the first problem; kind is None if there is none."""
    numbers = images.dtype.kind in "buif"
    shaped = images.ndim in (3, 4) and images.shape[3:] in ((), (1,), (3,))
    if not (numbers and shaped and len(images)):
        return "wrong shape", (f"expected numbers of shape {_IMAGE_SHAPES}, received "
                               f"{images.dtype} {images.shape}"), ()
    fault = pixel_fault(images)
    if fault is None:
        return None, "", ()
    kind, words = fault
    if kind == "scaled values":
        return kind, words, range(len(images))
    indices = [i for i, image in enumerate(images) if _at_fault(image)]
    return kind, f"{words}; such as [{indices[0]}]", indices


def _at_fault(image):
    return not (image.min() >= 0 and image.max() <= 255)  # so is NaN
