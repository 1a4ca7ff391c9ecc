from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from abstractruntime.errors import NotFound, UnsupportedFormat, UsageError
from abstractruntime.signing import (
    SigningKey,
    TrustedKey,
    TrustPolicy,
    TrustStore,
    VerifierKey,
    load_trust,
    save_trust,
)
from abstractruntime.signing.trust import parse_trust, render_trust

KEY = SigningKey.from_seed("acme.example/release", bytes(range(32))).verifier
HOST = SigningKey.from_seed("host.example/store1", bytes(range(1, 33))).verifier
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def test_a_store_reads_back(tmp_path):
    store = TrustStore(
        keys=(
            TrustedKey(KEY, bundles=("acme-*",), not_before="2026-01-01T00:00:00Z", reason="main"),
            TrustedKey(HOST, usages=("ledger",), status="retired"),
        ),
        policy=TrustPolicy("deny", 2, 10, require_signed_ledger=True),
        denied_digests=frozenset({"d"}),
        allowed_digests=frozenset({"a"}),
    )

    save_trust(store, tmp_path / "config" / "trust.json")

    assert load_trust(tmp_path / "config" / "trust.json") == store
    assert parse_trust(render_trust(TrustStore())) == TrustStore()


def test_a_missing_store_trusts_nobody(tmp_path):
    assert load_trust(tmp_path / "none.json") == TrustStore()


def a_store(**entry):
    return {"version": 1, "keys": [{"vkey": KEY.vkey, **entry}]}


@pytest.mark.parametrize(
    "raw",
    [
        [],
        {"version": 1, "extra": 1},
        {"version": 1, "keys": {}},
        {"version": 1, "keys": [{}]},
        {"version": 1, "denied_digests": [1]},
        {"version": 1, "policy": {"bundle": {"unsigned": "maybe"}}},
        {"version": 1, "policy": {"bundle": {"threshold": 0}}},
        {"version": 1, "policy": {"bundle": {"threshold": True}}},
        {"version": 1, "policy": {"ledger": {"unsigned_tail_max": -1}}},
        {"version": 1, "policy": {"ledger": {"require_signed": 1}}},
        a_store(usages=["everything"]),
        a_store(status="fine"),
        a_store(not_after="tomorrow"),
        a_store(reason=1),
        a_store(alg="none"),
    ],
)
def test_a_wrong_store_is_refused(raw):
    with pytest.raises(UsageError):
        parse_trust(json.dumps(raw).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b'{"version":1,"version":1}', b"[" * 100_000])
def test_a_text_that_is_no_store_is_refused(data):
    with pytest.raises(UsageError):
        parse_trust(data)


def test_a_newer_store_is_refused():
    with pytest.raises(UnsupportedFormat):
        parse_trust(b'{"version":2}')


@pytest.mark.parametrize(
    "entry, bundle_id, installed, trusted",
    [
        (TrustedKey(KEY), "any", False, True),
        (TrustedKey(KEY, bundles=("acme-*",)), "acme-x", False, True),
        (TrustedKey(KEY, bundles=("acme-*",)), "other", False, False),
        (TrustedKey(KEY, bundles=()), "any", False, False),
        (TrustedKey(KEY, usages=("ledger",)), "any", False, False),
        (TrustedKey(KEY, status="retired"), "any", False, False),
        (TrustedKey(KEY, status="retired"), "any", True, True),
        (TrustedKey(KEY, status="revoked"), "any", True, False),
        (TrustedKey(KEY, not_before="2026-01-01T13:00:00Z"), "any", False, False),
        (TrustedKey(KEY, not_before="2026-01-01T14:00:00+02:00"), "any", False, True),
        (TrustedKey(KEY, not_after="2026-01-01T12:00:00"), "any", False, False),
        (TrustedKey(KEY, not_after="2026-01-01T12:00:01"), "any", False, True),
    ],
    ids=["plain", "glob", "glob-miss", "no-glob", "usage", "retired", "retired-installed", "revoked",
         "early", "offset", "late", "in-time"],
)  # fmt: skip
def test_which_keys_vouch_for_a_bundle(entry, bundle_id, installed, trusted):
    vouched = [KEY.label] if installed else []
    keys = TrustStore(keys=(entry,)).bundle_keys(bundle_id, vouched=vouched, now=NOON)

    assert keys == ((KEY,) if trusted else ())


def test_a_window_without_a_clock_counts_as_closed():
    store = TrustStore(keys=(TrustedKey(KEY, not_before="2020-01-01"),))

    assert store.bundle_keys("any") == ()


def test_ledger_keys_are_host_keys_that_are_not_revoked():
    entries = (TrustedKey(KEY), TrustedKey(HOST, usages=("ledger",)))

    store = TrustStore(keys=entries)

    assert store.ledger_keys() == (HOST,)
    assert store.with_status(HOST.name, "retired").ledger_keys() == (HOST,)
    assert store.with_status(HOST.name, "revoked").ledger_keys() == ()


@pytest.mark.parametrize(
    "store, policy",
    [
        (TrustStore(), "warn"),
        (TrustStore(keys=(TrustedKey(HOST, usages=("ledger",)),)), "warn"),
        (TrustStore(keys=(TrustedKey(KEY, status="retired"),)), "deny"),
        (TrustStore(keys=(TrustedKey(KEY, status="revoked"),)), "deny"),
        (TrustStore(keys=(TrustedKey(KEY),)), "deny"),
        (TrustStore(keys=(TrustedKey(KEY),), policy=TrustPolicy("allow")), "allow"),
    ],
    ids=["empty", "host-only", "retired", "revoked", "active", "explicit"],
)
def test_policy_for_unsigned_bundles(store, policy):
    assert store.unsigned_bundles == policy


def test_a_revoked_key_does_not_come_back():
    store = TrustStore(keys=(TrustedKey(KEY),)).with_status(KEY.label, "revoked", reason="lost")

    assert store.find(KEY.name).reason == "lost"
    with pytest.raises(UsageError, match="for good"):
        store.with_status(KEY.label, "active")
    with pytest.raises(UsageError, match="for good"):
        store.with_key(TrustedKey(KEY))


def test_a_name_must_be_unambiguous():
    twin = SigningKey.from_seed(KEY.name, bytes(32)).verifier
    store = TrustStore(keys=(TrustedKey(KEY), TrustedKey(twin)))

    assert store.find(twin.label).key == twin
    with pytest.raises(UsageError, match="several"):
        store.find(KEY.name)
    with pytest.raises(NotFound):
        store.find("nobody")


# -- the same key under several names -----------------------------------------------------------

TWIN = VerifierKey("other.example/key", KEY.public)
TWIN_HOST = VerifierKey("other.example/host", HOST.public)


@pytest.mark.parametrize("status", ["revoked", "retired"])
@pytest.mark.parametrize("written", [False, True], ids=["by a command", "by hand"])
def test_what_ends_trust_ends_it_under_every_name(status, written):
    both = (TrustedKey(KEY), TrustedKey(TWIN))
    hosts = (TrustedKey(HOST, ("ledger",)), TrustedKey(TWIN_HOST, ("ledger",)))
    store = TrustStore((*both, *hosts))
    if written:
        ended = (replace(both[0], status=status), both[1])
        store = replace(store, keys=(*ended, replace(hosts[0], status=status), hosts[1]))
    else:
        store = store.with_status(KEY.name, status).with_status(HOST.name, status)

    assert store.bundle_keys("any") == ()
    labels = (KEY.label, TWIN.label)
    assert len(store.bundle_keys("any", vouched=labels)) == (2 if status == "retired" else 0)
    assert len(store.bundle_keys("any", vouched=labels[:1])) == (1 if status == "retired" else 0)
    assert len(store.ledger_keys()) == (2 if status == "retired" else 0)
    assert store.status_of(TWIN) == status
    assert store.revoked_of([TWIN.label, KEY.label, "unknown"]) == (
        (TWIN.label, KEY.label) if status == "revoked" else ()
    )
    if status == "revoked":
        with pytest.raises(UsageError, match="for good"):
            store.with_key(TrustedKey(VerifierKey("third", KEY.public)))


@pytest.mark.parametrize(
    "end",
    [
        lambda store: store.with_status(KEY.name, "revoked"),
        lambda store: store.with_status(KEY.name, "retired"),
        lambda store: store.with_key(TrustedKey(KEY, ("ledger",))),
    ],
    ids=["revoked", "retired", "for ledgers only"],
)
def test_nothing_that_ends_trust_makes_more_acceptable(end):
    store = TrustStore((TrustedKey(KEY),))

    assert (store.unsigned_bundles, end(store).unsigned_bundles) == ("deny", "deny")
    assert end(TrustStore((TrustedKey(KEY),), TrustPolicy("warn"))).unsigned_bundles == "warn"


def test_the_last_host_key_is_retired_not_given_another_usage():
    """Else what a stranger signed would no longer be the signature of an unknown host."""
    store = TrustStore((TrustedKey(HOST, ("ledger",)),))

    with pytest.raises(UsageError, match="only one for ledgers"):
        store.with_key(TrustedKey(HOST, ("bundle",)))
    assert store.with_key(TrustedKey(HOST, ("bundle", "ledger"))).ledger_keys() == (HOST,)
    other = TrustedKey(KEY, ("ledger",), status="retired")
    assert store.with_key(other).with_key(TrustedKey(HOST)).ledger_keys() == (KEY,)


@pytest.mark.parametrize(
    ("entry", "usage", "bundle_id", "why"),
    [
        (TrustedKey(KEY), "bundle", "any", None),
        (TrustedKey(HOST), "bundle", "any", None),
        (TrustedKey(KEY, status="revoked"), "bundle", "any", "it was revoked"),
        (TrustedKey(TWIN, status="retired"), "bundle", "any", "it was retired"),
        (TrustedKey(KEY, ("ledger",)), "bundle", "any", "it vouches for ledgers only"),
        (TrustedKey(KEY), "ledger", None, "it vouches for bundles only"),
        (TrustedKey(KEY, bundles=("acme-*",)), "bundle", "acme-x", None),
        (TrustedKey(KEY, bundles=("acme-*",)), "bundle", "other", "it may sign acme-* only"),
    ],
    ids=["fine", "unknown here", "revoked", "retired", "host", "no host", "glob", "glob-miss"],
)
def test_who_may_not_sign(entry, usage, bundle_id, why):
    assert TrustStore((entry,)).why_not_sign(KEY, usage, bundle_id) == why
