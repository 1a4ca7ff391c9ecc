"""A scope for evaluating node types without a flow."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from typing import Any

from abstractruntime.nodes.base import Element, ElementPin, StagedNode
from abstractruntime.nodes.registry import find_node_type

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)


class FakeScope:
    """Variables, an ambient value and a clock that stands still."""

    run_id = "run-1"
    flow_id = "f"
    random = random.Random(1)
    code: Any = None
    catalog: Any = None
    files: Any = None
    artifacts: Any = None

    def __init__(self, variables: dict[str, Any] | None = None, ambient: Any = None) -> None:
        self.vars = {} if variables is None else variables
        self.ambient = ambient

    def now(self) -> datetime:
        return NOON


def element(kind: str, *, ins: str = "", outs: str = "", **data: Any) -> Element:
    return Element(
        "n",
        kind,
        data=data,
        inputs=_pins(ins),
        outputs=_pins(outs),
        exec_inputs=("exec-in",),
        pin_defaults=data.get("pinDefaults", {}),
    )


def _pins(names: str) -> tuple[ElementPin, ...]:
    pairs = (name.partition(":") for name in names.split())
    return tuple(ElementPin(pin, kind or "any") for pin, _, kind in pairs)


def evaluate(
    kind: str, inputs: Any = None, variables: dict[str, Any] | None = None, **how: Any
) -> Any:
    node_type = find_node_type(kind)
    assert node_type is not None
    scope = FakeScope(variables)
    return node_type.evaluate(element(kind, **how), inputs if inputs is not None else {}, scope)


def plan(
    kind: str, inputs: dict[str, Any], variables: dict[str, Any] | None = None, **how: Any
) -> Any:
    """Give the payload that an effect node plans on its first visit."""
    node_type: Any = find_node_type(kind)
    scope = FakeScope(variables)
    if isinstance(node_type, StagedNode):
        move: Any = node_type.advance(element(kind, **how), {}, inputs, scope)
        return move.payload
    return node_type.plan(element(kind, **how), inputs, scope).payload


def pins(kind: str, result: Any, **how: Any) -> Any:
    node_type: Any = find_node_type(kind)
    return node_type.pins(element(kind, **how), result)
