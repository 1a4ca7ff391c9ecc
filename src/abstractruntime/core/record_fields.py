"""Read access to stored records: small questions, total over any JSON.

Records come from ledgers of several versions, so a missing or odd field is an
answer here (None, empty), never an exception.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject, JsonValue, mapping
from abstractruntime.core.models import moment_or_none
from abstractruntime.core.records import STATUS_KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping


# Stands in the line of every record that starts a run.
STARTS_CHILD = b'"start_subworkflow"'


def text_or_none(value: JsonValue) -> str | None:
    """Give non-blank text as it is, an enum's text, and None for everything else."""
    if isinstance(value, Enum):
        value = value.value
    return value if isinstance(value, str) and value.strip() else None


def record_status(record: Mapping[str, Any]) -> str:
    return text_or_none(record.get("status")) or ""


def effect_type(record: Mapping[str, Any]) -> str | None:
    return text_or_none(mapping(record.get("effect")).get("type"))


def effect_payload(record: Mapping[str, Any]) -> JsonObject:
    return mapping(mapping(record.get("effect")).get("payload"))


def result_object(record: Mapping[str, Any]) -> JsonObject:
    return mapping(record.get("result"))


def started_child(record: Mapping[str, Any]) -> str | None:
    """Give the id of the run that a record says it started, if it does."""
    if effect_type(record) != "start_subworkflow":
        return None
    result = result_object(record)
    results = result.get("results")
    called = mapping(results[0]) if isinstance(results, list) and results else {}
    places = (result, mapping(mapping(result.get("wait")).get("details")), called.get("output"))
    found = (text_or_none(mapping(place).get("sub_run_id")) for place in places)
    return next(filter(None, found), None)


def internal_kind(record: Mapping[str, Any]) -> str | None:
    """Give `run_started`, `transition`, `control`, ... for internal records, else None."""
    if record.get("effect") is not None:
        return None
    return text_or_none(result_object(record).get("internal"))


def is_completion(record: Mapping[str, Any]) -> bool:
    return record.get("effect") is None and result_object(record).get("completed") is True


def terminal_status(record: Mapping[str, Any]) -> str | None:
    """Give the status that a closing `abstract.status` record repeats, else None."""
    key = text_or_none(record.get("idempotency_key")) or ""
    if not key.startswith(STATUS_KEY_PREFIX):
        return None
    return key[len(STATUS_KEY_PREFIX) :] or None


def attempt_number(record: Mapping[str, Any]) -> int:
    value = record.get("attempt")
    return value if isinstance(value, int) and value > 0 else 1


def elapsed_ms(begin: JsonValue, end: JsonValue) -> float | None:
    """Give the milliseconds between two ISO moments, rounded to 2 decimals."""
    first, last = moment_or_none(begin), moment_or_none(end)
    if first is None or last is None:
        return None
    return round((last - first).total_seconds() * 1000, 2)
