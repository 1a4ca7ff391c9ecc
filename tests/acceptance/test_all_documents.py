"""Every published flow document: compiled, packed, run with stubs, and run again in single steps.

The second run has a process for each step: the store is opened anew, the bundle is read and
compiled anew. Outputs, effects and variables must come out the same. People answer with the
first choice or "yes", time passes when nothing else can go on, and nothing else arrives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from worlds import RUN, Process, WithoutChance, World, packed

from abstractruntime.core.models import EffectType, WaitReason, parse_moment
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.errors import FlowError
from abstractruntime.llm.handler import LLMHandler
from abstractruntime.llm.port import LLMReply, LLMRequest
from abstractruntime.testing import FakeClock, StubGraph, StubLLM, StubTools
from abstractruntime.visualflow_compiler import Services

FLOWS = Path(__file__).parents[2].parent / "shared" / "flows"
NAMES = sorted(path.stem for path in FLOWS.glob("*.json"))
TEXTS = ("requirements_md", "plan_md", "report_md", "findings_md", "summary_md")
AGREED = {**dict.fromkeys(TEXTS, "All of it."), "success": True, "done": True, "approved": True}
MOST_STEPS = 100
SHORTER = {"6c23b88a": 50}  # its texts quote each other and double with every turn
MOST_ANSWERS = 6
PAST = [{"role": "user", "content": f"message {number}"} for number in range(8)]
SAMPLES = {"number": 2, "boolean": True, "array": ["a"], "object": {}, "tools": ["look"]}

# The one error of each document that does not compile, and why the document is at fault.
REFUSED = {"bff163ad": ("VF002", "it gives one pin two defaults, and readers differ which counts")}

# Where the others come to rest; all that are not here run to their end.
WAITS_FOR = {
    "61e7c1a4": "user",
    "a49d80c3": "until",
    "a8f5b5f8": "user",
    "acagent_ask_demo": "event",
    "b16c5a46": "user",
}
# A child of it ends with an error envelope.
FAILS_WITH_CHILD = {
    "masm": "Subworkflow 'masm_deep_researcher' failed: parse_json requires a non-empty 'text' input."
}
# They end with an error envelope: a template names what is not there, and three documents
# look for `result` in the `result` of an agent, which has `response`.
ENVELOPES = {
    "d1914129": "'role, winner, why'",
    "masm_coder": "parse_json requires a non-empty 'text' input.",
    "masm_deep_researcher": "parse_json requires a non-empty 'text' input.",
    "masm_reviewer": "parse_json requires a non-empty 'text' input.",
}
# They go on as long as the model says so, and this one always does.
LOOPS = {
    "31eae641", "53d568fc", "6c23b88a", "84aa8534", "ac-advanced-agent",
    "c91fec16", "d6f30991",
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    not FLOWS.is_dir(), reason=f"published flow documents are not at {FLOWS}"
)


class Model(StubLLM):
    """Agrees where it is asked for JSON, and else repeats what it is asked."""

    def __init__(self) -> None:
        summary = {"summary": "Hellos.", "key_points": [], "confidence": 1}
        rules = {"STRICT JSON": AGREED, "Keep decisions": summary}
        super().__init__({question: json.dumps(answer) for question, answer in rules.items()})

    def complete(self, request: LLMRequest) -> LLMReply:
        reply = super().complete(request)
        text = re.sub(r'"task_id": ?""', '"task_id":"task_1"', reply.content or "")
        data = json.loads(text) if reply.data is not None else None
        return replace(reply, content=text, data=data)


class OneModel:
    def providers(self) -> list[str]:
        return ["stub"]

    def models(self, _provider: str) -> list[str]:
        return ["stub"]


class Strangers(WithoutChance):
    """They answer with the first choice, else time passes; both only so often."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self._graph = StubGraph()
        self._answers = 0

    def inputs(self, document: Any) -> dict[str, Any]:
        return {**dict(inputs_of(document)), "context": {"messages": PAST}}

    def services(self, own: Services) -> Services:
        return replace(super().services(own), catalog=OneModel())

    def handlers(self) -> Any:
        tools = ToolCalls(StubTools(default=lambda tool, _arguments: f"{tool} did it"))
        return {
            EffectType.LLM_CALL: LLMHandler(Model()),
            EffectType.TOOL_CALLS: Handler(tools, external=True, state_free=True),
            **self._graph.handlers(),
        }

    def meet(self, process: Process) -> None: ...

    def go_on(self, process: Process) -> bool:
        self._answers += 1
        waits = RunTree(process.runtime.engine, RUN).open_waits()
        asked = [wait for wait in waits if wait.reason is WaitReason.USER]
        deadlines = [parse_moment(wait.until) for wait in waits if wait.until]
        if self._answers > MOST_ANSWERS:
            return False
        if asked:
            answer = {"response": asked[0].choices[0] if asked[0].choices else "yes"}
            process.driver.answer(asked[0].run_id, answer, wait_key=asked[0].wait_key)
        elif deadlines:
            left = max(min(deadlines) - self.clock.now(), timedelta(0))
            self.clock.advance(left.total_seconds())
        return bool(asked or deadlines)


def inputs_of(document: Any) -> Iterator[tuple[str, Any]]:
    """Give a sample for each input that has no default of its own; limits are 2."""
    for node in document["nodes"]:
        data = node["data"]
        pins = data.get("outputs", ()) if node["type"] == "on_flow_start" else ()
        for pin in pins:
            name, kind = pin["id"], pin["type"]
            sample = "stub" if name in ("provider", "model") else SAMPLES.get(kind, "hello")
            has_default = name in data.get("pinDefaults", {}) and not name.startswith("max_")
            if kind != "execution" and not has_default:
                yield name, sample


@pytest.mark.parametrize("name", NAMES)
def test_a_process_for_every_step_changes_nothing(name, tmp_path):
    if name in REFUSED:
        with pytest.raises(FlowError) as refusal:
            packed(FLOWS / f"{name}.json")
        errors = [item.code for item in refusal.value.findings if item.severity == "error"]
        assert errors == [REFUSED[name][0]]
        return

    calm, hasty = (
        World(
            packed(FLOWS / f"{name}.json"),
            tmp_path,
            Strangers(),
            most_steps=SHORTER.get(name, MOST_STEPS),
        )
        .tell(restarting=restarting)
        .ending()
        for restarting in (False, True)
    )

    assert hasty == calm
    if name in LOOPS:
        assert calm["status"] in ("running", "waiting")
    else:
        status = "waiting" if name in WAITS_FOR else "completed"
        if name in FAILS_WITH_CHILD:
            assert (calm["status"], calm["error"]) == ("failed", FAILS_WITH_CHILD[name])
            return
        assert (calm["status"], calm["error"]) == (status, None)
        assert calm["waits"] == WAITS_FOR.get(name, "").split()
        output = calm["output"] if isinstance(calm["output"], dict) else {}
        assert output.get("error") == ENVELOPES.get(name)
