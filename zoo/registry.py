"""The zoo's index: every network under the name its literature gives it.

A builder registers itself with `@register`, stacked once per variant, and `build` merges the variant's options with the
caller's. A builder of the user's own registers with the same decorator; the name `package.module:model` imports
`package.module` first, so that every command reaches it without further wiring.
"""
import dataclasses
import fnmatch
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from zoo.errors import UsageError, UserError, unknown

ARCHITECTURES = ("lenet", "mlp", "convnets", "alexnet", "vgg", "inception", "inception_v3", "inception_v4", "resnet",
                 "resnet_cifar", "densenet", "mobilenet", "mobilenet_v2", "textcnn")

_specs = {}


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the zoo knows of one name.

    builder: the function; options: the arguments that make the variant; params: its published weight count, or None.
    source: where the network was published, if not where the `PAPER` line of the builder's module says.
    """

    name: str
    builder: Callable
    options: Mapping
    params: int | None
    source: str | None = None

    @property
    def defaults(self):
        """All arguments that `build(name)` calls the builder with, as a dict."""
        signature = inspect.signature(self.builder).parameters.values()
        given = {p.name: p.default for p in signature if p.default is not p.empty}
        return {**given, **self.options}

    @property
    def paper(self):
        """Where the network was published: `source`, the `PAPER` line of the builder's module, or an empty string."""
        return self.source or getattr(sys.modules[self.builder.__module__], "PAPER", "")

    def build(self, overrides):
        """Return the network with the arguments `overrides`, a dict, in place of the variant's own.

        Raises:
            zoo.errors.UsageError: if an argument has a value that it cannot have, or the builder returns no network.
            TypeError: if one is not an argument of the builder. A builder of your own raises what it raises: its traceback
                finds the fault.
        """
        given = self._bound(overrides)
        try:
            model = self.builder(*given.args, **given.kwargs)
        except UserError:
            raise
        except Exception as error:  # Keras's or its backend's, of a value that no layer can have
            if not _ours(self.builder):
                raise
            raise UsageError(f"{self.name} cannot be built with {overrides}: {' '.join(str(error).split())}") from error
        if not hasattr(model, "layers"):
            raise UsageError(f"Expected a keras.Model from the builder of {self.name}. Received: {model!r}.")
        return model

    def _bound(self, overrides):
        signature = inspect.signature(self.builder)
        try:
            return signature.bind(**{**self.options, **overrides})
        except TypeError:
            odd = sorted(overrides.keys() - signature.parameters)
            if not odd:
                raise
            raise TypeError(str(unknown(f"argument of {self.name}:", odd[0], [*signature.parameters, "weights"]))) from None


def register(name, *, params=None, source=None, **options):
    """Register the decorated builder under `name`.

    Args:
        name: the name of the variant, unique in the zoo.
        params: the weight count its source publishes (trainable and not), at the variant's defaults; tests hold the
            builder to it.
        source: where the network was published, as "Kim 2014"; by default what `PAPER` in the builder's module says.
        **options: keyword arguments of the builder that make this variant.

    Raises:
        zoo.errors.UsageError: if `name` is taken by another builder.
        TypeError: if an option is not an argument of the builder.
    """
    def decorate(builder):
        if not _ours(builder):
            _import_ours()  # else the name could be taken from one of the zoo's
        taken = _specs.get(name)
        if taken and (taken.builder.__module__, taken.builder.__qualname__) != (builder.__module__, builder.__qualname__):
            raise UsageError(f"Model {name!r} is already registered by {taken.builder.__module__}. Choose another name.")
        inspect.signature(builder).bind_partial(**options)
        _specs[name] = Spec(name, builder, MappingProxyType(options), params, source)
        return builder
    return decorate


def _ours(builder):
    return builder.__module__.partition(".")[0] == "zoo"


def _import_ours():
    for architecture in ARCHITECTURES:
        importlib.import_module(f"zoo.{architecture}")


def spec(name):
    """Return the `Spec` of `name`, which may be `package.module:model` for a builder of your own.

    Raises:
        zoo.errors.UsageError: if no such model is registered; the nearest name is given.
    """
    module, _, model = name.rpartition(":")
    _import_ours()
    if module:
        _import_users(module)
    if model not in _specs:
        raise unknown("model", model, _specs)
    return _specs[model]


def _import_users(module):
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"Expected a module as Python imports it, such as my_nets in my_nets:linear. Received: {module!r}.")
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"Cannot import {module!r}: no such module in {os.getcwd()} or among "
                         "the installed packages.") from None


def names(pattern="*"):
    """Return the registered names matching a shell pattern, in whatever case, sorted: `names("ResNet*")`."""
    _import_ours()
    return sorted(name for name in _specs if fnmatch.fnmatchcase(name.lower(), pattern.lower()))


def build(name, **overrides):
    """Build the network registered under `name`.

    Args:
        name: a registered name (`names()` lists them), or `package.module:model` for a builder of your own.
        **overrides: builder arguments that replace the variant's own, such as `input_shape=(32, 32, 3)`, `classes=10`. One
            more, unless the builder itself has an argument of that name: `weights`, what to start from in place of random
            numbers. It is the directory of a finished run, a .keras file, the name of a shipped network, or a model like
            this one; or "imagenet", which downloads what keras.applications publishes, for the networks of
            `zoo.weights.ORIGINS`, in whose place a network of keras.applications does, too. With other `classes` than the
            weights have, the last layer starts afresh.

    Returns:
        A functional `keras.Model` from images in [0, 255], shape (batch, *input_shape), to float32 logits of shape
        (batch, classes), or to the pooled features if `classes=0`.

    Raises:
        zoo.errors.UsageError: if the name is unknown, the input is too small for the network, an argument has a value that it
            cannot have, or the weights do not fit it.
        zoo.errors.UserError: if the weights cannot be downloaded or read.
        TypeError: if an override is not an argument of the builder.
    """
    found = spec(name)
    own = "weights" in inspect.signature(found.builder).parameters
    weights = None if own else overrides.pop("weights", None)
    if weights is not None:
        from zoo.weights import pretrained  # imports Keras
        return pretrained(found, weights, overrides)
    model = found.build(overrides)
    model.name = found.name
    return model
