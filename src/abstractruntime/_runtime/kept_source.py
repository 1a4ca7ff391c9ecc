"""Keeping what a workflow was compiled from, so that others can go on with its runs."""

from __future__ import annotations

from abstractruntime.core.models import StepRecord
from abstractruntime.core.ports import Engine
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.core.store import KeepsBundles


def keep_source(engine: Engine, workflow: WorkflowSpec, first: StepRecord) -> None:
    """Keep the bundle of a workflow, and state it in the first record, unless one is stated already."""
    facts = first.result
    if workflow.source is None or not isinstance(engine, KeepsBundles):
        return
    if not isinstance(facts, dict) or "bundle_digest" in facts:
        return
    kept = workflow.source.packed()
    if kept is None:
        return
    if engine.bundles.get(kept.digest, limit=1) is None:
        engine.bundles.put(kept.digest, kept.data)
    facts |= {"bundle_ref": kept.ref, "bundle_digest": kept.digest}
