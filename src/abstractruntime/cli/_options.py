"""Options that several commands share, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

WaitingOkOption = Annotated[
    bool, typer.Option("--waiting-ok", help="Exit 0 instead of 4 when the run waits.")
]
DurabilityOption = Annotated[str | None, typer.Option("--durability", metavar="strict|relaxed|off")]
HostKeyOption = Annotated[
    str | None, typer.Option("--host-key", metavar="NAME", help="[env: ART_HOST_KEY]")
]
LLMStubOption = Annotated[
    str | None, typer.Option("--llm-stub", metavar="FILE", help="Answer model calls from a file.")
]
