"""`art config show`: every setting in force and where it came from."""

from __future__ import annotations

from typing import Annotated

import typer

from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session


@uses_store
def show(
    session: Session,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
) -> int:
    """Show every setting in force."""
    config = session.config

    def text() -> list[str]:
        rows = [
            (name, value.value, *((value.origin,) if origin else ()))
            for name, value in config.values.items()
        ]
        header = ("setting", "value", *(("origin",) if origin else ()))
        return session.out.table(header, rows)

    session.out.emit(config.to_dict(), text=text, items="settings")
    return 0
