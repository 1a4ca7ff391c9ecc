"""The values of bundles: manifest, entrypoint, and an opened bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from abstractruntime.errors import NotFound
from abstractruntime.visualflow_compiler.document import FlowDocument, decode
from abstractruntime.workflow_bundle._archive import SIGNATURES
from abstractruntime.workflow_bundle._errors import WorkflowBundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORKFLOW_BUNDLE_FORMAT_VERSION_V1: Final = "1"
PROFILE: Final = "flowbundle/1"


@dataclass(frozen=True)
class WorkflowBundleEntrypoint:
    """A flow of the bundle that can be started."""

    flow_id: str
    name: str | None = None
    description: str = ""
    interfaces: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "flow_id": self.flow_id,
            "name": self.name,
            "description": self.description,
            "interfaces": list(self.interfaces),
        }


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Digest and size of one member."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> FileEntry:
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    def to_dict(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "size": self.size}


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a bundle needs: a runtime range, node types, capabilities; both lists sorted."""

    runtime: str | None = None
    node_types: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "node_types": list(self.node_types),
            "capabilities": list(self.capabilities),
        }
        return data if self.runtime is None else {"runtime": self.runtime, **data}


@dataclass(frozen=True)
class WorkflowBundleManifest:
    """The table of contents of a bundle; fields from `profile` on belong to signed bundles."""

    bundle_format_version: str
    bundle_id: str
    bundle_version: str = "0.0.0"
    created_at: str = ""
    entrypoints: list[WorkflowBundleEntrypoint] = field(default_factory=list)
    default_entrypoint: str | None = None
    flows: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    profile: str | None = None
    files: dict[str, FileEntry] = field(default_factory=dict)
    requires: Requirements = field(default_factory=Requirements)
    compiler: dict[str, str] = field(default_factory=dict)

    def validate(self) -> None:
        """Check the rules that hold for every bundle, with or without profile.

        Raises:
            WorkflowBundleError: a field is missing or wrong.
        """
        if str(self.bundle_format_version).strip() != WORKFLOW_BUNDLE_FORMAT_VERSION_V1:
            raise WorkflowBundleError(
                f"bundle format version {self.bundle_format_version!r} is not supported, expected '1'"
            )
        for name in ("bundle_id", "bundle_version"):
            if not str(getattr(self, name)).strip():
                raise WorkflowBundleError(f"manifest has a blank '{name}'")
        self._validate_entrypoints()
        for table in ("flows", "artifacts", "assets"):
            for key, path in getattr(self, table).items():
                if not str(key).strip():
                    raise WorkflowBundleError(f"'{table}' of the manifest has a blank key")
                require_safe_path(path, f"'{table}' entry '{key}'")

    def _validate_entrypoints(self) -> None:
        ids = [entry.flow_id for entry in self.entrypoints]
        if not ids or not all(str(flow_id).strip() for flow_id in ids):
            raise WorkflowBundleError("manifest needs entrypoints, each with a 'flow_id'")
        if len(set(ids)) != len(ids):
            raise WorkflowBundleError(f"manifest names an entrypoint twice: {ids}")
        if self.default_entrypoint and self.default_entrypoint not in ids:
            raise WorkflowBundleError(
                f"default entrypoint '{self.default_entrypoint}' is not one of {ids}"
            )

    def flow_path_for(self, flow_id: str) -> str | None:
        return self.flows.get(flow_id)

    def artifact_path_for(self, artifact_id: str) -> str | None:
        return self.artifacts.get(artifact_id)

    @property
    def named_paths(self) -> list[str]:
        """List every member path that the manifest names, sorted."""
        tables = (self.flows, self.artifacts, self.assets)
        return sorted({*self.files, *(path for table in tables for path in table.values())})


def require_safe_path(path: str, what: str) -> str:
    """Refuse a path that could leave the bundle or confuse a file system.

    Raises:
        WorkflowBundleError: absolute, upward, blank, with a drive, or with control characters.
    """
    parts = path.replace("\\", "/").split("/")
    drive = ":" in parts[0]
    upward = any(part in ("", ".", "..") for part in parts)
    if not path.strip() or upward or drive or any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise WorkflowBundleError(f"{what} has the unsafe path {path!r}", path=path)
    return path


@dataclass(frozen=True)
class WorkflowBundle:
    """An opened bundle; of an archive, the content is what was read when it was opened.

    `digest` identifies the content: SHA-256 of the manifest where a profile makes it commit to
    every member, of the whole archive for older bundles, None for a directory. `opened` holds
    the documents that were read so far, by flow id.
    """

    source: Path
    manifest: WorkflowBundleManifest
    members: Mapping[str, bytes] = field(repr=False, default_factory=dict)
    digest: str | None = None
    opened: dict[str, FlowDocument] = field(repr=False, compare=False, default_factory=dict)

    def read_bytes(self, rel: str) -> bytes:
        """Give one member.

        Raises:
            WorkflowBundleError: the path is blank or leaves the bundle.
            NotFound: the bundle has no such member.
        """
        require_safe_path(rel, "member")
        try:
            return self.members[rel]
        except KeyError as cause:
            raise NotFound(
                f"bundle '{self.manifest.bundle_id}' has no member '{rel}'", member=rel
            ) from cause

    def read_text(self, rel: str, *, encoding: str = "utf-8") -> str:
        return self.read_bytes(rel).decode(encoding)

    def read_json(self, rel: str) -> Any:
        return json.loads(self.read_text(rel))

    @property
    def documents(self) -> dict[str, FlowDocument]:
        """Every flow document by flow id, each read once, when it is first asked for.

        Raises:
            WorkflowBundleError: one is not a JSON object.
        """
        kind = "JSON" if self.manifest.profile is None else "strict JSON"
        for flow_id, path in self.manifest.flows.items():
            if flow_id not in self.opened:
                self.opened[flow_id] = open_document(self.read_bytes(path), path, kind)
        return {flow_id: self.opened[flow_id] for flow_id in self.manifest.flows}

    def flow_documents(self) -> dict[str, Any]:
        """Give every flow document, decoded, by flow id."""
        return {flow_id: document.raw for flow_id, document in self.documents.items()}

    @property
    def envelopes(self) -> dict[str, bytes]:
        """The signatures inside, by member."""
        names = sorted(name for name in self.members if name.startswith(SIGNATURES))
        return {name: self.members[name] for name in names}


def open_document(data: bytes, name: str, kind: str = "JSON") -> FlowDocument:
    """Read a flow document, as far as being a JSON object; `kind` is what it should be.

    Compat: editors have written duplicate keys, of which the last counts.

    Raises:
        WorkflowBundleError: it is not one.
    """
    try:
        raw, flaws = decode(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as cause:
        raise WorkflowBundleError(f"flow '{name}' is not {kind}: {cause}", path=name) from cause
    if not isinstance(raw, dict):
        raise WorkflowBundleError(f"flow '{name}' is not a JSON object", path=name)
    return FlowDocument(raw, data, name, flaws)


@dataclass(frozen=True)
class PackedWorkflowBundle:
    path: Path
    manifest: WorkflowBundleManifest
