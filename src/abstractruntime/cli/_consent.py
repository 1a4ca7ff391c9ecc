"""What a flow may do beyond itself: consent to its capabilities, and the workspace of its files.

Rules:
1. A flow document that is run directly is own work: it may do what its nodes can do.
2. A bundle needs a grant for each capability that reaches outside: reading and writing files,
   the network, commands, MCP servers, secrets. Without it nothing is started.
3. What was granted, and the workspace, stand in the run's first record, so that they are the
   same whoever goes on with the run, and from where.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime._files import make_private_directory
from abstractruntime._near import close_names
from abstractruntime._text import shell_word
from abstractruntime.errors import ConsentNeeded, Refused, UsageError
from abstractruntime.signing.keys import file_safe_name
from abstractruntime.workflow_bundle.own_work import requirements
from abstractruntime.workspace import Workspace

if TYPE_CHECKING:
    from abstractruntime.cli._bundles import Loaded
    from abstractruntime.cli._session import Session
    from abstractruntime.core.origin import RunOrigin
    from abstractruntime.signing import TrustStore
    from abstractruntime.visualflow_compiler.document import FlowDocument

FILE_READ, FILE_WRITE = "file:read", "file:write"
# Digits of a digest; those of a key id can be met by searching for a name.
_WHOSE = 32
_ASKED = ("net:", "file:read:", "file:write:", "command:", "mcp:", "secret:")
_OWN_WORK = "own_work"


def granted(loaded: Loaded, allowed: Iterable[str]) -> tuple[str, ...]:
    """Give what a run of this bundle is granted.

    Raises:
        ConsentNeeded: its nodes can do more than that.
        UsageError: a grant is none.
    """
    grants = tuple(dict.fromkeys(text.strip() for text in allowed))
    for grant in grants:
        _require_known(grant)
    asked = _asked(loaded.bundle.documents.values())
    if loaded.rule == _OWN_WORK:
        return tuple(dict.fromkeys((*grants, *asked)))
    if missing := _missing(asked, grants):
        names = [need.removesuffix(":*") for need in missing]
        raise ConsentNeeded(
            f"bundle '{loaded.ref}' needs {', '.join(names)}, which nobody granted",
            hint="if you trust it with that, add: "
            + " ".join(f"--allow {shell_word(name)}" for name in names),
            missing=missing,
            digest=loaded.digest,
        )
    return grants


def require_granted(documents: Iterable[FlowDocument], origin: RunOrigin, run_id: str) -> None:
    """Refuse to go on with a run whose flows can do more than its first record grants.

    Raises:
        ConsentNeeded: they can; whoever wrote the record may have left the grants out.
    """
    if missing := _missing(_asked(documents), origin.grants):
        names = ", ".join(need.removesuffix(":*") for need in missing)
        raise ConsentNeeded(
            f"run {run_id!r} needs {names}, which its first record does not grant",
            hint="go on with it in the program that started it, or start it anew with 'art run'",
            run_id=run_id,
            missing=missing,
        )


def _asked(documents: Iterable[FlowDocument]) -> list[str]:
    return [need for need in requirements(documents).capabilities if need.startswith(_ASKED)]


def _missing(asked: Iterable[str], grants: Iterable[str]) -> list[str]:
    return [need for need in asked if not any(_covers(grant, need) for grant in grants)]


def _require_known(grant: str) -> None:
    """Refuse what grants nothing: it would look like consent to something.

    Raises:
        UsageError: no capability is called so.
    """
    names = [name.removesuffix(":") for name in _ASKED]
    # `file` stands for both, `net:HOST` for a part.
    if any(f"{name}:".startswith(f"{grant}:") or grant.startswith(f"{name}:") for name in names):
        return
    near = close_names(grant, names, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(
        f"{grant!r} is nothing that can be granted",
        hint=f"{meant}known: {', '.join(names)}; one --allow for each",
        argument="--allow",
    )


def uses_files(documents: Iterable[FlowDocument]) -> bool:
    """Tell whether a node of these flows can touch files."""
    return any(need.startswith("file:") for need in requirements(documents).capabilities)


def workspace_root(session: Session, loaded: Loaded, trust: TrustStore) -> tuple[str, str]:
    """Give the directory whose files a new run may touch, and who chose it.

    Unless one is named, own work has the current directory. A bundle has one of its own beside the
    store, which it shares with other versions of the same publisher, or with nobody when it is
    unsigned: an id is no proof of anything.
    """
    chosen = session.config.values["workspace"]
    if chosen.value is not None:
        return os.path.realpath(chosen.value), chosen.origin
    if loaded.rule == _OWN_WORK:
        return os.path.realpath(Path.cwd()), "current directory"
    whose = loaded.digest
    if loaded.signers:
        whose = hashlib.sha256(trust.find(min(loaded.signers)).key.public).hexdigest()
    name = f"{file_safe_name(loaded.bundle.manifest.bundle_id)}--{whose[:_WHOSE]}"
    home = _home_of_workspaces(session)
    for path in (home, home / name):
        # Hazard: it may have come with a project, and lead anywhere.
        if path.is_symlink():
            raise Refused(
                f"the workspace '{path}' is a link, which may lead anywhere",
                hint="remove it, or name a directory: --workspace DIR",
                path=str(path),
            )
    return os.path.realpath(home / name), "own"


def _home_of_workspaces(session: Session) -> Path:
    return Path(f"{session.config.store}-workspaces")


def prepare_workspace(session: Session, origin: RunOrigin) -> None:
    """Make the workspace of a new run, and refuse one that lies where no flow may be.

    Raises:
        Refused: it does.
        UsageError: it cannot be made.
    """
    if origin.workspace is None:
        return
    workspace = workspace_of(session, origin)
    workspace.require_usable()
    if session.flags.get("workspace") and not workspace.root.exists():
        # A misspelt name would else go unnoticed.
        session.out.note(f"note: there was no directory '{workspace.root}'; it is made")
    try:
        make_private_directory(workspace.root)
    except OSError as cause:
        raise UsageError(
            f"the workspace '{workspace.root}' cannot be made: {cause.strerror}",
            hint="name a directory: --workspace DIR",
            argument="--workspace",
        ) from cause


def workspace_of(session: Session, origin: RunOrigin) -> Workspace:
    """Give the workspace that the first record of a run names; one that is closed when it names none.

    Hazard: without a workspace nodes would have that of programs in Python, the current directory.
    """
    if origin.workspace is None:
        return Workspace(
            _home_of_workspaces(session),
            may_read=False,
            may_write=False,
            guarded=tuple(_guarded(session)),
        )
    may_read, may_write = (
        any(_covers(grant, f"{need}:*") for grant in origin.grants)
        for need in (FILE_READ, FILE_WRITE)
    )
    return Workspace(
        Path(origin.workspace),
        may_write=may_write,
        may_read=may_read,
        guarded=tuple(_guarded(session)),
        home=_home_of_workspaces(session),
    )


def _guarded(session: Session) -> Iterator[Path]:
    """Give what no flow may touch, wherever it lies: store, trust, keys and their passphrase."""
    config = session.config
    yield config.store
    yield Path(config.get("trust_store"))
    files = (config.get("signing_key"), config.get("host_key"))
    for name in (*files, session.environ.get("ART_KEY_PASSPHRASE_FILE")):
        if name and Path(name).is_file():
            yield Path(name).absolute()


def _covers(grant: str, need: str) -> bool:
    return need == grant or need.startswith(f"{grant}:")
