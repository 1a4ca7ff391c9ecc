"""A finished run as a case: its input, what it was told, and what its effects came to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from abstractruntime._json import JsonObject, mapping, split_pointer
from abstractruntime.core.models import EffectType, RunStatus
from abstractruntime.core.record_fields import (
    attempt_number,
    effect_payload,
    effect_type,
    record_status,
    result_object,
)
from abstractruntime.errors import RunFailed, UsageError
from abstractruntime.rendering.run_document import exit_code_for
from abstractruntime.testing._case_compare import MISSING, CaseProblem, common_part
from abstractruntime.testing._case_model import CASE_FORMAT, parse_case
from abstractruntime.testing._case_run import CaseResult, run_case

# What comes from outside; the runtime gives everything else again by itself.
_OUTSIDE: Final = frozenset(
    kind.value
    for kind in (
        EffectType.LLM_CALL,
        EffectType.TOOL_CALLS,
        EffectType.MEMORY_QUERY,
        EffectType.MEMORY_KG_ASSERT,
        EffectType.MEMORY_KG_QUERY,
        EffectType.MEMORY_KG_RESOLVE,
    )
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run of a tree as it was recorded: records in order, with what was moved out put back."""

    run_id: str
    workflow_id: str
    records: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SavedCase:
    """A case that passes; `left_out` names parts of the output that no second run would give."""

    document: JsonObject
    left_out: tuple[str, ...] = ()


def save_case(
    document: JsonObject,
    tree: Iterable[Recorded],
    flows: Mapping[str, Any],
    **options: Any,
) -> SavedCase:
    """Give the case of a run; it was run once, and passed.

    Output that depends on the time or on ids of the run is not expected again, and named in
    `left_out`.

    Args:
        document: The run document of the root.
        tree: The root, then its descendants.
        flows: The documents to run the case with.
        options: As for `run_case`.

    Raises:
        RunFailed: the flows do something else than the run did.
        UsageError: the run does not say what it was started with.
    """
    case = _case_of(document, tuple(tree))
    result = _run(case, flows, options)
    left_out = [p.where for p in result.problems if p.where.startswith("output")]
    if left_out:
        part = common_part(case["expect"].pop("output"), result.actual.document["output"])
        if part is not MISSING:
            case["expect"]["output_has"] = part
        result = _run(case, flows, options)
    if not result.ok:
        raise RunFailed(
            f"run {document['run_id']!r} cannot be repeated: {_told(result.problems[0])}",
            hint="test the flow that the run was started from",
            problems=[problem.to_dict() for problem in result.problems],
        )
    return SavedCase(case, tuple(left_out))


def _run(case: JsonObject, flows: Mapping[str, Any], options: Mapping[str, Any]) -> CaseResult:
    return run_case(parse_case(case), flows, **options)


def _told(problem: CaseProblem) -> str:
    if problem.message:
        return f"{problem.where}: {problem.message}"
    return f"{problem.where} was {problem.expected!r}, and is {problem.found!r}"


def _case_of(document: JsonObject, tree: tuple[Recorded, ...]) -> JsonObject:
    nodes = _mocks(tree)
    case: JsonObject = {
        "format": CASE_FORMAT,
        "name": f"as run {document['run_id']}",
        "entry": document["workflow_id"],
        "clock": document["created_at"],
        "input": _input(tree[0]),
        "steps": [*_steps(tree), *_cancelled(document)],
    }
    if nodes:
        case["mocks"] = {"nodes": nodes}
    case["expect"] = _expect(document)
    if messages := list(_messages(tree)):
        case["expect"]["messages"] = messages
    return case


def _input(root: Recorded) -> JsonObject:
    first = root.records[0] if root.records else {}
    given = mapping(first.get("commit")).get("set")
    if not isinstance(given, dict):
        raise UsageError(
            f"run {root.run_id!r} does not say what it was started with",
            hint="runs that were imported from an older store cannot be saved as a case",
        )
    named = {split_pointer(pointer)[0]: value for pointer, value in given.items()}
    return {name: value for name, value in named.items() if not name.startswith("_")}


def _mocks(tree: tuple[Recorded, ...]) -> dict[str, list[JsonObject]]:
    """Give what effects came to, in order, by node; of several attempts the last."""
    found: defaultdict[str, list[JsonObject]] = defaultdict(list)
    for run in tree:
        for record in run.records:
            status = record_status(record)
            if effect_type(record) not in _OUTSIDE or status not in ("completed", "failed"):
                continue
            node_id = str(record["node_id"])
            mocks = found[f"{run.workflow_id}:{node_id}" if len(tree) > 1 else node_id]
            if attempt_number(record) > 1:
                mocks.pop()  # the attempt before it, which failed
            is_done = status == "completed"
            mocks.append(
                {"result": record.get("result")} if is_done else {"fail": record.get("error") or ""}
            )
    return dict(found)


def _messages(tree: tuple[Recorded, ...]) -> Iterator[str]:
    """Give what the tree told the person, in order."""
    told = (record for run in tree for record in run.records)
    for record in sorted(told, key=lambda record: str(record.get("ended_at"))):
        if effect_type(record) == EffectType.ANSWER_USER and record_status(record) == "completed":
            yield str(result_object(record).get("message", ""))


def _steps(tree: tuple[Recorded, ...]) -> Iterator[JsonObject]:
    told = [
        (str(record.get("started_at")), at, record)
        for at, run in enumerate(tree)
        for record in run.records
        if effect_type(record) == "resume"
    ]
    ids = {run.run_id for run in tree}
    for _, _, record in sorted(told, key=lambda item: item[:2]):
        yield from _step(effect_payload(record), ids)


def _step(told: Mapping[str, Any], ids: set[str]) -> Iterator[JsonObject]:
    reason, payload = told.get("wait_reason"), told.get("payload")
    if reason == "user":
        yield {"answer": payload}
    elif reason == "until":
        yield {"wake": True}
    elif reason == "event" and "emitter" in mapping(payload):
        envelope = mapping(payload)
        if mapping(envelope["emitter"]).get("run_id") not in ids:
            yield {
                "event": envelope.get("name"),
                "scope": envelope.get("scope", "session"),
                "payload": envelope.get("payload"),
            }
    elif reason in ("event", "job"):
        yield {"resume": payload}


def _cancelled(document: JsonObject) -> Iterator[JsonObject]:
    if document["status"] == RunStatus.CANCELLED.value:
        yield {"cancel": (document["error"] or {}).get("message") or "cancelled"}


def _expect(document: JsonObject) -> JsonObject:
    expect: JsonObject = {
        "status": document["status"],
        "exit_code": int(exit_code_for(document)),
        "output": document["output"],
    }
    if document["waiting"]:
        expect["waiting"] = {"reason": document["waiting"]["reason"]}
    if document["status"] == RunStatus.FAILED.value:
        expect["error"] = document["error"]["message"]
    return expect
