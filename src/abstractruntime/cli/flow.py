"""`art check`: every problem of flow documents in one pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import log_line, one_line
from abstractruntime._version import __version__
from abstractruntime.cli._files import flow_files, read_document
from abstractruntime.cli._output import Mode
from abstractruntime.cli._session import Session
from abstractruntime.errors import ExitCode, UsageError
from abstractruntime.visualflow_compiler.check import (
    CheckResult,
    check_document,
    check_tree,
    render_github,
    render_sarif,
    render_text,
)

_FORMATS = ("text", "json", "github", "sarif")


def check(
    session: Session,
    flows: Annotated[
        list[Path], typer.Argument(metavar="FLOW|DIR...", help="Documents, or directories of them.")
    ],
    report: Annotated[
        str,
        typer.Option("--format", metavar="text|json|github|sarif", help="Form of the findings."),
    ] = "text",
    tree: Annotated[
        bool,
        typer.Option("--tree", help="The documents are complete: missing subflows are errors."),
    ] = False,
) -> int:
    """Find every problem of flow documents. Exit code 1 when there is an error."""
    if report not in _FORMATS:
        raise UsageError(f"unknown format {report!r}", hint=f"use {', '.join(_FORMATS)}")
    if report == "json":
        session.mode_flag = Mode.JSON
    documents = {str(path): read_document(path) for path in flow_files(flows)}
    results = check_all(documents, tree=tree)
    if report == "sarif":
        found = [item for result in results.values() for item in result.diagnostics]
        session.out.raw(
            json.dumps(render_sarif(found, version=__version__), indent=2, ensure_ascii=False)
        )
    else:
        _emit(session, results, report)
    return int(ExitCode.OK if all(item.ok for item in results.values()) else ExitCode.FAILED)


def check_all(documents: dict[str, bytes], *, tree: bool) -> dict[str, CheckResult]:
    if tree:
        return check_tree(documents)
    return {file: check_document(data, file=file) for file, data in documents.items()}


def check_report(results: dict[str, CheckResult]) -> JsonObject:
    """Give the `art-check/1` document."""
    return {
        "format": "art-check/1",
        "ok": all(result.ok for result in results.values()),
        "files": [_file_report(file, result) for file, result in results.items()],
    }


def _file_report(file: str, result: CheckResult) -> JsonObject:
    warnings = [item for item in result.diagnostics if item.severity == "warning"]
    return {
        "file": file,
        "flow_id": result.document.id if result.document else None,
        "ok": result.ok,
        "errors": len(result.errors),
        "warnings": len(warnings),
        "omitted": result.omitted,
        "diagnostics": [item.to_dict() for item in result.diagnostics],
    }


def _emit(session: Session, results: dict[str, CheckResult], report: str) -> None:
    def text() -> Iterator[str]:
        for result in results.values():
            for item in result.diagnostics:
                if is_github:
                    yield render_github(item)
                else:
                    yield from render_text(item).split("\n")

    is_github = report == "github"
    # Workflow commands are what this form is for; it escapes what it quotes.
    form = one_line if is_github else log_line
    session.out.emit(check_report(results), text=text, items="files", line=form)
    for file, result in results.items():
        if result.omitted:
            session.out.note(f"{file}: {result.omitted} more findings are left out")
    bad = sum(not result.ok for result in results.values())
    total = f"{len(results)} document{'s' if len(results) != 1 else ''}"
    session.out.note(f"{total}: {f'{bad} with errors' if bad else 'no errors'}")
