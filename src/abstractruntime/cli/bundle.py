"""`art bundle`: look into, verify, unpack and sign bundles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from abstractruntime._files import read_bounded
from abstractruntime._json import JsonObject
from abstractruntime._ports_system import SystemClock
from abstractruntime._text import shell_word
from abstractruntime.cli._bundles import (
    ARCHIVE_START,
    Loaded,
    bundle_document,
    judged,
    named_signers,
    naming,
    of_verdict,
)
from abstractruntime.cli._files import MAX_SIGNATURE_BYTES
from abstractruntime.cli._keyring import (
    load_private_key,
    read_public_key,
    read_trust,
    require_may_sign,
)
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import ForceOption
from abstractruntime.cli._outputs import BUNDLE, require_free_place, rewrite, write_result
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import vouchers_of
from abstractruntime.errors import Refused, UsageError
from abstractruntime.signing import TrustedKey, TrustPolicy, TrustStore
from abstractruntime.workflow_bundle import sign_bundle, unpack_workflow_bundle, verify_bundle
from abstractruntime.workflow_bundle.reader import read_archive_file, read_bundle

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .flowbundle file.")]
AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Accept a bundle that nobody trusted signed.")
]


def show(session: Session, path: BundleArgument) -> int:
    """Show what a bundle holds. Says nothing about trust."""
    data = read_archive_file(path)
    with naming(path):
        bundle = read_bundle(data, path)
    named = named_signers(bundle)
    loaded = Loaded(data, bundle, bundle.digest or "", rule="not_verified", signatures=named)
    document = bundle_document(loaded, file=str(path))
    session.out.emit(document, text=lambda: bundle_lines(document))
    return 0


@uses_store
def verify(
    session: Session,
    path: BundleArgument,
    vkey: Annotated[
        list[str],
        typer.Option("--vkey", metavar="VKEY|FILE", help="Trust these keys only; repeatable."),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    allow_unsigned: AllowUnsigned = False,
    signature: Annotated[
        list[Path],
        typer.Option(
            "--signature", metavar="FILE", help="Signature beside the bundle; repeatable."
        ),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
) -> int:
    """Say whether a bundle is intact and whom it is signed by. Executes nothing.

    A retired signer counts for what was run from the store before, as `art run` has it. Exit code
    0 when it may be used, 1 when it is damaged, 3 when trust is missing.
    """
    trust = read_trust(session)
    if vkey:
        given = trust_in(vkey)
        for entry in given.keys:
            if trust.status_of(entry.key) == "retired":
                standing = trust.standing_of(entry.key)
                session.out.note(f"note: key '{entry.key.label}' was {standing} here")
            if trust.status_of(entry.key) == "revoked":
                raise Refused(
                    f"key '{entry.key.label}' was {trust.standing_of(entry.key)}, so it vouches for nothing",
                    hint=f"see: art key show {shell_word(entry.key.label)}",
                    key=entry.key.label,
                )
        trust = given
    loaded = verified(
        path,
        trust,
        allow_unsigned=allow_unsigned,
        detached=[read_bounded(file, MAX_SIGNATURE_BYTES) for file in signature],
        # As `run` judges it, unless somebody asks what these keys say.
        **({} if vkey else {"vouchers": partial(vouchers_of, session)}),
    )
    document = bundle_document(loaded, file=str(path))
    session.out.emit(document, text=lambda: [verdict_line(document)])
    for warning in loaded.warnings:
        session.out.note(f"note: {warning}")
    return 0


def unpack(
    session: Session,
    path: BundleArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Directory to write into.")
    ],
    allow_unsigned: AllowUnsigned = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> int:
    """Write the files of a verified bundle into a directory."""
    require_free_place(session, output)
    loaded = verified(path, read_trust(session), allow_unsigned=allow_unsigned)
    unpack_workflow_bundle(bundle_path=path, out_dir=output, overwrite=force)
    document = bundle_document(loaded, file=str(path))
    session.out.emit(document, text=lambda: [str(output / name) for name in document["files"]])
    return 0


def sign(
    session: Session,
    path: BundleArgument,
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="[env: ART_SIGNING_KEY]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: in place.")
    ] = None,
    force: ForceOption = False,
) -> int:
    """Add a signature; the digest of the bundle stays the same."""
    name = key or session.config.get("signing_key")
    if not name:
        raise UsageError("no key is named", hint="add --key NAME; see: art key list")
    signer = load_private_key(session, name)
    data = sign_bundle(read_archive_file(path), signer)
    trust = TrustStore((TrustedKey(signer.verifier),))
    loaded = of_verdict(data, verify_bundle(data, trust))
    require_may_sign(session, signer, "bundle", loaded.bundle.manifest.bundle_id)
    if output is None or output.resolve() == path.resolve():
        rewrite(session, path, data)
    else:
        write_result(session, output, data, kind=BUNDLE, mode=0o644, force=force)
    document = bundle_document(loaded, file=str(output or path))
    session.out.emit(document, text=lambda: [verdict_line(document)])
    return 0


def verified(path: Path, trust: TrustStore, **options: Any) -> Loaded:
    """Open a bundle under the trust policy."""
    data = read_archive_file(path)
    if not data.startswith(ARCHIVE_START) and _is_flow(data):
        raise UsageError(
            f"'{path}' is a flow document, expected a bundle",
            hint=f"compile it: art compile {shell_word(path)}; or check it: art check {shell_word(path)}",
            path=str(path),
        )
    return judged(data, path, trust, now=SystemClock().now(), **options)


def _is_flow(data: bytes) -> bool:
    # Whoever verifies an archive needs no node types.
    from abstractruntime.visualflow_compiler.recognise import looks_like_flow

    return looks_like_flow(data)


def trust_in(keys: list[str]) -> TrustStore:
    """Give a trust store that holds these keys only and refuses the unsigned."""
    entries = tuple(TrustedKey(read_public_key(key)) for key in keys)
    return TrustStore(entries, TrustPolicy(unsigned="deny"))


def verdict_line(document: JsonObject) -> str:
    name = f"{document['id']}@{document['version']}"
    if document["signers"]:
        return f"valid: {name} is signed by {', '.join(document['signers'])}"
    return f"intact, not signed by anyone trusted: {name} ({document['rule']})"


def _signed_by(document: JsonObject) -> str:
    if document["signers"]:
        return ", ".join(document["signers"])
    named = [label for item in document["signatures"] for label in item["signers"]]
    if document["rule"] == "not_verified" and document["signatures"]:
        claimed = ", ".join(named) or "unreadable signatures"
        return f"{claimed} (not verified here; art bundle verify {shell_word(document['file'])})"
    return "nobody"


def bundle_lines(document: JsonObject) -> Iterator[str]:
    """Give the bundle for people."""
    if document["file"]:
        yield f"file:      {document['file']} ({document['size_bytes']} bytes)"
    yield f"bundle:    {document['id']}@{document['version']}"
    yield f"digest:    {document['digest']}"
    yield f"signed by: {_signed_by(document)}"
    needs = document["requires"]["capabilities"]
    yield f"needs:     {', '.join(needs) or 'nothing'}"
    for entry in document["entrypoints"]:
        yield f"entry:     {entry['flow_id']}  {entry['name'] or ''}".rstrip()
        schema = entry["input_schema"] or {"properties": {}}
        for name, rule in schema["properties"].items():
            default = f" = {rule['default']!r}" if "default" in rule else ""
            yield f"  input:   {name} ({rule.get('type', 'any')}){default}"
