# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.workflow_bundle._errors import (
    BundleArchiveError,
    WorkflowBundleError,
)
from abstractruntime.workflow_bundle._manifest import (
    workflow_bundle_manifest_from_dict,
    workflow_bundle_manifest_to_dict,
)
from abstractruntime.workflow_bundle.models import (
    WORKFLOW_BUNDLE_FORMAT_VERSION_V1,
    PackedWorkflowBundle,
    Requirements,
    WorkflowBundle,
    WorkflowBundleEntrypoint,
    WorkflowBundleManifest,
)
from abstractruntime.workflow_bundle.packer import (
    BundlePlan,
    FlowLibrary,
    pack_flowbundle,
    pack_workflow_bundle,
)
from abstractruntime.workflow_bundle.reader import (
    inspect_workflow_bundle,
    open_workflow_bundle,
    unpack_workflow_bundle,
)
from abstractruntime.workflow_bundle.registry import (
    InstalledWorkflowBundle,
    WorkflowBundleRegistry,
    WorkflowBundleRegistryError,
    WorkflowEntrypointRef,
    default_workflow_bundles_dir,
    sanitize_bundle_id,
    sanitize_bundle_version,
)
from abstractruntime.workflow_bundle.verify import (
    BundleVerdict,
    sign_bundle,
    verify_bundle,
)

__all__ = [
    "WORKFLOW_BUNDLE_FORMAT_VERSION_V1",
    "BundleArchiveError",
    "BundlePlan",
    "BundleVerdict",
    "FlowLibrary",
    "InstalledWorkflowBundle",
    "PackedWorkflowBundle",
    "Requirements",
    "WorkflowBundle",
    "WorkflowBundleEntrypoint",
    "WorkflowBundleError",
    "WorkflowBundleManifest",
    "WorkflowBundleRegistry",
    "WorkflowBundleRegistryError",
    "WorkflowEntrypointRef",
    "default_workflow_bundles_dir",
    "inspect_workflow_bundle",
    "open_workflow_bundle",
    "pack_flowbundle",
    "pack_workflow_bundle",
    "sanitize_bundle_id",
    "sanitize_bundle_version",
    "sign_bundle",
    "unpack_workflow_bundle",
    "verify_bundle",
    "workflow_bundle_manifest_from_dict",
    "workflow_bundle_manifest_to_dict",
]
