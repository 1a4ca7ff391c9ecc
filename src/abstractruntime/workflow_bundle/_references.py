"""Names of installed bundles: how they are written, cleaned, and which version counts as latest.

Order of versions, from oldest to latest; it is total, so the files' order never matters:

1. drafts (`draft.<name>`), then every other text, each by time of creation and text;
2. numbered pre-releases (`2.0.0-rc.1`) by SemVer precedence;
3. numbered releases by number. `1.2` counts as `1.2.0`, and a fourth group counts too.

So a pre-release is latest only when its bundle has no release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

ARCHIVE_SUFFIXES: Final = (".flow", ".flowbundle")

_NUMBERED: Final = re.compile(
    r"(?P<numbers>[0-9]{1,18}(\.[0-9]{1,18})*)(-(?P<pre>[0-9A-Za-z.-]+))?(\+[0-9A-Za-z.-]+)?"
)
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")
_DRAFT, _TEXT, _PRE_RELEASE, _RELEASE = range(4)


@dataclass(frozen=True, slots=True)
class Reference:
    """What `bundle_id[@version][:flow_id]` names; None stands for the latest and the default."""

    bundle_id: str
    version: str | None = None
    flow_id: str | None = None


def parse_reference(text: str) -> Reference:
    """Split a reference; the drive of a Windows path is no bundle id."""
    head, flow_id = text.strip(), ""
    if not _DRIVE.match(head):
        head, _, flow_id = head.partition(":")
    if "/" not in head:
        for suffix in ARCHIVE_SUFFIXES:
            head = head.removesuffix(suffix)
    bundle_id, _, version = head.partition("@")
    return Reference(bundle_id.strip(), version.strip() or None, flow_id.strip() or None)


def sanitize_bundle_id(raw: str) -> str:
    """Give `raw` with everything but ASCII letters, digits, `_` and `-` turned into single dashes."""
    return _dashed(raw, r"[^A-Za-z0-9_-]+")


def sanitize_bundle_version(raw: str) -> str:
    """Give `raw` cleaned like an id; dots stay."""
    return _dashed(raw, r"[^A-Za-z0-9._-]+")


def _dashed(raw: str, unfit: str) -> str:
    return re.sub("-{2,}", "-", re.sub(unfit, "-", str(raw).strip())).strip("-")


def version_order(version: str, created_at: str = "") -> tuple[Any, ...]:
    """Give the sort key of a version, in the order that the module describes."""
    numbered = _NUMBERED.fullmatch(version)
    if numbered is None:
        rank = _DRAFT if version.startswith("draft.") else _TEXT
        return rank, created_at, version
    numbers = [int(group) for group in numbered["numbers"].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    if numbered["pre"] is None:
        return _RELEASE, numbers, version
    return _PRE_RELEASE, numbers, _precedence(numbered["pre"]), version


def _precedence(pre_release: str) -> list[tuple[int, int, str]]:
    """Give SemVer's order of identifiers: numbers by value and below texts, shorter below longer."""
    return [
        (0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part)
        for part in pre_release.split(".")
    ]
