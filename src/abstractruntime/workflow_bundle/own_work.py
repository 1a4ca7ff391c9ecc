"""Packing flows for whoever wrote them: what a bundle needs beside its flows is derived from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime._version import __version__
from abstractruntime.nodes.registry import facts_of
from abstractruntime.workflow_bundle._manifest import DRAFT, SEMVER
from abstractruntime.workflow_bundle.models import Requirements
from abstractruntime.workflow_bundle.packer import BundlePlan, pack_flows

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler.document import FlowDocument
    from abstractruntime.workflow_bundle.models import WorkflowBundle

_UNFIT = re.compile(r"[^a-z0-9_-]+")
# An id has at most 64 characters; so many digits tell two apart that look alike.
_TELLING = 8
_MOST_OF_ID = 64 - 1 - _TELLING


def pack_own(
    flows: Mapping[str, FlowDocument],
    entrypoints: Sequence[str],
    *,
    bundle_id: str | None = None,
    version: str = "0.0.0",
    source: Path | None = None,
) -> tuple[bytes, WorkflowBundle]:
    """Give the bytes of an unsigned bundle of these flows, and what opening them would give.

    The same flows give the same bytes. The first flow names the bundle, unless `bundle_id` does.
    """
    plan = BundlePlan(
        entrypoints=entrypoints,
        bundle_id=sanitise_id(bundle_id) if bundle_id else own_id(next(iter(flows))),
        bundle_version=version,
        requires=requirements(flows.values()),
        compiler={"name": "abstractruntime", "version": __version__},
    )
    return pack_flows(flows, plan, source=source)


def requirements(documents: Iterable[FlowDocument]) -> Requirements:
    """Derive what flows need from the node types they use."""
    types = {element.type for document in documents for element in document.flow.elements}
    found = {need for kind in types if (need := facts_of(kind).capability)}
    return Requirements(None, tuple(sorted(types)), tuple(sorted(found)))


def own_id(flow_id: str) -> str:
    """Give the bundle id of a flow; flows whose ids differ only in what it cannot hold have two."""
    clean = sanitise_id(flow_id)
    if clean == flow_id:
        return clean
    return f"{clean[:_MOST_OF_ID]}-{hashlib.sha256(flow_id.encode()).hexdigest()[:_TELLING]}"


def sanitise_id(text: str) -> str:
    """Give a bundle id: lower case, with a dash for what an id cannot hold."""
    return _UNFIT.sub("-", text.lower()).strip("-_")[:64] or "bundle"


def is_version(text: str) -> bool:
    """Tell whether a bundle can have this version."""
    return bool(SEMVER.fullmatch(text) or DRAFT.fullmatch(text))
