"""The bundles that are installed in a directory, and what a reference among them means.

The directory is flat. The manifest inside an archive says which bundle and version it is;
the file name does not. Files whose name starts with a dot are not looked at, so an upload
in progress is invisible. Resolution says nothing about trust; see `verify`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from abstractruntime._files import write_atomic
from abstractruntime.errors import AbstractRuntimeError, StoreIOError
from abstractruntime.workflow_bundle._errors import WorkflowBundleError
from abstractruntime.workflow_bundle._installed import (
    BundleNotInstalledError,
    InstalledWorkflowBundle,
    Stamp,
    WorkflowBundleRegistryError,
    WorkflowEntrypointRef,
    chosen,
    entrypoint_ref,
    latest,
    offering,
    read_installed,
    readable_manifest,
    stamp,
    unlink,
)
from abstractruntime.workflow_bundle._references import (
    ARCHIVE_SUFFIXES,
    Reference,
    parse_reference,
    sanitize_bundle_id,
    sanitize_bundle_version,
)
from abstractruntime.workflow_bundle.reader import read_archive_file

__all__ = [
    "InstalledWorkflowBundle",
    "WorkflowBundleRegistry",
    "WorkflowBundleRegistryError",
    "WorkflowEntrypointRef",
    "default_workflow_bundles_dir",
    "sanitize_bundle_id",
    "sanitize_bundle_version",
]

_DIRECTORY_VARIABLES: Final = (
    "ABSTRACTFRAMEWORK_WORKFLOWS_DIR",
    "ABSTRACTGATEWAY_FLOWS_DIR",
    "ABSTRACTFLOW_PUBLISH_DIR",
    "ABSTRACTFLOW_FLOWS_DIR",
)
_FILE_MODE: Final = 0o644


def default_workflow_bundles_dir() -> Path:
    """Give the directory that the environment names, else `./flows/bundles` or the user's own."""
    for variable in _DIRECTORY_VARIABLES:
        text = os.environ.get(variable, "").strip()
        if text:
            return Path(text).expanduser()
    local = Path("flows") / "bundles"
    return local if local.exists() else Path.home() / ".abstractframework" / "workflows"


class WorkflowBundleRegistry:
    """The archives of one directory. Files are read again only when they changed."""

    def __init__(self, bundles_dir: str | Path | None = None) -> None:
        given = Path(bundles_dir).expanduser() if bundles_dir is not None else None
        self.bundles_dir: Path = given or default_workflow_bundles_dir()
        self._read: dict[Path, tuple[Stamp, InstalledWorkflowBundle | AbstractRuntimeError]] = {}

    def ensure_dir(self) -> Path:
        """Create the directory where it is missing, and give it."""
        try:
            self.bundles_dir.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise StoreIOError(
                f"cannot create '{self.bundles_dir}': {cause.strerror}", path=str(self.bundles_dir)
            ) from cause
        return self.bundles_dir

    # -- listing ---------------------------------------------------------------

    def scan(self) -> list[InstalledWorkflowBundle]:
        """Give every archive that can be read, by file name; see `unreadable` for the others."""
        found = (self._open(path) for path in self._archives())
        return [item for item in found if isinstance(item, InstalledWorkflowBundle)]

    def unreadable(self) -> dict[Path, AbstractRuntimeError]:
        """Give the archives that `scan` leaves out, each with the reason."""
        found = {path: self._open(path) for path in self._archives()}
        return {
            path: item for path, item in found.items() if isinstance(item, AbstractRuntimeError)
        }

    def bundles_by_id(self) -> dict[str, dict[str, InstalledWorkflowBundle]]:
        """Give bundles by id and version; of two files with one version the last name counts."""
        table: dict[str, dict[str, InstalledWorkflowBundle]] = {}
        for bundle in self.scan():
            table.setdefault(bundle.bundle_id, {})[bundle.bundle_version] = bundle
        return table

    def list_entrypoints(
        self, *, interface: str | None = None, latest_only: bool = True
    ) -> list[WorkflowEntrypointRef]:
        """Give what can be started, by bundle id, version text and name."""
        found = [
            entrypoint_ref(bundle, entry)
            for versions in self.bundles_by_id().values()
            for bundle in ([latest(versions)] if latest_only else versions.values())
            for entry in offering(bundle, interface)
        ]
        return sorted(found, key=lambda e: (e.bundle_id, e.bundle_version, e.name or e.flow_id))

    # -- resolving -------------------------------------------------------------

    def resolve_bundle(self, ref: str) -> InstalledWorkflowBundle:
        """Give the bundle that `bundle_id[@version]` names, the latest without a version.

        Raises:
            WorkflowBundleRegistryError: the text is blank, or nothing such is installed.
        """
        wanted, table = self._wanted(ref), self.bundles_by_id()
        if wanted.bundle_id not in table:
            raise self._not_installed(
                f"bundle '{wanted.bundle_id}' is not installed", sorted(table)
            )
        versions = table[wanted.bundle_id]
        if wanted.version is None:
            return latest(versions)
        if wanted.version not in versions:
            raise self._not_installed(
                f"bundle '{wanted.bundle_id}' has no version '{wanted.version}' here",
                sorted(versions),
            )
        return versions[wanted.version]

    def resolve_entrypoint(
        self, ref: str, *, interface: str | None = None
    ) -> WorkflowEntrypointRef:
        """Give the entrypoint that a file name, a bundle reference, or its own name stands for.

        They are tried in this order; a reference to an installed bundle that fits no further is
        an error and is not taken for a name. Names are looked up, without regard to case, in
        the latest version of each bundle.

        Raises:
            WorkflowBundleRegistryError: nothing, or more than one thing, fits.
        """
        wanted = self._wanted(ref)
        bundle = self._by_file_name(ref)
        if bundle is None and wanted.bundle_id in self.bundles_by_id():
            bundle = self.resolve_bundle(ref)
        if bundle is not None:
            return chosen(bundle, wanted.flow_id, interface)
        return self._by_entrypoint_name(ref.strip(), interface)

    def _wanted(self, ref: str) -> Reference:
        wanted = parse_reference(ref)
        if not wanted.bundle_id:
            raise WorkflowBundleRegistryError(
                f"reference {ref!r} names no bundle", hint="write bundle_id[@version][:flow_id]"
            )
        return wanted

    def _by_file_name(self, ref: str) -> InstalledWorkflowBundle | None:
        name = ref.strip()
        if not name.endswith(ARCHIVE_SUFFIXES):
            name = name.partition(":")[0].strip()
        path = self.bundles_dir / name
        if path not in self._archives():
            return None
        found = self._open(path)
        if isinstance(found, AbstractRuntimeError):
            raise WorkflowBundleRegistryError(
                f"'{name}' is not a bundle: {found}", hint=found.hint, path=str(path)
            ) from found
        return found

    def _by_entrypoint_name(self, name: str, interface: str | None) -> WorkflowEntrypointRef:
        offered = self.list_entrypoints(interface=interface)
        found = [entry for entry in offered if entry.name.casefold() == name.casefold()]
        if not found:
            raise self._not_installed(
                f"Workflow '{name}' not found", [entry.workflow_id for entry in offered]
            )
        if len(found) > 1:
            raise WorkflowBundleRegistryError(
                f"Workflow '{name}' is ambiguous",
                hint="name one of: " + ", ".join(entry.workflow_id for entry in found),
            )
        return found[0]

    def _not_installed(self, message: str, others: Iterable[str]) -> WorkflowBundleRegistryError:
        listed = ", ".join(others)
        hint = f"installed: {listed}" if listed else f"install one into '{self.bundles_dir}'"
        return BundleNotInstalledError(message, hint=hint, directory=str(self.bundles_dir))

    # -- changing --------------------------------------------------------------

    def install(self, source: str | Path, *, overwrite: bool = False) -> InstalledWorkflowBundle:
        """Copy an archive into the directory under the name of its bundle and version.

        Raises:
            NotFound: there is no such file.
            WorkflowBundleRegistryError: it is no bundle, is the installed file itself, is
                installed already, or has a name that cannot be a file name.
        """
        path = Path(source)
        data = read_archive_file(path)

        def check(target: Path) -> None:
            if target.exists() and target.samefile(path):
                raise WorkflowBundleRegistryError(
                    f"'{path}' is the installed file itself", hint="there is nothing to install"
                )

        return self._install(data, path, check, overwrite=overwrite)

    def install_bytes(
        self, content: bytes, *, filename_hint: str = "upload.flow", overwrite: bool = False
    ) -> InstalledWorkflowBundle:
        """Write an archive into the directory; `filename_hint` only names it in messages."""
        return self._install(content, Path(filename_hint), lambda _: None, overwrite=overwrite)

    def _install(
        self, data: bytes, source: Path, check: Callable[[Path], None], *, overwrite: bool
    ) -> InstalledWorkflowBundle:
        manifest = readable_manifest(data, source)
        bundle_id, version = manifest.bundle_id, manifest.bundle_version
        suffix = ".flow" if manifest.profile is None else ".flowbundle"
        target = self.ensure_dir() / f"{bundle_id}@{version}{suffix}"
        check(target)
        same = [
            b.path for b in self.scan() if (b.bundle_id, b.bundle_version) == (bundle_id, version)
        ]
        if not overwrite and (same or target.exists()):
            raise WorkflowBundleRegistryError(
                f"bundle '{bundle_id}@{version}' is installed already",
                hint="choose a new version, or overwrite",
                path=str((same or [target])[-1]),
            )
        write_atomic(target, data, mode=_FILE_MODE, replace=overwrite)
        # Invariant: one file per version, so that none comes back when this one is removed.
        for path in same:
            if path != target:
                unlink(path)
        digest = hashlib.sha256(data).hexdigest()
        return InstalledWorkflowBundle(bundle_id, version, target, manifest, digest)

    def remove(self, ref: str) -> int:
        """Delete a version, or without a version every one of a bundle; give how many there were."""
        wanted = self._wanted(ref)
        versions = self.bundles_by_id().get(wanted.bundle_id, {})
        doomed = [b for v, b in versions.items() if wanted.version in (None, v)]
        for bundle in doomed:
            unlink(bundle.path)
        return len(doomed)

    # -- files -----------------------------------------------------------------

    def _archives(self) -> list[Path]:
        if not self.bundles_dir.is_dir():
            return []
        return sorted(
            path
            for path in self.bundles_dir.iterdir()
            if path.suffix in ARCHIVE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )

    def _open(self, path: Path) -> InstalledWorkflowBundle | AbstractRuntimeError:
        before = stamp(path)
        known = self._read.get(path)
        if known is not None and before is not None and known[0] == before:
            return known[1]
        found = read_installed(path)
        # Hazard: what was replaced while it was read, or could not be read now, is read again.
        is_content = isinstance(found, InstalledWorkflowBundle | WorkflowBundleError)
        if is_content and before is not None and stamp(path) == before:
            self._read[path] = (before, found)
        return found
