"""Reading and writing `manifest.json`.

Without `profile` a manifest follows the tolerant rules of 0.4.x: aliases, defaults, unknown
fields dropped. `profile: flowbundle/1` turns the strict rules on: canonical text, no
duplicate keys, SemVer, every path listed in `files`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import load_strict, why_unread
from abstractruntime.workflow_bundle._errors import WorkflowBundleError
from abstractruntime.workflow_bundle.models import (
    PROFILE,
    FileEntry,
    Requirements,
    WorkflowBundleEntrypoint,
    WorkflowBundleManifest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_CORE: Final = r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
_PRE: Final = r"(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER: Final = re.compile(
    rf"{_CORE}(-{_PRE}(\.{_PRE})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?", re.ASCII
)
DRAFT: Final = re.compile(r"draft\.[0-9A-Za-z._-]{1,64}")
_BUNDLE_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
CAPABILITY: Final = re.compile(
    r"code|memory|llm:\S+|net:\S+:\S+|net:\*|file:(read|write):\S+|command:\S+|tool:\S+|mcp:\S+"
    r"|secret:\S+|subflow:\S+"
)


def render_manifest(manifest: WorkflowBundleManifest) -> bytes:
    """Write the manifest text; the SHA-256 of these bytes is the bundle digest."""
    return _render(workflow_bundle_manifest_to_dict(manifest))


def _render(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def parse_manifest(data: bytes) -> WorkflowBundleManifest:
    """Read the manifest text, strictly when it names a profile.

    Raises:
        WorkflowBundleError: it breaks a rule of its kind.
    """
    try:
        raw = json.loads(data.decode())
    except (ValueError, RecursionError) as cause:
        raise WorkflowBundleError(f"manifest.json is not JSON: {why_unread(cause)}") from cause
    if not isinstance(raw, dict):
        raise WorkflowBundleError("manifest.json is not a JSON object")
    if "profile" in raw:
        _require_canonical(data)
    return workflow_bundle_manifest_from_dict(raw)


def _require_canonical(data: bytes) -> None:
    try:
        again = _render(load_strict(data.decode()))
    except (ValueError, RecursionError) as cause:
        raise WorkflowBundleError(
            f"manifest.json is not strict JSON: {why_unread(cause)}"
        ) from cause
    if again != data:
        raise WorkflowBundleError("manifest.json is not in canonical form: sorted keys, indent 2")


def workflow_bundle_manifest_from_dict(raw: Mapping[str, Any]) -> WorkflowBundleManifest:
    """Read and validate a parsed manifest.

    Raises:
        WorkflowBundleError: a required field is missing or wrong.
    """
    if not isinstance(raw, dict):
        raise WorkflowBundleError("manifest is not a JSON object")
    manifest = WorkflowBundleManifest(
        bundle_format_version=_text(raw, "bundle_format_version", "bundleFormatVersion"),
        bundle_id=_text(raw, "bundle_id", "bundleId"),
        bundle_version=_text(raw, "bundle_version", "bundleVersion", default="0.0.0"),
        created_at=_text(raw, "created_at", "createdAt"),
        entrypoints=_entrypoints(raw),
        default_entrypoint=_default_entrypoint(raw),
        flows=_paths(raw, "flows"),
        artifacts=_paths(raw, "artifacts"),
        assets=_paths(raw, "assets"),
        metadata=_mapping(raw, "metadata"),
        profile=raw.get("profile"),
        files=_files(raw),
        requires=_requires(raw),
        compiler={str(k): str(v) for k, v in _mapping(raw, "compiler").items()},
    )
    manifest.validate()
    if "profile" in raw:
        check_strict(manifest)
    return manifest


def _first(raw: Mapping[str, Any], *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _text(raw: Mapping[str, Any], *names: str, default: str = "") -> str:
    value = _first(raw, *names)
    return default if value is None else str(value).strip()


def _mapping(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _paths(raw: Mapping[str, Any], name: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in _mapping(raw, name).items()}


def _default_entrypoint(raw: Mapping[str, Any]) -> str | None:
    names = (
        "default_entrypoint",
        "defaultEntrypoint",
        "default_entrypoint_flow_id",
        "defaultEntrypointFlowId",
    )
    value = _first(raw, *names)
    return value.strip() or None if isinstance(value, str) else None


def _entrypoints(raw: Mapping[str, Any]) -> list[WorkflowBundleEntrypoint]:
    value = raw.get("entrypoints")
    if not isinstance(value, list):
        raise WorkflowBundleError("manifest has no 'entrypoints' list")
    return [_entrypoint(item) for item in value if isinstance(item, dict)]


def _entrypoint(item: Mapping[str, Any]) -> WorkflowBundleEntrypoint:
    name, interfaces = item.get("name"), item.get("interfaces")
    texts = interfaces if isinstance(interfaces, list) else []
    return WorkflowBundleEntrypoint(
        flow_id=_text(item, "flow_id", "flowId"),
        name=name if isinstance(name, str) else None,
        description=_text(item, "description"),
        interfaces=[text.strip() for text in texts if isinstance(text, str) and text.strip()],
    )


def _files(raw: Mapping[str, Any]) -> dict[str, FileEntry]:
    if "profile" not in raw:
        return {}
    files = {}
    for path, item in _mapping(raw, "files").items():
        digest = item.get("sha256") if isinstance(item, dict) else None
        size = item.get("size") if isinstance(item, dict) else None
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest) or type(size) is not int:
            raise WorkflowBundleError(f"'files' entry of '{path}' is not {{sha256, size}}")
        files[path] = FileEntry(digest, size)
    return files


def _requires(raw: Mapping[str, Any]) -> Requirements:
    value = _mapping(raw, "requires")
    lists = []
    for name in ("node_types", "capabilities"):
        items = value.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise WorkflowBundleError(f"'requires.{name}' is not a list of texts")
        lists.append(tuple(items))
    runtime = value.get("runtime")
    return Requirements(str(runtime) if runtime is not None else None, *lists)


def check_strict(manifest: WorkflowBundleManifest) -> None:
    """Check what `profile` promises beyond the tolerant rules.

    Raises:
        WorkflowBundleError: one message with every problem.
    """
    problems = [*_identity_problems(manifest), *_content_problems(manifest)]
    if problems:
        raise WorkflowBundleError(
            "manifest is not valid: " + "; ".join(problems), problems=problems
        )


def _identity_problems(manifest: WorkflowBundleManifest) -> list[str]:
    problems = []
    version = manifest.bundle_version
    if manifest.profile != PROFILE:
        problems.append(f"profile {manifest.profile!r} is not known, expected '{PROFILE}'")
    if not _BUNDLE_ID.fullmatch(manifest.bundle_id):
        problems.append(f"bundle id {manifest.bundle_id!r} does not match {_BUNDLE_ID.pattern}")
    if not SEMVER.fullmatch(version) and not DRAFT.fullmatch(version):
        problems.append(f"version {version!r} is neither SemVer nor draft.<name>")
    requires = manifest.requires
    for name, items in (
        ("node_types", requires.node_types),
        ("capabilities", requires.capabilities),
    ):
        if list(items) != sorted(set(items)):
            problems.append(f"'requires.{name}' is not sorted and unique")
    problems += [
        f"capability {item!r} is not known"
        for item in requires.capabilities
        if not CAPABILITY.fullmatch(item)
    ]
    return problems


def _content_problems(manifest: WorkflowBundleManifest) -> list[str]:
    listed = (*manifest.flows.values(), *manifest.assets.values(), *manifest.artifacts.values())
    problems = [f"'{path}' is not in 'files'" for path in listed if path not in manifest.files]
    problems += [
        f"file '{path}' has size {entry.size}"
        for path, entry in manifest.files.items()
        if entry.size < 0
    ]
    if "native_loop_factory" not in manifest.metadata:
        problems += [
            f"entrypoint '{entry.flow_id}' has no flow"
            for entry in manifest.entrypoints
            if entry.flow_id not in manifest.flows
        ]
    return problems


def workflow_bundle_manifest_to_dict(manifest: WorkflowBundleManifest) -> dict[str, Any]:
    """Validate and give the JSON form; the fields of a profile appear only with one."""
    manifest.validate()
    data: dict[str, Any] = {
        "bundle_format_version": manifest.bundle_format_version,
        "bundle_id": manifest.bundle_id,
        "bundle_version": manifest.bundle_version,
        "created_at": manifest.created_at,
        "entrypoints": [entry.to_dict() for entry in manifest.entrypoints],
        "flows": dict(manifest.flows),
        "artifacts": dict(manifest.artifacts),
        "assets": dict(manifest.assets),
        "metadata": dict(manifest.metadata),
    }
    if manifest.default_entrypoint:
        data["default_entrypoint"] = manifest.default_entrypoint
    if manifest.profile is not None:
        data["profile"] = manifest.profile
        data["files"] = {path: entry.to_dict() for path, entry in manifest.files.items()}
        data["requires"] = manifest.requires.to_dict()
        if manifest.compiler:
            data["compiler"] = dict(manifest.compiler)
    return data
