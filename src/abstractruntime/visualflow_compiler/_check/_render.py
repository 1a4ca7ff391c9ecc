"""Diagnostics for people, for GitHub annotations, and as SARIF."""

from __future__ import annotations

from collections.abc import Iterable

from abstractruntime._json import JsonObject, split_pointer
from abstractruntime.visualflow_compiler._check._rules import RULES
from abstractruntime.visualflow_compiler._model import Diagnostic

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_text(item: Diagnostic) -> str:
    """Give the diagnostic in up to five lines: what, where, notes, what to do."""
    lines = [f"{item.severity}[{item.code}]: {item.message}", f"  --> {_where(item)}"]
    lines += [f"  = note: {note}" for note in item.notes]
    advice = f"{item.hint}  " if item.hint else ""
    lines.append(f"  = hint: {advice}see: art explain {item.code}")
    return "\n".join(lines)


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
    return f"::{item.severity} {shown}::{_escape(text, in_property=False)}"


def render_sarif(items: Iterable[Diagnostic], *, version: str) -> JsonObject:
    """Give one SARIF 2.1.0 log; `version` is that of this tool."""
    found = tuple(items)
    codes = sorted({item.code for item in found})
    driver = {"name": "art check", "version": version, "rules": [_sarif_rule(c) for c in codes]}
    run = {"tool": {"driver": driver}, "results": [_sarif_result(item) for item in found]}
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


def _sarif_rule(code: str) -> JsonObject:
    rule: JsonObject = {"id": code}
    if code in RULES:
        rule["shortDescription"] = {"text": RULES[code].title}
        rule["fullDescription"] = {"text": RULES[code].explanation}
    return rule


def _sarif_result(item: Diagnostic) -> JsonObject:
    location: JsonObject = {"artifactLocation": {"uri": item.file or "flow.json"}}
    if item.line is not None:
        location["region"] = {"startLine": item.line, "startColumn": item.column or 1}
    return {
        "ruleId": item.code,
        "level": item.severity,
        "message": {"text": item.message if item.hint is None else f"{item.message}. {item.hint}"},
        "locations": [
            {
                "physicalLocation": location,
                "logicalLocations": [{"fullyQualifiedName": item.pointer or "/"}],
            }
        ],
    }
