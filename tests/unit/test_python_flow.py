"""Flows built in Python: their graph, what their nodes do, and how they fail."""

from __future__ import annotations

import pytest

from abstractruntime import InMemoryLedgerStore, InMemoryRunStore, Runtime, WorkflowRegistry
from abstractruntime.core.models import EffectType, RunState
from abstractruntime.errors import FlowError, UsageError
from abstractruntime.visualflow_compiler import (
    Flow,
    FlowEdge,
    FlowNode,
    compile_flow,
    load_visualflow_json,
    visual_to_flow,
)
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node


class Clock:
    def now_iso(self):
        return "2030-01-01T00:00:00+00:00"


def one(handler=None, **options):
    return Flow("t").add_node("a", handler, **options).set_entry("a")


def plan(built, node_id="a", **variables):
    run = RunState.new(workflow_id="t", entry_node=node_id, vars=variables)
    return compile_flow(built).nodes[node_id](run, Clock())


def end(built, *nested, **variables):
    """Run a flow to its end in one process."""
    registry = WorkflowRegistry()
    for part in (built, *nested):
        registry.register(compile_flow(part))
    runtime = Runtime(
        run_store=InMemoryRunStore(),
        ledger_store=InMemoryLedgerStore(),
        workflow_registry=registry,
    )
    spec = compile_flow(built)
    run_id = runtime.start(workflow=spec, vars=variables)
    run = runtime.tick(workflow=spec, run_id=run_id)
    assert run.status == "completed", run.error
    return run


def fail(_value):
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("handler", "options", "variables", "result"),
    [
        pytest.param(lambda v: v, {}, {"q": 1, "_p": 2}, {"q": 1}, id="all public variables"),
        pytest.param(lambda v: v, {"input_key": "q"}, {"q": 1}, 1, id="input_key"),
        pytest.param(lambda v: v, {"input_key": "q.r"}, {"q": {"r": 1}}, None, id="not a path"),
        pytest.param(lambda _: (1, 2), {}, {}, [1, 2], id="a tuple is a list"),
        pytest.param(lambda _: {"success": False}, {}, {}, {"success": False}, id="any result"),
    ],
)
def test_a_function_ends_with_its_result(handler, options, variables, result):
    assert end(one(handler, **options), **variables).output == {"result": result, "success": True}


def test_results_go_to_dotted_paths_and_inputs_are_copies():
    def greedy(value):
        value["list"].append(2)
        return value["list"]

    run = end(one(greedy, output_key="r.copy"), list=[1])

    assert (run.vars["list"], run.vars["r"]) == ([1], {"copy": [1, 2]})


def test_a_failing_function_gives_the_error_envelope():
    run = end(one(fail).add_node("b", len).add_edge("a", "b"))

    assert run.output == {"error": "boom", "success": False, "node": "a"}
    assert (run.vars["_flow_error"], run.vars["_flow_error_node"]) == ("boom", "a")


def counting(upto):
    def more(value):
        return {"branch": "true" if value < upto else "false"}

    return (
        one(lambda n: n + 1, input_key="n", output_key="n")
        .add_node("more", more, input_key="n")
        .add_edge("a", "more")
        .add_edge("more", "a", source_handle="true")
    )


def test_a_branch_may_lead_back_and_an_open_one_ends():
    assert end(counting(3), n=0).vars["n"] == 3


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"branch": "odd"}, "Unknown branch 'odd'"),
        (1, "Branching node did not return a string 'branch' value"),
    ],
)
def test_a_branch_must_exist(value, error):
    built = one(lambda _: value).add_node("b", len).add_edge("a", "b", source_handle="case:x")

    assert end(built).output["error"] == error


def test_sequence_runs_its_branches_in_order():
    def note(name):
        return lambda log: [*(log or []), name]

    built = Flow("t").add_node("s", None, effect_type="parallel").set_entry("s")
    for name, handle in (("y", "then:1"), ("x", "then:0"), ("z", "completed")):
        built.add_node(name, note(name), input_key="log", output_key="log")
        built.add_edge("s", name, source_handle=handle)

    assert end(built).output["result"] == ["x", "y", "z"]


INNER = one(lambda v: {"got": v})


@pytest.mark.parametrize(
    ("options", "variables", "payload", "key"),
    [
        ({}, {"context": {"task": "x"}}, {"context": {"task": "x"}}, "_flow.a.result"),
        ({"input_key": "i"}, {"i": {"k": 1}}, {"k": 1}, "_flow.a.result"),
        ({"input_key": "i", "output_key": "o"}, {"i": "text"}, {"input": "text"}, "o"),
    ],
)
def test_a_nested_flow_is_a_child_run_in_place(options, variables, payload, key):
    asked = plan(one(INNER, **options), **variables).effect

    assert asked.type is EffectType.START_SUBWORKFLOW
    assert asked.payload == {"workflow_id": "t", "vars": payload, "async": False}
    assert asked.result_key == key


def test_a_nested_flow_gives_its_output_on():
    inner = Flow("inner").add_node("i", lambda v: v["k"] * 2).set_entry("i")
    outer = one(inner, input_key="in", output_key="out")
    outer.add_node("b", lambda v: v["output"]["result"], input_key="out").add_edge("a", "b")

    assert end(outer, inner, **{"in": {"k": 4}}).output["result"] == 8


class Agent:
    def __init__(self):
        self.workflow = compile_flow(INNER)


@pytest.mark.parametrize(
    ("given", "context"),
    [
        ("work", {"task": "work", "messages": []}),
        ({"task": "work", "k": 1}, {"task": "work", "messages": [], "k": 1}),
    ],
)
def test_an_agent_is_a_child_run_with_a_task(given, context):
    asked = plan(one(Agent(), input_key="i"), i=given).effect

    assert asked.payload["vars"]["context"] == context
    assert asked.payload["async"] is False


@pytest.mark.parametrize(
    ("effect", "config", "value", "expected"),
    [
        ("ask_user", {"allowFreeText": False}, "Deploy?", {"prompt": "Deploy?"}),
        ("answer_user", {}, {"message": "hi", "level": "warn"}, {"level": "warning"}),
        ("wait_event", {}, "key", {"wait_key": "key"}),
        ("tool_calls", {"allowed_tools": ["x"]}, {"tool_calls": []}, {"allowed_tools": ["x"]}),
        ("emit_event", {"name": "n"}, {"payload": {"k": 1}}, {"name": "n", "payload": {"k": 1}}),
        ("start_subworkflow", {"workflow_id": "w"}, "text", {"vars": {"input": "text"}}),
        ("llm_call", {"provider": "p", "model": "m"}, "hi", {"prompt": "hi", "provider": "p"}),
    ],
)
def test_effects_take_the_configuration_of_documents(effect, config, value, expected):
    built = one(None, effect_type=effect, effect_config=config, input_key="i", output_key="o")

    asked = plan(built, i=value).effect

    assert asked.result_key == "o"
    assert expected.items() <= asked.payload.items()


@pytest.mark.parametrize(
    ("edges", "handler", "effect", "error", "text"),
    [
        ([], 5, None, TypeError, "Unknown handler type for node 'a': <class 'int'>. Expected"),
        ([], len, "nope", ValueError, "Unknown effect type: nope"),
        ([], len, "loop", ValueError, "Unknown effect type: loop"),
        ([None, None], len, None, ValueError, "has multiple outgoing edges. Branching is not"),
        (["true", "default"], len, None, ValueError, "has multiple outgoing edges"),
        (["odd"], len, None, ValueError, "has unsupported branching output 'odd'"),
        ([None], len, "sequence", ValueError, "has an execution edge with no source_handle."),
        (["completed"], len, "sequence", ValueError, r"unsupported execution outputs: \["),
    ],
)
def test_what_does_not_compile(edges, handler, effect, error, text):
    built = one(handler, effect_type=effect)
    for index, handle in enumerate(edges):
        built.add_node(str(index), len).add_edge("a", str(index), source_handle=handle)

    with pytest.raises(error, match=text):
        compile_flow(built)


def test_validate_names_every_problem():
    built = Flow("v")
    assert built.validate() == ["Flow must have an entry node"]

    built.add_node("a", len).add_node("u", len).set_entry("a").add_edge("a", "z").add_edge("y", "a")
    problems = built.validate()

    assert problems == [
        "Edge target 'z' not found",
        "Edge source 'y' not found",
        "Node 'u' is unreachable from entry",
    ]
    with pytest.raises(FlowError, match="Invalid flow: Edge target 'z' not found; Edge source"):
        compile_flow(built)
    built.entry_node = "gone"
    assert built.validate()[0] == "Entry node 'gone' not found"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.set_entry("z"), "Entry node 'z' not found in flow 't'"),
        (lambda f: f.set_exit("z"), "Exit node 'z' not found in flow 't'"),
        (lambda f: f.add_node("a", len), "Node 'a' already exists in flow 't'"),
    ],
)
def test_unknown_and_repeated_nodes_are_value_errors(change, text):
    with pytest.raises(ValueError, match=text):
        change(one(len))


def test_a_flow_can_be_read():
    built = one(len).add_node("b", len).add_edge("a", "b", source_handle="true").set_exit("b")

    assert built.nodes["b"] == FlowNode("b", len)
    assert built.edges == [FlowEdge("a", "b", source_handle="true")]
    assert (built.get_next_nodes("a"), built.get_terminal_nodes()) == (["b"], ["b"])
    assert repr(built) == "Flow(id='t', nodes=2, edges=1, entry='a')"


DRAWN = flow(
    START,
    node("w", "code", "exec-in text", "exec-out", code="def transform(i):\n    return i['text']"),
    node("q", "ask_user", "exec-in prompt", "exec-out response"),
    END,
    node("lost", "set_var", "exec-in name value", "exec-out"),
    node("up", "uppercase", "text", "result", pinDefaults={"text": "go?"}),
    edges=("start > w", "w > q", "q > end", "up.result > q.prompt"),
)


def test_nodes_of_a_drawn_flow_can_be_tried_alone():
    drawn = visual_to_flow(load_visualflow_json(DRAWN))

    assert isinstance(drawn, Flow)
    assert (drawn.flow_id, drawn.entry_node, list(drawn.nodes)) == (
        "example",
        "start",
        ["start", "w", "q", "end"],
    )
    assert drawn.nodes["w"].handler({"text": 7}) == 7
    asked = drawn.nodes["q"].handler({})["_pending_effect"]
    assert (asked["type"], asked["prompt"]) == ("ask_user", "GO?")
    assert drawn.get_next_nodes("w") == ["q"]
    assert drawn._ignored_exec_nodes == ["lost"]
    assert drawn.validate() == []


def test_a_drawn_flow_is_closed_and_says_what_is_wrong():
    with pytest.raises(UsageError, match="was read from a document and cannot take node 'x'"):
        visual_to_flow(PASS).add_node("x", len)

    broken = visual_to_flow(flow(START, node("x", "nope", "exec-in"), edges=("start > x",)))
    assert broken.validate() == ["node 'x' has the unknown type 'nope'"]
