"""A case as a value, and reading one from JSON or YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from abstractruntime._files import read_bounded
from abstractruntime._json import JsonObject, JsonValue, load_strict, normalise, why_unread
from abstractruntime._yaml import load_yaml
from abstractruntime.core.models import parse_moment
from abstractruntime.errors import InvalidValue, UnsupportedFormat, UsageError
from abstractruntime.testing.stub_llm import StubAnswer

CASE_FORMAT: Final = "art-case/1"
_MAX_BYTES: Final = 8 * 1024 * 1024
_YAML: Final = (".yaml", ".yml")
_SPANS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_ACTIONS: Final = ("answer", "resume", "event", "advance", "wake", "cancel")
_COMPANIONS: Final[Mapping[str, frozenset[str]]] = {
    "answer": frozenset({"wait_key"}),
    "resume": frozenset({"wait_key"}),
    "event": frozenset({"payload", "scope"}),
}


@dataclass(frozen=True, slots=True)
class Mock:
    """What one call comes to: `raw` as it is, or what a model answers."""

    answer: StubAnswer | None = None
    raw: JsonValue = None
    fail: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What the calls of one place come to; `is_fixed` means that each gets the first mock."""

    mocks: tuple[Mock, ...]
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One thing that happens to a run that rests; `value` belongs to the action."""

    action: str
    value: JsonValue
    wait_key: str | None = None
    payload: JsonValue = None
    scope: str = "session"


@dataclass(frozen=True, slots=True)
class Case:
    """One story of a flow: what goes in, what happens, and what is expected."""

    name: str
    expect: JsonObject
    input: JsonObject = field(default_factory=dict)
    steps: tuple[CaseStep, ...] = ()
    nodes: Mapping[str, Script] = field(default_factory=dict)
    effects: Mapping[str, Script] = field(default_factory=dict)
    tools: Mapping[str, Script] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    flow: str | None = None
    entry: str | None = None
    clock: datetime | None = None


def load_case(path: Path) -> Case:
    """Read a case from a file.

    Raises:
        NotFound, StoreIOError: it cannot be read.
        UsageError, UnsupportedFormat: it is no case; the text names the place.
    """
    return parse_case(load_case_document(path), where=str(path), name=path.stem)


def load_case_document(path: Path) -> JsonObject:
    """Read the JSON object in a case file, unchecked but for its format.

    Raises:
        UsageError: it is no JSON or YAML object.
    """
    data = read_bounded(path, _MAX_BYTES)
    try:
        is_yaml = path.suffix in _YAML
        text = data.decode("utf-8-sig")
        document = normalise(load_yaml(text) if is_yaml else load_strict(text))
    except (ValueError, RecursionError) as cause:
        hint = "correct the file"
        if isinstance(cause, InvalidValue):
            hint = "YAML reads unquoted dates as dates; put them in quotes"
        raise UsageError(f"case '{path}' cannot be read: {why_unread(cause)}", hint=hint) from cause
    if not isinstance(document, dict):
        raise UsageError(f"case '{path}' is no object", hint="see: art schema case")
    return document


def parse_case(document: JsonObject, *, where: str = "case", name: str = "case") -> Case:
    """Give the case that a document describes; `where` names it in errors.

    Raises:
        UsageError: it breaks the schema; the text names the first place.
        UnsupportedFormat: it belongs to another version.
    """
    _check_schema(document, where)
    if "answers" in document and "steps" in document:
        raise UsageError(
            f"{where}: answers and steps exclude each other", hint="write the answers as steps"
        )
    mocks = document.get("mocks", {})
    answers = [CaseStep("answer", answer) for answer in document.get("answers", ())]
    steps = [_step(s, f"{where}: steps/{i}") for i, s in enumerate(document.get("steps", ()))]
    return Case(
        name=document.get("name", name),
        expect=document["expect"],
        input=document.get("input", {}),
        steps=(*answers, *steps),
        nodes=_scripts(mocks.get("nodes", {}), f"{where}: mocks/nodes"),
        effects=_scripts(mocks.get("effects", {}), f"{where}: mocks/effects"),
        tools=_scripts(mocks.get("tools", {}), f"{where}: mocks/tools"),
        files=document.get("files", {}),
        flow=document.get("flow"),
        entry=document.get("entry"),
        clock=_moment(document.get("clock"), where),
    )


def _check_schema(document: JsonObject, where: str) -> None:
    found = document.get("format")
    if found != CASE_FORMAT:
        raise UnsupportedFormat(
            f"{where}: format is {found!r}, expected {CASE_FORMAT!r}",
            hint=f"write format: {CASE_FORMAT}",
            found=found,
            supported=CASE_FORMAT,
        )
    # Heavy, and only needed here.
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    from abstractruntime.schemas import load_schema  # noqa: PLC0415

    problem = best_match(Draft202012Validator(load_schema("case")).iter_errors(document))
    if problem is not None:
        place = "/".join(map(str, problem.absolute_path)) or "the case"
        text = problem.message if len(problem.message) <= 200 else problem.message[:197] + "..."
        raise UsageError(f"{where}: {place}: {text}", hint="see: art schema case")


def _moment(text: str | None, where: str) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text)
    except InvalidValue as cause:
        raise UsageError(f"{where}: clock: {cause}", hint=cause.hint) from None


def _step(item: JsonObject, where: str) -> CaseStep:
    actions = [name for name in _ACTIONS if name in item]
    if len(actions) != 1:
        raise UsageError(
            f"{where}: names {len(actions)} actions, expected one",
            hint=f"actions are {', '.join(_ACTIONS)}",
        )
    (action,) = actions
    stray = sorted(set(item) - {action} - _COMPANIONS.get(action, frozenset()))
    if stray:
        raise UsageError(
            f"{where}: {stray[0]!r} does not belong to {action!r}", hint="see: art schema case"
        )
    value = item[action]
    return CaseStep(
        action=action,
        value=_seconds(value, where) if action == "advance" else value,
        wait_key=item.get("wait_key"),
        payload=item.get("payload"),
        scope=item.get("scope", "session"),
    )


def _seconds(value: JsonValue, where: str) -> float:
    if isinstance(value, str) and _SPAN.fullmatch(value):
        parts = re.findall(r"([\d.]+)([dhms])", value)
        return sum(float(number) * _SPANS[unit] for number, unit in parts)
    if isinstance(value, int | float) and value >= 0:
        return float(value)
    raise UsageError(
        f"{where}: advance is {value!r}, expected seconds or a span", hint="such as 90m or 1h30m"
    )


def _scripts(items: JsonObject, where: str) -> dict[str, Script]:
    return {name: _script(value, f"{where}/{name}") for name, value in items.items()}


def _script(value: JsonValue, where: str) -> Script:
    if isinstance(value, dict):
        return Script((_mock(value, where),), is_fixed=True)
    return Script(tuple(_mock(item, f"{where}/{i}") for i, item in enumerate(value)))


def _mock(item: JsonObject, where: str) -> Mock:
    rules = {name: item[name] for name in ("match", "regex") if name in item}
    said = {name: item[name] for name in ("reply", "data", "tool_calls") if name in item}
    kinds = [name for name in ("result", "fail") if name in item] + (["reply"] if said else [])
    if len(kinds) != 1:
        raise UsageError(
            f"{where}: says {len(kinds)} things, expected one",
            hint="give result, or fail, or what a model answers: reply, data, tool_calls",
        )
    _check_regex(rules.get("regex"), where)
    fail = item.get("fail")
    if said:
        said["tool_calls"] = tuple(said.get("tool_calls", ()))
        return Mock(StubAnswer(**said, **rules))
    return Mock(StubAnswer(fail="", **rules) if rules else None, item.get("result"), fail)


def _check_regex(pattern: str | None, where: str) -> None:
    try:
        re.compile(pattern or "")
    except re.error as cause:
        raise UsageError(f"{where}: regex {pattern!r}: {cause}", hint="correct it") from None
