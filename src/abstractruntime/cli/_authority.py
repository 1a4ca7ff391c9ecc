"""By whose authority a run does what it does: what its first record says of that, and whether it is true.

Rules:
1. The first record names what was in force that loosens or tightens, and where each came from.
2. It is sealed with a secret of the user's configuration, over everything that it states. The
   seal tells this user's runs from those that came with a directory; it proves nothing to others.
   In a store that lies in a project, every record and every command has such a seal; where only
   the project names the store, nothing else counts.
3. Where the seal does not hold, the run goes on with what it may do anyway. Its flow may run when
   a host key of this machine signed the ledger from the first record on. If it needs more, as
   its own first record says, somebody has to say so again.
4. A store that only a project names may have come with it. Its runs are read like those of any
   other, but only sealed ones are driven or changed: what the others say that somebody granted
   them, the author of the project may have written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime._files import read_unshared, write_atomic
from abstractruntime._json import JsonObject, dump_sorted
from abstractruntime._text import shell_word
from abstractruntime.cli._settings import SETTINGS
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import (
    HeadMismatch,
    NotFound,
    Refused,
    StoreError,
    Untrusted,
    UsageError,
)

if TYPE_CHECKING:
    from abstractruntime.cli._session import Session
    from abstractruntime.core.origin import RunOrigin
    from abstractruntime.core.store import Store
    from abstractruntime.signing import TrustStore

SEAL_FILE = "seal.key"
_SECRET_BYTES = 32
_WHAT = "the secret that seals runs"
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})


def settings_in_force(session: Session, trust: TrustStore, **said: tuple[Any, str]) -> JsonObject:
    """Give what the first record says was in force, each with its origin.

    Args:
        session: Has the configuration.
        trust: Says what holds for unsigned bundles.
        said: Value and origin of what the command decides itself, in place of the settings.
    """
    values = {s.name: session.config.values[s.name] for s in SETTINGS if s.is_stated}
    policy = "default" if trust.policy.unsigned is None else "trust_store"
    stated: dict[str, tuple[Any, str]] = {
        **{name: (found.value, found.origin) for name, found in values.items()},
        "unsigned_bundles": (trust.unsigned_bundles, policy),
        **said,
    }
    return {
        name: {"value": _short(value), "origin": _short(origin)}
        for name, (value, origin) in stated.items()
        if value is not None
    }


def _short(value: Any) -> Any:
    """Give text without the name of the user's home, which is nobody's business."""
    home = os.path.expanduser("~")  # noqa: PTH111 - text is what is searched
    return value.replace(home, "~") if isinstance(value, str) and len(home) > 1 else value


# -- seals --------------------------------------------------------------------------------


def seal(session: Session, run_id: str, origin: RunOrigin) -> str | None:
    """Give the seal of a run that this user starts; None where nothing may be kept.

    Raises:
        StoreError: the secret cannot be read or written, though it may.
    """
    secret = _own_secret(session)
    return None if secret is None else _sealed(secret, run_id, origin)


def sealing(session: Session, *, create: bool) -> Callable[[str], str] | None:
    """Give what seals texts as this user's; None without a secret.

    Args:
        create: Whether one may be made.

    Raises:
        StoreError: the secret cannot be read or written, though it may.
    """
    if not create and not (session.config_dir / SEAL_FILE).exists():
        return None
    secret = _own_secret(session)
    return None if secret is None else lambda text: _mac(secret, text.encode())


def _own_secret(session: Session) -> bytes | None:
    """Give the secret of this user, made when it is not there; None where nothing may be kept."""
    path = session.config_dir / SEAL_FILE
    try:
        if not path.exists():
            # Another process may be faster.
            with contextlib.suppress(UsageError):
                write_atomic(path, os.urandom(_SECRET_BYTES), mode=0o600, replace=False)
        return seal_secret(path)
    except StoreError as cause:
        if getattr(cause.__cause__, "errno", None) in _NOT_ALLOWED:
            return None
        raise


def is_sealed(session: Session, run_id: str, origin: RunOrigin) -> bool:
    """Say whether this user started the run, and its first record says what it said then."""
    if origin.seal is None:
        return False
    try:
        secret = seal_secret(session.config_dir / SEAL_FILE)
    except NotFound:
        return False
    return hmac.compare_digest(origin.seal, _sealed(secret, run_id, origin))


def seal_secret(path: Path) -> bytes:
    """Read a secret.

    Raises:
        NotFound, Refused, UsageError, StoreIOError
    """
    secret = read_unshared(path, _SECRET_BYTES, what=_WHAT)
    if problem := _flaw(path, secret):
        raise Refused(
            f"{_WHAT} is not used: '{path}' {problem}",
            hint=f"mend it, or remove it: rm {shell_word(path)}; runs it sealed then count as a stranger's",
            path=str(path),
        )
    return secret


def _flaw(path: Path, secret: bytes) -> str | None:
    if len(secret) != _SECRET_BYTES:
        return f"has {len(secret)} bytes, expected {_SECRET_BYTES}"
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"can be read by others (mode {mode:04o})" if mode & 0o077 else None


def _mac(secret: bytes, text: bytes) -> str:
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def _sealed(secret: bytes, run_id: str, origin: RunOrigin) -> str:
    facts = replace(origin, entry_node=None, seal=None).facts()
    stated = dump_sorted({"run_id": run_id, "facts": facts})
    return _mac(secret, stated)


def believed_origin(session: Session, engine: Store, root: str) -> RunOrigin:
    """Give what the first record of a run states, whose code and files are then as it says.

    Raises:
        Refused: it says that somebody allowed something, and nobody knows who wrote that.
    """
    origin = engine.origin(root)
    if session.accepts_origin or is_sealed(session, root, origin):
        return origin
    if claims := list(_claims(session, engine, root, origin)):
        began = "was started by a program, or where nothing is sealed"
        if origin.seal is not None:
            began = "was not started with this configuration, or its first record was changed"
        raise Refused(
            f"run {root!r} {began}; it says that {', '.join(claims)}",
            hint=f"look at it: art inspect {shell_word(root)}; if you allow that, add --accept-origin"
            + ("" if origin.seal else _HOW_TO_SIGN),
            run_id=root,
            claims=claims,
        )
    return origin


_HOW_TO_SIGN = (
    "; a program says that it is yours by a host key of this machine: open_store(DIR,"
    " signer=KeySigner(KEY))"
)


def _is_signed_here(session: Session, engine: Store, root: str, origin: RunOrigin) -> bool:
    """Say whether a host key of this machine signed a ledger from its first record on."""
    from abstractruntime.cli._judge import verify_run
    from abstractruntime.cli._keyring import LedgerTrust, own_keys, read_trust

    if origin.signed_by is None:
        return False
    private = {entry.key for entry in own_keys(session) if entry.private_path is not None}
    keys = [key for key in read_trust(session).ledger_keys() if key in private]
    if origin.signed_by not in {key.vkey for key in keys}:
        return False
    return verify_run(engine, root, LedgerTrust(tuple(keys))).verdict == "valid"


def _claims(session: Session, engine: Store, root: str, origin: RunOrigin) -> Iterator[str]:
    """Give what a first record says that a run may do, beyond what any run may."""
    if origin.trusts_code:
        yield "its code runs in this process"
    if origin.grants:
        yield f"it has the grants {', '.join(origin.grants)}"
    if origin.workspace is not None:
        yield f"it works in '{origin.workspace}'"
    if origin.bundle_digest is None or not (why := _why_untrusted(session, engine, origin)):
        return
    # Hazard: a host signs what it drives. Its word is for a flow that nobody else speaks about;
    # it outweighs no signature that lost its worth, no denial and no grant.
    is_plain = why.details.get("rule") == "unsigned" and not why.details.get("signatures")
    if not (is_plain and _is_signed_here(session, engine, root, origin)):
        yield f"its bundle may run, but {why}"


def _why_untrusted(session: Session, engine: Store, origin: RunOrigin) -> Untrusted | None:
    """Say why the bundle of a run would not be run now; None when it would, or is not there."""
    from abstractruntime._ports_system import SystemClock
    from abstractruntime.cli._keyring import read_trust
    from abstractruntime.workflow_bundle import verify_bundle
    from abstractruntime.workflow_bundle.reader import MAX_ARCHIVE_BYTES

    data = engine.bundles.get(origin.bundle_digest or "", limit=MAX_ARCHIVE_BYTES + 1)
    try:
        if data is not None:
            verify_bundle(data, read_trust(session), now=SystemClock().now())
    except Untrusted as cause:
        return cause
    return None


class OwnPast:
    """Keeps a host from signing what somebody else may have written.

    A run that was begun unsigned may be signed from now on. If its seal does not hold, its first
    record is not what this user wrote: perhaps it named a host. One that names a host and has no
    head can be written by anybody; only a seal tells that the host died before it signed.
    """

    def __init__(self, session: Session, engine: Store) -> None:
        self._session, self._engine = session, engine

    def __call__(self, run_id: str) -> None:
        """Admit a run.

        Raises:
            HeadMismatch: nothing shows that this user wrote its first record.
        """
        root = RunTree(self._engine, run_id).root()
        origin = self._engine.origin(root)
        if self._session.accepts_origin or not self._is_doubtful(root, origin):
            return
        if not is_sealed(self._session, root, origin):
            raise HeadMismatch(
                f"the first record of run {root!r} was changed, or was not written with this"
                " configuration, so no host key of yours signs what follows it",
                hint=f"art ledger verify {shell_word(root)}; go on in the program that started it, or without"
                " a host key; or with --accept-origin",
                run_id=root,
            )

    def _is_doubtful(self, root: str, origin: RunOrigin) -> bool:
        if origin.signed_by is None:
            return origin.seal is not None
        # Heads are compared with the ledger; a first record without any can be anybody's.
        return not any(self._engine.heads.lines(root))


class OwnRuns:
    """Lets those runs of a store be opened that this user started."""

    def __init__(self, session: Session, engine: Store) -> None:
        self._session, self._engine = session, engine
        self._admitted: set[str] = set()

    def __call__(self, run_id: str) -> None:
        """Admit a run.

        Raises:
            Refused: somebody else started it, or nobody can tell.
        """
        if run_id in self._admitted:
            return
        root = RunTree(self._engine, run_id).root()
        is_own = is_sealed(self._session, root, self._engine.origin(root))
        if not (is_own and self._engine.is_sealed(run_id)):
            raise Refused(
                f"run {root!r} came with the project: you did not start it, or not with this"
                " configuration, so nothing it says that it may do counts",
                hint=f"look at it: art inspect {shell_word(root)}; if you know the store, name it:"
                f" --store {shell_word(self._engine.address)}",
                run_id=root,
                store=self._engine.address,
            )
        self._admitted.add(run_id)


def require_no_links(paths: Iterable[str]) -> None:
    """Refuse a store whose parts may lie anywhere.

    Raises:
        Refused: there is such a part.
    """
    for path in paths:
        raise Refused(
            f"'{path}' is a link, and the store came with the project",
            hint="remove it; or, if you know the store, name it with --store or ART_HOME",
            path=path,
        )
