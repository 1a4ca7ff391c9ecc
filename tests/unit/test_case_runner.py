"""Cases: what they may say, how they run, and what they find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flow_builder import END, end, flow, node, start

from abstractruntime.errors import AbstractRuntimeError, RunFailed, UnsupportedFormat, UsageError
from abstractruntime.testing._case_save import _mocks, _steps
from abstractruntime.testing.cases import (
    Recorded,
    load_case,
    parse_case,
    run_case,
    save_case,
    updated,
)

ASK = node(
    "ask", "ask_user", "exec-in prompt:string", "exec-out response", pinDefaults={"prompt": "?"}
)
TELL = node("tell", "answer_user", "exec-in message:string", "exec-out")
LLM = node(
    "llm", "llm_call", "exec-in prompt:string", "exec-out response", pinDefaults={"prompt": "hi"}
)
WAIT = node(
    "w", "wait_event", "exec-in event_key:string", "exec-out", pinDefaults={"event_key": "evt"}
)
SLEEP = node(
    "z", "wait_until", "exec-in duration:number", "exec-out", pinDefaults={"duration": 3600}
)

DIALOGUE = flow(
    start(), ASK, TELL, end("said"),
    edges="s > ask; ask > tell; tell > e; ask.response > tell.message; ask.response > e.said",
)  # fmt: skip
MODEL = flow(start(), LLM, end("text"), edges="s > llm; llm > e; llm.response > e.text")
TWICE = flow(
    start(), LLM, {**LLM, "id": "two"}, end("text", "more"),
    edges="s > llm; llm > two; two > e; llm.response > e.text; two.response > e.more",
)  # fmt: skip
SLEEPER = flow(start(), SLEEP, END, edges="s > z; z > e")
DONE = {"status": "completed"}


def case(expect: dict[str, Any] | None = None, **parts: Any) -> Any:
    return parse_case({"format": "art-case/1", "expect": expect or DONE, **parts})


def problems(
    document: dict[str, Any], expect: dict[str, Any] | None = None, **parts: Any
) -> list[str]:
    result = run_case(case(expect, **parts), {"f": document})
    return [problem.where for problem in result.problems]


# -- what happens to a run -------------------------------------------------------------------


@pytest.mark.parametrize(
    "document, parts, expect",
    [
        pytest.param(DIALOGUE, {"answers": ["yes"]}, {"output": {"said": "yes", "success": True}}, id="answers"),
        pytest.param(
            DIALOGUE, {"steps": [{"answer": {"response": "no"}}]}, {"messages": ["no"]}, id="messages"
        ),
        pytest.param(DIALOGUE, {}, {"waiting": {"reason": "user", "prompt": "?"}}, id="waits"),
        pytest.param(DIALOGUE, {}, {"status": "waiting", "exit_code": 4}, id="exit-code"),
        pytest.param(
            DIALOGUE, {"steps": [{"cancel": "enough"}]}, {"status": "cancelled"}, id="cancelled"
        ),
        pytest.param(
            DIALOGUE, {"answers": ["x"]}, {"calls": {"ask_user": 1, "tell": 1, "llm_call": 0}}, id="calls"
        ),
        pytest.param(SLEEPER, {}, {"waiting": {"reason": "until"}}, id="sleeps"),
        pytest.param(SLEEPER, {"steps": [{"wake": True}]}, DONE, id="wakes"),
        pytest.param(SLEEPER, {"steps": [{"advance": "1h"}]}, DONE, id="clock"),
        pytest.param(SLEEPER, {"steps": [{"advance": 3599}]}, {"waiting": {}}, id="clock-not-yet"),
        pytest.param(
            SLEEPER, {"clock": "2030-01-01T00:00:00Z"},
            {"waiting": {"until": "2030-01-01T01:00:00.000000+00:00"}}, id="clock-start",
        ),
        pytest.param(
            flow(start(), WAIT, END, edges="s > w; w > e"), {"steps": [{"resume": {"x": 1}}]}, DONE,
            id="resume",
        ),
        pytest.param(
            MODEL, {"mocks": {"effects": {"llm_call": {"reply": "hello"}}}},
            {"output_has": {"text": "hello"}}, id="model-reply",
        ),
        pytest.param(
            MODEL, {"mocks": {"nodes": {"llm": [{"fail": "no quota"}]}}},
            {"status": "failed", "error": "quota"}, id="failure",
        ),
        pytest.param(MODEL, {}, {"error": "the case has no mock for it"}, id="no-mock-no-call"),
        pytest.param(
            TWICE, {"mocks": {"effects": {"llm_call": [{"reply": "a"}, {"reply": "b"}]}}},
            {"output_has": {"text": "a", "more": "b"}}, id="in-order",
        ),
        pytest.param(
            TWICE, {"mocks": {"nodes": {"two": {"reply": "b"}}, "effects": {"llm_call": {"reply": "a"}}}},
            {"output_has": {"text": "a", "more": "b"}}, id="node-before-type",
        ),
        pytest.param(
            TWICE, {"mocks": {"effects": {"llm_call": [{"reply": "m", "match": "hi"}]}}},
            {"output_has": {"text": "m", "more": "m"}}, id="by-question",
        ),
        pytest.param(
            DIALOGUE, {"mocks": {"nodes": {"f:ask": {"result": {"response": "r"}}}}},
            {"messages": ["r"]}, id="any-effect",
        ),
    ],
)  # fmt: skip
def test_stories(document: dict[str, Any], parts: dict[str, Any], expect: dict[str, Any]) -> None:
    assert run_case(case(expect, **parts), {"f": document}).problems == ()


@pytest.mark.parametrize(
    "document, parts, expect, where",
    [
        pytest.param(DIALOGUE, {"answers": ["yes"]}, {"output": {"said": "no", "success": True}}, ["output/said"], id="value"),
        pytest.param(DIALOGUE, {"answers": ["y"]}, {"output": {"said": "y"}}, ["output/success"], id="exact"),
        pytest.param(DIALOGUE, {"answers": ["y"]}, {"output_has": {"x": 1}}, ["output_has/x"], id="missing"),
        pytest.param(DIALOGUE, {"answers": [1]}, {"output_has": {"said": True}}, ["output_has/said"], id="one-is-not-true"),
        pytest.param(DIALOGUE, {}, {"output": None}, ["status"], id="completed-is-implied"),
        pytest.param(DIALOGUE, {"answers": ["a", "b"]}, DONE, ["steps/1 (answer)"], id="answer-left"),
        pytest.param(DIALOGUE, {"steps": [{"wake": True}]}, {"waiting": {}}, ["steps/0 (wake)"], id="no-timer"),
        pytest.param(DIALOGUE, {"steps": [{"event": "x"}]}, {"waiting": {}}, ["steps/0 (event)"], id="nobody-listens"),
        pytest.param(MODEL, {}, {"output": None}, ["status", "error"], id="unexpected-error"),
        pytest.param(MODEL, {"mocks": {"nodes": {"llm": [{"reply": "a"}, {"reply": "b"}]}}}, DONE, ["mocks/nodes/llm"], id="mock-left"),
        pytest.param(TWICE, {"mocks": {"nodes": {"llm": [{"reply": "a"}]}}}, {"error": "no mock"}, [], id="mock-of-one-node"),
        pytest.param(DIALOGUE, {"mocks": {"nodes": {"ask": {"reply": "x"}}}}, {"error": "answer a model call"}, [], id="reply-of-no-model"),
    ],
)  # fmt: skip
def test_problems(
    document: dict[str, Any], parts: dict[str, Any], expect: dict[str, Any], where: list[str]
) -> None:
    assert problems(document, expect, **parts) == where


TOOLS = flow(
    start(),
    node("t", "tool_calls", "exec-in tool_calls:array", "exec-out results", pinDefaults={"tool_calls": [
        {"name": "add", "arguments": {"a": 1}, "call_id": "1"}, {"name": "sub", "arguments": {}, "call_id": "2"},
    ]}),
    end("results"),
    edges="s > t; t > e; t.results > e.results",
)  # fmt: skip


def test_tools_are_mocked_by_name() -> None:
    mocks = {"tools": {"add": [{"result": 3}], "sub": {"fail": "no"}}}

    result = run_case(case(mocks=mocks), {"f": TOOLS})

    facts = [
        (r["name"], r["success"], r["output"], r["error"])
        for r in result.actual.document["output"]["results"]
    ]
    assert result.problems == ()
    assert facts == [("add", True, 3, None), ("sub", False, None, "no")]


def test_without_mocks_of_tools_the_run_waits_for_results() -> None:
    results = [{"success": True, "output": 1, "error": None}] * 2
    step = {"resume": {"mode": "executed", "results": results}}

    assert problems(TOOLS, {"status": "waiting"}) == []
    assert problems(TOOLS, steps=[step]) == []


def test_an_agent_asks_the_mocked_model() -> None:
    agent = node(
        "a",
        "agent",
        "exec-in prompt:string provider model",
        "exec-out response",
        pinDefaults={"prompt": "add", "provider": "p", "model": "m"},
    )
    document = flow(start(), agent, end("said"), edges="s > a; a > e; a.response > e.said")
    mocks = {"effects": {"llm_call": {"reply": "three"}}}

    assert problems(document, {"output_has": {"said": "three"}}, mocks=mocks) == []


def test_listeners_beside_the_flow_hear_events() -> None:
    listener = node("l", "on_event", "", "exec-out payload", eventConfig={"name": "go"})
    document = flow(start(), ASK, END, listener, TELL, edges="s > ask; ask > e; l > tell")
    document["nodes"][-1]["data"]["pinDefaults"] = {"message": "heard"}

    found = problems(document, {"messages": ["heard"]}, steps=[{"event": "go"}, {"answer": "y"}])

    assert found == []


@pytest.mark.parametrize("scope", ["session", "run", "global"])
def test_events_reach_a_listener(scope: str) -> None:
    key = f"evt:{scope}:{'global' if scope == 'global' else 'case'}:go"
    waiter = node(
        "w",
        "wait_event",
        "exec-in event_key:string",
        "exec-out event_data",
        pinDefaults={"event_key": key},
    )
    document = flow(start(), waiter, end("got"), edges="s > w; w > e; w.event_data > e.got")
    step = {"event": "go", "payload": {"x": 1}, "scope": scope}

    assert problems(document, {"output_has": {"got": {"payload": {"x": 1}}}}, steps=[step]) == []


def test_files_are_those_of_the_case_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = node(
        "r",
        "read_file",
        "exec-in file_path:string",
        "exec-out content",
        pinDefaults={"file_path": "a/b.txt"},
    )
    document = flow(start(), reader, end("text"), edges="s > r; r > e; r.content > e.text")

    assert problems(document, {"output_has": {"text": "hello"}}, files={"a/b.txt": "hello"}) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="files:"):
        run_case(case(files={"../x": ""}), {"f": document})


def test_a_run_without_end_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abstractruntime.testing._case_run._MOST_POLLS", 50)
    document = flow(start(), TELL, edges="s > tell; tell > tell")
    document["nodes"][1]["data"]["pinDefaults"] = {"message": "again"}

    assert "run" in problems(document)


def test_the_same_case_gives_the_same_result_twice() -> None:
    dice = node(
        "d",
        "random_int",
        "exec-in min:number max:number",
        "exec-out result",
        pinDefaults={"min": 0, "max": 10**9},
    )
    document = flow(start(), dice, end("n"), edges="s > d; d > e; d.result > e.n")

    outputs = [run_case(case(), {"f": document}).actual.document["output"] for _ in range(2)]

    assert outputs[0] == outputs[1]


def test_update_changes_values_and_no_keys() -> None:
    expect = {"status": "failed", "output_has": {"said": "x"}, "messages": [], "error": "boom"}
    result = run_case(case(expect, answers=["y"]), {"f": DIALOGUE})

    assert updated(expect, result.actual) == {
        "status": "completed", "output_has": {"said": "y"}, "messages": ["y"], "error": "",
    }  # fmt: skip


# -- what a case may say ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts, said",
    [
        pytest.param({"expect": {}}, "expect", id="expects-nothing"),
        pytest.param({"exspect": 1}, "'exspect' was unexpected", id="unknown-key"),
        pytest.param({"input": []}, "input: .* is not of type 'object'", id="wrong-type"),
        pytest.param({"answers": [], "steps": []}, "exclude each other", id="two-ways"),
        pytest.param({"steps": [{"answer": 1, "wake": True}]}, "steps/0: names 2 actions", id="two-actions"),
        pytest.param({"steps": [{"wait_key": "k"}]}, "names 0 actions", id="no-action"),
        pytest.param({"steps": [{"wake": True, "scope": "run"}]}, "'scope' does not belong", id="stray"),
        pytest.param({"steps": [{"advance": "soon"}]}, "advance is 'soon'", id="span"),
        pytest.param({"steps": [{"advance": -1}]}, "advance is -1", id="backwards"),
        pytest.param({"clock": "noon"}, "clock: 'noon'", id="clock"),
        pytest.param({"mocks": {"effects": {"lm_call": {"reply": ""}}}}, "lm_call", id="effect-type"),
        pytest.param({"mocks": {"nodes": {"a": {"reply": "", "fail": ""}}}}, "says 2 things", id="two-things"),
        pytest.param({"mocks": {"nodes": {"a": {"match": "x"}}}}, "says 0 things", id="no-thing"),
        pytest.param({"mocks": {"nodes": {"a": {"reply": "", "regex": "("}}}}, "regex", id="regex"),
    ],
)  # fmt: skip
def test_wrong_cases_are_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_case({"format": "art-case/1", "expect": DONE, **parts})


def test_another_format_is_refused() -> None:
    with pytest.raises(UnsupportedFormat, match="art-case/9"):
        parse_case({"format": "art-case/9", "expect": DONE})


@pytest.mark.parametrize(
    "parts, said",
    [
        pytest.param(
            {"mocks": {"nodes": {"nope": {"fail": ""}}}}, "'nope', which is in no flow", id="node"
        ),
        pytest.param({"entry": "g"}, "'g', which is not there", id="flow"),
    ],
)
def test_a_case_names_what_exists(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_case(case(**parts), {"f": MODEL})


@pytest.mark.parametrize(
    "name, text",
    [
        pytest.param("c.json", json.dumps({"format": "art-case/1", "expect": DONE}), id="json"),
        pytest.param("c.yaml", "format: art-case/1\nexpect: {status: completed}\n", id="yaml"),
    ],
)
def test_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    assert load_case(tmp_path / name).name == "c"


@pytest.mark.parametrize(
    "name, text",
    [
        pytest.param("c.json", "{", id="cut"),
        pytest.param("c.json", "[]", id="list"),
        pytest.param("c.json", '{"a": 1, "a": 2}', id="twice"),
        pytest.param("c.yaml", "a: [", id="yaml"),
        pytest.param("c.yaml", "format: art-case/1\nclock: 2026-01-01\n", id="yaml-date"),
        pytest.param("c.yaml", "!!python/object/apply:os.system ['true']", id="yaml-object"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(AbstractRuntimeError, match=name):
        load_case(tmp_path / name)


# -- from a run to a case --------------------------------------------------------------------


def recorded(
    *records: tuple[str, str, dict[str, Any]], run_id: str = "r", workflow_id: str = "f"
) -> Recorded:
    """A run of records `(node, effect type, other keys)`, one second apart."""
    made = [
        {"node_id": n, "effect": {"type": kind, "payload": {}}, "attempt": 1, "status": "completed",
         "started_at": f"2026-01-01T00:00:{at:02}", "ended_at": f"2026-01-01T00:00:{at:02}", **more}
        for at, (n, kind, more) in enumerate(records)
    ]  # fmt: skip
    first = {
        "node_id": "s",
        "status": "completed",
        "commit": {"set": {"/topic": "x", "/_limits": {}}},
    }
    return Recorded(run_id, workflow_id, (first, *made))


def told(reason: str, payload: Any) -> dict[str, Any]:
    return {"effect": {"type": "resume", "payload": {"wait_reason": reason, "payload": payload}}}


def envelope(run_id: str | None) -> dict[str, Any]:
    return {"name": "go", "scope": "run", "payload": {"x": 1}, "emitter": {"run_id": run_id}}


@pytest.mark.parametrize(
    "records, expected",
    [
        pytest.param([("a", "llm_call", {"result": {"content": "x"}})], {"a": [{"result": {"content": "x"}}]}, id="result"),
        pytest.param([("a", "llm_call", {"status": "failed", "error": "no"})], {"a": [{"fail": "no"}]}, id="failure"),
        pytest.param(
            [
                ("a", "llm_call", {"status": "started"}),
                ("a", "llm_call", {"status": "failed", "error": "no"}),
                ("a", "llm_call", {"status": "started", "attempt": 2}),
                ("a", "llm_call", {"result": 2, "attempt": 2}),
                ("a", "llm_call", {"result": 3}),
            ],
            {"a": [{"result": 2}, {"result": 3}]}, id="attempts-are-one-call",
        ),
        pytest.param([("a", "answer_user", {"result": {}}), ("b", "start_subworkflow", {"result": {}})], {}, id="own-effects"),
    ],
)  # fmt: skip
def test_recorded_effects_become_mocks(records: list[Any], expected: dict[str, Any]) -> None:
    assert _mocks((recorded(*records),)) == expected


def test_mocks_of_a_tree_name_the_flow() -> None:
    call = ("a", "llm_call", {"result": 1})

    found = _mocks((recorded(call), recorded(call, run_id="c", workflow_id="g")))

    assert found == {"f:a": [{"result": 1}], "g:a": [{"result": 1}]}


@pytest.mark.parametrize(
    "record, expected",
    [
        pytest.param(told("user", {"response": "y"}), [{"answer": {"response": "y"}}], id="answer"),
        pytest.param(told("until", {}), [{"wake": True}], id="timer"),
        pytest.param(told("job", {"x": 1}), [{"resume": {"x": 1}}], id="job"),
        pytest.param(told("subworkflow", {}), [], id="own-child"),
        pytest.param(
            told("event", envelope(None)),
            [{"event": "go", "scope": "run", "payload": {"x": 1}}],
            id="event",
        ),
        pytest.param(told("event", envelope("r")), [], id="own-event"),
    ],
)
def test_what_a_run_was_told_becomes_steps(record: dict[str, Any], expected: list[Any]) -> None:
    assert list(_steps((recorded(("a", "resume", record)),))) == expected


RUN = {
    "run_id": "r", "workflow_id": "f", "status": "completed", "created_at": "2026-01-01T00:00:00+00:00",
    "output": {"text": "hello", "success": True}, "error": None, "waiting": None,
}  # fmt: skip
REPLY = {"content": "hello", "data": None, "tool_calls": []}


def test_a_saved_case_has_run_once() -> None:
    saved = save_case(RUN, [recorded(("llm", "llm_call", {"result": REPLY}))], {"f": MODEL})

    assert saved.left_out == ()
    assert saved.document["input"] == {"topic": "x"}
    assert run_case(parse_case(saved.document), {"f": MODEL}).ok


def test_what_differs_from_run_to_run_is_left_out() -> None:
    run = {**RUN, "output": {"text": "other", "success": True}}

    saved = save_case(run, [recorded(("llm", "llm_call", {"result": REPLY}))], {"f": MODEL})

    assert saved.left_out == ("output/text",)
    assert saved.document["expect"]["output_has"] == {"success": True}


def test_a_run_that_the_flow_does_not_repeat_is_no_case() -> None:
    with pytest.raises(RunFailed, match="cannot be repeated"):
        save_case(RUN, [recorded()], {"f": MODEL})


def test_a_run_without_its_input_is_no_case() -> None:
    with pytest.raises(UsageError, match="what it was started with"):
        save_case(RUN, [Recorded("r", "f", ())], {"f": MODEL})
