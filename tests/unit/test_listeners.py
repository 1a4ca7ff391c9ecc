"""Listeners of a flow: their documents, their workflows, and their life beside a root run."""

from __future__ import annotations

import pytest
from awkward_hosts import LLM, ok
from flow_builder import START, end, flow, node

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.listeners import Listeners, start_with_listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Command, Deliver
from abstractruntime.core.models import RunStatus
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import FlowError, NotFound
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock
from abstractruntime.visualflow_compiler import compile_visualflow, compile_visualflow_tree
from abstractruntime.visualflow_compiler.listeners import listener_documents

ASK = node("q", "ask_user", "exec-in", "exec-out response", pinDefaults={"prompt": "ready?"})


def on(node_id: str = "on", **config):
    return node(node_id, "on_event", "", "exec-out event payload name", eventConfig=config)


def emit(node_id: str = "m", **config):
    return node(node_id, "emit_event", "exec-in payload", "exec-out delivered", effectConfig=config)


def say(node_id: str = "say"):
    return node(node_id, "answer_user", "exec-in message", "exec-out")


# -- documents ----------------------------------------------------------------------


def test_each_node_that_hears_beside_the_flow_gets_a_document():
    document = flow(
        START, END_NODE := end(), on("a b"), on("c"), say(), edges="s > e; c > say", id="my flow"
    )

    found = listener_documents(document)

    assert [(one.workflow_id, one.node_id) for one in found] == [
        ("visual_event_listener_my_flow_a_b", "a b"),
        ("visual_event_listener_my_flow_c", "c"),
    ]
    spec = compile_visualflow(found[1].document)
    assert (spec.workflow_id, spec.entry_node, sorted(spec.nodes)) == (
        found[1].workflow_id,
        "c",
        ["c", "say"],
    )
    assert (document["id"], END_NODE["id"]) == ("my flow", "e")


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        (flow(START, end(), edges="s > e"), []),
        (flow(on(), say(), edges="on > say", entryNode="on"), []),
        (flow(on(), say(), edges="on > say"), []),
        (flow(START, {**on(), "data": {**on()["data"], "inputs": [{"id": "exec-in", "type": "execution"}]}}, edges="s > on"), []),
        (flow(START, end(), on("a.b"), on("a b"), edges="s > e"), ["visual_event_listener_f_a_b", "visual_event_listener_f_a_b_2"]),
        (flow(START, end(), on("é"), edges="s > e"), ["visual_event_listener_f__"]),
    ],
    ids=["none", "the entry", "first root", "reached by control", "ids that collide", "no fit character"],
)  # fmt: skip
def test_which_nodes_are_listeners(document, ids):
    assert [one.workflow_id for one in listener_documents(document)] == ids


@pytest.mark.skipif(find_node_type("agent") is None, reason="there is no agent node")
def test_agents_of_a_listener_keep_the_workflow_of_the_flow():
    own = node("mine", "agent", "exec-in", "exec-out", agentConfig={"_react_workflow_id": "x"})
    document = flow(
        START,
        end(),
        on(),
        node("ag", "agent", "exec-in", "exec-out"),
        own,
        edges="s > e; on > ag; ag > mine",
    )

    (listener,) = listener_documents(document)

    agents = {
        n["id"]: n["data"]["agentConfig"]
        for n in listener.document["nodes"]
        if n["type"] == "agent"
    }
    assert agents == {
        "ag": {"_react_workflow_id": "visual_react_agent_f_ag"},
        "mine": {"_react_workflow_id": "x"},
    }
    assert "agentConfig" not in document["nodes"][3]["data"]


def test_a_tree_holds_its_listeners():
    child = flow(START, end(), on(), edges="s > e", id="child")
    sub = node("sub", "subflow", "exec-in", "exec-out", subflowId="child")
    root = flow(START, end(), on(), sub, edges="s > e; on > sub", id="root")

    specs = compile_visualflow_tree(root_id="root", flows_by_id={"root": root, "child": child})

    assert sorted(specs) == [
        "child",
        "root",
        "visual_event_listener_child_on",
        "visual_event_listener_root_on",
    ]


def test_a_mistake_in_a_listener_is_an_error_of_the_flow():
    wrong = node("sub", "join_exec", "exec-in", "exec-out")

    with pytest.raises(FlowError, match="join_exec"):
        compile_visualflow(flow(START, end(), on(), wrong, edges="s > e; on > sub"))


# -- beside a run -------------------------------------------------------------------


class Place:
    """A store, and processes that serve one flow in it."""

    def __init__(self, document) -> None:
        self.fs, self.clock, self.document = SimFileSystem(), FakeClock(), document
        self.listeners = [one.workflow_id for one in listener_documents(document)]

    def runtime(self) -> Runtime:
        registry = WorkflowRegistry()
        for spec in compile_visualflow_tree(flows_by_id={"f": self.document}).values():
            registry.register(spec)
        engine = open_store("/s", origin="test/0", fs=self.fs, clock=self.clock)
        handlers = {LLM: ok}
        return Runtime.on_engine(
            engine, workflow_registry=registry, clock=self.clock, effect_handlers=handlers
        )

    def driver(self, rt: Runtime, *, keep: bool = False) -> Driver:
        return Driver(rt, listeners=Listeners(rt, self.listeners, keep=keep))

    def start(self, rt: Runtime, **options) -> str:
        workflow = rt.workflow_registry.get("f")
        return start_with_listeners(rt, workflow, listeners=self.listeners, run_id="r", **options)


def told(rt: Runtime, run_id: str = "r") -> list[str]:
    """Give what listeners and flow said, in the order of their runs."""
    return [
        stored.record["effect"]["payload"]["message"]
        for run in RunTree(rt.engine, run_id).members()
        for stored in rt.engine.records(run.run_id)
        if (stored.record["effect"] or {}).get("type") == "answer_user"
        and stored.record["status"] == "completed"
    ]


def statuses(rt: Runtime) -> list[str]:
    return [run.status.value for run in RunTree(rt.engine, "r").members()]


def talking(scope: str = "session", *nodes, edges: str = "") -> Place:
    """A flow that asks, then emits twice; its listener says what came."""
    count = [emit("m", name="ping", scope=scope), emit("m2", name="ping", scope=scope)]
    count[0]["data"]["pinDefaults"] = {"payload": "one"}
    count[1]["data"]["pinDefaults"] = {"payload": "two"}
    way = "s > q; q > m; m > m2; m2 > e; m2.delivered > e.n; on > say; on.payload > say.message;"
    return Place(
        flow(
            START,
            ASK,
            *count,
            end("n"),
            on(name="ping", scope=scope),
            say(),
            *nodes,
            edges=way + edges,
        )
    )


@pytest.mark.parametrize("session", [None, "s1"])
@pytest.mark.parametrize("scope", ["session", "workflow", "run", "global"])
def test_a_flow_talks_to_its_listener(scope, session):
    place = talking(scope)
    rt = place.runtime()
    place.start(rt, session_id=session)
    driver = place.driver(rt)
    driver.drive("r")
    driver.answer("r", {"response": "yes"})

    state = driver.drive("r")

    assert (state.status, state.output) == ("completed", {"n": 1, "success": True})
    assert told(rt) == [{"value": "one"}, {"value": "two"}]
    assert statuses(rt) == ["completed", "cancelled"]


def test_a_question_is_meant_before_a_listener():
    place = talking()
    rt = place.runtime()
    place.start(rt)
    driver = place.driver(rt)
    driver.drive("r")

    assert [(wait.reason, wait.listens) for wait in RunTree(rt.engine, "r").open_waits()] == [
        ("user", False),
        ("event", True),
    ]
    assert driver.answer("r", {"response": "yes"}).run_id == "r"


def test_listeners_have_session_and_actor_of_the_root_and_none_of_its_variables():
    place = talking()
    rt = place.runtime()
    place.start(rt, session_id="s1", actor_id="me", vars={"secret": 1})

    root, listener = (rt.get_state(run.run_id) for run in RunTree(rt.engine, "r").members())

    assert root.status is RunStatus.RUNNING
    assert (listener.session_id, listener.actor_id, listener.parent_run_id) == ("s1", "me", "r")
    assert ("secret" in listener.vars, listener.waiting.wait_key) == (False, "evt:session:s1:ping")


def test_an_event_of_another_session_wakes_nobody():
    place = talking()
    rt = place.runtime()
    place.start(rt, session_id="s1")

    assert rt.emit_event(name="ping", session_id="s2")["delivered"] == 0


def test_listeners_are_started_once_whoever_starts_them():
    place = talking()
    rt = place.runtime()
    rt.start(workflow=rt.workflow_registry.get("f"), run_id="r")
    family = Listeners(rt, place.listeners)
    family.start("r")
    family.start("r")
    Listeners(place.runtime(), place.listeners).start("r")

    assert len(RunTree(rt.engine, "r").members()) == 2


def test_a_listener_that_is_not_registered_starts_nothing():
    place = talking()
    rt = place.runtime()
    place.listeners.append("visual_event_listener_f_gone")

    with pytest.raises(NotFound, match="visual_event_listener_f_gone"):
        place.start(rt)
    with pytest.raises(NotFound):
        rt.get_state("r")


def test_kept_listeners_hear_events_when_the_root_has_ended():
    place = Place(
        flow(
            START, end(), on(name="ping"), say(), edges="s > e; on > say; on.payload > say.message"
        )
    )
    rt = place.runtime()
    place.start(rt)
    keeping = place.driver(rt, keep=True)
    keeping.drive("r")

    rt.emit_event(name="ping", session_id="r", payload="late")
    keeping.drive("r")

    assert statuses(rt) == ["completed", "waiting"]
    assert told(rt) == [{"value": "late"}]
    place.driver(rt).drive("r")
    assert statuses(rt) == ["completed", "cancelled"]


def test_an_event_that_was_posted_before_the_end_is_heard_before_the_listener_is_closed():
    place = talking()
    rt = place.runtime()
    place.start(rt)
    driver = place.driver(rt)
    driver.drive("r")
    listener = RunTree(rt.engine, "r").members()[1].run_id
    event = Deliver("evt:session:r:ping", {"payload": "posted"})
    rt.engine.post(listener, Command("event:x", event))
    rt.cancel_run("r")
    assert Listeners(rt, place.listeners).close("r") is True

    driver.drive("r")

    assert told(rt) == ["posted"]


def test_a_busy_listener_outlives_its_root():
    way = "say > q2; q2 > say2; q2.response > say2.message"
    place = talking("session", {**ASK, "id": "q2"}, say("say2"), edges=way)
    rt = place.runtime()
    place.start(rt)
    driver = place.driver(rt)
    driver.drive("r")
    driver.answer("r", {"response": "yes"})
    state = driver.drive("r")

    assert (state.status, statuses(rt)) == ("completed", ["completed", "waiting"])
    for answer in ("first", "second"):
        driver.answer("r", {"response": answer})
        driver.drive("r")

    assert told(rt) == [{"value": "one"}, "first", {"value": "two"}, "second"]


def test_a_failing_listener_does_not_touch_the_root():
    wrong = node("x", "wait_event", "exec-in event_key", "exec-out", pinDefaults={"event_key": ""})
    place = talking("session", wrong, edges="say > x")
    rt = place.runtime()
    place.start(rt)
    driver = place.driver(rt)
    driver.drive("r")
    driver.answer("r", {"response": "yes"})

    assert driver.drive("r").status == "completed"
    assert statuses(rt) == ["completed", "failed"]


def test_a_listener_that_is_the_entry_keeps_its_root_alive():
    place = Place(
        flow(on(name="ping"), say(), edges="on > say; on.payload > say.message", entryNode="on")
    )
    rt = place.runtime()
    place.start(rt)
    driver = place.driver(rt)

    assert (driver.drive("r").waiting.reason, place.listeners) == ("event", [])
    for value in ("one", "two"):
        rt.emit_event(name="ping", session_id="r", payload=value)
    assert driver.drive("r").status == "waiting"
    assert told(rt) == [{"value": "one"}, {"value": "two"}]
    assert rt.get_state("r").vars["_temp"]["effects"]["on"]["name"] == "ping"


def test_an_event_names_its_occurrence():
    place = talking()
    rt = place.runtime()
    place.start(rt)
    driver = place.driver(rt)
    driver.drive("r")
    driver.answer("r", {"response": "yes"})
    driver.drive("r")
    heard = rt.get_state(RunTree(rt.engine, "r").members()[1].run_id).vars["_temp"]["effects"]["on"]

    assert heard["event_id"].startswith("r:m2:")
    assert heard["emitter"] == {"run_id": "r", "workflow_id": "f", "node_id": "m2"}


# -- ways in ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["entryRoutes", "inputRouteOverrides"])
def test_inputs_that_depend_on_the_way_in_are_refused(key):
    routed = say()
    routed["data"][key] = {"again": {"message": 1}}

    with pytest.raises(FlowError, match=key) as refused:
        compile_visualflow(flow(START, routed, edges="s > say"))

    findings = refused.value.findings
    assert [f.code for f in findings if f.severity == "error"] == ["VF111"]


@pytest.mark.parametrize(
    ("nodes", "entry"),
    [
        ((END := end(), START), "s"),
        ((END, START, on()), "s"),
        ((END, on()), "on"),
        ((END, on(), on("on2")), "e"),
    ],
    ids=["one start", "a listener beside it", "only a listener", "two listeners"],
)
def test_an_entry_that_leads_nowhere_gives_way_to_the_trigger(nodes, entry):
    spec = compile_visualflow(flow(*nodes, edges="", entryNode="e"))

    assert spec.entry_node == entry
