"""Errors for mistakes of the user.

Each is one line: what was expected, what was received, and the nearest valid choice.
"""
import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

_SHOWN = 12     # choices that a message lists if none is near
_LONGEST = 100  # characters of a name that are compared and shown


class UserError(ValueError):
    """A mistake of the caller that one line explains; the `zoo` command exits with 1."""

    exit_code = 1


class UsageError(UserError):
    """A mistake in how a function or command was called; the `zoo` command exits with 2."""

    exit_code = 2


def missing_packages(feature: str, packages: str, extra: str) -> UserError:
    """Return the UserError for a `feature` whose `packages`, those of an `extra`, are missing."""
    return UserError(f"{feature} needs {packages}: run `pip install \".[{extra}]\"` in the "
                     "checkout of classic-zoo.")


def unknown(kind: str, name: object, choices: Iterable[str],
            synonyms: Mapping[str, str] = MappingProxyType({})) -> UsageError:
    """Return the UsageError for a `name` that is not one of `choices`.

    The message names the choice that `synonyms` give, or the nearest, or, if none is near, the
    first 12.

    Args:
        synonyms: {another name: choice}; what is near another name is near the choice.
    """
    ordered = sorted(choices)
    if len(str(name)) > _LONGEST:
        name = f"{str(name)[:_LONGEST]}..."
    by_lower_case = {choice.lower(): choice for choice in ordered}
    lower = str(name).lower()
    containing = [choice for choice in by_lower_case if lower and lower in choice]
    candidates = containing or list(by_lower_case)  # float16 means mixed_float16
    meant = {other: choice for other, choice in synonyms.items() if choice in ordered}
    near = difflib.get_close_matches(lower, [*candidates, *meant], n=1, cutoff=0.5)
    if lower in meant:
        near = [lower]
    if near:
        choice = by_lower_case.get(near[0]) or meant[near[0]]
        return UsageError(f"Unknown {kind} {name!r}. Did you mean {choice!r}?")
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return UsageError(f"Unknown {kind} {name!r}. Known: {', '.join(ordered[:_SHOWN])}{more}.")
