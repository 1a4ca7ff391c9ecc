"""From a file that someone names to a bundle that may be used.

Rules:
1. A file is read once; the bytes that were verified are the bytes that run and are installed.
2. A flow document is the caller's own work: it is packed in memory, so that a run of it can go
   on later without the file, and needs neither signature nor consent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject
from abstractruntime._version import __version__
from abstractruntime.cli._contract import input_schema
from abstractruntime.errors import (
    AbstractRuntimeError,
    IntegrityError,
    NotFound,
    UsageError,
)
from abstractruntime.nodes.registry import facts_of
from abstractruntime.signing.envelope import parse_envelope
from abstractruntime.visualflow_compiler.check import check_documents, require_ok
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.workflow_bundle import (
    BundlePlan,
    BundleVerdict,
    FlowLibrary,
    Requirements,
    WorkflowBundle,
    verify_bundle,
)
from abstractruntime.workflow_bundle.packer import collect_flows, pack_flows
from abstractruntime.workflow_bundle.reader import read_archive_file, read_bundle

if TYPE_CHECKING:
    from datetime import datetime

    from abstractruntime.signing import TrustStore
    from abstractruntime.visualflow_compiler.diagnostics import Diagnostic

_ARCHIVE_START = b"PK"
_UNFIT = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle that may be used: its bytes, its content, and why it may be."""

    data: bytes = field(repr=False)
    bundle: WorkflowBundle
    digest: str
    signers: tuple[str, ...] = ()
    rule: str = "own_work"
    warnings: tuple[str, ...] = ()
    signatures: tuple[JsonObject, ...] = ()

    @property
    def ref(self) -> str:
        manifest = self.bundle.manifest
        return f"{manifest.bundle_id}@{manifest.bundle_version}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be compiled; without entries a directory's only root flow is the entry."""

    path: Path
    entries: tuple[str, ...] = ()
    bundle_id: str | None = None
    version: str = "0.0.0"


def load_bundle_or_flow(
    path: Path, trust: TrustStore, *, allow_unsigned: bool, now: datetime, entry: str | None
) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    """Open what a person wants to run; a flow document comes with the warnings about it.

    Raises:
        NotFound: no such file, or no such entry.
        Untrusted: the trust policy refuses the bundle.
        FlowError: the flow document has errors.
    """
    if path.is_dir():
        raise UsageError(
            f"'{path}' is a directory, expected a bundle or a flow document",
            hint=f"name a file in it, or compile it: art compile {path}",
            path=str(path),
        )
    data = read_archive_file(path)
    if data.startswith(_ARCHIVE_START):
        with naming(path):
            verdict = verify_bundle(
                data, trust, allow_unsigned=allow_unsigned, now=now, source=path
            )
        return of_verdict(data, verdict), ()
    return compile_bundle(Request(path, (entry,) if entry else ()), data)


def open_bundle_or_flow(path: Path) -> WorkflowBundle | FlowDocument:
    """Open what a file holds, to be looked at: nothing is verified or checked."""
    data = read_archive_file(path)
    if not data.startswith(_ARCHIVE_START):
        return FlowDocument.read(data, file=str(path))
    with naming(path):
        return read_bundle(data, path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file to what is said about an archive, whose bytes do not know their name."""
    try:
        yield
    except AbstractRuntimeError as cause:
        cause.details.setdefault("file", str(path))
        raise


def of_verdict(data: bytes, verdict: BundleVerdict) -> Loaded:
    return Loaded(
        data,
        verdict.bundle,
        verdict.digest,
        verdict.signers,
        verdict.rule,
        verdict.warnings,
        tuple(report.to_dict() for report in verdict.signatures),
    )


def compile_bundle(
    request: Request, data: bytes | None = None
) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    """Check the documents that belong together and pack them; nothing is signed yet.

    `data` is the content of the document, if it was read before.

    Returns:
        The bundle, and the warnings about its documents.

    Raises:
        FlowError: a document has errors; `findings` lists those of all documents.
        WorkflowBundleError: flows are missing.
    """
    library, first = _library(request.path, data)
    for entry in request.entries:
        _require_entry(library, request.path, entry, first)
    roots = request.entries or (first or _only_root(library, request.path),)
    results = check_documents(collect_flows(library, roots))
    findings = tuple(_for_bundle(item) for r in results.values() for item in r.diagnostics)
    require_ok(findings)
    flows = {flow_id: r.document for flow_id, r in results.items() if r.document is not None}
    plan = BundlePlan(
        entrypoints=[library.id_of(root) for root in roots],
        bundle_id=sanitise_id(request.bundle_id or next(iter(flows))),
        bundle_version=request.version,
        requires=requirements(flows.values()),
        compiler={"name": "abstractruntime", "version": __version__},
    )
    packed, bundle = pack_flows(flows, plan, source=request.path)
    return Loaded(packed, bundle, bundle.digest or ""), findings


def _require_entry(library: FlowLibrary, path: Path, entry: str, first: str | None) -> None:
    if library.find(entry) is None:
        raise NotFound(
            f"there is no flow {entry!r} to start in '{path}'",
            hint=f"its flow is {first!r}" if first else "an entry is the id inside a document",
            kind="flow",
            id=entry,
        )


def _library(path: Path, data: bytes | None) -> tuple[FlowLibrary, str | None]:
    """Give the documents around a path, and the flow that the path itself names."""
    if path.is_dir():
        require_documents(path)
        return FlowLibrary.from_directory(path), None
    content = read_archive_file(path) if data is None else data
    document = FlowDocument.read(content, file=str(path))
    if not document.id:
        require_ok(check_documents({path.stem: document})[path.stem].diagnostics)
    return FlowLibrary.around(path.stem, document, path.parent), document.id


def require_documents(directory: Path) -> list[Path]:
    """Give the flow documents of a directory, which are its `*.json` files.

    Raises:
        NotFound: it holds none; names the directories below that do.
    """
    found = sorted(path for path in directory.glob("*.json") if path.is_file())
    if found:
        return found
    below = sorted({str(path.parent) for path in directory.glob("*/*.json")})
    raise NotFound(
        f"directory '{directory}' holds no flow document"
        + (f" itself, but {len(below)} directories in it do" if below else ""),
        hint=f"name one of them: {', '.join(below[:5])}" if below else "documents are *.json files",
        path=str(directory),
    )


def _only_root(library: FlowLibrary, directory: Path) -> str:
    """Give the one flow of a directory that no other flow runs."""
    flows = [document.flow for document in library.documents.values()]
    children = {
        facts_of(element.type).subflow(element) for flow in flows for element in flow.elements
    }
    roots = [flow.id for flow in flows if flow.id and flow.id not in children]
    if len(roots) == 1:
        return roots[0]
    if not roots:
        raise NotFound(
            f"directory '{directory}' holds no flow to start with",
            hint="name one with --entry ID",
            path=str(directory),
        )
    raise UsageError(
        f"directory '{directory}' holds {len(roots)} flows that could be started",
        hint="name one with --entry: " + ", ".join(roots[:10]),
        argument="--entry",
        path=str(directory),
    )


def _for_bundle(finding: Diagnostic) -> Diagnostic:
    """Make an error of what a bundle cannot hold: a document that readers may read differently."""
    return replace(finding, severity="error") if finding.code == "VF002" else finding


def sanitise_id(text: str) -> str:
    """Give a bundle id: lower case, with a dash for what an id cannot hold."""
    return _UNFIT.sub("-", text.lower()).strip("-_")[:64] or "bundle"


def requirements(documents: Iterable[FlowDocument]) -> Requirements:
    """Derive what flows need from the node types they use."""
    types = {element.type for document in documents for element in document.flow.elements}
    found = {need for kind in types if (need := facts_of(kind).capability)}
    return Requirements(None, tuple(sorted(types)), tuple(sorted(found)))


def entry_of(bundle: WorkflowBundle, wanted: str | None) -> str:
    """Give the flow id to start.

    Raises:
        NotFound: the bundle has no such flow.
    """
    manifest = bundle.manifest
    chosen = wanted or manifest.default_entrypoint or manifest.entrypoints[0].flow_id
    by_name = {entry.name: entry.flow_id for entry in manifest.entrypoints if entry.name}
    chosen = chosen if chosen in manifest.flows else by_name.get(chosen, chosen)
    if chosen in manifest.flows:
        return chosen
    raise NotFound(
        f"bundle '{manifest.bundle_id}' has no flow {chosen!r}",
        hint="its entrypoints: " + ", ".join(entry.flow_id for entry in manifest.entrypoints),
        kind="flow",
        id=chosen,
    )


def named_signers(bundle: WorkflowBundle) -> tuple[JsonObject, ...]:
    """Give the signatures inside a bundle with the keys they name; nothing is verified here."""
    found = []
    for member, envelope in bundle.envelopes.items():
        try:
            hints = [s.key_hint for s in parse_envelope(envelope).signatures]
            found.append(_unverified(member, [hint for hint in hints if hint], None))
        except IntegrityError as cause:
            found.append(_unverified(member, [], str(cause)))
    return tuple(found)


def _unverified(member: str, labels: list[str], reason: str | None) -> JsonObject:
    state = "not_verified" if reason is None else "bad"
    return {"member": member, "state": state, "signers": labels, "reason": reason}


def bundle_document(loaded: Loaded, *, file: str | None) -> JsonObject:
    """Give the `art-bundle/1` document."""
    manifest = loaded.bundle.manifest
    documents = loaded.bundle.documents
    return {
        "format": "art-bundle/1",
        "file": file,
        "id": manifest.bundle_id,
        "version": manifest.bundle_version,
        "digest": loaded.digest,
        "profile": manifest.profile,
        "size_bytes": len(loaded.data),
        "created_at": manifest.created_at or None,
        "rule": loaded.rule,
        "signers": list(loaded.signers),
        "signatures": list(loaded.signatures),
        "warnings": list(loaded.warnings),
        "default_entrypoint": entry_of(loaded.bundle, None) if manifest.flows else None,
        "entrypoints": [
            {
                **entry.to_dict(),
                "input_schema": input_schema(documents[entry.flow_id])
                if entry.flow_id in documents
                else None,
            }
            for entry in manifest.entrypoints
        ],
        "flows": sorted(manifest.flows),
        "requires": manifest.requires.to_dict(),
        "files": {path: item.to_dict() for path, item in sorted(manifest.files.items())},
        "metadata": manifest.metadata,
    }
