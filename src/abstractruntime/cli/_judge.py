"""What a stored ledger is worth, judged with what its store keeps beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abstractruntime.cli._keyring import LedgerTrust
from abstractruntime.errors import AbstractRuntimeError, IntegrityError, NotFound
from abstractruntime.signing import Defect, LedgerVerdict, TreeHead, read_heads, verify_ledger

if TYPE_CHECKING:
    from abstractruntime.core.store import Contradiction, Store


def verify_run(
    engine: Store,
    run_id: str,
    trust: LedgerTrust | None = None,
    pin: TreeHead | None = None,
    *,
    beside: Iterable[Contradiction] = (),
    bundles: BundleJudge | None = None,
) -> LedgerVerdict:
    """Verify the ledger of a run, with what its store keeps beside it; `beside` was found before."""
    # Hazard: what speaks about the ledger is read before it; one that grows would else look cut.
    reached = engine.health.reached(run_id)
    heads = list(read_heads(engine.heads.lines(run_id)))
    given = trust or LedgerTrust()
    defects = defects_beside(engine, run_id, bundles, beside)
    if not heads:
        defects += _lost_heads(engine, run_id)
    with engine.ledger(run_id) as file:
        return verify_ledger(
            file,
            heads=heads,
            keys=given.keys,
            revoked=given.revoked,
            origin=engine.store_origin,
            run_id=run_id,
            pin=pin,
            reached=reached,
            large_values=engine.large_value,
            beside=defects,
        )


@dataclass(frozen=True, slots=True)
class BundleJudge:
    """Says of the bundles that runs were started from whether they are as they were; each once."""

    engine: Store
    _known: dict[str, IntegrityError | None] = field(default_factory=dict)

    def defects(self, run_id: str) -> Iterator[Defect]:
        """Give what is wrong with the bundle of a run; a child has none of its own, a lost one none."""
        digest = self.engine.origin(run_id).bundle_digest
        if digest is None:
            return
        if digest not in self._known:
            self._known[digest] = self._fault(digest, run_id)
        if cause := self._known[digest]:
            facts = cause.details.get("expected"), cause.details.get("found")
            yield Defect("bundle_mismatch", None, None, *facts, str(cause))

    def _fault(self, digest: str, run_id: str) -> IntegrityError | None:
        from abstractruntime.cli._bundles import read_installed

        try:
            read_installed(self.engine, digest, root=run_id, run_id=run_id)
        except IntegrityError as cause:
            return cause
        except NotFound:
            pass  # it verifies without
        return None


def defects_beside(
    engine: Store,
    run_id: str,
    bundles: BundleJudge | None = None,
    beside: Iterable[Contradiction] = (),
) -> list[Defect]:
    """Give what is wrong with the bundle of a run, and with what else is `beside` its ledger."""
    found = [Defect(b.code, None, None, b.expected, b.found, b.detail) for b in beside]
    # The verdict says what is wrong with a ledger that does not tell its bundle.
    with contextlib.suppress(AbstractRuntimeError):
        found += (bundles or BundleJudge(engine)).defects(run_id)
    return found


def _lost_heads(engine: Store, run_id: str) -> Iterator[Defect]:
    """Tell when a ledger says that it is signed, and no head is there; the first record may be alone."""
    with contextlib.suppress(AbstractRuntimeError):
        host = engine.origin(run_id).signed_by
        if host is not None and len(engine.recent(run_id, 2)) > 1:
            label = host.rpartition("+")[0]
            yield Defect("heads_missing", 0, None, f"heads signed by {label}", None)
