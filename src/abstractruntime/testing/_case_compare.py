"""Comparing what a case expects with what came: every difference with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from abstractruntime._json import JsonObject, JsonValue, escape_pointer, isolate
from abstractruntime.rendering.run_document import exit_code_for

MISSING = "(nothing)"


@dataclass(frozen=True, slots=True)
class CaseProblem:
    """One reason why a case fails; `expected` and `found` where there is something to compare."""

    where: str
    message: str = ""
    expected: JsonValue = None
    found: JsonValue = None

    def to_dict(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Actual:
    """What came of a run: its run document, messages to the person, and effects by type and node."""

    document: JsonObject
    messages: tuple[str, ...] = ()
    calls: JsonObject | None = None

    @property
    def facts(self) -> JsonObject:
        """Give everything that can be expected, by key of `expect`."""
        return {
            "status": self.document["status"],
            "exit_code": int(exit_code_for(self.document)),
            "output": self.document["output"],
            "output_has": self.document["output"],
            "error": self.document["error"],
            "waiting": self.document["waiting"],
            "messages": list(self.messages),
            "calls": dict(self.calls or {}),
        }


def compare(expect: JsonObject, actual: Actual) -> list[CaseProblem]:
    """Give what is not as expected.

    Without `status`, it follows from the other keys: waiting with `waiting`, any with `error`,
    else completed. An error that nobody expects is a problem.
    """
    facts = actual.facts
    problems = list(_unsaid(expect, facts))
    for key, wanted in expect.items():
        problems += _COMPARERS.get(key, _exact)(key, wanted, facts[key])
    return problems


def _unsaid(expect: JsonObject, facts: JsonObject) -> Iterator[CaseProblem]:
    if "status" not in expect and "error" not in expect and "exit_code" not in expect:
        yield from _exact(
            "status", "waiting" if "waiting" in expect else "completed", facts["status"]
        )
    says = (
        "error" in expect
        or "exit_code" in expect
        or expect.get("status") in ("failed", "cancelled")
    )
    if facts["error"] is not None and not says:
        yield CaseProblem("error", "the run ended with an error", None, facts["error"])


def _exact(where: str, wanted: JsonValue, found: JsonValue) -> list[CaseProblem]:
    return list(_differences(where, wanted, found, part=False))


def _part(where: str, wanted: JsonValue, found: JsonValue) -> list[CaseProblem]:
    return list(_differences(where, wanted, found, part=True))


def _error(where: str, wanted: JsonValue, found: JsonValue) -> list[CaseProblem]:
    if isinstance(wanted, dict):
        return _part(where, wanted, found)
    text = found["message"] if isinstance(found, dict) else None
    if text is not None and wanted in text:
        return []
    return [CaseProblem(where, "the error does not contain this text", wanted, text)]


def _calls(where: str, wanted: JsonValue, found: JsonValue) -> list[CaseProblem]:
    counts = {name: found.get(name, 0) for name in wanted}
    return _exact(where, wanted, counts)


_COMPARERS = {
    "output_has": _part,
    "waiting": _part,
    "error": _error,
    "calls": _calls,
}


def _differences(
    where: str, wanted: JsonValue, found: JsonValue, *, part: bool
) -> Iterator[CaseProblem]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        yield from _object_differences(where, wanted, found, part=part)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for at, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(f"{where}/{at}", one, other, part=part)
    elif not _same(wanted, found):
        yield CaseProblem(where, "", wanted, found)


def _object_differences(
    where: str, wanted: JsonObject, found: JsonObject, *, part: bool
) -> Iterator[CaseProblem]:
    for key, value in wanted.items():
        place = f"{where}/{escape_pointer(key)}"
        if key not in found:
            yield CaseProblem(place, "it is missing", value, None)
        else:
            yield from _differences(place, value, found[key], part=part)
    for key in () if part else [key for key in found if key not in wanted]:
        yield CaseProblem(f"{where}/{escape_pointer(key)}", "it is not expected", None, found[key])


def _same(wanted: JsonValue, found: JsonValue) -> bool:
    """Compare as JSON: 3 and 3.0 are the same, 1 and true are not."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return bool(wanted == found)


def updated(expect: JsonObject, actual: Actual) -> JsonObject:
    """Give the expectations as they would have to be; no key comes or goes."""
    facts = actual.facts
    return {key: _updated(key, value, facts[key]) for key, value in expect.items()}


def _updated(key: str, wanted: JsonValue, found: JsonValue) -> JsonValue:
    if key == "error" and isinstance(wanted, str):
        return found["message"] if isinstance(found, dict) else ""
    if key == "calls":
        return {name: found.get(name, 0) for name in wanted}
    if key in ("output_has", "waiting", "error") and isinstance(found, dict):
        return {name: isolate(found[name]) for name in wanted if name in found}
    return isolate(found)


def common_part(wanted: JsonValue, found: JsonValue) -> JsonValue:
    """Give what two outputs have in common, for `output_has`: keys whose values are equal."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        kept = {key: value for key, value in wanted.items() if key in found}
        pairs = {key: common_part(value, found[key]) for key, value in kept.items()}
        return {key: value for key, value in pairs.items() if value is not MISSING}
    return wanted if _same(wanted, found) else MISSING
