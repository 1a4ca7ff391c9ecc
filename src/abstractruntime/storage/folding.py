"""The state of a run as its records alone tell it, without a store.

A commit says what changed; see `docs/explanation/commit-protocol.md`. Records of 0.4.x carry
no commits, and tell no state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject, isolate
from abstractruntime.storage._store.fold import fold
from abstractruntime.storage._store.header import apply_fields, run_from
from abstractruntime.storage._store.record_lines import stored_result_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abstractruntime.core.models import RunState

_MISFITS = (KeyError, IndexError, ValueError, TypeError, AttributeError)


def run_of_records(records: Iterable[JsonObject]) -> RunState | None:
    """Give the run that all records of a ledger lead to; None when they do not tell it.

    Args:
        records: Parsed and in order. Offloaded values may be in place or left as references.
    """
    header: JsonObject = {}
    variables: JsonObject = {}
    try:
        for record in records:
            commit = record.get("commit")
            if commit is None:
                continue
            if "init" in commit:
                header, variables = {}, {}
            apply_fields(header, isolate(commit))
            fold(variables, isolate(commit), isolate(stored_result_of(record)))
        return run_from(header, variables)
    except _MISFITS:
        # Compat: foreign commits, and operations inside a value that is only referred to.
        return None
