"""Signed heads: the file beside a ledger that says what was signed, and the signer's side.

1. Origin of a ledger is `<store origin>/runs/<run id>`; a head's note is signed by a host key.
2. A line of `heads_<run>.jsonl` is `{"note", "offset", "size"}`; only `note` is authoritative.
3. A signer never signs a head that does not extend the one before; `HeadStack` keeps the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abstractruntime._json import dump_line, load_strict
from abstractruntime.errors import HeadMismatch, IntegrityError, UsageError
from abstractruntime.signing.merkle import TreeState
from abstractruntime.signing.note import Note, TreeHead, parse_note, parse_tree_head, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abstractruntime.signing.keys import SigningKey

MAX_HEAD_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SignedHead:
    """One well-formed head; whether its signatures hold is the verifier's question.

    `size` and `offset` repeat what the line says beside the note, as hints for seeking.
    """

    head: TreeHead
    note: Note
    size: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class BadHead:
    """A line of the heads file that holds no head."""

    line: int
    reason: str


@dataclass(slots=True)
class HeadStack:
    """The tree of one ledger and the last head that was signed or found for it."""

    tree: TreeState
    last: TreeHead | None = None

    @classmethod
    def rebuild(cls, lines: Iterable[bytes], last: TreeHead | None = None) -> HeadStack:
        """Build the stack from stored lines (without LF), checking the last head on the way.

        Raises:
            HeadMismatch: the lines are fewer than the head covers, or others.
        """
        stack = cls(TreeState(), last)
        wanted = last.size if last else -1
        matched = last is None or (wanted == 0 and stack.tree.root() == last.root)
        for line in lines:
            stack.tree.add(line)
            if last is not None and stack.tree.size == wanted:
                matched = stack.tree.root() == last.root
        if not matched:
            found = (
                f"has {stack.tree.size}"
                if stack.tree.size < wanted
                else "has others in their place"
            )
            raise HeadMismatch(
                f"the last signed head covers {wanted} records, and the ledger {found}",
                hint="art ledger verify RUN says where",
                signed_size=wanted,
                size=stack.tree.size,
            )
        return stack

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, for keeping beside a checkpoint."""
        last = self.last and {
            "origin": self.last.origin,
            "size": self.last.size,
            "root": self.last.root.hex(),
        }
        return {"tree": self.tree.to_dict(), "last": last}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HeadStack:
        """Read the JSON form.

        Raises:
            IntegrityError: it is not well formed.
        """
        try:
            last = data["last"] and TreeHead(
                data["last"]["origin"], data["last"]["size"], bytes.fromhex(data["last"]["root"])
            )
            return cls(TreeState.from_dict(data["tree"]), last or None)
        except (KeyError, TypeError, ValueError) as cause:
            raise IntegrityError("stored head stack is not well formed") from cause


def run_origin(store_origin: str, run_id: str) -> str:
    """Give the origin line of one run's ledger."""
    return f"{store_origin}/runs/{run_id}"


def sign_head(stack: HeadStack, key: SigningKey, *, origin: str, run_id: str, offset: int) -> bytes:
    """Sign the tree as it is now and give the line for the heads file, with its LF.

    Args:
        stack: The ledger's tree; remembers the new head.
        key: The host key.
        origin: The store's origin.
        run_id: The run that the ledger belongs to.
        offset: Length of the ledger in bytes, kept as a hint.

    Raises:
        HeadMismatch: the tree does not extend the last head.
        UsageError: the origin cannot stand on one line.
    """
    tree = stack.tree
    head = TreeHead(run_origin(origin, run_id), tree.size, tree.root())
    _require_extension(stack.last, head)
    if not run_id or "/" in run_id:
        raise UsageError(f"run id {run_id!r} cannot stand in a head's origin")
    note = sign_note(head.render(), key)
    stack.last = head
    return dump_line({"note": note, "offset": offset, "size": head.size}) + b"\n"


def _require_extension(last: TreeHead | None, head: TreeHead) -> None:
    if last is None:
        return
    same_log = last.origin == head.origin
    grown = head.size > last.size or (head.size == last.size and head.root == last.root)
    if not (same_log and grown):
        raise HeadMismatch(
            f"head of {head.size} records in '{head.origin}' does not extend the signed head"
            f" of {last.size} records in '{last.origin}'",
            signed_size=last.size,
            size=head.size,
        )


def read_heads(lines: Iterable[bytes]) -> Iterator[SignedHead | BadHead]:
    """Read a heads file line by line; a last line that was never acknowledged is left out.

    It has no LF, or NUL where a power cut came before its sync.
    """
    torn = None
    for number, line in enumerate(lines):
        if torn is not None:
            yield torn
            torn = None
        if not line.endswith(b"\n"):
            if len(line) > MAX_HEAD_LINE_BYTES:
                yield BadHead(number, f"line is longer than {MAX_HEAD_LINE_BYTES} bytes")
            return
        try:
            yield _parse_head_line(line)
        except (IntegrityError, ValueError, RecursionError) as cause:
            bad = BadHead(number, str(cause))
            if b"\0" in line:
                torn = bad
            else:
                yield bad


def _parse_head_line(line: bytes) -> SignedHead:
    if len(line) > MAX_HEAD_LINE_BYTES:
        raise IntegrityError(f"line is longer than {MAX_HEAD_LINE_BYTES} bytes")
    data = load_strict(line.decode())
    if not isinstance(data, dict) or not isinstance(data.get("note"), str):
        raise IntegrityError("line is not an object with a note")
    note = parse_note(data["note"])
    hints = [data.get(name) if type(data.get(name)) is int else None for name in ("size", "offset")]
    return SignedHead(parse_tree_head(note.text), note, *hints)
