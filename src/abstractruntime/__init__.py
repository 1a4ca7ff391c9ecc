"""A durable workflow runtime that lives in one directory.

Names load on first use, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from abstractruntime._version import __version__

_HOMES: dict[str, str] = {
    name: module
    for module, names in {
        "core.models": "Effect EffectType RunState RunStatus StepPlan WaitReason WaitState",
        "core.spec": "WorkflowSpec",
        "core.policy": "EffectPolicy DefaultEffectPolicy RetryPolicy NoRetryPolicy compute_idempotency_key",
        "core.ports": "EffectOutcome",
        "_runtime": "Runtime",
        "scheduler.registry": "WorkflowRegistry",
        "storage.base": "QueryableRunStore",
        "storage.in_memory": "InMemoryRunStore InMemoryLedgerStore",
        "storage.artifacts": "Artifact ArtifactMetadata ArtifactStore InMemoryArtifactStore FileArtifactStore"
        " artifact_ref is_artifact_ref get_artifact_id resolve_artifact compute_artifact_id",
        "storage.directory": "open_store",
        "storage.ledger_chain": "HashChainedLedgerStore verify_ledger_chain",
        "workflow_bundle": "WorkflowBundle WorkflowBundleError WorkflowBundleEntrypoint"
        " WorkflowBundleManifest open_workflow_bundle workflow_bundle_manifest_from_dict"
        " workflow_bundle_manifest_to_dict WORKFLOW_BUNDLE_FORMAT_VERSION_V1",
        "history_bundle": "RUN_HISTORY_BUNDLE_VERSION_V1 export_run_history_bundle persist_workflow_snapshot",
    }.items()
    for name in names.split()
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the table above is the single source


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"abstractruntime.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
