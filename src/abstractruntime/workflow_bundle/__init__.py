"""Workflow bundles: canonical archives of flow documents, their manifest and signatures.

Names load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "_errors": "BundleArchiveError WorkflowBundleError",
        "_manifest": "workflow_bundle_manifest_from_dict workflow_bundle_manifest_to_dict",
        "models": "WORKFLOW_BUNDLE_FORMAT_VERSION_V1 PackedWorkflowBundle Requirements"
        " WorkflowBundle WorkflowBundleEntrypoint WorkflowBundleManifest",
        "packer": "BundlePlan FlowLibrary pack_flowbundle pack_workflow_bundle",
        "reader": "inspect_workflow_bundle open_workflow_bundle unpack_workflow_bundle",
        "registry": "InstalledWorkflowBundle WorkflowBundleRegistry WorkflowBundleRegistryError"
        " WorkflowEntrypointRef default_workflow_bundles_dir sanitize_bundle_id"
        " sanitize_bundle_version",
        "verify": "BundleVerdict sign_bundle verify_bundle",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
