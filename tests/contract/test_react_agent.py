"""The built-in agent, driven by a scripted model and scripted tools."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.agents import react_agent
from abstractruntime.core.models import EffectType
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.llm import LLMHandler
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.directory import open_store
from abstractruntime.testing import StubLLM, StubTools
from abstractruntime.testing.stub_llm import StubAnswer

OWN = ("ask_user", "delegate_agent")


def calls(*named: Any) -> StubAnswer:
    return StubAnswer(tool_calls=tuple({"name": n, "arguments": a} for n, a in named))


class World:
    def __init__(self, path: Any, answers: Any, tools: Any = None) -> None:
        self.model, self.spec = StubLLM(answers), react_agent("f", "n", {})
        self.tools = StubTools(tools or {"add": lambda a: a + 1})
        registry = WorkflowRegistry()
        registry.register(self.spec)
        self.runtime = Runtime.on_engine(
            open_store(path / "store"),
            workflow_registry=registry,
            effect_handlers={
                EffectType.LLM_CALL: LLMHandler(self.model, tools=self.tools),
                EffectType.TOOL_CALLS: Handler(ToolCalls(self.tools), external=True),
            },
        )

    def begin(self, tools: Any = ("add", *OWN), iterations: int = 5, **runtime: Any) -> str:
        return self.runtime.start(
            workflow=self.spec,
            vars={
                "context": {"task": "count", "messages": []},
                "scratchpad": {"iteration": 0, "max_iterations": iterations},
                "_runtime": {"inbox": [], "allowed_tools": list(tools), **runtime},
            },
        )

    def run(self, *answers: Any, **options: Any) -> Any:
        run_id, driver = self.begin(**options), Driver(self.runtime)
        state = driver.drive(run_id)
        for answer in answers:
            (wait,) = RunTree(self.runtime.engine, run_id).open_waits()
            driver.answer(wait.run_id, answer, wait_key=wait.wait_key)
            state = driver.drive(run_id)
        assert state.error is None
        return state.output


def observed(output: Any) -> list[str]:
    return [m["content"] for m in output["messages"] if m["role"] == "tool"]


def test_an_answer_without_tools_ends_the_work(tmp_path):
    world = World(tmp_path, ["three"])
    output = world.run(tools=())

    assert (output["answer"], output["iterations"], output["stop_reason"]) == ("three", 1, "answer")
    assert [m["role"] for m in world.model.calls[0].messages] == ["system", "user"]
    assert world.model.calls[0].tools == []


def test_results_follow_their_calls_in_the_form_of_chat_models(tmp_path):
    world = World(tmp_path, [calls(("add", {"a": 1}), ("add", {"a": 2})), "done"])
    output = world.run()

    said = next(m for m in output["messages"] if m["role"] == "assistant")
    ids = [call["id"] for call in said["tool_calls"]]
    told = [(m["tool_call_id"], m["content"]) for m in output["messages"] if m["role"] == "tool"]
    assert told == list(zip(ids, ["2", "3"], strict=True))
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert len(set(ids)) == 2


def test_every_request_begins_with_the_one_before(tmp_path):
    world = World(tmp_path, [calls(("add", {"a": 1})), calls(("add", {"a": 2})), "done"])
    world.run()

    texts = [json.dumps(r.messages)[:-1] for r in world.model.calls]
    assert len(texts) == 3
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (("add", {"a": "x"}), "Error: "),
        (("rm", {}), "Error: Tool 'rm' is not allowed"),
        (("remember_note", {"note": "x"}), "Error: Tool 'remember_note' is not allowed"),
        (("ask_user", {}), "Error: ask_user requires"),
    ],
    ids=["raises", "not-allowed", "own-not-allowed", "own-fails"],
)
def test_a_call_that_fails_is_told_to_the_model(tmp_path, call, text):
    output = World(tmp_path, [calls(call), "sorry"]).run()

    (told,) = observed(output)
    assert told.startswith(text)
    assert output["answer"] == "sorry"


def test_only_allowed_tools_are_offered(tmp_path):
    world = World(tmp_path, ["a"], {"add": 1, "rm": 2})
    world.run(tools=["add", "ask_user"])

    assert [spec["name"] for spec in world.model.calls[0].tools] == ["add", "ask_user"]


def test_after_the_last_iteration_the_model_concludes_without_tools(tmp_path):
    again = calls(("add", {"a": 1}))
    world = World(tmp_path, [again, again, "as far as I came"])
    output = world.run(iterations=2)

    assert (output["answer"], output["stop_reason"]) == ("as far as I came", "max_iterations")
    assert output["iterations"] == 2
    assert [bool(r.tools) for r in world.model.calls] == [True, True, False]


def test_a_model_that_says_nothing_at_all_ends_too(tmp_path):
    output = World(tmp_path, [""]).run(iterations=2)

    assert output["stop_reason"] == "max_iterations"
    assert "no answer" in output["answer"]


def test_a_person_is_asked_and_the_answer_told(tmp_path):
    answers = [calls(("add", {"a": 1}), ("ask_user", {"question": "Which?", "choices": ["a", "b"]}), ("add", {"a": 5})), "done"]  # fmt: skip
    output = World(tmp_path, answers).run({"response": "a"})

    assert observed(output) == ["2", "a", "6"]


def test_a_part_is_given_to_another_agent_with_no_more_tools(tmp_path):
    delegated = calls(("delegate_agent", {"task": "part", "tools": ["add", "rm", "ask_user"]}))
    world = World(tmp_path, [delegated, "of the part", "whole"])
    output = world.run(tools=["add", *OWN])

    assert observed(output) == ["of the part"]
    assert output["answer"] == "whole"
    assert [t["name"] for t in world.model.calls[1].tools] == ["add"]


def test_what_others_say_meanwhile_joins_the_conversation(tmp_path):
    world = World(tmp_path, ["ok"])
    world.run(inbox=[{"content": "be quick"}, "  ", 3])

    assert [m["content"] for m in world.model.calls[0].messages[1:]] == ["count", "be quick"]


def test_long_results_are_cut_with_a_note(tmp_path):
    world = World(tmp_path, [calls(("add", {"a": 1})), "ok"], {"add": "x" * 50_000})
    (told,) = observed(world.run())

    assert len(told) < 21_000
    assert "30000 more characters left out" in told


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"system_prompt_extra": "Be kind."}, "Be kind."),
        ({"system_prompt": "You are X."}, "You are X."),
    ],
)
def test_the_system_prompt_follows_the_settings(tmp_path, settings, expected):
    world = World(tmp_path, ["ok"])
    world.run(**settings)

    assert world.model.calls[0].messages[0]["content"].endswith(expected)
