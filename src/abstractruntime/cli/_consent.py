"""What a flow may do beyond itself: consent to its capabilities, and the workspace of its files.

Rules:
1. A flow document that is run directly is own work: it may do what its nodes can do.
2. A bundle needs a grant for each capability that reaches outside: writing files, the
   network, commands, MCP servers, secrets. Without it nothing is started.
3. What was granted, and the workspace, stand in the run's first record, so that they are the
   same whoever goes on with the run, and from where.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime.errors import ConsentNeeded
from abstractruntime.nodes.registry import facts_of
from abstractruntime.workflow_bundle.models import Requirements
from abstractruntime.workspace import Workspace

if TYPE_CHECKING:
    from abstractruntime.cli._bundles import Loaded
    from abstractruntime.cli._session import Session
    from abstractruntime.core.origin import RunOrigin
    from abstractruntime.visualflow_compiler.document import FlowDocument

FILE_WRITE = "file:write"
_ASKED = ("net:", "file:write:", "command:", "mcp:", "secret:")
_OWN_WORK = "own_work"


def granted(loaded: Loaded, allowed: Iterable[str]) -> tuple[str, ...]:
    """Give what a run of this bundle is granted.

    Raises:
        ConsentNeeded: its nodes can do more than that.
    """
    grants = tuple(dict.fromkeys(text.strip() for text in allowed if text.strip()))
    needs = requirements(loaded.bundle.documents.values()).capabilities
    asked = [need for need in needs if need.startswith(_ASKED)]
    if loaded.rule == _OWN_WORK:
        return tuple(dict.fromkeys((*grants, *asked)))
    missing = [need for need in asked if not any(_covers(grant, need) for grant in grants)]
    if missing:
        names = [need.removesuffix(":*") for need in missing]
        raise ConsentNeeded(
            f"bundle '{loaded.ref}' needs {', '.join(names)}, which nobody granted",
            hint="if you trust it with that, add: " + " ".join(f"--allow {name}" for name in names),
            missing=missing,
            digest=loaded.digest,
        )
    return grants


def requirements(documents: Iterable[FlowDocument]) -> Requirements:
    """Derive what flows need from the node types they use."""
    types = {element.type for document in documents for element in document.flow.elements}
    found = {need for kind in types if (need := facts_of(kind).capability)}
    return Requirements(None, tuple(sorted(types)), tuple(sorted(found)))


def uses_files(documents: Iterable[FlowDocument]) -> bool:
    """Tell whether a node of these flows can touch files."""
    return any(need.startswith("file:") for need in requirements(documents).capabilities)


def workspace_root(session: Session) -> str:
    """Give the directory whose files a new run may touch: as configured, else the current one."""
    chosen = session.config.path("workspace") or Path.cwd()
    return os.path.realpath(chosen)


def workspace_of(origin: RunOrigin) -> Workspace | None:
    """Give the workspace that the first record of a run names; None for a run without files."""
    if origin.workspace is None:
        return None
    may_write = any(_covers(grant, f"{FILE_WRITE}:*") for grant in origin.grants)
    return Workspace(Path(origin.workspace), may_write=may_write)


def _covers(grant: str, need: str) -> bool:
    return need == grant or need.startswith(f"{grant}:")
