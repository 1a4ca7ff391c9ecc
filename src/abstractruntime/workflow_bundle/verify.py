"""Signing bundles, and deciding whether one may be used.

The order of checks is: size limits, canonical container, envelopes, statement against the
manifest's bytes, manifest, members, denied list, policy, flow documents. No flow is parsed
before its bundle is trusted, and the bytes that were verified are the bytes that are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from abstractruntime.errors import IntegrityError, Untrusted
from abstractruntime.signing.envelope import (
    create_envelope,
    parse_envelope,
    parse_statement,
    render_statement,
    verify_envelope,
)
from abstractruntime.signing.keys import file_safe_name
from abstractruntime.workflow_bundle._archive import (
    MANIFEST,
    SIGNATURES,
    read_archive,
    write_archive,
)
from abstractruntime.workflow_bundle._content import check_files, check_flows, manifest_digest
from abstractruntime.workflow_bundle._errors import (
    BundleArchiveError,
    WorkflowBundleError,
)
from abstractruntime.workflow_bundle._manifest import parse_manifest
from abstractruntime.workflow_bundle._zip import DEFAULT_LIMITS, Limits
from abstractruntime.workflow_bundle.models import PROFILE, WorkflowBundle
from abstractruntime.workflow_bundle.reader import read_bundle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from abstractruntime.signing.envelope import Statement
    from abstractruntime.signing.keys import SigningKey, VerifierKey
    from abstractruntime.signing.trust import TrustStore
    from abstractruntime.workflow_bundle.models import WorkflowBundleManifest

FORMAT: Final = "art-verify-bundle/1"

Trust = Literal["signed", "allowed_digest", "unsigned_allowed", "unsigned_warn"]
_ANOTHER_KEY: Final = "ask its publisher to sign it with a key that counts here: art key list"
SignatureState = Literal["trusted", "unknown_key", "not_for_this_bundle", "revoked", "bad"]


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """What one envelope came to."""

    member: str
    state: SignatureState
    signers: tuple[str, ...] = ()
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "member": self.member,
            "state": self.state,
            "signers": list(self.signers),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class BundleVerdict:
    """A bundle that may be used, and why; `bundle` holds the very bytes that were verified."""

    bundle: WorkflowBundle
    digest: str
    rule: Trust
    signers: tuple[str, ...]
    signatures: tuple[SignatureReport, ...]
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["valid", "valid_unsigned"]:
        return "valid" if self.rule in ("signed", "allowed_digest") else "valid_unsigned"

    def to_dict(self) -> dict[str, Any]:
        """Give the verify document."""
        manifest = self.bundle.manifest
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "bundle_id": manifest.bundle_id,
            "bundle_version": manifest.bundle_version,
            "digest": self.digest,
            "rule": self.rule,
            "signers": list(self.signers),
            "signatures": [report.to_dict() for report in self.signatures],
            "warnings": list(self.warnings),
        }


def sign_bundle(data: bytes, key: SigningKey, *, signed_at: str | None = None) -> bytes:
    """Give the archive with this key's signature added; the digest does not change.

    Signing again with the same key replaces its signature.

    Raises:
        WorkflowBundleError: not a canonical bundle with a profile, or too many signatures.
    """
    members = read_archive(data)
    envelope = create_detached(members, key, signed_at=signed_at)
    members[_signature_path(members, key)] = envelope
    return write_archive(members)


def create_detached(
    members: Mapping[str, bytes], key: SigningKey, *, signed_at: str | None = None
) -> bytes:
    """Give the envelope in which this key vouches for these members."""
    manifest = parse_manifest(members[MANIFEST])
    if manifest.profile is None:
        raise WorkflowBundleError(
            f"bundle '{manifest.bundle_id}' has no profile, so its manifest does not commit to"
            " its members and cannot be signed",
            hint="compile it into a .flowbundle",
        )
    check_files(manifest, members)
    predicate = {
        "bundle_id": manifest.bundle_id,
        "bundle_version": manifest.bundle_version,
        "profile": PROFILE,
    }
    if signed_at is not None:
        predicate["signed_at"] = signed_at
    return create_envelope(render_statement(manifest_digest(members), predicate), [key])


def _signature_path(members: Mapping[str, bytes], key: SigningKey) -> str:
    plain = f"{SIGNATURES}{file_safe_name(key.name)}.dsse.json"
    held = members.get(plain)
    if held is None or any(
        signature.key_hint == key.verifier.label for signature in parse_envelope(held).signatures
    ):
        return plain
    return f"{SIGNATURES}{file_safe_name(key.name)}-{key.key_id.hex()}.dsse.json"


def strip_signatures(data: bytes) -> bytes:
    """Give the unsigned archive inside a signed one."""
    members = read_archive(data)
    return write_archive({n: b for n, b in members.items() if not n.startswith(SIGNATURES)})


def verify_bundle(
    data: bytes,
    trust: TrustStore,
    *,
    allow_unsigned: bool = False,
    detached: Iterable[bytes] = (),
    vouched: Collection[str] = (),
    now: datetime | None = None,
    source: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> BundleVerdict:
    """Decide whether an archive may be used, and give it opened.

    Args:
        data: The archive.
        trust: Whose signatures count, and what holds for the unsigned.
        allow_unsigned: Accept a bundle without trusted signature; never one whose signatures fail.
        detached: More envelopes, from files beside the archive.
        vouched: Who signed this very bundle when it was accepted before; retired, they still count.
        now: The time, for keys with a validity window; without it such keys do not count.
        source: Names the archive in the result.
        limits: How much of the archive is looked at.

    Raises:
        BundleArchiveError: the container or a member is not what it must be.
        WorkflowBundleError: manifest or a flow breaks a rule.
        Untrusted: denied, failing signatures, or policy; `details["rule"]` says which.
    """
    path = source or Path("bundle.flowbundle")
    try:
        members = read_archive(data, limits=limits)
    except BundleArchiveError:
        return _judge_older(
            read_bundle(data, path, limits=limits), trust, allow_unsigned=allow_unsigned
        )
    digest = manifest_digest(members)
    envelopes = {name: body for name, body in members.items() if name.startswith(SIGNATURES)}
    envelopes.update({f"detached {i}": body for i, body in enumerate(detached)})
    read = [_read_envelope(name, body, digest, trust) for name, body in envelopes.items()]
    manifest = parse_manifest(members[MANIFEST])
    if manifest.profile is None:
        _refuse_ineffective(read, digest)
        return _judge_older(
            read_bundle(data, path, limits=limits), trust, allow_unsigned=allow_unsigned
        )
    check_files(manifest, members)
    judged = _Judge(trust, manifest, digest, vouched, now)
    verdict = judged.decide(
        read, WorkflowBundle(path, manifest, members, digest), allow_unsigned=allow_unsigned
    )
    check_flows(verdict.bundle)
    return verdict


@dataclass(frozen=True, slots=True)
class _ReadEnvelope:
    """An envelope after its cryptographic check: who signed, or why it counts for nothing."""

    member: str
    keys: tuple[VerifierKey, ...] = ()
    statement: Statement | None = None
    bad: str | None = None


def _read_envelope(member: str, body: bytes, digest: str, trust: TrustStore) -> _ReadEnvelope:
    try:
        envelope = parse_envelope(body)
        statement = parse_statement(envelope.payload)
    except IntegrityError as cause:
        return _ReadEnvelope(member, bad=str(cause))
    if statement.digest != digest:
        return _ReadEnvelope(member, bad=f"speaks about the bundle {statement.digest[:64]!r}")
    # Those for something else, too: what they signed counts for nothing, but is told.
    known = [entry.key for entry in trust.keys]
    hinted = {signature.key_hint for signature in envelope.signatures}
    # Of several names of one key the last counts: the one that the signature has.
    keys = verify_envelope(envelope, sorted(known, key=lambda key: key.label in hinted))
    if not keys and hinted & {key.label for key in known}:
        return _ReadEnvelope(member, bad="signature in the name of a known key does not hold")
    return _ReadEnvelope(member, keys, statement)


def _refuse_ineffective(read: list[_ReadEnvelope], digest: str) -> None:
    if read:
        raise Untrusted(
            "bundle carries signatures but no profile, so they cover nothing",
            digest=digest,
            signers=[],
            rule="no_profile",
            signatures=[item.member for item in read],
        )


@dataclass(frozen=True, slots=True)
class _Judge:
    """The policy side: from envelopes that hold to a decision."""

    trust: TrustStore
    manifest: WorkflowBundleManifest
    digest: str
    vouched: Collection[str]
    now: datetime | None

    def decide(
        self, read: Iterable[_ReadEnvelope], bundle: WorkflowBundle, *, allow_unsigned: bool
    ) -> BundleVerdict:
        reports, signers = self._reports(read)
        labels = tuple(sorted(key.label for key in signers))
        _refuse_denied(self.trust, self.digest, labels)
        warnings = tuple(f"{r.member}: {r.reason}" for r in reports if r.reason)
        rule = self._rule(reports, len(signers), labels, allow_unsigned=allow_unsigned)
        return BundleVerdict(bundle, self.digest, rule, labels, tuple(reports), warnings)

    def _reports(
        self, read: Iterable[_ReadEnvelope]
    ) -> tuple[list[SignatureReport], set[VerifierKey]]:
        trusted = self.trust.bundle_keys(
            self.manifest.bundle_id, vouched=self.vouched, now=self.now
        )
        reports: list[SignatureReport] = []
        # Hazard: a key under two names is one signer.
        signers: dict[bytes, VerifierKey] = {}
        for item in read:
            good = [found for key in item.keys if (found := _among(trusted, key))]
            report = self._report(item, tuple(key.label for key in good))
            reports.append(report)
            if report.state == "trusted":
                for key in good:
                    signers.setdefault(key.public, key)
        return reports, set(signers.values())

    def _report(self, item: _ReadEnvelope, good: tuple[str, ...]) -> SignatureReport:
        if item.bad is not None or item.statement is None:
            return SignatureReport(item.member, "bad", reason=item.bad)
        said = item.statement.predicate
        if (said.get("bundle_id"), said.get("bundle_version")) != (
            self.manifest.bundle_id,
            self.manifest.bundle_version,
        ):
            return SignatureReport(item.member, "bad", reason="names another bundle or version")
        labels = tuple(key.label for key in item.keys)
        if good:
            ended = [key for key in item.keys if self.trust.status_of(key) != "active"]
            return SignatureReport(item.member, "trusted", good, _joined(map(self._why_not, ended)))
        if not item.keys:
            return SignatureReport(item.member, "unknown_key", reason="signed by no known key")
        is_revoked = all(self.trust.status_of(key) == "revoked" for key in item.keys)
        state: SignatureState = "revoked" if is_revoked else "not_for_this_bundle"
        return SignatureReport(item.member, state, labels, _joined(map(self._why_not, item.keys)))

    def _why_not(self, key: VerifierKey) -> str:
        """Say who signed, and why that counts for nothing new."""
        if self.trust.status_of(key) != "active":
            return f"signed by {key.label}, {self.trust.standing_of(key)}"
        bundle_id = self.manifest.bundle_id
        if why := self.trust.why_not_sign(key, "bundle", bundle_id, now=self.now):
            return f"signed by {key.label}, but {why}"
        return f"signed by {key.label}, but the time is not known"

    def _rule(
        self,
        reports: list[SignatureReport],
        signed_by: int,
        labels: tuple[str, ...],
        *,
        allow_unsigned: bool,
    ) -> Trust:
        if signed_by >= self.trust.policy.threshold:
            return "signed"
        if self.digest in self.trust.allowed_digests:
            return "allowed_digest"
        if reports and all(report.state in ("bad", "revoked") for report in reports):
            reasons = "; ".join(f"{r.member}: {r.reason}" for r in reports)
            is_bad = any(report.state == "bad" for report in reports)
            raise Untrusted(
                f"every signature of bundle '{self.manifest.bundle_id}' fails: {reasons}",
                hint="get the bundle again from its publisher" if is_bad else _ANOTHER_KEY,
                digest=self.digest,
                signers=[],
                rule="failing_signatures",
                signatures=[report.to_dict() for report in reports],
            )
        return _unsigned_rule(
            self.trust, self.manifest, self.digest, labels, reports, allow_unsigned=allow_unsigned
        )


def _judge_older(
    bundle: WorkflowBundle, trust: TrustStore, *, allow_unsigned: bool
) -> BundleVerdict:
    """Decide about a bundle whose format knows no signatures."""
    digest = bundle.digest or ""
    _refuse_denied(trust, digest, ())
    if digest in trust.allowed_digests:
        return BundleVerdict(bundle, digest, "allowed_digest", (), ())
    rule = _unsigned_rule(trust, bundle.manifest, digest, (), (), allow_unsigned=allow_unsigned)
    warning = "bundle of an older format, which cannot be signed"
    return BundleVerdict(bundle, digest, rule, (), (), (warning,))


def _refuse_denied(trust: TrustStore, digest: str, signers: tuple[str, ...]) -> None:
    if digest in trust.denied_digests:
        raise Untrusted(
            f"bundle {digest} is on the denied list",
            digest=digest,
            signers=list(signers),
            rule="denied_digest",
        )


def _unsigned_rule(
    trust: TrustStore,
    manifest: WorkflowBundleManifest,
    digest: str,
    signers: tuple[str, ...],
    reports: Sequence[SignatureReport],
    *,
    allow_unsigned: bool,
) -> Trust:
    if allow_unsigned or trust.unsigned_bundles == "allow":
        return "unsigned_allowed"
    if trust.unsigned_bundles == "warn":
        return "unsigned_warn"
    reasons = [f"{r.member}: {r.reason}" for r in reports if r.reason and r.state != "trusted"]
    is_known = any(report.state in ("revoked", "not_for_this_bundle") for report in reports)
    publisher = _ANOTHER_KEY if is_known else "trust its publisher with 'art key trust VKEY'"
    raise Untrusted(
        f"bundle '{manifest.bundle_id}' has {len(signers)} trusted signatures,"
        f" the trust store asks for {trust.policy.threshold}"
        + "".join(f"; {reason}" for reason in reasons),
        hint=f"{publisher}, or pass --allow-unsigned",
        digest=digest,
        signers=list(signers),
        rule="unsigned",
        signatures=[report.to_dict() for report in reports],
    )


def _among(trusted: Sequence[VerifierKey], key: VerifierKey) -> VerifierKey | None:
    """Give the entry of a key that counts, that of this name if there is one."""
    same = [found for found in trusted if found.public == key.public]
    return key if key in same else next(iter(same), None)


def _joined(reasons: Iterable[str]) -> str | None:
    return "; ".join(dict.fromkeys(reasons)) or None
