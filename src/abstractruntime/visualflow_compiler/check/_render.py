"""Diagnostics for people, for GitHub annotations, and as SARIF."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePath
from urllib.parse import quote

from abstractruntime._json import JsonObject, split_pointer
from abstractruntime._text import one_line
from abstractruntime.visualflow_compiler.check._rules import RULES
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic

_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}
_SARIF = {"error": "error", "warning": "warning", "info": "note"}
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_text(item: Diagnostic) -> str:
    """Give the diagnostic in up to five lines: what, where, notes, what to do."""
    lines = [f"{item.severity}[{item.code}]: {item.message}", f"  --> {_where(item)}"]
    lines += [f"  = note: {note}" for note in item.notes]
    advice = f"{item.hint}  " if item.hint else ""
    lines.append(f"  = hint: {advice}see: art explain {item.code}")
    return "\n".join(map(one_line, lines))


def render_github(item: Diagnostic) -> str:
    """Give the diagnostic as a workflow command, which marks the line in a pull request."""
    properties = {
        "file": item.file,
        "line": item.line,
        "col": item.column,
        "title": f"{item.code} {_title(item.code)}".strip(),
    }
    shown = ",".join(
        f"{name}={_escape(str(value), in_property=True)}"
        for name, value in properties.items()
        if value is not None
    )
    text = item.message if item.hint is None else f"{item.message}\nhint: {item.hint}"
    return f"::{_GITHUB[item.severity]} {shown}::{_escape(text, in_property=False)}"


def render_sarif(items: Iterable[Diagnostic], *, version: str) -> JsonObject:
    """Give one SARIF 2.1.0 log; `version` is that of this tool.

    Files are relative to the directory that the tool ran in, which is `%SRCROOT%`. A finding
    keeps its fingerprint when lines above it come or go.
    """
    found = tuple(items)
    codes = sorted({item.code for item in found})
    driver = {
        "name": "art check",
        "version": version,
        "semanticVersion": version.replace(".dev", "-dev."),
        "rules": [_sarif_rule(code) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True}],
        "artifacts": [{"location": _sarif_file(file)} for file in _files(found)],
        "results": [_sarif_result(item, codes.index(item.code)) for item in found],
    }
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _where(item: Diagnostic) -> str:
    place = item.file or "<flow>"
    if item.line is not None:
        place += f":{item.line}:{item.column}"
    path = render_pointer(item.pointer)
    return "  ".join(part for part in (place, path, _node(item)) if part)


def _node(item: Diagnostic) -> str:
    facts = []
    if item.node_id is not None:
        facts.append(
            f'node "{item.node_label}", id {item.node_id}'
            if item.node_label
            else f"node {item.node_id}"
        )
    if item.pin is not None:
        facts.append(f'pin "{item.pin}"')
    return f"({', '.join(facts)})" if facts else ""


def render_pointer(pointer: str) -> str:
    """Give a pointer as people write paths: `/edges/7/target` is `edges[7].target`."""
    shown = ""
    for token in split_pointer(pointer):
        shown += f"[{token}]" if token.isdecimal() else f".{token}" if shown else token
    return shown


def _title(code: str) -> str:
    return RULES[code].title if code in RULES else ""


def _escape(text: str, *, in_property: bool) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text


def _files(items: Iterable[Diagnostic]) -> list[str | None]:
    return list(dict.fromkeys(item.file for item in items))


def _sarif_file(file: str | None) -> JsonObject:
    path = PurePath(file or "flow.json")
    if path.is_absolute():
        return {"uri": path.as_uri()}
    return {"uri": quote(path.as_posix()), "uriBaseId": "%SRCROOT%"}


def _sarif_rule(code: str) -> JsonObject:
    rule: JsonObject = {"id": code}
    if code in RULES:
        known = RULES[code]
        rule |= {
            "name": _rule_name(known.title),
            "shortDescription": {"text": known.title},
            "fullDescription": {"text": known.explanation},
            "defaultConfiguration": {"level": _SARIF[known.severity]},
        }
    rule["help"] = {"text": f"art explain {code}"}
    return rule


def _rule_name(title: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", title))


def _sarif_result(item: Diagnostic, rule_index: int) -> JsonObject:
    physical: JsonObject = {"artifactLocation": _sarif_file(item.file)}
    if item.line is not None:
        physical["region"] = {"startLine": item.line, "startColumn": item.column or 1}
    logical: JsonObject = {"fullyQualifiedName": item.pointer or "/"}
    if item.node_id is not None:
        logical |= {"name": item.node_label or item.node_id, "kind": "member"}
    parts = [item.message, *item.notes, *([item.hint] if item.hint is not None else [])]
    return {
        "ruleId": item.code,
        "ruleIndex": rule_index,
        "level": _SARIF[item.severity],
        "message": {"text": ". ".join(parts)},
        "locations": [{"physicalLocation": physical, "logicalLocations": [logical]}],
        "partialFingerprints": {"artFinding/v1": _fingerprint(item)},
    }


def _fingerprint(item: Diagnostic) -> str:
    """Give a digest of what is found, without the place in the file that a change above moves."""
    where = item.node_id or item.pointer
    text = "\0".join((item.code, item.file or "", where, item.pin or "", item.message))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
