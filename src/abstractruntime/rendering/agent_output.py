"""The output of a run that asked agents, for people: their answers without the traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject, JsonValue

_SCRATCHPAD: Final = "scratchpad"
# What the scratchpad of an agent has and hardly anything else.
_OF_AGENT: Final = frozenset({"sub_run_id", "node_traces"})


def without_traces(value: JsonValue) -> tuple[JsonValue, list[str]]:
    """Give a value whose scratchpads of agents only name the run, and the ids of those runs.

    What has none of them is given as it is.
    """
    runs: dict[str, None] = {}
    return _without(value, runs), list(runs)


def _without(value: JsonValue, runs: dict[str, None]) -> JsonValue:
    if isinstance(value, list):
        return [_without(item, runs) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _member(key, item, runs) for key, item in value.items()}


def _member(key: str, value: JsonValue, runs: dict[str, None]) -> JsonValue:
    if key == _SCRATCHPAD and isinstance(value, dict) and value.keys() >= _OF_AGENT:
        return _short(value, runs)
    return _without(value, runs)


def _short(scratchpad: JsonObject, runs: dict[str, None]) -> JsonObject:
    run_id = scratchpad["sub_run_id"]
    runs[str(run_id)] = None
    return {"sub_run_id": run_id}
