"""The published JSON Schemas (draft 2020-12) of everything the command line prints.

`art schema NAME` prints one. A document names its schema in `format`: `art-run/1` is
described by the schema `run`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from abstractruntime._json import JsonObject
from abstractruntime._near import close_names
from abstractruntime.errors import NotFound

_SOURCES: dict[str, str] = {
    "visualflow": "visualflow_compiler.schema:visualflow_schema",
    "history": "schemas.history:HISTORY_BUNDLE_SCHEMA",
    "case": "schemas._case:CASE",
    **{
        name: f"schemas._documents:{name.upper().replace('-', '_')}"
        for name in (
            "run", "runs", "verify", "verify-all", "verify-history", "ledger", "bundle", "export", "error",
            "check", "keys", "config", "doctor", "explain", "diagnostic", "serve", "serve-event", "emit",
            "snapshots", "gc", "repair", "fmt", "diff", "graph", "test",
        )
    },
}  # fmt: skip


def schema_names() -> list[str]:
    return sorted(_SOURCES)


def load_schema(name: str) -> JsonObject:
    """Give a schema by name.

    Raises:
        NotFound: no schema has this name.
    """
    source = _SOURCES.get(name)
    if source is None:
        near = close_names(name, _SOURCES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "there are: " + ", ".join(schema_names())
        raise NotFound(f"no schema is called {name!r}", hint=hint, kind="schema", id=name)
    module, _, attribute = source.partition(":")
    found: JsonObject | Callable[[], JsonObject] = getattr(
        import_module(f"abstractruntime.{module}"), attribute
    )
    return found() if callable(found) else found
