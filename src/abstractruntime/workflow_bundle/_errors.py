"""What can be wrong with a bundle, and the one way to say that its container is."""

from __future__ import annotations

from abstractruntime.errors import AbstractRuntimeError, ArchiveInvalid


class WorkflowBundleError(AbstractRuntimeError, ValueError):
    """A bundle, its manifest, or a request to pack one is wrong."""

    code = "bundle_invalid"


class BundleArchiveError(ArchiveInvalid, WorkflowBundleError):
    """A bundle's container breaks a rule; `details` names the `rule` and the `member`."""

    code = "archive_invalid"


def broken(rule: str, message: str, member: str | None = None) -> BundleArchiveError:
    """Build the error for a broken container rule."""
    return BundleArchiveError(
        message,
        hint="do not use this file; get it again from its publisher",
        rule=rule,
        member=member,
    )
