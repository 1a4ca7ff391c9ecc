"""Inboxes: durable requests to runs that someone else may own.

A command is one file, `<ulid>.json`; names sort by time of posting. The random half of
the name is derived from the command id, so posting an id again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from abstractruntime._json import dump_line, normalise
from abstractruntime.core.commands import Command
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARS, _TAG_CHARS = 10, 16
_SUFFIX = ".json"


class Inboxes:
    """The inboxes of one store."""

    def __init__(self, files: StoreFiles, layout: Layout, clock: Clock) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock

    def post(self, run_id: str, command: Command) -> None:
        """Store a command durably; an id that already waits there is left as it is.

        Raises:
            InvalidValue: its payload is not JSON.
        """
        if not command.id:
            raise UsageError("a command needs an id", argument="id")
        directory = self._layout.inbox(run_id)
        tag = _tag(command.id)
        names = self._files.names(directory)
        known = next((name for name in names if name[_TIME_CHARS:] == tag + _SUFFIX), None)
        if known is not None:
            # The post that left it there may have failed at its last step.
            self._files.sync_name(f"{directory}/{known}")
            return
        dated = replace(command, created_at=command.created_at or self._clock.now_iso())
        body = normalise(dated.to_dict())
        self._files.ensure_dir(directory)
        path = self._layout.command(run_id, self._time_part(names) + tag)
        self._files.write_atomic(path, dump_line(body))

    def read(self, run_id: str, known: Mapping[str, Command] | None = None) -> dict[str, Command]:
        """Give the waiting commands by file name, oldest first; unreadable files are left out.

        Those that are `known` from an earlier reading are not read again: a file never changes.
        """
        directory = self._layout.inbox(run_id)
        found: dict[str, Command] = {}
        names = self._files.names(directory)
        for name in sorted(names) if names else names:
            if not name.endswith(_SUFFIX):
                continue
            command = (known or {}).get(name) or _parse(self._files.read(f"{directory}/{name}"))
            if command is not None:
                found[name] = command
        return found

    def remove(self, run_id: str, names: list[str]) -> None:
        """Forget applied commands, durably."""
        directory = self._layout.inbox(run_id)
        for name in names:
            self._files.remove(f"{directory}/{name}")
        if names:
            self._files.sync_dir(directory)

    def runs_with_commands(self) -> list[str]:
        """Give the ids of the runs whose inbox is not empty."""
        return [
            run_id
            for run_id in self._files.names(self._layout.inboxes)
            if any(
                name.endswith(_SUFFIX)
                for name in self._files.names(f"{self._layout.inboxes}/{run_id}")
            )
        ]

    def _time_part(self, names: list[str]) -> str:
        now_ms = int(self._clock.now().timestamp() * 1000)
        # Invariant: a later post sorts later, even when the clock went back in between.
        latest = max((n[:_TIME_CHARS] for n in names if n.endswith(_SUFFIX)), default="")
        part = _base32(now_ms, _TIME_CHARS)
        return part if part > latest else _base32(_number(latest) + 1, _TIME_CHARS)


def _tag(command_id: str) -> str:
    digest = hashlib.sha256(command_id.encode("utf-8", "surrogatepass")).digest()
    return _base32(int.from_bytes(digest[:10], "big"), _TAG_CHARS)


def _base32(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 32)
        text = _ALPHABET[digit] + text
    return text


def _number(text: str) -> int:
    value = 0
    for char in text:
        value = value * 32 + max(0, _ALPHABET.find(char))
    return value


def _parse(data: bytes | None) -> Command | None:
    try:
        return Command.from_dict(json.loads(data or b""))
    except (ValueError, RecursionError):
        return None
