"""Rules about node types and their configuration."""

from __future__ import annotations

from collections.abc import Iterator

from abstractruntime.nodes._base import Element
from abstractruntime.nodes._registry import REFUSED_TYPES, similar_types
from abstractruntime.visualflow_compiler._check._examples import END, PASS, START, flow, node
from abstractruntime.visualflow_compiler._check._rules import (
    Finding,
    Rule,
    declare,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler._graph import FlowGraph

_RECALL = {"pinDefaults": {"use_kg_memory": True}}
_CHAIN = ("start > middle", "middle > end")


@rule(
    "VF201",
    "error",
    "the node type does not exist",
    explanation="Nobody knows what this node should do. Earlier versions copied its inputs to "
    "its outputs, which gave wrong results without a word.",
    bad=flow(START, node("middle", "upercase", "exec-in text", "exec-out"), END, edges=_CHAIN),
    good=flow(START, node("middle", "uppercase", "exec-in text", "exec-out"), END, edges=_CHAIN),
)
def unknown_type(graph: FlowGraph) -> Iterator[Finding]:
    for element in _of_no_type(graph):
        if element.type not in REFUSED_TYPES:
            yield Finding(
                f"node {element.id!r} has the unknown type {element.type!r}"
                if element.type
                else f"node {element.id!r} has no type",
                node_pointer(graph, element.id, "/type"),
                node_id=element.id,
                hint=did_you_mean(similar_types(element.type)),
            )


@rule(
    "VF202",
    "error",
    "the node type is not supported",
    explanation="Another editor or version knows this node type; this version does not run "
    "it. The hint says what does the same job here.",
    bad=flow(START, node("middle", "join_exec", "exec-in", "exec-out"), END, edges=_CHAIN),
    good=PASS,
)
def refused_type(graph: FlowGraph) -> Iterator[Finding]:
    for element in _of_no_type(graph):
        if element.type in REFUSED_TYPES:
            yield Finding(
                f"node {element.id!r} has the type {element.type!r}, "
                "which this version does not support",
                node_pointer(graph, element.id, "/type"),
                node_id=element.id,
                hint=REFUSED_TYPES[element.type],
            )


def _of_no_type(graph: FlowGraph) -> Iterator[Element]:
    for node_id, element in graph.elements.items():
        if graph.types[node_id] is None:
            yield element


declare(
    Rule(
        "VF203",
        "error",
        "a node is configured wrongly",
        "The node type looked at the configuration of the node and found something that can "
        "only fail, or that does not mean what it seems to.",
        bad=flow(
            START,
            node("middle", "llm_call", "exec-in use_kg_memory", "exec-out", **_RECALL),
            END,
            edges=_CHAIN,
        ),
        good=PASS,
    )
)
declare(
    Rule(
        "VF204",
        "warning",
        "a subflow node names no flow",
        "The node runs the flow whose id is in data.subflowId. Without one, the run fails "
        "when it gets here.",
        bad=flow(START, node("middle", "subflow", "exec-in", "exec-out"), END, edges=_CHAIN),
        good=flow(
            START,
            node("middle", "subflow", "exec-in", "exec-out", subflowId="child"),
            END,
            edges=_CHAIN,
        ),
    )
)
declare(
    Rule(
        "VF205",
        "error",
        "a subflow is missing",
        "A subflow node names a flow that is not among the given documents. Add its document, "
        "or correct the id; a bundle must hold every flow that it can run.",
        bad=flow(
            START,
            node("middle", "subflow", "exec-in", "exec-out", subflowId="gone"),
            END,
            edges=_CHAIN,
        ),
        good=PASS,
    )
)
