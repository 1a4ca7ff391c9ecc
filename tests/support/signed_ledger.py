"""Small ledgers in the stored format, for tests that damage them."""

from __future__ import annotations

from functools import lru_cache

from abstractruntime._json import dump_line
from abstractruntime.signing import HeadStack, SigningKey, VerifierKey, sign_head
from abstractruntime.signing.merkle import TreeState
from abstractruntime.storage.ledger_chain import compute_record_hash

STORE = "host.example/store1"
KEY = SigningKey.from_seed(STORE, bytes(range(32)))
OTHER_KEY = SigningKey.from_seed(STORE, bytes(range(1, 33)))


def tree_root(lines):
    tree = TreeState()
    tree.extend(lines)
    return tree.root()


@lru_cache(maxsize=256)
def _verify_once(key, message, signature):
    return VerifierKey(key.name, key.public).verify(message, signature)


class CachedKey(VerifierKey):
    """Remembers verdicts over equal notes, so that thousands of verifications are quick."""

    __slots__ = ()

    def verify(self, message, signature):
        return _verify_once(self, message, signature)


CACHED = CachedKey(KEY.name, KEY.verifier.public)


def a_record(index, *, run_id="run-1", last=False):
    effect = {
        "type": "emit_event" if last else "llm_call",
        "payload": {
            "prompt": 'é/\x1f"x" ' * 4,
            "n": index * 0.5,
            "big": 1e16,
            "list": [1, None, True],
        },
        "result_key": "a.b",
    }
    result = {"text": f"answer {index}", "z": 1, "a": 2}
    if index == 0:
        stated = {"internal": "run_started", "signed_by": KEY.verifier.vkey}
        effect, result = None, {**effect["payload"], **result, **stated}
    return {
        "run_id": run_id, "step_id": f"s{index}", "node_id": "node-1", "status": "completed",
        "effect": effect, "result": result, "error": None,
        "started_at": "2026-01-01T00:00:00.000000+00:00", "ended_at": "2026-01-01T00:00:01.000000+00:00",
        "actor_id": None, "session_id": "s", "attempt": 1,
        "idempotency_key": "system:terminal_status:completed" if last else f"{index:032x}",
        "prev_hash": None, "record_hash": None, "signature": None, "seq": index,
        **({} if last else {"commit": {"epoch": 1 + index // 10, "set": {"/vars/a": index}}}),
    }  # fmt: skip


def chain(records, *, prev=None):
    """Set the hashes of records and give them back."""
    for record in records:
        record["prev_hash"] = prev
        prev = record["record_hash"] = compute_record_hash(record=record, prev_hash=prev)
    return records


def records_of(count, *, run_id="run-1"):
    return chain([a_record(i, run_id=run_id, last=i == count - 1) for i in range(count)])


def lines_of(records):
    return [dump_line(record) + b"\n" for record in records]


def heads_of(lines, sizes, *, key=KEY, run_id="run-1", origin=STORE):
    """Sign heads at these sizes and give the lines of the heads file."""
    stack, heads, offset = HeadStack(TreeState()), [], 0
    for line in lines:
        stack.tree.add(line[:-1])
        offset += len(line)
        if stack.tree.size in sizes:
            heads.append(sign_head(stack, key, origin=origin, run_id=run_id, offset=offset))
    return heads
