"""What is said of a value that an option or an argument cannot have."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from abstractruntime._near import close_names
from abstractruntime.errors import UsageError

_NUMBERS = {int: "a whole number", float: "a number"}


def wrong_value(
    param: Any, kind: Any, given: Any, command: str, *, fits: Callable[[str], bool]
) -> UsageError | None:
    """Name the parameter, the value and what was expected; None where only the parser can tell.

    Args:
        param: The parameter, as the parser describes it.
        kind: The type of its values.
        given: One value, or the values, as typed.
        command: How the command is called.
        fits: Tells whether a value is one.
    """
    values = [given] if isinstance(given, str) else list(given or ())
    wrong = next((str(value) for value in values if not fits(value)), None)
    if wrong is None:
        return None
    near: Iterable[str] = ()
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [choice.value for choice in kind]
        expected, near = one_of(choices), nearest(wrong, choices)
    elif kind in _NUMBERS:
        info = param.type_descriptor.parameter_info
        expected = _NUMBERS[kind] + _range(info.min, info.max)
    else:
        return None
    is_option = param.param_type_name == "option"
    name = "/".join(param.opts) if is_option else param.human_readable_name
    return UsageError(
        f"{'option' if is_option else 'argument'} {name} is {reprlib.repr(wrong)}, expected {expected}",
        hint="".join(f"did you mean {word!r}? " for word in near) + f"see: {command} --help",
        argument=name,
    )


def one_of(choices: Iterable[str]) -> str:
    """Give the choices for a sentence."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def nearest(word: str, choices: Iterable[str]) -> list[str]:
    """Give the choice that was probably meant, if there is one."""
    return close_names(word.lower(), choices)


def _range(least: float | None, most: float | None) -> str:
    return (f" from {least}" if least is not None else "") + (f" to {most}" if most else "")
