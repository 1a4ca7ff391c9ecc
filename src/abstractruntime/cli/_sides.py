"""What `art diff` compares: documents, bundles and directories, as flows by id."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from abstractruntime.cli._bundles import open_bundle_or_flow
from abstractruntime.cli._files import read_document, require_documents
from abstractruntime.errors import NotFound
from abstractruntime.visualflow_compiler.diff import Side
from abstractruntime.visualflow_compiler.document import FlowDocument


@dataclass(frozen=True, slots=True)
class NamedSide:
    """A side, and whether it is a single document, which is compared with its like only."""

    path: Path
    side: Side
    is_single: bool = False
    is_nothing: bool = False


def load_side(path: Path) -> NamedSide:
    """Read one side. The null device, as git names a missing file, has no flows.

    Raises:
        NotFound: there is nothing of this name.
        FlowError: a document cannot be read.
    """
    if str(path) == os.devnull:
        return NamedSide(path, Side(), is_nothing=True)
    if path.is_dir():
        files = require_documents(path)
        documents = [FlowDocument.read(read_document(file), file=str(file)) for file in files]
        return NamedSide(path, Side({d.require_id(): d for d in documents}))
    found = open_bundle_or_flow(path)
    if isinstance(found, FlowDocument):
        return NamedSide(path, Side({found.require_id(): found}), is_single=True)
    starts = tuple(entry.flow_id for entry in found.manifest.entrypoints)
    return NamedSide(path, Side(found.documents, starts))


def paired(before: NamedSide, after: NamedSide) -> tuple[Side, Side]:
    """Give two sides that can be compared flow by flow.

    Two documents are compared whatever their ids are. A document is compared with the flow of
    its id in a bundle or directory, or with the only one there.

    Raises:
        NotFound: there is none.
    """
    if before.is_nothing or after.is_nothing or before.is_single == after.is_single:
        return _renamed(before, after)
    if before.is_single:
        return before.side, _only(after, before)
    return _only(before, after), after.side


def _renamed(before: NamedSide, after: NamedSide) -> tuple[Side, Side]:
    if not (before.is_single and after.is_single):
        return before.side, after.side
    (key,) = after.side.flows
    return replace(before.side, flows={key: next(iter(before.side.flows.values()))}), after.side


def _only(many: NamedSide, single: NamedSide) -> Side:
    (wanted,) = single.side.flows
    found = many.side.flows.get(wanted)
    if found is None and len(many.side.flows) == 1:
        found = next(iter(many.side.flows.values()))
    if found is None:
        raise NotFound(
            f"'{many.path}' has no flow {wanted!r}, which '{single.path}' is",
            hint="its flows: " + ", ".join(sorted(many.side.flows)),
            kind="flow",
            id=wanted,
        )
    return Side({wanted: found})
