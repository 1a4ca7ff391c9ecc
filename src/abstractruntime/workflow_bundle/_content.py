"""Checking that the members of a bundle are the ones its manifest names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from abstractruntime._json import load_strict
from abstractruntime.workflow_bundle._archive import MANIFEST, SIGNATURES
from abstractruntime.workflow_bundle._errors import WorkflowBundleError, broken
from abstractruntime.workflow_bundle.models import FileEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime.workflow_bundle.models import WorkflowBundleManifest


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


def check_flows(manifest: WorkflowBundleManifest, members: Mapping[str, bytes]) -> None:
    """Require that every flow is strict JSON and has the id under which it is listed.

    Raises:
        WorkflowBundleError: a document is not JSON, has duplicate keys, or another id.
    """
    for flow_id, path in manifest.flows.items():
        found = flow_id_of(parse_flow(members[path], path))
        if found != flow_id:
            raise WorkflowBundleError(f"flow '{path}' has the id {found!r}, listed as '{flow_id}'")


def parse_flow(data: bytes, name: str, *, strict: bool = True) -> dict[str, Any]:
    """Read a flow document, as far as being a JSON object.

    Compat: editors have written duplicate keys, of which the last counts; only `strict`
    refuses them, because a signature should cover one meaning.

    Raises:
        WorkflowBundleError: it is not one.
    """
    try:
        text = data.decode("utf-8-sig")
        value = load_strict(text) if strict else json.loads(text)
    except (ValueError, RecursionError) as cause:
        kind = "strict JSON" if strict else "JSON"
        raise WorkflowBundleError(f"flow '{name}' is not {kind}: {cause}", path=name) from cause
    if not isinstance(value, dict):
        raise WorkflowBundleError(f"flow '{name}' is not a JSON object", path=name)
    return value


def flow_id_of(document: Mapping[str, Any]) -> str | None:
    """Give the id that a document carries inside."""
    for name in ("id", "flow_id", "workflow_id"):
        if document.get(name):
            return str(document[name]).strip() or None
    return None
