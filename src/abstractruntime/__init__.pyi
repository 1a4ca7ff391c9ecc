# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime._version import __version__
from abstractruntime.core.models import (
    Effect,
    EffectType,
    RunState,
    RunStatus,
    StepPlan,
    WaitReason,
    WaitState,
)
from abstractruntime.core.policy import (
    DefaultEffectPolicy,
    EffectPolicy,
    NoRetryPolicy,
    RetryPolicy,
    compute_idempotency_key,
)
from abstractruntime.core.runtime import (
    EffectOutcome,
    Runtime,
)
from abstractruntime.core.spec import (
    WorkflowSpec,
)
from abstractruntime.errors import (
    AbstractRuntimeError,
)
from abstractruntime.history_bundle import (
    RUN_HISTORY_BUNDLE_VERSION_V1,
    export_run_history_bundle,
    persist_workflow_snapshot,
)
from abstractruntime.identity import (
    ActorFingerprint,
)
from abstractruntime.memory import (
    ActiveContextPolicy,
    TimeRange,
)
from abstractruntime.scheduler import (
    ScheduledRuntime,
    Scheduler,
    SchedulerStats,
    WorkflowRegistry,
    create_scheduled_runtime,
)
from abstractruntime.storage.artifacts import (
    Artifact,
    ArtifactMetadata,
    ArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    artifact_ref,
    compute_artifact_id,
    get_artifact_id,
    is_artifact_ref,
    resolve_artifact,
)
from abstractruntime.storage.base import (
    QueryableRunStore,
)
from abstractruntime.storage.commands import (
    CommandAppendResult,
    CommandCursorStore,
    CommandRecord,
    CommandStore,
    InMemoryCommandCursorStore,
    InMemoryCommandStore,
    JsonFileCommandCursorStore,
    JsonlCommandStore,
)
from abstractruntime.storage.directory import (
    open_store,
)
from abstractruntime.storage.in_memory import (
    InMemoryLedgerStore,
    InMemoryRunStore,
)
from abstractruntime.storage.json_files import (
    JsonFileRunStore,
    JsonlLedgerStore,
)
from abstractruntime.storage.ledger_chain import (
    HashChainedLedgerStore,
    verify_ledger_chain,
)
from abstractruntime.storage.observable import (
    ObservableLedgerStore,
    ObservableLedgerStoreProtocol,
)
from abstractruntime.storage.offloading import (
    OffloadingLedgerStore,
    OffloadingRunStore,
    offload_large_values,
)
from abstractruntime.storage.snapshots import (
    InMemorySnapshotStore,
    JsonSnapshotStore,
    Snapshot,
    SnapshotStore,
)
from abstractruntime.storage.sqlite import (
    SqliteCommandCursorStore,
    SqliteCommandStore,
    SqliteDatabase,
    SqliteLedgerStore,
    SqliteRunStore,
)
from abstractruntime.workflow_bundle import (
    WORKFLOW_BUNDLE_FORMAT_VERSION_V1,
    InstalledWorkflowBundle,
    WorkflowBundle,
    WorkflowBundleEntrypoint,
    WorkflowBundleError,
    WorkflowBundleManifest,
    WorkflowBundleRegistry,
    WorkflowBundleRegistryError,
    WorkflowEntrypointRef,
    default_workflow_bundles_dir,
    open_workflow_bundle,
    sanitize_bundle_id,
    sanitize_bundle_version,
    workflow_bundle_manifest_from_dict,
    workflow_bundle_manifest_to_dict,
)

__all__ = [
    "RUN_HISTORY_BUNDLE_VERSION_V1",
    "WORKFLOW_BUNDLE_FORMAT_VERSION_V1",
    "AbstractRuntimeError",
    "ActiveContextPolicy",
    "ActorFingerprint",
    "Artifact",
    "ArtifactMetadata",
    "ArtifactStore",
    "CommandAppendResult",
    "CommandCursorStore",
    "CommandRecord",
    "CommandStore",
    "DefaultEffectPolicy",
    "Effect",
    "EffectOutcome",
    "EffectPolicy",
    "EffectType",
    "FileArtifactStore",
    "HashChainedLedgerStore",
    "InMemoryArtifactStore",
    "InMemoryCommandCursorStore",
    "InMemoryCommandStore",
    "InMemoryLedgerStore",
    "InMemoryRunStore",
    "InMemorySnapshotStore",
    "InstalledWorkflowBundle",
    "JsonFileCommandCursorStore",
    "JsonFileRunStore",
    "JsonSnapshotStore",
    "JsonlCommandStore",
    "JsonlLedgerStore",
    "NoRetryPolicy",
    "ObservableLedgerStore",
    "ObservableLedgerStoreProtocol",
    "OffloadingLedgerStore",
    "OffloadingRunStore",
    "QueryableRunStore",
    "RetryPolicy",
    "RunState",
    "RunStatus",
    "Runtime",
    "ScheduledRuntime",
    "Scheduler",
    "SchedulerStats",
    "Snapshot",
    "SnapshotStore",
    "SqliteCommandCursorStore",
    "SqliteCommandStore",
    "SqliteDatabase",
    "SqliteLedgerStore",
    "SqliteRunStore",
    "StepPlan",
    "TimeRange",
    "WaitReason",
    "WaitState",
    "WorkflowBundle",
    "WorkflowBundleEntrypoint",
    "WorkflowBundleError",
    "WorkflowBundleManifest",
    "WorkflowBundleRegistry",
    "WorkflowBundleRegistryError",
    "WorkflowEntrypointRef",
    "WorkflowRegistry",
    "WorkflowSpec",
    "__version__",
    "artifact_ref",
    "compute_artifact_id",
    "compute_idempotency_key",
    "create_scheduled_runtime",
    "default_workflow_bundles_dir",
    "export_run_history_bundle",
    "get_artifact_id",
    "is_artifact_ref",
    "offload_large_values",
    "open_store",
    "open_workflow_bundle",
    "persist_workflow_snapshot",
    "resolve_artifact",
    "sanitize_bundle_id",
    "sanitize_bundle_version",
    "verify_ledger_chain",
    "workflow_bundle_manifest_from_dict",
    "workflow_bundle_manifest_to_dict",
]
