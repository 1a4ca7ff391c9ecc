"""Errors as people and scripts read them.

Rules:
1. Text is up to four lines: `error[code]: what`, `-->` where, `= note:` facts, `= hint:` next step.
2. JSON is `{"format": "art-error/1", "error": {...}}` on stdout; the exit code repeats `exit_code`.
3. An expected failure never shows a traceback; `ART_DEBUG=1` does.
"""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime.cli._hints import for_store
from abstractruntime.cli._output import Mode, Output
from abstractruntime.errors import (
    AbstractRuntimeError,
    ArchiveInvalid,
    ExitCode,
    FlowError,
    IntegrityError,
    NotFound,
    StoreFull,
    StoreIOError,
    UnsupportedFormat,
    Untrusted,
    UsageError,
)

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler.diagnostics import Diagnostic

_PLACES = ("file", "path", "member", "run_id", "bundle", "id")
_MAX_FACT = 200

# The first class that fits decides, when an error names no next step itself.
_STEPS_BY_CLASS: tuple[tuple[type[AbstractRuntimeError], str], ...] = (
    (ArchiveInvalid, "get the file again from where it came; nothing of it was used"),
    (IntegrityError, "see what is damaged: art doctor"),
    (FlowError, "see every problem of a flow: art check FLOW"),
    (
        UnsupportedFormat,
        "name a file in a form that this version reads, or update it: art --version",
    ),
    (Untrusted, "see which keys are trusted: art key list"),
)
_NEXT_STEPS: dict[ExitCode, str] = {
    ExitCode.USAGE: "see: art --help",
    ExitCode.REFUSED: "see what is allowed here: art config show --origin",
    ExitCode.NOT_FOUND: "check the spelling of what is named",
    ExitCode.IO: "check space and permissions, then repeat; nothing unfinished was acknowledged",
    ExitCode.BUSY: "repeat later, or stop the other process first",
    ExitCode.FAILED: "correct what the message names, then repeat",
}


def as_known_error(cause: BaseException) -> AbstractRuntimeError | None:
    """Give the error to report for an exception; None for a defect."""
    if isinstance(cause, AbstractRuntimeError):
        return cause
    if isinstance(cause, OSError):
        return _os_error(cause)
    if isinstance(cause, MemoryError):
        return UsageError(
            "the input needs more memory than there is",
            hint="give less at once, or raise the memory limit of the process",
        )
    if isinstance(cause, UnicodeDecodeError):
        return UsageError(f"input is not UTF-8: {cause.reason} at byte {cause.start}")
    if isinstance(cause, UnicodeEncodeError) and cause.reason == "surrogates not allowed":
        # Arguments that are not UTF-8 arrive as lone surrogates.
        given = cause.object[cause.start : cause.end]
        return UsageError(f"text is not UTF-8: {given!r}", hint="give whole characters")
    return _usage_error(cause)


def _os_error(cause: OSError) -> AbstractRuntimeError:
    name, reason = str(cause.filename or ""), cause.strerror or str(cause)
    if cause.errno == errno.ENOENT:
        return NotFound(f"no file '{name}'", hint="check the spelling of the path", path=name)
    kind = StoreFull if cause.errno in (errno.ENOSPC, errno.EDQUOT) else StoreIOError
    if not name:
        return kind(f"input or output failed: {reason}")
    return kind(f"cannot use '{name}': {reason}", path=name)


def _usage_error(cause: BaseException) -> UsageError | None:
    """Translate what the argument parser raised; its classes have a message to format."""
    render: Callable[[], str] | None = getattr(cause, "format_message", None)
    if render is None or getattr(cause, "exit_code", None) != ExitCode.USAGE:
        return None
    context = getattr(cause, "ctx", None)
    path = context.command_path if context is not None else "art"
    message = render().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"see: {path} --help")


def report_error(out: Output, error: AbstractRuntimeError, cause: BaseException) -> int:
    """Show an expected failure and give its exit code."""
    if os.environ.get("ART_DEBUG"):
        traceback.print_exception(cause)
    if out.mode in (Mode.JSON, Mode.JSONL):
        document = error_document(error)
        document["error"]["hint"] = for_store(document["error"]["hint"], out.store)
        out.emit(document, text=list)
    else:
        out.complain(error_lines(error))
    return int(error.exit_code)


def report_defect(out: Output, cause: BaseException) -> int:
    """Show a defect of ours: what it was, and where the details are kept."""
    import tempfile

    details = "".join(traceback.format_exception(cause))
    with tempfile.NamedTemporaryFile(
        "w", prefix="art-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(details)
    if os.environ.get("ART_DEBUG"):
        out.complain(details.split("\n"))
    error = Defect(
        f"a defect of abstractruntime: {type(cause).__name__}: {cause}",
        hint=f"report it with the details in {file.name}",
        path=file.name,
    )
    return report_error(out, error, error)


class Defect(AbstractRuntimeError):  # noqa: N818 - named like the errors of `errors`
    """Something that should not happen."""

    exit_code = ExitCode.INTERNAL
    code = "internal"


def error_document(error: AbstractRuntimeError) -> JsonObject:
    """Give the `art-error/1` document."""
    body = {**error.to_dict(), "hint": _hint(error), "details": _plain(error.details)}
    if isinstance(error, FlowError):
        body["diagnostics"] = [item.to_dict() for item in error.findings]
    return {"format": "art-error/1", "error": body}


def error_lines(error: AbstractRuntimeError) -> list[str]:
    """Give the lines for people."""
    if isinstance(error, FlowError) and error.findings:
        return list(_diagnostic_lines(error.findings))
    return list(_plain_lines(error))


def _diagnostic_lines(findings: tuple[Diagnostic, ...]) -> Iterator[str]:
    from abstractruntime.visualflow_compiler.check import render_text

    for item in findings:
        if item.severity != "info":  # it asks for nothing
            yield from render_text(item).split("\n")


def _plain_lines(error: AbstractRuntimeError) -> Iterator[str]:
    yield f"error[{error.code}]: {error.message}"
    where = next((key for key in _PLACES if error.details.get(key)), None)
    if where is not None:
        yield f"  --> {where} {error.details[where]}"
    facts = [
        _fact(k, v)
        for k, v in error.details.items()
        if k != where and v not in (None, []) and not _is_table(v)
    ]
    if facts:
        yield f"  = note: {'; '.join(facts)}"
    yield f"  = hint: {_hint(error)}"


def _hint(error: AbstractRuntimeError) -> str:
    if error.hint:
        return error.hint
    if error.details.get("path") and isinstance(error, NotFound):
        return "check the spelling of the path"
    if error.details.get("path") and isinstance(error, UsageError):
        return "name another file, or correct this one"
    fitting = (step for kind, step in _STEPS_BY_CLASS if isinstance(error, kind))
    return next(fitting, _NEXT_STEPS.get(error.exit_code, "see: art explain exit-codes"))


def _is_table(value: Any) -> bool:
    """Tell what only programs read: the message says the same in words."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _fact(name: str, value: Any) -> str:
    items = value if isinstance(value, list | tuple) else [value]
    shown = ", ".join(map(_shown, items))
    if len(shown) > _MAX_FACT:
        shown = shown[:_MAX_FACT] + "..."
    return f"{name.replace('_', ' ')} {shown}"


def _shown(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False) if isinstance(value, dict) else str(value)


def _plain(value: Any) -> Any:
    """Give details as JSON values; anything else becomes its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
