"""Trying what a flow computes from constants alone, so that a run is not the first to find that it fails.

Rules:
1. What is tried is the node's own code with the inputs of a run, so check and run cannot disagree.
2. A node that asks for anything but constants is left alone: an input that is computed, variables,
   time, chance, models, files, author code.
3. Nothing is changed outside, and all values together are at most `MOST_TRIED` characters; what
   comes after that is not tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from abstractruntime._json import JsonObject, JsonValue, isolate, normalise
from abstractruntime._near import close_names
from abstractruntime.nodes.base import (
    MISSING,
    ControlNode,
    EffectNode,
    NodeError,
    Problem,
    Scope,
    StagedNode,
    ValueNode,
)
from abstractruntime.nodes.budget import bounded
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._order import AmbientKeys
from abstractruntime.visualflow_compiler.check._rules import Rule, declare, did_you_mean
from abstractruntime.visualflow_compiler.graph import FlowGraph

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler._lower._program import Unit

MOST_TRIED: Final = 1_000_000


def _divided_by(number: int) -> JsonObject:
    share = node("share", "divide", "a b", "result", pinDefaults={"a": 10, "b": number})
    return flow(START, share, END, edges=("start > end", "share.result > end.answer"))


declare(
    Rule(
        "VF319",
        "warning",
        "a node fails whenever it runs",
        "All that the node needs is written in the document, so the check computed it, and it fails. A run "
        "fails in the same way when it gets here.",
        bad=_divided_by(0),
        good=_divided_by(2),
    )
)


def tried(graph: FlowGraph) -> Mapping[str, list[Problem]]:
    """Give what is found of each node that a run can visit, by trying it."""
    trial = _Trial(graph, AmbientKeys(graph))
    steps = [node_id for node_id in graph.steps if node_id in graph.served]
    found = {node_id: trial.found(node_id) for node_id in (*graph.pure_ancestors(*steps), *steps)}
    return {node_id: problems for node_id, problems in found.items() if problems}


class _Unknown(BaseException):
    """Stops a node that asks for what no document says. Hazard: nodes may catch any `Exception`."""


def _stop(*_: object, **__: object) -> NoReturn:
    raise _Unknown


class _Scope:
    """A scope of which nothing is known but that no path leaves a workspace."""

    def __getattr__(self, name: str) -> Any:
        raise _Unknown

    @property
    def files(self) -> _Files:
        return _Files()


class _Files:
    """Files of which nobody knows whether they are there."""

    def read(self, path: str, *, limit: int) -> NoReturn:  # noqa: ARG002 - as nodes call it
        _look(path)

    def write(self, path: str, data: bytes) -> NoReturn:  # noqa: ARG002 - as nodes call it
        _look(path)

    def list_files(self, folder: str, **_: object) -> NoReturn:
        _look(folder)


def _look(path: str) -> NoReturn:
    # Whatever the root and the part of it that the run is left: no link is met before the first name.
    names = [part for part in path.strip().removeprefix("@").split("/") if part not in ("", ".")]
    if names[:1] == [".."] and not path.startswith("/"):
        raise NodeError(f"'{path}' leads out of the workspace")
    raise _Unknown


class _Partial(dict[str, Any]):
    """Inputs of which some are no constants; asking for one of them, or for all, ends the trial."""

    def __init__(self, known: JsonObject, names: frozenset[str] | None) -> None:
        super().__init__(known)
        self._unknown = names
        """The names of those that are none; None for any that is not known."""

    def _require(self, name: str) -> None:
        is_open = (
            name in self._unknown
            if self._unknown is not None
            else not dict.__contains__(self, name)
        )
        if is_open:
            raise _Unknown

    def __getitem__(self, name: str) -> Any:
        self._require(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._require(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._require(name)
        return super().get(name, default)

    __iter__ = __len__ = __eq__ = __or__ = __ror__ = _stop
    keys = values = items = copy = pop = popitem = setdefault = _stop


@dataclass
class _Trial:
    """The records of the pure nodes whose inputs are constants, sources first."""

    graph: FlowGraph
    ambient: AmbientKeys
    units: dict[str, Unit] = field(default_factory=dict)
    records: dict[str, JsonValue] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    left: int = MOST_TRIED

    def found(self, node_id: str) -> list[Problem]:
        """Try one node, and keep the record of a pure one."""
        graph, node_type = self.graph, self.graph.types[node_id]
        if node_type is None or graph.elements[node_id].goes_on:
            return []
        # Rules are explained without what makes programs.
        from abstractruntime.visualflow_compiler._lower._program import make_unit  # noqa: PLC0415 - see above

        unit = make_unit(graph, node_id, node_type)
        self.left -= sum(self.sizes.get(wire.source, 0) for wire in unit.wires)
        if self.left < 0 or graph.problems[node_id]:
            return []
        inputs = self._inputs(unit)
        try:
            record = _made(unit, inputs)
        except _Unknown:
            return [*_doubts(unit, inputs), *_lacking(unit, inputs)]
        # What a run catches, too: it ends with the text of any exception.
        except Exception as cause:  # noqa: BLE001 - see above
            return [_failing(cause)]
        if not graph.is_step(node_id):
            self.units[node_id], self.records[node_id] = unit, record
            self.sizes[node_id] = len(record) if type(record) is str else len(json.dumps(record))
            self.left -= self.sizes[node_id]
        return _doubts(unit, inputs)

    def _inputs(self, unit: Unit) -> JsonObject:
        """Give the inputs of a run, as far as they are constants."""
        fixed = unit.defaults.keys() | unit.wired
        carried = self._carried(unit)
        found: JsonObject = dict(unit.defaults)
        if carried is not None:
            found = {**unit.spare, **found}
            for pin in carried - fixed:
                found.pop(pin, None)
        for pin in unit.wired:
            found.pop(pin, None)
        computed = set()
        for wire in unit.wires:
            if wire.source not in self.records:
                computed.add(wire.pin)
                continue
            value = self.units[wire.source].output(self.records[wire.source], wire.handle)
            if value is not MISSING:
                found[wire.pin] = value
        found = found if isinstance(unit.type, ValueNode) else isolate(found)
        unknown = None if carried is None else frozenset(carried - fixed | computed)
        return _Partial(found, unknown) if unknown or unknown is None else found

    def _carried(self, unit: Unit) -> frozenset[str] | None:
        """Give the pins that the ambient value may feed, None for any."""
        if not self.graph.is_step(unit.id):
            return frozenset()
        keys = None if unit.input_key else self.ambient.of(unit.id)
        if unit.known is None:
            return keys
        return frozenset(pin for name, pin in unit.known.items() if keys is None or name in keys)


def _made(unit: Unit, inputs: JsonObject) -> JsonValue:
    """Give what a visit of the node makes first: its record, its frame, or its request."""
    if unit.closed_key:
        raise NodeError(unit.closed_key)
    node_type, element, scope = unit.type, unit.element, cast("Scope", _Scope())
    if isinstance(node_type, StagedNode):
        node_type.advance(element, {}, inputs, scope)
        raise _Unknown
    if isinstance(node_type, EffectNode):
        return bounded(normalise(node_type.plan(element, inputs, scope).payload))
    if isinstance(node_type, ControlNode):
        return normalise(node_type.open_frame(element, inputs, tuple(unit.targets)))
    return bounded(normalise(node_type.evaluate(element, inputs, scope)))


def _doubts(unit: Unit, inputs: JsonObject) -> list[Problem]:
    return list(_known_doubts(unit, inputs))


def _known_doubts(unit: Unit, inputs: JsonObject) -> Iterator[Problem]:
    try:
        yield from unit.type.doubts(unit.element, inputs)
    except _Unknown:
        return


def _lacking(unit: Unit, inputs: JsonObject) -> Iterator[Problem]:
    for name in unit.type.names_needed(unit.element):
        try:
            is_there = name in inputs
        except _Unknown:
            continue
        if not is_there:
            yield Problem(
                f"uses {name!r}, which no input gives; its output is always an error",
                "VF408",
                hint=did_you_mean(close_names(name, unit.element.input_ids))
                or "add an input of this name",
            )


def _failing(cause: Exception) -> Problem:
    return Problem(
        f"fails whenever it runs: {str(cause) or type(cause).__name__}",
        "VF319",
        hint="correct the constants that it is given, or give it others",
    )
