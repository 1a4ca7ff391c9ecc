"""Author code: the `code` node and its older sibling `function`."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime._near import close_names
from abstractruntime.nodes._code_body import PERMISSIONS, says_the_same, with_function
from abstractruntime.nodes._code_checks import (
    REFUSED_CALLS,
    CodeProblem,
    call_problem,
    check_expression,
    check_source,
    defined_names,
    foreign_names,
    free_names,
    names_surely_read,
    too_long,
)
from abstractruntime.nodes.base import (
    Element,
    Example,
    FunctionNode,
    NodeError,
    Pin,
    Problem,
    Scope,
    register,
)

_DEFAULT_FUNCTION = "transform"
_SANDBOX = (None, "", "sandbox")
_CODE_SCHEMA: JsonObject = {
    "code": {"type": "string", "description": "Python source that defines the function"},
    "functionName": {"type": "string", "default": _DEFAULT_FUNCTION},
    "codeBody": {
        "type": "string",
        "description": "The body of the function, when there is no code",
    },
}


@register
class Code(FunctionNode):
    type = "code"
    family = "code"
    capability = "code"
    runs_code = True
    doc = (
        "Calls a Python function with all inputs as one object; what it returns is the output, and keys of "
        "a returned object are pins. Imports and names with double underscores are refused, inputs are "
        "copies, the result must be JSON, and time, memory and output are limited. Nothing survives from "
        "one call to the next. A node with branch outputs returns an object with a text `branch`. Without "
        "`code`, `codeBody` is the body of the function: it sees `_input`, and each declared input by its name."
    )
    inputs = (Pin("input", doc="any further pins arrive as keys of the object", dynamic=True),)
    outputs = (Pin("output", doc="the returned value"),)
    handles = ("exec-out", "true", "false", "default", "case:*")
    data_schema = _CODE_SCHEMA
    examples = (
        Example(
            inputs={"x": 2},
            data={"code": "def transform(_input):\n    return {'double': _input['x'] * 2}\n"},
            output={"double": 4},
        ),
    )
    compat = (
        "`codeBody` alone was not run before: the inputs came back. "
        "Q17: one sandbox with limits, in another process; exception classes, repr, any and all are defined. "
        "Q36: results are JSON, anything else fails naming its place. Inputs are copies, not live references."
    )

    def output_names(self, element: Element) -> frozenset[str] | None:
        return None  # every key of a returned object

    def mentions(self, element: Element, pin: str) -> bool:
        texts = (element.data.get(key) for key in ("code", "codeBody", "expression"))
        return any(re.search(rf"\b{re.escape(pin)}\b", t) for t in texts if isinstance(t, str))

    def check(self, element: Element) -> Iterable[Problem]:
        if not _is_body(element):
            problems = _check_text(element, "code", check_source)
            if not problems:
                problems = [*_check_function(element), *_check_names(element)]
            return [*problems, *_check_both(element)]
        return [
            *_check_text(element, "codeBody", partial(_check_body, element)),
            *_check_names(element, "codeBody"),
            *_check_permissions(element),
        ]

    def evaluate(self, element: Element, inputs: JsonValue, scope: Scope) -> JsonValue:
        source, name = element.data.get("code"), _function_name(element)
        if _is_body(element):
            source, _ = _body_source(element)
            inputs = _without_permissions(inputs)
        return inputs if source is None else scope.code.call(source, name, inputs)


def _function_name(element: Element) -> str:
    return str(element.data.get("functionName") or _DEFAULT_FUNCTION)


def _is_body(element: Element) -> bool:
    return element.data.get("code") is None and element.data.get("codeBody") is not None


def _body_source(element: Element) -> tuple[str, int]:
    return with_function(element.data["codeBody"], _function_name(element), element.input_ids)


def _check_body(element: Element, body: str) -> list[CodeProblem]:
    source, before = _body_source(element)
    shift = before - (len(body) - len(body.lstrip("\n")))
    return [_moved(problem, shift) for problem in check_source(source)]


def _moved(problem: CodeProblem, lines: int) -> CodeProblem:
    line = problem.line - lines
    message = problem.message.replace(f"line {problem.line})", f"line {line})")
    return replace(problem, line=line, message=message)


def _check_function(element: Element) -> Iterable[Problem]:
    source, name = element.data.get("code"), _function_name(element)
    names = defined_names(source) if source is not None else [name]
    if name in names:
        problem = call_problem(source, name) if isinstance(source, str) else None
        if problem:
            yield Problem(
                f"the node calls {name!r} with its inputs as one object, and it {problem[0]} (line {problem[1]})",
                "VF407",
                hint=f"write def {name}(_input): ... and take the inputs from _input",
                pointer="/data/code",
            )
        return
    near = close_names(name, names, n=1)
    meant = f"did you mean {near[0]!r}? set data.functionName to it, or rename it" if near else None
    yield Problem(
        f"the code does not define {name!r}, which is what the node calls"
        + (f"; it defines {', '.join(names[:5])}" if names else ""),
        "VF407",
        hint=meant or f"write def {name}(_input): ...",
        pointer="/data/code",
    )


def _check_names(element: Element, key: str = "code") -> Iterable[Problem]:
    """Find builtins of Python that code does not see; `check_source` has told those that it refuses."""
    text = element.data.get(key)
    if not isinstance(text, str):
        return
    # A name that an input or a variable of the text may have is none of Python's.
    own = {*element.input_ids, *element.wired} if key == "codeBody" else frozenset[str]()
    unseen = set(dir(builtins)) - _visible() - REFUSED_CALLS - own
    for name, line in foreign_names(text).items():
        if name in unseen and name[0] != "_":
            yield Problem(
                f"{name!r} does not exist in code (line {line})",
                "VF408",
                hint="code sees no files, no terminal and no other code; use a node or a tool for that",
                pointer=f"/data/{key}",
            )


def _visible() -> frozenset[str]:
    # Flows without code never pay for the sandbox.
    from abstractruntime.sandbox.names import VISIBLE  # noqa: PLC0415 - see above

    return VISIBLE


def _check_both(element: Element) -> Iterable[Problem]:
    code, body = element.data.get("code"), element.data.get("codeBody")
    if isinstance(code, str) and isinstance(body, str) and not says_the_same(code, body):
        yield Problem(
            "codeBody says something else than code, which is what runs",
            "VF406",
            pointer="/data/codeBody",
            hint="delete the one that is out of date",
        )


def _check_permissions(element: Element) -> Iterable[Problem]:
    wish = element.pin_defaults.get(PERMISSIONS)
    if PERMISSIONS not in element.wired and wish not in _SANDBOX:
        yield Problem(
            f"asks for the permissions {wish!r}, which this version does not give",
            "VF118",
            pin=PERMISSIONS,
            hint="code runs in a sandbox; put what needs more into a tool of the host",
        )


def _without_permissions(inputs: JsonValue) -> JsonValue:
    if not isinstance(inputs, dict) or PERMISSIONS not in inputs:
        return inputs
    if inputs[PERMISSIONS] not in _SANDBOX:
        raise NodeError(f"code cannot have the permissions {inputs[PERMISSIONS]!r}, only 'sandbox'")
    return {name: value for name, value in inputs.items() if name != PERMISSIONS}


@register
class Function(Code):
    type = "function"
    doc = (
        "Calls a Python function like `code`, or computes one expression. An expression sees the whole input "
        "as `x` and `input`, and every input by its name; it runs where code runs, under the same limits."
    )
    data_schema = {**_CODE_SCHEMA, "expression": {"type": "string"}}  # noqa: RUF012 - class data, never changed
    examples = (Example(inputs={"a": 2}, data={"expression": "a * 2 + input['a']"}, output=6),)
    compat = "Q16: expressions are checked and run like code; what fails gives `{error}` as its value, as before."

    def names_needed(self, element: Element) -> Iterable[str]:
        expression = element.data.get("expression")
        if element.data.get("code") is not None or not isinstance(expression, str):
            return ()
        unknown = foreign_names(expression, "eval").keys() - _visible() - {"x", "input"}
        return sorted(unknown & names_surely_read(expression))

    def check(self, element: Element) -> Iterable[Problem]:
        if element.data.get("code") is not None:
            return super().check(element)
        return _check_text(element, "expression", check_expression)

    def evaluate(self, element: Element, inputs: JsonValue, scope: Scope) -> JsonValue:
        expression = element.data.get("expression")
        if element.data.get("code") is not None or not expression:
            return super().evaluate(element, inputs, scope)
        names = {"x": inputs, "input": inputs, **(inputs if isinstance(inputs, dict) else {})}
        try:
            return scope.code.call(_function_of(expression, names), _DEFAULT_FUNCTION, names)
        except NodeError as error:
            # Compat: an expression that fails gives its error as a value, as in 0.4.2.
            return {"error": str(error).removeprefix("Runtime error: ")}


def _function_of(expression: str, names: JsonObject) -> str:
    # Names that no input has stay free, so that they are builtins or undefined as in any code.
    given = [name for name in free_names(expression) if name in names]
    parameter = "_".join(["_names", *given])
    bindings = "".join(f"    {name} = {parameter}[{name!r}]\n" for name in given)
    return (
        f"def {_DEFAULT_FUNCTION}({parameter}):\n{bindings}    return (\n{expression.strip()}\n)\n"
    )


def _check_text(element: Element, key: str, check: Any) -> list[Problem]:
    text = element.data.get(key)
    if text is None:
        return []
    if not isinstance(text, str):
        kind = type(text).__name__
        return [
            Problem(
                f"'{key}' is {kind}, expected text",
                "VF405",
                hint="write it as one string",
                pointer=f"/data/{key}",
            )
        ]
    # Before anything reads it: what wraps a body looks at each of its tokens.
    problem = too_long(text)
    if problem:
        return [Problem(problem.message, problem.code, hint=problem.hint, pointer=f"/data/{key}")]
    lines = text.splitlines()
    return [_problem(finding, key, lines) for finding in check(text)]


def _problem(finding: CodeProblem, key: str, lines: list[str]) -> Problem:
    shown = lines[finding.line - 1].strip() if finding.line <= len(lines) else ""
    where = f" (line {finding.line}: {shown})" if shown else ""
    return Problem(finding.message + where, finding.code, hint=finding.hint, pointer=f"/data/{key}")
