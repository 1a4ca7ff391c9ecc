from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path

import pytest

from abstractruntime.errors import NotFound, Untrusted
from abstractruntime.signing import SigningKey, TrustedKey, TrustPolicy, TrustStore
from abstractruntime.workflow_bundle import (
    BundlePlan,
    FlowLibrary,
    WorkflowBundleError,
    open_workflow_bundle,
    pack_flowbundle,
    sign_bundle,
    unpack_workflow_bundle,
    verify_bundle,
    workflow_bundle_manifest_from_dict,
    workflow_bundle_manifest_to_dict,
)
from abstractruntime.workflow_bundle._archive import read_archive, write_archive
from abstractruntime.workflow_bundle._manifest import parse_manifest, render_manifest
from abstractruntime.workflow_bundle.reader import read_bundle
from abstractruntime.workflow_bundle.verify import create_detached, strip_signatures

KEY = SigningKey.from_seed("acme.example/release", bytes(range(32)))
SECOND = SigningKey.from_seed("acme.example/review", bytes(range(1, 33)))
ROTATED = SigningKey.from_seed("acme.example/release", bytes(range(2, 34)))
UNSIGNED = pack_flowbundle(
    FlowLibrary.from_documents({"a": b'{"id":"a"}'}), BundlePlan(["a"], "acme-demo", "1.0.0")
)
SIGNED = sign_bundle(UNSIGNED, KEY)
DIGEST = hashlib.sha256(read_archive(UNSIGNED)["manifest.json"]).hexdigest()
BASE = {"bundle_format_version": "1", "bundle_id": "x", "entrypoints": [{"flow_id": "a"}]}


def trusting(*entries, **more):
    return TrustStore(keys=tuple(entries), **more)


# ---- manifests of 0.4.x


def test_aliases_and_defaults_of_older_manifests():
    manifest = workflow_bundle_manifest_from_dict(
        {
            "bundleFormatVersion": 1,
            "bundleId": " x ",
            "entrypoints": [{"flowId": "a", "interfaces": ["i", 1, " "]}, "dropped"],
            "defaultEntrypointFlowId": "a",
            "flows": [],
            "unknown": 1,
        }
    )

    assert (manifest.bundle_id, manifest.bundle_version, manifest.created_at) == ("x", "0.0.0", "")
    assert (manifest.default_entrypoint, manifest.flows) == ("a", {})
    assert manifest.entrypoints[0].interfaces == ["i"]


@pytest.mark.parametrize(
    "change",
    [
        {"bundle_format_version": "2"},
        {"bundle_format_version": 1.0},
        {"bundle_id": " "},
        {"bundle_version": ""},
        {"entrypoints": []},
        {"entrypoints": None},
        {"entrypoints": [{"flow_id": " "}]},
        {"entrypoints": [{"flow_id": "a"}, {"flow_id": "a"}]},
        {"default_entrypoint": "b"},
        {"flows": {" ": "flows/a.json"}},
        {"flows": {"a": "../a.json"}},
        {"flows": {"a": "/a.json"}},
        {"flows": {"a": "C:/a.json"}},
        {"flows": {"a": "x\\..\\a.json"}},
        {"flows": {"a": "a\0"}},
        {"flows": {"a": ""}},
    ],
)
def test_a_wrong_older_manifest_is_refused(change):
    with pytest.raises(WorkflowBundleError):
        workflow_bundle_manifest_from_dict({**BASE, **change})


def test_a_manifest_without_profile_keeps_its_older_form():
    data = workflow_bundle_manifest_to_dict(workflow_bundle_manifest_from_dict(BASE))

    assert list(data) == [
        "bundle_format_version", "bundle_id", "bundle_version", "created_at", "entrypoints",
        "flows", "artifacts", "assets", "metadata",
    ]  # fmt: skip


def test_a_profile_manifest_reads_back():
    data = read_archive(UNSIGNED)["manifest.json"]

    assert render_manifest(parse_manifest(data)) == data


def _without(name):
    return lambda raw: raw.pop(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(profile="flowbundle/2"),
        lambda raw: raw.update(profile=None),
        lambda raw: raw.update(bundle_id="Acme"),
        lambda raw: raw.update(bundle_version="1"),
        lambda raw: raw.update(entrypoints=[{"flow_id": "zz"}]),
        lambda raw: raw["flows"].update(zz="flows/zz.json"),
        lambda raw: raw["files"]["flows/a.json"].update(size="1"),
        lambda raw: raw["files"]["flows/a.json"].update(sha256="x"),
        lambda raw: raw["requires"].update(capabilities=["tool:b", "tool:a"]),
        lambda raw: raw["requires"].update(node_types="x"),
        _without("files"),
    ],
)
def test_a_wrong_profile_manifest_is_refused(change):
    raw = json.loads(read_archive(UNSIGNED)["manifest.json"])
    change(raw)

    with pytest.raises(WorkflowBundleError):
        parse_manifest(f"{json.dumps(raw, sort_keys=True, indent=2)}\n".encode())


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t[:-1],
        lambda t: t.replace(b'"profile"', b'"profile": "flowbundle/1",\n  "profile"'),
        lambda t: json.dumps(json.loads(t)).encode(),
    ],
    ids=["no-final-lf", "duplicate-key", "compact"],
)
def test_a_profile_manifest_has_one_spelling(edit):
    with pytest.raises(WorkflowBundleError):
        parse_manifest(edit(read_archive(UNSIGNED)["manifest.json"]))


# ---- opening


def a_legacy_zip(manifest=BASE, **members):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(f"flows/{name}.json", body)
        archive.writestr("manifest.json", json.dumps(manifest))
    return buffer.getvalue()


def test_an_older_zip_opens(tmp_path):
    path = tmp_path / "any.name"
    data = a_legacy_zip({**BASE, "flows": {"a": "flows/a.json"}}, a='{"id":"a"}', unnamed="x")
    path.write_bytes(data)

    bundle = open_workflow_bundle(path)

    assert bundle.read_json("flows/a.json") == {"id": "a"}
    assert bundle.digest == hashlib.sha256(data).hexdigest()
    with pytest.raises(NotFound):
        bundle.read_bytes("flows/unnamed.json")
    with pytest.raises(WorkflowBundleError):
        bundle.read_bytes("../x")


def test_a_native_loop_bundle_without_flows_opens():
    manifest = {**BASE, "metadata": {"native_loop_factory": "react"}}

    assert read_bundle(a_legacy_zip(manifest), Path("x")).manifest.flow_path_for("a") is None


def test_a_directory_opens(tmp_path):
    unpack_to = tmp_path / "out"
    path = tmp_path / "x.flowbundle"
    path.write_bytes(SIGNED)
    unpack_workflow_bundle(bundle_path=path, out_dir=unpack_to)

    bundle = open_workflow_bundle(unpack_to)

    assert bundle.manifest == open_workflow_bundle(path).manifest
    assert bundle.read_text("flows/a.json") == '{"id":"a"}'


@pytest.mark.parametrize(
    "make", [lambda p: None, lambda p: p.mkdir()], ids=["nothing", "empty-dir"]
)
def test_a_missing_bundle_is_not_found(make, tmp_path):
    make(tmp_path / "x")

    with pytest.raises(NotFound) as caught:
        open_workflow_bundle(tmp_path / "x")
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("flow", [b'{"id":"b"}', b'{"id":"a","id":"a"}', b"[]"])
def test_a_flow_that_is_not_what_the_manifest_says_is_refused(flow):
    members = read_archive(UNSIGNED)
    raw = json.loads(members["manifest.json"])
    raw["files"]["flows/a.json"] = {"sha256": hashlib.sha256(flow).hexdigest(), "size": len(flow)}
    text = json.dumps(raw, sort_keys=True, indent=2).encode() + b"\n"

    with pytest.raises(WorkflowBundleError):
        read_bundle(write_archive({"manifest.json": text, "flows/a.json": flow}), Path("x"))


# ---- signing and trusting


def test_signing_keeps_the_digest_and_can_be_undone():
    twice = sign_bundle(sign_bundle(SIGNED, SECOND), KEY)

    verdict = verify_bundle(twice, trusting(TrustedKey(KEY.verifier), TrustedKey(SECOND.verifier)))

    assert verdict.digest == DIGEST
    assert verdict.signers == (KEY.verifier.label, SECOND.verifier.label)
    assert strip_signatures(twice) == UNSIGNED
    assert sign_bundle(SIGNED, KEY) == SIGNED


def test_a_new_key_of_the_same_name_signs_beside_the_old_one():
    both = sign_bundle(SIGNED, ROTATED)

    for key in (KEY, ROTATED):
        verdict = verify_bundle(both, trusting(TrustedKey(key.verifier)))
        assert verdict.signers == (key.verifier.label,)


def test_a_bundle_without_profile_cannot_be_signed():
    members = {"manifest.json": json.dumps(BASE).encode()}

    with pytest.raises(WorkflowBundleError, match="no profile"):
        sign_bundle(write_archive(members), KEY)


ACTIVE = TrustedKey(KEY.verifier)
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "data, trust, options, rule",
    [
        (SIGNED, trusting(ACTIVE), {}, "signed"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, bundles=("acme-*",))), {}, "signed"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, not_after="2027-01-01")), {"now": NOON}, "signed"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, status="retired")), {"vouched": [KEY.verifier.label]}, "signed"),
        (SIGNED, TrustStore(), {}, "unsigned_warn"),
        (SIGNED, trusting(TrustedKey(SECOND.verifier)), {"allow_unsigned": True}, "unsigned_allowed"),
        (UNSIGNED, TrustStore(), {}, "unsigned_warn"),
        (UNSIGNED, trusting(ACTIVE), {"allow_unsigned": True}, "unsigned_allowed"),
        (UNSIGNED, trusting(ACTIVE, policy=TrustPolicy("allow")), {}, "unsigned_allowed"),
        (UNSIGNED, trusting(ACTIVE), {"detached": [create_detached(read_archive(UNSIGNED), KEY)]}, "signed"),
        (UNSIGNED, trusting(ACTIVE, allowed_digests=frozenset({DIGEST})), {}, "allowed_digest"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, status="revoked"), allowed_digests=frozenset({DIGEST})), {}, "allowed_digest"),
        (a_legacy_zip(), TrustStore(), {}, "unsigned_warn"),
    ],
    ids=["active", "glob", "window", "retired-installed", "stranger", "stranger-allowed", "unsigned",
         "override", "policy-allow", "detached", "allowed", "revoked-allowed", "older"],
)  # fmt: skip
def test_a_bundle_that_may_be_used(data, trust, options, rule):
    verdict = verify_bundle(data, trust, **options)

    assert verdict.rule == rule
    assert verdict.to_dict()["verdict"] == (
        "valid" if rule in ("signed", "allowed_digest") else "valid_unsigned"
    )


REVOKED = TrustedKey(KEY.verifier, status="revoked")


@pytest.mark.parametrize(
    "data, trust, options, rule",
    [
        (UNSIGNED, trusting(ACTIVE), {}, "unsigned"),
        (SIGNED, trusting(TrustedKey(SECOND.verifier)), {}, "unsigned"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, bundles=("other",))), {}, "unsigned"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, not_after="2026-01-01")), {"now": NOON}, "unsigned"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, not_after="2027-01-01")), {}, "unsigned"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, status="retired"), policy=TrustPolicy("deny")), {}, "unsigned"),
        (SIGNED, trusting(TrustedKey(KEY.verifier, usages=("ledger",)), policy=TrustPolicy("deny")), {}, "unsigned"),
        (SIGNED, trusting(ACTIVE, policy=TrustPolicy(threshold=2)), {}, "unsigned"),
        (SIGNED, trusting(REVOKED), {"allow_unsigned": True}, "failing_signatures"),
        (SIGNED, trusting(ACTIVE, denied_digests=frozenset({DIGEST})), {}, "denied_digest"),
        (UNSIGNED, TrustStore(denied_digests=frozenset({DIGEST})), {"allow_unsigned": True}, "denied_digest"),
        (a_legacy_zip(), trusting(ACTIVE), {}, "unsigned"),
        (a_legacy_zip(), TrustStore(denied_digests=frozenset({hashlib.sha256(a_legacy_zip()).hexdigest()})), {}, "denied_digest"),
    ],
    ids=["unsigned", "stranger", "glob", "late", "no-clock", "retired", "usage", "threshold", "revoked",
         "denied", "denied-unsigned", "older", "older-denied"],
)  # fmt: skip
def test_a_bundle_that_is_refused(data, trust, options, rule):
    with pytest.raises(Untrusted) as caught:
        verify_bundle(data, trust, **options)

    assert caught.value.details["rule"] == rule
    assert caught.value.exit_code == 3


def test_one_key_twice_does_not_meet_a_threshold():
    alias = SigningKey.from_seed("acme.example/alias", bytes(range(32)))
    twice = sign_bundle(SIGNED, alias)
    trust = trusting(ACTIVE, TrustedKey(alias.verifier), policy=TrustPolicy(threshold=2))

    with pytest.raises(Untrusted):
        verify_bundle(twice, trust)


def test_a_bad_signature_beside_a_good_one_is_reported():
    members = read_archive(sign_bundle(SIGNED, SECOND))
    members["signatures/acme.example-review.dsse.json"] = b"{}"

    verdict = verify_bundle(write_archive(members), trusting(ACTIVE))

    assert [report.state for report in verdict.signatures] == ["trusted", "bad"]
    assert len(verdict.warnings) == 1
