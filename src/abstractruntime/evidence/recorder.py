"""Recording evidence: large tool output becomes artifacts, and an index entry names it.

Rules:
1. A tool result is changed only after everything about it was stored.
2. Ids follow from content and time alone; the same capture gives the same ids.
3. Whatever goes wrong becomes an entry of `_runtime.evidence_warnings`; a run never fails
   for want of evidence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from abstractruntime._json import JsonObject, mapping, replace_surrogates
from abstractruntime.core.models import RunState, format_time, utc_now
from abstractruntime.core.vars import get_runtime
from abstractruntime.evidence._tools import Captured, Part, examine
from abstractruntime.storage.artifacts import ArtifactStore, artifact_ref

DEFAULT_EVIDENCE_TOOL_NAMES: Final = ("web_search", "fetch_url", "execute_command")

Redact: TypeAlias = Callable[[JsonObject], JsonObject]


@dataclass(frozen=True, slots=True)
class EvidenceCaptureStats:
    """How many tool results were recorded."""

    recorded: int = 0


@dataclass(frozen=True, slots=True)
class _Visit:
    """Whose evidence is being taken, and when."""

    run: RunState
    node_id: str
    now_iso: str


class EvidenceRecorder:
    """Takes evidence of tool calls.

    Args:
        artifact_store: Where evidence goes.
        tool_names: The tools it is taken of.
        redact: Given the arguments of a call, gives those that may be kept.
    """

    def __init__(
        self,
        *,
        artifact_store: ArtifactStore,
        tool_names: Iterable[str] = DEFAULT_EVIDENCE_TOOL_NAMES,
        redact: Redact | None = None,
    ) -> None:
        self._store = artifact_store
        self._tools = frozenset(name.strip() for name in tool_names)
        self._redact = redact

    def record_tool_calls(
        self,
        *,
        run: RunState,
        node_id: str,
        tool_calls: Sequence[Any],
        tool_results: Any,
        now_iso: str | None = None,
    ) -> EvidenceCaptureStats:
        """Record the results of the tools of interest; call it before the results are stored.

        Changes `run.vars` (index and warnings) and `tool_results` (references in place of
        large text, `meta.evidence_id`). Results that have an evidence id are passed over.

        Args:
            run: The run that made the calls.
            node_id: The node that made them.
            tool_calls: `{name, arguments, call_id}` each; matched to results by position.
            tool_results: `{results: [...]}`, or the list itself.
            now_iso: The time to record; the system clock's when it is left out.
        """
        visit = _Visit(run, node_id, now_iso or format_time(utc_now()))
        recorded = 0
        for call, result in zip(tool_calls or (), _results(tool_results), strict=False):
            name = _name(call, result)
            if name not in self._tools or not isinstance(result, dict) or _is_recorded(result):
                continue
            try:
                self._record(visit, name, mapping(call), result)
                recorded += 1
            except Exception as error:  # noqa: BLE001 - evidence stands beside the run; what failed is kept in it
                _warn(visit, error)
        return EvidenceCaptureStats(recorded)

    def _record(self, visit: _Visit, name: str, call: JsonObject, result: JsonObject) -> None:
        arguments = _arguments(call)
        if self._redact is not None:
            arguments = self._redact(arguments)
        output = result.get("output")
        finding = examine(name, arguments, output)
        tags = {"kind": "evidence", "tool": name, **finding.tags}
        refs = {part.key: self._store_part(visit, part, tags) for part in finding.parts}
        call_id = str(result.get("call_id") or call.get("call_id") or "")
        payload = _payload(visit, name, call_id, result, arguments) | finding.facts
        if refs:
            payload["artifacts"] = refs
        stored = self._store.store_json(payload, run_id=visit.run.run_id, tags=tags)
        # Invariant: nothing below can fail, so a result and the index change together.
        if finding.removed and isinstance(output, dict):
            result["output"] = _relieved(output, finding, refs)
        result["meta"] = {**mapping(result.get("meta")), "evidence_id": stored.artifact_id}
        _list(visit.run, "memory_spans").append(
            {
                "kind": "evidence",
                "artifact_id": stored.artifact_id,
                "created_at": visit.now_iso,
                "from_timestamp": visit.now_iso,
                "to_timestamp": visit.now_iso,
                "message_count": 0,
                "tool_name": name,
                "call_id": call_id,
                "success": result.get("success") is True,
                **finding.span,
            }
        )

    def _store_part(self, visit: _Visit, part: Part, tags: dict[str, str]) -> dict[str, str]:
        run_id, own = visit.run.run_id, {**tags, "part": part.name}
        if part.content_type is None:
            stored = self._store.store_json(part.content, run_id=run_id, tags=own)
        else:
            text = replace_surrogates(part.content)
            stored = self._store.store_text(
                text, content_type=part.content_type, run_id=run_id, tags=own
            )
        return artifact_ref(stored.artifact_id)


def _payload(
    visit: _Visit, name: str, call_id: str, result: JsonObject, arguments: JsonObject
) -> JsonObject:
    run = visit.run
    owner = {"actor_id": run.actor_id, "session_id": run.session_id}
    return {
        "tool_name": name,
        "call_id": call_id,
        "success": result.get("success") is True,
        "error": result.get("error"),
        "created_at": visit.now_iso,
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "node_id": visit.node_id,
        "arguments": arguments,
        **{key: value for key, value in owner.items() if value},
    }


def _relieved(output: JsonObject, finding: Captured, refs: dict[str, dict[str, str]]) -> JsonObject:
    """Give an output without the text that was stored, and with references to it."""
    kept = {key: value for key, value in output.items() if key not in finding.removed}
    moved = {part.moves_to: refs[part.key] for part in finding.parts if part.moves_to}
    return {**kept, **moved}


def _results(tool_results: Any) -> list[Any]:
    found = tool_results.get("results") if isinstance(tool_results, dict) else tool_results
    return found if isinstance(found, list) else []


def _name(call: Any, result: Any) -> str:
    for source in (call, result):
        name = mapping(source).get("name")
        if isinstance(name, str) and name.strip():
            return name.strip()
    return ""


def _is_recorded(result: JsonObject) -> bool:
    return bool(mapping(result.get("meta")).get("evidence_id"))


def _arguments(call: JsonObject) -> JsonObject:
    """Give the arguments of a call, which models also write as JSON text."""
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return {"text": arguments}
    return dict(arguments) if isinstance(arguments, dict) else {}


def _warn(visit: _Visit, error: Exception) -> None:
    _list(visit.run, "evidence_warnings").append(
        {
            "ts": visit.now_iso,
            "node_id": visit.node_id,
            "error": f"{type(error).__name__}: {error}",
        }
    )


def _list(run: RunState, name: str) -> list[Any]:
    runtime = get_runtime(run.vars)
    found = runtime.get(name)
    if not isinstance(found, list):
        found = runtime[name] = []
    return found
