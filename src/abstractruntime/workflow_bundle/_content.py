"""Checking that the members of a bundle are the ones its manifest names."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from abstractruntime.workflow_bundle._archive import MANIFEST, SIGNATURES
from abstractruntime.workflow_bundle._errors import WorkflowBundleError, broken
from abstractruntime.workflow_bundle.models import FileEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime.workflow_bundle.models import WorkflowBundle, WorkflowBundleManifest


def content_members(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give the members that `files` has to list."""
    return {
        name: body
        for name, body in members.items()
        if name != MANIFEST and not name.startswith(SIGNATURES)
    }


def check_files(manifest: WorkflowBundleManifest, members: Mapping[str, bytes]) -> None:
    """Require that `files` lists exactly the members, with their digests and sizes.

    Raises:
        BundleArchiveError: a member is missing, extra, or other than listed.
    """
    present = content_members(members)
    for name in sorted({*present, *manifest.files}):
        if name not in present:
            raise broken("member_missing", f"member '{name}' of the manifest is missing", name)
        if name not in manifest.files:
            raise broken("member_unlisted", f"member '{name}' is not in the manifest", name)
        if FileEntry.of(present[name]) != manifest.files[name]:
            raise broken("digest_mismatch", f"member '{name}' has another digest than listed", name)


def check_flows(bundle: WorkflowBundle) -> None:
    """Require that every flow is strict JSON and has the id under which it is listed.

    A signature should cover one meaning.

    Raises:
        WorkflowBundleError: a document is not JSON, has duplicate keys, or another id.
    """
    for flow_id, document in bundle.documents.items():
        path = bundle.manifest.flows[flow_id]
        if document.flaws:
            raise WorkflowBundleError(
                f"flow '{path}' is not strict JSON: {document.flaws[0]}", path=path
            )
        if document.id != flow_id:
            found = document.id or None
            raise WorkflowBundleError(f"flow '{path}' has the id {found!r}, listed as '{flow_id}'")


def manifest_digest(members: Mapping[str, bytes]) -> str:
    """Give the bundle digest: SHA-256 over the manifest's bytes."""
    return hashlib.sha256(members[MANIFEST]).hexdigest()
