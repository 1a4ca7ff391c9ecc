from __future__ import annotations

import pytest
from flow_builder import Host, end, flow, node, start
from node_scope import FakeScope, element, pins

from abstractruntime.agents import stub_agent
from abstractruntime.core.models import RunState
from abstractruntime.nodes._agent_result import ChildAnswer, add_turn
from abstractruntime.nodes._agent_trace import MAX_CHARS, MAX_STEPS, bounded_traces
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler import compile_visualflow_tree

CONFIG = {"provider": "Prov", "model": "mod"}
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
DONE = {"answer": "Done", "iterations": 2, "messages": [{"role": "user", "content": "go"}]}
TALK = {"context": {"messages": [{"role": "user", "content": "before"}], "attachments": ["f.txt"]}}
FACTS = "## KG ACTIVE MEMORY\n- a knows b"


def handed(output=DONE, **facts):
    return {"sub_run_id": "C1", "output": output, "node_traces": {}, **facts}


def advance(inputs, bucket=None, variables=None, **config):
    what = element("agent", agentConfig={**CONFIG, **config})
    return find_node_type("agent").advance(
        what, {} if bucket is None else bucket, inputs, FakeScope(variables)
    )


def child_vars(inputs, variables=None, bucket=None, **config):
    return advance({"prompt": "go", **inputs}, bucket, variables, **config).payload["vars"]


def finished(inputs=None, *, sub=None, structured=None, variables=None, **config):
    bucket = {"sub": handed() if sub is None else sub}
    bucket |= {} if structured is None else {"structured": structured}
    move = advance({"prompt": "go", **(inputs or {})}, bucket, variables, **config)
    return move, pins("agent", move.result)


# --- request ---------------------------------------------------------------------------


def test_request():
    stage = advance({"prompt": "go"}, max_iterations=3)

    assert (stage.effect, stage.name) == ("start_subworkflow", "sub")
    assert {k: v for k, v in stage.payload.items() if k != "vars"} == {
        "workflow_id": "visual_react_agent_f_n",
        "async": True,
        "wait": True,
        "include_traces": True,
        "on_child_failure": "continue",
    }
    assert stage.payload["vars"] == {
        "context": {"task": "go", "messages": []},
        "scratchpad": {"iteration": 0, "max_iterations": 3},
        "_runtime": {"inbox": [], "provider": "prov", "model": "mod", "allowed_tools": []},
        "_temp": {},
        "_limits": {**child_vars({})["_limits"], "max_iterations": 3},
    }


@pytest.mark.parametrize(
    ("inputs", "config", "expected"),
    [
        ({"tools": [" a ", "b", "a", 5]}, {"tools": ["z"]}, {"allowed_tools": ["a", "b"]}),
        ({"tools": []}, {"tools": ["z"]}, {"allowed_tools": []}),
        ({"tools": " a "}, {}, {"allowed_tools": ["a"]}),
        ({}, {"tools": ["z"]}, {"allowed_tools": ["z"]}),
        ({"provider": " ", "model": "other"}, {}, {"provider": "prov", "model": "other"}),
        ({"system": "extra"}, {"system": "cfg"}, {"system_prompt_extra": "extra"}),
        ({"system": " "}, {"system": "cfg"}, {"system_prompt_extra": "cfg"}),
        ({"temperature": 0.7}, {}, {"temperature": 0.7}),
        ({}, {"temperature": "0.1", "seed": 7}, {"temperature": 0.1, "seed": 7}),
        ({"seed": -1, "temperature": "warm"}, {}, {}),
        (
            {"use_session_attachments": "no"},
            {},
            {"control": {"include_session_attachments_index": False}},
        ),
    ],
)
def test_settings_of_the_child(inputs, config, expected):
    runtime = child_vars(inputs, **config)["_runtime"]

    base = {"inbox": [], "provider": "prov", "model": "mod", "allowed_tools": []}
    assert runtime == {**base, **expected}


def test_the_child_hears_and_speaks_as_its_parent():
    runtime = child_vars({}, {"_runtime": {"audio_policy": "auto", "stt_language": "en"}})[
        "_runtime"
    ]

    assert (runtime["audio_policy"], runtime["stt_language"]) == ("auto", "en")


@pytest.mark.parametrize(
    ("inputs", "config", "limits", "expected"),
    [
        ({}, {}, {}, 25),
        ({}, {}, {"max_iterations": 8}, 8),
        ({}, {"max_iterations": 4}, {"max_iterations": 8}, 4),
        ({"max_iterations": "3"}, {"max_iterations": 4}, {}, 3),
        ({"max_iterations": 0}, {}, {"max_iterations": None}, 25),
    ],
)
def test_iterations(inputs, config, limits, expected):
    found = child_vars(inputs, {"_limits": limits}, **config)

    assert found["_limits"]["max_iterations"] == expected
    assert found["scratchpad"]["max_iterations"] == expected


def test_limits_are_the_parents_with_counters_of_their_own():
    parent = {"max_tokens": 9, "current_iteration": 5, "estimated_tokens_used": 7}

    limits = child_vars({"max_in_tokens": 100}, {"_limits": parent}, max_output_tokens="50")[
        "_limits"
    ]

    assert limits == {
        "max_tokens": 9,
        "current_iteration": 0,
        "estimated_tokens_used": 0,
        "max_iterations": 25,
        "max_input_tokens": 100,
        "max_output_tokens": 50,
    }


@pytest.mark.parametrize(
    ("inputs", "config", "contents", "rest"),
    [
        ({}, {}, [], {}),
        ({"include_context": "yes"}, {}, ["before"], {"attachments": ["f.txt"]}),
        ({}, {"use_context": True}, ["before"], {"attachments": ["f.txt"]}),
        (
            {"context": {"messages": [{"content": "given"}], "task": "no", "k": 1}},
            {"include_context": True},
            ["given"],
            {"k": 1, "attachments": ["f.txt"]},
        ),
        (
            {"context": {"messages": [], "attachments": ["g"]}},
            {"include_context": True},
            ["before"],
            {"attachments": ["g"]},
        ),
    ],
)
def test_context_of_the_child(inputs, config, contents, rest):
    context = child_vars(inputs, TALK, **config)["context"]

    assert context.pop("task") == "go"
    assert [m["content"] for m in context.pop("messages")] == contents
    assert context == rest


def test_recalled_memory_goes_into_the_childs_conversation():
    inputs = {"use_span_memory": True, "use_kg_memory": True, "recall_level": "deep"}
    inputs["context"] = {"messages": [{"role": "system", "content": "s"}, {"content": "given"}]}
    old = {"role": "user", "content": "old", "metadata": {"source_artifact_id": "s1"}}
    bucket = {
        "span_query": {"results": [{"meta": {"span_ids": ["s1"]}}]},
        "span_rehydrate": {},
        "kg_query": {"active_memory_text": FACTS},
    }

    messages = child_vars(inputs, {"context": {"messages": [old]}}, bucket)["context"]["messages"]

    assert [m["content"] for m in messages] == ["s", FACTS, "given", "old"]
    assert messages[1]["metadata"]["message_id"] == "kg_active_memory:n"


@pytest.mark.parametrize("bucket", [{}, {"span_query": {}}], ids=["first", "second"])
def test_memory_sources_come_first(bucket):
    stage = advance({"prompt": "go", "use_span_memory": True}, bucket)

    assert stage.effect in ("memory_query", "memory_rehydrate")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "visual_react_agent_a_flow_n"),
        ({"_react_workflow_id": " own "}, "own"),
        ({"_react_workflow_id": ""}, "visual_react_agent_a_flow_n"),
    ],
)
def test_workflow_of_the_child(config, expected):
    scope = FakeScope()
    scope.flow_id = "a flow"
    what = element("agent", agentConfig={**CONFIG, **config})

    stage = find_node_type("agent").advance(what, {}, {"prompt": "go"}, scope)

    assert stage.payload["workflow_id"] == expected


# --- answer ----------------------------------------------------------------------------


def test_a_plain_answer():
    move, record = finished()

    meta = {
        "schema": "abstractcode.agent.v1.meta",
        "version": 1,
        "provider": "prov",
        "model": "mod",
        "output_mode": "unstructured",
        "sub_run_id": "C1",
        "iterations": 2,
        "tool_calls": 0,
        "tool_results": 0,
    }
    scratchpad = {
        "sub_run_id": "C1",
        "workflow_id": "visual_react_agent_f_n",
        "task": "go",
        "messages": DONE["messages"],
        "node_traces": {},
        "steps": [],
        "tool_calls": [],
        "tool_results": [],
    }
    main = {"response": "Done", "success": True, "meta": meta, "scratchpad": scratchpad}
    assert record == {**main, "data": None, "tool_calls": [], "tool_results": [], "result": main}
    assert move.ambient == {**main, "tool_calls": [], "tool_results": []}
    assert move.completion == main
    assert move.error is None


@pytest.mark.parametrize(
    ("sub", "response", "facts"),
    [
        (
            handed({"success": False, "error": "it broke"}),
            "it broke",
            {"status": "failed", "error": "it broke"},
        ),
        (
            handed({"answer": "half", "success": False, "error": "cut", "cancelled": True}),
            "half",
            {"status": "cancelled", "error": "cut"},
        ),
        (handed(None, success=False, error="gone"), "gone", {"status": "failed", "error": "gone"}),
        ("text", "the agent's run gave no answer", {"status": "failed"}),
        (None, "the agent's run gave no answer", {"status": "failed"}),
    ],
    ids=["failed", "cancelled", "envelope", "text", "null"],
)
def test_success_follows_the_child(sub, response, facts):
    move = advance({"prompt": "go", "resp_schema": SCHEMA}, {"sub": sub})
    record = pins("agent", move.result)

    assert (record["response"], record["success"]) == (response, False)
    assert facts.items() <= record["meta"].items()


@pytest.mark.parametrize(
    ("output", "response"),
    [("plain", "plain"), ({"answer": {"k": 1}}, '{"k":1}'), ({}, ""), ({"answer": 5}, "5")],
)
def test_other_shapes_of_answers(output, response):
    _, record = finished(sub=handed(output))

    assert (record["response"], record["success"]) == (response, True)


def test_the_reason_to_stop_is_told():
    _, record = finished(sub=handed({**DONE, "stop_reason": "max_iterations"}))

    assert record["meta"]["stop_reason"] == "max_iterations"


@pytest.mark.parametrize(
    ("config", "names"),
    [({}, ("unknown", "unknown")), ({"provider": "Prov"}, ("prov", "unknown"))],
)
def test_an_agent_without_model_is_a_soft_failure(config, names):
    what = element("agent", agentConfig=config)

    move = find_node_type("agent").advance(what, {}, {"prompt": "x"}, FakeScope())

    record = pins("agent", move.result)
    text = "Agent configuration error: missing provider/model"
    assert (record["response"], record["success"], move.error) == (text, False, text)
    assert (record["meta"]["provider"], record["meta"]["model"]) == names
    assert "output_mode" not in record["meta"]
    assert record["result"] == {
        "response": text,
        "task": "x",
        "context": {},
        "success": False,
        "error": text,
        "provider": names[0],
        "model": names[1],
    }


# --- structured ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "config"),
    [
        ({"resp_schema": SCHEMA}, {}),
        ({"resp_schema": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, {}),
        ({}, {"outputSchema": {"enabled": True, "jsonSchema": SCHEMA}}),
    ],
    ids=["pin", "wrapped", "config"],
)
def test_an_answer_is_turned_into_data_by_one_more_call(inputs, config):
    bucket = {"sub": handed()}

    stage = advance({"prompt": "go", "system": "extra", "seed": 3, **inputs}, bucket, **config)

    (message,) = stage.payload["messages"]
    assert (stage.effect, stage.name) == ("llm_call", "structured")
    assert "go" in message["content"]
    assert "Done" in message["content"]
    assert {k: v for k, v in stage.payload.items() if k != "messages"} == {
        "system_prompt": "extra",
        "provider": "prov",
        "model": "mod",
        "response_schema": SCHEMA,
        "response_schema_name": "Agent_n",
        "params": {"temperature": 0.7, "seed": 3},
    }


@pytest.mark.parametrize(
    "config", [{}, {"outputSchema": {"enabled": False, "jsonSchema": SCHEMA}}], ids=["none", "off"]
)
def test_without_a_schema_there_is_no_further_call(config):
    _, record = finished(**config)

    assert record["data"] is None


@pytest.mark.parametrize(
    ("answer", "data", "success"),
    [
        ({"data": {"label": "x"}}, {"label": "x"}, True),
        ({"data": None, "content": 'so: {"label": "y"}'}, {"label": "y"}, True),
        ({"data": "text", "content": '"text"'}, {}, False),
        ({"data": [1], "content": "no"}, {}, False),
        (
            {"data": {"value": 1}, "metadata": {"_structured_output_parse_error": "no label"}},
            {"value": 1},
            False,
        ),
        (None, {}, False),
    ],
    ids=["data", "content", "text", "list", "other object", "nothing"],
)
def test_data(answer, data, success):
    bucket = {"sub": handed(), "structured": answer}
    move = advance({"prompt": "go", "resp_schema": SCHEMA}, bucket)

    record = pins("agent", move.result)

    assert (record["data"], record["success"]) == (data, success)
    assert record["result"] == data
    assert record["meta"]["output_mode"] == "structured"
    assert ("error" in record["meta"]) is not success


# --- traces and turns ------------------------------------------------------------------


def tool_step(ts, name="ls", **result):
    call = {"name": name, "arguments": {"p": "."}, "call_id": ts}
    facts = {"call_id": ts, "name": name, "success": True, "output": "out", **result}
    effect = {"type": "tool_calls", "payload": {"tool_calls": [call]}}
    return {"ts": ts, "effect": effect, "result": {"results": [facts]}}


def traces(*steps):
    return {"act": {"node_id": "act", "steps": list(steps)}}


def test_tool_activity_is_read_from_the_traces():
    model = {"ts": "0", "effect": {"type": "llm_call"}, "result": {}}
    given = {"reason": {"steps": [model]}, **traces(tool_step("2"), tool_step("1"))}

    move, record = finished(sub=handed(node_traces=given))

    assert [s["ts"] for s in record["scratchpad"]["steps"]] == ["0", "1", "2"]
    assert [c["call_id"] for c in record["tool_calls"]] == ["1", "2"]
    assert (record["meta"]["tool_calls"], record["meta"]["tool_results"]) == (2, 2)
    assert move.ambient["tool_results"] == record["tool_results"]
    assert move.ambient["scratchpad"]["node_traces"] == {}
    assert move.completion["scratchpad"]["node_traces"] == given


def test_traces_are_kept_within_bounds():
    steps = [tool_step(f"{n:04}", output="x" * 2 * MAX_CHARS) for n in range(MAX_STEPS + 5)]

    once = bounded_traces(traces(*steps))

    assert len(once["act"]["steps"]) == MAX_STEPS
    assert once["act"]["steps"][0]["ts"] == "0005"
    assert len(str(once["act"]["steps"][0])) < 2 * MAX_CHARS
    assert bounded_traces(once) == once


def test_a_turn_joins_the_conversation_once():
    variables = {"context": {"messages": [{"role": "user", "content": "before"}]}}
    steps = [tool_step("1"), tool_step("2", success=False, output=None, error="no")]
    child = ChildAnswer.of(handed(node_traces=traces(*steps)))

    add_turn(variables, "n", " go ", child)
    add_turn(variables, "n", " go ", child)

    added = variables["context"]["messages"][1:]
    assert [(m["role"], m["content"]) for m in added] == [
        ("user", "go"),
        ("assistant", '[ls]: args={"p":"."}\nout'),
        ("assistant", '[ls]: args={"p":"."}\nError: no'),
        ("assistant", "Done"),
    ]
    assert added[0]["metadata"] == {
        "kind": "agent_turn",
        "node_id": "n",
        "message_id": "agent:C1:n:task",
        "sub_run_id": "C1",
    }
    assert added[1]["metadata"]["kind"] == "tool_observation"


def test_many_observations_are_counted_and_long_ones_cut():
    variables = {}
    steps = [tool_step(f"{n:02}", output="x" * 3000) for n in range(25)]

    add_turn(variables, "n", "", ChildAnswer.of(handed({}, node_traces=traces(*steps))))

    told = [m["content"] for m in variables["context"]["messages"]]
    assert len(told) == 21
    assert len(told[0]) == 2000
    assert told[-1] == "[5 more tool observations left out]"


@pytest.mark.parametrize(("inputs", "count"), [({}, 0), ({"include_context": True}, 2)])
def test_the_turn_is_kept_only_where_the_agent_sees_the_conversation(inputs, count):
    variables = {"context": {"messages": []}}

    finished(inputs, variables=variables)

    assert len(variables["context"]["messages"]) == count


# --- in a flow -------------------------------------------------------------------------

AGENT = node("g", "agent", "exec-in task prompt", "exec-out response", agentConfig=CONFIG)
LOOP = node("L", "loop", "exec-in items", "loop done item")
TO_AGENT = "s > g; s.task > g.task"


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_each_turn_of_a_loop_starts_a_child_with_its_own_task(rebuild):
    edges = "s > L; s.items > L.items; L.loop > g; L.item > g.task; L.done > e; g.response > e.r"
    document = flow(start("items"), LOOP, AGENT, end("r"), edges=edges)

    def answer(effect, count):
        return handed({"answer": f"{count}:{effect.payload['vars']['context']['task']}"})

    host = Host(document, {"items": ["x", "y"]}, answer=answer, rebuild=rebuild).go()

    assert [e.payload["vars"]["context"]["task"] for e in host.effects] == ["x", "y"]
    assert host.output["r"] == "2:y"
    assert host.run.vars["_temp"]["agent"] == {}


def test_a_flow_that_ends_with_an_agent_gives_its_record():
    document = flow(start("task"), AGENT, edges=TO_AGENT)

    output = Host(document, {"task": "go"}, answers=(handed(),)).go().output

    assert set(output) == {"response", "success", "meta", "scratchpad"}


def test_the_answer_is_the_ambient_value():
    document = flow(start("task"), AGENT, end("response", "success"), edges=f"{TO_AGENT}; g > e")

    output = Host(document, {"task": "go"}, answers=(handed(),)).go().output

    assert output == {"response": "Done", "success": True}


def test_a_flow_goes_on_after_a_misconfigured_agent():
    bare = node("g", "agent", "exec-in task", "exec-out response")
    document = flow(start("task"), bare, end("r"), edges=f"{TO_AGENT}; g > e; g.response > e.r")

    host = Host(document, {"task": "go"}).go()

    assert host.effects == []
    assert host.output["r"].startswith("Agent configuration error")
    assert host.run.vars["_flow_error"].startswith("Agent configuration error")


# --- workflows of agents ---------------------------------------------------------------


def test_a_tree_brings_the_workflows_of_its_agents():
    asked = []

    def factory(flow_id, node_id, config):
        asked.append((flow_id, node_id, config))
        return stub_agent(flow_id, node_id, config)

    document = flow(start("task"), AGENT, edges=TO_AGENT)
    specs = compile_visualflow_tree(flows_by_id={"f": document}, agents=factory)

    assert asked == [("f", "g", CONFIG)]
    assert {key: spec.workflow_id for key, spec in specs.items()} == {
        "f": "f",
        "visual_react_agent_f_g": "visual_react_agent_f_g",
    }


def test_without_a_factory_agents_are_left_to_the_host():
    document = flow(start("task"), AGENT, edges=TO_AGENT)

    assert list(compile_visualflow_tree(flows_by_id={"f": document})) == ["f"]


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ([], ["extra", "go"]),
        ([{"role": "user", "content": "go"}], ["extra", "go"]),
        ([{"role": "user", "content": "a"}], ["extra", "a", "go"]),
    ],
)
def test_the_stub_asks_the_model_once(messages, sent):
    runtime = {"provider": "p", "model": "m", "system_prompt_extra": "extra", "temperature": 0.1}
    variables = {"context": {"task": "go", "messages": messages}, "_runtime": runtime}
    host = Host(stub_agent("f", "g", {}), answers=({"content": "answer"},))
    host.run = RunState.new(workflow_id="w", entry_node="init", vars=variables)

    host.go()

    payload = host.effects[0].payload
    assert host.path == ["init", "reason", "done"]
    assert [m["content"] for m in payload["messages"]] == sent
    assert (payload["provider"], payload["params"]) == ("p", {"temperature": 0.1})
    assert {k: host.output[k] for k in ("answer", "report", "iterations")} == {
        "answer": "answer",
        "report": "answer",
        "iterations": 1,
    }
    assert host.output["messages"][-1] == {"role": "assistant", "content": "answer"}
