"""From "name=value", as typed on the command line, to a checked value."""
import ast
import contextlib
import json
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from zoo import catalog
from zoo.errors import UsageError, unknown

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text",
          list: "a list", tuple: "numbers separated by commas",
          dict: """a dictionary such as {'shift': 2}"""}
SYNONYMS = {  # what other libraries call a field of a recipe or an argument of a builder
    "lr": "learning_rate", "rate": "learning_rate", "wd": "weight_decay", "decay": "weight_decay",
    "l2": "weight_decay", "bs": "batch_size", "opt": "optimizer", "optim": "optimizer",
    "scheduler": "schedule", "sched": "schedule", "lr_schedule": "schedule",
    "num_epochs": "epochs", "n_epochs": "epochs", "early_stopping": "patience",
    "smoothing": "label_smoothing", "grad_clip": "clip_norm", "clipnorm": "clip_norm",
    "grad_accum": "accumulation_steps", "fp16": "precision", "amp": "precision",
    "dtype": "precision", "augmentation": "augment", "transforms": "augment",
    "image_size": "input_shape", "img_size": "input_shape", "size": "input_shape",
    "shape": "input_shape", "num_classes": "classes", "n_classes": "classes",
    "freeze": "frozen", "random_state": "seed", "pretrained": "weights",
    "val_split": "validation_split", "max_len": "max_tokens", "maxlen": "max_tokens",
    "sequence_length": "max_tokens", "max_words": "vocabulary", "num_words": "vocabulary",
    "class_weight": "balance", "warmup_epochs": "warmup", "init": "initializer",
    "embedding_dim": "embedding", "drop": "dropout", "drop_rate": "dropout"}
_PER_CHANNEL = ("mean", "std")  # a number, or one per channel
_AS_TYPED = ("alphabet",)  # spaces at its ends are characters of it


def builder_args(model: str, settings: Iterable[str], also: Iterable[str] = ()) -> dict[str, Any]:
    """Return the builder arguments that "name=value" settings make, {argument: value}.

    Args:
        model: the name of a network, as for `zoo.build`.
        settings: "name=value" each; the type of the argument's default is that of the value.
        also: further names that the error for an unknown argument may suggest.

    Raises:
        zoo.errors.UsageError: if the builder does not have such an argument, or the value is of
            another type.
    """
    defaults = catalog.arguments(model)
    choices = [*defaults, "weights"]  # `zoo.build` accepts weights for every network
    args: dict[str, Any] = {}
    for name, value in map(split_setting, settings):
        if name not in choices:
            raise unknown(f"setting of {model}", name, [*choices, *also], SYNONYMS)
        default = defaults.get(name)
        kind = tuple if isinstance(default, tuple) else type(default)
        if name in _PER_CHANNEL and "," in value:
            kind = tuple
        if default and isinstance(default, tuple) and isinstance(default[0], str):
            args[name] = tuple(word.strip("()[]'\" ") for word in value.split(","))
        elif kind is float and value == "None":
            args[name] = None
        else:
            args[name] = convert(name, value, kind)
    return args


def split_setting(setting: str, option: str = "A setting") -> tuple[str, str]:
    """Return (name, value) of "name=value" without spaces around; the error names the `option`.

    The value of alphabet keeps its spaces.

    Raises:
        zoo.errors.UsageError: if there is no equals sign.
    """
    name, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"{option} must be name=value, such as batch_size=64. "
                         f"Received: {setting!r}.")
    name = name.strip()
    return name, value if name in _AS_TYPED else value.strip()


def convert(name: str, text: str, kind: type) -> Any:
    """Return `text` as a value of the type `kind`.

    A list is words separated by commas; other types are Python literals. A float may be a
    fraction, 1/255, and a dictionary may be JSON. NoneType accepts any literal, and a text that is
    not one as it stands.

    Raises:
        zoo.errors.UsageError: if `text` is of another type; the message names the argument `name`.
    """
    if kind is str:
        return text
    if kind is list:
        return [word.strip() for word in text.split(",") if word.strip()]
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    value: Any
    try:
        value = Fraction(text) if kind is float and "/" in text else ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, ZeroDivisionError, MemoryError, RecursionError):
        value = text
        if kind is dict:  # as in recipe.json: {"flip": true}
            with contextlib.suppress(ValueError):
                value = json.loads(text)
    if kind is float and type(value) in (int, Fraction):
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if kind is tuple and isinstance(value, int):
        value = (value,)
    if kind is not type(None) and type(value) is not kind:
        raise _wrong_type(name, kind, text)
    return value


def check_type(name: str, value: object, kind: type) -> None:
    """Raise UsageError if `value` is not of the type `kind`; an int is valid for float."""
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise _wrong_type(name, kind, value)


def _wrong_type(name: str, kind: type, value: object) -> UsageError:
    return UsageError(f"{name} must be {_WORDS.get(kind, kind.__name__)}. Received: {value!r}.")
