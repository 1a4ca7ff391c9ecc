"""From a file that someone names to a bundle that may be used.

Rules:
1. A file is read once; the bytes that were verified are the bytes that run and are installed.
2. A flow document is the caller's own work: it is packed in memory, so that a run of it can go
   on later without the file, and needs neither signature nor consent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime._version import __version__
from abstractruntime.cli._contract import input_schema
from abstractruntime.errors import AbstractRuntimeError, IntegrityError, NotFound, UsageError
from abstractruntime.nodes.registry import facts_of
from abstractruntime.signing.envelope import parse_envelope
from abstractruntime.visualflow_compiler._check import CheckResult, check_tree, require_ok
from abstractruntime.workflow_bundle import (
    BundlePlan,
    BundleVerdict,
    FlowLibrary,
    Requirements,
    WorkflowBundle,
    pack_flowbundle,
    verify_bundle,
)
from abstractruntime.workflow_bundle._archive import SIGNATURES
from abstractruntime.workflow_bundle._closure import subflow_ids
from abstractruntime.workflow_bundle.packer import FlowSource, collect_flows
from abstractruntime.workflow_bundle.reader import read_archive_file, read_bundle

if TYPE_CHECKING:
    from datetime import datetime

    from abstractruntime.signing import TrustStore
    from abstractruntime.visualflow_compiler._model import Diagnostic

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
    entries = (entry,) if entry else ()
    data, findings = compile_bundle(Request(path, entries))
    bundle = read_bundle(data, path)
    return Loaded(data, bundle, bundle.digest or ""), findings


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


def compile_bundle(request: Request) -> tuple[bytes, tuple[Diagnostic, ...]]:
    """Check the documents that belong together and pack them; nothing is signed yet.

    Returns:
        The archive, and the warnings about its documents.

    Raises:
        FlowError: a document has errors; `findings` lists those of all documents.
        WorkflowBundleError: flows are missing.
    """
    library, first = _library(request.path)
    for entry in request.entries:
        _require_entry(library, request.path, entry, first)
    roots = request.entries or (first,) if first else request.entries
    if not roots:
        roots = (_only_root(request.path),)
    flows = collect_flows(library, roots)
    findings = tuple(map(_for_bundle, _findings(request.path, flows.values())))
    require_ok(findings)
    main = next(iter(flows))
    plan = BundlePlan(
        entrypoints=roots,
        bundle_id=sanitise_id(request.bundle_id or main),
        bundle_version=request.version,
        requires=requirements(source.document for source in flows.values()),
        compiler={"name": "abstractruntime", "version": __version__},
    )
    return pack_flowbundle(library, plan), findings


def _require_entry(library: FlowLibrary, path: Path, entry: str, first: str | None) -> None:
    if library.find(entry) is None:
        raise NotFound(
            f"there is no flow {entry!r} to start in '{path}'",
            hint=f"its flow is {first!r}" if first else "an entry is the id inside a document",
            kind="flow",
            id=entry,
        )


def _library(path: Path) -> tuple[FlowLibrary, str | None]:
    """Give the documents around a path, and the flow that the path itself names."""
    if path.is_dir():
        require_documents(path)
        return FlowLibrary.from_directory(path), None
    data = read_archive_file(path)
    results = check_tree({str(path): data})
    result = results[str(path)]
    if result.flow is None or not result.flow.id or result.source is None:
        require_ok(result.diagnostics)
    source = FlowSource(path.stem, data, result.source.document if result.source else {})
    flow_id = result.flow.id if result.flow else path.stem
    if not subflow_ids(source.document):
        # Documents beside the flow may be many and large; nothing asks for them.
        return FlowLibrary([source]), flow_id
    return FlowLibrary.from_directory(path.parent).with_source(source), flow_id


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


def _only_root(directory: Path) -> str:
    """Give the one flow of a directory that no other flow runs."""
    documents = {}
    for path in sorted(directory.glob("*.json")):
        documents[str(path)] = path.read_bytes()
    flows = [result.flow for result in check_tree(documents).values() if result.flow is not None]
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


def _findings(path: Path, sources: Iterable[FlowSource]) -> tuple[Diagnostic, ...]:
    base = path if path.is_dir() else path.parent
    documents = {str(base / f"{source.name}.json"): source.data for source in sources}
    results: Mapping[str, CheckResult] = check_tree(documents)
    return tuple(item for result in results.values() for item in result.diagnostics)


def _for_bundle(finding: Diagnostic) -> Diagnostic:
    """Make an error of what a bundle cannot hold: a document that readers may read differently."""
    return replace(finding, severity="error") if finding.code == "VF002" else finding


def sanitise_id(text: str) -> str:
    """Give a bundle id: lower case, with a dash for what an id cannot hold."""
    return _UNFIT.sub("-", text.lower()).strip("-_")[:64] or "bundle"


def requirements(documents: Iterable[Mapping[str, Any]]) -> Requirements:
    """Derive what flows need from the node types they use."""
    types = {kind for document in documents for kind in _node_types(document)}
    found = {need for kind in types if (need := facts_of(kind).capability)}
    return Requirements(None, tuple(sorted(types)), tuple(sorted(found)))


def _node_types(document: Mapping[str, Any]) -> set[str]:
    from abstractruntime.visualflow_compiler._load import parse_flow

    return {element.type for element in parse_flow(document)[0].elements}


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
    for member in sorted(name for name in bundle.members if name.startswith(SIGNATURES)):
        try:
            hints = [s.key_hint for s in parse_envelope(bundle.members[member]).signatures]
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
    documents = loaded.bundle.flow_documents()
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
