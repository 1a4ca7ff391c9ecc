"""Comparing signed heads and a pin with the tree, while the pass over the lines goes by.

1. Heads arrive in the order of the file and are read one ahead, so memory stays constant.
2. After one head does not match, later ones cannot: the first mismatch names the range.
3. With keys given, heads that none of them signed are a defect; a ledger without any head is
   merely unsigned. A revoked key is given as such: it vouches for nothing, and what it signed,
   or what somebody else signed, is no better for its revocation.
4. A host vouches for what it recorded. So heads count for a ledger whose first record names the
   host that signed the first of them. Others show that nothing changed since they were signed,
   and nothing of who wrote what they found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.errors import IntegrityError
from abstractruntime.signing.heads import BadHead, SignedHead
from abstractruntime.signing.note import verify_note
from abstractruntime.signing.record_checks import Defect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from abstractruntime.signing.keys import VerifierKey
    from abstractruntime.signing.merkle import TreeState
    from abstractruntime.signing.note import TreeHead
    from abstractruntime.signing.record_checks import ChainState

NEVER = float("inf")


class HeadWatch:
    """The heads of one ledger: `check` when the tree reaches `due`, `finish` at the end."""

    def __init__(
        self,
        heads: Iterable[SignedHead | BadHead],
        report: Callable[[Defect], None],
        *,
        keys: Sequence[VerifierKey],
        revoked: Mapping[VerifierKey, str],
        origin: str | None,
        pin: TreeHead | None,
    ) -> None:
        self.signers: dict[str, None] = {}
        self.warnings: dict[str, None] = {}
        self.signed_records = 0
        self.signed_terminal = False
        self.heads_held = 0
        self.first_signers: tuple[VerifierKey, ...] = ()
        self.origin: str | None = None
        self._heads = iter(heads)
        self._report = report
        self._keys = keys
        self._ended = {key.public: f"{key.label}, {why}" for key, why in revoked.items()}
        self._known = (*keys, *revoked)
        self._store_origin = origin
        self._pin = pin
        self._next = next(self._heads, None)
        self._good_size = 0
        self._mismatched = False
        self._unknown: SignedHead | None = None
        self._revoked: tuple[SignedHead, str] | None = None
        self._suspect: int | None = None

    @property
    def due(self) -> float:
        """Give the tree size at which `check` has something to say."""
        head = self._next
        size = head.head.size if isinstance(head, SignedHead) else NEVER if head is None else 0
        return min(size, self._pin.size if self._pin else NEVER)

    def suspect(self, record: int) -> None:
        """Take note of a bad line, so that a root that does not match is blamed on it."""
        if self._suspect is None:
            self._suspect = record

    def check(self, tree: TreeState, chain: ChainState, offset: int) -> None:
        """Judge everything that speaks about the tree at its present size."""
        if self._pin is not None and self._pin.size <= tree.size:
            self._check_pin(self._pin, tree)
            self._pin = None
        while (item := self._next) is not None:
            if isinstance(item, BadHead):
                self._report(_bad_head(item))
            elif item.head.size > tree.size:
                return
            elif item.head.size < tree.size:
                self._report(_out_of_order(item.head, tree.size))
            else:
                self._check_head(item, tree, chain, offset)
            self._next = next(self._heads, None)

    def finish(self, tree: TreeState, chain: ChainState) -> None:
        """Judge what the ledger was too short for, and heads without a trusted signer."""
        if self._pin is not None:
            self._report(_beyond("pin_beyond_ledger", self._pin.size, tree.size))
        furthest = 0
        while (item := self._next) is not None:
            if isinstance(item, BadHead):
                self._report(_bad_head(item))
            elif item.head.size <= tree.size:
                self._report(_out_of_order(item.head, tree.size))
            else:
                self._trusted_signers(item, chain)
                furthest = max(furthest, item.head.size)
            self._next = next(self._heads, None)
        if furthest:
            self._report(_beyond("head_beyond_ledger", furthest, tree.size))
        self._judge_revoked()
        self._judge_unknown()

    def _check_pin(self, pin: TreeHead, tree: TreeState) -> None:
        if self.origin is not None and pin.origin != self.origin:
            self._report(Defect("pin_origin_mismatch", None, None, pin.origin, self.origin))
        root = tree.root()
        if root != pin.root:
            self._report(self._root_mismatch("pin_root_mismatch", pin, root))

    def _check_head(
        self, item: SignedHead, tree: TreeState, chain: ChainState, offset: int
    ) -> None:
        head = item.head
        signers = self._trusted_signers(item, chain)
        if signers is None or self._mismatched:
            return
        root = tree.root()
        if root != head.root:
            self._mismatched = True
            self._report(self._root_mismatch("head_root_mismatch", head, root))
            return
        self._good_size, self._suspect = head.size, None
        self.origin = head.origin
        if signers:
            self.first_signers = self.first_signers or signers
            self.heads_held += 1
            self.signed_records = head.size
            self.signed_terminal = chain.is_terminal
            self.signers.update(dict.fromkeys(key.label for key in signers))
        if (item.size, item.offset) != (head.size, offset):
            self.warnings["size or offset beside a head's note is wrong; the note decides"] = None

    def _trusted_signers(
        self, item: SignedHead, chain: ChainState
    ) -> tuple[VerifierKey, ...] | None:
        """Give the trusted signers of a head, or None after reporting that it is not one of ours."""
        record = max(0, item.head.size - 1)
        expected, fits = self._expected_origin(item.head.origin, chain.run_id)
        if not fits:
            self._report(Defect("head_origin_mismatch", record, None, expected, item.head.origin))
            return None
        try:
            found = verify_note(item.note, self._known)
        except IntegrityError as cause:
            signer = cause.details.get("signer")
            self._report(Defect("head_signature_invalid", record, None, None, signer))
            return None
        signers = tuple(key for key in found if key.public not in self._ended)
        if not signers and found:
            self._note_revoked(item, self._ended[found[0].public])
        elif not signers:
            self._unknown = self._unknown or item
        return signers

    def _note_revoked(self, item: SignedHead, standing: str) -> None:
        """Take note of a head of a revoked key.

        Where a host in force had signed as much before, it adds nothing; else nobody in force
        vouches for who wrote what it covers, whoever signed afterwards what was there.
        """
        if item.head.size <= self.signed_records:
            self.warnings[f"heads signed by {standing}"] = None
        else:
            self._revoked = self._revoked or (item, standing)

    def _expected_origin(self, origin: str, run_id: str | None) -> tuple[str, bool]:
        store = self._store_origin
        if store is not None and run_id is not None:
            expected = f"{store}/runs/{run_id}"
            return expected, origin == expected
        if self.origin is not None:
            return self.origin, origin == self.origin
        if run_id is not None:
            return f"<store origin>/runs/{run_id}", origin.endswith(f"/runs/{run_id}")
        prefix = f"{store}/runs/" if store is not None else ""
        return f"{prefix}<run id>", origin.startswith(prefix)

    def _root_mismatch(self, code: str, head: TreeHead, root: bytes) -> Defect:
        last = max(0, head.size - 1)
        first = min(self._good_size, last)
        detail = f"a record from {first} to {last} is not the one that was signed"
        record = first if self._suspect is None else min(self._suspect, last)
        return Defect(code, record, None, head.root.hex(), root.hex(), detail)

    def _judge_revoked(self) -> None:
        if self._revoked is None:
            return
        item, standing = self._revoked
        last = max(0, item.head.size - 1)
        detail = "whoever has the key could have written this"
        self._report(
            Defect("head_key_revoked", last, None, "a host key in force", standing, detail)
        )

    def _judge_unknown(self) -> None:
        item = self._unknown
        if item is None:
            return
        names = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in item.note.signatures)
        if self._known and not self.heads_held:
            known = ", ".join(key.label for key in self._keys) or "a host key in force"
            self._report(
                Defect("head_key_unknown", max(0, item.head.size - 1), None, known, names[:200])
            )
        else:
            self.warnings[f"heads signed by a key that was not given: {names[:200]}"] = None


def _bad_head(item: BadHead) -> Defect:
    return Defect(
        "bad_head", None, None, "a signed head", item.reason, f"line {item.line} of heads"
    )


def _out_of_order(head: TreeHead, size: int) -> Defect:
    return Defect("head_out_of_order", max(0, head.size - 1), None, f"at least {size}", head.size)


def _beyond(code: str, covered: int, size: int) -> Defect:
    return Defect(code, size, None, covered, size, f"head covers {covered}, ledger has {size}")
