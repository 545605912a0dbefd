"""From "name=value", as it is typed, to a checked value."""
import ast
import inspect
from fractions import Fraction

from zoo.errors import UsageError, unknown
from zoo.registry import spec

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list",
          dict: """a dictionary such as {'shift': 2}""", tuple: "numbers separated by commas"}
_PER_CHANNEL = ("mean", "std")  # a number, or one for each channel


def builder_args(model, settings, also=()):
    """Return {argument: value} of "name=value" settings, checked against the builder of `model`.

    Raises:
        zoo.errors.UsageError: if the builder has no such argument (`also` are further names to suggest).
    """
    found, args = spec(model), {}
    known = {**inspect.signature(found.builder).parameters, "weights": None}  # `zoo.build` takes weights for all
    for name, value in map(split_setting, settings):
        if name not in known:
            raise unknown(f"setting of {model}", name, [*known, *also])
        default = found.defaults.get(name)
        kind = tuple if isinstance(default, tuple) or (name in _PER_CHANNEL and "," in value) else type(default)
        if default and kind is tuple and isinstance(default[0], str):
            args[name] = tuple(part.strip("()[]'\" ") for part in value.split(","))
        else:
            args[name] = None if kind is float and value == "None" else convert(name, value, kind)
    return args


def split_setting(setting, option="--set"):
    """Return (name, value) of "name=value", as the command line's `option` takes it."""
    name, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"{option} takes name=value, such as batch_size=64. Received: {setting!r}.")
    return name.strip(), value.strip()


def convert(name, text, kind):
    """Return `text` as a value of the type `kind`; a list is words separated by commas, the rest Python literals."""
    if kind is str:
        return text
    if kind is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = Fraction(text) if kind is float and "/" in text else ast.literal_eval(text)  # std=1/255
    except (ValueError, TypeError, SyntaxError, ZeroDivisionError, MemoryError, RecursionError):
        value = text
    if kind is float and type(value) in (int, Fraction):
        value = float(value)
    if kind is tuple and isinstance(value, (list, int)):
        value = tuple(value) if isinstance(value, list) else (value,)
    if kind is not type(None) and type(value) is not kind:
        raise _of_another_type(name, kind, text)
    return value


def check_type(name, value, kind):
    """Raise UsageError if `value` is not of the type `kind`; a whole number is a float, too."""
    if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool) and kind is not bool:
        raise _of_another_type(name, kind, value)


def _of_another_type(name, kind, received):
    return UsageError(f"{name} must be {_WORDS.get(kind, kind.__name__)}. Received: {received!r}.")
