"""What an accuracy on a few examples can tell, and when images are few to train on."""
FEW = 100  # examples of a split below which an accuracy is known to no better than 6 percent points

FEW_IMAGES = 1000  # for training from random weights


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of an accuracy, `right` of `count` examples.

    It holds for few examples too, and where none or all are right (Wilson 1927).
    """
    from scipy.stats import binomtest  # takes a second
    interval = binomtest(right, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def few_examples(split: str, count: int) -> str | None:
    """Return a line on a split too small to measure an accuracy by; None if it is large enough."""
    if not 0 < count < FEW:
        return None
    right = round(0.9 * count)
    low, high = wilson_interval(right, count)
    return (f"the {split} split has {count} examples: {right} right ones would mean an accuracy of "
            f"{low:.0%} to {high:.0%} (95 % interval)")


def few_images(count: int) -> str | None:
    """Return a line if `count` images are few to train random weights on; None if they are not."""
    if not 0 < count < FEW_IMAGES:
        return None
    return f"{count} training images are few for random weights"
