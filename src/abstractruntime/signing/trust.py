"""The trust store: which keys may vouch for what, and what happens to the unsigned.

1. The algorithm and the usages of a key come from its entry here, never from a signature.
2. `retired` keys vouch only for bundles that were accepted for them before; `revoked` for nothing.
   That holds for the key itself, whatever names it is entered under.
3. Nothing that ends trust makes more acceptable: where a key was ever trusted for bundles, the
   unsigned are refused until the policy says otherwise.
4. A key with a validity window is usable only when the caller says what time it is.
5. Everything is a value and a pure function; `load_trust` and `save_trust` are the edge.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from abstractruntime._files import read_unshared, write_atomic
from abstractruntime._json import load_strict, why_unread
from abstractruntime._text import shell_word
from abstractruntime.errors import AbstractRuntimeError, NotFound, UnsupportedFormat, UsageError
from abstractruntime.signing.keys import VerifierKey, parse_vkey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

VERSION: Final = 1
_FILE_LIMIT: Final = 4 * 1024 * 1024

KeyStatus = Literal["active", "retired", "revoked"]
UnsignedPolicy = Literal["deny", "warn", "allow"]
Usage = Literal["bundle", "ledger"]
_WORST_FIRST: Final[tuple[KeyStatus, ...]] = ("revoked", "retired", "active")
_MEANING: Final = {"bundle": "bundles", "ledger": "ledgers"}


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key and what it may vouch for.

    Attributes:
        bundles: Globs over bundle ids.
        since: When it got its status, if that was ever changed.
        reason: Why it was.
        earlier: In words, how a revoked key stood when it was retired before.
    """

    key: VerifierKey
    usages: tuple[Usage, ...] = ("bundle",)
    bundles: tuple[str, ...] = ("*",)
    status: KeyStatus = "active"
    not_before: str | None = None
    not_after: str | None = None
    reason: str | None = None
    since: str | None = None
    earlier: str | None = None

    def __post_init__(self) -> None:
        for moment in (self.not_before, self.not_after, self.since):
            if moment is not None:
                _parse_time(moment)

    def is_current(self, now: datetime | None) -> bool:
        """Say whether `now` lies in the validity window; without a clock, only if there is none."""
        if self.not_before is None and self.not_after is None:
            return True
        if now is None:
            return False
        begun = self.not_before is None or _parse_time(self.not_before) <= now
        return begun and (self.not_after is None or now < _parse_time(self.not_after))

    @property
    def standing(self) -> str:
        """Give the status in words: `revoked on 2026-03-01: laptop lost`."""
        day = f" on {_parse_time(self.since).date()}" if self.since else ""
        return f"{self.status}{day}{f': {self.reason}' if self.reason else ''}"

    def may_sign_bundle(self, bundle_id: str) -> bool:
        return "bundle" in self.usages and any(fnmatchcase(bundle_id, g) for g in self.bundles)


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What a verdict must meet; `unsigned` None means deny once there is a key for bundles."""

    unsigned: UnsignedPolicy | None = None
    threshold: int = 1
    unsigned_tail_max: int | None = None
    require_signed_ledger: bool = False


@dataclass(frozen=True, slots=True)
class TrustStore:
    """All trust decisions of one user, as a value."""

    keys: tuple[TrustedKey, ...] = ()
    policy: TrustPolicy = field(default_factory=TrustPolicy)
    denied_digests: frozenset[str] = frozenset()
    allowed_digests: frozenset[str] = frozenset()

    @property
    def unsigned_bundles(self) -> UnsignedPolicy:
        """Give the policy in force for bundles without a trusted signature."""
        if self.policy.unsigned is not None:
            return self.policy.unsigned
        return "deny" if any("bundle" in k.usages for k in self.keys) else "warn"

    @property
    def _knows_hosts(self) -> bool:
        return any("ledger" in entry.usages for entry in self.keys)

    def status_of(self, key: VerifierKey) -> KeyStatus | None:
        """Give what a key is, under whatever names; None when it is not entered."""
        found = {entry.status for entry in self.keys if entry.key.public == key.public}
        return next((status for status in _WORST_FIRST if status in found), None)

    def why_not_sign(
        self,
        key: VerifierKey,
        usage: Usage,
        bundle_id: str | None = None,
        *,
        now: datetime | None = None,
    ) -> str | None:
        """Say why nobody who decides as this store does would count a signature made now."""
        entries = [entry for entry in self.keys if entry.key.public == key.public]
        if not entries:
            return None
        if self.status_of(key) != "active":
            return f"it was {self.standing_of(key)}"
        fit = [entry for entry in entries if usage in entry.usages]
        if not fit:
            return (
                f"it vouches for {' and '.join(_MEANING[name] for name in entries[0].usages)} only"
            )
        if bundle_id is not None and not any(entry.may_sign_bundle(bundle_id) for entry in fit):
            return f"it may sign {', '.join(g for entry in fit for g in entry.bundles)} only"
        if (
            usage == "bundle"
            and now is not None
            and not any(entry.is_current(now) for entry in fit)
        ):
            window = f"from {fit[0].not_before or 'ever'} to {fit[0].not_after or 'ever'}"
            return f"it is valid {window}"
        return None

    def standing_of(self, key: VerifierKey) -> str:
        """Give the status of a key in words, under whatever name it has the worst; empty for none."""
        status = self.status_of(key)
        found = (e for e in self.keys if e.key.public == key.public and e.status == status)
        return max((entry.standing for entry in found), key=len, default="")

    def revoked_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Give those of some signers whose key was revoked, under whatever name."""
        known = {entry.key.label: entry.key for entry in self.keys}
        return tuple(
            label
            for label in labels
            if label in known and self.status_of(known[label]) == "revoked"
        )

    def bundle_keys(
        self, bundle_id: str, *, vouched: Collection[str] = (), now: datetime | None = None
    ) -> tuple[VerifierKey, ...]:
        """Give the keys that may vouch for this bundle.

        Those whose labels are in `vouched` did when it was accepted before: they may be retired
        or out of their time since.
        """
        return tuple(
            entry.key
            for entry in self.keys
            if entry.may_sign_bundle(bundle_id)
            and (
                self.status_of(entry.key) in {"active", "retired"}
                if entry.key.label in vouched
                else self.status_of(entry.key) == "active" and entry.is_current(now)
            )
        )

    def ledger_keys(self) -> tuple[VerifierKey, ...]:
        """Give the keys that may sign heads: active and retired host keys."""
        entries = (entry for entry in self.keys if "ledger" in entry.usages)
        return tuple(e.key for e in entries if self.status_of(e.key) != "revoked")

    def revoked_ledger_keys(self) -> dict[VerifierKey, str]:
        """Give the host keys that were revoked, each with its standing."""
        entries = (entry for entry in self.keys if "ledger" in entry.usages)
        return {
            e.key: self.standing_of(e.key) for e in entries if self.status_of(e.key) == "revoked"
        }

    def find(self, label: str) -> TrustedKey:
        """Find a key by `<name>+<8 hex>`, or by name alone when only one has it.

        Raises:
            NotFound: no key matches.
            UsageError: several do.
        """
        found = [k for k in self.keys if label in (k.key.label, k.key.name, k.key.vkey)]
        if not found:
            known = [k.key.label for k in self.keys]
            raise NotFound(f"no trusted key '{label}'", hint="art key list", known=known)
        if len(found) > 1:
            labels = [k.key.label for k in found]
            raise UsageError(
                f"'{label}' names several keys: {', '.join(labels)}", hint="add '+<id>'"
            )
        return found[0]

    def with_key(self, entry: TrustedKey) -> TrustStore:
        """Add a key, or replace the entry of the same public key and name.

        Its status is from now on that of the key under every name.

        Raises:
            UsageError: the key was revoked, which is for good; or no key for ledgers would be left.
        """
        if self.status_of(entry.key) == "revoked" and entry.status != "revoked":
            raise UsageError(
                f"key '{entry.key.label}' was revoked for good", hint="make and trust a new key"
            )
        others = tuple(
            _with_standing(k, entry) if k.key.public == entry.key.public else k
            for k in self.keys
            if k.key != entry.key
        )
        changed = replace(self, keys=(*others, entry))
        if self._knows_hosts and not changed._knows_hosts:  # noqa: SLF001 - same class
            # Hazard: without any, what a stranger signed would count as unsigned.
            raise UsageError(
                f"key '{entry.key.label}' is the only one for ledgers",
                hint="add --usage host to keep that; or make another host key first; or end it:"
                f" art key revoke {shell_word(entry.key.label)} --retire",
                argument="--usage",
            )
        if self.unsigned_bundles == changed.unsigned_bundles or self.unsigned_bundles != "deny":
            return changed
        return replace(changed, policy=replace(self.policy, unsigned="deny"))

    def with_status(
        self,
        label: str,
        status: KeyStatus,
        *,
        reason: str | None = None,
        now: datetime | None = None,
    ) -> TrustStore:
        """Change the status of a key.

        Raises:
            NotFound: no key matches.
            UsageError: several do, or a revoked key would come back.
        """
        entry = self.find(label)
        same = (e for e in self.keys if e.key.public == entry.key.public and e.status == status)
        if self.status_of(entry.key) == status and (decided := next(same, None)):
            # What was decided first stays on record.
            first = replace(decided, reason=decided.reason or reason)
            return self.with_key(_with_standing(entry, first))
        since = now.astimezone(timezone.utc).isoformat(timespec="seconds") if now else None
        earlier = entry.standing if entry.status == "retired" else None
        return self.with_key(
            replace(entry, status=status, since=since, reason=reason, earlier=earlier)
        )


def _with_standing(entry: TrustedKey, other: TrustedKey) -> TrustedKey:
    """Give an entry with the status of another one of the same key, and why it has that."""
    return replace(
        entry, status=other.status, since=other.since, reason=other.reason, earlier=other.earlier
    )


def parse_trust(data: bytes) -> TrustStore:
    """Read the JSON form of a trust store.

    Raises:
        UsageError: a field is wrong; unknown fields are refused, they might restrict something.
        UnsupportedFormat: written by a newer version.
    """
    try:
        raw = load_strict(data.decode())
    except (ValueError, RecursionError) as cause:
        raise UsageError(f"trust store is not JSON: {why_unread(cause)}") from cause
    _check_keys(
        raw, {"version", "keys", "policy", "denied_digests", "allowed_digests"}, "trust store"
    )
    if raw.get("version") != VERSION:
        raise UnsupportedFormat(
            f"trust store has version {raw.get('version')!r}, this program reads {VERSION}",
            found=raw.get("version"),
            supported=[VERSION],
        )
    return TrustStore(
        keys=tuple(_parse_entry(item) for item in _list(raw, "keys")),
        policy=_parse_policy(raw.get("policy", {})),
        denied_digests=frozenset(_texts(raw, "denied_digests")),
        allowed_digests=frozenset(_texts(raw, "allowed_digests")),
    )


def _parse_entry(raw: Any) -> TrustedKey:
    allowed = {"vkey", "usages", "bundles", "status", "not_before", "not_after"}
    allowed |= {"reason", "since", "earlier"}
    _check_keys(raw, allowed, "key entry")
    if not isinstance(raw.get("vkey"), str):
        raise UsageError("key entry of the trust store has no 'vkey' text")
    usages = _texts(raw, "usages", ["bundle"])
    status = raw.get("status", "active")
    if not set(usages) <= set(get_args(Usage)) or status not in get_args(KeyStatus):
        raise UsageError(
            f"key entry has usages {usages!r} and status {status!r}",
            hint="usages are 'bundle' and 'ledger'; status is active, retired or revoked",
        )
    names = ("not_before", "not_after", "reason", "since", "earlier")
    moments = [_optional_text(raw, name) for name in names]
    bundles = tuple(_texts(raw, "bundles", ["*"]))
    return TrustedKey(parse_vkey(raw["vkey"]), tuple(usages), bundles, status, *moments)  # type: ignore[arg-type] # membership checked above


def _parse_policy(raw: Any) -> TrustPolicy:
    _check_keys(raw, {"bundle", "ledger"}, "policy")
    bundle, ledger = raw.get("bundle", {}), raw.get("ledger", {})
    _check_keys(bundle, {"unsigned", "threshold"}, "bundle policy")
    _check_keys(ledger, {"unsigned_tail_max", "require_signed"}, "ledger policy")
    unsigned, threshold = bundle.get("unsigned"), bundle.get("threshold", 1)
    tail, required = ledger.get("unsigned_tail_max"), ledger.get("require_signed", False)
    if unsigned is not None and unsigned not in get_args(UnsignedPolicy):
        raise UsageError(f"policy 'unsigned' is {unsigned!r}, expected deny, warn or allow")
    if type(threshold) is not int or threshold < 1:
        raise UsageError(f"policy 'threshold' is {threshold!r}, expected a number from 1")
    if tail is not None and (type(tail) is not int or tail < 0):
        raise UsageError(f"policy 'unsigned_tail_max' is {tail!r}, expected a number from 0")
    if type(required) is not bool:
        raise UsageError(f"policy 'require_signed' is {required!r}, expected true or false")
    return TrustPolicy(unsigned, threshold, tail, required)


def _check_keys(raw: Any, allowed: set[str], what: str) -> None:
    if not isinstance(raw, dict):
        raise UsageError(f"{what} is not a JSON object")
    unknown = sorted(set(raw) - allowed)
    if unknown:
        raise UsageError(f"{what} has unknown fields {unknown}", hint=f"known: {sorted(allowed)}")


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    value = raw.get(name, [])
    if not isinstance(value, list):
        raise UsageError(f"'{name}' of the trust store is not a list")
    return value


def _texts(raw: dict[str, Any], name: str, default: Iterable[str] = ()) -> list[str]:
    value = raw.get(name, list(default))
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"'{name}' of the trust store is not a list of texts")
    return value


def _optional_text(raw: dict[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"'{name}' of a key entry is not text")
    return value


def _parse_time(text: str) -> datetime:
    try:
        # Python 3.10 does not read the suffix Z.
        moment = datetime.fromisoformat(
            text.removesuffix("Z") + ("+00:00" if text[-1:] == "Z" else "")
        )
    except ValueError as cause:
        raise UsageError(f"{text!r} is not an ISO-8601 time") from cause
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def render_trust(store: TrustStore) -> bytes:
    """Write the JSON form."""
    policy = store.policy
    bundle = {"unsigned": policy.unsigned, "threshold": policy.threshold}
    ledger: dict[str, Any] = {"unsigned_tail_max": policy.unsigned_tail_max}
    if policy.require_signed_ledger:
        ledger["require_signed"] = True
    data = {
        "version": VERSION,
        "keys": [_render_entry(entry) for entry in store.keys],
        "policy": {"bundle": _present(bundle), "ledger": _present(ledger)},
        "denied_digests": sorted(store.denied_digests),
        "allowed_digests": sorted(store.allowed_digests),
    }
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()


def _render_entry(entry: TrustedKey) -> dict[str, Any]:
    return _present(
        {
            "vkey": entry.key.vkey,
            "usages": list(entry.usages),
            "bundles": list(entry.bundles),
            "status": entry.status,
            "not_before": entry.not_before,
            "not_after": entry.not_after,
            "reason": entry.reason,
            "since": entry.since,
            "earlier": entry.earlier,
        }
    )


def _present(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def load_trust(path: Path) -> TrustStore:
    """Read a trust store; a missing file is the empty one.

    Raises:
        UsageError: the file is not a trust store.
        Refused: somebody else could have written or removed it.
    """
    try:
        data = read_unshared(path, _FILE_LIMIT, what="the trust store")
    except NotFound:
        return TrustStore()
    try:
        return parse_trust(data)
    except AbstractRuntimeError as cause:
        cause.details.setdefault("path", str(path))
        raise


def save_trust(store: TrustStore, path: Path) -> None:
    """Replace the trust store file atomically."""
    write_atomic(path, render_trust(store), mode=0o600)
