"""Where the code of a run is executed, and whether that is as strict as somebody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.errors import Refused

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.cli._session import Session
    from abstractruntime.nodes.base import CodePool, CodeRunner

_DOC = "see docs/explanation/sandbox.md"


def code_home(sandbox: str) -> CodeRunner | CodePool | None:
    """Give what runs code in this home; None for the default, whose parts load at the first call.

    Raises:
        Refused: this system does not have it.
    """
    if sandbox == "in-process":
        from abstractruntime.sandbox import InProcessRunner

        return InProcessRunner()
    if sandbox == "bwrap":
        from abstractruntime.sandbox.pool import bwrap_pool

        pool = bwrap_pool()
        if pool is None:
            raise Refused(
                "code is to run inside bubblewrap, and there is no program 'bwrap'",
                hint="install bubblewrap, or choose --sandbox worker",
                sandbox=sandbox,
            )
        return pool
    return None


def confined(session: Session, home: CodeRunner | CodePool | None) -> JsonObject:
    """Give what stands between code in its home and this machine; may start a worker.

    From here on other processes of the same user cannot look into this one.

    Raises:
        Refused: it is less than `sandbox_minimum`.
    """
    from abstractruntime.sandbox.pool import sandbox_report
    from abstractruntime.sandbox.runner import lacks

    report = sandbox_report(home, hide_parent=True)
    minimum = session.config.get("sandbox_minimum")
    if missing := lacks(report, minimum):
        raise Refused(
            f"code would run without {missing}, and sandbox_minimum is {minimum!r}",
            hint=f"run it where art doctor shows them, or lower sandbox_minimum; {_DOC}",
            sandbox=report,
        )
    return report


def require_confined(session: Session, home: CodeRunner | CodePool | None) -> None:
    """Refuse a home that is less strict than somebody asked for; nothing is started if nobody did.

    Raises:
        Refused
    """
    if session.config.get("sandbox_minimum") != "none":
        confined(session, home)
