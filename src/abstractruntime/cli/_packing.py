"""From flow documents to a bundle in memory, and from what a person wants to run to a bundle.

A flow document is the caller's own work: it is packed in memory, so that a run of it can go on
later without the file, and needs neither signature nor consent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime._near import close_names
from abstractruntime._text import shell_word
from abstractruntime.cli._bundles import ARCHIVE_START, Loaded, judged
from abstractruntime.cli._files import require_documents
from abstractruntime.errors import NotFound, UsageError
from abstractruntime.nodes.registry import facts_of
from abstractruntime.visualflow_compiler.check import Absent, check_documents, require_ok
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.workflow_bundle import FlowLibrary, WorkflowBundleError
from abstractruntime.workflow_bundle.own_work import pack_own
from abstractruntime.workflow_bundle.reader import read_archive_file

if TYPE_CHECKING:
    from datetime import datetime

    from abstractruntime.signing import TrustStore
    from abstractruntime.visualflow_compiler.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be compiled; without entries a directory's only root flow is the entry."""

    path: Path
    entries: tuple[str, ...] = ()
    bundle_id: str | None = None
    version: str = "0.0.0"


def load_bundle_or_flow(
    path: Path,
    trust: TrustStore,
    *,
    allow_unsigned: bool,
    now: datetime,
    entry: str | None,
    vouchers: Callable[[str], Collection[str]] = lambda _digest: (),
) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    """Open what a person wants to run; a flow document comes with the warnings about it.

    `vouchers` gives for a digest who signed it when this user ran it before.

    Raises:
        NotFound: no such file, or no such entry.
        Untrusted: the trust policy refuses the bundle.
        FlowError: the flow document has errors.
    """
    if path.is_dir():
        raise UsageError(
            f"'{path}' is a directory, expected a bundle or a flow document",
            hint=f"name a file in it, or compile it: art compile {shell_word(path)}",
            path=str(path),
        )
    data = read_archive_file(path)
    if data.startswith(ARCHIVE_START):
        loaded = judged(
            data, path, trust, allow_unsigned=allow_unsigned, now=now, vouchers=vouchers
        )
        return loaded, ()
    return compile_bundle(Request(path, (entry,) if entry else ()), data)


def compile_bundle(
    request: Request, data: bytes | None = None
) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    """Check the documents that belong together and pack them; nothing is signed yet.

    `data` is the content of the document, if it was read before.

    Returns:
        The bundle, and the warnings about its documents.

    Raises:
        FlowError: a document has errors, or is missing; `findings` lists those of all documents.
    """
    library, first = _library(request.path, data)
    for entry in request.entries:
        _require_entry(library, request.path, entry, first)
    roots = request.entries or (first or _only_root(library, request.path),)
    entries = {root: library.find(root) for root in roots}
    documents = {root: found for root, found in entries.items() if found is not None}
    results = check_documents(documents, partial(find_subflow, library))
    findings = tuple(item for r in results.values() for item in r.diagnostics)
    require_ok(findings)
    flows = {r.document.id: r.document for r in results.values() if r.document is not None}
    packed, bundle = pack_own(
        flows,
        [library.id_of(root) for root in roots],
        bundle_id=request.bundle_id,
        version=request.version,
        source=request.path,
    )
    return Loaded(packed, bundle, bundle.digest or ""), findings


def find_subflow(library: FlowLibrary, flow_id: str) -> FlowDocument | Absent:
    """Give the flow that a subflow node means: the one with this id inside, where its document lies."""
    try:
        found = library.find(flow_id)
    except WorkflowBundleError as several:
        hint = f"name one of them {flow_id}.json, or give them different ids"
        return Absent("which several documents are", (str(several),), hint)
    if found is not None and found.id == flow_id:
        return found
    where = f"it was looked for in the directory {library.place!r}" if library.place else ""
    notes = [where] if where else []
    if found is not None:
        notes.append(f"{found.file!r} has the id {found.id!r}")
    elif flow_id in library.unread:
        notes.append(f"'{flow_id}.json' is there, and cannot be read")
    ids = [document.id for document in library.documents.values()]
    near = close_names(flow_id, [one for one in ids if one], n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    add = (
        f"add a document with this id to {library.place!r}" if library.place else "add its document"
    )
    return Absent(notes=tuple(notes), hint=f"{meant}{add}, or correct the id")


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


def _only_root(library: FlowLibrary, directory: Path) -> str:
    """Give the one flow of a directory that no other flow runs."""
    flows = [document.flow for document in library.documents.values()]
    children = {
        facts_of(element.type).subflow(element) for flow in flows for element in flow.elements
    }
    roots = list(dict.fromkeys(f.id for f in flows if f.id and f.id not in children))
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
