"""Events, children as tools, and whole trees: what one run hands to another, on both engines."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from awkward_hosts import LLM, START, asks, done, go, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.trees import cancel_tree
from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.ports import EffectOutcome, RunQuery
from abstractruntime.errors import UsageError, WaitMismatch

WAIT, EMIT, ASK = EffectType.WAIT_EVENT, EffectType.EMIT_EVENT, EffectType.ASK_USER
LISTENER = spec("listener", a=asks(WAIT, {"name": "go", "scope": "global"}, then="z"), z=done)


def emitter(**payload: Any):
    payload = {"name": "go", "scope": "global", "payload": {"n": 1}, **payload}
    return spec("emitter", a=asks(EMIT, payload, then="z"), z=done)


def emit(rt, **payload: Any) -> dict[str, Any]:
    output = go(rt, emitter(**payload)).output
    assert output is not None
    return dict(output["out"])


# -- events ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waits_for", "emits", "reached"),
    [
        ({"name": "go", "scope": "global"}, {}, True),
        ({"name": "*", "scope": "global"}, {}, True),
        ({"wait_key": "evt:global:global:go"}, {}, True),
        ({"name": "go", "scope": "GLOBAL "}, {"scope": " Global"}, True),
        ({"name": "go", "scope": "session", "session_id": "s"}, {"scope": "session", "session_id": "s"}, True),
        ({"name": "go", "scope": "workflow", "workflow_id": "w"}, {"scope": "workflow", "workflow_id": "w"}, True),
        ({"name": "go", "scope": "run", "run_id": "r"}, {"scope": "run", "run_id": "r"}, True),
        ({"name": "other", "scope": "global"}, {}, False),
        ({"name": "go", "scope": "session", "session_id": "s"}, {"scope": "session"}, False),
    ],
    ids=["name", "wildcard", "key", "spelling", "session", "workflow", "run", "other name", "other session"],
)  # fmt: skip
def test_an_event_reaches_who_waits_for_it(make, waits_for, emits, reached):
    listener = spec("listener", a=asks(WAIT, waits_for, then="z"), z=done)
    rt = make(None, listener)
    waiting = go(rt, listener)

    result = emit(rt, **emits)
    ended = rt.tick(workflow=listener, run_id=waiting.run_id)

    assert (result["delivered"], result["delivered_to"]) == (
        (1, [waiting.run_id]) if reached else (0, [])
    )
    if reached:
        envelope = ended.output["out"]
        assert (envelope["name"], envelope["payload"]) == ("go", {"n": 1})
        assert envelope["emitter"]["workflow_id"] == "emitter"
    else:
        assert ended.status == "waiting"


@pytest.mark.parametrize(
    ("payload", "given"),
    [({"a": 1}, {"a": 1}), ("text", {"value": "text"}), (None, {}), ([1], {"value": [1]})],
)
def test_the_payload_of_an_event_is_an_object(make, payload, given):
    rt = make(None, LISTENER)
    waiting = go(rt, LISTENER)
    emit(rt, payload=payload)

    ended = rt.tick(workflow=LISTENER, run_id=waiting.run_id)

    assert ended.output["out"]["payload"] == given


def test_an_event_without_listeners_tells_what_is_waited_for(make):
    rt = make(None, LISTENER)
    go(rt, LISTENER)

    result = emit(rt, name="goo")

    assert (result["delivered"], result["available_listeners_in_session"]) == (0, ["go"])


@pytest.mark.parametrize(
    ("payload", "text"),
    [({"name": " "}, "requires payload.name"), ({"scope": "galaxy"}, "unknown event scope")],
)
def test_an_event_that_cannot_be_addressed_fails(make, payload, text):
    state = go(make(), emitter(**payload))

    assert state.status == "failed"
    assert text in state.error


def test_a_tree_shares_its_session_scope(make):
    listener = spec("listener", a=asks(WAIT, {"name": "go"}, then="z"), z=done)
    parent = spec(
        "parent",
        a=asks(START, {"workflow_id": "listener", "async": True}, key="c", then="q"),
        q=asks(ASK, {"prompt": "?"}, then="e"),
        e=asks(EMIT, {"name": "go"}, then="z"),
        z=done,
    )
    rt = make(None, listener, parent)
    run_id = rt.start(workflow=parent)
    driver = Driver(rt)
    driver.drive(run_id)
    driver.answer(run_id, "now")

    state = driver.drive(run_id)

    assert state.output["out"]["delivered"] == 1
    assert rt.get_state(state.vars["c"]["sub_run_id"]).status == "completed"


@pytest.mark.parametrize("steps", [0, 100])
def test_an_emitter_can_drive_its_listeners(make, steps):
    rt = make(None, LISTENER)
    waiting = go(rt, LISTENER)

    result = emit(rt, max_steps=steps)

    expected = "completed" if steps else "running"
    assert result["resumed"] == [{"run_id": waiting.run_id, "status": expected}]
    assert rt.get_state(waiting.run_id).status == expected


def test_a_paused_listener_gets_the_event_when_it_goes_on(make):
    rt = make(None, LISTENER)
    waiting = go(rt, LISTENER)
    rt.pause_run(waiting.run_id)

    emit(rt)
    assert rt.tick(workflow=LISTENER, run_id=waiting.run_id).status == "waiting"
    rt.resume_run(waiting.run_id)
    ended = rt.tick(workflow=LISTENER, run_id=waiting.run_id)

    assert ended.output["out"]["payload"] == {"n": 1}


def test_a_listener_that_someone_drives_takes_the_event_itself(make):
    rt = make(None, LISTENER)
    waiting = go(rt, LISTENER)
    owned = rt.engine.open(waiting.run_id)

    result = emit(rt)
    owned.close()
    ended = rt.tick(workflow=LISTENER, run_id=waiting.run_id)

    assert (result["delivered"], ended.output["out"]["payload"]) == (1, {"n": 1})


def test_an_event_with_an_id_counts_once(make):
    rt = make(None, LISTENER)
    waiting = [go(rt, LISTENER) for _ in range(2)]
    first = rt.emit_event(name="go", scope="global", event_id="e1", payload=1)
    for run in waiting:
        rt.tick(workflow=LISTENER, run_id=run.run_id)
    late = go(rt, LISTENER)

    again = rt.emit_event(name="go", scope="global", event_id="e1", payload=2)

    assert (first["delivered"], again["delivered_to"]) == (2, [late.run_id])
    payloads = [rt.get_state(run.run_id).output["out"]["payload"] for run in waiting]
    assert payloads == [{"value": 1}] * 2


def test_a_looping_listener_hears_each_event_once(make):
    """The same event, emitted again by an emitter that died, must not be heard twice."""

    def listen(run: RunState, ctx: Any) -> StepPlan:
        heard = run.vars.setdefault("heard", [])
        if run.vars.get("event"):
            heard.append(run.vars.pop("event")["payload"]["value"])
        effect = Effect(WAIT, {"name": "go", "scope": "global"}, "event")
        return StepPlan("listen", effect, "listen")

    loop = spec("loop", listen=listen)
    rt = make(None, loop)
    run = go(rt, loop)
    for event_id, value in (("e1", "one"), ("e1", "one"), ("e2", "two"), ("e1", "one")):
        rt.emit_event(name="go", scope="global", event_id=event_id, payload=value)
        rt.tick(workflow=loop, run_id=run.run_id)

    expected = ["one", "two"] if make.kind == "directory" else ["one", "one", "two", "one"]
    assert rt.get_state(run.run_id).vars["heard"] == expected


def hearing(name: str = "go", **more: Any):
    """Give a workflow that listens, and asks a model about each event it heard."""

    def listen(run: RunState, ctx: Any) -> StepPlan:
        if run.vars.get("event"):
            run.vars.setdefault("heard", []).append(run.vars.pop("event")["payload"]["value"])
            return StepPlan("listen", Effect(ASK, {"prompt": "busy"}, "said"), "listen")
        wait = {"name": name, "scope": "global", "details": {"listen": True}}
        return StepPlan("listen", Effect(WAIT, wait, "event"), "listen")

    return spec("hearing", listen=listen, **more)


def say(rt, *values: str, name: str = "go") -> list[int]:
    return [rt.emit_event(name=name, scope="global", payload=v)["delivered"] for v in values]


def told(rt, listener: Any, run_id: str) -> RunState:
    """Answer the question of a busy listener, which then goes on."""
    return rt.resume(workflow=listener, run_id=run_id, wait_key=None, payload="ok")


@pytest.mark.parametrize("name", ["go", "*"])
def test_a_busy_listener_hears_every_event_once_and_in_order(make, name):
    listener = hearing(name)
    rt = make(None, listener)
    run_id = go(rt, listener).run_id

    assert say(rt, "one", "two", "three") == [1, 1, 1]
    heard = [rt.tick(workflow=listener, run_id=run_id).vars["heard"]]
    heard += [list(told(rt, listener, run_id).vars["heard"]) for _ in range(2)]
    state = told(rt, listener, run_id)

    assert heard == [["one"], ["one", "two"], ["one", "two", "three"]]
    assert (state.waiting.reason, state.vars["heard"]) == ("event", ["one", "two", "three"])
    assert rt.get_state(run_id).listening == [f"evt:global:global:{name}"]


def test_a_busy_listener_is_found_by_what_it_listens_to(make):
    listener = hearing()
    rt = make(None, listener)
    run_id = go(rt, listener).run_id
    say(rt, "one")
    rt.tick(workflow=listener, run_id=run_id)
    key = "evt:global:global:go"

    found = {
        keys: [run.run_id for run in rt.engine.find(RunQuery(listens_to=keys, live_only=True))]
        for keys in ((key,), (key[:-1],), ("x", key), (key + "o",))
    }
    ended = [
        rt.cancel_run(run_id).status,
        rt.engine.find(RunQuery(listens_to=(key,), live_only=True)),
    ]

    assert found == {(key,): [run_id], (key[:-1],): [], ("x", key): [run_id], (key + "o",): []}
    assert ended == ["cancelled", []]
    assert say(rt, "late") == [0]


def test_what_no_listener_waits_for_again_is_refused(make):
    """A plain wait is over with its answer; only a listener keeps what comes later."""
    rt = make(None, LISTENER)
    waiting = go(rt, LISTENER)

    emitted = [emit(rt)["delivered"] for _ in range(2)]

    assert emitted == [1, 0]
    assert rt.get_state(waiting.run_id).listening is None


def test_a_run_does_not_hear_itself(make):
    def talk(run: RunState, ctx: Any) -> StepPlan:
        if run.vars.get("event"):
            run.vars["heard"] = run.vars.get("heard", 0) + 1
            event = {"name": "go", "scope": "global"}
            return StepPlan("talk", Effect(EMIT, event, "said"), "again")
        wait = {"name": "*", "scope": "global", "details": {"listen": True}}
        return StepPlan("talk", Effect(WAIT, wait, "event"), "talk")

    def again(run: RunState, ctx: Any) -> StepPlan:
        run.vars.pop("event")
        return StepPlan("again", next_node="talk")

    talker = spec("talker", talk=talk, again=again)
    rt = make(None, talker)
    run_id = go(rt, talker).run_id
    say(rt, "one")

    state = rt.tick(workflow=talker, run_id=run_id)

    assert (state.vars["heard"], state.vars["said"]["delivered"]) == (1, 0)


@pytest.mark.parametrize(("events", "status"), [((), "cancelled"), (("one",), "waiting")])
def test_an_idle_listener_is_closed_and_a_busy_one_goes_on(make, events, status):
    listener = hearing()
    rt = make(None, listener)
    run_id = go(rt, listener).run_id
    say(rt, *events)
    rt.tick(workflow=listener, run_id=run_id)

    rt.post(run_id, Command("close", Cancel("over", if_listening=True)))

    assert rt.get_state(run_id).status == status


def test_listeners_of_unknown_workflows(make):
    """Where commands outlive the process, whoever has the workflow goes on; else nobody could."""
    other = make(None, LISTENER)
    waiting = go(other, LISTENER)
    rt = make(None)

    result = emit(rt)

    kept = make.kind == "directory"
    assert result["delivered"] == (1 if kept else 0)
    assert result["resumed"][0]["status"] == ("running" if kept else "skipped")
    assert other.get_state(waiting.run_id).status == ("running" if kept else "waiting")


def test_an_emitter_without_a_registry_fails(make):
    rt = make(None, LISTENER)
    go(rt, LISTENER)
    state = go(make(None, workflow_registry=None), emitter())

    assert state.status == "failed"
    assert "workflow_registry" in state.error


def test_a_host_without_a_registry(make):
    go(make(None, LISTENER), LISTENER)
    rt = make(None, workflow_registry=None)
    if make.kind == "directory":
        assert rt.emit_event(name="go", scope="global")["delivered"] == 1
    else:
        with pytest.raises(UsageError, match="workflow registry"):
            rt.emit_event(name="go", scope="global")


# -- answers that come too late ------------------------------------------------------


def test_an_answer_to_an_earlier_question_with_the_same_key_is_refused(make):
    def ask(run: RunState, ctx: Any) -> StepPlan:
        run.vars.setdefault("answers", []).append(run.vars.get("out"))
        return StepPlan("ask", Effect(ASK, {"prompt": "?"}, "out"), "ask")

    workflow = spec("w", ask=ask)
    rt = make(None, workflow)
    first = go(rt, workflow)
    wait = first.waiting
    answer = {"workflow": workflow, "run_id": first.run_id, "wait_key": wait.wait_key}
    rt.resume(**answer, payload="one", occurrence=wait.occurrence)

    with pytest.raises(WaitMismatch, match="is over"):
        rt.resume(**answer, payload="late", occurrence=wait.occurrence)

    state = rt.resume(**answer, payload="two")
    assert state.vars["answers"] == [None, "one", "two"]


# -- children as tools -----------------------------------------------------------------


def child_of(**nodes: Any):
    return spec("child", **nodes)


def finishes(output: Any):
    return lambda run, ctx: StepPlan(run.current_node, complete_output=output)


@pytest.mark.parametrize(
    ("output", "success", "told"),
    [
        ({"answer": "42"}, True, {"rendered": "42", "answer": "42"}),
        ({"answer": "42", "report": "long"}, True, {"rendered": "42", "answer": "42", "report": "long"}),
        ({"n": 1}, True, {"rendered": '{"n": 1}', "answer": '{"n": 1}'}),
        ({"success": False, "error": "no luck"}, False, "no luck"),
    ],
    ids=["answer", "report", "json", "failed"],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["in place", "waited for"])
def test_a_child_that_counts_as_a_tool(make, mode, output, success, told):
    payload = {
        "workflow_id": "child", "wrap_as_tool_result": True, "tool_name": "helper", "call_id": "c1",
        **({"async": True, "wait": True} if mode == "waited for" else {}),
    }  # fmt: skip
    parent = spec("parent", a=asks(START, payload, then="z"), z=done)
    rt = make(None, child_of(a=finishes(output)), parent)

    state = Driver(rt).drive(rt.start(workflow=parent))

    result = state.output["out"]["results"][0]
    assert state.output["out"]["mode"] == "executed"
    assert (result["name"], result["call_id"], result["success"]) == ("helper", "c1", success)
    if success:
        assert {k: v for k, v in result["output"].items() if k != "sub_run_id"} == told
    else:
        assert result["error"] == told


@pytest.mark.parametrize("mode", ["in place", "waited for"])
def test_a_tool_child_that_fails_is_a_failed_call(make, mode):
    payload = {"workflow_id": "child", "wrap_as_tool_result": True}
    if mode == "waited for":
        payload |= {"async": True, "wait": True}
    parent = spec("parent", a=asks(START, payload, then="z"), z=done)
    bad = child_of(a=lambda run, ctx: 1 / 0)

    rt = make(None, bad, parent)
    state = Driver(rt).drive(rt.start(workflow=parent))

    result = state.output["out"]["results"][0]
    assert (state.status, result["success"]) == ("completed", False)
    assert "ZeroDivisionError" in result["error"]


@pytest.mark.parametrize("payload", [{}, {"workflow_id": "nobody"}], ids=["no id", "unknown"])
def test_a_tool_child_that_cannot_start_is_a_failed_call(make, payload):
    parent = spec("p", a=asks(START, {**payload, "wrap_as_tool_result": True}, then="z"), z=done)

    state = go(make(None, parent), parent)

    assert state.output["out"]["results"][0]["success"] is False


@pytest.mark.parametrize("mode", ["in place", "waited for"])
def test_a_child_hands_its_traces_over_when_asked(make, mode):
    payload = {"workflow_id": "child", "include_traces": True}
    if mode == "waited for":
        payload |= {"async": True, "wait": True}
    child = child_of(a=asks(LLM, {"prompt": "p"}, then="z"), z=done)
    parent = spec("parent", a=asks(START, payload, then="z"), z=done)
    rt = make(lambda run, effect: EffectOutcome.completed({"text": "t"}), child, parent)

    state = Driver(rt).drive(rt.start(workflow=parent))

    steps = state.output["out"]["node_traces"]["a"]["steps"]
    assert [(s["effect"]["type"], s["result"]) for s in steps] == [("llm_call", {"text": "t"})]


# -- whole trees -----------------------------------------------------------------------


def family(make):
    """A root that waits for a child that waits for a child that asks, beside a loose one."""
    leaf = spec("leaf", a=asks(ASK, {"prompt": "?"}, then="z"), z=done)
    middle = spec("middle", a=asks(START, {"workflow_id": "leaf"}, then="z"), z=done)
    over = spec(
        "over", a=asks(START, {"workflow_id": "leaf", "async": True}, then="z"), z=finishes({})
    )
    root = spec(
        "root",
        a=asks(START, {"workflow_id": "over"}, key="over", then="b"),
        b=asks(START, {"workflow_id": "middle"}, then="z"),
        z=done,
    )
    rt = make(None, leaf, middle, over, root)
    run_id = rt.start(workflow=root)
    Driver(rt).drive(run_id)
    return rt, run_id


def test_cancelling_a_tree_reaches_what_is_below_finished_runs(make):
    rt, root = family(make)

    cancelled = cancel_tree(rt, root, reason="enough")

    names = [state.workflow_id for state in cancelled]
    assert names[0] == "root"
    assert sorted(names) == ["leaf", "leaf", "middle", "root"]
    assert {state.error for state in cancelled} == {"enough"}


def test_cancelling_a_tree_again_changes_nothing(make):
    rt, root = family(make)
    first = cancel_tree(rt, root)

    again = cancel_tree(rt, root, reason="twice")

    assert [s.run_id for s in again] == [s.run_id for s in first]
    assert {state.error for state in again} == {"Cancelled"}


def test_a_run_that_someone_drives_is_cancelled_by_its_owner(make):
    entered, leave = threading.Event(), threading.Event()

    def slow(run, effect):
        entered.set()
        assert leave.wait(10)
        return EffectOutcome.completed({})

    workflow = spec("w", a=asks(LLM, {}, then="b"), b=asks(LLM, {}, then="z"), z=done)
    rt = make(slow, workflow)
    run_id = rt.start(workflow=workflow)
    thread = threading.Thread(target=rt.tick, kwargs={"workflow": workflow, "run_id": run_id})
    thread.start()
    assert entered.wait(10)

    during = cancel_tree(rt, run_id, reason="stop")
    leave.set()
    thread.join(10)

    assert during == []
    after = rt.get_state(run_id)
    assert (after.status, after.error) == ("cancelled", "stop")
