"""Rules about node types and their configuration."""

from __future__ import annotations

from collections.abc import Iterator

from abstractruntime.nodes.base import ControlNode, Element, NodeType
from abstractruntime.nodes.registry import REFUSED_TYPES, similar_types
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    Rule,
    declare,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_ALLOWLIST = {"effectConfig": {"allowed_tools": ["read_file"]}}
_UNKNOWN_POLICY = {"effectConfig": {"on_child_failure": "ignore"}}
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


@rule(
    "VF206",
    "error",
    "onError cannot be honoured",
    explanation='With data.onError "continue" a node that fails gives its error at the pin `error` and '
    'control goes on through exec-out. The other value is "fail", which is what happens without it. '
    "Nodes without exec-out, triggers, and control nodes have no way to go on.",
    bad=flow(
        START,
        node("check", "if", "exec-in condition", "true false", onError="continue"),
        END,
        edges=("start > check", "check.true > end"),
    ),
    good=flow(
        START,
        node("middle", "parse_json", "exec-in text", "exec-out", onError="continue"),
        END,
        edges=(*_CHAIN, "middle.error > end.answer"),
    ),
)
def useless_on_error(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        wish, node_type = element.data.get("onError"), graph.types[node_id]
        if wish is None or wish == "fail" or node_type is None:
            continue
        if wish != "continue":
            what = f"node {node_id!r} has onError {wish!r}, expected 'continue' or 'fail'"
        elif not graph.is_step(node_id):
            what = f"node {node_id!r} is pure: its errors are those of the step that uses its value"
        elif not _can_go_on(element, node_type):
            what = f"{node_type.type} node {node_id!r} cannot go on after an error"
        else:
            continue
        yield Finding(
            what,
            node_pointer(graph, node_id, "/data/onError"),
            node_id=node_id,
            hint="set it on a step with exec-out, or remove it",
        )


def _can_go_on(element: Element, node_type: NodeType) -> bool:
    if node_type.is_trigger or node_type.ends_run or isinstance(node_type, ControlNode):
        return False
    return EXEC_OUT in (element.exec_outputs or node_type.handles)


declare(
    Rule(
        "VF203",
        "error",
        "a node is configured wrongly",
        "The node type looked at the configuration of the node and found something that can "
        "only fail, or that does not mean what it seems to.",
        bad=flow(
            START,
            node("middle", "subflow", "exec-in", "exec-out", subflowId="child", **_UNKNOWN_POLICY),
            END,
            edges=_CHAIN,
        ),
        good=PASS,
    )
)
declare(
    Rule(
        "VF204",
        "error",
        "a subflow node names no flow",
        "The node runs the flow whose id is in data.subflowId. Without one, a run could only fail "
        "when it gets here.",
        bad=flow(START, node("middle", "subflow", "exec-in", "exec-out"), END, edges=_CHAIN),
        good=flow(
            START,
            node("middle", "subflow", "exec-in", "exec-out", subflowId="child"),
            END,
            edges=_CHAIN,
        ),
        asks_all_starts=True,
    )
)
declare(
    Rule(
        "VF205",
        "error",
        "a subflow is missing",
        "A subflow node names a flow whose document is not there, or that several documents are. Subflows "
        "are looked for in the directory of the document that runs them; with --tree, among the "
        "documents that are named. A bundle must hold every flow that it can run.",
        bad=flow(
            START,
            node("middle", "subflow", "exec-in", "exec-out", subflowId="gone"),
            END,
            edges=_CHAIN,
        ),
        good=PASS,
        asks_all_starts=True,
    )
)
declare(
    Rule(
        "VF207",
        "warning",
        "a node may call any tool",
        "Which tool is called comes from data, often from a model. Without an allowlist that may be "
        "any tool of the host, also one that writes, sends or deletes.",
        bad=flow(
            START,
            node("middle", "call_tool", "exec-in tool_call", "exec-out"),
            END,
            edges=_CHAIN,
        ),
        good=flow(
            START,
            node("middle", "call_tool", "exec-in tool_call", "exec-out", **_ALLOWLIST),
            END,
            edges=_CHAIN,
        ),
    )
)
