"""A durable workflow runtime that lives in one directory.

Names load on first use, so importing the package costs next to nothing.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names
from abstractruntime._version import __version__

_HOMES = homes(
    {
        "core.models": "Effect EffectType RunState RunStatus StepPlan WaitReason WaitState",
        "core.spec": "WorkflowSpec",
        "core.runtime": "EffectOutcome Runtime",
        "core.policy": "EffectPolicy DefaultEffectPolicy RetryPolicy NoRetryPolicy"
        " compute_idempotency_key",
        "errors": "AbstractRuntimeError",
        "scheduler": "WorkflowRegistry Scheduler SchedulerStats ScheduledRuntime"
        " create_scheduled_runtime",
        "memory": "ActiveContextPolicy TimeRange",
        "identity": "ActorFingerprint",
        "storage.base": "QueryableRunStore",
        "storage.directory": "open_store",
        "storage.in_memory": "InMemoryRunStore InMemoryLedgerStore",
        "storage.json_files": "JsonFileRunStore JsonlLedgerStore",
        "storage.sqlite": "SqliteDatabase SqliteRunStore SqliteLedgerStore SqliteCommandStore"
        " SqliteCommandCursorStore",
        "storage.commands": "CommandRecord CommandAppendResult CommandStore CommandCursorStore"
        " InMemoryCommandStore JsonlCommandStore InMemoryCommandCursorStore"
        " JsonFileCommandCursorStore",
        "storage.ledger_chain": "HashChainedLedgerStore verify_ledger_chain",
        "storage.observable": "ObservableLedgerStore ObservableLedgerStoreProtocol",
        "storage.offloading": "OffloadingRunStore OffloadingLedgerStore offload_large_values",
        "storage.snapshots": "Snapshot SnapshotStore InMemorySnapshotStore JsonSnapshotStore",
        "storage.artifacts": "Artifact ArtifactMetadata ArtifactStore InMemoryArtifactStore"
        " FileArtifactStore artifact_ref is_artifact_ref get_artifact_id resolve_artifact"
        " compute_artifact_id",
        "workflow_bundle": "WORKFLOW_BUNDLE_FORMAT_VERSION_V1 WorkflowBundleError"
        " WorkflowBundleEntrypoint WorkflowBundleManifest WorkflowBundle InstalledWorkflowBundle"
        " WorkflowBundleRegistry WorkflowBundleRegistryError WorkflowEntrypointRef"
        " default_workflow_bundles_dir sanitize_bundle_id sanitize_bundle_version"
        " workflow_bundle_manifest_from_dict workflow_bundle_manifest_to_dict"
        " open_workflow_bundle",
        "history_bundle": "RUN_HISTORY_BUNDLE_VERSION_V1 export_run_history_bundle"
        " persist_workflow_snapshot",
    }
)

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
