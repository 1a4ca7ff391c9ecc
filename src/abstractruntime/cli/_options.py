"""Options that several commands share, spelled once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from abstractruntime.cli._session import Session

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id, unique beginning of one, or @last.")
]
WaitingOkOption = Annotated[
    bool, typer.Option("--waiting-ok", help="Exit 0 instead of 4 when the run waits.")
]
AcceptOriginOption = Annotated[
    bool,
    typer.Option("--accept-origin", help="Believe what the first record says that the run may do."),
]
NoPagerOption = Annotated[
    bool, typer.Option("--no-pager", help="Print long text at once. [env: ART_PAGER, PAGER]")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file of another kind, too.")]
DurabilityOption = Annotated[str | None, typer.Option("--durability", metavar="strict|relaxed|off")]
HostKeyOption = Annotated[
    str | None, typer.Option("--host-key", metavar="NAME", help="[env: ART_HOST_KEY]")
]
LLMStubOption = Annotated[
    str | None, typer.Option("--llm-stub", metavar="FILE", help="Answer model calls from a file.")
]


def set_flags(
    session: Session,
    *,
    durability: str | None = None,
    host_key: str | None = None,
    llm_stub: str | None = None,
    sandbox: str | None = None,
    workspace: str | None = None,
    accept_origin: bool = False,
) -> None:
    """Put options of a command over the configuration."""
    session.accepts_origin = accept_origin
    flags = {
        "durability": durability,
        "host_key": host_key,
        "sandbox": sandbox,
        "workspace": workspace,
    }
    if llm_stub is not None:
        flags |= {"llm.handler": "stub", "llm.script": llm_stub}
    session.flags.update({name: value for name, value in flags.items() if value is not None})
