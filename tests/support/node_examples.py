"""Performs the examples of node types: any kind, without a flow and a store."""

from __future__ import annotations

import copy
import json
import random
import re
from datetime import datetime, timezone
from fnmatch import fnmatch
from typing import Any

from abstractruntime.nodes.base import (
    ControlNode,
    EffectNode,
    Element,
    ElementPin,
    Example,
    NodeType,
    PlannedEffect,
    Stage,
    StagedNode,
)
from abstractruntime.nodes.services import FileListing
from abstractruntime.sandbox import InProcessRunner
from abstractruntime.storage.artifacts import InMemoryArtifactStore

_RANDOM_ID = re.compile(r"msg_[0-9a-f]{32}")


class Surroundings:
    """What a node may use, as the example says."""

    run_id = "run-1"
    flow_id = "flow-1"
    code = InProcessRunner()

    def __init__(self, around: dict[str, Any]) -> None:
        around = copy.deepcopy(around)
        self.random = random.Random(0)
        self.vars = around.get("variables", {})
        self.ambient = around.get("ambient")
        self.paths = around.get("files", {})
        self.handles = tuple(around.get("handles", ("loop", "done")))
        self.offers = around.get("models", {})
        self.files = self
        self.catalog = self
        self.artifacts = InMemoryArtifactStore()
        for text in around.get("artifacts", ()):
            self.artifacts.store(text.encode(), content_type="text/plain", run_id=self.run_id)

    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

    def providers(self) -> list[str]:
        return list(self.offers)

    def models(self, provider: str) -> list[str]:
        return list(self.offers.get(provider, ()))

    def read(self, path: str, *, limit: int) -> bytes:
        return str(self.paths[path]).encode()[:limit]

    def write(self, path: str, data: bytes) -> str:
        self.paths[path] = data.decode()
        return f"/workspace/{path}"

    def list_files(self, folder: str, *, pattern: str, recursive: bool, limit: int) -> FileListing:
        inside = "" if folder == "." else f"{folder}/"
        names = [path.removeprefix(inside) for path in self.paths if path.startswith(inside)]
        found = [n for n in names if fnmatch(n, pattern) and (recursive or "/" not in n)]
        return FileListing(tuple(inside + name for name in found[:limit]), len(found) > limit)


def perform(node_type: NodeType, example: Example) -> Example:
    """Give the example with what the node really does."""
    scope: Any = Surroundings(example.around)
    element = _element(node_type, example)
    inputs = copy.deepcopy(example.inputs)
    asks = None
    output: Any
    if isinstance(node_type, EffectNode):
        planned = _planned(node_type, element, inputs, scope)
        name, payload = planned.effect, planned.payload
        echo = (
            node_type.echo(element, inputs, planned) if isinstance(planned, PlannedEffect) else {}
        )
        asks = {name: payload}
        output = {**echo, **node_type.pins(element, copy.deepcopy(example.result))}
    elif isinstance(node_type, ControlNode):
        output = list(_turns(node_type, element, inputs, scope, len(example.output)))
    else:
        output = node_type.evaluate(element, inputs, scope)
    after = {"variables": scope.vars, "files": scope.paths}
    changed = {name: v for name, v in after.items() if v != example.around.get(name, {})}
    output, changed = json.loads(_RANDOM_ID.sub("msg_1", json.dumps([output, changed])))
    return Example(
        example.inputs, output, example.data, example.around, changed, asks, example.result
    )


def _planned(node_type: Any, element: Element, inputs: Any, scope: Any) -> Any:
    if isinstance(node_type, StagedNode):
        move = node_type.advance(element, {}, inputs, scope)
        assert isinstance(move, Stage | PlannedEffect), "an example shows a call that is made"
        return move
    return node_type.plan(element, inputs, scope)


def _turns(node_type: ControlNode, element: Element, inputs: Any, scope: Any, most: int) -> Any:
    frame = node_type.open_frame(element, inputs, scope.handles)
    for _ in range(most):
        turn = node_type.next_turn(element, frame, inputs, scope.ambient)
        if turn is None:
            if node_type.exit_handle:
                yield {"handle": node_type.exit_handle}
            return
        yield {"handle": turn.handle, **(turn.record or {})}


def _element(node_type: NodeType, example: Example) -> Element:
    data = example.data
    return Element(
        "node-1",
        node_type.type,
        data=data,
        inputs=_pins(data.get("inputs", ())),
        outputs=_pins(data.get("outputs", ())),
        pin_defaults=data.get("pinDefaults", {}),
    )


def _pins(declared: Any) -> tuple[ElementPin, ...]:
    return tuple(ElementPin(pin["id"], pin.get("type", "any")) for pin in declared)
