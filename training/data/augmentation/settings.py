"""Names and ranges of augmentations, checked before TensorFlow is imported, which takes seconds."""
from zoo.errors import UsageError, unknown

MIXING = {"mixup", "cutmix"}  # these change the labels too
_SWITCHES = ("flip", "flip_vertical", "trivial_augment")
_HIGHEST = {"shift": 1000, "rotate": 180, "zoom": 1, "crop": 1000, "brightness": 1, "contrast": 1,
            "saturation": 1, "hue": 0.5, "pca_noise": 1, "erase": 1, "mixup": 100, "cutmix": 100}
_RANDAUGMENT = {"n": (1, 14), "m": (0, 10)}
_COLOURED = ("saturation", "hue", "pca_noise")  # these need three channels
AUGMENTATIONS = (*_SWITCHES, *_HIGHEST, "randaugment")
# Of the original image; see `zoo.training.data.augmentation.crops`.
CROPS = ("random_resized_crop", "scale_jitter")


def check(settings: dict, channels: int = 3, side: int = 1) -> None:
    """Check the settings of `augment` and of `zoo.training.data.augmentation.crops`.

    Args:
        settings: the recipe's `augment`, {name: value}.
        channels: of the images, 1 or 3; saturation, hue and pca_noise need 3.
        side: the longer side of the network's input, in pixels, which scale_jitter must reach.

    Raises:
        zoo.errors.UsageError: if a name is unknown or a value invalid.
    """
    if not isinstance(settings, dict):
        raise UsageError("augment must be a dictionary such as {'crop': 4, 'flip': True}. "
                         f"Received: {settings!r}.")
    for name, value in settings.items():
        if name not in (*AUGMENTATIONS, *CROPS):
            raise unknown("augmentation", name, (*AUGMENTATIONS, *CROPS))
        if name in CROPS:
            check_crops(settings, side)
        elif name in _SWITCHES:
            if not isinstance(value, bool):
                raise UsageError(f"{name} must be true or false. Received: {value!r}.")
        elif name == "randaugment":
            _check_randaugment(value)
        else:
            _check_number(name, value, 0, _HIGHEST[name], whole=name == "crop")
        if channels == 1 and value and name in _COLOURED:
            raise UsageError(f"{name} needs 3 channels. Received: images of 1 channel; use "
                             "brightness and contrast.")


def _check_randaugment(value):
    if not isinstance(value, dict) or not _RANDAUGMENT.keys() <= value.keys():
        raise UsageError("randaugment must be {'n': operations, 'm': magnitude}. "
                         f"Received: {value!r}.")
    for name, number in value.items():
        if name not in _RANDAUGMENT:
            raise unknown("setting of randaugment", name, _RANDAUGMENT)
        _check_number(f"{name} of randaugment", number, *_RANDAUGMENT[name], whole=name == "n")


def _check_number(name, value, low, high, whole):
    kinds, words = ((int,), "whole number") if whole else ((int, float), "number")
    if type(value) not in kinds or not low <= value <= high:
        raise UsageError(f"{name} must be a {words} from {low} to {high}. Received: {value!r}.")


def needs_original(settings: dict) -> bool:
    """Return whether the settings of `augment` have a crop of the original image."""
    return any(settings.get(name) for name in CROPS)


def check_crops(settings: dict, side: int = 1) -> None:
    """Check the crops of the original image among the settings of `augment`.

    Args:
        settings: a dict of settings by name; others are not checked.
        side: the longer side of the network's input, in pixels.

    Raises:
        zoo.errors.UsageError: if a value is invalid, or there are two crops.
    """
    share = settings.get("random_resized_crop", 0)
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise UsageError("random_resized_crop must be the smallest share of the image's area, a "
                         f"number from 0 to 1, such as 0.08. Received: {share!r}.")
    jitter = settings.get("scale_jitter")
    if not jitter and jitter in (None, 0):
        return
    if (not isinstance(jitter, (list, tuple)) or [type(each) for each in jitter] != [int, int]
            or not 1 <= jitter[0] <= jitter[1]):
        raise UsageError("scale_jitter must be [lowest, highest], whole numbers of pixels of the "
                         f"shorter side, such as [256, 480]. Received: {jitter!r}.")
    if share:
        raise UsageError("random_resized_crop and scale_jitter are two ways to crop the original "
                         "image. Choose one; 0 turns the other one off.")
    if jitter[0] < side:
        raise UsageError(f"scale_jitter must be at least the network's size, {side} pixels here. "
                         f"Received: {list(jitter)}.")
