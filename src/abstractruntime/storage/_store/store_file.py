"""`store.json`: what makes a directory a store, and what format it has.

A directory of 0.4.x is a store without this file. It is written there by the first write,
so that looking at such a directory leaves it as it is. Where signed heads or first records name
the store they are of, the file was lost: under another name all that was signed would be invalid.
Such a store is read, and not written until the file is back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject, dump_line
from abstractruntime.core.origin import RunOrigin
from abstractruntime.errors import Busy, NotFound, StoreIOError, UnsupportedFormat, UsageError
from abstractruntime.storage._files.file_lock import StoreLock
from abstractruntime.storage._files.jsonl import parse_object, scan_lines
from abstractruntime.storage._files.layout import STORE_FORMAT, run_ids
from abstractruntime.storage._store.heads_extent import heads_extent

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout

IMPORTED_FROM = "imported_from"
# The names that the runs of a store have for it whose own file is lost.
NAMED = "named"
_ORIGIN = re.compile(r"[^\s+]{1,200}")


def read_store_file(
    files: StoreFiles, layout: Layout, *, create: bool, origin: str | None, clock: Clock
) -> JsonObject:
    """Give the content of `store.json`, creating it in an empty or missing directory.

    For a directory of 0.4.x it is what `save_store_file` will write; nothing is written yet. Where
    the file was lost, `NAMED` has what the runs call their store.

    Raises:
        NotFound: there is no store and `create` is False.
        UsageError: the directory holds something else, or the origin cannot be a name.
    """
    data = files.read(layout.store_file)
    if data is not None:
        return _parse(data, layout)
    if _is_old_store(files, layout):
        if named := sorted(_named_origins(files, layout)):
            return {**_new_facts(named[0], clock), NAMED: named}
        return {**_new_facts(origin or _old_origin(layout), clock), IMPORTED_FROM: "0.4"}
    if not create:
        raise NotFound(
            f"no store in {layout.root!r}",
            hint="name an existing store, or create one by starting a run",
            kind="store",
            id=layout.root,
        )
    facts = _new_facts(origin or f"{_host()}/{os.urandom(4).hex()}", clock)
    files.ensure_dir(layout.root)
    files.write_atomic(layout.store_file, dump_line(facts) + b"\n")
    return facts


def save_store_file(files: StoreFiles, layout: Layout, facts: JsonObject, *, clock: Clock) -> None:
    """Make a directory of 0.4.x a store, durably; one that is one by now stays as it is.

    Raises:
        Busy: another process made it one, under another origin.
    """
    with StoreLock(files, layout.store_lock, clock=clock).held():
        data = files.read(layout.store_file)
        if data is None:
            files.write_atomic(layout.store_file, dump_line(facts) + b"\n")
        elif _parse(data, layout)["origin"] != facts["origin"]:
            raise Busy(
                f"another process has just made {layout.root!r} a store",
                hint="open the store again",
                path=layout.root,
            )


def lost_store_file(layout: Layout, facts: JsonObject) -> StoreIOError | None:
    """Give the error for a store whose file was lost; None for any other."""
    named = facts.get(NAMED)
    if named is None:
        return None
    again = "restore it from a backup"
    if len(named) == 1:
        again += ", or let a repair write it again: art repair RUN --apply"
    return StoreIOError(
        f"{layout.store_file!r} is missing, and the runs here belong to {' and '.join(named)}",
        hint=again,
        path=layout.store_file,
        named=named,
    )


def _named_origins(files: StoreFiles, layout: Layout) -> set[str]:
    """Give what signed heads and first records say whose runs they are."""
    found: set[str | None] = set()
    for run_id in run_ids(files.names(layout.root)):
        signed = heads_extent(files, layout.heads(run_id)).origin
        found.add((signed or "").removesuffix(f"/runs/{run_id}"))
        first = next(scan_lines(files, layout.ledger(run_id)), None)
        record = parse_object(first.data) if first is not None else None
        found.add(RunOrigin.of(record or {}).store_origin)
    return {origin for origin in found if origin and _ORIGIN.fullmatch(origin)}


def _new_facts(origin: str, clock: Clock) -> JsonObject:
    return {
        "format": STORE_FORMAT,
        "origin": _checked(origin),
        "created_at": clock.now_iso(),
    }


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


def _is_old_store(files: StoreFiles, layout: Layout) -> bool:
    """Tell a directory of 0.4.x from a vacant one.

    Raises:
        UsageError: it is neither.
    """
    names = [name for name in files.names(layout.root) if not name.endswith(".tmp")]
    if run_ids(names):
        return True
    if names:
        raise UsageError(
            f"{layout.root!r} is not a store and not empty: it holds {min(names)!r}",
            hint="name an empty or new directory",
            argument="path",
        )
    return False


def _old_origin(layout: Layout) -> str:
    """Give a name that every process which opens this directory comes to."""
    return f"{_host()}/{hashlib.sha256(layout.root.encode()).hexdigest()[:8]}"


def _checked(origin: str) -> str:
    if _ORIGIN.fullmatch(origin):
        return origin
    raise UsageError(
        f"origin {origin!r} is not 1 to 200 characters without blanks and '+'", argument="origin"
    )


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", os.uname().nodename) or "localhost"
