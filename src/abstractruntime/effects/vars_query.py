"""`vars_query`: shows a place in the variables of a run to a model, as JSON text.

It does not fail a run: a path that leads nowhere, or a run that is unknown or out of reach,
is a tool result without success.
"""

from __future__ import annotations

import json
from typing import Any

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, JsonObject
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.vars import (
    SCRATCHPAD,
    ensure_namespaces,
    parse_vars_path,
    resolve_vars_path,
)
from abstractruntime.effects.memory._payload import text_of, tool_result
from abstractruntime.effects.memory._target import TargetHost, target_run
from abstractruntime.effects.waits import truthy
from abstractruntime.errors import IntegrityError, NotFound, Refused


class VarsQuery:
    """Handler of `vars_query`."""

    def __init__(self, host: TargetHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Give `{path, type, value}`; with `keys_only`, keys or length in place of the value."""
        payload = effect.payload
        path = text_of(payload, "path", "var_path") or SCRATCHPAD
        try:
            # A copy of the top suffices: only missing namespaces are added.
            variables = ensure_namespaces(dict(target_run(self._host, ctx, payload).vars))
            value = resolve_vars_path(variables, parse_vars_path(path))
        except (ValueError, NotFound, Refused, IntegrityError) as problem:
            return _answer(payload, "", error=str(problem))
        found = _shape(value) if truthy(payload.get("keys_only")) else {"value": value}
        answer = {"path": path, "type": type(value).__name__, **found}
        text = json.dumps(answer, ensure_ascii=False, indent=2, sort_keys=True, default=str)
        return _answer(payload, text)


def _answer(payload: JsonObject, text: str, *, error: str | None = None) -> EffectOutcome:
    return tool_result(payload, text, name="inspect_vars", call_id="vars", error=error)


def _shape(value: Any) -> JsonObject:
    if isinstance(value, dict):
        return {"keys": sorted(value)}
    return {"length": len(value)} if isinstance(value, list | str) else {"value": value}
