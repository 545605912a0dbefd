"""How a user's mistake is told: one line naming what was expected, what came, and the nearest valid choice."""
import difflib

_SHOWN = 12     # choices that an error lists when none is near
_LONGEST = 100  # characters of a name that are told, and compared


class UserError(ValueError):
    """A mistake of the caller's that one line explains. The `zoo` command prints it and exits with 1."""

    exit_code = 1


class UsageError(UserError):
    """A mistake in how a command was typed. The `zoo` command prints it and exits with 2."""

    exit_code = 2


def unknown(kind, name, choices):
    """Return the UsageError for a `name` that is none of `choices`, with the nearest one if any is near."""
    choices, name = sorted(choices), name if len(str(name)) <= _LONGEST else f"{str(name)[:_LONGEST]}..."
    meant, lower = {choice.lower(): choice for choice in choices}, str(name).lower()
    longer = [choice for choice in meant if lower and lower in choice]  # 'float16' means 'mixed_float16'
    near = difflib.get_close_matches(lower, longer or meant, n=1, cutoff=0.5)
    if near:
        return UsageError(f"Unknown {kind} {name!r}. Did you mean {meant[near[0]]!r}?")
    more = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
    return UsageError(f"Unknown {kind} {name!r}. Known: {', '.join(choices[:_SHOWN])}{more}.")
