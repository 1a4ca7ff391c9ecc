"""What came of cases: for people, and as the JUnit report that CI systems show."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime._text import one_line
from abstractruntime.cli._cases import Found
from abstractruntime.testing.cases import CaseProblem

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of one case."""

    found: Found
    flow_id: str
    problems: tuple[CaseProblem, ...]
    seconds: float
    is_updated: bool = False

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_dict(self) -> JsonObject:
        return {
            "file": str(self.found.file),
            "name": self.found.case.name,
            "flow_id": self.flow_id,
            "ok": self.ok,
            "updated": self.is_updated,
            "problems": [problem.to_dict() for problem in self.problems],
        }


def case_lines(item: Tested) -> Iterator[str]:
    word = "ok  " if item.ok else "FAIL"
    shown = " (updated)" if item.is_updated else ""
    yield f"{word} {item.found.file}: {item.found.case.name}{shown}"
    for problem in item.problems:
        yield from (f"     {line}" for line in problem_lines(problem))


def problem_lines(problem: CaseProblem) -> Iterator[str]:
    """Give a problem for people; of texts with several lines, the lines that differ."""
    expected, found = problem.expected, problem.found
    if isinstance(expected, str) and isinstance(found, str) and "\n" in expected + found:
        yield f"{problem.where}: the text differs"
        compared = difflib.ndiff(expected.splitlines(), found.splitlines())
        yield from (f"  {line}" for line in compared if not line.startswith("?"))
        return
    yield f"{problem.where}: {problem.message}" if problem.message else f"{problem.where}:"
    if problem.message and expected is None and found is None:
        return
    yield f"  expected {_shown(expected)}"
    yield f"  found    {_shown(found)}"


def _shown(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def junit_report(done: Sequence[Tested]) -> str:
    failures = sum(not item.ok for item in done)
    total = sum(item.seconds for item in done)
    suite = f'<testsuite name="art test" tests="{len(done)}" failures="{failures}" errors="0"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'{suite} time="{total:.3f}">']
    for item in done:
        lines.extend(_junit_case(item))
    return "".join(f"{line}\n" for line in (*lines, "</testsuite>"))


def _junit_case(item: Tested) -> Iterator[str]:
    name, file = (_attribute(text) for text in (item.found.case.name, str(item.found.file)))
    opening = f'  <testcase classname={file} name={name} time="{item.seconds:.3f}"'
    if item.ok:
        yield f"{opening}/>"
        return
    yield f"{opening}>"
    told = [line for problem in item.problems for line in problem_lines(problem)]
    first = _attribute(told[0])
    yield f"    <failure message={first}>{_element(chr(10).join(told))}</failure>"
    yield "  </testcase>"


def _attribute(text: str) -> str:
    # XML reads a bare line end or tab in an attribute as a blank.
    quoted = escape(_legal(text)).replace("\n", "&#10;").replace("\t", "&#9;")
    return f'"{quoted}"'


def _element(text: str) -> str:
    return escape(_legal(text), quote=False)


def _legal(text: str) -> str:
    """Give text without the characters that XML cannot hold."""
    return one_line(text, keep="\n\t").encode("utf-8", "backslashreplace").decode()
