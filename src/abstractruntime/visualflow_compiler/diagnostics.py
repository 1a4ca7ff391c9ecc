"""What is wrong with a flow document, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a document; `pointer` is an RFC 6901 path into it."""

    code: str
    severity: Severity
    message: str
    pointer: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    node_id: str | None = None
    node_label: str | None = None
    pin: str | None = None
    notes: tuple[str, ...] = ()
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "file": self.file,
            "pointer": self.pointer,
            "line": self.line,
            "column": self.column,
            "node_id": self.node_id,
            "node_label": self.node_label,
            "pin": self.pin,
            "notes": list(self.notes),
            "hint": self.hint,
            "docs": f"docs/reference/diagnostics.md#{self.code.lower()}",
        }
