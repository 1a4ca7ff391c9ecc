"""An agent without tools: it asks the model once and takes what it says as the answer.

It has the nodes and the output of a full agent, so that flows with agents can be run and
tested; `allowed_tools` is not used, and tool calls in the model's answer are not made.
"""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue, isolate
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.core.vars import get_context, get_runtime, get_scratchpad, get_temp
from abstractruntime.nodes.names import AGENT_PREFIX, node_workflow_id

__all__ = ["stub_agent"]

_USER, _ASSISTANT = "user", "assistant"


def stub_agent(flow_id: str, node_id: str, config: JsonObject) -> WorkflowSpec:  # noqa: ARG001 - an `AgentWorkflows`
    """Give a workflow that answers an agent's task with one model call."""
    return WorkflowSpec(
        workflow_id=node_workflow_id(AGENT_PREFIX, flow_id, node_id),
        entry_node="init",
        nodes={"init": _init, "reason": _reason, "done": _done},
    )


def _init(run: RunState, _context: RunContext) -> StepPlan:
    """Append the task unless the conversation ends with it."""
    context = get_context(run.vars)
    messages = _messages(context)
    task = str(context.get("task") or "")
    last = messages[-1] if messages else {}
    if task.strip() and (last.get("role"), last.get("content")) != (_USER, task):
        messages = [*messages, {"role": _USER, "content": task}]
    context["messages"] = messages
    return StepPlan("init", next_node="reason")


def _reason(run: RunState, _context: RunContext) -> StepPlan:
    runtime, context = get_runtime(run.vars), get_context(run.vars)
    get_scratchpad(run.vars)["iteration"] = 1
    params = {name: runtime[name] for name in ("temperature", "seed") if name in runtime}
    payload: JsonObject = {
        "messages": isolate(context["messages"]),
        "system_prompt": str(runtime.get("system_prompt_extra") or ""),
        "tools": [],
        "params": params,
    }
    if payload["system_prompt"]:
        system = {"role": "system", "content": payload["system_prompt"]}
        payload["messages"] = [system, *payload["messages"]]
    payload |= {name: runtime[name] for name in ("provider", "model") if runtime.get(name)}
    if context.get("attachments"):
        payload["media"] = isolate(context["attachments"])
    effect = Effect(EffectType.LLM_CALL, payload, "_temp.llm_response")
    return StepPlan("reason", effect=effect, next_node="done")


def _done(run: RunState, _context: RunContext) -> StepPlan:
    response = get_temp(run.vars).get("llm_response")
    answer = _answer(response)
    context = get_context(run.vars)
    context["messages"] = [*_messages(context), {"role": _ASSISTANT, "content": answer}]
    output = {
        "answer": answer,
        "report": answer,
        "iterations": 1,
        "messages": isolate(context["messages"]),
        "scratchpad": isolate(get_scratchpad(run.vars)),
        "stop_reason": "answer",
    }
    return StepPlan("done", complete_output=output)


def _answer(response: JsonValue) -> str:
    content = response.get("content") if isinstance(response, dict) else response
    return "" if content is None else str(content)


def _messages(context: JsonObject) -> list[JsonObject]:
    messages = context.get("messages")
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
