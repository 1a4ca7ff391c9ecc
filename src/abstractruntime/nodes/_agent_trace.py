"""What an agent did: traces of its run, kept once and within bounds, and what is read from them."""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue, mapping

MAX_STEPS = 200
MAX_CHARS = 4000
# What was cut once, its note included, is short enough.
_SLACK = 40


def bounded_traces(traces: JsonValue) -> JsonObject:
    """Give the newest 200 steps, with long texts cut; the ledger of the agent's run has everything."""
    kept = {id(step) for step in trace_steps(traces)[-MAX_STEPS:]}
    bounded: JsonObject = {}
    for name, trace in traces.items() if isinstance(traces, dict) else ():
        own = [step for step in _steps_of(trace) if id(step) in kept]
        if own:
            bounded[name] = {**trace, "steps": [_cut(step) for step in own]}
    return bounded


def trace_steps(traces: JsonValue) -> list[JsonObject]:
    """Give the steps of all nodes in the order of time."""
    found = traces.values() if isinstance(traces, dict) else ()
    steps = [step for trace in found for step in _steps_of(trace)]
    return sorted(steps, key=lambda step: str(step.get("ts") or ""))


def tool_activity(traces: JsonValue) -> tuple[list[JsonObject], list[JsonObject]]:
    """Give the tool calls in the traces, and the results that came back."""
    calls: list[JsonObject] = []
    results: list[JsonObject] = []
    for step in trace_steps(traces):
        effect = mapping(step.get("effect"))
        if effect.get("type") == "tool_calls":
            calls += _objects(mapping(effect.get("payload")).get("tool_calls"))
            results += _objects(mapping(step.get("result")).get("results"))
    return calls, results


def _steps_of(trace: JsonValue) -> list[JsonObject]:
    return _objects(mapping(trace).get("steps"))


def _cut(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and len(value) > MAX_CHARS + _SLACK:
        return f"{value[:MAX_CHARS]} [{len(value) - MAX_CHARS} more characters]"
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, list) else value


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
