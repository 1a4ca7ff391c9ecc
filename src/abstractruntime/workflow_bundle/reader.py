"""Opening bundles: canonical archives, older `.flow` zips, and directories.

1. An archive is read once; everything after works on those bytes.
2. A canonical archive with a profile is checked against its manifest, member by member.
3. An older zip is read tolerantly but bounded, and only members that its manifest names exist.
Opening says nothing about trust; see `verify`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from abstractruntime._files import read_bounded
from abstractruntime.errors import NotFound
from abstractruntime.workflow_bundle._archive import MANIFEST, SIGNATURES, read_archive
from abstractruntime.workflow_bundle._content import check_files, check_flows, manifest_digest
from abstractruntime.workflow_bundle._errors import (
    BundleArchiveError,
    WorkflowBundleError,
    broken,
)
from abstractruntime.workflow_bundle._manifest import parse_manifest
from abstractruntime.workflow_bundle._unpack import write_members
from abstractruntime.workflow_bundle._zip import (
    DEFAULT_LIMITS,
    Limits,
    Member,
    read_entries,
    unpack_member,
)
from abstractruntime.workflow_bundle.models import (
    WorkflowBundle,
    WorkflowBundleManifest,
    require_safe_path,
)

MAX_ARCHIVE_BYTES = DEFAULT_LIMITS.archive


def open_workflow_bundle(source: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> WorkflowBundle:
    """Open a directory or an archive, whatever its extension.

    Raises:
        NotFound: the source or its manifest does not exist.
        WorkflowBundleError: it is not a bundle, or breaks a rule of its kind.
    """
    path = Path(source)
    if path.is_dir():
        members = DirectoryMembers(path, limits)
        return WorkflowBundle(path, parse_manifest(members[MANIFEST]), members)
    return read_bundle(read_archive_file(path, limits=limits), path, limits=limits)


def read_archive_file(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read an archive file whole, bounded."""
    data = read_bounded(path, limits.archive + 1)
    if len(data) > limits.archive:
        raise broken("archive_size", f"'{path}' is longer than {limits.archive} bytes")
    return data


def read_bundle(data: bytes, source: Path, *, limits: Limits = DEFAULT_LIMITS) -> WorkflowBundle:
    """Open an archive from its bytes; `source` only names it.

    Raises:
        WorkflowBundleError: it is not a bundle, or breaks a rule of its kind.
    """
    try:
        members = read_archive(data, limits=limits)
    except BundleArchiveError as cause:
        return _read_legacy(data, source, limits, cause)
    manifest = parse_manifest(members[MANIFEST])
    if manifest.profile is None:
        return WorkflowBundle(source, manifest, members, hashlib.sha256(data).hexdigest())
    check_files(manifest, members)
    bundle = WorkflowBundle(source, manifest, members, manifest_digest(members))
    check_flows(bundle)
    return bundle


def _read_legacy(
    data: bytes, source: Path, limits: Limits, cause: BundleArchiveError
) -> WorkflowBundle:
    entries = _legacy_entries(data, limits)
    if MANIFEST not in entries:
        raise WorkflowBundleError(f"'{source}' has no '{MANIFEST}'") from cause
    text = unpack_member(data, entries[MANIFEST], min(limits.manifest, limits.legacy_member))
    if _names_profile(text):
        # Hazard: a signed bundle in another container must not pass as an older, unsigned one.
        raise cause
    if any(name.lower().startswith(SIGNATURES) for name in entries):
        # Hazard: who repacks a changed bundle so must not get rid of the signatures it breaks.
        raise broken(
            "no_profile", "archive of an older format carries signatures, which cover nothing"
        )
    manifest = parse_manifest(text)
    named = [path for path in manifest.named_paths if path in entries and path != MANIFEST]
    if sum(entries[path].size for path in named) > limits.legacy_total:
        raise broken(
            "archive_size", f"members are larger together than {limits.legacy_total} bytes"
        )
    members = {path: unpack_member(data, entries[path], limits.legacy_member) for path in named}
    digest = hashlib.sha256(data).hexdigest()
    return WorkflowBundle(source, manifest, {MANIFEST: text, **members}, digest)


def _legacy_entries(data: bytes, limits: Limits) -> dict[str, Member]:
    entries: dict[str, Member] = {}
    folded: set[str] = set()
    for entry in read_entries(data, limits):
        if entry.name.endswith("/") and entry.size == 0:
            continue
        require_safe_path(entry.name, "a member")
        if entry.name.lower() in folded:
            raise broken("duplicate_name", f"member '{entry.name}' appears twice", entry.name)
        if entry.size > limits.legacy_ratio * max(entry.packed_size, 1):
            raise broken("ratio", f"member '{entry.name}' is packed too tightly", entry.name)
        folded.add(entry.name.lower())
        entries[entry.name] = entry
    return entries


def _names_profile(text: bytes) -> bool:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and "profile" in raw


def inspect_workflow_bundle(*, bundle_path: str | Path) -> WorkflowBundleManifest:
    """Give the manifest of a bundle, after the checks of opening it."""
    return open_workflow_bundle(bundle_path).manifest


def unpack_workflow_bundle(
    *, bundle_path: str | Path, out_dir: str | Path, overwrite: bool = False
) -> Path:
    """Write the members of an archive below `out_dir` and give that directory.

    Nothing is written through links or outside `out_dir`; files that exist are kept and
    reported unless `overwrite` is set. Members that the manifest does not name are not written.

    Raises:
        NotFound: there is no such archive.
        UsageError: a target file exists, or `out_dir` is a link.
        WorkflowBundleError: the archive is not a bundle, or breaks a rule.
    """
    path = Path(bundle_path)
    if path.is_dir():
        raise WorkflowBundleError(f"'{path}' is a directory, expected an archive")
    bundle = open_workflow_bundle(path)
    target = Path(out_dir)
    write_members(bundle.members, target, overwrite=overwrite)
    return target


class DirectoryMembers(Mapping[str, bytes]):
    """The files below a directory as members; links that lead out are refused."""

    def __init__(self, base: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self._base = base.resolve()
        self._limits = limits

    def __getitem__(self, name: str) -> bytes:
        require_safe_path(name, "member")
        path = (self._base / name).resolve()
        if not path.is_relative_to(self._base):
            raise WorkflowBundleError(f"member '{name}' leads out of '{self._base}'", path=name)
        if not path.is_file():
            raise NotFound(f"no member '{name}' in '{self._base}'", member=name)
        return read_bounded(path, self._limits.legacy_member)

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self._base.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(self._base):
                yield path.relative_to(self._base).as_posix()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: Any) -> bool:
        return name in set(self)
