"""`store.json`: what makes a directory a store, and what format it has."""

from __future__ import annotations

import json
import re
import secrets
import socket
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject, dump_line
from abstractruntime.errors import NotFound, StoreIOError, UnsupportedFormat, UsageError
from abstractruntime.storage._layout import STORE_FORMAT

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._fs import StoreFiles
    from abstractruntime.storage._layout import Layout

_OLD_STORE = re.compile(r"(run_.+\.json|ledger_.+\.jsonl)")
_ORIGIN = re.compile(r"[^\s+]{1,200}")


def read_store_file(
    files: StoreFiles, layout: Layout, *, create: bool, origin: str | None, clock: Clock
) -> JsonObject:
    """Give the content of `store.json`, creating it in an empty or missing directory.

    Raises:
        NotFound: there is no store and `create` is False.
        UsageError: the directory holds something else, or the origin cannot be a name.
        UnsupportedFormat: it was written by 0.4.x.
    """
    data = files.read(layout.store_file)
    if data is not None:
        return _parse(data, layout)
    _require_vacant(files, layout)
    if not create:
        raise NotFound(
            f"no store in {layout.root!r}",
            hint="name an existing store, or create one by starting a run",
            kind="store",
            id=layout.root,
        )
    facts = {
        "format": STORE_FORMAT,
        "origin": _checked(origin) if origin else f"{_host()}/{secrets.token_hex(4)}",
        "created_at": clock.now_iso(),
    }
    files.ensure_dir(layout.root)
    files.write_atomic(layout.store_file, dump_line(facts) + b"\n")
    return facts


def unsupported(found: str, path: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"store {path!r} has format {found!r}; this version writes {STORE_FORMAT!r}",
        hint="install the version that wrote it; reading still works",
        found=found,
        supported=STORE_FORMAT,
        path=path,
    )


def _parse(data: bytes, layout: Layout) -> JsonObject:
    try:
        facts = json.loads(data)
        if isinstance(facts["format"], str) and isinstance(facts["origin"], str):
            return dict(facts)
    except (ValueError, KeyError, TypeError):
        pass
    raise StoreIOError(
        f"{layout.store_file!r} is damaged: expected format and origin",
        hint="restore it from a backup; it is one line of JSON",
        path=layout.store_file,
    )


def _require_vacant(files: StoreFiles, layout: Layout) -> None:
    names = [name for name in files.names(layout.root) if not name.endswith(".tmp")]
    if any(_OLD_STORE.fullmatch(name) for name in names):
        raise UnsupportedFormat(
            f"{layout.root!r} holds files of version 0.4.x",
            hint="keep it as it is and name another directory for new runs",
            found="0.4",
            supported=STORE_FORMAT,
            path=layout.root,
        )
    if names:
        raise UsageError(
            f"{layout.root!r} is not a store and not empty: it holds {min(names)!r}",
            hint="name an empty or new directory",
            argument="path",
        )


def _checked(origin: str) -> str:
    if _ORIGIN.fullmatch(origin):
        return origin
    raise UsageError(
        f"origin {origin!r} is not 1 to 200 characters without blanks and '+'", argument="origin"
    )


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "localhost"
