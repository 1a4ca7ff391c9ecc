"""Verifying a history bundle offline, from its own content.

Rules:
1. Records render back to the bytes that were stored; chain, order, tree and signed
   heads are then judged like a ledger file.
2. What the bundle derives from records (timeline, the run, its input data and the snapshot
   reference) must agree with them.
3. What the records do not fix is named: `not_covered` gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._history.export import (
    given_values,
    run_object,
    snapshot_of,
    timeline_entries,
    what_became_of,
)
from abstractruntime._json import dump_line, dump_sorted, join_pointer, load_strict, mapping
from abstractruntime.core.origin import RUN_STARTED, RunOrigin
from abstractruntime.core.record_fields import (
    internal_kind,
    is_completion,
    result_object,
    started_child,
    terminal_status,
)
from abstractruntime.errors import UsageError
from abstractruntime.schemas.history import HISTORY_BUNDLE_SCHEMA
from abstractruntime.signing.heads import read_heads
from abstractruntime.signing.keys import parse_vkey
from abstractruntime.signing.verdict import verify_ledger
from abstractruntime.storage.folding import run_of_records
from abstractruntime.storage.large_values import LargeValues, holds_references, reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abstractruntime._json import JsonObject, JsonValue
    from abstractruntime.core.models import RunState
    from abstractruntime.signing.keys import VerifierKey
    from abstractruntime.signing.verdict import LedgerVerdict

_MAX_SHAPE_DEFECTS: Final = 20
# Exports of earlier versions have neither.
_LATER: Final = frozenset({"outcome", "failure"})
_PROVENANCE: Final = frozenset({"head_hash", "root_hash", "size", "heads", "vkeys", "runs"})


@dataclass(frozen=True, slots=True)
class HistoryDefect:
    """One contradiction in a bundle; `record` counts a run's records from 0."""

    code: str
    run_id: str | None = None
    record: int | None = None
    expected: Any = None
    found: Any = None

    def to_dict(self) -> JsonObject:
        return {part.name: getattr(self, part.name) for part in fields(self)}


_Defects = Iterator[HistoryDefect]


def verify_history_bundle(
    bundle: JsonValue,
    *,
    keys: Sequence[VerifierKey] | None = None,
    revoked: Mapping[VerifierKey, str] | None = None,
) -> list[HistoryDefect]:
    """Give everything in which a bundle contradicts itself; empty means consistent.

    Without `keys`, the heads are checked against the keys that the bundle names. That
    shows damage, not forgery: who rewrites a bundle can name keys of their own. With
    `keys`, every record must lie under a head that one of them signed.

    Args:
        bundle: The parsed document; parse it with key order and big integers intact.
        keys: The host keys that the reader trusts.
        revoked: Host keys that the reader did trust, each with its standing in words.
    """
    defects = list(_shape_defects(bundle))
    if defects:
        return defects
    for ledger in bundle["ledgers"].values():
        defects += _ledger_defects(bundle, ledger, keys, revoked)
    return [*defects, *_view_defects(bundle)]


def not_covered(bundle: JsonValue) -> list[str]:
    """Give JSON pointers to what a consistent bundle shows and its records do not fix."""
    if not isinstance(bundle, dict):
        return []
    run = _run_of(bundle)
    shown = {"/generated_at": True, "/session": bundle.get("session") is not None}
    shown["/provenance/vkeys"] = bool(mapping(bundle.get("provenance")).get("vkeys"))
    found = [place for place, is_there in shown.items() if is_there]
    if run is None:
        known = _recorded_facts(_root_records(bundle))
        left = set(bundle["run"]) - {"run_id", *known}
        found += [join_pointer(("run", name)) for name in sorted(left)]
    if run is None or _has_references(run.vars):
        found += ["/input_data", "/workflow_snapshot"]
    return sorted([*found, *_lost_children(bundle), *_unknown_keys(bundle)])


def outcome_shown(bundle: JsonObject) -> JsonObject:
    """Give outcome and failure of the run of a consistent bundle: those that its records tell, or it shows."""
    run = _run_of(bundle)
    found = what_became_of(run) if run is not None else bundle["run"]
    return {name: found.get(name) for name in ("outcome", "failure")}


def _lost_children(bundle: JsonObject) -> Iterator[str]:
    """Give pointers to the ledgers of runs that a record started, and that are not in the bundle."""
    ledgers = mapping(bundle.get("ledgers"))
    parts = (mapping(ledger).get("items") for ledger in ledgers.values())
    items = (item for part in parts if isinstance(part, list) for item in part)
    named = (started_child(mapping(mapping(item).get("record"))) for item in items)
    yield from {
        join_pointer(("ledgers", child)) for child in named if child and child not in ledgers
    }


def _unknown_keys(value: Any, schema: Any = HISTORY_BUNDLE_SCHEMA, at: str = "") -> Iterator[str]:
    """Give pointers to the keys that the format does not name; those of records have a hash."""
    shape = mapping(schema)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_keys(item, shape.get("items"), f"{at}/{index}")
    names, others = shape.get("properties"), shape.get("additionalProperties")
    if not isinstance(value, dict) or (names is None and not isinstance(others, dict)):
        return
    for name, item in value.items():
        place, inner = at + join_pointer((name,)), mapping(names).get(name, others)
        if names is not None and name not in names:
            yield place
        elif name != "record":
            yield from _unknown_keys(item, inner, place)


def _shape_defects(bundle: JsonValue) -> _Defects:
    try:
        dump_line(bundle)
    except (ValueError, TypeError, RecursionError) as cause:
        # Hazard: NaN and lone surrogates pass a lenient parser but cannot be rendered back.
        yield HistoryDefect("malformed", expected="JSON", found=str(cause)[:200])
        return
    # Costs 150 ms to import, which only those who verify should pay.
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - see above

    errors = Draft202012Validator(HISTORY_BUNDLE_SCHEMA).iter_errors(bundle)
    for error, _ in zip(errors, range(_MAX_SHAPE_DEFECTS), strict=False):
        place = join_pointer(error.absolute_path) or "/"
        yield HistoryDefect("malformed", expected=place, found=error.message[:200])


def _ledger_defects(
    bundle: JsonObject,
    ledger: JsonObject,
    keys: Sequence[VerifierKey] | None,
    revoked: Mapping[VerifierKey, str] | None,
) -> _Defects:
    run_id = ledger["run_id"]
    yield from _cursor_defects(ledger)
    if len(ledger["items"]) != ledger["total"]:
        yield HistoryDefect("not_full", run_id, None, ledger["total"], len(ledger["items"]))
        return
    facts = _facts_of(bundle, run_id)
    named = bundle.get("provenance", {}).get("vkeys", ())
    trusted, bad_keys = _parse_keys(named) if keys is None else (list(keys), [])
    yield from (HistoryDefect("bad_vkey", run_id, found=line) for line in bad_keys)
    heads = [dump_line({"note": note}) + b"\n" for note in facts.get("heads", ())]
    verdict = verify_ledger(
        [_stored_line(item) + b"\n" for item in ledger["items"]],
        heads=read_heads(heads),
        keys=trusted,
        revoked=revoked,
        run_id=run_id,
    )
    yield from _line_defects(ledger)
    for defect in verdict.defects:
        yield HistoryDefect(defect.code, run_id, defect.record, defect.expected, defect.found)
    yield from _fact_defects(run_id, facts, verdict)
    if keys is not None and verdict.unsigned_tail:
        yield HistoryDefect(
            "unsigned_records", run_id, verdict.signed_records, 0, verdict.unsigned_tail
        )


def _cursor_defects(ledger: JsonObject) -> _Defects:
    cursors = [item["cursor"] for item in ledger["items"]]
    start, end, run_id = ledger["cursor_start"], ledger["cursor_end"], ledger["run_id"]
    if cursors != [start + index for index in range(len(cursors))]:
        yield HistoryDefect("cursor_mismatch", run_id, None, "consecutive cursors", None)
    if end != ledger["total"] or end - start + 1 != len(cursors):
        yield HistoryDefect("cursor_mismatch", run_id, None, len(cursors), end - start + 1)


def _line_defects(ledger: JsonObject) -> _Defects:
    for item in ledger["items"]:
        text = item.get("line")
        if text is not None and ("\n" in text or not _says(text, item["record"])):
            index = item["cursor"] - 1
            yield HistoryDefect("line_mismatch", ledger["run_id"], index, "the record", text[:200])


def _says(text: str, record: JsonObject) -> bool:
    try:
        return dump_line(load_strict(text)) == dump_line(record)
    except ValueError:
        return False


def _fact_defects(run_id: str, facts: JsonObject, verdict: LedgerVerdict) -> _Defects:
    found = {
        "head_hash": verdict.head_hash,
        "root_hash": verdict.root_hash,
        "size": verdict.records,
    }
    for name, value in found.items():
        if name in facts and facts[name] != value:
            yield HistoryDefect(f"{name}_mismatch", run_id, None, facts[name], value)


def _view_defects(bundle: JsonObject) -> _Defects:
    """Compare what was derived from the records with what they say."""
    root = bundle["root_run_id"]
    ledger = bundle["ledgers"].get(root)
    for run_id, each in bundle["ledgers"].items():
        if each["run_id"] != run_id:
            yield HistoryDefect("run_id_mismatch", run_id, None, run_id, each["run_id"])
    if ledger is None or bundle["run"]["run_id"] != root:
        yield HistoryDefect("root_mismatch", root, None, root, bundle["run"]["run_id"])
        return
    entries = [entry for each in bundle["ledgers"].values() for entry in timeline_entries(each)]
    if bundle["timeline"] != entries:
        yield HistoryDefect("timeline_mismatch", root, None, len(entries), len(bundle["timeline"]))
    yield from _run_defects(bundle)


def _run_defects(bundle: JsonObject) -> _Defects:
    shown, run, root = bundle["run"], _run_of(bundle), bundle["root_run_id"]
    if run is None:
        for name, (index, recorded) in _recorded_facts(_root_records(bundle)).items():
            if name in shown and not _agrees(recorded, shown[name]):
                yield HistoryDefect(f"{name}_mismatch", root, index, recorded, shown[name])
        return
    provenance = mapping(bundle.get("provenance"))
    for name in _PROVENANCE - set(provenance) | {"format"} - set(bundle):
        # An engine exports these; without them the rest could pass for less than it is.
        yield HistoryDefect("missing", root, None, name, None)
    recorded = run_object(run, with_output=True)
    if not _LATER & set(shown):
        recorded = {name: value for name, value in recorded.items() if name not in _LATER}
    for name, value in recorded.items():
        if name not in shown or not _agrees(value, shown[name]):
            yield HistoryDefect(f"{name}_mismatch", root, None, value, shown.get(name))
    if _has_references(run.vars):
        return
    derived = {"input_data": given_values(run), "workflow_snapshot": snapshot_of(run)}
    for name, value in derived.items():
        if not _agrees(value, bundle[name]):
            yield HistoryDefect(f"{name}_mismatch", root, None, value, bundle[name])


def _root_records(bundle: JsonObject) -> list[JsonObject]:
    ledger = mapping(mapping(bundle.get("ledgers")).get(bundle["root_run_id"]))
    return [item["record"] for item in ledger.get("items", ())]


def _run_of(bundle: JsonObject) -> RunState | None:
    return run_of_records(_root_records(bundle))


def _has_references(value: Any) -> bool:
    return holds_references(dump_line(value))


def _recorded_facts(records: list[JsonObject]) -> dict[str, tuple[int, JsonValue]]:
    """Give what the records say of the run, each with the index of the record that says so."""
    facts: dict[str, tuple[int, JsonValue]] = {}
    closing = terminal_status(records[-1]) if records else None
    if records and internal_kind(records[0]) == RUN_STARTED:
        facts["workflow_id"] = (0, RunOrigin.of(records[0]).workflow_id)
    if closing is None:
        return facts
    facts["status"] = (len(records) - 1, closing)
    if outcome := result_object(records[-1]).get("outcome"):
        facts["outcome"] = (len(records) - 1, outcome)
    if closing == "completed":
        facts["error"] = (len(records) - 1, None)
    for index, record in enumerate(records):
        commit = mapping(record.get("commit"))
        if "error" in commit:
            facts["error"] = (index, commit["error"])
        if closing == "completed" and is_completion(record):
            facts["output"] = (index, result_object(record).get("output"))
    return facts


class _DigestsOnly(LargeValues):
    """Packs values as a ledger does, and stores nothing."""

    def _store(self, data: bytes) -> JsonObject:
        return reference(sha256(data).hexdigest(), len(data))

    def _load(self, digest: Any) -> Any:
        raise NotImplementedError


def _agrees(recorded: JsonValue, shown: JsonValue) -> bool:
    """Compare a recorded value with the value shown; the ledger may hold digests of large parts."""
    if dump_sorted(recorded) == dump_sorted(shown):
        return True
    return dump_sorted(recorded) == dump_sorted(_DigestsOnly().pack(shown))


def _facts_of(bundle: JsonObject, run_id: str) -> JsonObject:
    provenance: JsonObject = bundle.get("provenance", {})
    if run_id == bundle["root_run_id"]:
        return provenance
    facts: JsonObject = provenance.get("runs", {}).get(run_id, {})
    return facts


def _parse_keys(lines: Sequence[str]) -> tuple[list[VerifierKey], list[str]]:
    keys, bad = [], []
    for line in lines:
        try:
            keys.append(parse_vkey(line))
        except UsageError:
            bad.append(line)
    return keys, bad


def _stored_line(item: JsonObject) -> bytes:
    text: str | None = item.get("line")
    return dump_line(item["record"]) if text is None else text.encode()
