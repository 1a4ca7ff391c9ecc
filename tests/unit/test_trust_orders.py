"""Whatever ends trust, in whatever order, makes nothing more acceptable than it was before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from signed_ledger import KEY as HOST
from signed_ledger import OTHER_KEY, CachedKey, heads_of, lines_of, records_of

from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.signing import (
    SigningKey,
    TrustedKey,
    TrustPolicy,
    TrustStore,
    read_heads,
    verify_ledger,
)
from abstractruntime.signing.trust import KeyStatus, Usage
from abstractruntime.workflow_bundle import (
    BundlePlan,
    FlowLibrary,
    pack_flowbundle,
    sign_bundle,
    verify_bundle,
)
from abstractruntime.workflow_bundle._archive import read_archive, write_archive

RELEASE = SigningKey.from_seed("acme.example/release", bytes(range(2, 34)))
# Vouches for both, as a key of a small team does.
BOTH = SigningKey.from_seed("acme.example/both", bytes(range(3, 35)))
EVIL = SigningKey.from_seed("acme.example/evil", bytes(range(4, 36)))
KEYS = (RELEASE, BOTH, HOST)


def cached(key: SigningKey) -> CachedKey:
    return CachedKey(key.name, key.verifier.public)


FULL = TrustStore(
    (
        TrustedKey(cached(RELEASE)),
        TrustedKey(cached(BOTH), ("bundle", "ledger")),
        TrustedKey(cached(HOST), ("ledger",)),
    )
)
STORES = {
    "two signatures": TrustStore(FULL.keys, TrustPolicy(threshold=2)),
    "warns": TrustStore(FULL.keys, TrustPolicy(unsigned="warn")),
    "only a publisher": TrustStore(FULL.keys[:1]),
    "only a host": TrustStore(FULL.keys[2:]),
}

PLAIN = pack_flowbundle(
    FlowLibrary.from_documents({"a": b'{"id":"a","nodes":[],"edges":[]}'}),
    BundlePlan(["a"], "acme-demo", "1.0.0"),
)


def forged() -> bytes:
    """Give a bundle whose signature in the name of `RELEASE` does not hold."""
    members = read_archive(sign_bundle(PLAIN, RELEASE))
    name = next(name for name in members if name.startswith("signatures/"))
    members[name] = re.sub(rb'"sig": ?"....', b'"sig":"AAAA', members[name])
    return write_archive(members)


BUNDLES = {
    "plain": PLAIN,
    "release": sign_bundle(PLAIN, RELEASE),
    "both": sign_bundle(PLAIN, BOTH),
    "release and both": sign_bundle(sign_bundle(PLAIN, RELEASE), BOTH),
    "evil": sign_bundle(PLAIN, EVIL),
    "release and evil": sign_bundle(sign_bundle(PLAIN, RELEASE), EVIL),
    "forged": forged(),
}
LINES = lines_of(records_of(3))
HEADS = {
    "none": [],
    "host": heads_of(LINES, {1, 3}),
    "both": heads_of(LINES, {1, 3}, key=BOTH),
    "evil": heads_of(LINES, {1, 3}, key=EVIL),
    "host then evil": [*heads_of(LINES, {1}), *heads_of(LINES, {3}, key=EVIL)],
    "forged": [
        line.replace(b"\\n\\n", b"\\n\\n", 1)[:-30] + b'A"' + line[-28:]
        for line in heads_of(LINES, {3})
    ],
    "same name": heads_of(LINES, {3}, key=OTHER_KEY),
}
_RANK = {"valid": 2, "valid_unsigned": 1, "invalid": 0}


@cache
def accepted(store: TrustStore) -> dict[str, int]:
    """Say how far everything that can be asked is accepted; more is more."""
    found = {}
    for name, data in BUNDLES.items():
        for installed in (False, True):
            for flag in (False, True):
                found[f"bundle {name} {installed=} allow={flag}"] = _bundle(
                    store, data, installed=installed, flag=flag
                )
    for name, lines in HEADS.items():
        verdict = verify_ledger(
            LINES,
            heads=read_heads(lines),
            keys=store.ledger_keys(),
            revoked=store.revoked_ledger_keys(),
        )
        found[f"ledger {name}"] = _RANK[verdict.verdict]
    for key in KEYS:
        for usage in ("bundle", "ledger"):
            why = store.why_not_sign(key.verifier, usage, "acme-demo")
            found[f"sign {key.name} {usage}"] = why is None
    return found


def _bundle(store: TrustStore, data: bytes, *, installed: bool, flag: bool) -> int:
    try:
        known = {key.verifier.label for key in KEYS} if installed else ()
        verdict = verify_bundle(data, store, allow_unsigned=flag, vouched=known)
    except AbstractRuntimeError:
        return 0
    return 2 if verdict.verdict == "valid" else 1


Step = Callable[[TrustStore], TrustStore]


def _end(label: str, status: KeyStatus) -> Step:
    return lambda store: store.with_status(label, status)


def _trust(key: SigningKey, *usages: Usage, bundles: str = "*") -> Step:
    return lambda store: store.with_key(TrustedKey(cached(key), usages, (bundles,)))


STATUSES: tuple[KeyStatus, ...] = ("retired", "revoked")
ENDS: dict[str, Step] = {
    **{f"{status} {key.name}": _end(key.name, status) for key in KEYS for status in STATUSES},
    "narrow release": _trust(RELEASE, "bundle", bundles="other-*"),
    "release for ledgers": _trust(RELEASE, "ledger"),
}
ADDS: tuple[Step, ...] = (
    _trust(RELEASE, "bundle"),
    _trust(HOST, "ledger"),
    _trust(OTHER_KEY, "ledger"),
)


def _after(store: TrustStore, step: Step) -> TrustStore | None:
    try:
        return step(store)
    except AbstractRuntimeError:
        return None  # not a step from here: no such key, or it would come back


def one_step_from(start: TrustStore) -> Iterator[TrustStore]:
    yield start
    for step in (*ENDS.values(), *ADDS):
        if (later := _after(start, step)) is not None:
            yield later


@pytest.mark.parametrize("start", STORES.values(), ids=STORES)
def test_no_order_of_ends_makes_more_acceptable(start: TrustStore) -> None:
    for store in one_step_from(start):
        before = accepted(store)
        for name, step in ENDS.items():
            later = _after(store, step)
            if later is None:
                continue
            more = {k: (before[k], v) for k, v in accepted(later).items() if v > before[k]}
            assert not more, (name, more, store.keys)


def test_the_candidates_tell_stores_apart() -> None:
    """Else nothing above could fail."""
    found = accepted(FULL)

    assert {found[f"ledger {name}"] for name in ("host", "both")} >= {2}
    assert found["ledger evil"] == found["ledger forged"] == found["ledger same name"] == 0
    assert found["bundle release installed=False allow=False"] == 2
    assert found["bundle forged installed=False allow=True"] == 0
    assert accepted(FULL.with_status(HOST.name, "retired"))["ledger host"] == 2
    assert accepted(FULL.with_status(HOST.name, "revoked"))["ledger host"] == 0
