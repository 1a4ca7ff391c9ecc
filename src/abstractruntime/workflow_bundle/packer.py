"""Packing flow documents, with all the subflows they can reach, into a bundle.

The same documents and arguments give the same bytes on every machine: no clock, no
compression, no set order. Documents are copied byte for byte.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime._files import read_bounded, write_atomic
from abstractruntime.errors import NotFound, UsageError
from abstractruntime.workflow_bundle._archive import MANIFEST, is_component, write_archive
from abstractruntime.workflow_bundle._content import check_flows, manifest_digest
from abstractruntime.workflow_bundle._errors import WorkflowBundleError
from abstractruntime.workflow_bundle._manifest import check_strict, render_manifest
from abstractruntime.workflow_bundle._zip import DEFAULT_LIMITS
from abstractruntime.workflow_bundle.models import (
    PROFILE,
    WORKFLOW_BUNDLE_FORMAT_VERSION_V1,
    FileEntry,
    PackedWorkflowBundle,
    Requirements,
    WorkflowBundle,
    WorkflowBundleEntrypoint,
    WorkflowBundleManifest,
    open_document,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from abstractruntime.visualflow_compiler.document import FlowDocument

_ARCHIVE_MODE = 0o644


class FlowLibrary:
    """Documents that can be packed, found by the id inside first, by name second.

    Attributes:
        documents: The documents by name.
        place: The directory they lie in; empty when they lie in none.
        unread: Names of those that cannot be read.
    """

    def __init__(
        self,
        documents: Mapping[str, FlowDocument],
        *,
        place: str = "",
        unread: Collection[str] = (),
    ) -> None:
        self.documents = documents
        self.place = place
        self.unread = unread
        self._by_id: dict[str, list[str]] = {}
        for name, document in documents.items():
            if document.id:
                self._by_id.setdefault(document.id, []).append(name)

    @classmethod
    def from_documents(cls, documents: Mapping[str, bytes]) -> FlowLibrary:
        """Take documents by name; the name serves where a document is asked for by file name.

        Raises:
            WorkflowBundleError: one is not a JSON object.
        """
        return cls({name: open_document(data, name) for name, data in documents.items()})

    @classmethod
    def from_directory(cls, directory: Path) -> FlowLibrary:
        """Take the `*.json` files of a directory that are flows; links that lead out are left out.

        Raises:
            NotFound: there is no such directory.
        """
        if not directory.is_dir():
            raise NotFound(f"no directory '{directory}'", path=str(directory))
        base = directory.resolve()
        documents = {}
        unread = []
        for path in sorted(directory.glob("*.json")):
            if _may_be_read(path) and path.resolve().is_relative_to(base):
                try:
                    documents[path.stem] = _read_document(path)
                except WorkflowBundleError:
                    # A directory may hold other files; one that is needed is reported as missing.
                    unread.append(path.stem)
        return cls(documents, place=str(directory), unread=unread)

    @classmethod
    def around(cls, name: str, document: FlowDocument, directory: Path) -> FlowLibrary:
        """Take a document, and those of a directory if it runs others; they may be many and large."""
        if not document.graph.calls:
            return cls({name: document}, place=str(directory))
        return cls.from_directory(directory).with_documents({name: document})

    def with_documents(self, documents: Mapping[str, FlowDocument]) -> FlowLibrary:
        """Give a library in which these documents go before others of their names or ids."""
        ids = {document.id for document in documents.values()}
        others = {
            name: found
            for name, found in self.documents.items()
            if name not in documents and found.id not in ids
        }
        unread = [name for name in self.unread if name not in documents]
        return FlowLibrary({**documents, **others}, place=self.place, unread=unread)

    def find(self, flow_id: str) -> FlowDocument | None:
        """Find a document.

        Raises:
            WorkflowBundleError: several documents have this id inside and none is named after it.
        """
        found = self._by_id.get(flow_id, [])
        if found and len(found) > 1 and flow_id not in found:
            raise WorkflowBundleError(
                f"flow id '{flow_id}' is in several documents: {', '.join(found)}"
            )
        return self.documents.get(found[0] if len(found) == 1 else flow_id)

    def id_of(self, wanted: str) -> str:
        """Give the id inside the document that an entrypoint names, perhaps by its file name."""
        document = self.find(wanted)
        return (document.id if document else "") or wanted


def _may_be_read(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= DEFAULT_LIMITS.archive


def _read_document(path: Path) -> FlowDocument:
    return open_document(read_bounded(path, DEFAULT_LIMITS.archive), str(path))


def collect_flows(library: FlowLibrary, roots: Sequence[str]) -> dict[str, FlowDocument]:
    """Give the roots and every flow they can reach, by the id inside, in order of discovery.

    Raises:
        WorkflowBundleError: some are missing or ambiguous; the message lists all of them.
    """
    found: dict[str, FlowDocument] = {}
    problems: dict[str, None] = {}
    queue = deque((root, "entrypoint") for root in roots)
    asked: set[str] = set()
    while queue:
        wanted, asker = queue.popleft()
        if wanted in asked:
            continue
        asked.add(wanted)
        document = _find_or_note(library, wanted, asker, problems)
        if document is None or not document.id or document.id in found:
            continue
        found[document.id] = document
        for node_id, child in document.graph.calls:
            if not child:
                problems[f"node '{node_id}' of flow '{document.id}' names no subflow"] = None
            else:
                queue.append((child, f"node '{node_id}' of flow '{document.id}'"))
    if problems:
        raise WorkflowBundleError(
            "cannot pack: " + "; ".join(problems),
            hint=f"add what is missing to {library.place!r}, or correct the ids"
            if library.place
            else "give the documents of these flows, too, or correct the ids",
            problems=list(problems),
        )
    return found


def _find_or_note(
    library: FlowLibrary, wanted: str, asker: str, problems: dict[str, None]
) -> FlowDocument | None:
    try:
        document = library.find(wanted)
    except WorkflowBundleError as cause:
        problems[str(cause)] = None
        return None
    if document is None:
        problems[f"missing flow '{wanted}', wanted by {asker}"] = None
    elif not document.id:
        problems[f"document '{wanted}' has no id"] = None
    return document


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """What a new bundle is to be.

    Attributes:
        entrypoints: Flow ids that can be started; the first is the default.
        bundle_id: Lower-case identity, `[a-z0-9][a-z0-9_-]{0,63}`.
        bundle_version: SemVer 2.0, or `draft.<name>`.
        default_entrypoint: Another default.
        metadata: Free facts for readers.
        requires: Runtime range, node types and capabilities, as the compiler derived them.
        compiler: Name and version of the tool.
        created_at: A time to record; None takes SOURCE_DATE_EPOCH, else leaves it empty.
    """

    entrypoints: Sequence[str]
    bundle_id: str
    bundle_version: str
    default_entrypoint: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    requires: Requirements = field(default_factory=Requirements)
    compiler: Mapping[str, str] = field(default_factory=dict)
    created_at: str | None = None


def pack_flowbundle(
    library: FlowLibrary, plan: BundlePlan, *, assets: Mapping[str, bytes] | None = None
) -> bytes:
    """Give the bytes of an unsigned `.flowbundle` with the closure of all entrypoints.

    Args:
        library: Where flows are found.
        plan: Identity and description.
        assets: More members, by path below `assets/`.

    Raises:
        WorkflowBundleError: flows are missing, or the manifest would break a strict rule.
        BundleArchiveError: a name or size does not fit the container.
    """
    if not plan.entrypoints:
        raise WorkflowBundleError(f"bundle '{plan.bundle_id}' needs at least one entrypoint")
    flows = collect_flows(library, plan.entrypoints)
    roots = [library.id_of(wanted) for wanted in plan.entrypoints]
    return pack_flows(flows, replace(plan, entrypoints=roots), assets=assets)[0]


def pack_flows(
    flows: Mapping[str, FlowDocument],
    plan: BundlePlan,
    *,
    source: Path | None = None,
    assets: Mapping[str, bytes] | None = None,
) -> tuple[bytes, WorkflowBundle]:
    """Give the bytes of an unsigned bundle of these flows, and what opening them would give.

    Entrypoints of the plan are ids of flows; `source` names the bundle. For the rest see
    `pack_flowbundle`.
    """
    flow_paths = _flow_paths(flows)
    asset_paths = {name: f"assets/{name}" for name in assets or {}}
    members = {flow_paths[flow_id]: document.data or b"" for flow_id, document in flows.items()}
    members.update({asset_paths[name]: body for name, body in (assets or {}).items()})
    manifest = WorkflowBundleManifest(
        bundle_format_version=WORKFLOW_BUNDLE_FORMAT_VERSION_V1,
        bundle_id=plan.bundle_id,
        bundle_version=plan.bundle_version,
        created_at=_recorded_time() if plan.created_at is None else plan.created_at,
        entrypoints=[_entrypoint(flow_id, flows.get(flow_id)) for flow_id in plan.entrypoints],
        default_entrypoint=plan.default_entrypoint or plan.entrypoints[0],
        flows=flow_paths,
        assets=asset_paths,
        metadata=dict(plan.metadata),
        profile=PROFILE,
        files={path: FileEntry.of(body) for path, body in members.items()},
        requires=_sorted_requirements(plan.requires),
        compiler=dict(plan.compiler),
    )
    manifest.validate()
    check_strict(manifest)
    members = {MANIFEST: render_manifest(manifest), **members}
    path = source or Path("bundle.flowbundle")
    bundle = WorkflowBundle(path, manifest, members, manifest_digest(members), dict(flows))
    check_flows(bundle)
    return write_archive(members), bundle


def pack_workflow_bundle(
    *,
    root_flow_json: str | Path,
    out_path: str | Path,
    bundle_id: str | None = None,
    bundle_version: str = "0.0.0",
    flows_dir: str | Path | None = None,
    entrypoints: Sequence[str] | None = None,
    default_entrypoint: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> PackedWorkflowBundle:
    """Pack a root flow and its subflows into an archive that 0.4.x opens, and write it.

    Ids and versions are kept as given, so the manifest has no profile and cannot be signed;
    `pack_flowbundle` makes bundles for signing. The bytes are reproducible all the same.

    Raises:
        NotFound: the root file or the flows directory does not exist.
        WorkflowBundleError: the root is not a flow, or flows are missing (all are listed).
    """
    root_path = Path(root_flow_json)
    root = _read_document(root_path)
    if not root.id:
        raise WorkflowBundleError(f"flow '{root_path}' has no id")
    directory = Path(flows_dir) if flows_dir is not None else root_path.parent
    library = FlowLibrary.from_directory(directory).with_documents({root_path.stem: root})
    listed = list(entrypoints) if entrypoints else [root.id]
    flows = collect_flows(library, list(dict.fromkeys([root.id, *listed])))
    fallback = root.id if root.id in listed else listed[0]
    paths = _flow_paths(flows)
    manifest = WorkflowBundleManifest(
        bundle_format_version=WORKFLOW_BUNDLE_FORMAT_VERSION_V1,
        bundle_id=bundle_id or root.id,
        bundle_version=bundle_version,
        created_at=_recorded_time(),
        entrypoints=[_entrypoint(flow_id, flows.get(flow_id)) for flow_id in listed],
        default_entrypoint=default_entrypoint or fallback,
        flows={flow_id: paths[flow_id] for flow_id in sorted(flows)},
        metadata=dict(metadata or {}),
    )
    members = {paths[flow_id]: flows[flow_id].data or b"" for flow_id in flows}
    archive = write_archive({MANIFEST: render_manifest(manifest), **members})
    write_atomic(Path(out_path), archive, mode=_ARCHIVE_MODE)
    return PackedWorkflowBundle(Path(out_path), manifest)


def _flow_paths(flow_ids: Iterable[str]) -> dict[str, str]:
    """Give the member of each flow; ids that cannot name one, or differ in case only, are hashed."""
    ids = list(flow_ids)
    folded = Counter(flow_id.lower() for flow_id in ids)
    return {flow_id: _flow_path(flow_id, is_single=folded[flow_id.lower()] == 1) for flow_id in ids}


def _flow_path(flow_id: str, *, is_single: bool) -> str:
    if is_single and is_component(f"{flow_id}.json"):
        return f"flows/{flow_id}.json"
    return f"flows/x-{hashlib.sha256(flow_id.encode()).hexdigest()[:32]}.json"


def _entrypoint(flow_id: str, found: FlowDocument | None) -> WorkflowBundleEntrypoint:
    document = found.raw if found else {}
    name, description = document.get("name"), document.get("description")
    return WorkflowBundleEntrypoint(
        flow_id=flow_id,
        name=name.strip() if isinstance(name, str) and name.strip() else flow_id,
        description=description if isinstance(description, str) else "",
        interfaces=list(found.flow.interfaces) if found else [],
    )


def _sorted_requirements(requires: Requirements) -> Requirements:
    return replace(
        requires,
        node_types=tuple(sorted(set(requires.node_types))),
        capabilities=tuple(sorted(set(requires.capabilities))),
    )


def _recorded_time() -> str:
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return ""
    try:
        return datetime.fromtimestamp(int(text), timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError) as cause:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, expected seconds since 1970") from cause
