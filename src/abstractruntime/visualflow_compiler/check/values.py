"""Rules about values that do not arrive, and about defaults that do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from abstractruntime._json import JsonValue, escape_pointer
from abstractruntime.nodes.base import Element, NodeType
from abstractruntime.visualflow_compiler._model import DataEdge
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node
from abstractruntime.visualflow_compiler.check._order import (
    ANY_NAME,
    Order,
    ambient_reach,
    given_names,
)
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_CHAIN = ("start > say", "say > end")
_SAYS = node("say", "answer_user", "exec-in message", "exec-out message")
_START_SAYS = node("start", "on_flow_start", "", "exec-out message")
_DEFAULT = {"pinDefaults": {"message": "hello"}}
_SAYS_HELLO = node("say", "answer_user", "exec-in message", "exec-out message", **_DEFAULT)


def _default_pointer(graph: FlowGraph, node_id: str, pin: str) -> str:
    return node_pointer(graph, node_id, f"/data/pinDefaults/{escape_pointer(pin)}")


@rule(
    "VF307",
    "info",
    "a pin has an edge and a default",
    explanation="The edge counts. The default is not used, not even when the edge gives nothing: then "
    "the pin is absent.",
    bad=flow(START, _SAYS_HELLO, END, edges=(*_CHAIN, "start.text > say.message")),
    good=flow(START, _SAYS_HELLO, END, edges=_CHAIN),
)
def hidden_default(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        if node_id not in graph.served:
            continue
        for pin in element.pin_defaults:
            if pin in element.wired and _says_something(element.pin_defaults[pin]):
                yield Finding(
                    f"the default of pin {pin!r} of node {node_id!r} is not used: an edge enters it",
                    _default_pointer(graph, node_id, pin),
                    node_id=node_id,
                    pin=pin,
                    hint="delete the default, or feed the pin through a coalesce node",
                )


def _says_something(value: JsonValue) -> bool:
    return value not in (None, "", False, 0, [], {})


@rule(
    "VF308",
    "warning",
    "a default stands in the way of a parameter",
    explanation="The flow has a parameter with the name of this pin, and no edge enters the pin, so its "
    "default counts. Version 0.4.2 took the parameter instead. An edge says that the parameter is "
    "meant; another name says that it is not.",
    bad=flow(_START_SAYS, _SAYS_HELLO, END, edges=_CHAIN),
    good=flow(_START_SAYS, _SAYS_HELLO, END, edges=(*_CHAIN, "start.message > say.message")),
)
def shadowed_parameter(graph: FlowGraph) -> Iterator[Finding]:
    entry = graph.entry.node_id if graph.entry else ""
    parameters = graph.elements[entry].output_ids if entry else ()
    for node_id in ambient_reach(graph, entry):
        element, node_type = graph.elements[node_id], graph.types[node_id]
        names = _spellings(node_type)
        for pin in element.input_ids:
            is_open = pin not in element.wired and pin in element.pin_defaults
            if is_open and {pin, names.get(pin, pin)} & {*parameters}:
                yield Finding(
                    f"pin {pin!r} of node {node_id!r} takes its default, not the parameter {pin!r}",
                    _default_pointer(graph, node_id, pin),
                    node_id=node_id,
                    pin=pin,
                    notes=("0.4.2 took the parameter here",),
                    hint=f"connect {pin!r} of node {entry!r} to the pin, or delete the default",
                )


def _spellings(node_type: NodeType | None) -> Mapping[str, str]:
    """Map older spellings of the type's pins to the present ones."""
    pins = node_type.inputs if node_type is not None else ()
    return {alias: pin.id for pin in pins for alias in pin.aliases}


@rule(
    "VF309",
    "info",
    "a pin has its older name",
    explanation="The pin was renamed. Both names work, and when both are given the present one counts.",
    bad=flow(
        START,
        node(
            "say", "llm_call", "exec-in use_context", "exec-out", pinDefaults={"use_context": True}
        ),
        END,
        edges=_CHAIN,
    ),
    good=flow(
        START,
        node("say", "llm_call", "exec-in include_context", "exec-out"),
        END,
        edges=_CHAIN,
    ),
)
def older_name(graph: FlowGraph) -> Iterator[Finding]:
    found: dict[tuple[str, str], list[str]] = {}
    for node_id, element in graph.elements.items():
        names = _spellings(graph.types[node_id])
        for pin in sorted((element.wired | element.pin_defaults.keys()) & names.keys()):
            found.setdefault((element.type, pin), []).append(node_id)
    for (type_name, pin), (first, *others) in found.items():
        present = _spellings(graph.types[first])[pin]
        wire = next(iter(graph.entering(first, pin)), None)
        yield Finding(
            f"pin {pin!r} of {type_name} nodes is now called {present!r}",
            wire.at("targetHandle") if wire else _default_pointer(graph, first, pin),
            node_id=first,
            pin=pin,
            notes=(f"so it is at {', '.join(map(repr, others))}",) if others else (),
            hint="nothing has to be done: both names work",
        )


@rule(
    "VF310",
    "warning",
    "no pin of an end node is fed",
    explanation="The output of the run has exactly the pins of the end node. No edge enters any of them, "
    "and no step before it has a value of such a name, so all of them are null.",
    bad=flow(START, END, edges=("start > end",)),
    good=PASS,
)
def unfed_end(graph: FlowGraph) -> Iterator[Finding]:
    given = {name for node_id in graph.steps for name in given_names(graph, node_id)}
    for node_id in graph.steps:
        element = graph.elements[node_id]
        pins = [pin for pin in element.input_ids if pin != "success"]
        if not graph.facts(node_id).ends_run or node_id not in graph.served or not pins:
            continue
        fed = {*element.wired, *element.pin_defaults, *given}
        if ANY_NAME not in given and fed.isdisjoint(pins):
            yield Finding(
                f"no pin of end node {node_id!r} is fed, its output is all null",
                node_pointer(graph, node_id, "/data/inputs"),
                node_id=node_id,
                hint=f"connect a value to {pins[0]!r}, or delete the pins",
            )


@rule(
    "VF311",
    "warning",
    "a value comes from a step that cannot have run",
    explanation="A step has outputs only after it ran. No way leads from the source of this edge to the "
    "step that needs the value, so the pin is absent. A listener (on_event) is a run of its own: it sees "
    "no outputs of the flow it is drawn in.",
    bad=flow(
        START,
        _SAYS,
        node("ask", "ask_user", "exec-in prompt", "exec-out response"),
        END,
        edges=("start > say", "say > ask", "ask > end", "ask.response > say.message"),
    ),
    good=flow(
        START,
        _SAYS,
        node("ask", "ask_user", "exec-in prompt", "exec-out response"),
        END,
        edges=("start > ask", "ask > say", "say > end", "ask.response > say.message"),
    ),
)
def too_early(graph: FlowGraph) -> Iterator[Finding]:
    order: Order | None = None
    reported: set[int] = set()
    for node_id in graph.steps:
        if node_id not in graph.served:
            continue
        for edge in _step_sources(graph, node_id):
            order = order or Order(graph)
            if edge.index in reported or order.can_follow(node_id, edge.source):
                continue
            reported.add(edge.index)
            never = edge.source not in graph.served
            why = "which no run visits" if never else "which cannot have run by then"
            yield Finding(
                f"node {node_id!r} needs {edge.handle!r} of node {edge.source!r}, {why}",
                edge.at("source"),
                node_id=edge.target,
                pin=edge.pin,
                hint="put the source before it, or take the value from elsewhere",
            )


def _step_sources(graph: FlowGraph, node_id: str) -> Iterator[DataEdge]:
    """Give the edges through which a step needs outputs of other steps, pure nodes between them."""
    for consumer in (node_id, *graph.pure_ancestors(node_id)):
        for edge in graph.data_in.get(consumer, ()):
            if graph.is_step(edge.source) and edge.source != node_id:
                yield edge


# Tokens of known makers; a longer list would find more, and also more that is none.
_SECRET = re.compile(
    r"\b(?:sk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}"
    r"|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|hf_[A-Za-z0-9]{30,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:api_?key|password|passwd|secret|access_token|auth_token)$", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"[<{$*]|\b(?:your|example|dummy|changeme|xxx+|todo)\b", re.IGNORECASE)
_TEXTS = (
    "pinDefaults", "literalValue", "code", "codeBody", "expression", "effectConfig", "agentConfig",
)  # fmt: skip


@rule(
    "VF312",
    "warning",
    "the document holds a secret",
    explanation="A key or password in a document goes wherever the document goes: into version control, "
    "bundles and ledgers. Let the host add it when it calls the service, or give it as a parameter "
    "of the run. A secret that was stored once should be replaced.",
    bad=flow(
        START,
        node(
            "say", "answer_user", "exec-in", "exec-out", pinDefaults={"api_key": "k2v8-Zq81-P0aa"}
        ),
        END,
        edges=_CHAIN,
    ),
    good=flow(START, _SAYS_HELLO, END, edges=_CHAIN),
)
def secret(graph: FlowGraph) -> Iterator[Finding]:
    for element, index in graph.placed:
        for key in _TEXTS:
            if key in element.data:
                yield from _secrets(element, element.data[key], f"/nodes/{index}/data/{key}")


def _secrets(element: Element, value: JsonValue, pointer: str) -> Iterator[Finding]:
    todo = [("", value, pointer)]
    while todo:
        name, item, where = todo.pop()
        if isinstance(item, dict):
            todo += [(k, v, f"{where}/{escape_pointer(k)}") for k, v in item.items()]
        elif isinstance(item, list):
            todo += [(name, v, f"{where}/{i}") for i, v in enumerate(item)]
        elif isinstance(item, str) and _is_secret(name, item):
            what = f"{name!r}" if name else "a text"
            yield Finding(
                f"{what} of node {element.id!r} looks like a secret",
                where,
                node_id=element.id,
                pin=name or None,
                hint="take it out, replace it where it is valid, and let the host supply it",
            )


def _is_secret(name: str, text: str) -> bool:
    if _SECRET.search(text):
        return True
    named = _SECRET_NAME.search(name) is not None and len(text) >= 8 and " " not in text
    return named and _PLACEHOLDER.search(text) is None
