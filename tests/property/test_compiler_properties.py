"""Whatever is drawn or damaged: a workflow or typed findings, the same every time, with true places."""

from __future__ import annotations

import copy
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from exploring import EXPLORES, examples
from flow_builder import Host, flow, node
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import FlowError
from abstractruntime.nodes.base import ValueNode
from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler import Flow, compile_flow, compile_visualflow
from abstractruntime.visualflow_compiler.check import check_document

ROOT = Path(__file__).parents[2]
PATHS = [*sorted(ROOT.glob("bundles/*/*.json")), *sorted(ROOT.glob("tests/flows/*.json"))]
if EXPLORES:
    PATHS += sorted(ROOT.parent.glob("shared/flows/*.json"))
DOCUMENTS = [d for d in (json.loads(p.read_text("utf-8")) for p in PATHS) if "nodes" in d]

COMMIT = examples(200, suppress_health_check=list(HealthCheck))
NIGHT = settings(COMMIT, max_examples=20_000)

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS)


# --- graphs that an editor could have drawn ----------------------------------------------


@st.composite
def drawn_nodes(draw, index):
    kind = draw(st.sampled_from(list(node_types().values())))
    pins = [pin.id for pin in kind.inputs if not pin.dynamic]
    given_pins = draw(st.lists(st.sampled_from(pins), unique=True)) if pins else []
    is_step = not isinstance(kind, ValueNode)
    handles = [handle.replace("*", "0") for handle in kind.handles] if is_step else []
    ins = ["exec-in"] if is_step and not kind.is_trigger else []
    made = node(f"n{index}", kind.type, " ".join([*ins, *pins]), " ".join(handles))
    made["data"]["outputs"] += [{"id": p.id, "type": p.type} for p in kind.outputs if not p.dynamic]
    made["data"]["pinDefaults"] = {pin: draw(VALUES) for pin in given_pins}
    return made


@st.composite
def drawn_flows(draw):
    nodes = [draw(drawn_nodes(i)) for i in range(draw(st.integers(1, 7)))]
    outs, ins = [], []
    for made in nodes:
        outs += [(made["id"], pin) for pin in made["data"]["outputs"]]
        ins += [(made["id"], pin) for pin in made["data"]["inputs"]]
    edges = []
    for _ in range(draw(st.integers(0, 12)) if outs and ins else 0):
        source, out = draw(st.sampled_from(outs))
        target, into = draw(st.sampled_from(ins))
        if (out["type"] == "execution") == (into["type"] == "execution"):
            handles = {"sourceHandle": out["id"], "targetHandle": into["id"]}
            edges.append({"source": source, "target": target, **handles})
    return {"id": "f", "nodes": nodes, "edges": edges}


# --- whole documents, damaged -------------------------------------------------------------


@st.composite
def damaged_documents(draw):
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 4))):
        holder: object = document
        while isinstance(holder, dict | list) and holder:
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            key = draw(st.sampled_from(keys))
            if not isinstance(holder[key], dict | list) or draw(st.integers(0, 5)) == 0:
                _damage(draw, holder, key)
                break
            holder = holder[key]
    return document


def _damage(draw, holder, key):
    how = draw(st.sampled_from(["replace", "delete", "repeat", "rename"]))
    if how == "delete":
        del holder[key]
    elif how == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif how == "rename" and isinstance(holder, dict):
        holder[draw(st.text(max_size=4))] = holder.pop(key)
    else:
        holder[key] = draw(VALUES)


# --- the properties -----------------------------------------------------------------------


def outcome(document):
    """The compiled workflow by its ids, or the codes of what was found."""
    try:
        spec = compile_visualflow(document)
    except FlowError as refused:
        return [item.code for item in refused.findings]
    assert isinstance(spec, WorkflowSpec)
    assert spec.entry_node in spec.nodes
    event("compiles")
    return spec.workflow_id, spec.entry_node, list(spec.nodes), sorted(spec.guarded)


def sound(document):
    before = json.dumps(document)
    assert outcome(document) == outcome(copy.deepcopy(document))
    assert json.dumps(document) == before

    text = json.dumps(document, indent=1)
    found = check_document(text.encode()).diagnostics
    assert found == check_document(text.encode()).diagnostics
    lines = text.splitlines()
    for item in found:
        line = lines[item.line - 1]
        start = sum(len(above) + 1 for above in lines[: item.line - 1]) + item.column - 1
        assert item.column <= len(line)
        json.JSONDecoder().raw_decode(text, start)


@given(drawn_flows())
@COMMIT
def test_a_drawn_graph_compiles_or_is_explained(document):
    sound(document)


@given(damaged_documents())
@COMMIT
def test_a_damaged_document_compiles_or_is_explained(document):
    sound(document)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(drawn_flows() | damaged_documents())
@NIGHT
def test_many_documents_compile_or_are_explained(document):
    sound(document)


# --- one workflow, many threads -----------------------------------------------------------

SUM = flow(
    node("s", "on_flow_start", "", "exec-out rows limit"),
    node("each", "loop", "exec-in items", "loop done item"),
    node("low", "if", "exec-in condition", "true false"),
    node("keep", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "kept"}),
    node("end", "on_flow_end", "exec-in kept text"),
    node("less", "compare", "a b", "result", pinDefaults={"op": "<"}),
    node("more", "array_append", "array item", "result"),
    node("now", "get_var", "name", "value", pinDefaults={"name": "kept"}),
    node(
        "text", "string_template", "template vars", "result", pinDefaults={"template": "{{limit}}"}
    ),
    edges="""s > each; each.loop > low.exec-in; low.true > keep.exec-in; each.done > end.exec-in
        s.rows > each.items; each.item > less.a; s.limit > less.b; less.result > low.condition
        now.value > more.array; each.item > more.item; more.result > keep.value
        now.value > end.kept; s.rows > text.vars; text.result > end.text""",
)


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 9)), max_size=6))
@examples(25)
def test_threads_do_not_meet_in_a_compiled_flow(inputs):
    drawn = compile_visualflow(SUM)
    built = compile_flow(
        Flow("sum")
        .add_node("a", lambda v: [n for n in v["rows"] if n < v["limit"]], output_key="x.y")
        .add_node("b", lambda v: v["y"], input_key="x")
        .add_edge("a", "b")
        .set_entry("a")
    )

    def run(job):
        spec, (rows, limit) = job
        return Host(spec, {"rows": rows, "limit": limit}).go().output

    jobs = [(spec, given) for given in inputs for spec in (drawn, built)] * 3
    alone = [run(job) for job in jobs]
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-5)
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(run, jobs))
    finally:
        sys.setswitchinterval(interval)

    assert together == alone
    for (spec, (rows, limit)), output in zip(jobs, alone, strict=True):
        kept = [n for n in rows if n < limit]
        assert (output["result"] if spec is built else output["kept"] or []) == kept
