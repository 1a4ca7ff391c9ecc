"""The typed content of a flow document.

Way of data: bytes -> `FlowDocument` (JSON) -> `FlowContent` + diagnostics -> `FlowGraph` -> workflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abstractruntime.nodes.base import Element

EXEC_IN = "exec-in"
EXEC_OUT = "exec-out"
EXECUTION = "execution"
"""The type of pins that control goes through."""
SOURCE_KEY = "_listener_of"
"""The key in a derived document that names the flow it was drawn in."""


@dataclass(frozen=True, slots=True)
class DataEdge:
    """A value flows from `source.handle` into the pin `target.pin`; `index` is its place in `edges`."""

    source: str
    handle: str
    target: str
    pin: str
    index: int

    def at(self, key: str = "") -> str:
        """Give the pointer of the edge, or of one of its ends."""
        return _edge_pointer(self.index, key)


@dataclass(frozen=True, slots=True)
class ExecEdge:
    """Control flows from `source.handle` into `target`."""

    source: str
    handle: str
    target: str
    index: int

    def at(self, key: str = "") -> str:
        """Give the pointer of the edge, or of one of its ends."""
        return _edge_pointer(self.index, key)


def _edge_pointer(index: int, key: str) -> str:
    return f"/edges/{index}/{key}" if key else f"/edges/{index}"


@dataclass(frozen=True)
class FlowContent:
    """What is understood of a flow document; still to be checked and lowered.

    `data_edges` and `exec_edges` join existing nodes only. `positions` holds, element by
    element, the index in the document's `nodes`, where entries without an id are left out.
    """

    id: str
    name: str
    description: str
    interfaces: tuple[str, ...]
    elements: tuple[Element, ...]
    data_edges: tuple[DataEdge, ...]
    exec_edges: tuple[ExecEdge, ...]
    entry_node: str | None
    raw: Mapping[str, Any]
    positions: tuple[int, ...]

    @property
    def source_id(self) -> str:
        """The id of the flow as it was drawn: that of a listener is the flow it is part of."""
        source = self.raw.get(SOURCE_KEY)
        return source if isinstance(source, str) else self.id
