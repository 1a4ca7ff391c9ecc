"""Bundles as they are looked at: what is in one, who signed it, and the one that a run is of.

A file is read once; the bytes that were verified are the bytes that run and are installed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime.cli._contract import input_schema
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import (
    AbstractRuntimeError,
    IntegrityError,
    NotFound,
    Untrusted,
    UsageError,
)
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.workflow_bundle.reader import (
    MAX_ARCHIVE_BYTES,
    read_archive_file,
    read_bundle,
)

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.core.store import Store
    from abstractruntime.signing import TrustStore
    from abstractruntime.workflow_bundle import BundleVerdict, WorkflowBundle

ARCHIVE_START = b"PK"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle that may be used: its bytes, its content, and why it may be."""

    data: bytes = field(repr=False)
    bundle: WorkflowBundle
    digest: str
    signers: tuple[str, ...] = ()
    rule: str = "own_work"
    warnings: tuple[str, ...] = ()
    signatures: tuple[JsonObject, ...] = ()

    @property
    def ref(self) -> str:
        manifest = self.bundle.manifest
        return f"{manifest.bundle_id}@{manifest.bundle_version}"


def open_bundle_or_flow(path: Path) -> WorkflowBundle | FlowDocument:
    """Open what a file holds, to be looked at: nothing is verified or checked."""
    data = read_archive_file(path)
    if not data.startswith(ARCHIVE_START):
        return FlowDocument.read(data, file=str(path))
    with naming(path):
        return read_bundle(data, path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file to what is said about an archive, whose bytes do not know their name."""
    try:
        yield
    except AbstractRuntimeError as cause:
        cause.details.setdefault("file", str(path))
        raise


def judged(
    data: bytes,
    path: Path,
    trust: TrustStore,
    *,
    vouchers: Callable[[str], Collection[str]] = lambda _digest: (),
    **options: Any,
) -> Loaded:
    """Open a bundle under the trust policy.

    Args:
        data: The archive.
        path: Where it lies.
        trust: Whose signatures count.
        vouchers: Gives for a digest who signed it when this user ran it before; those still count
            when they are retired.
        options: Further ones of `verify_bundle`.

    Raises:
        Untrusted: the policy refuses it.
        ArchiveInvalid: it is damaged.
    """
    # Who only looks at bundles needs no keys.
    from abstractruntime.workflow_bundle import verify_bundle

    judge = partial(verify_bundle, data, trust, source=path, **options)
    with naming(path):
        try:
            return of_verdict(data, judge())
        except Untrusted as cause:
            if not (vouched := vouchers(str(cause.details.get("digest")))):
                raise
            return of_verdict(data, judge(vouched=vouched))


def of_verdict(data: bytes, verdict: BundleVerdict) -> Loaded:
    return Loaded(
        data,
        verdict.bundle,
        verdict.digest,
        verdict.signers,
        verdict.rule,
        verdict.warnings,
        tuple(report.to_dict() for report in verdict.signatures),
    )


def installed_bundle(engine: Store, tree: RunTree) -> WorkflowBundle:
    """Give the bundle that a run, or the root above it, was started from.

    Raises:
        UsageError: the run was not started from one.
        NotFound: the store does not hold it.
        IntegrityError: it holds another one under this digest.
    """
    run_id = tree.run_id
    root = tree.root()
    digest = engine.origin(root).bundle_digest
    if digest is None:
        # The run is there, so this is no case of exit code 66.
        raise UsageError(
            f"run {run_id!r} was not started from a bundle",
            hint="go on with it in the program that started it; a run of a flow that was compiled with"
            " all the flows it runs (compile_visualflow_tree) can be gone on with from here",
            run_id=run_id,
        )
    return read_installed(engine, digest, root=root, run_id=run_id)


def read_installed(engine: Store, digest: str, *, root: str, run_id: str) -> WorkflowBundle:
    """Give the bundle that a store keeps under a digest, for a run below the root that names it.

    Raises:
        NotFound: the store does not hold it.
        IntegrityError: it holds another one under this digest.
    """
    path = engine.bundles.address(digest)
    data = engine.bundles.get(digest, limit=MAX_ARCHIVE_BYTES + 1)
    if data is None:
        raise NotFound(
            f"bundle '{path}' is missing; run {root!r} was started from it",
            hint="put the original bundle back under this name",
            path=path,
            run_id=run_id,
        )
    found, why = None, f"is another one than run {root!r} was started from"
    try:
        bundle = read_bundle(data, Path(path))
        found = bundle.digest
    except AbstractRuntimeError as cause:
        why = f"cannot be read, and run {root!r} was started from it: {cause}"
    if found == digest:
        return bundle
    raise IntegrityError(
        f"bundle '{path}' {why}",
        hint="put the original bundle back",
        expected=digest,
        found=found,
        path=path,
        run_id=run_id,
    )


def node_labels(documents: Iterable[FlowDocument]) -> dict[str, str]:
    """Give the names that authors gave to nodes, by node id."""
    return {name: label for d in documents for name, label in d.labels.items()}


def entry_of(bundle: WorkflowBundle, wanted: str | None) -> str:
    """Give the flow id to start.

    Raises:
        NotFound: the bundle has no such flow.
    """
    manifest = bundle.manifest
    chosen = wanted or manifest.default_entrypoint or manifest.entrypoints[0].flow_id
    by_name = {entry.name: entry.flow_id for entry in manifest.entrypoints if entry.name}
    chosen = chosen if chosen in manifest.flows else by_name.get(chosen, chosen)
    if chosen in manifest.flows:
        return chosen
    raise NotFound(
        f"bundle '{manifest.bundle_id}' has no flow {chosen!r}",
        hint="its entrypoints: " + ", ".join(entry.flow_id for entry in manifest.entrypoints),
        kind="flow",
        id=chosen,
    )


def named_signers(bundle: WorkflowBundle) -> tuple[JsonObject, ...]:
    """Give the signatures inside a bundle with the keys they name; nothing is verified here."""
    from abstractruntime.signing.envelope import parse_envelope

    found = []
    for member, envelope in bundle.envelopes.items():
        try:
            hints = [s.key_hint for s in parse_envelope(envelope).signatures]
            found.append(_unverified(member, [hint for hint in hints if hint], None))
        except IntegrityError as cause:
            found.append(_unverified(member, [], str(cause)))
    return tuple(found)


def _unverified(member: str, labels: list[str], reason: str | None) -> JsonObject:
    state = "not_verified" if reason is None else "bad"
    return {"member": member, "state": state, "signers": labels, "reason": reason}


def bundle_document(loaded: Loaded, *, file: str | None) -> JsonObject:
    """Give the `art-bundle/1` document."""
    manifest = loaded.bundle.manifest
    documents = loaded.bundle.documents
    return {
        "format": "art-bundle/1",
        "file": file,
        "id": manifest.bundle_id,
        "version": manifest.bundle_version,
        "digest": loaded.digest,
        "profile": manifest.profile,
        "size_bytes": len(loaded.data),
        "created_at": manifest.created_at or None,
        "rule": loaded.rule,
        "signers": list(loaded.signers),
        "signatures": list(loaded.signatures),
        "warnings": list(loaded.warnings),
        "default_entrypoint": entry_of(loaded.bundle, None) if manifest.flows else None,
        "entrypoints": [
            {
                **entry.to_dict(),
                "input_schema": input_schema(documents[entry.flow_id])
                if entry.flow_id in documents
                else None,
            }
            for entry in manifest.entrypoints
        ],
        "flows": sorted(manifest.flows),
        "requires": manifest.requires.to_dict(),
        "files": {path: item.to_dict() for path, item in sorted(manifest.files.items())},
        "metadata": manifest.metadata,
    }
