"""Going on after a failure: what the run's variables hold in place of a result.

An effect with `on_failure: "continue"` in its payload does not fail its run: the failure
becomes its result, and control goes on to the next node. Where there is none, the run fails
as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from abstractruntime._json import mapping

ON_FAILURE: Final = "on_failure"
ON_CHILD_FAILURE: Final = "on_child_failure"
CONTINUE: Final = "continue"
_KEYS: Final = frozenset({"success", "error"})


def raised_text(error: BaseException) -> str:
    """Give the class and the message of what foreign code raised, which may have none to give."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception as second:  # noqa: BLE001 - whatever goes wrong there, a failure is told
        return f"{kind}, whose message cannot be had: {type(second).__name__}"


def goes_on(facts: Mapping[str, Any] | None) -> bool:
    """Tell whether the payload of an effect, or the details of a wait, ask to go on."""
    return facts is not None and facts.get(ON_FAILURE) == CONTINUE


def failure_result(error: str) -> dict[str, Any]:
    """Give what stands for the result."""
    return {"success": False, "error": error}


def is_failure(value: Any) -> bool:
    """Tell whether a stored value stands for a failure."""
    return isinstance(value, dict) and value.keys() == _KEYS and value["success"] is False


def has_failed(facts: Mapping[str, Any] | None, value: Any) -> bool:
    """Tell whether a result stands for a failure after which the run goes on.

    Args:
        facts: The payload of the effect, or the details of the wait, that gave the result.
        value: The result, or what a child that ended badly answered.
    """
    if facts is not None and facts.get(ON_CHILD_FAILURE) == CONTINUE:
        output = mapping(mapping(value).get("output"))
        return output.get("success") is False
    return goes_on(facts) and is_failure(value)
