"""`art key`: make keys and decide whom to trust."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.cli._confirm import YesOption, require_consent
from abstractruntime.cli._keyring import (
    key_directory,
    own_keys,
    read_public_key,
    read_trust,
    trust_path,
    write_trust,
)
from abstractruntime.cli._output import Output
from abstractruntime.cli._session import Session
from abstractruntime.errors import NotFound, UsageError
from abstractruntime.signing import KeyEntry, TrustedKey, TrustStore, generate, save_signing_key
from abstractruntime.signing.keys import VerifierKey, begun_key, unfinished_keys
from abstractruntime.signing.trust import Usage

_USAGES: Mapping[str, Usage] = {"bundle": "bundle", "host": "ledger", "ledger": "ledger"}

UsageOption = Annotated[
    list[str],
    typer.Option("--usage", metavar="bundle|host", help="What the key vouches for; repeatable."),
]
BundleOption = Annotated[
    list[str],
    typer.Option("--bundle", metavar="GLOB", help="Bundle ids it may sign; repeatable."),
]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Name, or name+id.")]
UNENCRYPTED = "the private key has no passphrase; set ART_KEY_PASSPHRASE to give it one"


def new(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as example.org/release.")],
    usage: UsageOption = [],  # noqa: B006 - the parser makes a new list for each call
    bundle: BundleOption = [],  # noqa: B006 - the parser makes a new list for each call
) -> int:
    """Make a key pair on this machine, and trust it; or finish one whose making was interrupted.

    The private key is encrypted with the passphrase in ART_KEY_PASSPHRASE or in the file
    that ART_KEY_PASSPHRASE_FILE names.
    """
    usages = parse_usages(usage)
    bundles = parse_bundles(bundle)
    trust = read_trust(session)
    passphrase = session.passphrase
    entry = begun_key(name, key_directory(session), passphrase=passphrase)
    if entry is not None and trust.status_of(entry.key) is None:
        session.out.note(f"finishes the key that was begun before: {entry.private_path}")
    else:
        entry = save_signing_key(generate(name), key_directory(session), passphrase=passphrase)
    trusted = TrustedKey(entry.key, usages, bundles)
    write_trust(session, trust.with_key(trusted))
    if passphrase is None:
        session.out.note(UNENCRYPTED)
    session.out.note(f"trusted on this machine: {trust_path(session)}")
    emit_key(session, trusted, entry)
    return 0


def emit_key(session: Session, trusted: TrustedKey, entry: KeyEntry) -> None:
    """Show a key of this machine."""
    _emit(session, [_describe(trusted, entry)], full=True)


def list_(session: Session) -> int:
    """List own and trusted keys."""
    trust = read_trust(session)
    _emit(session, all_keys(trust, own_keys(session)))
    if not (trust.keys or own_keys(session)):
        session.out.note("no keys, neither own nor trusted")
        session.out.note("  = hint: make one: art key new NAME; or trust one: art key trust VKEY")
    for message, hint in unfinished(session, trust):
        session.out.note(f"note: {message}")
        session.out.note(f"  = hint: {hint}")
    return 0


def unfinished(session: Session, trust: TrustStore) -> Iterator[tuple[str, str]]:
    """Give what an interrupted `art key new` left, and what to do with it."""
    for path in unfinished_keys(key_directory(session)):
        if path.suffix == ".tmp":
            yield (
                f"'{path}' is what an interrupted write left of a private key",
                f"rm {shell_word(path)}",
            )
        else:
            hint = f"finish it: art key new {shell_word(path.stem)}; or remove it: rm {shell_word(path)}"
            yield f"'{path}' has no public line: its making was interrupted", hint
    for entry in own_keys(session):
        if entry.private_path is not None and trust.status_of(entry.key) is None:
            why = "it came from elsewhere, or its making was interrupted"
            hint = f"trust it: art key new {shell_word(entry.key.name)}"
            yield f"your key '{entry.key.label}' is not trusted here: {why}", hint


def show(session: Session, key: KeyArgument) -> int:
    """Show one key, with its public line."""
    keys = all_keys(read_trust(session), own_keys(session))
    found = [item for item in keys if key in (item["name"], item["label"])]
    if not found:
        raise NotFound(
            f"no key {key!r}", hint="see: art key list", kind="key", id=key,
            known=[item["label"] for item in keys],
        )  # fmt: skip
    _emit(session, found, full=True)
    return 0


def trust(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="VKEY|FILE", help="Public key line, or its file.")],
    usage: UsageOption = [],  # noqa: B006 - the parser makes a new list for each call
    bundle: BundleOption = [],  # noqa: B006 - the parser makes a new list for each call
    again: Annotated[bool, typer.Option("--again", help="Even if the key was retired.")] = False,
) -> int:
    """Trust someone's public key. One that was revoked stays so, under every name."""
    public = read_public_key(key)
    store = read_trust(session)
    require_trustable(store, public, again=again)
    entry = entry_of(store, public, usage, bundle)
    write_trust(session, store.with_key(entry))
    _emit(session, [_describe(entry, None)], full=True)
    return 0


def entry_of(
    store: TrustStore, key: VerifierKey, usage: Iterable[str], bundle: Iterable[str]
) -> TrustedKey:
    """Give the entry of a key that is trusted: what is not said stays as it was, under any name."""
    same = [entry for entry in store.keys if entry.key.public == key.public]
    known = next((entry for entry in same if entry.key == key), next(iter(same), TrustedKey(key)))
    return TrustedKey(
        key,
        parse_usages(usage) if usage else known.usages,
        parse_bundles(bundle) if bundle else known.bundles,
        not_before=known.not_before,
        not_after=known.not_after,
    )


def require_trustable(store: TrustStore, key: VerifierKey, *, again: bool = False) -> None:
    """Do nothing when a key can be trusted.

    Raises:
        UsageError: it is nobody's, revoked, or retired and not to be trusted again.
    """
    if key.is_weak:
        raise UsageError(
            f"key '{key.label}' is no key: its point is of small order, or none of the curve, so"
            " that anybody could sign for it, or nobody",
            hint="ask its owner for the public key again",
        )
    status = store.status_of(key)
    if status == "revoked":
        raise UsageError(
            f"key '{key.label}' was {store.standing_of(key)}; that is for good",
            hint="ask its owner for a new key",
        )
    if status == "retired" and not again:
        raise UsageError(
            f"key '{key.label}' was {store.standing_of(key)}",
            hint=f"to trust it as before: art key trust {shell_word(key.vkey)} --again",
        )


def revoke(
    session: Session,
    key: KeyArgument,
    reason: Annotated[str | None, typer.Option("--reason", help="Kept with the key.")] = None,
    retire: Annotated[
        bool,
        typer.Option(
            "--retire", help="Accept nothing new; installed bundles and old ledgers stay good."
        ),
    ] = False,
    yes: YesOption = False,
) -> int:
    """Stop trusting a key, under every name, and let it sign nothing more.

    Revoked, it vouches for nothing, also of what it signed before; that cannot be undone.
    """
    if not retire:
        standing = read_trust(session).find(key).key.label
        require_consent(f"Revoke key '{standing}'?", yes=yes)
    from abstractruntime._ports_system import SystemClock

    store = read_trust(session).with_status(
        key, "retired" if retire else "revoked", reason=reason, now=SystemClock().now()
    )
    write_trust(session, store)
    _emit(session, [_describe(store.find(key), None)], full=True)
    return 0


def parse_bundles(values: Iterable[str]) -> tuple[str, ...]:
    """Give the globs over bundle ids; none means all.

    Raises:
        UsageError: one is empty, or opens a set that nothing closes: no bundle id fits it.
    """
    globs = tuple(values)
    if unclosed := next((g for g in globs if "[" in re.sub(r"\[[^\]]+\]", "", g)), None):
        raise UsageError(
            f"--bundle {unclosed!r} has a '[' that nothing closes, and no bundle is called so",
            hint="name bundles, such as 'acme-*' or 'acme-[ab]'",
            argument="--bundle",
        )
    if any(not glob.strip() for glob in globs):
        raise UsageError(
            "--bundle is empty, and no bundle is called so",
            hint="name bundles, such as 'acme-*', or leave it out for all",
            argument="--bundle",
        )
    return globs or ("*",)


def parse_usages(values: Iterable[str]) -> tuple[Usage, ...]:
    """Give the usages as the trust store names them; none means `bundle`.

    Raises:
        UsageError: a usage is unknown.
    """
    chosen = dict.fromkeys(values or ["bundle"])
    unknown = [value for value in chosen if value not in _USAGES]
    if unknown:
        raise UsageError(
            f"unknown usage {unknown[0]!r}", hint="use bundle or host", argument="--usage"
        )
    return tuple(dict.fromkeys(_USAGES[value] for value in chosen))


def all_keys(trust: TrustStore, own: Iterable[KeyEntry]) -> list[JsonObject]:
    """Give every key that is trusted or lies on this machine, by label."""
    found = {entry.key.vkey: _describe(entry, None) for entry in trust.keys}
    for entry in own:
        known = next((item for item in trust.keys if item.key == entry.key), None)
        found[entry.key.vkey] = _describe(known or TrustedKey(entry.key), entry, known=bool(known))
    return sorted(found.values(), key=lambda item: item["label"])


def _describe(trusted: TrustedKey, own: KeyEntry | None, *, known: bool = True) -> JsonObject:
    private = own.private_path if own else None
    return {
        "name": trusted.key.name,
        "label": trusted.key.label,
        "vkey": trusted.key.vkey,
        "status": trusted.status if known else "untrusted",
        "usages": list(trusted.usages) if known else [],
        "bundles": list(trusted.bundles) if known else [],
        "not_before": trusted.not_before,
        "not_after": trusted.not_after,
        "reason": trusted.reason,
        "since": trusted.since,
        "earlier": trusted.earlier,
        "private_key": str(private) if private else None,
        "public_key": str(own.vkey_path) if own else None,
    }


def _emit(session: Session, keys: list[JsonObject], *, full: bool = False) -> None:
    document = {"format": "art-keys/1", "keys": keys}

    def text() -> list[str]:
        if full:
            return [line for item in keys for line in _facts(session.out, item)]
        return session.out.table(_COLUMNS, map(_cells, keys))

    session.out.emit(document, text=text, items="keys")


_COLUMNS = ("key", "status", "usages", "private", "since", "reason")


def _cells(key: JsonObject) -> tuple[str, ...]:
    own = "own" if key["private_key"] else ""
    since, reason = (key["since"] or "")[:10], key["reason"] or ""
    return (key["label"], key["status"], ",".join(key["usages"]), own, since, reason)


def _facts(out: Output, key: JsonObject) -> list[str]:
    shown: dict[str, Any] = {
        "key": key["label"],
        "status": key["status"],
        "vouches for": ", ".join(key["usages"]),
        "bundles": ", ".join(key["bundles"]),
        "reason": key["reason"],
        "before that": key["earlier"],
        "private key": key["private_key"],
        "public key": key["public_key"],
        "public line": key["vkey"],
    }
    since = {"status": f" since {key['since']}"} if key["since"] else {}
    return [
        out.marked(f"{name + ':':<13}", value, since.get(name, ""))
        for name, value in shown.items()
        if value
    ]
