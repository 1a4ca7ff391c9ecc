"""The built-in agent: a model that acts through tools until it has an answer (ReAct).

    init -> reason -> parse -> act -> observe -> reason -> ... -> done
            reason -> conclude -> concluded -> done      when the model was asked often enough

Rules:
1. Everything the agent knows lies in `context.messages`, in the form that chat models take: the
   assistant's calls, and a `tool` message with the id of the call for each result.
2. The system prompt depends on the settings only, never on the course of the run, so that every
   request begins with the one before it.
3. Only `_runtime.allowed_tools` are offered and run; a call of another tool is a failed result.
4. Each request to the model counts as an iteration; after the last, the model is asked once more,
   without tools, for what it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from abstractruntime._json import JsonObject, JsonValue, isolate, mapping
from abstractruntime.agents._own_tools import OWN_TOOLS, own_specs
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.spec import NodeHandler, RunContext, WorkflowSpec
from abstractruntime.core.vars import (
    ensure_limits,
    get_context,
    get_runtime,
    get_scratchpad,
    get_temp,
)
from abstractruntime.nodes.names import AGENT_PREFIX, node_workflow_id

__all__ = ["SYSTEM_PROMPT", "react_agent"]

SYSTEM_PROMPT: Final = """\
You are an agent that completes a task for a user.

- When you need to find out or to change something, call the tools you have; never pretend that you did.
- Calls that do not depend on each other may be made together; what changes something is called alone.
- State only what the conversation or a tool's result shows. When a call fails, mend it or say so.
- When you have what the task asks for, answer in plain text, without calling a tool: that ends your work.\
"""
_CONCLUDE: Final = (
    "You have used all your steps and have no tools any more. Give the best answer you can from what"
    " you know, and say what is missing and what should come next."
)
_EMPTY: Final = "Your last answer was empty. Go on with the task: call a tool, or give the answer."
_CUT: Final = "Your last answer was cut off. Give it again, shorter."
_NOTHING: Final = "The agent used all its steps and came to no answer."
_TRUNCATED: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
_OBSERVATION_CHARS: Final = 20_000
_ITERATIONS: Final = 25
_RESPONSE, _CALLS, _BATCH, _RESULTS = "llm_response", "calls", "batch", "tool_results"


def react_agent(flow_id: str, node_id: str, config: JsonObject) -> WorkflowSpec:  # noqa: ARG001 - an `AgentWorkflows`
    """Give the workflow that does the work of an agent node."""
    nodes: dict[str, NodeHandler] = {
        "init": _init,
        "reason": _reason,
        "parse": _parse,
        "act": _act,
        "observe": _observe,
        "conclude": _conclude,
        "concluded": _concluded,
        "done": _done,
    }
    return WorkflowSpec(node_workflow_id(AGENT_PREFIX, flow_id, node_id), "init", nodes)


def _init(run: RunState, _context: RunContext) -> StepPlan:
    """Append the task unless the conversation ends with it."""
    context = get_context(run.vars)
    messages = context["messages"] = _messages(run)
    task, last = str(context.get("task") or ""), messages[-1] if messages else {}
    if task.strip() and (last.get("role"), last.get("content")) != ("user", task):
        messages.append({"role": "user", "content": task})
    return StepPlan("init", next_node="reason")


def _reason(run: RunState, _context: RunContext) -> StepPlan:
    pad = get_scratchpad(run.vars)
    done = _count(pad.get("iteration"), 0)
    if done >= _count(pad.get("max_iterations"), _ITERATIONS):
        return StepPlan("reason", next_node="conclude")
    pad["iteration"] = ensure_limits(run.vars)["current_iteration"] = done + 1
    _take_guidance(run)
    own = own_specs(_allowed(run))
    others = [name for name in _allowed(run) if name not in OWN_TOOLS]
    return _ask(run, "reason", "parse", tools=[*others, *own])


def _take_guidance(run: RunState) -> None:
    """Put what others had to say to the agent meanwhile into the conversation."""
    runtime = get_runtime(run.vars)
    inbox = runtime.get("inbox")
    for item in inbox if isinstance(inbox, list) else ():
        text = item.get("content") if isinstance(item, dict) else item
        if isinstance(text, str) and text.strip():
            _messages(run).append({"role": "user", "content": text})
    runtime["inbox"] = []


def _ask(
    run: RunState, node: str, then: str, *, tools: list[JsonValue], extra: str = ""
) -> StepPlan:
    runtime, context = get_runtime(run.vars), get_context(run.vars)
    messages: list[JsonValue] = [{"role": "system", "content": _system_prompt(run)}]
    messages += isolate(_messages(run))
    if extra:
        messages.append({"role": "user", "content": extra})
    payload: JsonObject = {"messages": messages, "tools": tools, "params": _params(run)}
    payload |= {name: runtime[name] for name in ("provider", "model") if runtime.get(name)}
    if context.get("attachments"):
        payload["media"] = isolate(context["attachments"])
    return StepPlan(node, Effect(EffectType.LLM_CALL, payload, f"_temp.{_RESPONSE}"), then)


def _system_prompt(run: RunState) -> str:
    runtime = get_runtime(run.vars)
    own, extra = runtime.get("system_prompt"), runtime.get("system_prompt_extra")
    parts = (own if isinstance(own, str) and own.strip() else SYSTEM_PROMPT, extra)
    return "\n\n".join(part for part in parts if isinstance(part, str) and part.strip())


def _params(run: RunState) -> JsonObject:
    runtime, limits = get_runtime(run.vars), ensure_limits(run.vars)
    params: JsonObject = {n: runtime[n] for n in ("temperature", "seed") if n in runtime}
    budget = limits.get("max_output_tokens")
    return {**params, "max_output_tokens": budget} if budget else params


def _parse(run: RunState, _context: RunContext) -> StepPlan:
    """Read what the model said: calls to make, an answer, or nothing yet."""
    response, messages = mapping(get_temp(run.vars).get(_RESPONSE)), _messages(run)
    text = str(response.get("content") or "")
    calls = _numbered(run, response.get("tool_calls"))
    if calls:
        made = [_as_function(call) for call in calls]
        messages.append({"role": "assistant", "content": text, "tool_calls": made})
        get_temp(run.vars)[_CALLS] = calls
        return StepPlan("parse", next_node="act")
    if text.strip():
        messages.append({"role": "assistant", "content": text})
    if not text.strip() or response.get("finish_reason") in _TRUNCATED:
        messages.append({"role": "user", "content": _CUT if text.strip() else _EMPTY})
        return StepPlan("parse", next_node="reason")
    return _answered(run, "parse", text, "answer")


def _numbered(run: RunState, given: JsonValue) -> list[JsonObject]:
    """Give the calls of an answer, each with an id of its own in the whole conversation."""
    found = given if isinstance(given, list) else []
    calls = [call for call in found if isinstance(call, dict) and call.get("name")]
    known = {m.get("tool_call_id") for m in _messages(run)}
    iteration = get_scratchpad(run.vars).get("iteration")
    numbered = []
    for index, call in enumerate(calls, start=1):
        call_id = call.get("call_id")
        if not isinstance(call_id, str) or not call_id or call_id in known:
            call_id = f"call_{iteration}_{index}"
        known.add(call_id)
        arguments = call.get("arguments")
        numbered.append({"name": call["name"], "arguments": mapping(arguments), "call_id": call_id})
    return numbered


def _as_function(call: JsonObject) -> JsonObject:
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    return {
        "id": call["call_id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": arguments},
    }


def _act(run: RunState, _context: RunContext) -> StepPlan:
    """Make the next calls: one that the runtime serves itself, or all before the next such one."""
    temp, allowed = get_temp(run.vars), _allowed(run)
    calls = temp.get(_CALLS) or []
    own = OWN_TOOLS.get(calls[0]["name"]) if calls else None
    batch = list(_until_own(calls)) if own is None else calls[:1]
    temp[_BATCH], temp[_CALLS] = batch, calls[len(batch) :]
    if own is None:
        payload: JsonObject = {"tool_calls": isolate(batch), "allowed_tools": allowed}
        effect = Effect(EffectType.TOOL_CALLS, payload, f"_temp.{_RESULTS}")
    elif batch[0]["name"] in allowed:
        effect = own.effect(run, batch[0], allowed, f"_temp.{_RESULTS}")
    else:
        temp[_RESULTS] = {"error": f"Tool {batch[0]['name']!r} is not allowed"}
        return StepPlan("act", next_node="observe")
    return StepPlan("act", effect, "observe")


def _until_own(calls: list[JsonObject]) -> Iterator[JsonObject]:
    for call in calls:
        if call["name"] in OWN_TOOLS:
            return
        yield call


def _observe(run: RunState, _context: RunContext) -> StepPlan:
    temp = get_temp(run.vars)
    batch, came = temp.pop(_BATCH, None) or [], temp.pop(_RESULTS, None)
    for index, call in enumerate(batch):
        told = _observation(call, _result(came, index))
        message = {"role": "tool", "tool_call_id": call["call_id"], "name": call["name"]}
        _messages(run).append({**message, "content": told})
    return StepPlan("observe", next_node="act" if temp.get(_CALLS) else "reason")


def _result(came: JsonValue, index: int) -> JsonValue:
    """Give what came of one call of a batch: a tool's result, a person's answer, or a refusal."""
    results = mapping(came).get("results")
    if isinstance(results, list):
        return results[index] if index < len(results) else {"error": "Missing tool result"}
    return came


def _observation(call: JsonObject, result: JsonValue) -> str:
    """Give a result as the model reads it."""
    facts = mapping(result)
    own = OWN_TOOLS.get(call["name"])
    if own is not None and own.reads is not None and "error" not in facts:
        return _bounded(own.reads(result))
    if facts.get("success") is True:
        return _bounded(_as_text(facts.get("output")))
    why = facts.get("error") or facts.get("reason") or "the call was not made"
    return _bounded(f"Error: {_as_text(why)}")


def _bounded(text: str) -> str:
    if len(text) <= _OBSERVATION_CHARS:
        return text
    return (
        f"{text[:_OBSERVATION_CHARS]}\n[{len(text) - _OBSERVATION_CHARS} more characters left out]"
    )


def _as_text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    shown = mapping(value).get("rendered")
    return shown if isinstance(shown, str) else json.dumps(value, ensure_ascii=False)


def _conclude(run: RunState, _context: RunContext) -> StepPlan:
    return _ask(run, "conclude", "concluded", tools=[], extra=_CONCLUDE)


def _concluded(run: RunState, _context: RunContext) -> StepPlan:
    text = str(mapping(get_temp(run.vars).get(_RESPONSE)).get("content") or "").strip() or _NOTHING
    _messages(run).append({"role": "assistant", "content": text})
    return _answered(run, "concluded", text, "max_iterations")


def _answered(run: RunState, node: str, text: str, stop_reason: str) -> StepPlan:
    get_scratchpad(run.vars).update(answer=text, stop_reason=stop_reason)
    return StepPlan(node, next_node="done")


def _done(run: RunState, _context: RunContext) -> StepPlan:
    pad = isolate(get_scratchpad(run.vars))
    answer, stop_reason = pad.pop("answer", ""), pad.pop("stop_reason", "answer")
    output: JsonObject = {
        "answer": answer,
        "report": answer,
        "iterations": pad.get("iteration", 0),
        "messages": isolate(_messages(run)),
        "scratchpad": pad,
        "stop_reason": stop_reason,
    }
    return StepPlan("done", complete_output=output)


def _allowed(run: RunState) -> list[str]:
    names = get_runtime(run.vars).get("allowed_tools")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _messages(run: RunState) -> list[Any]:
    """Give the conversation itself: what is appended to it stays."""
    context = get_context(run.vars)
    messages = context.get("messages")
    if not isinstance(messages, list):
        messages = context["messages"] = []
    return messages


def _count(value: JsonValue, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
