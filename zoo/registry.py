"""The registry: every network under the name that its literature gives it.

A builder registers itself with `@register`, once for each variant: a name, and the builder
arguments that make the variant. A builder of your own registers with the same decorator; the name
`package.module:model` imports `package.module` first, so every command accepts it.
"""
import dataclasses
import fnmatch
import functools
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import UsageError, UserError, unknown

if TYPE_CHECKING:
    import keras

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Spec:
    """A registered network.

    Attributes:
        name: the registered name.
        builder: the function that returns the network.
        options: the builder arguments that make this variant.
        params: the published number of parameters at the variant's defaults, or None.
        source: the publication, if it is not the `PAPER` of the builder's module.
    """

    name: str
    builder: Callable[..., Any]
    options: Mapping[str, Any]
    params: int | None
    source: str | None = None

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the builder, by their names."""
        return inspect.signature(self.builder).parameters

    @property
    def defaults(self) -> dict[str, Any]:
        """All arguments that `build(name)` calls the builder with."""
        defaults = {name: parameter.default for name, parameter in self.parameters.items()
                    if parameter.default is not parameter.empty}
        return {**defaults, **self.options}

    @property
    def paper(self) -> str:
        """The publication: `source`, or `PAPER` of the builder's module, or an empty string."""
        return self.source or str(getattr(sys.modules[self.builder.__module__], "PAPER", ""))

    def build(self, overrides: Mapping[str, Any]) -> "keras.Model":
        """Return the network, with random weights.

        Args:
            overrides: builder arguments that replace the variant's own; and `name`, the name of
                the model, by default the registered name.

        Raises:
            zoo.errors.UsageError: if an argument is invalid, or the builder does not return a
                model.
            TypeError: if the builder does not have an argument; the message names the nearest.

        Exceptions from a builder outside the zoo are not converted: their traceback shows the
        fault.
        """
        name = overrides.get("name", self.name)
        if not isinstance(name, str) or not name or "/" in name:
            raise UsageError(f"name must be a string without '/', not empty. Received: {name!r}.")
        if "name" not in self.parameters:
            overrides = {key: value for key, value in overrides.items() if key != "name"}
        call = self._bind(overrides)
        try:
            model = self.builder(*call.args, **call.kwargs)
        except UserError:
            raise
        except Exception as error:  # from Keras or its backend: a value that no layer accepts
            if not _in_zoo(self.builder):
                raise
            reason = " ".join(str(error).split())
            raise UsageError(f"{self.name} cannot be built with {overrides}: {reason}") from error
        if not hasattr(model, "layers"):
            raise UsageError(f"Expected a keras.Model from the builder of {self.name}. "
                             f"Received: {model!r}.")
        model.name = name
        return model

    def _bind(self, overrides: Mapping[str, Any]) -> inspect.BoundArguments:
        try:
            return inspect.signature(self.builder).bind(**{**self.options, **overrides})
        except TypeError:
            unexpected = sorted(overrides.keys() - self.parameters)
            if not unexpected:
                raise
            choices = [*self.parameters, "weights", "name"]
            error = unknown(f"argument of {self.name}:", unexpected[0], choices)
            raise TypeError(str(error)) from None


_specs: dict[str, Spec] = {}


def register(name: str, *, params: int | None = None, source: str | None = None,
             **options: Any) -> Callable[[Builder], Builder]:
    """Register the decorated builder under `name`.

    Args:
        name: the name of the variant, unique in the registry.
        params: the number of parameters that its source publishes (trainable and not), at the
            variant's defaults; tests compare the network with it.
        source: the publication, such as "Kim 2014"; by default `PAPER` of the builder's module.
        **options: the builder arguments that make this variant.

    Raises:
        zoo.errors.UsageError: if another builder is registered under `name`.
        TypeError: if the builder does not have an argument that `options` names.
    """
    def decorate(builder: Builder) -> Builder:
        if not _in_zoo(builder):
            _import_zoo()  # registers the zoo's own names first, so that none can be replaced
        other = _specs[name].builder if name in _specs else builder
        if (other.__module__, other.__qualname__) != (builder.__module__, builder.__qualname__):
            raise UsageError(f"Model {name!r} is already registered by {other.__module__}. "
                             "Choose another name.")
        inspect.signature(builder).bind_partial(**options)
        _specs[name] = Spec(name, builder, MappingProxyType(options), params, source)
        return builder
    return decorate


def _in_zoo(builder: Callable[..., Any]) -> bool:
    return builder.__module__.partition(".")[0] == "zoo"


@functools.cache
def _import_zoo() -> None:
    """Import the modules of this folder: an architecture registers itself on import."""
    for module in pkgutil.iter_modules([os.path.dirname(__file__)]):
        if not module.ispkg and module.name != "__main__":
            importlib.import_module(f"zoo.{module.name}")


def is_registered(name: str) -> bool:
    """Return whether a module that has been imported registered `name`."""
    return name in _specs


def spec(name: str) -> Spec:
    """Return the `Spec` of `name`, which may be `package.module:model` for your own builder.

    Raises:
        zoo.errors.UsageError: if no such network is registered; the message names the nearest.
    """
    module, _, model = name.rpartition(":")
    _import_zoo()
    if module:
        _import_user_module(module)
    if model not in _specs:
        raise unknown("model", model, _specs)
    return _specs[model]


def _import_user_module(module: str) -> None:
    if not all(name.isidentifier() for name in module.split(".")):
        raise UsageError("Expected a module as Python imports it, such as my_nets in "
                         f"my_nets:linear. Received: {module!r}.")
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # an import inside the module failed
            raise
        raise UsageError(f"Cannot import {module!r}: no such module in {os.getcwd()} or among "
                         "the installed packages.") from None


def names(pattern: str = "*") -> list[str]:
    """Return the registered names that match a shell pattern, sorted: `names("ResNet*")`.

    Upper and lower case are the same.
    """
    _import_zoo()
    return sorted(name for name in _specs if fnmatch.fnmatchcase(name.lower(), pattern.lower()))
