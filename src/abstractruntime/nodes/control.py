"""Nodes that decide which branch runs next.

`if` and `switch` answer at once. The others own a frame in the run's variables:
`loop` `{kind, idx, items}`, `for` `{kind, start, end, step, i, index, total}`,
`while` `{kind, iters}`, `sequence` `{kind, idx, then}` and
`parallel` `{kind, phase, idx, then}`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import (
    ControlNode,
    Element,
    Example,
    FunctionNode,
    NodeError,
    Pin,
    Problem,
    Scope,
    Turn,
    register,
)
from abstractruntime.nodes.keys import TEXT, settings

_ITERATION = (Pin("item"), Pin("index", "number"))


@register
class If(FunctionNode):
    type = "if"
    needs = ("condition",)
    family = "control"
    handles = ("true", "false")
    bare_input = "condition"
    doc = (
        "Goes on at `true` when the condition is truthy, else at `false`. Absent and null are false. "
        'Every non-empty text is true, also "false" and "0".'
    )
    inputs = (Pin("condition", "boolean", role="condition"),)
    outputs = (Pin("branch", "string"), Pin("condition"))
    examples = (
        Example({"condition": 1}, {"branch": "true", "condition": 1}),
        Example({}, {"branch": "false", "condition": None}),
    )

    def takes_bus(self, element: Element) -> bool:
        return False

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        condition = inputs.get("condition")
        return {"branch": "true" if condition else "false", "condition": condition}


@register
class Switch(FunctionNode):
    type = "switch"
    needs = ("value",)
    family = "control"
    handles = ("case:*", "default")
    bare_input = "value"
    doc = (
        "Goes on at the first case whose value has the same text as the input, else at `default`. "
        "Null has the empty text; a matching case without an edge ends the chain."
    )
    inputs = (Pin("value"),)
    outputs = (Pin("branch", "string"), Pin("value"), Pin("matched", "string"))
    data_schema = settings(
        "switchConfig",
        cases={
            "type": "array",
            "items": {"type": "object", "properties": {"id": TEXT, "value": {}}},
        },
    )
    examples = (
        Example(
            {"value": 1.0},
            {"branch": "case:a", "value": 1.0, "matched": "1"},
            {"switchConfig": {"cases": [{"id": "a", "value": "1"}]}},
        ),
    )
    compat = "Q22: booleans also match their JSON text, integral floats their integer text."

    def takes_bus(self, element: Element) -> bool:
        return False

    def branches_of(self, element: Element) -> tuple[str, ...]:
        return tuple(f"case:{case_id}" for case_id, _ in _cases(element))

    def check(self, element: Element) -> Iterable[Problem]:
        cases = element.config("switchConfig").get("cases")
        firsts: dict[str, str] = {}
        for place, case in enumerate(cases if isinstance(cases, list) else ()):
            problem = _case_problem(case, firsts)
            if problem:
                what, hint = problem
                pointer = f"/data/switchConfig/cases/{place}"
                yield Problem(f"case {place} {what}", "VF318", hint=hint, pointer=pointer)

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        value = inputs.get("value")
        texts = _texts(value)
        for case_id, expected in _cases(element):
            if expected in texts:
                return {"branch": f"case:{case_id}", "value": value, "matched": expected}
        return {"branch": "default", "value": value}


def _case_problem(case: JsonValue, firsts: dict[str, str]) -> tuple[str, str | None] | None:
    """Say why a case is never taken, and what to do; `firsts` has the case of each value so far."""
    if not isinstance(case, dict):
        return "is no object with id and value", None
    name, value = case.get("id"), case.get("value")
    if not isinstance(name, str) or not name:
        return "has no id, so no edge can leave through it", "give it an id"
    if value is None:
        return f"({name}) has no value, so it is never taken", "give it a value"
    first = firsts.setdefault(str(value), name)
    if first == name:
        return None
    return (
        f"({name}) has the value {value!r} of case {first!r}, which is taken",
        "delete one of them",
    )


def _cases(element: Element) -> Iterable[tuple[str, str]]:
    cases = element.config("switchConfig").get("cases")
    for case in cases if isinstance(cases, list) else ():
        if not isinstance(case, dict) or case.get("value") is None:
            continue
        if isinstance(case.get("id"), str) and case["id"]:
            yield case["id"], str(case["value"])


def _texts(value: JsonValue) -> set[str]:
    if value is None:
        return {""}
    texts = {str(value)}
    if isinstance(value, bool):
        texts.add(str(value).lower())
    elif isinstance(value, float) and value.is_integer():
        texts.add(str(int(value)))
    return texts


class _Scheduler(ControlNode):
    family = "control"

    def branches(self, handles: tuple[str, ...]) -> list[str]:
        """Give the connected `then:` handles by number, those without a number last."""
        return sorted((h for h in handles if h.startswith("then:")), key=_branch_order)


def _branch_order(handle: str) -> tuple[int, int]:
    suffix = handle.removeprefix("then:")
    return (0, int(suffix)) if suffix.isascii() and suffix.isdigit() else (1, 0)


@register
class Sequence(_Scheduler):
    type = "sequence"
    handles = ("then:*",)
    doc = (
        "Runs its branches one after the other, by number; each runs to its end first. Nothing follows "
        "the last one: put what comes after into the last branch or behind the parent."
    )
    examples = (
        Example(
            {},
            output=[{"handle": "then:0"}, {"handle": "then:1"}],
            around={"handles": ["then:1", "then:0"]},
        ),
    )
    compat = "Q30: works without declared pins, from the connected handles."

    def open_frame(
        self, element: Element, inputs: JsonObject, handles: tuple[str, ...]
    ) -> JsonObject:
        return {"kind": "sequence", "idx": 0, "then": self.branches(handles)}

    def next_turn(
        self, element: Element, frame: JsonObject, inputs: JsonObject, ambient: JsonValue
    ) -> Turn | None:
        return _next_branch(frame)


@register
class Parallel(_Scheduler):
    type = "parallel"
    handles = ("then:*", "completed")
    exit_handle = "completed"
    doc = (
        "Runs its branches one after the other, by number, then goes on at `completed`. The order is "
        "fixed so that a run can be repeated; a wait in one branch holds up the others."
    )
    examples = (
        Example(
            {},
            output=[{"handle": "then:0"}, {"handle": "then:1"}, {"handle": "completed"}],
            around={"handles": ["then:0", "then:1", "completed"]},
        ),
    )
    compat = "Q30: works without declared pins, from the connected handles."

    def open_frame(
        self, element: Element, inputs: JsonObject, handles: tuple[str, ...]
    ) -> JsonObject:
        return {"kind": "parallel", "phase": "branches", "idx": 0, "then": self.branches(handles)}

    def next_turn(
        self, element: Element, frame: JsonObject, inputs: JsonObject, ambient: JsonValue
    ) -> Turn | None:
        return _next_branch(frame)


def _next_branch(frame: JsonObject) -> Turn | None:
    index, branches = frame["idx"], frame["then"]
    if index >= len(branches):
        return None
    frame["idx"] = index + 1
    return Turn(branches[index])


@register
class Loop(ControlNode):
    type = "loop"
    needs = ("items",)
    family = "control"
    handles = ("loop", "done")
    exit_handle = "done"
    drops_draws = True
    bare_input = "items"
    doc = (
        "Runs the branch at `loop` once per item, then goes on at `done`. The list is read once. Null is "
        "an empty list; anything but a list is a list of one. Values are not collected: use a variable."
    )
    inputs = (Pin("items", "array"),)
    outputs = (*_ITERATION, Pin("total", "number"))
    examples = (
        Example(
            {"items": ["a", "b"]},
            output=[
                {"handle": "loop", "item": "a", "index": 0, "total": 2},
                {"handle": "loop", "item": "b", "index": 1, "total": 2},
                {"handle": "done"},
            ],
        ),
    )

    def open_frame(
        self, element: Element, inputs: JsonObject, handles: tuple[str, ...]
    ) -> JsonObject:
        items = inputs.get("items")
        if not isinstance(items, list):
            items = [] if items is None else [items]
        return {"kind": "loop", "idx": 0, "items": items}

    def next_turn(
        self, element: Element, frame: JsonObject, inputs: JsonObject, ambient: JsonValue
    ) -> Turn | None:
        index, items = frame["idx"], frame["items"]
        if index >= len(items):
            return None
        frame["idx"] = index + 1
        return Turn("loop", {"item": items[index], "index": index, "total": len(items)})


@register
class While(ControlNode):
    type = "while"
    needs = ("condition",)
    family = "control"
    handles = ("loop", "done")
    exit_handle = "done"
    drops_draws = True
    rereads_inputs = True
    cap_name = "While"
    bare_input = "condition"
    doc = (
        "Runs the branch at `loop` as long as the condition, read anew each time, is truthy. `item` is "
        "the ambient `item` if there is one, else the whole ambient value. Hosts cap the iterations."
    )
    inputs = (Pin("condition", "boolean", role="condition"),)
    outputs = _ITERATION
    examples = (
        Example(
            {"condition": True},
            output=[
                {"handle": "loop", "item": "a", "index": 0},
                {"handle": "loop", "item": "a", "index": 1},
            ],
            around={"ambient": {"item": "a"}},
        ),
        Example({"condition": 0}, output=[{"handle": "done"}]),
    )
    compat = "Q8: the cap counts iterations that would really run."

    def open_frame(
        self, element: Element, inputs: JsonObject, handles: tuple[str, ...]
    ) -> JsonObject:
        return {"kind": "while", "iters": 0}

    def next_turn(
        self, element: Element, frame: JsonObject, inputs: JsonObject, ambient: JsonValue
    ) -> Turn | None:
        if not inputs.get("condition"):
            return None
        index = frame["iters"]
        frame["iters"] = index + 1
        item = ambient["item"] if isinstance(ambient, dict) and "item" in ambient else ambient
        return Turn("loop", {"item": item, "index": index})


@register
class For(ControlNode):
    type = "for"
    needs = ("start", "end")
    family = "control"
    handles = ("loop", "done")
    exit_handle = "done"
    drops_draws = True
    cap_name = "For"
    doc = (
        "Counts from `start` up to but not including `end` and runs the branch at `loop` for each value. "
        "Negative steps count down; the wrong direction runs nothing. The range is read once."
    )
    inputs = (Pin("start", "number"), Pin("end", "number"), Pin("step", "number", default=1))
    outputs = (Pin("i", "number"), Pin("index", "number"), Pin("total", "number"))
    examples = (
        Example(
            {"start": 5, "end": 1, "step": -2},
            output=[
                {"handle": "loop", "i": 5, "index": 0, "total": 2},
                {"handle": "loop", "i": 3, "index": 1, "total": 2},
                {"handle": "done"},
            ],
        ),
    )
    compat = "Q7: `i` is start + index * step, an integer when start and step are. Q8: see while."

    def open_frame(
        self, element: Element, inputs: JsonObject, handles: tuple[str, ...]
    ) -> JsonObject:
        start, end = _number(inputs.get("start")), _number(inputs.get("end"))
        step = _number(inputs.get("step"))
        if start is None or end is None:
            raise NodeError("For loop requires numeric 'start' and 'end'.")
        step = 1 if step is None else step
        if step == 0:
            raise NodeError("For loop requires a non-zero 'step'.")
        total = max(0, _rounded_up(end - start, step))
        return {
            "kind": "for",
            "start": start,
            "end": end,
            "step": step,
            "i": start,
            "index": 0,
            "total": total,
        }

    def next_turn(
        self, element: Element, frame: JsonObject, inputs: JsonObject, ambient: JsonValue
    ) -> Turn | None:
        index, total = frame["index"], frame["total"]
        if index >= total:
            return None
        value = frame["start"] + index * frame["step"]
        frame["index"], frame["i"] = index + 1, value
        return Turn("loop", {"i": value, "index": index, "total": total})


def _rounded_up(span: float, step: float) -> int:
    if isinstance(span, int) and isinstance(step, int):
        return -(-span // step)
    return math.ceil(span / step)


def _number(value: JsonValue) -> int | float | None:
    """Read a count; floats with an integral value become integers, what is no finite number None."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str):
        value = _parse_number(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def _parse_number(text: str) -> float | None:
    try:
        return float(text.strip())
    except ValueError:
        return None
