"""Installed bundles as values: reading one from its file, and choosing among their entrypoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from abstractruntime.errors import AbstractRuntimeError, NotFound, StoreIOError
from abstractruntime.workflow_bundle._errors import WorkflowBundleError
from abstractruntime.workflow_bundle._references import (
    sanitize_bundle_id,
    sanitize_bundle_version,
    version_order,
)
from abstractruntime.workflow_bundle.models import WorkflowBundleEntrypoint, WorkflowBundleManifest
from abstractruntime.workflow_bundle.reader import read_archive_file, read_bundle


class WorkflowBundleRegistryError(AbstractRuntimeError, ValueError):
    """A bundle cannot be installed, or a reference does not name exactly one thing."""

    code = "bundle_registry"


class BundleNotInstalledError(NotFound, WorkflowBundleRegistryError):
    """Nothing that is installed has this name."""

    code = "not_found"


@dataclass(frozen=True)
class InstalledWorkflowBundle:
    """One archive of the directory; `sha256` is that of the file, set only by an installation."""

    bundle_id: str
    bundle_version: str
    path: Path
    manifest: WorkflowBundleManifest
    sha256: str | None = None

    @property
    def bundle_ref(self) -> str:
        return f"{self.bundle_id}@{self.bundle_version}"


@dataclass(frozen=True)
class WorkflowEntrypointRef:
    """One flow that can be started, with its full name."""

    bundle_id: str
    bundle_version: str
    flow_id: str
    name: str = ""
    description: str = ""
    interfaces: list[str] = field(default_factory=list)
    is_default: bool = False

    @property
    def bundle_ref(self) -> str:
        return f"{self.bundle_id}@{self.bundle_version}"

    @property
    def workflow_id(self) -> str:
        return f"{self.bundle_ref}:{self.flow_id}"


Stamp: TypeAlias = tuple[int, int, int]
"""Inode, size and time of change: a file with the same stamp has the same content."""


def stamp(path: Path) -> Stamp | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns


def read_installed(path: Path) -> InstalledWorkflowBundle | AbstractRuntimeError:
    try:
        manifest = read_bundle(read_archive_file(path), path).manifest
    except AbstractRuntimeError as cause:
        return cause
    return InstalledWorkflowBundle(manifest.bundle_id, manifest.bundle_version, path, manifest)


def readable_manifest(data: bytes, source: Path) -> WorkflowBundleManifest:
    try:
        manifest = read_bundle(data, source).manifest
    except WorkflowBundleError as cause:
        raise WorkflowBundleRegistryError(
            f"'{source}' is not a bundle: {cause}", hint=cause.hint, **cause.details
        ) from cause
    for name, clean in (
        ("bundle_id", sanitize_bundle_id),
        ("bundle_version", sanitize_bundle_version),
    ):
        text = getattr(manifest, name)
        if clean(text) != text:
            raise WorkflowBundleRegistryError(
                f"{name} {text!r} cannot be installed under that name",
                hint=f"pack it again as {clean(text) or 'letters and digits'!r}",
            )
    return manifest


def unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as cause:
        raise StoreIOError(f"cannot remove '{path}': {cause.strerror}", path=str(path)) from cause


def latest(versions: dict[str, InstalledWorkflowBundle]) -> InstalledWorkflowBundle:
    return max(
        versions.values(), key=lambda b: version_order(b.bundle_version, b.manifest.created_at)
    )


def offering(
    bundle: InstalledWorkflowBundle, interface: str | None
) -> list[WorkflowBundleEntrypoint]:
    entries = bundle.manifest.entrypoints
    return [entry for entry in entries if interface is None or interface in entry.interfaces]


def chosen(
    bundle: InstalledWorkflowBundle, flow_id: str | None, interface: str | None
) -> WorkflowEntrypointRef:
    ids = [entry.flow_id for entry in bundle.manifest.entrypoints]
    if flow_id is not None and flow_id not in ids:
        raise BundleNotInstalledError(
            f"bundle '{bundle.bundle_ref}' has no entrypoint '{flow_id}'",
            hint="entrypoints: " + ", ".join(ids),
        )
    offered = {entry.flow_id: entry for entry in offering(bundle, interface)}
    wanted = [flow_id] if flow_id else [bundle.manifest.default_entrypoint, *ids]
    found = next((offered[item] for item in wanted if item in offered), None)
    if found is None:
        what = f"entrypoint '{flow_id}'" if flow_id else "no entrypoint"
        raise BundleNotInstalledError(
            f"bundle '{bundle.bundle_ref}': {what} "
            f"{'does not offer' if flow_id else 'offers'} interface '{interface}'",
            hint="entrypoints: " + ", ".join(ids),
        )
    return entrypoint_ref(bundle, found)


def entrypoint_ref(
    bundle: InstalledWorkflowBundle, entry: WorkflowBundleEntrypoint
) -> WorkflowEntrypointRef:
    manifest = bundle.manifest
    return WorkflowEntrypointRef(
        bundle_id=bundle.bundle_id,
        bundle_version=bundle.bundle_version,
        flow_id=entry.flow_id,
        name=entry.name or "",
        description=entry.description,
        interfaces=list(entry.interfaces),
        is_default=entry.flow_id
        == (manifest.default_entrypoint or manifest.entrypoints[0].flow_id),
    )
