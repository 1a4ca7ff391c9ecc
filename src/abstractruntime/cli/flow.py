"""`art check`: every problem of flow documents in one pass."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import one_line
from abstractruntime._version import __version__
from abstractruntime.cli._files import Found, find_flows, read_document
from abstractruntime.cli._findings import (
    FailOn,
    Policy,
    count_by_severity,
    count_text,
    read_policy,
    shown,
)
from abstractruntime.cli._output import Mode
from abstractruntime.cli._session import Session
from abstractruntime.errors import ExitCode, UsageError
from abstractruntime.visualflow_compiler.check import (
    Absent,
    CheckResult,
    Find,
    check_read,
    read_tree,
    render_github,
    render_sarif,
    render_text,
)
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic
from abstractruntime.visualflow_compiler.document import MAX_DOCUMENT_BYTES, FlowDocument

if TYPE_CHECKING:
    from abstractruntime.workflow_bundle import FlowLibrary


class Form(str, Enum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


_FOREIGN = (Form.GITHUB, Form.SARIF)
_STDIN = "-"
_STDIN_NAME = "<stdin>"


def check(
    session: Session,
    flows: Annotated[
        list[Path],
        typer.Argument(metavar="FLOW|DIR|-...", help="Documents, directories of them, or stdin."),
    ],
    report: Annotated[
        Form,
        typer.Option("--format", metavar="text|json|github|sarif", help="Form of the findings."),
    ] = Form.TEXT,
    tree: Annotated[
        bool,
        typer.Option(
            "--tree", help="The documents named are all there are: no subflow lies beside them."
        ),
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", metavar="error|warning", help="What exit code 1 is for.")
    ] = FailOn.ERROR,
    select: Annotated[
        list[str],
        typer.Option("--select", metavar="CODES", help="Only these, such as VF3,VF501."),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    ignore: Annotated[
        list[str], typer.Option("--ignore", metavar="CODES", help="Not these, such as VF501.")
    ] = [],  # noqa: B006 - as above
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Show infos, which ask for nothing, and files passed over."
        ),
    ] = False,
) -> int:
    """Find every problem of flow documents.

    A directory stands for the flow documents in it and below; its other JSON files are passed over.
    """
    _set_mode(session, report)
    policy = read_policy(select, ignore, fail_on)
    found = find_flows(path for path in flows if str(path) != _STDIN)
    documents = {str(path): read_document(path) for path in found.flows}
    if Path(_STDIN) in flows:
        documents[_STDIN_NAME] = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
    checked = _check(read_tree(documents), is_complete=tree)
    along = len(checked) - len(documents)
    results = {file: policy.applied(result) for file, result in checked.items()}
    left_out = _count(checked) - _count(results)
    done = Checked(results, policy, found, along, left_out, verbose=verbose)
    if report is Form.SARIF:
        items = list(done.shown())
        session.out.raw(
            json.dumps(render_sarif(items, version=__version__), indent=2, ensure_ascii=False)
        )
    else:
        _emit(session, done, render_github if report is Form.GITHUB else None)
    _say_total(session, done)
    return int(ExitCode.OK if done.ok else ExitCode.FAILED)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and how it is judged and shown.

    `along` counts the documents that were not named, `left_out` the findings that do not count.
    """

    results: Mapping[str, CheckResult]
    policy: Policy
    files: Found
    along: int = 0
    left_out: int = 0
    verbose: bool = False

    @property
    def ok(self) -> bool:
        return not any(map(self.policy.fails, self.results.values()))

    def shown(self) -> Iterator[Diagnostic]:
        return (item for r in self.results.values() for item in shown(r, verbose=self.verbose))


def _set_mode(session: Session, report: Form) -> None:
    """Let `--format json` be `--json`, unless lines of it are wanted.

    Raises:
        UsageError: two forms are wanted.
    """
    wanted = session.mode_flag if session.mode_flag in (Mode.JSON, Mode.JSONL) else None
    if report in _FOREIGN and wanted:
        raise UsageError(
            f"--format {report.value} and --{wanted.value} exclude each other",
            hint="leave one of them out",
            argument="--format",
        )
    if report is Form.JSON:
        session.mode_flag = wanted or Mode.JSON


def _count(results: Mapping[str, CheckResult]) -> int:
    return sum(len(result.diagnostics) for result in results.values())


def _check(read: Mapping[str, CheckResult], *, is_complete: bool) -> dict[str, CheckResult]:
    """Check documents as `art run` would each: with what lies beside them, unless they are all.

    A document from stdin lies nowhere, so nothing is said of what may be missing.
    """
    if is_complete:
        return check_read(read, Subflows(None, read).find)
    places: dict[Path | None, dict[str, CheckResult]] = {}
    for name, result in read.items():
        place = None if name == _STDIN_NAME else Path(name).parent
        places.setdefault(place, {})[name] = result
    checked: dict[str, CheckResult] = {}
    for place, group in places.items():
        find = Subflows(place, group).find if place else _known(read)
        checked |= {name: r for name, r in check_read(group, find).items() if name not in checked}
    return {**{name: checked[name] for name in read}, **checked}


def _known(read: Mapping[str, CheckResult]) -> Find:
    return {r.document.id: r.document for r in read.values() if r.document is not None}.get


class Subflows:
    """Where subflows are looked for: among what is checked, then in its directory if it has one."""

    def __init__(self, place: Path | None, checked: Mapping[str, CheckResult]) -> None:
        self._place = place
        self._checked = {
            name if place is None else Path(name).stem: result.document
            for name, result in checked.items()
            if result.document is not None
        }

    @cached_property
    def _library(self) -> FlowLibrary:
        from abstractruntime.workflow_bundle import FlowLibrary

        if self._place is None:
            return FlowLibrary(self._checked)
        return FlowLibrary.from_directory(self._place).with_documents(self._checked)

    def find(self, flow_id: str) -> FlowDocument | Absent:
        # Few documents run others, and most check without the packer.
        from abstractruntime.cli._packing import find_subflow

        return find_subflow(self._library, flow_id)


def check_report(done: Checked) -> JsonObject:
    """Give the `art-check/1` document."""
    return {
        "format": "art-check/1",
        "ok": done.ok,
        "files": [_file_report(f, r, done.policy) for f, r in done.results.items()],
        "passed_over": [str(path) for path in (*done.files.others, *done.files.too_large)],
        "left_out": done.left_out,
    }


def _file_report(file: str, result: CheckResult, policy: Policy) -> JsonObject:
    counts = count_by_severity([result])
    return {
        "file": file,
        "flow_id": result.document.id if result.document else None,
        "ok": not policy.fails(result),
        "errors": counts["error"],
        "warnings": counts["warning"],
        "infos": counts["info"],
        "omitted": result.omitted,
        "diagnostics": [item.to_dict() for item in result.diagnostics],
    }


def _emit(session: Session, done: Checked, render: Callable[[Diagnostic], str] | None) -> None:
    def text() -> Iterator[str]:
        for item in done.shown():
            yield from [render(item)] if render else render_text(item).split("\n")

    # Workflow commands are what this form is for; it escapes what it quotes.
    form = one_line if render else session.out.lead_line
    session.out.emit(check_report(done), text=text, items="files", line=form)


def _say_total(session: Session, done: Checked) -> None:
    note = session.out.note
    for file, result in done.results.items():
        if result.omitted:
            note(f"{file}: {result.omitted} more findings are left out")
    for path in done.files.too_large:
        note(f"warning: '{path}' is larger than any flow document can be; it is passed over")
    if done.verbose:
        for path in done.files.others:
            note(f"passed over, as it is no flow document: {path}")
        for path in done.files.not_entered:
            note(f"not entered: {path}")
    counts = count_by_severity(done.results.values())
    hidden = counts["info"] and not done.verbose
    more = "; infos ask for nothing, see them with -v" if hidden else ""
    if done.left_out:
        options = [o for o in ("select", "ignore") if getattr(done.policy, o)]
        findings = f"finding{'s' if done.left_out != 1 else ''}"
        more += (
            f"; {done.left_out} {findings} left out by {' and '.join(f'--{o}' for o in options)}"
        )
    if others := len(done.files.others):
        more += f"; {others} other JSON file{'s' if others != 1 else ''} passed over"
    total = f"{len(done.results)} document{'s' if len(done.results) != 1 else ''}"
    if done.along:
        total += f", {done.along} of them because another runs {'them' if done.along > 1 else 'it'}"
    note(f"{total}: {count_text(counts)}{more}")
