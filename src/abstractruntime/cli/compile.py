"""`art compile`: documents in, bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abstractruntime.cli._bundles import (
    Loaded,
    bundle_document,
    of_verdict,
    open_bundle_or_flow,
)
from abstractruntime.cli._findings import say_findings
from abstractruntime.cli._keyring import load_private_key, require_may_sign
from abstractruntime.cli._options import ForceOption
from abstractruntime.cli._outputs import BUNDLE, write_result
from abstractruntime.cli._packing import Request, compile_bundle
from abstractruntime.cli._session import Session
from abstractruntime.cli.bundle import bundle_lines
from abstractruntime.errors import AbstractRuntimeError, UsageError
from abstractruntime.signing import SigningKey, TrustedKey, TrustStore
from abstractruntime.workflow_bundle import WorkflowBundle, sign_bundle, verify_bundle
from abstractruntime.workflow_bundle.own_work import is_version, sanitise_id


def compile_(  # noqa: PLR0917 - the options of the command
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FLOW|DIR", help="A document or a directory.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: ID.flowbundle.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="Sign. [env: ART_SIGNING_KEY]")
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not sign.")] = False,
    entry: Annotated[
        list[str], typer.Option("--entry", metavar="ID", help="Flow to start with; repeatable.")
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    bundle_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Bundle id.")] = None,
    version: Annotated[str, typer.Option("--version", metavar="SEMVER")] = "0.1.0",
    force: ForceOption = False,
) -> int:
    """Compile flow documents, with every subflow they run, into one bundle.

    The same documents give the same bytes on every machine.
    """
    if not is_version(version):
        raise UsageError(
            f"option --version is {version!r}, expected a version as of semver.org, or draft.NAME",
            hint="such as --version 0.1.0",
            argument="--version",
        )
    signer = _signer(session, key, unsigned=unsigned)
    packed, findings = compile_bundle(Request(path, tuple(entry), bundle_id, version))
    say_findings(session, findings)
    data, trust = packed.data, TrustStore()
    if signer is not None:
        require_may_sign(session, signer, "bundle", packed.bundle.manifest.bundle_id)
        data = sign_bundle(data, signer)
        trust = TrustStore((TrustedKey(signer.verifier),))
    loaded = of_verdict(data, verify_bundle(data, trust, allow_unsigned=signer is None))
    manifest = loaded.bundle.manifest
    if bundle_id and sanitise_id(bundle_id) != bundle_id:
        session.out.note(f"bundle id {bundle_id!r} becomes {manifest.bundle_id!r}")
    target = output or Path(f"{manifest.bundle_id}.flowbundle")
    if output is None:
        _say_replaced(session, target, loaded)
    write_result(session, target, data, kind=BUNDLE, mode=0o644, inputs=[path], force=force)
    document = bundle_document(loaded, file=str(target))
    session.out.emit(document, text=lambda: bundle_lines(document))
    return 0


def _say_replaced(session: Session, target: Path, loaded: Loaded) -> None:
    """Say what goes when nobody named the file: another flow may have this id, too."""
    if not target.is_file():
        return
    try:
        held = open_bundle_or_flow(target)
    except AbstractRuntimeError:
        return  # what it is will be judged when it is written over
    if isinstance(held, WorkflowBundle) and held.digest != loaded.digest:
        shown = f"{held.manifest.bundle_id}@{held.manifest.bundle_version}"
        session.out.note(
            f"note: '{target}' held another bundle, {shown} with digest {held.digest}; it is replaced"
        )


def _signer(session: Session, key: str | None, *, unsigned: bool) -> SigningKey | None:
    if key and unsigned:
        raise UsageError("--key and --unsigned exclude each other", hint="leave one of them out")
    name = key or (None if unsigned else session.config.get("signing_key"))
    if name:
        return load_private_key(session, name)
    if unsigned:
        return None
    raise UsageError(
        "nobody is named to sign the bundle",
        hint="add --key NAME (art key new NAME makes one), or --unsigned",
        argument="--key",
    )
